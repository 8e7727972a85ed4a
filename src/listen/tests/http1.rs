//! Caps and deadlines of plain connections.

use super::*;

#[tokio::test]
async fn a_kept_alive_connection_serves_requests_one_after_another() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    for _ in 0..3 {
        let answer = ask(&mut client, &get("/facts")).await;
        assert_eq!(answer.body, "main peer=127.0.0.1 client=127.0.0.1 trusted=false tls=false HTTP/1.1");
        assert!(!answer.closes());
    }
    let posted = ask(&mut client, "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(posted.body, "5");
    let long = format!("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(300_000));
    assert_eq!(ask(&mut client, &long).await.body, "300000");
    assert_eq!(house.counted(Event::Accepted), 1);
}

#[tokio::test]
async fn a_request_shorter_than_the_http2_preface_is_answered() {
    let house = house(|_| {});
    let answer = ask(&mut house.connect().await, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.status() == "200" && answer.body == "here");
}

#[tokio::test]
async fn a_head_in_single_bytes_is_a_head() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    client.set_nodelay(true).unwrap();
    for byte in get("/facts").bytes() {
        client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(answer(&mut client).await.status(), "200");
}

#[tokio::test]
async fn above_the_cap_connections_are_closed_at_once_and_places_come_back() {
    let house = house(|settings| settings.limits.connections = 2);
    let (mut one, mut two) = (house.connect().await, house.connect().await);
    assert_eq!(ask(&mut one, &get("/")).await.status(), "200");
    assert_eq!(ask(&mut two, &get("/")).await.status(), "200");
    assert_eq!(rest(&mut house.connect().await).await, b"");
    assert_eq!(house.counted(Event::ConnectionsFull), 1);
    drop(one);
    until("a place comes back", || house.admission.open() == 1).await;
    assert_eq!(ask(&mut house.connect().await, &get("/")).await.status(), "200");
}

#[tokio::test]
async fn one_address_cannot_take_all_places() {
    let house = house(|settings| {
        settings.limits.connections_per_address = 1;
        settings.limits.exempt_addresses = Vec::new();
        settings.trusted_proxies = vec!["127.0.0.3/32".parse().unwrap()];
    });
    let mut one = house.connect_from("127.0.0.1").await;
    assert_eq!(ask(&mut one, &get("/")).await.status(), "200");
    assert_eq!(rest(&mut house.connect_from("127.0.0.1").await).await, b"");
    assert_eq!(house.counted(Event::AddressFull), 1);
    assert_eq!(ask(&mut house.connect_from("127.0.0.2").await, &get("/")).await.status(), "200");
    let proxied = [house.connect_from("127.0.0.3").await, house.connect_from("127.0.0.3").await];
    for mut proxied in proxied {
        assert_eq!(ask(&mut proxied, &get("/")).await.status(), "200", "a proxy's clients are not one client");
    }
}

#[tokio::test]
async fn a_panic_gives_the_place_back_and_harms_nobody_else() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    client.write_all(get("/panic").as_bytes()).await.unwrap();
    assert_eq!(rest(&mut client).await, b"");
    house.drain.no_connections().await;
    assert_eq!((house.admission.open(), house.listener.tally().open(), house.drain.in_flight()), (0, 0, 0));
    assert_eq!(ask(&mut house.connect().await, &get("/")).await.status(), "200");
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let house = house(|settings| settings.limits.header_time = SHORT);
    let began = Instant::now();
    assert_eq!(rest(&mut house.connect().await).await, b"", "nobody asked, so nobody is answered");
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG / 2);
    assert_eq!(house.counted(Event::Silent), 1);
}

#[tokio::test]
async fn an_idle_kept_alive_connection_is_closed_later_than_a_silent_one() {
    let house = house(|settings| settings.limits.keep_alive_idle = SHORT);
    let mut client = house.connect().await;
    let began = Instant::now();
    assert_eq!(ask(&mut client, &get("/")).await.status(), "200");
    assert_eq!(rest(&mut client).await, b"");
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG / 2);
    assert_eq!(house.counted(Event::Idle), 1);
}

