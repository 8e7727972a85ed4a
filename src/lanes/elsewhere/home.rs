//! A legacy session belongs to one node: there it is open at backends, there its streams are held and its settings known.
//! What comes for it to another one is handed over as a whole.
//!
//! That is the node that minted its ticket, for as long as it is there; then one of those that are left, the same for all who
//! see the same nodes. Where nobody takes the request, it is carried out here, in sessions that are opened for it.

use super::parcel::{Parcel, Undone};
use super::{RULE, last_event, relay, unless_over};
use crate::cluster::{Aim, Unreached};
use crate::lanes::{Broken, Way, detached};
use crate::serve::now;
use crate::session::{Cost, Standing};
use crate::telemetry::labels::NodeRequest;
use bytes::Bytes;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::{Local, Target};
use lockgate_filters::lane::Lane;

/// How many nodes are tried: what is known of them may be old.
const TRIES: usize = 2;

/// Whether another node has minted the session's ticket. Asked of every request.
pub(in crate::lanes) fn is_foreign(way: &Way<'_>) -> bool {
    let minted = way.trip.exchange.ticket.as_ref().map(|ticket| ticket.node);
    minted.is_some_and(|node| node != way.gateway.node) && !way.gateway.world.cluster.is_alone()
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
    let known = match way.gateway.world.sessions.get(&session, now()) {
        Standing::Ended => return Ok(false),
        Standing::Live(_) => true,
        Standing::Unknown => false,
    };
    let news = lane == Lane::Hold;
    for _ in 0..TRIES {
        let Some(home) = way.gateway.world.cluster.home(&session, minted, !known).await else { return Ok(false) };
        let body = way.trip.exchange.body.clone();
        let bytes = body.len();
        let Some(parcel) = Parcel::of(way, NodeRequest::Session, Aim::Process(home), body) else { return Ok(false) };
        let parcel = parcel.with_patience(news);
        let mut handing = Box::pin(async move { parcel.hand_over().await });
        let taken = match unless_over(way, &mut handing).await {
            Err(Broken::ClientGone) => {
                if !news {
                    // A client that leaves cancels nothing.
                    detached::go_on(way, Cost { exchanges: 1, bytes }, async move { finish(handing.await).await });
                }
                return Err(Broken::ClientGone);
            }
            taken => taken?,
        };
        match taken {
            Ok(taken) => return relay(way, taken, news).await.map(|()| true),
            Err(Undone::Unreached(Unreached::Full)) => return Err(Refusal::new(Fault::Overloaded, RULE).into()),
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

/// Reads what another node answers to a client that has left: that node sees a client that stays.
async fn finish(taken: Result<super::Taken, Undone>) {
    if let Ok(mut taken) = taken {
        while let Ok(Some(Bytes { .. })) = taken.response.chunk().await {}
    }
}
