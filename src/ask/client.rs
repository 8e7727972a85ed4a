//! A small MCP client: the stateless era first, a session where the server does not speak that.

use crate::bridge::{Bridge, Limits, Patience, Said, Server};
use bytes::Bytes;
use lockgate_filters::revision::Revision;
use lockgate_filters::splice::Outbound;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

/// The most pages of one list.
const PAGES_MAX: usize = 1_000;

/// JSON-RPC's code for a method that is not there.
const METHOD_NOT_FOUND: i64 = -32601;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The server refused.
    #[error("{message} ({code})")]
    Refused {
        /// JSON-RPC's code.
        code: i64,
        /// What the server says.
        message: String,
    },
    /// It took too long.
    #[error("no answer in time: `--time` gives more")]
    Late,
    /// It said nothing at all.
    #[error("the server gave no answer")]
    Silent,
    /// It answered with something else.
    #[error("the server's answer is not understood: {0}")]
    Odd(&'static str),
}

/// How the server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Modern,
    Legacy,
}

/// A client of one endpoint.
pub(super) struct Client {
    bridge: Bridge,
    messages: mpsc::Receiver<Bytes>,
    speech: Speech,
    asked: u64,
}

impl Client {
    pub(super) fn new(server: Server, limits: Limits, patience: Patience) -> Client {
        let (bridge, messages) = Bridge::new(server, limits, patience);
        Client { bridge, messages, speech: Speech::Modern, asked: 0 }
    }

    /// Finds out how the server is spoken to, and opens a session where it needs one.
    pub(super) async fn open(&mut self) -> Result<(), AskError> {
        if self.request("server/discover", Map::new()).await.is_ok_and(|said| speaks_modern(&said)) {
            return Ok(());
        }
        self.speech = Speech::Legacy;
        let params = [
            ("protocolVersion", Value::from(Revision::V2025_11_25.as_str())),
            ("capabilities", json!({})),
            ("clientInfo", client_info()),
        ];
        self.request("initialize", params.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()).await?;
        self.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        Ok(())
    }

    /// All tools: a result of `tools/list` without pages.
    pub(super) async fn tools(&mut self) -> Result<Value, AskError> {
        let mut tools = Vec::new();
        let mut params = Map::new();
        for _ in 0..PAGES_MAX {
            let mut page = self.request("tools/list", params).await?;
            match page.get_mut("tools").map(Value::take) {
                Some(Value::Array(more)) => tools.extend(more),
                _ => return Err(AskError::Odd("it is no list of tools")),
            }
            let Some(Value::String(next)) = page.get_mut("nextCursor").map(Value::take) else {
                return Ok(json!({ "tools": tools }));
            };
            params = Map::from_iter([("cursor".to_owned(), Value::String(next))]);
        }
        Err(AskError::Odd("its list has no end"))
    }

    /// Calls a tool; gives its result.
    pub(super) async fn call(&mut self, name: &str, arguments: Map<String, Value>) -> Result<Value, AskError> {
        let params = [("name", Value::from(name)), ("arguments", Value::Object(arguments))];
        self.request("tools/call", params.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()).await
    }

    /// Ends the session, if there is one.
    pub(super) async fn end(self) {
        self.bridge.end(std::future::ready(())).await;
    }

    async fn say(&mut self, message: &Value) {
        self.bridge.hear(Said::Message(message.to_string().into(), Outbound::new())).await;
    }

    /// Asks, and waits for the answer. What the server says beside it is passed over; what it asks, refused.
    async fn request(&mut self, method: &str, mut params: Map<String, Value>) -> Result<Value, AskError> {
        if self.speech == Speech::Modern {
            params.insert("_meta".to_owned(), modern_meta());
        }
        self.asked += 1;
        let id = self.asked;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        while let Some(message) = self.messages.recv().await {
            let Ok(Value::Object(mut message)) = serde_json::from_slice::<Value>(&message) else { continue };
            if let (Some(asked), Some(question)) = (message.get("method"), message.get("id")) {
                let reply = reply(asked, question);
                self.say(&reply).await;
                continue;
            }
            if message.get("id").and_then(Value::as_u64) != Some(id) {
                continue;
            }
            return match (message.remove("result"), message.remove("error")) {
                (Some(result), _) => Ok(result),
                (None, Some(error)) => Err(refused(&error)),
                (None, None) => Err(AskError::Odd("it is neither a result nor an error")),
            };
        }
        Err(AskError::Silent)
    }
}

/// What a server is told that asks something itself: nobody is there to be asked.
fn reply(asked: &Value, id: &Value) -> Value {
    if asked == "ping" {
        return json!({ "jsonrpc": "2.0", "id": id, "result": {} });
    }
    let error =
        json!({ "code": METHOD_NOT_FOUND, "message": "this client is a command line: it answers no questions" });
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

fn refused(error: &Value) -> AskError {
    let message = error.get("message").and_then(Value::as_str).unwrap_or("the server refuses").to_owned();
    AskError::Refused { code: error.get("code").and_then(Value::as_i64).unwrap_or_default(), message }
}

/// Whether a description names the revision that is spoken here.
fn speaks_modern(description: &Value) -> bool {
    let versions = description.get("supportedVersions").and_then(Value::as_array);
    versions.is_some_and(|versions| versions.iter().any(|version| version == Revision::V2026_07_28.as_str()))
}

fn client_info() -> Value {
    json!({ "name": "lockgate", "version": env!("CARGO_PKG_VERSION") })
}

fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": Revision::V2026_07_28.as_str(),
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": client_info(),
    })
}
