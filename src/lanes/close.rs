//! DELETE: a legacy client ends its session. The backend's session and every stream end with it.

use super::{Broken, Way, respond};
use crate::serve::now;
use crate::session::{NodeSession, UpstreamSession};
use crate::snapshot::Server;
use bytes::Bytes;
use http::StatusCode;
use std::time::Duration;
use tokio::time::timeout;

/// How long the backend gets to end its session before the client is answered anyway.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(way: Way<'_>) -> Result<(), Broken> {
    let Some(ticket) = way.trip.exchange.ticket.clone() else { return Ok(()) };
    let ended = way.gateway.world.sessions.end(&ticket.id, ticket.expires, now()).await;
    if let Some(session) = ended {
        end_upstream(&way.server, &session).await;
    }
    let header = respond::header(way.trip, StatusCode::OK)?;
    respond::whole(way.session, header, Bytes::new()).await?;
    Ok(())
}

/// Tells the backend behind this virtual server that one of its sessions is over.
pub(super) async fn end_upstream(server: &Server, session: &NodeSession) {
    if let Some(upstream) = session.upstream(server.backend_name()) {
        end_at(server, &upstream).await;
    }
}

/// The same for a session that no client got; whether the backend takes note is its own affair.
pub(super) async fn end_at(server: &Server, upstream: &UpstreamSession) {
    let Some(id) = &upstream.id else { return };
    match timeout(PATIENCE, server.backend.fetcher().end_session(id.header(), upstream.revision)).await {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => tracing::debug!(backend = %server.backend_name(), "a session could not be ended: {fault}"),
        Err(_) => tracing::debug!(backend = %server.backend_name(), "a session was not ended in time"),
    }
}
