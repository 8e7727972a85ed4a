//! What the gateway asks backends on its own behalf: a small JSON-RPC client over [`super::exchange`].
//!
//! It serves the probe, the tool list and legacy sessions that the gateway opens or ends itself. Messages of clients
//! never pass here.

use super::caller::Caller;
use super::connector::Connector;
use super::endpoint::{USER_AGENT, Verb};
use super::events::Events;
use super::exchange::UpstreamRequest;
use super::fault::AttemptFault;
use super::reach::Reach;
use super::response::{Form, UpstreamResponse};
use super::settings::{StockSettings, Timeouts, ToolSettings};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use lockgate_filters::headers::LAST_EVENT_ID;
use lockgate_filters::revision::Revision;
use lockgate_filters::rpc::id;
use lockgate_filters::splice::{Outbound, Replay};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// The revision that the gateway speaks in the modern era.
pub(super) const MODERN: Revision = Revision::V2026_07_28;
/// The revision that the gateway asks for first in the legacy era.
pub(super) const LEGACY: Revision = Revision::V2025_11_25;

/// `Mcp-Session-Id`.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `MCP-Protocol-Version`.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// The id of a request outside of sessions: each has an HTTP exchange of its own.
const ID: &str = "1";

/// How a request is spoken.
#[derive(Clone, Copy, Debug)]
pub enum Speech<'a> {
    /// Statelessly, with metadata.
    Modern {
        /// The client capabilities to declare, as a JSON object.
        capabilities: &'a str,
    },
    /// In a session, or without one (`initialize`).
    Legacy {
        /// The backend's session id.
        session: Option<&'a HeaderValue>,
        /// The revision that the session negotiated; none before it did.
        revision: Option<Revision>,
    },
}

/// A backend's answer to one request.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The response's fields.
    pub headers: HeaderMap,
    /// The JSON-RPC response; `None` where the body holds none.
    pub outcome: Option<Outcome>,
}

/// What a JSON-RPC response says.
#[derive(Debug)]
pub enum Outcome {
    /// The JSON of the `result` member.
    Result(Bytes),
    /// The `error` member.
    Error(RpcError),
}

/// A JSON-RPC error.
#[derive(Clone, Debug, Deserialize)]
pub struct RpcError {
    /// Its code.
    pub code: i64,
    /// Its message.
    #[serde(default)]
    pub message: String,
}

/// Asks one endpoint, within bounds.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// What connects.
    pub connector: Arc<Connector>,
    /// Who is asked.
    pub(super) reach: Reach,
    /// On whose behalf.
    pub caller: Caller,
    /// Fields that every request carries: what a client's request forwards, where one is the cause.
    pub fields: Outbound,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// The longest answer that is read, in bytes.
    pub answer_bytes: usize,
    /// The longest SSE event that is read, in bytes.
    pub sse_event: usize,
    /// How much of a tool list is read.
    pub tools: ToolSettings,
    /// How much of all its lists is read, and how often.
    pub stock: StockSettings,
}

/// How long the gateway's own streams live, which are silent until something changes.
const HELD: Duration = Duration::from_secs(24 * 3600);

impl Fetcher {
    /// The same, on behalf of a client whose request forwards these fields.
    pub fn on_behalf(&self, fields: Outbound) -> Fetcher {
        Fetcher { fields, ..self.clone() }
    }

    /// The same, for this caller: a backend that is a process may have one for each.
    pub fn calling(&self, caller: Caller) -> Fetcher {
        Fetcher { caller, ..self.clone() }
    }

    /// The same, but reached in this way.
    pub(super) fn over(&self, reach: Reach) -> Fetcher {
        Fetcher { reach, ..self.clone() }
    }

    /// The same, but waiting no longer than `most` for a response.
    pub(super) fn patient(&self, most: Duration) -> Fetcher {
        let first_byte = self.timeouts.first_byte.min(most);
        let total = self.timeouts.total.min(3 * most);
        Fetcher { timeouts: Timeouts { first_byte, total, ..self.timeouts }, ..self.clone() }
    }

    /// Sends a request and reads its response, whether it comes as JSON or as an event.
    ///
    /// `params` are JSON members without braces. The request must be harmless when repeated.
    pub async fn call(&self, method: &'static str, params: &str, speech: Speech<'_>) -> Result<Reply, AttemptFault> {
        let id = self.id(&speech);
        let response = self.ask(method, params, speech, &id).await?;
        self.reply(response, &id).await
    }

    /// Sends a request and leaves its response to be read: for streams.
    pub(super) async fn open(
        &self,
        method: &'static str,
        params: &str,
        speech: Speech<'_>,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let id = self.id(&speech);
        self.ask(method, params, speech, &id).await
    }

