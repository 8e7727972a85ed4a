//! How requests are carried out: one file a lane, and the attempt and relay that they share.

mod attempt;
mod close;
mod detached;
mod discover;
mod forward;
mod gather;
mod hold;
mod judge;
mod members;
mod messages;
mod open;
mod relay;
mod remember;
pub mod respond;
mod revive;
mod stream;

use crate::gateway::Gateway;
use crate::serve::now;
use crate::session::{NodeSession, Standing};
use crate::snapshot::{Server, Snapshot};
use crate::trip::Trip;
use http::HeaderValue;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::lane::Lane;
use pingora_proxy::Session;
use std::sync::Arc;

/// Why a lane ended without having answered.
#[derive(Debug)]
pub enum Broken {
    /// Nothing was sent yet: this is the answer.
    Refused(Refusal),
    /// The client left, or takes nothing more.
    ClientGone,
    /// The answer had begun and cannot be finished: the connection must not look as if it had.
    Cut,
}

impl From<Refusal> for Broken {
    fn from(refusal: Refusal) -> Broken {
        Broken::Refused(refusal)
    }
}

/// Writing to the client failed: it is gone, whatever the reason.
impl From<Box<pingora::Error>> for Broken {
    fn from(_: Box<pingora::Error>) -> Broken {
        Broken::ClientGone
    }
}

/// What every lane is given.
pub(crate) struct Way<'a> {
    gateway: &'a Gateway,
    session: &'a mut Session,
    trip: &'a mut Trip,
    server: Arc<Server>,
    /// Node state of the legacy session that the request's ticket names.
    node: Option<Arc<NodeSession>>,
}

impl Way<'_> {
    /// The session id by which the backend knows this session.
    fn upstream_session(&self) -> Option<HeaderValue> {
        let upstream = self.node.as_ref()?.upstream(self.server.backend_name())?;
        upstream.id.map(|id| id.header().clone())
    }
}

/// Carries a request out.
pub(crate) async fn carry_out(
    gateway: &Gateway,
    session: &mut Session,
    trip: &mut Trip,
    lane: Lane,
) -> Result<(), Broken> {
    trip.record.lane = Some(lane);
    let Some(server) = trip.server.clone() else {
        return Err(Refusal::new(Fault::UnknownPath, "lane").into());
    };
    let mut way = Way { gateway, session, trip, server, node: None };
    find_node_session(&mut way, lane).await?;
    match lane {
        Lane::Discover => discover::run(way).await,
        Lane::Open => open::run(way).await,
        Lane::Forward => forward::run(way).await,
        Lane::Gather => Box::pin(gather::run(way)).await,
        Lane::Hold => Box::pin(hold::run(way)).await,
        Lane::Close => Box::pin(close::run(way)).await,
    }
}

/// Looks up what this node knows of a ticket's session; one that it has forgotten is opened again at the backend.
async fn find_node_session(way: &mut Way<'_>, lane: Lane) -> Result<(), Broken> {
    let Some(ticket) = way.trip.exchange.ticket.clone() else { return Ok(()) };
    way.node = match way.gateway.world.sessions.get(&ticket.id, now()) {
        Standing::Live(session) => Some(session),
        Standing::Ended => return Err(Refusal::new(Fault::SessionUnknown, "lane").into()),
        Standing::Unknown if lane == Lane::Close => None,
        Standing::Unknown => Some(Box::pin(revive::run(way, &ticket)).await?),
    };
    let elsewhere = way.node.as_ref().is_some_and(|node| node.upstream(way.server.backend_name()).is_none());
    if elsewhere && lane != Lane::Close {
        // A reload has put another backend behind this virtual server.
        Box::pin(revive::renew(way, None)).await?;
    }
    Ok(())
}

/// Ends a session that this node gave up at every backend that it was open at.
pub async fn end_everywhere(snapshot: &Snapshot, session: &NodeSession) {
    for (backend, upstream) in session.upstreams() {
        if let Some(server) = snapshot.servers.iter().find(|server| *server.backend_name() == backend) {
            close::end_at(server, &upstream).await;
        }
    }
}
