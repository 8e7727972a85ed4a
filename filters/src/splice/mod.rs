//! What goes upstream of a client's request: the body's own bytes, and only those header fields that may.
//!
//! Nothing is written anew: fields are picked by reference, the body is shared, and [`wire`] puts both behind what is the
//! same for all requests to an endpoint.

mod edit;
mod fields;
mod mirrors;
pub mod wire;

pub(crate) use edit::edited_slice;
pub use edit::{Edit, edited, quoted};
pub use fields::{Forwarding, Nominated, Outbound, carried, tokens};
pub use mirrors::mirror;

use crate::exchange::Exchange;
use crate::headers;
use crate::revision::{Era, Revision};
use crate::rpc::scan::Message;
use http::{HeaderMap, HeaderValue};

/// Methods that only read: where a kept-alive connection closes without an answer, they may be sent again.
const READS: [&str; 8] = [
    "tools/list",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
    "ping",
];

/// Whether a request may be sent a second time when it is not known what became of the first.
///
/// A backend may close a kept-alive connection in the moment a request is sent on it. The request is lost then, but it
/// looks the same as a backend that took the request, ran it and died before it answered. RFC 9112 section 9.3.1 lets a
/// client repeat only what is idempotent, nginx does the same (`proxy_next_upstream` without `non_idempotent`): a tool
/// call that moved money must not run twice. What is provably not run is repeated in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Only when it provably did not run: tool calls, and whatever is not known to be harmless.
    IfNotRun,
    /// Also when a reused connection ended without a response: lists, reads, probes.
    IfUnanswered,
}

/// What is particular to the way from here to one backend.
#[derive(Clone, Debug, Default)]
pub struct Onward {
    /// The backend's own session id (legacy era).
    pub session: Option<HeaderValue>,
    /// The revision that was negotiated with this backend, where that is not the client's: each hop speaks its own.
    pub revision: Option<Revision>,
    /// What `Mcp-Name` says instead of what the client wrote, because the body does too (modern era).
    pub name: Option<HeaderValue>,
}

impl Onward {
    /// Within a session of the backend, if it has one.
    pub fn within(session: Option<HeaderValue>) -> Onward {
        Onward { session, ..Onward::default() }
    }
}

/// The fields of a POST of one message, and whether it may be repeated.
pub fn post(
    forwarding: &Forwarding,
    client: &HeaderMap,
    exchange: &Exchange,
    message: &Message,
    onward: Onward,
) -> (Outbound, Replay) {
    let mut fields = forwarding.outbound(client);
    fields.remove(&headers::LAST_EVENT_ID);
    // Read once: it is compared with many.
    let method = message.method.and_then(|method| method.text(&exchange.body));
    let method = method.as_deref().unwrap_or_default();
    if exchange.era() == Some(Era::Modern) {
        keep_mirrors(&mut fields, method);
        if let Some(name) = onward.name {
            fields.set(headers::NAME, name);
        }
    } else {
        name_session(&mut fields, exchange, onward);
    }
    let replay = if READS.contains(&method) { Replay::IfUnanswered } else { Replay::IfNotRun };
    (fields, replay)
}

/// The fields of a GET of a legacy session's stream.
pub fn get(forwarding: &Forwarding, client: &HeaderMap, exchange: &Exchange, onward: Onward) -> Outbound {
    let mut fields = forwarding.outbound(client);
    name_session(&mut fields, exchange, onward);
    fields
}

/// Methods of the specification that name nothing: an `Mcp-Name` there contradicts it. Those of an extension that is not
/// known here may give it a meaning, so theirs passes; so does every `Mcp-Param-*` (MCP 2026-07-28, intermediaries).
const NAMELESS: [&str; 8] = [
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "completion/complete",
    "subscriptions/listen",
    "notifications/cancelled",
];

fn keep_mirrors(fields: &mut Outbound, method: &str) {
    if NAMELESS.contains(&method) {
        fields.remove(&headers::NAME);
    }
}

/// The backend's own session id and the negotiated revision, and no mirrors: the legacy era has none, so nobody has
/// checked what such a request carries.
fn name_session(fields: &mut Outbound, exchange: &Exchange, onward: Onward) {
    fields.retain(|name| !name.as_str().starts_with("mcp-"));
    let negotiated = onward.revision.or_else(|| exchange.ticket.as_ref().map(|ticket| ticket.revision));
    within(fields, onward.session, negotiated);
}

/// Names the session of a legacy hop, and the revision that was negotiated in it: for a request that was prepared before it
/// was known which that would be.
pub fn within(fields: &mut Outbound, session: Option<HeaderValue>, revision: Option<Revision>) {
    if let Some(id) = session {
        fields.set(headers::SESSION_ID, id);
    }
    if let Some(revision) = revision.and_then(on_the_wire) {
        fields.set(headers::PROTOCOL_VERSION, revision);
    }
}

/// The `MCP-Protocol-Version` of a legacy revision; older ones do not have the header.
fn on_the_wire(revision: Revision) -> Option<HeaderValue> {
    (revision >= Revision::V2025_06_18).then(|| HeaderValue::from_static(revision.as_str()))
}

#[cfg(test)]
mod tests;