    /// The raw id of a request. In a session no client's request has it, nor another one of the gateway's: a server finds
    /// its way back by it (2025-11-25, "Requests").
    fn id(&self, speech: &Speech<'_>) -> String {
        match speech {
            Speech::Legacy { session: Some(_), .. } => format!(r#""lockgate-{:x}""#, self.connector.next_id()),
            Speech::Legacy { session: None, .. } | Speech::Modern { .. } => ID.to_owned(),
        }
    }

    async fn ask(
        &self,
        method: &'static str,
        params: &str,
        speech: Speech<'_>,
        id: &str,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let mut fields = self.fields(&speech);
        let body = match speech {
            Speech::Modern { capabilities } => {
                fields.set(METHOD, HeaderValue::from_static(method));
                let meta = meta(capabilities);
                let separator = if params.is_empty() { "" } else { "," };
                format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{meta}{separator}{params}}}}}"#)
            }
            Speech::Legacy { .. } => {
                format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#)
            }
        };
        self.send(Verb::Post, fields, body.into()).await
    }

    /// Sends a notification of a legacy session; `params` are JSON members without braces.
    pub async fn notify(&self, method: &'static str, params: &str, speech: Speech<'_>) -> Result<(), AttemptFault> {
        let body = if params.is_empty() {
            format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#)
        } else {
            format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{{params}}}}}"#)
        };
        let mut response = self.send(Verb::Post, self.fields(&speech), body.into()).await?;
        if !response.status.is_success() {
            return Err(AttemptFault::protocol("it refused a notification"));
        }
        response.collect(self.answer_bytes).await.map(drop)
    }

    /// Answers a request that the backend made in a legacy session; `message` is the whole response.
    pub async fn respond(&self, message: Bytes, speech: Speech<'_>) -> Result<(), AttemptFault> {
        let mut response = self.send(Verb::Post, self.fields(&speech), message).await?;
        response.collect(self.answer_bytes).await.map(drop)
    }

    /// Opens a legacy session's stream, which may be silent for as long as it lives; behind the event of this id, where there
    /// is one.
    pub async fn stream(
        &self,
        speech: Speech<'_>,
        behind: Option<HeaderValue>,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let timeouts = Timeouts { idle_stream: HELD, total: HELD, ..self.timeouts };
        let mut fields = self.fields(&speech);
        if let Some(id) = behind {
            fields.set(LAST_EVENT_ID, id);
        }
        Fetcher { timeouts, ..self.clone() }.send(Verb::Get, fields, Bytes::new()).await
    }

    /// Ends a legacy session, whose revision may not have been negotiated yet. A backend that does not let sessions be
    /// ended (405) or forgot it (404) is no fault.
    pub async fn end_session(&self, session: &HeaderValue, revision: Option<Revision>) -> Result<(), AttemptFault> {
        let fields = self.fields(&Speech::Legacy { session: Some(session), revision });
        let mut response = self.send(Verb::Delete, fields, Bytes::new()).await?;
        let ended = response.status.is_success()
            || matches!(response.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
        response.collect(self.answer_bytes).await?;
        if ended { Ok(()) } else { Err(AttemptFault::protocol("it refused to end a session")) }
    }

    async fn send(&self, verb: Verb, mut fields: Outbound, body: Bytes) -> Result<UpstreamResponse, AttemptFault> {
        if self.reach.forwards_user_agent() {
            // Here the gateway asks for itself.
            fields.set(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        }
        let request = UpstreamRequest { verb, fields, body, replay: Replay::IfUnanswered, caller: self.caller };
        self.reach.send(&self.connector, &request, &self.timeouts, self.answer_bytes).await
    }

    async fn reply(&self, mut response: UpstreamResponse, id: &str) -> Result<Reply, AttemptFault> {
        let outcome = match response.form() {
            Form::EventStream => {
                let mut events = Events::new(response, self.answer_bytes, self.sse_event);
                let mut outcome = None;
                while outcome.is_none()
                    && let Some(data) = events.next().await?
                {
                    outcome = outcome_of(&data, id);
                }
                response = events.response;
                outcome
            }
            // Whatever it calls itself: errors of backends often come under a wrong name.
            Form::Json | Form::Other => outcome_of(&response.collect(self.answer_bytes).await?, id),
        };
        Ok(Reply { status: response.status, headers: std::mem::take(&mut response.headers), outcome })
    }

    fn fields(&self, speech: &Speech<'_>) -> Outbound {
        let mut fields = self.fields.clone();
        match speech {
            Speech::Modern { .. } => fields.set(PROTOCOL_VERSION, HeaderValue::from_static(MODERN.as_str())),
            Speech::Legacy { session, revision } => {
                if let Some(session) = session {
                    fields.set(SESSION_ID, (*session).clone());
                }
                if let Some(revision) = revision {
                    fields.set(PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
                }
            }
        }
        fields
    }
}

/// The `_meta` member of a modern request.
fn meta(capabilities: &str) -> String {
    format!(
        r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientInfo":{},"io.modelcontextprotocol/clientCapabilities":{capabilities}}}"#,
        client_info()
    )
}

/// Who the gateway says it is when it asks for itself, as a JSON object.
pub(super) fn client_info() -> String {
    let (name, version) = USER_AGENT.split_once('/').unwrap_or((USER_AGENT, ""));
    format!(r#"{{"name":"{name}","version":"{version}"}}"#)
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<RpcError>,
}

/// The response to the request with this raw id in a JSON-RPC message; `None` for anything else, notifications and foreign
/// ids included.
fn outcome_of(message: &Bytes, asked: &str) -> Option<Outcome> {
    let wire: Wire<'_> = serde_json::from_slice(message).ok()?;
    let own = wire.id.map(|raw| raw.get()).filter(|raw| *raw != "null");
    let answers = own.map(|raw| id::same(raw.as_bytes(), asked.as_bytes()));
    match (wire.result, wire.error) {
        (Some(result), None) if answers == Some(true) => {
            Some(Outcome::Result(message.slice_ref(result.get().as_bytes())))
        }
        // An error may come without the id, where the backend did not read that far.
        (None, Some(error)) if answers != Some(false) => Some(Outcome::Error(error)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
