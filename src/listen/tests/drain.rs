//! Stopping under traffic.

use super::*;
use h2::client;
use http::Request;
use std::io;

/// Stops the house as a signal does, in the background.
fn stop(house: &House, time: Duration, idle: Duration) -> JoinHandle<Duration> {
    let drain = house.drain.clone();
    tokio::spawn(async move {
        let began = Instant::now();
        drain.run(DrainSettings { time, idle }).await;
        began.elapsed()
    })
}

#[tokio::test]
async fn what_is_in_flight_is_finished_and_says_that_it_was_the_last() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    client.write_all(get("/wait").as_bytes()).await.unwrap();
    until("the request is there", || house.requests() == 1).await;
    let stop = stop(&house, LONG, Duration::ZERO);
    house.drain.draining().await;
    // The system lets a client wait for its second try before it is refused.
    while TcpStream::connect(house.address).await.is_ok() {}
    assert!(!stop.is_finished());
    house.gateway.gate.add_permits(1);
    let last = answer(&mut client).await;
    assert!(last.body == "waited" && last.closes(), "{last:?}");
    assert_eq!(rest(&mut client).await, b"");
    drop(client);
    assert!(stop.await.unwrap() < LONG / 2);
    house.service.await.unwrap();
}

#[tokio::test]
async fn a_request_whose_first_byte_is_here_is_in_flight() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    client.write_all(b"GET /facts HTTP/1.1\r\n").await.unwrap();
    until("it has begun", || house.drain.in_flight() == 1).await;
    let stop = stop(&house, LONG, Duration::ZERO);
    house.drain.draining().await;
    let last = ask(&mut client, "Host: x\r\n\r\n").await;
    assert!(last.status() == "200" && last.closes());
    drop(client);
    assert!(stop.await.unwrap() < LONG / 2);
}

#[tokio::test]
async fn an_idle_connection_may_be_used_once_more_and_is_then_closed() {
    let house = house(|_| {});
    let (mut used, mut unused) = (house.connect().await, house.connect().await);
    for client in [&mut used, &mut unused] {
        assert!(!ask(client, &get("/")).await.closes());
    }
    let stop = stop(&house, LONG, millis(300));
    house.drain.draining().await;
    let last = ask(&mut used, &get("/")).await;
    assert!(last.status() == "200" && last.closes());
    assert_eq!(rest(&mut used).await, b"");
    drop(used);
    assert_eq!(house.drain.phase(), crate::drain::Phase::Draining, "there is time for the other one");
    assert_eq!(rest(&mut unused).await, b"", "which is closed without a reset or an answer");
    drop(unused);
    assert!(stop.await.unwrap() >= millis(300));
    house.service.await.unwrap();
}

#[tokio::test]
async fn who_was_told_that_the_connection_is_kept_may_use_it_behind_a_long_answer() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    let head = ask(&mut client, &get("/late")).await;
    assert!(!head.closes());
    let idle = millis(300);
    let stop = stop(&house, LONG, idle);
    house.drain.draining().await;
    // Longer than an idle connection is waited for.
    tokio::time::pause();
    tokio::time::advance(idle * 2).await;
    tokio::time::resume();
    house.gateway.gate.add_permits(1);
    let mut body = [0; 14];
    client.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"4\r\nlate\r\n0\r\n\r\n");
    let last = ask(&mut client, &get("/")).await;
    assert!(last.status() == "200" && last.closes(), "{last:?}");
    assert_eq!(rest(&mut client).await, b"");
    drop(client);
    assert!(stop.await.unwrap() < LONG / 2);
}

#[tokio::test]
async fn held_streams_say_goodbye() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    assert_eq!(ask(&mut client, &get("/stream")).await.status(), "200");
    let stop = stop(&house, LONG, Duration::ZERO);
    assert_eq!(rest(&mut client).await, b"7\r\ngoodbye\r\n0\r\n\r\n");
    drop(client);
    assert!(stop.await.unwrap() < LONG / 2);
}

