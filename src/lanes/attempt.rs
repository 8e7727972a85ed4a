//! One attempt at a backend: the seam that every lane which speaks to a backend goes through.
//!
//! What is decided per attempt (which endpoint, with which credential, whether again) is decided here, so that no lane can
//! decide it differently.

use super::{Broken, Way, detached, session_ended};
use crate::downstream::gone;
use crate::snapshot::Server;
use crate::telemetry::labels::UpstreamOutcome;
use crate::upstream::{AttemptFault, Outbound, Replay, Timeouts, UpstreamRequest, UpstreamResponse, Verb};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use lockgate_filters::exchange::Exchange;
use lockgate_filters::headers;
use lockgate_filters::revision::{Era, Revision};
use lockgate_filters::rpc::scan::Message;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a held stream lives: `subscriptions/listen` and the GET stream of a session wait for news, and no news is no
/// fault. Clients open them again; the bound is there so that nothing lives for ever.
const HELD: Duration = Duration::from_secs(24 * 3600);

/// Methods that only read: where a kept-alive connection closes without an answer, they may be sent again.
const READS: [&[u8]; 8] = [
    b"tools/list",
    b"prompts/list",
    b"prompts/get",
    b"resources/list",
    b"resources/templates/list",
    b"resources/read",
    b"completion/complete",
    b"ping",
];

/// Prepares a POST of one message; `session` is the backend's own session id.
pub(super) fn post(
    server: &Server,
    client: &HeaderMap,
    exchange: &Exchange,
    message: &Message,
    body: Bytes,
    session: Option<HeaderValue>,
) -> UpstreamRequest {
    let mut fields = server.backend.forwarding.outbound(client);
    fields.remove(&headers::LAST_EVENT_ID);
    let is = |name: &&[u8]| message.is(name, &exchange.body);
    if exchange.era() == Some(Era::Modern) {
        keep_mirrors(&mut fields, is);
    } else {
        name_session(&mut fields, exchange, session);
    }
    let replay = if READS.iter().any(is) { Replay::IfUnanswered } else { Replay::IfNotRun };
    UpstreamRequest { verb: Verb::Post, fields, body, replay }
}

/// Prepares a GET of a legacy session's stream, resumed behind `last` where it is given.
pub(super) fn get(
    server: &Server,
    client: &HeaderMap,
    exchange: &Exchange,
    session: Option<HeaderValue>,
) -> UpstreamRequest {
    let mut fields = server.backend.forwarding.outbound(client);
    name_session(&mut fields, exchange, session);
    UpstreamRequest { verb: Verb::Get, fields, body: Bytes::new(), replay: Replay::IfUnanswered }
}

/// `Mcp-Name` and `Mcp-Param-*` only where the specification gives them a meaning: elsewhere nobody has checked them.
fn keep_mirrors(fields: &mut Outbound, is: impl Fn(&&[u8]) -> bool) {
    if is(&&b"tools/call"[..]) {
        return;
    }
    let named: [&[u8]; 5] = [b"prompts/get", b"resources/read", b"tasks/get", b"tasks/update", b"tasks/cancel"];
    let keep_name = named.iter().any(is);
    fields.retain(|name| !name.as_str().starts_with(headers::PARAM_PREFIX) && (keep_name || *name != headers::NAME));
}

/// The backend's own session id and the negotiated revision, and no mirrors: the legacy era has none, so nobody has
/// checked what such a request carries.
fn name_session(fields: &mut Outbound, exchange: &Exchange, session: Option<HeaderValue>) {
    fields.retain(|name| !name.as_str().starts_with("mcp-"));
    if let Some(id) = session {
        fields.set(headers::SESSION_ID, id);
    }
    if let Some(revision) = exchange.ticket.as_ref().and_then(|ticket| on_the_wire(ticket.revision)) {
        fields.set(headers::PROTOCOL_VERSION, revision);
    }
}

/// The `MCP-Protocol-Version` of a legacy revision; older ones do not have the header.
pub(super) fn on_the_wire(revision: Revision) -> Option<HeaderValue> {
    (revision >= Revision::V2025_06_18).then(|| HeaderValue::from_static(revision.as_str()))
}

/// Sends a request and waits for the answer's header, watching the client meanwhile.
///
/// A modern client that leaves cancels the request: it is dropped, and with it the connection to the backend. A legacy
/// client that leaves cancels nothing: a background task reads the answer to its end.
///
/// A stream that is `held` open may be silent for as long as it lives.
pub(super) async fn send(way: &mut Way<'_>, request: UpstreamRequest, held: bool) -> Result<UpstreamResponse, Broken> {
    let started = Instant::now();
    let backend = Arc::clone(&way.server.backend);
    let mut sending = Box::pin(async move {
        let timeouts = backend.timeouts;
        let timeouts = if held { Timeouts { idle_stream: HELD, total: HELD, ..timeouts } } else { timeouts };
        backend.send_within(&request, &timeouts).await
    });
    let ended = way.ended();
    let answered = tokio::select! {
        biased;
        answered = &mut sending => answered,
        () = ended => return Err(session_ended()),
        () = gone(way.session) => {
            if way.trip.exchange.era() == Some(Era::Modern) {
                way.server.backend_metrics.finished(UpstreamOutcome::Cancelled);
            } else {
                detached::finish(sending, way.ended());
            }
            return Err(Broken::ClientGone);
        }
    };
    let metrics = &way.server.backend_metrics;
    match answered {
        Ok(response) => {
            metrics.first_byte(started.elapsed());
            metrics.finished(UpstreamOutcome::from_status(response.status.as_u16()));
            Ok(response)
        }
        Err(fault) => {
            metrics.finished(UpstreamOutcome::from(fault.fault()));
            Err(failed(&way.server, &fault))
        }
    }
}

/// What the client is told of a failed attempt.
pub(super) fn failed(server: &Server, fault: &AttemptFault) -> Broken {
    tracing::warn!(backend = %server.backend_name(), cause = fault.cause.as_deref().unwrap_or_default(), "{fault}");
    Broken::Refused(fault.refusal(server.backend_name(), "attempt"))
}
