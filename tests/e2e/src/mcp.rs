//! An MCP client for tests: correct by default, and every request can be bent before it is sent.

use crate::events::Events;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use std::sync::Once;
use std::sync::atomic::{AtomicI64, Ordering};

pub const MODERN: &str = "2026-07-28";
pub const NEWEST_LEGACY: &str = "2025-11-25";
/// The revisions of the legacy era that have Streamable HTTP.
pub const LEGACY: [&str; 3] = ["2025-03-26", "2025-06-18", NEWEST_LEGACY];

static NEXT_ID: AtomicI64 = AtomicI64::new(1);

/// An HTTP client that follows nothing and decodes nothing.
pub fn client() -> Client {
    install_crypto();
    Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().expect("an HTTP client")
}

/// The same, which shows a bearer token with each request.
pub fn client_showing(token: &str) -> Client {
    install_crypto();
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a token");
    value.set_sensitive(true);
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let builder = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    builder.default_headers(headers).build().expect("an HTTP client")
}

/// Makes aws-lc-rs the process's TLS provider, as in the gateway.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.expect("a whole body") }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The JSON body, or the last message of an SSE body.
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        if self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return crate::events::messages(&text).pop().unwrap_or_default();
        }
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Status and JSON-RPC error code; code 0 without an error.
    pub fn code(&self) -> (u16, i64) {
        (self.status, self.json()["error"]["code"].as_i64().unwrap_or(0))
    }

    /// Whether the answer says that a backend's session had been lost.
    pub fn is_healed(&self) -> bool {
        self.json()["result"]["_meta"]["io.lockgate/sessionHealed"] == true
    }

    /// The first text block of a tool's answer.
    pub fn text(&self) -> String {
        let body = self.json();
        let text = body["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no text in {} {body}", self.status)).to_owned()
    }
}

#[derive(Clone)]
pub struct Mcp {
    pub http: Client,
    pub url: String,
    pub revision: String,
    /// The session id; only in the legacy era.
    pub session: Option<String>,
}

impl Mcp {
    /// A client of the modern era: there is nothing to set up.
    pub fn modern(url: &str) -> Self {
        Self { http: client(), url: url.to_owned(), revision: MODERN.to_owned(), session: None }
    }

    /// Opens a session of `revision`.
    pub async fn legacy(url: &str, revision: &str) -> Self {
        Self::legacy_by(client(), url, revision).await
    }

    /// The same by this HTTP client.
    pub async fn legacy_by(http: Client, url: &str, revision: &str) -> Self {
        let mut this = Self { http, url: url.to_owned(), revision: revision.to_owned(), session: None };
        let capabilities = json!({"elicitation": {}, "sampling": {}, "roots": {}});
        let params = json!({
            "protocolVersion": revision,
            "capabilities": capabilities,
            "clientInfo": {"name": "e2e", "version": "1"},
        });
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let answer = Answer::read(this.post(&body).send().await.expect("an answer")).await;
        assert_eq!(answer.status, 200, "initialize: {:?}", answer.body);
        assert_eq!(answer.json()["result"]["protocolVersion"], revision, "{:?}", answer.body);
        this.session = answer.header("mcp-session-id").map(str::to_owned);
        let answer = this.notify("notifications/initialized", json!({})).await;
        assert_eq!(answer.status, 202, "{:?}", answer.body);
        this
    }

    pub fn is_modern(&self) -> bool {
        self.revision == MODERN
    }

    /// A POST of `body` with the headers that every request of this client carries.
    pub fn post(&self, body: &Value) -> RequestBuilder {
        let accept = "application/json, text/event-stream";
        let mut request = self.http.post(&self.url).header("accept", accept).header("content-type", "application/json");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        // A revision header belongs on everything but the handshake, and did not exist in the first revision.
        if body["method"] != "initialize" && self.revision != "2025-03-26" {
            request = request.header("mcp-protocol-version", &self.revision);
        }
        if self.is_modern() {
            request = request.header("mcp-method", body["method"].as_str().unwrap_or_default());
            if let Some(name) = mirrored_name(body) {
                request = request.header("mcp-name", mirror(name));
            }
        }
        request.body(body.to_string())
    }

    /// The body of a correct request.
    pub fn body(&self, method: &str, params: Value) -> Value {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let mut body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        if self.is_modern() {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "e2e", "version": "1"},
            });
            for (key, value) in meta.as_object().expect("an object") {
                body["params"]["_meta"][key] = value.clone();
            }
        }
        body
    }

    pub async fn send(&self, method: &str, params: Value) -> Answer {
        let response = self.post(&self.body(method, params)).send().await.expect("an answer");
        Answer::read(response).await
    }

    pub async fn tool(&self, name: &str, arguments: Value) -> Answer {
        self.send("tools/call", json!({"name": name, "arguments": arguments})).await
    }

    /// Starts a request and returns its event stream.
    pub async fn stream(&self, method: &str, params: Value) -> Events {
        Events::new(self.post(&self.body(method, params)).send().await.expect("an answer"))
    }

    pub async fn notify(&self, method: &str, params: Value) -> Answer {
        let body = json!({"jsonrpc": "2.0", "method": method, "params": params});
        Answer::read(self.post(&body).send().await.expect("an answer")).await
    }

    fn bare(&self, method: http::Method) -> RequestBuilder {
        let mut request = self.http.request(method, &self.url).header("accept", "text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        if self.revision != "2025-03-26" {
            request = request.header("mcp-protocol-version", &self.revision);
        }
        request
    }

    /// Opens the GET stream, or resumes a stream after the event `last`.
    pub async fn listen(&self, last: Option<&str>) -> Events {
        let mut request = self.bare(http::Method::GET);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Events::new(request.send().await.expect("an answer"))
    }

    /// Ends the session.
    pub async fn delete(&self) -> Answer {
        Answer::read(self.bare(http::Method::DELETE).send().await.expect("an answer")).await
    }
}

/// What `Mcp-Name` has to say for a body, if anything.
fn mirrored_name(body: &Value) -> Option<&str> {
    let params = &body["params"];
    match body["method"].as_str()? {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        "tasks/get" | "tasks/update" | "tasks/cancel" => params["taskId"].as_str(),
        _ => None,
    }
}

/// How a value is written in a header that mirrors it (2026-07-28).
pub fn mirror(value: &str) -> String {
    let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && value.trim() == value;
    match plain && !value.starts_with("=?base64?") {
        true => value.to_owned(),
        false => format!("=?base64?{}?=", STANDARD.encode(value)),
    }
}
