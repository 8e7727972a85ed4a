//! HTTP/2, with and without TLS.

use super::tls::{Trust, connect as tls_connect};
use super::*;
use crate::listen::tls::tests::Files;
use h2::client::{Builder, SendRequest};
use http::{Request, StatusCode};

type Client = (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>);

async fn handshake<S: AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    build: &Builder,
) -> Client {
    let (client, connection) = build.handshake::<_, Bytes>(stream).await.unwrap();
    (client, tokio::spawn(connection))
}

async fn h2c(house: &House) -> Client {
    handshake(house.connect().await, &Builder::new()).await
}

fn request(path: &str) -> Request<()> {
    Request::get(format!("http://localhost{path}")).body(()).unwrap()
}

async fn text(client: &mut SendRequest<Bytes>, path: &str) -> (StatusCode, String) {
    let mut ready = client.clone().ready().await.unwrap();
    let (response, _) = ready.send_request(request(path), true).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    let mut all = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        let _ = body.flow_control().release_capacity(chunk.len());
        all.extend_from_slice(&chunk);
    }
    (head.status, String::from_utf8(all).unwrap())
}

#[tokio::test]
async fn streams_know_their_connection() {
    let house = house(|_| {});
    let (mut client, _) = h2c(&house).await;
    let (status, facts) = text(&mut client, "/facts").await;
    assert_eq!(status, 200);
    assert_eq!(facts, "main peer=127.0.0.1 client=127.0.0.1 trusted=false tls=false HTTP/2.0");
    let (_, again) = text(&mut client, "/facts").await;
    assert_eq!(again, facts);
    assert_eq!((house.counted(Event::Accepted), house.requests()), (1, 2));
}

#[tokio::test]
async fn streams_within_tls_know_their_connection() {
    let files = Files::new("localhost");
    let house = house(|settings| settings.tls = Some(files.tls.clone()));
    let tls = tls_connect(house.connect().await, Trust::anyone(), &["h2"]).await.unwrap();
    let (mut client, _) = handshake(tls, &Builder::new()).await;
    let (_, facts) = text(&mut client, "/facts").await;
    assert_eq!(facts, "main peer=127.0.0.1 client=127.0.0.1 trusted=false tls=true HTTP/2.0");
}

#[tokio::test]
async fn http2_can_be_switched_off() {
    let house = house(|settings| settings.http2 = false);
    let mut stream = house.connect().await;
    stream.write_all(crate::listen::resets::PREFACE).await.unwrap();
    assert_eq!(answer(&mut stream).await.status(), "400");
}

#[tokio::test]
async fn an_unfinished_preface_is_not_waited_for() {
    let house = house(|settings| settings.limits.header_time = SHORT);
    let mut stream = house.connect().await;
    let began = Instant::now();
    stream.write_all(&crate::listen::resets::PREFACE[..23]).await.unwrap();
    rest(&mut stream).await;
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG / 2);
    assert_eq!(house.counted(Event::HeaderSlow), 1);
}

#[tokio::test]
async fn a_connection_without_streams_is_closed() {
    let house = house(|settings| settings.limits.keep_alive_idle = SHORT);
    let (mut client, connection) = h2c(&house).await;
    let began = Instant::now();
    assert_eq!(text(&mut client, "/").await.0, 200);
    let _ = connection.await.unwrap();
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG / 2);
    house.drain.no_connections().await;
}

