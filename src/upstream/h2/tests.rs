//! Against HTTP/2 servers on real sockets.

use crate::upstream::exchange::UpstreamRequest;
use crate::upstream::fault::FaultKind;
use crate::upstream::settings::{EndpointSettings, Http2};
use crate::upstream::testing::{Client, at, json, post, receive, say, serve};
use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response, StatusCode};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

type Exchange = (Request<RecvStream>, SendResponse<Bytes>);

/// Serves each stream with `script`; the counter tells how many connections there were.
async fn streams<F, Fut>(script: F) -> (Client, Arc<AtomicUsize>)
where
    F: Fn(Exchange) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let address = serve(move |_, stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let script = script.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.expect("a handshake");
            while let Some(Ok(exchange)) = connection.accept().await {
                tokio::spawn(script(exchange));
            }
        }
    })
    .await;
    (client(address), connections)
}

fn client(address: SocketAddr) -> Client {
    let url = format!("http://{address}/mcp");
    Client::with(EndpointSettings { http2: Http2::Always, ..at(url) })
}

async fn read(body: &mut RecvStream) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        body.flow_control().release_capacity(piece.len()).expect("capacity");
        whole.extend_from_slice(&piece);
    }
    whole
}

async fn echo((request, mut respond): Exchange) {
    let (head, mut body) = request.into_parts();
    let mut left = Bytes::from(read(&mut body).await);
    let response = Response::builder().header("content-type", "application/json").header("set-cookie", "a=b");
    let response = response.header("x-scheme", head.uri.scheme_str().unwrap_or_default());
    let response = response.header("x-authority", head.uri.authority().map_or("", |authority| authority.as_str()));
    let mut stream = respond.send_response(response.body(()).expect("a response"), left.is_empty()).expect("open");
    while !left.is_empty() {
        stream.reserve_capacity(left.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await.expect("open").expect("room");
        let piece = left.split_to(room.min(left.len()));
        stream.send_data(piece, left.is_empty()).expect("open");
    }
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let (client, connections) = streams(echo).await;
    let client = Arc::new(client);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call(r#"{"id":1}"#).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.expect("no panic").expect("an answer"), (200, Bytes::from(r#"{"id":1}"#)));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    client.endpoint.sweep();
    assert_eq!(client.endpoint.shared.len(), 1);
}

#[tokio::test]
async fn the_request_names_the_endpoint() {
    let (client, _) = streams(echo).await;
    let response = client.send(&post("{}")).await.expect("an answer");
    assert_eq!(response.headers["x-scheme"], "http");
    assert!(response.headers["x-authority"].to_str().expect("text").starts_with("127.0.0.1:"));
    assert!(!response.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn bodies_larger_than_all_windows_pass() {
    let (client, _) = streams(echo).await;
    let body: Bytes = (0..20_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    let mut response = client.send(&post(body.clone())).await.expect("an answer");
    assert!(response.collect(32 << 20).await.expect("a body") == body);
}

/// Answers with a header, then reports how the stream ends.
fn reports_resets(events: mpsc::Sender<Option<Reason>>, answers: bool) -> impl Fn(Exchange) -> BoxFuture + Clone {
    move |(_, mut respond)| {
        let events = events.clone();
        Box::pin(async move {
            let reset = if answers {
                let mut stream = respond.send_response(Response::new(()), false).expect("open");
                poll_fn(|cx| stream.poll_reset(cx)).await
            } else {
                let _ = events.send(None).await;
                poll_fn(|cx| respond.poll_reset(cx)).await
            };
            let _ = events.send(reset.ok()).await;
        })
    }
}

type BoxFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

#[tokio::test]
async fn dropping_the_response_resets_the_stream_at_once() {
    let (events, mut happened) = mpsc::channel(2);
    let (client, connections) = streams(reports_resets(events, true)).await;
    for _ in 0..2 {
        drop(client.send(&post("{}")).await.expect("a header"));
        assert_eq!(happened.recv().await, Some(Some(Reason::CANCEL)));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1, "the connection stays");
}

#[tokio::test]
async fn dropping_the_request_resets_the_stream_at_once() {
    let (events, mut happened) = mpsc::channel(2);
    let (client, _) = streams(reports_resets(events, false)).await;
    tokio::select! {
        _ = client.call("{}") => panic!("nobody answers"),
        event = happened.recv() => assert_eq!(event, Some(None)),
    }
    assert_eq!(happened.recv().await, Some(Some(Reason::CANCEL)));
}

#[tokio::test]
async fn a_response_that_does_not_wait_for_the_request_is_passed_on() {
    let (client, _) = streams(|(_request, mut respond): Exchange| async move {
        let response = Response::builder().status(StatusCode::PAYLOAD_TOO_LARGE).body(()).expect("a response");
        let mut stream = respond.send_response(response, false).expect("open");
        stream.send_data(Bytes::from("no"), true).expect("open");
        std::future::pending::<()>().await;
    })
    .await;
    let mut response = client.send(&post(vec![b'x'; 1 << 20])).await.expect("an answer");
    assert_eq!((response.status.as_u16(), response.collect(10).await.expect("a body")), (413, Bytes::from("no")));
}

#[tokio::test]
async fn refused_streams_are_known_not_to_have_run() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let (client, _) = streams(move |(request, mut respond): Exchange| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            match number {
                0 | 1 | 3 => respond.send_reset(Reason::REFUSED_STREAM),
                4 => echo((request, respond)).await,
                _ => respond.send_reset(Reason::INTERNAL_ERROR),
            }
        }
    })
    .await;
    let fault = client.call("{}").await.expect_err("refused twice");
    assert_eq!((fault.kind, fault.provably_not_run), (FaultKind::Closed, true));
    let fault = client.call("{}").await.expect_err("reset");
    assert_eq!((fault.kind, fault.provably_not_run), (FaultKind::Closed, false));
    assert_eq!(client.call("{}").await.expect("repeated").0, 200);
    assert_eq!((seen.load(Ordering::SeqCst), client.endpoint.shared.len()), (5, 1));
}

#[tokio::test]
async fn a_connection_that_shuts_down_takes_no_further_requests() {
    let address = serve(|number, stream: TcpStream| async move {
        let mut connection: Connection<TcpStream, Bytes> = h2::server::handshake(stream).await.expect("a handshake");
        while let Some(Ok(exchange)) = connection.accept().await {
            if number == 0 {
                connection.graceful_shutdown();
            }
            tokio::spawn(echo(exchange));
        }
    })
    .await;
    let client = client(address);
    for _ in 0..3 {
        assert_eq!(client.call("{}").await.expect("an answer").0, 200);
    }
}

#[tokio::test]
async fn a_server_without_http_2_is_told_apart() {
    let address = serve(|_, mut stream| async move {
        receive(&mut stream).await;
        say(&mut stream, json("{}")).await;
    })
    .await;
    let request: UpstreamRequest = post("{}");
    let fault = client(address).send(&request).await.expect_err("no HTTP/2");
    assert_eq!(fault.fault(), lockgate_filters::fault::Fault::BackendProtocol, "{fault:?}");
}

#[tokio::test]
async fn large_response_headers_are_refused() {
    let (client, _) = streams(|(_request, mut respond): Exchange| async move {
        let mut response = Response::new(());
        for at in 0..200 {
            let name: http::HeaderName = format!("x-{at}").parse().expect("a name");
            response.headers_mut().insert(name, "y".parse().expect("a value"));
        }
        respond.send_response(response, true).expect("open");
    })
    .await;
    assert_eq!(client.call("{}").await.expect_err("refused").kind, FaultKind::Protocol);
}
