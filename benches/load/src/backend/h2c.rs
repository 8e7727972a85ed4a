//! One HTTP/2 connection of the backend, by prior knowledge on the same port.
//!
//! Answers are the HTTP/1.1 ones, taken apart again: the backend has one set of answers, and HTTP/2 is for
//! comparing how a gateway speaks to its backends, not for speed here.

use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::TcpStream;

use super::pushing::Pushing;
use super::respond::{Reply, Responder};
use crate::mcp::MODERN_REVISION;
use crate::wire::decoder::{Decoder, Progress};
use crate::wire::head::{Framing, Head, Method, Side, Start};

/// How an HTTP/2 connection begins.
pub const PREFACE: &[u8] = b"PRI ";
const WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 24;
const STREAMS_MAX: u32 = 1_000;
/// Longest request body that is read.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Serves one connection; every error ends it.
pub async fn connection(stream: TcpStream, responder: Rc<Responder>) {
    let handshake = Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .handshake(stream);
    let Ok(mut connection) = handshake.await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let responder = responder.clone();
        tokio::task::spawn_local(async move {
            // A broken stream concerns its client alone, which notices by itself.
            let _ = exchange(request, respond, &responder).await;
        });
    }
}

async fn exchange(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    responder: &Responder,
) -> Result<(), h2::Error> {
    let head = head(&request);
    let body = read(request.into_body()).await?;
    let mut decoder = Decoder::new(Side::Answers);
    let reply = responder.respond(&head, &body, &mut decoder.raw);
    let done = matches!(decoder.advance(), Ok(Progress::Done));
    let empty = done && decoder.body().is_empty();
    let mut stream = respond.send_response(answer(&decoder), empty)?;
    if empty {
        return Ok(());
    }
    send(&mut decoder, &mut stream, done)?;
    match reply {
        Reply::Whole => Ok(()),
        Reply::Hold => poll_fn(|context| stream.poll_reset(context)).await.map(drop),
        Reply::Push(push) => {
            let mut pushing = Pushing::begin(push);
            loop {
                let more = pushing.next(responder, &mut decoder.raw).await;
                // Takes the chunked coding off again.
                if decoder.advance().is_err() {
                    return Ok(());
                }
                send(&mut decoder, &mut stream, !more)?;
                if !more {
                    return Ok(());
                }
            }
        }
    }
}

fn head(request: &Request<RecvStream>) -> Head {
    let field = |name: &str| request.headers().get(name);
    let method = match request.method().as_str() {
        "POST" => Method::Post,
        "GET" => Method::Get,
        "DELETE" => Method::Delete,
        _ => Method::Other,
    };
    Head {
        start: Start::Request(method),
        framing: Framing::Length(0),
        close: false,
        sse: false,
        modern: field("mcp-protocol-version").is_some_and(|value| value == MODERN_REVISION),
        session: field("mcp-session-id").and_then(|value| value.to_str().ok()).map(Into::into),
    }
}

async fn read(mut stream: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
        if body.len() > BODY_BYTES_MAX {
            return Err(h2::Reason::ENHANCE_YOUR_CALM.into());
        }
    }
    Ok(body)
}

fn answer(decoder: &Decoder) -> Response<()> {
    let mut response = Response::new(());
    let Some(head) = decoder.head() else { return response };
    if let Start::Answer(status) = head.start {
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    }
    let kind = if head.sse { "text/event-stream" } else { "application/json" };
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
    if let Some(session) = head.session.as_deref().and_then(|session| http::HeaderValue::from_str(session).ok()) {
        response.headers_mut().insert("mcp-session-id", session);
    }
    response
}

/// Sends what is there of the body.
fn send(decoder: &mut Decoder, stream: &mut SendStream<Bytes>, end: bool) -> Result<(), h2::Error> {
    let piece = Bytes::copy_from_slice(decoder.body());
    decoder.consume(piece.len());
    stream.send_data(piece, end)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;
    use crate::mcp::Era;
    use crate::mcp::results::{Listed, Results, answer_length};

    /// Asks once over HTTP/2 and returns status and body.
    async fn ask(body: &'static str) -> (u16, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            let (stream, _) = listener.accept().await.unwrap();
            connection(stream, Rc::new(Responder::new("a", Listed::Own(1)))).await;
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(async move { connection.await.unwrap() });
        let request = Request::post(format!("http://{address}/mcp"))
            .header("mcp-protocol-version", MODERN_REVISION)
            .body(())
            .unwrap();
        let (response, mut stream) = sender.ready().await.unwrap().send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
        let response = response.await.unwrap();
        (response.status().as_u16(), read(response.into_body()).await.unwrap())
    }

    #[tokio::test]
    async fn the_same_answers_come_over_http2() {
        let call = r#"{"jsonrpc":"2.0","id":1000000000,"method":"tools/call","params":{"name":"text","arguments":{}}}"#;
        let (status, body) = LocalSet::new().run_until(ask(call)).await;
        assert_eq!(status, 200);
        assert_eq!(body.len(), answer_length(&Results::new(Era::Modern, Listed::Own(1)).text));
    }

    #[tokio::test]
    async fn pushed_events_come_without_chunked_coding() {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"push","arguments":{"events":3,"interval_us":10}}}"#;
        let (_, body) = LocalSet::new().run_until(ask(call)).await;
        let body = String::from_utf8(body).unwrap();
        assert_eq!(body.matches("event: message\ndata: {").count(), 4, "{body}");
        assert!(body.starts_with("event: ") && body.ends_with("}\n\n"), "{body}");
    }
}
