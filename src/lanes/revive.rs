//! Opening a session again: one that this node has forgotten (idle for long, or its state was lost), or one that the
//! backend has lost (it restarted, and answers 404). Clients do not do it themselves. The ticket says what the client is
//! and what was negotiated, so the backend can be asked for a new session of the same kind.

use super::{Broken, Way, attempt, close};
use crate::serve::now;
use crate::session::{InsertFault, Left, NodeSession, SessionRecord, UpstreamId, UpstreamSession};
use crate::upstream::{Outcome, Speech};
use http::HeaderValue;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::headers;
use lockgate_filters::revision::Revision;
use lockgate_filters::rpc::members::member;
use lockgate_filters::ticket::Ticket;
use serde_json::json;
use std::sync::Arc;

const RULE: &str = "revive";

pub(super) async fn run(way: &mut Way<'_>, ticket: &Ticket) -> Result<Arc<NodeSession>, Broken> {
    let upstream = initialize(way, ticket).await?;
    if let Some(left) = way.gateway.world.sessions.left(&ticket.id)
        && let Err(broken) = replay(way, &left, &upstream).await
    {
        close::end_at(&way.server, &upstream).await;
        return Err(broken);
    }
    let record = SessionRecord {
        id: ticket.id,
        expires: ticket.expires,
        upstream: vec![(Arc::clone(way.server.backend_name()), upstream.clone())],
    };
    let (inserted, given_up) = way.gateway.world.sessions.insert(record, now()).await;
    way.gateway.end_in_background(&way.trip.snapshot, given_up);
    match inserted {
        Ok(session) => {
            tracing::info!(backend = %way.server.backend_name(), "a forgotten session was opened again");
            Ok(session)
        }
        Err(fault) => {
            close::end_at(&way.server, &upstream).await;
            match fault {
                InsertFault::Exists(session) => Ok(session),
                InsertFault::Full => Err(Refusal::new(Fault::TooManySessions, RULE).into()),
                InsertFault::Ended => Err(Refusal::new(Fault::SessionUnknown, RULE).into()),
            }
        }
    }
}

/// Opens a session again at a backend that has lost it, and tells it what this node knows of the old one.
///
/// `lost` is the id that the backend no longer knows, `None` where the session was never open at this backend: where
/// another request was faster, its new session is used.
pub(super) async fn renew(way: &Way<'_>, lost: Option<&HeaderValue>) -> Result<(), Broken> {
    let gone = || Broken::from(Refusal::new(Fault::SessionUnknown, RULE));
    let (Some(ticket), Some(node)) = (&way.trip.exchange.ticket, &way.node) else { return Err(gone()) };
    let _turn = node.renewing.lock().await;
    let open = node.upstream(way.server.backend_name());
    if open.is_some_and(|open| open.id.as_ref().map(UpstreamId::header) != lost || lost.is_none()) {
        return Ok(());
    }
    let upstream = initialize(way, ticket).await?;
    replay(way, &node.left(), &upstream).await?;
    let bound = way.gateway.world.sessions.bind(node, way.server.backend_name(), upstream).await;
    tracing::warn!(backend = %way.server.backend_name(), "a session was opened again at the backend");
    bound.map_err(|_| gone())
}

/// The log level and the subscriptions that the client had set.
async fn replay(way: &Way<'_>, left: &Left, upstream: &UpstreamSession) -> Result<(), Broken> {
    let fetcher = way.server.backend.fetcher();
    let speech =
        || Speech::Legacy { session: upstream.id.as_ref().map(UpstreamId::header), revision: Some(upstream.revision) };
    let failed = |fault| attempt::failed(&way.server, &fault);
    if let Some(level) = left.log_level {
        let params = format!(r#""level":"{}""#, level.as_str());
        fetcher.call("logging/setLevel", &params, speech()).await.map_err(failed)?;
    }
    for uri in &left.subscriptions {
        let params = format!(r#""uri":{}"#, json!(*uri));
        fetcher.call("resources/subscribe", &params, speech()).await.map_err(failed)?;
    }
    Ok(())
}

/// The handshake that the client once made.
async fn initialize(way: &Way<'_>, ticket: &Ticket) -> Result<UpstreamSession, Broken> {
    let lost = || Broken::from(Refusal::new(Fault::SessionUnknown, RULE));
    let fetcher = way.server.backend.fetcher();
    let info = json!({"name": ticket.client_name.as_str(), "version": ticket.client_version.as_str()});
    let params = format!(
        r#""protocolVersion":"{}","capabilities":{},"clientInfo":{info}"#,
        ticket.revision,
        ticket.capabilities.to_json()
    );
    let first = Speech::Legacy { session: None, revision: None };
    let reply =
        fetcher.call("initialize", &params, first).await.map_err(|fault| attempt::failed(&way.server, &fault))?;
    let Some(Outcome::Result(result)) = reply.outcome else { return Err(lost()) };
    let version = member(&result, "protocolVersion").and_then(|value| value.text(&result));
    // A session never changes its revision: a backend that now speaks another cannot go on with it.
    if version.and_then(|version| Revision::parse(version.as_bytes())) != Some(ticket.revision) {
        return Err(lost());
    }
    let id = reply.headers.get(headers::SESSION_ID).and_then(|value| UpstreamId::new(value.as_bytes()));
    let speech = Speech::Legacy { session: id.as_ref().map(UpstreamId::header), revision: Some(ticket.revision) };
    let announced = fetcher.notify("notifications/initialized", "", speech).await;
    announced.map_err(|fault| attempt::failed(&way.server, &fault))?;
    Ok(UpstreamSession { id, revision: ticket.revision })
}
