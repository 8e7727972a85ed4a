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
mod opened;
mod relay;
mod remember;
pub mod respond;
mod revive;
mod stream;

use crate::gateway::Gateway;
use crate::serve::now;
use crate::session::{NodeSession, Standing};
use crate::snapshot::{Link, Server};
use crate::trip::Trip;
use crate::upstream::{Fetcher, LiveBackend};
pub use close::end_all;
use http::{HeaderMap, HeaderValue};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::headers;
use lockgate_filters::lane::Lane;
use pingora_proxy::Session;
use std::future::pending;
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
    /// The backend that it goes to.
    link: Arc<Link>,
    /// Node state of the legacy session that the request's ticket names.
    node: Option<Arc<NodeSession>>,
}

impl Way<'_> {
    /// The session id by which the backend knows this session.
    fn upstream_session(&self) -> Option<HeaderValue> {
        let upstream = self.node.as_ref()?.upstream(&self.link.backend.place)?;
        upstream.id.map(|id| id.header().clone())
    }

    /// Waits until the client has ended the session that this request belongs to; for ever where there is none.
    fn ended(&self) -> impl Future<Output = ()> + use<> {
        let node = self.node.clone();
        async move {
            match node {
                Some(node) => node.ended().await,
                None => pending().await,
            }
        }
    }
}

/// What a request is told whose session was ended while it waited.
fn session_ended() -> Broken {
    Refusal::new(Fault::SessionUnknown, "lane").into()
}

/// What the gateway says to a backend about a legacy session on a client's behalf, with the fields that the client's
/// request forwards: a backend that wants the client's credentials wants them here too.
fn speaker(backend: &LiveBackend, client: &HeaderMap) -> Fetcher {
    let mut fields = backend.forwarding.outbound(client);
    // What MCP gives a meaning belongs to the client's own request.
    fields.retain(|name| !name.as_str().starts_with("mcp-") && *name != headers::LAST_EVENT_ID);
    backend.fetcher().on_behalf(fields)
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
    let Some(link) = server.links.first().cloned() else {
        return Err(Refusal::new(Fault::Internal, "lane").into());
    };
    let mut way = Way { gateway, session, trip, server, link, node: None };
    find_node_session(&mut way, lane).await?;
    match lane {
        Lane::Discover => discover::run(way).await,
        Lane::Open => open::run(way).await,
        Lane::Forward => forward::run(way).await,
        Lane::Gather => Box::pin(gather::run(way)).await,
        Lane::Hold => Box::pin(hold::run(way)).await,
        Lane::Close => Box::pin(close::run(way)).await,
        // No virtual server is federated yet.
        Lane::Local | Lane::Spread => Err(Refusal::new(Fault::Internal, "lane").into()),
    }
}

/// Looks up what this node knows of a ticket's session; one that is not open at the backend is opened again there.
async fn find_node_session(way: &mut Way<'_>, lane: Lane) -> Result<(), Broken> {
    let Some(ticket) = way.trip.exchange.ticket.clone() else { return Ok(()) };
    way.node = match way.gateway.world.sessions.get(&ticket.id, now()) {
        Standing::Live(session) => Some(session),
        Standing::Ended => return Err(Refusal::new(Fault::SessionUnknown, "lane").into()),
        Standing::Unknown if lane == Lane::Close => None,
        Standing::Unknown => Some(Box::pin(revive::run(way, &ticket)).await?),
    };
    let elsewhere = way.node.as_ref().is_some_and(|node| node.upstream(&way.link.backend.place).is_none());
    if elsewhere && lane != Lane::Close {
        // This node had forgotten the session, or a reload has put another backend behind this virtual server.
        Box::pin(revive::renew(way, None)).await?;
    }
    Ok(())
}