#[tokio::test]
async fn a_connection_with_a_held_stream_is_not_idle() {
    let house = house(|settings| settings.limits.keep_alive_idle = SHORT);
    let (mut client, connection) = h2c(&house).await;
    let (response, _) = client.send_request(request("/stream"), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    // A connection that came later and is idle is closed meanwhile.
    let (mut idle, ended) = h2c(&house).await;
    text(&mut idle, "/").await;
    let _ = ended.await.unwrap();
    house.gateway.gate.add_permits(1);
    assert_eq!(body.data().await.unwrap().unwrap(), "event");
    assert!(!connection.is_finished());
}

#[tokio::test]
async fn streams_beyond_the_limit_wait() {
    let house = house(|settings| settings.limits.streams_per_connection = 3);
    let (mut client, _) = h2c(&house).await;
    // The limit is known once the first answer is there.
    text(&mut client, "/").await;
    let asked: Vec<_> = (0..5).map(|_| client.send_request(request("/wait"), true).unwrap().0).collect();
    until("three are there", || house.requests() == 4).await;
    assert_eq!(house.drain.in_flight(), 3);
    house.gateway.gate.add_permits(5);
    for answer in asked {
        assert_eq!(answer.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_header_list_beyond_its_limit_is_refused_and_the_connection_lives_on() {
    let house = house(|settings| settings.limits.header_bytes = 5_000);
    let (mut client, _) = h2c(&house).await;
    let mut large = request("/");
    large.headers_mut().insert("x-large", "x".repeat(6_000).parse().unwrap());
    let (response, _) = client.send_request(large, true).unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(text(&mut client, "/").await.0, 200);
    assert_eq!(house.requests(), 1);
}

/// A frame as RFC 9113 section 4.1 has it.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const END_STREAM: u8 = 1;
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 4;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// `GET` of a path, encoded without tables: method, scheme, path, authority.
fn header_block(path: &str) -> Vec<u8> {
    [&[0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()][..], path.as_bytes(), &[0x01, 1, b'x']].concat()
}

/// The preface and settings of a client that writes its own frames.
fn opening(settings: &[u8]) -> Vec<u8> {
    [crate::listen::resets::PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()
}

#[tokio::test]
async fn endless_continuations_end_the_connection() {
    let house = house(|settings| settings.limits.header_bytes = 5_000);
    let mut stream = house.connect().await;
    stream.write_all(&opening(&[])).await.unwrap();
    let field = [&[0x10, 1, b'x', 100][..], &[b'y'; 100]].concat();
    let (mut read, mut write) = stream.split();
    let pour = async {
        write.write_all(&frame(HEADERS, 0, 1, &field)).await.unwrap();
        while write.write_all(&frame(CONTINUATION, 0, 1, &field)).await.is_ok() {}
    };
    // Whichever is seen first, the connection ends and nobody was asked anything.
    tokio::select! {
        _ = rest(&mut read) => {}
        () = pour => {}
    }
    house.drain.no_connections().await;
    assert_eq!(house.requests(), 0);
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let house = house(|settings| settings.limits.streams_per_connection = 10);
    let mut stream = house.connect().await;
    stream.write_all(&opening(&[])).await.unwrap();
    let (mut read, mut write) = stream.split();
    let pour = async {
        for id in (1..1_000_000).step_by(2) {
            let asked = frame(HEADERS, END_STREAM | END_HEADERS, id, &header_block("/stream"));
            let cancelled = frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
            if write.write_all(&[asked, cancelled].concat()).await.is_err() {
                return;
            }
        }
        panic!("resets go on for ever");
    };
    tokio::select! {
        _ = rest(&mut read) => {}
        () = pour => {}
    }
    house.drain.no_connections().await;
    assert!(house.requests() <= 20, "{} requests were begun", house.requests());
    until("what was begun has ended", || house.drain.in_flight() == 0).await;
}

#[tokio::test]
async fn resets_of_streams_that_were_taken_up_are_bounded_as_well() {
    let house = house(|settings| settings.limits.streams_per_connection = 10);
    let (client, connection) = h2c(&house).await;
    for asked in 1.. {
        let sent = match client.clone().ready().await {
            Ok(mut ready) => ready.send_request(request("/stream"), true),
            Err(_) => break,
        };
        let Ok((response, mut stream)) = sent else { break };
        // It is answered, so that it waits to be accepted no more when it is reset.
        if response.await.is_err() {
            break;
        }
        stream.send_reset(h2::Reason::CANCEL);
        assert!(asked < 1_000, "resets go on for ever");
    }
    assert!(client.ready().await.is_err());
    let _ = connection.await.unwrap();
    assert_eq!(house.counted(Event::ResetFlood), 1);
    until("what was begun has ended", || house.drain.in_flight() == 0).await;
}

#[tokio::test]
async fn cancelling_what_was_asked_together_is_no_flood() {
    let house = house(|settings| settings.limits.streams_per_connection = 10);
    let (mut client, connection) = h2c(&house).await;
    let mut asked: Vec<_> = (0..10).map(|_| client.send_request(request("/stream"), true).unwrap()).collect();
    until("all are held", || house.requests() == 10).await;
    for (_, stream) in &mut asked {
        stream.send_reset(h2::Reason::CANCEL);
    }
    until("all are gone", || house.drain.in_flight() == 0).await;
    assert_eq!(text(&mut client, "/").await.0, 200);
    assert!(!connection.is_finished() && house.counted(Event::ResetFlood) == 0);
}

#[tokio::test]
async fn a_stream_without_window_is_given_up_and_its_neighbours_live() {
    let house = house(|settings| settings.limits.write_time = SHORT);
    // All streams together have more window than the one that is not read.
    let mut wide = Builder::new();
    wide.initial_connection_window_size(1 << 20);
    let (mut client, connection) = handshake(house.connect().await, &wide).await;
    let (response, _) = client.send_request(request("/endless"), true).unwrap();
    let body = response.await.unwrap().into_body();
    until("the answer is given up", || house.gateway.broken.load(Ordering::SeqCst) == 1).await;
    assert_eq!(text(&mut client, "/").await.0, 200);
    assert!(!connection.is_finished());
    drop(body);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_socket_is_given_up() {
    let house = house(|settings| settings.limits.write_time = SHORT);
    let mut stream = house.connect().await;
    // All the window there can be, and one request; then nothing is read.
    let window = [&[0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat();
    let wide = frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    let asked = frame(HEADERS, END_STREAM | END_HEADERS, 1, &header_block("/endless"));
    stream.write_all(&[opening(&window), wide, asked].concat()).await.unwrap();
    until("the answer is given up", || house.gateway.broken.load(Ordering::SeqCst) == 1).await;
    house.drain.no_connections().await;
    assert_eq!(house.counted(Event::WriteSlow), 1);
}