#[tokio::test]
async fn a_dripped_head_has_one_deadline_for_all_of_it() {
    let house = house(|settings| settings.limits.header_time = SHORT);
    let mut client = house.connect().await;
    let began = Instant::now();
    client.write_all(b"POST /mcp HTTP/1.1\r\nX: ").await.unwrap();
    let (mut read, mut write) = client.split();
    let drip = async {
        loop {
            tokio::time::sleep(millis(10)).await;
            if write.write_all(b"x").await.is_err() {
                return;
            }
        }
    };
    let refused = async { answer(&mut read).await };
    let refused = tokio::select! {
        answer = refused => answer,
        () = drip => panic!("closed without an answer"),
    };
    assert!(refused.status() == "408" && refused.closes(), "{refused:?}");
    assert_eq!(refused.body, "no: headers_too_slow");
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG / 2);
    assert_eq!((house.counted(Event::HeaderSlow), house.requests()), (1, 0));
}

#[tokio::test]
async fn a_slow_answer_is_not_a_slow_head() {
    let house = house(|settings| {
        settings.limits.header_time = SHORT;
        settings.limits.keep_alive_idle = SHORT;
        settings.limits.write_time = SHORT;
    });
    let mut client = house.connect().await;
    client.write_all(get("/wait").as_bytes()).await.unwrap();
    until("the request is there", || house.requests() == 1).await;
    // Two connections that began later run out of the same times one after the other.
    rest(&mut house.connect().await).await;
    let mut idle = house.connect().await;
    ask(&mut idle, &get("/")).await;
    rest(&mut idle).await;
    assert_eq!((house.counted(Event::Silent), house.counted(Event::Idle)), (1, 1));
    house.gateway.gate.add_permits(1);
    assert_eq!(answer(&mut client).await.body, "waited");
}

#[tokio::test]
async fn a_head_above_its_limit_is_handed_on_to_be_refused_in_form() {
    let house = house(|settings| settings.limits.header_bytes = 5_000);
    let head = format!("GET /head HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(5_500));
    let answer = ask(&mut house.connect().await, &head).await;
    assert_eq!(answer.body, head.len().to_string());
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let house = house(|settings| settings.limits.header_bytes = 5_000);
    let mut client = house.connect().await;
    let (mut read, mut write) = client.split();
    let pour = async {
        write.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while write.write_all(b"X-More: and more, and more, and more\r\n").await.is_ok() {}
        std::future::pending::<()>().await;
    };
    let refused = tokio::select! {
        answer = answer(&mut read) => answer,
        () = pour => unreachable!(),
    };
    assert!(refused.status() == "431" && refused.closes(), "{refused:?}");
    assert_eq!((house.counted(Event::HeaderLarge), house.requests()), (1, 0));
}

#[tokio::test]
async fn what_is_no_http_is_refused_at_once() {
    let house = house(|_| {});
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"{\"jsonrpc\":\"2.0\"}\r\n\r\n"] {
        let mut client = house.connect().await;
        client.write_all(bytes).await.unwrap();
        let answer = answer(&mut client).await;
        assert_eq!((answer.status(), &*answer.body), ("400", "no: malformed_head"));
        assert!(answer.head.contains("x-request-id: a-name\r\n") && answer.closes(), "{answer:?}");
        assert_eq!(rest(&mut client).await, b"");
    }
    assert_eq!(house.requests(), 0);
}

/// What Pingora refuses of its own accord is answered in our words.
#[tokio::test]
async fn a_head_that_is_refused_before_the_application_is_refused_in_form() {
    let house = house(|_| {});
    let many = "X: y\r\n".repeat(300);
    for (head, status, body) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400", "no: malformed_head"),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "400", "no: malformed_head"),
        ("GET / HTTP/1.1\r\nHost: a\r\nBad Name: b\r\n\r\n", "400", "no: malformed_head"),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "403", "no: host_refused"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n", "400", "no: malformed_head"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", "400", "no: malformed_head"),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "400", "no: malformed_head"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "405", "no: method_not_allowed"),
        (&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "431", "no: headers_too_large"),
    ] {
        // After a good request, too: what was claimed is not claimed for ever.
        for before in [0, 1] {
            let mut client = house.connect().await;
            for _ in 0..before {
                assert_eq!(ask(&mut client, &get("/")).await.status(), "200");
            }
            let refused = ask(&mut client, head).await;
            assert_eq!((refused.status(), &*refused.body), (status, body), "{head}");
            assert!(refused.closes(), "{refused:?}");
            assert_eq!(rest(&mut client).await, b"", "{head}");
        }
    }
    assert_eq!(house.requests(), 9);
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn chunked(path: &str, chunks: &[&str]) -> String {
    let chunks: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
}

