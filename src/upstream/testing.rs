//! Scripted servers on real sockets, and what tests say to them, for the tests of this room.

mod backends;

pub(crate) use backends::{backend_at, backend_run, live, registry, set, started};

use super::caller::Caller;
use super::connector::Connector;
use super::endpoint::{Endpoint, Verb};
use super::exchange::UpstreamRequest;
use super::fetch::Fetcher;
use super::reach::Reach;
use super::settings::{EndpointSettings, PoolSettings, StockSettings, Timeouts, ToolSettings};
use bytes::Bytes;
use lockgate_filters::splice::{Outbound, Replay};
use serde_json::{Value as Json, json};
use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Longer than anything takes, so that only what hangs reaches it.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);

/// What a scripted server read.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Reads one HTTP/1.1 request; `None` when the connection ends first.
pub(crate) async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Received> {
    let mut wire = Vec::new();
    let end = loop {
        if let Some(at) = wire.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut wire).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(wire[..end].to_vec()).expect("ASCII header");
    let mut received = Received { head, body: wire[end..].to_vec() };
    let length = received.field("content-length").map_or(0, |length| length.parse().expect("a length"));
    while received.body.len() < length {
        if stream.read_buf(&mut received.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(received)
}

/// An HTTP/1.1 response with a length.
pub(crate) fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{fields}\r\n{body}", body.len()).into_bytes()
}

/// A JSON response.
pub(crate) fn json(body: &str) -> Vec<u8> {
    answer("200 OK", "content-type: application/json\r\n", body)
}

/// The head of a response whose events follow, until the connection ends.
pub(crate) const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// Writes, ignoring a client that is gone.
pub(crate) async fn say<S: AsyncWrite + Unpin>(stream: &mut S, bytes: impl AsRef<[u8]>) {
    let _ = stream.write_all(bytes.as_ref()).await;
    let _ = stream.flush().await;
}

/// Serves each connection with `script`, which is told the connection's number, from 0.
pub(crate) async fn serve<F, Fut>(script: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("an option");
            tokio::spawn(script(number, stream));
            number += 1;
        }
    });
    address
}

/// An endpoint with nothing special about it.
pub(crate) fn at(url: impl AsRef<str>) -> EndpointSettings {
    EndpointSettings::new(url.as_ref().parse().expect("a URL"))
}

/// A connector and one endpoint.
pub(crate) struct Client {
    pub(crate) connector: Connector,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) timeouts: Timeouts,
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Client {
        Client::with(at(format!("http://{address}/mcp")))
    }

    pub(crate) fn with(settings: EndpointSettings) -> Client {
        // Longer than the defaults: no test may depend on how fast the machine is.
        let pool = PoolSettings { idle_time: Duration::from_secs(60), ..PoolSettings::default() };
        Client::built(settings, pool, Connector::new())
    }

    pub(crate) fn built(settings: EndpointSettings, pool: PoolSettings, connector: Connector) -> Client {
        let endpoint = Arc::new(Endpoint::new(&settings, pool, &connector).expect("usable settings"));
        Client { connector, endpoint, timeouts: Timeouts::default() }
    }

    pub(crate) async fn send(
        &self,
        request: &UpstreamRequest,
    ) -> Result<super::response::UpstreamResponse, super::fault::AttemptFault> {
        self.connector.send(&self.endpoint, request, &self.timeouts, 1 << 20).await
    }

    /// Sends a message and reads the whole answer.
    pub(crate) async fn call(&self, body: &'static str) -> Result<(u16, Bytes), super::fault::AttemptFault> {
        let mut response = self.send(&post(body)).await?;
        Ok((response.status.as_u16(), response.collect(1 << 20).await?))
    }
}

/// A POST that may not be repeated.
pub(crate) fn post(body: impl Into<Bytes>) -> UpstreamRequest {
    UpstreamRequest {
        verb: Verb::Post,
        fields: Outbound::new(),
        body: body.into(),
        replay: Replay::IfNotRun,
        caller: Caller::default(),
    }
}

/// Serves MCP: each request is answered with what `script` makes of it.
pub(crate) async fn serve_mcp<F>(script: F) -> SocketAddr
where
    F: Fn(&Received) -> Vec<u8> + Clone + Send + Sync + 'static,
{
    serve(move |_, mut stream| {
        let script = script.clone();
        async move {
            while let Some(request) = receive(&mut stream).await {
                say(&mut stream, script(&request)).await;
            }
        }
    })
    .await
}

/// A JSON-RPC result for the gateway's own requests outside of sessions.
pub(crate) fn result(result: &str) -> Vec<u8> {
    json(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#))
}

/// A JSON-RPC error with an HTTP status.
pub(crate) fn error(status: &str, code: i32) -> Vec<u8> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"no"}}}}"#);
    answer(status, "content-type: application/json\r\n", &body)
}

/// An `initialize` with these capabilities.
pub(crate) fn initialize(capabilities: Json) -> Json {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "t", "version": "1"}}})
}

/// A call of this tool, whose id is `call`.
pub(crate) fn tool_call(name: &str) -> Json {
    json!({"jsonrpc": "2.0", "id": "call", "method": "tools/call", "params": {"name": name}})
}

/// Waits for what can be seen, but does not say so when it comes.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENT, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

impl Received {
    /// The body as JSON; `null` where it is none.
    pub(crate) fn message(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The verb of the request line.
    pub(crate) fn verb(&self) -> &str {
        self.line().split(' ').next().unwrap_or_default()
    }

    /// The JSON-RPC method of the body; empty where it has none.
    pub(crate) fn method(&self) -> String {
        self.message()["method"].as_str().unwrap_or_default().to_owned()
    }

    /// The raw id of the body; `null` where it has none.
    pub(crate) fn id(&self) -> String {
        self.message()["id"].to_string()
    }

    /// The result that answers this request.
    pub(crate) fn result(&self, result: impl Display) -> Vec<u8> {
        self.result_with("", result)
    }

    /// The same with further header fields, each with its end of line.
    pub(crate) fn result_with(&self, fields: &str, result: impl Display) -> Vec<u8> {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.id());
        answer("200 OK", &format!("content-type: application/json\r\n{fields}"), &body)
    }
}

/// A fetcher for one scripted server.
pub(crate) fn fetcher(address: SocketAddr) -> Fetcher {
    let client = Client::to(address);
    Fetcher {
        connector: Arc::new(client.connector),
        reach: Reach::Http { endpoint: client.endpoint, sse: None },
        caller: Caller::default(),
        fields: Outbound::new(),
        timeouts: client.timeouts,
        answer_bytes: 1 << 20,
        sse_event: 1 << 16,
        tools: ToolSettings::default(),
        stock: StockSettings::default(),
    }
}
