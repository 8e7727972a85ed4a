//! What backends ask of clients, and the members of a batch that no backend is asked for.

use super::super::elsewhere::{self, answer_of_batch};
use super::super::{Broken, Way, forward};
use super::{here, known, link, tell};
use crate::snapshot::Link;
use bytes::Bytes;
use lockgate_filters::fault::Refusal;
use lockgate_filters::federate::question::Question;
use lockgate_filters::federate::{Local, Target};
use lockgate_filters::rpc::reply;
use std::pin::Pin;

/// Refuses a client's answer to a request that nobody waits for any more, since the backend's session in which it was asked is
/// gone, or that waits at another node, which this one has no way to.
pub(super) fn still_waits(way: &Way<'_>, question: &Question, link: &Link) -> Result<(), Refusal> {
    if question.node != way.gateway.node {
        return Err(elsewhere::out_of_reach(question));
    }
    let place = &link.backend.place;
    let upstream = way.node.as_ref().and_then(|node| node.upstream(place));
    let open = upstream.is_some_and(|upstream| upstream.source(place) == question.source);
    if open { Ok(()) } else { Err(forward::no_longer_asked(link.name())) }
}

/// A response that is on its way.
type Soon = Pin<Box<dyn Future<Output = Result<Option<Bytes>, Refusal>> + Send>>;

/// What a member of a batch comes to that no backend is asked for.
pub(in crate::lanes) enum Asked {
    /// It goes to a backend.
    Backend,
    /// Its response, where one is owed.
    Here(Result<Option<Bytes>, Refusal>),
    /// Its response, where one is owed, once backends or another node have been told something.
    Soon(Soon),
}

/// Carries out a member of a batch, unless a backend must. What other nodes are to be told of is put with what is told
/// `elsewhere`.
pub(in crate::lanes) async fn answer_locally(
    way: &mut Way<'_>,
    index: usize,
    elsewhere: &mut Vec<usize>,
) -> Result<Asked, Broken> {
    Ok(match way.trip.exchange.target(index).clone() {
        Target::Member(_) => Asked::Backend,
        Target::Asker { question, hop } => match answer_of_batch(way, index, &question) {
            Some(taking) => Asked::Soon(Box::pin(async move { taking.await.map(|()| None) })),
            None => {
                let waits = link(way, hop.member).and_then(|link| still_waits(way, &question, &link));
                waits.map_or_else(|refusal| Asked::Here(Err(refusal)), |()| Asked::Backend)
            }
        },
        Target::Here(Local::SetLevel) => match set_level(way, index).await {
            Ok(soon) => Asked::Soon(soon),
            Err(Broken::Refused(refusal)) => Asked::Here(Err(refusal)),
            Err(broken) => return Err(broken),
        },
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
            if !tell::owner_here(way, index, request) {
                elsewhere.push(index);
            }
            Asked::Here(Ok(None))
        }
        Target::Refused(refusal) => Asked::Here(Err(*refusal)),
    })
}

/// Sets a log level, without waiting for the backends: they keep the batch's other members from nothing.
async fn set_level(way: &mut Way<'_>, index: usize) -> Result<Soon, Broken> {
    let level = here::level(&way.trip.exchange, index)?;
    way.node = Some(known(way).await?);
    let telling = tell::remember_level(way, level).await?;
    let id = here::raw_id(&way.trip.exchange, index);
    Ok(Box::pin(async move {
        telling.await;
        Ok(Some(reply::result_body(Some(&id), b"{}")))
    }))
}