/// RFC 9112 section 9.3.2, however the bytes arrive.
#[tokio::test]
async fn requests_sent_early_are_answered_in_order() {
    let house = house(|_| {});
    let long = "x".repeat(100_000);
    let requests = [
        post("/body", "12345"),
        get("/"),
        chunked("/body", &["a", "bcd"]),
        post("/body", &long),
        chunked("/body", &[&long, &long]),
        post("/body", ""),
        get("/facts"),
        post("/body", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ];
    let expected = ["5", "here", "4", "100000", "200000", "0", "main", "27"];
    let all = requests.concat().into_bytes();
    for cut in [all.len(), 1000, 4096, 70_000] {
        let mut client = house.connect().await;
        let (mut read, mut write) = client.split();
        let send = async {
            for piece in all.chunks(cut) {
                write.write_all(piece).await.unwrap();
                write.flush().await.unwrap();
            }
        };
        let hear = async {
            for expected in expected {
                let answer = answer(&mut read).await;
                assert!(answer.status() == "200" && !answer.closes(), "{answer:?}");
                assert!(answer.body.starts_with(expected), "{cut}: {expected} {answer:?}");
            }
        };
        tokio::join!(send, hear);
        // Nothing was left behind: the connection is as good as new.
        assert_eq!(ask(&mut client, &get("/")).await.body, "here");
    }
}

#[tokio::test]
async fn a_request_sent_while_the_one_before_is_carried_out_waits_for_it() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    client.write_all(get("/wait").as_bytes()).await.unwrap();
    until("the first has begun", || house.requests() == 1).await;
    client.write_all((get("/facts") + &get("/wait")).as_bytes()).await.unwrap();
    house.gateway.gate.add_permits(1);
    assert_eq!(answer(&mut client).await.body, "waited");
    assert!(answer(&mut client).await.body.starts_with("main"));
    house.gateway.gate.add_permits(1);
    assert_eq!(answer(&mut client).await.body, "waited");
}

/// A held stream looks whether its client is still there; a request that comes meanwhile is not taken for that, nor lost.
#[tokio::test]
async fn a_request_behind_a_held_stream_does_not_hold_the_stream_up() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    client.write_all((get("/stream") + &get("/facts")).as_bytes()).await.unwrap();
    assert_eq!(answer(&mut client).await.status(), "200");
    house.gateway.gate.add_permits(1);
    let mut event = [0; 10];
    client.read_exact(&mut event).await.unwrap();
    assert_eq!(&event, b"5\r\nevent\r\n");
    client.write_all(get("/").as_bytes()).await.unwrap();
    house.gateway.gate.add_permits(1);
    client.read_exact(&mut event).await.unwrap();
    assert_eq!((&event, house.requests()), (b"5\r\nevent\r\n", 1));
}

/// Behind a body that is not framed plainly nobody can tell a request for sure: the connection ends instead.
#[tokio::test]
async fn nothing_is_served_behind_a_body_without_a_plain_end() {
    let house = house(|_| {});
    let extended = "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n";
    let both = chunked("/body", &["abc"]).replacen("Host: a", "Host: a\r\nContent-Length: 3", 1);
    let twice = post("/body", "abc").replacen("Host: a", "Host: a\r\nContent-Length: 3", 1);
    for first in [extended, &both, &twice] {
        let mut client = house.connect().await;
        let before = house.requests();
        assert_eq!(ask(&mut client, &(first.to_owned() + &get("/"))).await.body, "3");
        assert_eq!(rest(&mut client).await, b"", "{first}");
        assert_eq!(house.requests(), before + 1, "{first}");
    }
}

