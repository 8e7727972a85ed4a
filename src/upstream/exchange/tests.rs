//! Against scripted servers on real sockets.

use super::*;
use crate::upstream::resolve::Lookup;
use crate::upstream::settings::{EndpointSettings, PoolSettings};
use crate::upstream::testing::{Client, answer, at, json, post, receive, say, serve};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderName, HeaderValue};
use std::future::poll_fn;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

const SHORT: Duration = Duration::from_millis(60);

/// Serves every request on every connection with the same response, and tells how many connections there were.
async fn constant(response: Vec<u8>) -> (Client, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let address = serve(move |_, mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let response = response.clone();
        async move {
            while receive(&mut stream).await.is_some() {
                say(&mut stream, &response).await;
            }
        }
    })
    .await;
    (Client::to(address), connections)
}

#[tokio::test]
async fn a_connection_is_used_again_once_the_body_was_read() {
    let (client, connections) = constant(json("{}")).await;
    for _ in 0..5 {
        assert_eq!(client.call("{}").await.expect("an answer"), (200, Bytes::from("{}")));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert_eq!(client.endpoint.idle.len(), 1);
}

#[tokio::test]
async fn as_many_connections_are_kept_as_the_pool_says_now() {
    let (client, connections) = constant(json("{}")).await;
    let pool = **client.endpoint.pool();
    client.endpoint.set_pool(PoolSettings { idle_connections: 0, ..pool });
    for _ in 0..2 {
        client.call("{}").await.expect("an answer");
    }
    assert_eq!((connections.load(Ordering::SeqCst), client.endpoint.idle.len()), (2, 0));
    client.endpoint.set_pool(PoolSettings { idle_connections: 1, ..pool });
    for _ in 0..2 {
        client.call("{}").await.expect("an answer");
    }
    assert_eq!((connections.load(Ordering::SeqCst), client.endpoint.idle.len()), (3, 1));
}

#[tokio::test]
async fn the_request_arrives_as_it_should() {
    let (seen, mut requests) = mpsc::channel(1);
    let address = serve(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            while let Some(request) = receive(&mut stream).await {
                let _ = seen.send(request).await;
                say(&mut stream, json("{}")).await;
            }
        }
    })
    .await;
    let client = Client::to(address);
    let mut request = post(r#"{"id":1}"#);
    request.fields.set(HeaderName::from_static("mcp-method"), HeaderValue::from_static("tools/list"));
    client.send(&request).await.expect("an answer").collect(10).await.expect("a body");
    let received = requests.recv().await.expect("a request");
    assert_eq!(received.line(), "POST /mcp HTTP/1.1");
    assert_eq!(received.field("host"), Some(address.to_string().as_str()));
    assert_eq!(received.field("mcp-method"), Some("tools/list"));
    assert_eq!(received.field("accept"), Some("application/json, text/event-stream"));
    assert_eq!(received.field("accept-encoding"), Some("identity"));
    assert_eq!(received.field("content-type"), Some("application/json"));
    assert_eq!(received.body, br#"{"id":1}"#);

    let get = UpstreamRequest { verb: Verb::Get, body: Bytes::new(), ..request };
    client.send(&get).await.expect("an answer").collect(10).await.expect("a body");
    let received = requests.recv().await.expect("a request");
    assert_eq!(received.line(), "GET /mcp HTTP/1.1");
    assert_eq!(received.field("accept"), Some("text/event-stream"));
    assert_eq!((received.field("content-length"), received.field("content-type")), (None, None));
}

#[tokio::test]
async fn large_bodies_pass_in_both_directions() {
    let address = serve(|_, mut stream| async move {
        while let Some(request) = receive(&mut stream).await {
            let length = request.body.len();
            say(&mut stream, format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")).await;
            say(&mut stream, request.body).await;
        }
    })
    .await;
    let client = Client::to(address);
    let body: Bytes = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    for _ in 0..2 {
        let mut response = client.send(&post(body.clone())).await.expect("an answer");
        assert_eq!((response.length(), response.is_complete()), (Some(3_000_000), false));
        assert_eq!(response.collect(4 << 20).await.expect("a body"), body);
        assert!(response.is_complete());
    }
    let mut response = client.send(&post(body)).await.expect("an answer");
    assert_eq!(response.collect(1 << 20).await.expect_err("too long").kind, FaultKind::TooLong);
}

#[tokio::test]
async fn chunked_and_close_delimited_bodies_end_where_they_should() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{\"\r\n4\r\na\":1\r\n1\r\n}\r\n0\r\n\r\n";
    let (client, connections) = constant(chunked.to_vec()).await;
    for _ in 0..2 {
        assert_eq!(client.call("{}").await.expect("an answer").1, r#"{"a":1}"#);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);

    let address = serve(|_, mut stream| async move {
        receive(&mut stream).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let client = Client::to(address);
    assert_eq!(client.call("{}").await.expect("an answer").1, "until the end");
    assert_eq!(client.endpoint.idle.len(), 0);
}

#[tokio::test]
async fn bytes_behind_a_response_end_the_connection() {
    let (client, connections) = constant([json("{}"), json("{}")].concat()).await;
    for _ in 0..2 {
        assert_eq!(client.call("{}").await.expect("an answer").1, "{}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

/// A server whose first connection answers once and closes on the second request; the next one serves.
async fn stale() -> (Client, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let address = serve(move |number, mut stream| {
        let counted = counted.clone();
        async move {
            let mut served = 0;
            while receive(&mut stream).await.is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
                if number == 0 && served == 1 {
                    return;
                }
                served += 1;
                say(&mut stream, json("{}")).await;
            }
        }
    })
    .await;
    (Client::to(address), requests)
}

#[tokio::test]
async fn a_lost_request_is_repeated_only_if_it_may_be() {
    let (client, requests) = stale().await;
    client.call("{}").await.expect("an answer");
    let mut list = post("{}");
    list.replay = Replay::IfUnanswered;
    let mut response = client.send(&list).await.expect("repeated on a fresh connection");
    response.collect(10).await.expect("a body");
    assert_eq!(requests.load(Ordering::SeqCst), 3);

    let (client, requests) = stale().await;
    client.call("{}").await.expect("an answer");
    let fault = client.call("{}").await.expect_err("a tool call is not repeated");
    assert_eq!((fault.kind, fault.provably_not_run, fault.reused), (FaultKind::Closed, false, true));
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_that_the_backend_closed_is_not_used() {
    let (closed, mut is_closed) = mpsc::channel(1);
    let address = serve(move |number, mut stream| {
        let closed = closed.clone();
        async move {
            while receive(&mut stream).await.is_some() {
                say(&mut stream, json("{}")).await;
                if number == 0 {
                    drop(stream);
                    let _ = closed.send(()).await;
                    return;
                }
            }
        }
    })
    .await;
    let client = Client::to(address);
    client.call("{}").await.expect("an answer");
    is_closed.recv().await;
    client.endpoint.sweep();
    assert_eq!(client.endpoint.idle.len(), 0, "the sweep closes what the backend closed");
    client.call("{}").await.expect("an answer on a new connection");
}

#[tokio::test]
async fn idle_connections_are_given_up_before_the_backend_does() {
    let fields = "content-type: application/json\r\nkeep-alive: timeout=1\r\n";
    let (client, connections) = constant(answer("200 OK", fields, "{}")).await;
    for _ in 0..2 {
        client.call("{}").await.expect("an answer");
    }
    assert_eq!((connections.load(Ordering::SeqCst), client.endpoint.idle.len()), (2, 0));
}

#[tokio::test]
async fn silence_before_the_header_times_out() {
    let address = serve(|_, mut stream| async move {
        receive(&mut stream).await;
        // Drips header bytes for ever: only the whole header counts.
        loop {
            if stream.write_all(b"HTTP/1.1 200 OK\r\nx: y\r\n").await.is_err() {
                return;
            }
            tokio::time::sleep(SHORT / 4).await;
        }
    })
    .await;
    let mut client = Client::to(address);
    client.timeouts.first_byte = SHORT;
    let fault = client.call("{}").await.expect_err("too slow");
    assert_eq!(
        (fault.kind, fault.fault()),
        (FaultKind::FirstByteTimeout, lockgate_filters::fault::Fault::BackendTimeout)
    );
    client.timeouts = Timeouts { total: SHORT, ..Timeouts::default() };
    assert_eq!(client.call("{}").await.expect_err("too slow").kind, FaultKind::TotalTimeout);
}

#[tokio::test]
async fn silence_in_the_body_times_out_however_often_it_is_asked_for() {
    let (client, _) = constant(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()).await;
    let client = Client { timeouts: Timeouts { idle_stream: SHORT, ..Timeouts::default() }, ..client };
    let mut response = client.send(&post("{}")).await.expect("a header");
    assert_eq!(response.chunk().await.expect("a piece"), Some(Bytes::from("half")));
    let fault = loop {
        // As a lane does that also writes keep-alive comments.
        tokio::select! {
            chunk = response.chunk() => break chunk.expect_err("silence"),
            () = tokio::time::sleep(SHORT / 10) => {}
        }
    };
    assert_eq!(fault.kind, FaultKind::IdleTimeout);
    assert_eq!(response.chunk().await.expect("ended"), None);
}

#[tokio::test]
async fn a_cut_body_is_a_fault() {
    let bodies: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
        b"HTTP/1.1 200 OK\r\ncontent-le",
    ];
    for body in bodies {
        let address = serve(move |_, mut stream| async move {
            receive(&mut stream).await;
            say(&mut stream, body).await;
        })
        .await;
        let fault = Client::to(address).call("{}").await.expect_err("cut");
        assert_eq!((fault.kind, fault.provably_not_run), (FaultKind::Cut, false));
    }
}

#[tokio::test]
async fn dropping_the_response_closes_the_connection_at_once() {
    let (gone, mut is_gone) = mpsc::channel(1);
    let address = serve(move |_, mut stream| {
        let gone = gone.clone();
        async move {
            receive(&mut stream).await;
            say(
                &mut stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await;
            let ended = stream.read(&mut [0; 1]).await;
            let _ = gone.send(matches!(ended, Ok(0) | Err(_))).await;
        }
    })
    .await;
    let client = Client::to(address);
    let response = client.send(&post("{}")).await.expect("a header");
    assert_eq!(response.form(), Form::EventStream);
    drop(response);
    assert_eq!(is_gone.recv().await, Some(true));
}

#[tokio::test]
async fn dropping_the_request_closes_the_connection_at_once() {
    let (events, mut happened) = mpsc::channel(2);
    let address = serve(move |_, mut stream| {
        let events = events.clone();
        async move {
            receive(&mut stream).await;
            let _ = events.send("asked").await;
            let _ = stream.read(&mut [0; 1]).await;
            let _ = events.send("gone").await;
        }
    })
    .await;
    let client = Client::to(address);
    tokio::select! {
        _ = client.call("{}") => panic!("nobody answers"),
        event = happened.recv() => assert_eq!(event, Some("asked")),
    }
    assert_eq!(happened.recv().await, Some("gone"));
}

#[tokio::test]
async fn a_response_that_does_not_wait_for_the_request_is_passed_on() {
    let address = serve(|_, mut stream| async move {
        let mut some = [0; 1024];
        let _ = stream.read(&mut some).await;
        say(&mut stream, answer("413 Too Large", "connection: close\r\n", "no")).await;
        // Keeps the connection open without reading on.
        std::future::pending::<()>().await;
    })
    .await;
    let client = Client::to(address);
    let mut response = client.send(&post(vec![b'x'; 32 << 20])).await.expect("an answer");
    assert_eq!((response.status.as_u16(), response.collect(10).await.expect("a body")), (413, Bytes::from("no")));
    assert_eq!(client.endpoint.idle.len(), 0);
}

#[tokio::test]
async fn a_request_that_was_not_taken_whole_has_not_run_and_is_sent_once_more() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let address = serve(move |_, mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let _ = stream.read(&mut [0; 1024]).await;
        }
    })
    .await;
    let fault = Client::to(address).send(&post(vec![b'x'; 32 << 20])).await.expect_err("closed");
    assert_eq!((fault.kind, fault.provably_not_run), (FaultKind::Closed, true));
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_restarts_is_tried_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let client = Client::to(address);
    let mut call = Box::pin(client.call("{}"));
    // Time stands still while this is ready to run, so the pause lasts.
    for _ in 0..10_000 {
        let waits = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
        assert!(waits);
        tokio::task::yield_now().await;
    }
    let listener = tokio::net::TcpListener::bind(address).await.expect("the port");
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        receive(&mut stream).await.expect("a request");
        say(&mut stream, json("{}")).await;
    });
    assert_eq!(call.await.expect("an answer"), (200, Bytes::from("{}")));
    served.await.expect("served");
}

#[tokio::test]
async fn nobody_listening_is_unreachable_and_nothing_ran() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let fault = Client::to(address).call("{}").await.expect_err("refused");
    assert_eq!((fault.kind, fault.provably_not_run), (FaultKind::Unreachable, true));
    assert!(!fault.to_string().contains("127"));
}

/// A server that answers by path, and counts requests by path.
async fn by_path(respond: fn(&str) -> Vec<u8>) -> (Client, mpsc::UnboundedReceiver<String>) {
    let (seen, paths) = mpsc::unbounded_channel();
    let address = serve(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            while let Some(request) = receive(&mut stream).await {
                let path = request.line().split(' ').nth(1).expect("a path").to_owned();
                say(&mut stream, respond(&path)).await;
                let _ = seen.send(path);
            }
        }
    })
    .await;
    (Client::to(address), paths)
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_once_and_remembered() {
    let (client, mut paths) = by_path(|path| match path {
        "/mcp" => answer("307 Temporary Redirect", "location: /mcp/\r\n", ""),
        _ => json("{}"),
    })
    .await;
    for _ in 0..2 {
        assert_eq!(client.call("{}").await.expect("an answer").0, 200);
    }
    let mut seen = Vec::new();
    while let Ok(path) = paths.try_recv() {
        seen.push(path);
    }
    assert_eq!(seen, ["/mcp", "/mcp/", "/mcp/"]);
}

#[tokio::test]
async fn a_remembered_redirect_is_forgotten_when_it_leads_nowhere() {
    static GONE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let (client, mut paths) = by_path(|path| match (path, GONE.load(Ordering::SeqCst)) {
        ("/mcp", false) => answer("308 Permanent Redirect", "location: /new\r\n", ""),
        ("/new", false) | ("/mcp", true) => json("{}"),
        _ => answer("404 Not Found", "", ""),
    })
    .await;
    client.call("{}").await.expect("redirected");
    GONE.store(true, Ordering::SeqCst);
    assert_eq!(client.call("{}").await.expect("an answer").0, 404);
    assert_eq!(client.call("{}").await.expect("an answer").0, 200);
    let mut seen = Vec::new();
    while let Ok(path) = paths.try_recv() {
        seen.push(path);
    }
    assert_eq!(seen, ["/mcp", "/new", "/new", "/mcp"]);
}

#[tokio::test]
async fn other_redirects_are_refused() {
    let responses: [(&str, &str); 5] = [
        ("302 Found", "location: /mcp/\r\n"),
        ("303 See Other", "location: /mcp/\r\n"),
        ("304 Not Modified", ""),
        ("307 Temporary Redirect", "location: http://127.0.0.1:1/mcp\r\n"),
        ("308 Permanent Redirect", ""),
    ];
    for (status, fields) in responses {
        let (client, _) = constant(answer(status, fields, "")).await;
        let fault = client.call("{}").await.expect_err("refused");
        assert_eq!(fault.fault(), lockgate_filters::fault::Fault::BackendProtocol, "{status}");
    }
    let (client, _) = by_path(|_| answer("307 Temporary Redirect", "location: /again\r\n", "")).await;
    assert_eq!(client.call("{}").await.expect_err("a loop").to_string(), "it redirects more than once");
}

fn gzipped(fields: &str, plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("memory");
    let body = encoder.finish().expect("memory");
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-encoding: gzip\r\n{fields}\r\n", body.len());
    [head.into_bytes(), body].concat()
}

#[tokio::test]
async fn gzip_is_undone_or_refused() {
    let (client, connections) = constant(gzipped("content-type: application/json\r\n", b"{\"a\":1}")).await;
    for _ in 0..2 {
        let mut response = client.send(&post("{}")).await.expect("an answer");
        assert_eq!(response.headers[header::CONTENT_LENGTH], "7");
        assert!(!response.headers.contains_key(header::CONTENT_ENCODING));
        assert_eq!(response.collect(100).await.expect("a body"), "{\"a\":1}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);

    let (client, _) = constant(gzipped("content-type: text/event-stream\r\n", b"data: x\n\n")).await;
    assert_eq!(client.call("{}").await.expect_err("refused").kind, FaultKind::Protocol);
    let (client, _) = constant(gzipped("content-type: application/json\r\n", &vec![b' '; 2 << 20])).await;
    assert_eq!(client.call("{}").await.expect_err("a bomb").kind, FaultKind::TooLong);
    let (client, _) = constant(answer("200 OK", "content-encoding: br\r\n", "x")).await;
    assert_eq!(client.call("{}").await.expect_err("refused").kind, FaultKind::Protocol);
}

#[tokio::test]
async fn a_server_that_does_not_speak_http_is_a_protocol_fault() {
    for greeting in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "\r\n\r\n"] {
        let (client, _) = constant(greeting.as_bytes().to_vec()).await;
        assert_eq!(client.call("{}").await.expect_err("refused").kind, FaultKind::Protocol, "{greeting:?}");
    }
}

#[tokio::test]
async fn unix_sockets_are_spoken_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        while let Some(request) = receive(&mut stream).await {
            say(&mut stream, json(request.line())).await;
        }
    });
    let client = Client::with(EndpointSettings { socket: Some(path), ..at("http://localhost/mcp") });
    for _ in 0..2 {
        assert_eq!(client.call("{}").await.expect("an answer").1, "POST /mcp HTTP/1.1");
    }
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let refusing = nobody.local_addr().expect("an address");
    drop(nobody);
    let serving = serve(|_, mut stream| async move {
        while receive(&mut stream).await.is_some() {
            say(&mut stream, answer("200 OK", "connection: close\r\n", "{}")).await;
        }
    })
    .await;
    let lookup: Lookup = Arc::new(move |_, _| Box::pin(async move { Ok(vec![refusing, serving]) }));
    let connector = Connector::with_lookup(lookup);
    let client = Client::built(at("http://backend.example/mcp"), PoolSettings::default(), connector);
    for _ in 0..2 {
        assert_eq!(client.call("{}").await.expect("an answer").0, 200);
    }
    let first = client.endpoint.resolver.addresses().await.expect("resolved");
    assert_eq!(first[0], crate::upstream::resolve::Address::Inet(serving), "what worked is tried first");
}

#[tokio::test]
async fn a_backend_that_does_not_accept_times_out() {
    // A full backlog: connections beyond it stay unanswered.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await {
        filling.push(stream);
    }
    let mut client = Client::to(address);
    client.timeouts.connect = SHORT;
    let fault = client.call("{}").await.expect_err("nobody accepts");
    assert_eq!((fault.kind, fault.provably_not_run), (FaultKind::ConnectTimeout, true));
}
