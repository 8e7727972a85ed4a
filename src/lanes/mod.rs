//! How requests are carried out: one file a lane, and the attempt and relay that they share.

mod answering;
mod attempt;
mod close;
mod detached;
mod discover;
mod elsewhere;
mod federated;
mod forward;
mod gather;
mod heal;
mod hold;
mod judge;
mod member;
mod members;
mod messages;
mod names;
mod open;
mod opened;
mod owes;
mod relay;
mod remember;
mod replay;
pub mod respond;
mod revive;
mod rights;
mod stream;
mod translate;
mod translation;

use crate::gateway::Gateway;
use crate::seats::Seat;
use crate::serve::now;
use crate::session::{NodeSession, Standing, Underway};
use crate::snapshot::{Link, Server};
use crate::trip::Trip;
use crate::upstream::{Caller, Fetcher, LiveBackend};
use bytes::Bytes;
pub use close::end_all;
pub(crate) use elsewhere::{hand_over, knows};
use heal::Mark;
use http::HeaderMap;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::headers;
use lockgate_filters::lane::Lane;
use lockgate_filters::rpc::scan::Kind;
use lockgate_filters::splice::Onward;
use pingora_proxy::Session;
use std::future::pending;
use std::sync::Arc;
use translation::Translation;

/// The method of a client that listens (2026-07-28).
const LISTEN: &[u8] = b"subscriptions/listen";

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
    /// How that backend's words become ours, where they must.
    translation: Option<Translation>,
    /// Where the backend's session was opened again, and a result is to say so.
    mark: Option<Mark>,
    /// Node state of the legacy session that the request's ticket names.
    node: Option<Arc<NodeSession>>,
    /// Keeps a request of several backends' server to be found by who cancels it, for as long as anything comes of it.
    underway: Option<Arc<Underway>>,
}

impl Way<'_> {
    /// The session id by which the backend knows this session, and what was negotiated in it.
    fn onward(&self) -> Onward {
        onward(self.node.as_deref(), &self.link)
    }

    /// What the gateway says to a backend on this client's behalf.
    fn speaker(&self, backend: &LiveBackend) -> Fetcher {
        speaker(backend, &self.session.req_header().headers, attempt::caller(&self.trip.exchange))
    }

    /// A backend's whole answer as the client gets it.
    fn translated(&self, answer: Bytes) -> Bytes {
        let answer = if self.translation.is_some() { heal::unmarked(self.with_our_uris(answer)) } else { answer };
        match &self.mark {
            Some(mark) => mark.put(answer),
            None => answer,
        }
    }

    /// Where the backend's session was opened again, and nobody has been told, this request's answer is to say so.
    fn look_for_mark(&mut self) {
        let sessions = &self.gateway.world.sessions;
        self.mark = self.node.as_ref().and_then(|node| Mark::due(sessions, node, &self.link.backend.place));
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

/// The session id by which a backend knows a session, and what was negotiated in it.
fn onward(node: Option<&NodeSession>, link: &Link) -> Onward {
    let Some(upstream) = node.and_then(|node| node.upstream(&link.backend.place)) else { return Onward::default() };
    let session = upstream.id.map(|id| id.header().clone());
    Onward { session, revision: Some(upstream.revision), name: None }
}

/// What a request is told whose session was ended while it waited.
fn session_ended() -> Broken {
    Refusal::new(Fault::SessionUnknown, "lane").into()
}

/// What the gateway says to a backend about a legacy session on a client's behalf (`caller`), with the fields that the client's
/// request forwards: a backend that wants the client's credentials wants them here too.
fn speaker(backend: &LiveBackend, client: &HeaderMap, caller: Caller) -> Fetcher {
    let mut fields = backend.forwarding.outbound(client);
    // What MCP gives a meaning belongs to the client's own request.
    fields.retain(|name| !name.as_str().starts_with("mcp-") && *name != headers::LAST_EVENT_ID);
    backend.fetcher().on_behalf(fields).calling(caller)
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
    let _listening = listening(gateway, trip)?;
    let mut way =
        Way { gateway, session, trip, server, link, translation: None, mark: None, node: None, underway: None };
    if elsewhere::comes_back(&way) {
        Box::pin(elsewhere::welcome_back(&way)).await;
    }
    if elsewhere::is_foreign(&way)
        && elsewhere::needs_home(&way, lane)
        && Box::pin(elsewhere::at_home(&mut way, lane)).await?
    {
        return Ok(());
    }
    if way.server.policy.federation.is_some() {
        // What one backend is to answer goes the way of a server with one backend, in the room that is there for it.
        return match federated::Course::of(&way, lane) {
            federated::Course::Member(member) => {
                federated::head_for(&mut way, member).await?;
                forward::run(way).await
            }
            federated::Course::Own(own) => federated::run(way, own).await,
        };
    }
    find_node_session(&mut way, lane).await?;
    match lane {
        Lane::Discover => discover::run(way).await,
        Lane::Open => open::run(way).await,
        Lane::Forward => forward::run(way).await,
        Lane::Gather => Box::pin(gather::run(way)).await,
        Lane::Hold => Box::pin(hold::run(way)).await,
        Lane::Close => Box::pin(close::run(way)).await,
        // A direct virtual server has nothing of its own to say, and one backend to say it to.
        Lane::Local | Lane::Spread => Err(Refusal::new(Fault::Internal, "lane").into()),
    }
}

/// The place that a client takes which listens (`subscriptions/listen`): for as long as it likes, it holds a stream here and at
/// backends.
fn listening(gateway: &Gateway, trip: &Trip) -> Result<Option<Seat>, Refusal> {
    let exchange = &trip.exchange;
    if exchange.scan.batch || !exchange.scan.messages.first().is_some_and(|message| message.is(LISTEN, &exchange.body))
    {
        return Ok(None);
    }
    let seat = gateway.world.listening.take(trip.snapshot.limits.listen_streams);
    seat.map(Some).ok_or_else(|| Refusal::new(Fault::TooManyStreams, "lane"))
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
        Box::pin(revive::renew(way, &Arc::clone(&way.link), None)).await?;
    }
    if lane == Lane::Forward && asks(way) {
        way.look_for_mark();
    }
    Ok(())
}

/// Whether the request is one that a backend answers.
fn asks(way: &Way<'_>) -> bool {
    way.trip.exchange.scan.messages.first().is_some_and(|message| message.kind == Kind::Request)
}