/// Whatever Pingora leaves of a body is no request.
#[tokio::test]
async fn what_is_left_of_a_body_is_no_request() {
    let house = house(|_| {});
    for first in [post("/early", &get("/facts")), chunked("/early", &[&get("/facts")])] {
        let mut client = house.connect().await;
        let before = house.requests();
        let early = ask(&mut client, &(first.clone() + &get("/facts"))).await;
        assert_eq!((&*early.body, early.closes()), ("not read", true));
        assert_eq!(rest(&mut client).await, b"", "{first}");
        assert_eq!(house.requests(), before + 1, "{first}");
    }
}

/// A request that is sent early has the same deadline and size as any other.
#[tokio::test]
async fn an_early_head_is_as_bounded_as_any() {
    let house = house(|settings| {
        settings.limits.header_time = SHORT;
        settings.limits.header_bytes = 2_000;
    });
    let mut client = house.connect().await;
    client.write_all((get("/") + "GET / HTTP/1.1\r\nHos").as_bytes()).await.unwrap();
    assert_eq!(answer(&mut client).await.status(), "200");
    assert_eq!(answer(&mut client).await.body, "no: headers_too_slow");
    let mut client = house.connect().await;
    client.write_all((get("/") + "GET / HTTP/1.1\r\nX: " + &"x".repeat(5_000)).as_bytes()).await.unwrap();
    assert_eq!(answer(&mut client).await.status(), "200");
    assert_eq!(answer(&mut client).await.body, "no: headers_too_large");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_given_up() {
    let house = house(|settings| settings.limits.write_time = SHORT);
    let mut client = house.connect().await;
    client.write_all(get("/endless").as_bytes()).await.unwrap();
    until("the connection is accepted", || house.counted(Event::Accepted) == 1).await;
    house.drain.no_connections().await;
    assert_eq!(house.counted(Event::WriteSlow), 1);
    assert_eq!(house.gateway.broken.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_given_early_reaches_a_client_that_is_still_sending() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    let size = 8 << 20;
    let (mut read, mut write) = client.split();
    let send = async {
        let head = format!("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n");
        write.write_all(head.as_bytes()).await.unwrap();
        // All of it is taken, or the answer would be lost in a reset.
        write.write_all(&vec![b'x'; size]).await.unwrap();
    };
    let (answer, ()) = tokio::join!(answer(&mut read), send);
    assert!(answer.body == "not read" && answer.closes(), "{answer:?}");
    assert_eq!(rest(&mut read).await, b"");
}

#[tokio::test]
async fn the_head_of_a_held_stream_does_not_wait_for_its_first_event() {
    let house = house(|_| {});
    let mut client = house.connect().await;
    let head = ask(&mut client, &get("/stream")).await;
    assert!(head.status() == "200");
    house.gateway.gate.add_permits(1);
    let mut event = [0; 10];
    client.read_exact(&mut event).await.unwrap();
    assert_eq!(&event, b"5\r\nevent\r\n");
    drop(client);
    house.drain.no_connections().await;
    assert_eq!(house.drain.in_flight(), 0);
}

#[tokio::test]
async fn changed_limits_count_for_new_connections() {
    let house = house(|_| {});
    let mut before = house.connect().await;
    assert_eq!(ask(&mut before, &get("/")).await.status(), "200");
    let mut settings = (*house.listener.settings()).clone();
    settings.limits.connections = 1;
    settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    house.listener.prepare(settings, Certificate::Read).unwrap().apply();
    assert_eq!(ask(&mut before, &get("/")).await.status(), "200");
    assert_eq!(rest(&mut house.connect().await).await, b"");
    drop(before);
    until("the place is free", || house.admission.open() == 0).await;
    let proxied = "GET /facts HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n";
    let facts = ask(&mut house.connect().await, proxied).await;
    assert_eq!(facts.body, "main peer=127.0.0.1 client=192.0.2.7 trusted=true tls=false HTTP/1.1");
}
