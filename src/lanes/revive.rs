//! Opening a session again: one that this node has forgotten (idle for long, or its state was lost), or one that the
//! backend has lost (it restarted, and answers 404). Clients do not do it themselves. The ticket says what the client is
//! and what was negotiated, so the backend can be asked for a new session of the same kind.
//!
//! The client leaving does not stop this: in its era a disconnect cancels nothing. Time does.

use super::heal::Mark;
use super::names::{self, Names};
use super::opened::Opened;
use super::replay::Replay;
use super::{Broken, Way, attempt, close, speaker};
use crate::drain::Drain;
use crate::serve::now;
use crate::session::{
    Before, InsertFault, Lists, Loss, NodeSession, SessionRecord, Sessions, UpstreamId, UpstreamSession,
};
use crate::snapshot::{Current, Link, Server};
use crate::upstream::{AttemptFault, Caller, Fetcher, LiveBackend, Outcome, Speech};
use http::{HeaderMap, HeaderValue, StatusCode};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::headers;
use lockgate_filters::revision::{Era, Revision};
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::scan::Kind;
use lockgate_filters::ticket::Ticket;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

const RULE: &str = "revive";

/// How long a request waits for its session to be opened again; what the client has set in it comes on top, within a time
/// of its own (`replay.rs`).
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes a session in again that this node has forgotten. It is open nowhere yet: [`renew`] sees to that.
pub(super) async fn run(way: &Way<'_>, ticket: &Ticket) -> Result<Arc<NodeSession>, Broken> {
    // Where it was open before is known if this node has given it up.
    let before = Before::Unknown(Vec::new());
    let record = SessionRecord { id: ticket.id, expires: ticket.expires, upstream: Vec::new(), before };
    let (inserted, given_up) = way.gateway.world.sessions.insert(record, now()).await;
    way.gateway.end_in_background(&way.trip.snapshot, given_up);
    match inserted {
        Ok(session) | Err(InsertFault::Exists(session)) => Ok(session),
        Err(InsertFault::Full) => Err(Refusal::new(Fault::TooManySessions, RULE).into()),
        Err(InsertFault::Ended) => Err(gone()),
    }
}

/// Opens a session again at a backend that has lost it: see [`Opener::renew`].
pub(super) async fn renew(way: &Way<'_>, link: &Link, lost: Option<&HeaderValue>) -> Result<(), Broken> {
    let asks = way.trip.exchange.scan.messages.iter().any(|message| message.kind == Kind::Request);
    Opener::of(way)?.renew(link, lost, asks).await
}

/// What it takes to open one legacy session at backends, also where no request of its client is at hand.
#[derive(Clone)]
pub(super) struct Opener {
    sessions: Arc<Sessions>,
    drain: Drain,
    current: Current,
    pub server: Arc<Server>,
    ticket: Arc<Ticket>,
    pub node: Arc<NodeSession>,
    pub names: Names,
    /// The header of the client's request, for the fields that are forwarded.
    headers: HeaderMap,
    caller: Caller,
}

impl Opener {
    /// Opens sessions on behalf of the client whose request this is.
    pub fn of(way: &Way<'_>) -> Result<Opener, Broken> {
        let (Some(ticket), Some(node)) = (&way.trip.exchange.ticket, &way.node) else { return Err(gone()) };
        let exchange = &way.trip.exchange;
        if let Some(catalog) = exchange.catalog.as_ref().filter(|_| exchange.is_own()) {
            names::learn(way, node, catalog);
        }
        Ok(Opener {
            names: Names::of(way),
            sessions: Arc::clone(&way.gateway.world.sessions),
            drain: way.gateway.drain.clone(),
            current: Arc::clone(&way.gateway.current),
            server: Arc::clone(&way.server),
            ticket: Arc::clone(ticket),
            node: Arc::clone(node),
            headers: way.session.req_header().headers.clone(),
            caller: attempt::caller(&way.trip.exchange),
        })
    }

    /// The same, of the virtual server as it is after a reload.
    pub fn of_server(&self, server: &Arc<Server>) -> Opener {
        Opener { server: Arc::clone(server), ..self.clone() }
    }

    /// What the gateway says to a backend on this client's behalf.
    pub fn speaker(&self, backend: &LiveBackend) -> Fetcher {
        speaker(backend, &self.headers, self.caller)
    }

    /// The mark for a request that found the loss of the session at a backend itself.
    pub fn mark(&self, place: &Arc<str>) -> Mark {
        Mark::new(&self.sessions, &self.node, place)
    }

    /// The mark for any other request, where nobody has been told yet.
    pub fn mark_due(&self, place: &Arc<str>) -> Option<Mark> {
        Mark::due(&self.sessions, &self.node, place)
    }

