//! What backends ask of clients, and the members of a batch that no backend is asked for.

use super::super::{Broken, Way, forward};
use super::{here, tell};
use crate::snapshot::Link;
use bytes::Bytes;
use lockgate_filters::fault::Refusal;
use lockgate_filters::federate::question::Question;
use lockgate_filters::federate::{Local, Target};

/// Refuses a client's answer to a request that nobody waits for any more: the backend's session in which it was asked is
/// gone, or it is at another node.
pub(super) fn still_waits(way: &Way<'_>, question: &Question, link: &Link) -> Result<(), Refusal> {
    let here = question.node == way.gateway.node;
    let place = &link.backend.place;
    let upstream = way.node.as_ref().and_then(|node| node.upstream(place));
    let open = upstream.is_some_and(|upstream| upstream.source(place) == question.source);
    if here && open { Ok(()) } else { Err(forward::no_longer_asked(link.name())) }
}

/// What a member of a batch comes to that no backend is asked for.
pub(in crate::lanes) enum Asked {
    /// It goes to a backend.
    Backend,
    /// Its response, where one is owed.
    Here(Result<Option<Bytes>, Refusal>),
}

/// Carries out a member of a batch, unless a backend must.
pub(in crate::lanes) async fn answer_locally(way: &mut Way<'_>, index: usize) -> Result<Asked, Broken> {
    Ok(match way.trip.exchange.target(index).clone() {
        Target::Member(_) | Target::Asker { .. } => Asked::Backend,
        Target::Here(Local::Absorb) => Asked::Here(Ok(None)),
        Target::Here(local) => match here::answer(way, index, &local).await {
            Ok(answer) => Asked::Here(Ok(Some(answer))),
            Err(Broken::Refused(refusal)) => Asked::Here(Err(refusal)),
            Err(broken) => return Err(broken),
        },
        Target::All => {
            tell::all(way, index);
            Asked::Here(Ok(None))
        }
        Target::Owner { request } => {
            tell::owner(way, index, request);
            Asked::Here(Ok(None))
        }
        Target::Refused(refusal) => Asked::Here(Err(*refusal)),
    })
}