#[tokio::test]
async fn http2_connections_go_away_without_losing_a_stream() {
    let house = house(|_| {});
    let (mut send, connection) = client::handshake(house.connect().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let ask = |path: &str| Request::get(format!("http://localhost{path}")).body(()).unwrap();
    let (waiting, _) = send.send_request(ask("/wait"), true).unwrap();
    let (held, _) = send.send_request(ask("/stream"), true).unwrap();
    let mut held = held.await.unwrap().into_body();
    until("both are there", || house.requests() == 2).await;
    let stop = stop(&house, LONG, LONG);
    assert_eq!(held.data().await.unwrap().unwrap(), "goodbye");
    house.gateway.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().status(), 200);
    connection.await.unwrap().unwrap();
    assert!(send.ready().await.is_err(), "the connection says that it takes no more");
    assert!(stop.await.unwrap() < LONG / 2, "an idle HTTP/2 connection need not be waited for");
}

#[tokio::test]
async fn an_http2_connection_that_begins_during_a_stop_is_told_to_go() {
    let house = house(|_| {});
    let tcp = house.connect().await;
    until("it is accepted", || house.drain.connections() == 1).await;
    let stop = stop(&house, LONG, LONG);
    house.drain.draining().await;
    let (mut send, connection) = client::handshake(tcp).await.unwrap();
    let connection = tokio::spawn(connection);
    let asked = send.send_request(Request::get("http://localhost/").body(()).unwrap(), true);
    // Whether the request is taken up or turned away, the client is told in HTTP/2's own words, and nothing is cut.
    if let Ok((answer, _)) = asked {
        match answer.await {
            Ok(answer) => assert_eq!(answer.status(), 200),
            Err(error) => assert!(error.is_go_away() && error.is_remote(), "{error}"),
        }
    }
    connection.await.unwrap().unwrap();
    assert!(send.ready().await.is_err(), "the connection says that it takes no more");
    assert!(stop.await.unwrap() < LONG / 2, "nothing is left to wait for");
}

#[tokio::test]
async fn what_does_not_end_is_ended_when_the_time_is_over() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    client.write_all(get("/wait").as_bytes()).await.unwrap();
    until("the request is there", || house.requests() == 1).await;
    let took = stop(&house, millis(300), Duration::ZERO).await.unwrap();
    assert!(took >= millis(300) && took < LONG / 2);
}

/// What one client of many saw.
#[derive(Debug, Default)]
struct Seen {
    answered: usize,
    /// It could not connect: nothing was taken from it.
    turned_away: bool,
}

/// Asks one request after another over as few connections as it may, until it can no longer connect. Any request that was
/// begun and not answered is a panic.
async fn keep_asking(address: SocketAddr, asked: Arc<AtomicUsize>) -> Seen {
    let mut seen = Seen::default();
    loop {
        let mut stream = match TcpStream::connect(address).await {
            Ok(stream) => stream,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
                seen.turned_away = true;
                return seen;
            }
        };
        loop {
            let answer = ask(&mut stream, &get("/")).await;
            assert_eq!(answer.status(), "200");
            seen.answered += 1;
            asked.fetch_add(1, Ordering::SeqCst);
            if answer.closes() {
                assert_eq!(rest(&mut stream).await, b"");
                break;
            }
            if seen.answered % 7 == 0 {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_loses_a_request() {
    let house = house(|_| {});
    let asked = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8).map(|_| tokio::spawn(keep_asking(house.address, asked.clone()))).collect();
    until("there is traffic", || asked.load(Ordering::SeqCst) > 200).await;
    let stop = stop(&house, LONG, millis(500));
    let mut answered = 0;
    for client in clients {
        let seen = client.await.unwrap();
        assert!(seen.turned_away);
        answered += seen.answered;
    }
    assert_eq!(answered, house.requests());
    assert!(stop.await.unwrap() < LONG / 2);
    house.service.await.unwrap();
}