    /// Opens the session again at a backend that has lost it, and tells it what this node knows of the old one.
    ///
    /// `lost` is the id that the backend no longer knows, `None` where the session is not open at this backend: where somebody
    /// else was faster, the new session is used. `asks` says whether somebody is answered, and so hears of a loss.
    ///
    /// # Errors
    /// Also where the session begins anew, and the backend's configuration says that its client must know (-31006).
    pub async fn renew(&self, link: &Link, lost: Option<&HeaderValue>, asks: bool) -> Result<(), Broken> {
        tokio::select! {
            biased;
            renewed = renewed(self, link, lost, asks) => renewed,
            () = self.drain.last_words() => Err(attempt::draining()),
        }
    }
}

async fn renewed(opener: &Opener, link: &Link, lost: Option<&HeaderValue>, asks: bool) -> Result<(), Broken> {
    let node = &opener.node;
    let place = &link.backend.place;
    let federated = opener.server.policy.federation.is_some();
    let deadline = Instant::now() + PATIENCE;
    let turn = node.turn(place);
    let _turn = timeout_at(deadline, turn.lock()).await.map_err(|_| too_slow(link))?;
    if node.is_gone() {
        return Err(gone());
    }
    let open = node.upstream(place);
    let is_lost = open.as_ref().is_some_and(|open| open.id.as_ref().map(UpstreamId::header) == lost);
    if lost.is_some() && !link.heals {
        // Whatever another request has done meanwhile: this one relied on what is lost. What follows begins anew.
        if is_lost {
            if !asks {
                opener.sessions.lost_unheard(node, place).await;
            }
            opener.sessions.leave(node, place).await.map_err(|_| gone())?;
        }
        return Err(lost_for_good(link));
    }
    if open.as_ref().is_some_and(|open| open.id.as_ref().map(UpstreamId::header) != lost || lost.is_none()) {
        return Ok(());
    }
    let begins_anew = open.is_some() || node.begins_anew(place);
    if begins_anew && !link.heals {
        // Who only listens, or says something that nobody answers, leaves it to the next request to hear of it.
        if asks {
            anew(opener, place).await?;
        }
        return Err(lost_for_good(link));
    }
    let roots = node.roots_changes();
    let fetcher = opener.speaker(&link.backend);
    let opening = initialize(link, &fetcher, &opener.ticket, federated);
    let New { opened, upstream, lists, logs } = timeout_at(deadline, opening).await.map_err(|_| too_slow(link))??;
    // A session with the only backend was opened for a client that knows what it declares.
    let mut replay = Replay::new(opener, link, &fetcher, &upstream, logs || !federated, roots);
    replay.tell().await;
    let loss = match (federated, begins_anew) {
        (false, _) => Loss::Everything,
        (true, true) => Loss::There,
        (true, false) => Loss::Nothing,
    };
    if !federated {
        node.announces(lists);
    }
    if begins_anew {
        opener.sessions.to_be_marked(node, place).await;
    }
    let displaced = opener.sessions.bind(node, place, upstream.clone(), loss).await.map_err(|_| gone())?;
    opened.keep();
    if let Some((place, displaced)) = displaced {
        close::end_displaced(&opener.current.load().backends, &place, displaced);
    }
    anew(opener, place).await?;
    replay.catch_up().await;
    if !begins_anew {
        tracing::debug!(backend = %link.name(), "a session was opened at the backend");
    } else {
        link.metrics.healed();
        tracing::warn!(backend = %link.name(), session = %node.id(), "a session was opened again at the backend");
    }
    Ok(())
}

/// What was open at a backend before is past, here and where that was before a reload.
async fn anew(opener: &Opener, place: &Arc<str>) -> Result<(), Broken> {
    opener.sessions.told_anew(&opener.node, place).await;
    let current = opener.current.load_full();
    for moved in opener.node.moved_from(place) {
        // Of the two, it is this one that is past where the other is in use: a reload has overtaken this request.
        if !current.backends.iter().any(|backend| backend.place == moved) {
            opener.sessions.leave(&opener.node, &moved).await.map_err(|_| gone())?;
        }
    }
    Ok(())
}

fn gone() -> Broken {
    Refusal::new(Fault::SessionUnknown, RULE).into()
}

/// The backend has lost what it knew of the session, and may not silently begin anew.
fn lost_for_good(link: &Link) -> Broken {
    tracing::warn!(backend = %link.name(), "a session was lost at the backend");
    let text = format!("backend \"{}\" has lost this session; what is sent to it from now on begins anew", link.name());
    Refusal::new(Fault::BackendSessionLost, RULE).saying(text).into()
}

fn too_slow(link: &Link) -> Broken {
    let text = format!("backend \"{}\" did not open the session in time", link.name());
    Refusal::new(Fault::BackendTimeout, RULE).saying(text).into()
}

/// How the gateway speaks in a session of a backend.
pub(super) fn speech(upstream: &UpstreamSession) -> Speech<'_> {
    Speech::Legacy { session: upstream.id.as_ref().map(UpstreamId::header), revision: Some(upstream.revision) }
}

