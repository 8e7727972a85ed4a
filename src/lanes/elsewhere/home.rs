//! A legacy session belongs to one node: there it is open at backends, there its streams are held and its settings known.
//! What comes for it to another one is handed over as a whole.
//!
//! That is the node that minted its ticket, for as long as it is there; then one of those that are left, the same for all who
//! see the same nodes. Where nobody takes the request, it is carried out here, in sessions that are opened for it.

use super::parcel::{Parcel, Undone};
use super::{RULE, last_event, relay, unless_over};
use crate::cluster::Aim;
use crate::lanes::{Broken, Way, close, detached};
use crate::listen::Connection;
use crate::serve::now;
use crate::session::{Cost, Standing};
use crate::telemetry::labels::NodeRequest;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::{Local, Target};
use lockgate_filters::lane::Lane;
use std::time::Duration;
use tokio::time::timeout;

/// How many nodes are tried: what is known of them may be old.
const TRIES: usize = 2;
/// How long a request gets to be sent as a whole once its client has left.
const SENDING: Duration = Duration::from_secs(5);

/// Whether another node has minted the session's ticket, and may have it. Asked of every request.
pub(in crate::lanes) fn is_foreign(way: &Way<'_>) -> bool {
    let minted = way.trip.exchange.ticket.as_ref().map(|ticket| ticket.node);
    let here = || Connection::of(way.session).is_none_or(|connection| connection.forwarded().is_some());
    minted.is_some_and(|node| node != way.gateway.node) && !way.gateway.world.cluster.is_alone() && !here()
}

/// Whether a request needs what the session's node has, and nothing else says where that is.
pub(in crate::lanes) fn needs_home(way: &Way<'_>, lane: Lane) -> bool {
    let exchange = &way.trip.exchange;
    let direct = way.server.policy.federation.is_none();
    match lane {
        Lane::Open | Lane::Discover | Lane::Close => false,
        // An event id says itself who holds the stream.
        Lane::Hold => direct || last_event(way).is_none(),
        Lane::Forward | Lane::Gather | Lane::Local | Lane::Spread => {
            direct || (0..exchange.scan.messages.len()).any(|index| is_the_sessions(exchange.target(index)))
        }
    }
}

fn is_the_sessions(target: &Target) -> bool {
    matches!(target, Target::Member(_) | Target::All | Target::Here(Local::SetLevel))
}

/// Has a request carried out at its session's node; `false` where that is this one, or it cannot be had there.
pub(in crate::lanes) async fn at_home(way: &mut Way<'_>, lane: Lane) -> Result<bool, Broken> {
    let Some((session, minted)) = way.trip.exchange.ticket.as_ref().map(|ticket| (ticket.id, ticket.node)) else {
        return Ok(false);
    };
    if way.gateway.world.sessions.store().is_ended(&session) {
        return Ok(false);
    }
    let news = lane == Lane::Hold;
    for _ in 0..TRIES {
        let Some(home) = way.gateway.world.cluster.home(&session, minted).await else { return Ok(false) };
        let body = way.trip.exchange.body.clone();
        let bytes = body.len();
        let Some(parcel) = Parcel::of(way, NodeRequest::Session, Aim::Process(home), body) else { return Ok(false) };
        let copy = way.gateway.world.sessions.store().peek(&session).is_some_and(|copy| !copy.upstreams().is_empty());
        let parcel = parcel.with_patience(news).returning(copy);
        let mut handing = Box::pin(async move { parcel.hand_over().await });
        let taken = match unless_over(way, &mut handing).await {
            Err(Broken::ClientGone) => {
                if !news {
                    // A client that leaves cancels nothing: once the other node has it all, it sees for itself that it left.
                    let sending = async move { drop(timeout(SENDING, handing).await) };
                    detached::go_on(way, Cost { exchanges: 1, bytes }, sending);
                }
                return Err(Broken::ClientGone);
            }
            taken => taken?,
        };
        match taken {
            Ok(taken) => {
                if copy && let Some(copy) = way.gateway.world.sessions.forget(&session, now()).await {
                    way.gateway.end_in_background(&way.trip.snapshot, vec![copy]);
                }
                return relay(way, taken, news).await.map(|()| true);
            }
            // It is there, so nobody else may take its place.
            Err(why) if why.is_for_a_while() => {
                return Err(Refusal::new(Fault::Overloaded, RULE).into());
            }
            // Nothing of it was sent.
            Err(Undone::Unreached(_)) => {}
            Err(why) => {
                let text = format!("the gateway node that has this session broke off: {why}");
                return Err(Refusal::new(Fault::PeerUnreachable, RULE).saying(text).into());
            }
        }
    }
    Ok(false)
}

/// A session comes back that another node has had in the meantime: what was done there, backends do not know in the sessions
/// that they have with this one. Its client is told as of any session that begins anew.
pub(in crate::lanes) async fn welcome_back(way: &Way<'_>) {
    let Some(ticket) = way.trip.exchange.ticket.as_ref() else { return };
    let sessions = &way.gateway.world.sessions;
    let Standing::Live(node) = sessions.get(&ticket.id, now()) else { return };
    node.missed_news();
    for (place, upstream) in node.upstreams() {
        let Some(link) = way.server.links.iter().find(|link| link.backend.place == place) else { continue };
        tracing::warn!(backend = %link.name(), session = %node.id(), "a session is back that another node has had meanwhile");
        if link.heals {
            sessions.to_be_marked(&node, &place).await;
            continue;
        }
        sessions.lost_unheard(&node, &place).await;
        if sessions.leave(&node, &place).await.is_ok() {
            close::end_displaced(&way.trip.snapshot.backends, &place, upstream);
        }
    }
}

/// Whether another node hands a session back with this request.
pub(in crate::lanes) fn comes_back(way: &Way<'_>) -> bool {
    way.trip.exchange.ticket.is_some()
        && !way.gateway.world.cluster.is_alone()
        && Connection::of(way.session).and_then(|it| it.forwarded()).is_some_and(|forwarded| forwarded.returns)
}