/// A session that a backend has opened.
struct New {
    opened: Opened,
    upstream: UpstreamSession,
    /// Which changes it announces.
    lists: Lists,
    /// Whether it declares log levels.
    logs: bool,
}

/// The handshake that the client once made.
async fn initialize(link: &Link, fetcher: &Fetcher, ticket: &Ticket, federated: bool) -> Result<New, Broken> {
    let failed = |fault: AttemptFault| attempt::failed(link, &fault);
    let info = json!({"name": ticket.client_name.as_str(), "version": ticket.client_version.as_str()});
    let params = format!(
        r#""protocolVersion":"{}","capabilities":{},"clientInfo":{info}"#,
        ticket.revision,
        ticket.capabilities.to_json()
    );
    let first = Speech::Legacy { session: None, revision: None };
    let reply = fetcher.call("initialize", &params, first).await.map_err(failed)?;
    let id = reply.headers.get(headers::SESSION_ID).and_then(|value| UpstreamId::new(value.as_bytes()));
    let mut opened = Opened::new(Arc::clone(&link.backend), fetcher.clone(), id);
    let Some(Outcome::Result(result)) = reply.outcome.as_ref().filter(|_| reply.status.is_success()) else {
        return Err(refused(link.name(), reply.status, reply.outcome.as_ref()).into());
    };
    let version = member(result, "protocolVersion").and_then(|value| value.text(result));
    let negotiated = version.and_then(|version| Revision::parse(version.as_bytes()));
    // What the client speaks was settled with the only backend, and a session never changes its revision. Of several
    // backends each speaks its own.
    let fits = |revision: &Revision| *revision == ticket.revision || (federated && revision.era() == Era::Legacy);
    let Some(revision) = negotiated.filter(fits) else {
        return Err(if federated { unspoken(link) } else { gone() });
    };
    let upstream = opened.negotiated(revision);
    fetcher.notify("notifications/initialized", "", speech(&upstream)).await.map_err(failed)?;
    Ok(New { opened, upstream, lists: announced(result), logs: declares_logging(result) })
}

fn declares_logging(result: &[u8]) -> bool {
    let capabilities = member(result, "capabilities").map(|value| value.span.of(result)).unwrap_or_default();
    member(capabilities, "logging").is_some()
}

fn unspoken(link: &Link) -> Broken {
    let text = format!("backend \"{}\" negotiated a protocol revision that the gateway does not speak", link.name());
    Refusal::new(Fault::BackendProtocol, RULE).saying(text).into()
}

/// Which changes a backend announces, by its `initialize` result.
pub(super) fn announced(result: &[u8]) -> Lists {
    member(result, "capabilities").map(|value| Lists::declared(value.span.of(result))).unwrap_or_default()
}

/// A backend that opens no session now. That says nothing about the session: the client may ask again.
fn refused(backend: &str, status: StatusCode, outcome: Option<&Outcome>) -> Refusal {
    let (fault, text) = match (status, outcome) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED, _) => {
            (Fault::BackendProtocol, format!("refuses the gateway with status {}", status.as_u16()))
        }
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _) => {
            (Fault::Overloaded, format!("opens no session now: status {}", status.as_u16()))
        }
        (_, Some(Outcome::Error(error))) => {
            (Fault::BackendProtocol, format!("does not open the session again: error {}", error.code))
        }
        _ => (Fault::BackendProtocol, format!("does not open the session again: status {}", status.as_u16())),
    };
    Refusal::new(fault, RULE).saying(format!("backend \"{backend}\" {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::RpcError;

    #[test]
    fn a_backend_that_opens_no_session_now_ends_none() {
        let error = || Outcome::Error(RpcError { code: -32000, message: "at 10.0.0.1: no".into() });
        for (status, outcome, fault) in [
            (401, None, Fault::BackendProtocol),
            (403, Some(error()), Fault::BackendProtocol),
            (404, None, Fault::BackendProtocol),
            (429, None, Fault::Overloaded),
            (503, Some(error()), Fault::Overloaded),
            (502, None, Fault::BackendProtocol),
            (200, Some(error()), Fault::BackendProtocol),
            (200, None, Fault::BackendProtocol),
        ] {
            let refusal = refused("demo", StatusCode::from_u16(status).unwrap(), outcome.as_ref());
            assert_eq!(refusal.fault, fault, "{status}");
            assert!(refusal.message.starts_with("backend \"demo\" ") && !refusal.message.contains("10.0"), "{status}");
        }
    }

    #[test]
    fn announcements_are_read_from_the_result() {
        let result = br#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}}}"#;
        assert_eq!(announced(result).notifications().count(), 1);
        assert_eq!(announced(b"{}").notifications().count(), 0);
    }
}
