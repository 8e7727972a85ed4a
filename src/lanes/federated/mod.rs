//! Requests to a virtual server over several backends: the filter `federate` has said where each message goes; here it is
//! carried out.

mod ask;
mod here;
mod listen;
mod merge;
mod merged;
mod opening;
mod source;
mod tell;

use super::owes::Owes;
use super::translate::{Translate, progress_token};
use super::{Broken, Way, close, elsewhere, forward, gather, respond, revive};
use crate::serve::now;
use crate::session::{Lists, NodeSession, Standing};
use crate::snapshot::Link;
pub(super) use ask::{Asked, answer_locally};
use bytes::Bytes;
use http::StatusCode;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::{Local, Target};
use lockgate_filters::lane::Lane;
use lockgate_filters::rpc::scan::Kind;
use std::pin::Pin;
use std::sync::Arc;
pub(super) use tell::others as tell_others;

const RULE: &str = "federated";

/// A request on its way. Each kind has a future of its own: a stream that is held for hours takes no more room than it
/// needs itself, and a call no more than a call.
type Carried<'a> = Pin<Box<dyn Future<Output = Result<(), Broken>> + Send + 'a>>;

/// The member that a request goes to, where it goes to one alone and to nobody else.
pub(super) fn addressee(way: &Way<'_>, lane: Lane) -> Option<usize> {
    match (lane, way.trip.exchange.target(0)) {
        (Lane::Open | Lane::Discover | Lane::Forward | Lane::Local | Lane::Spread, Target::Member(hop)) => {
            Some(hop.member)
        }
        _ => None,
    }
}

/// Carries any other request out.
pub(super) fn run(way: Way<'_>, lane: Lane) -> Carried<'_> {
    match lane {
        Lane::Hold => Box::pin(hold(way)),
        Lane::Close => Box::pin(close(way)),
        Lane::Gather => Box::pin(gather(way)),
        Lane::Open | Lane::Discover | Lane::Forward | Lane::Local | Lane::Spread => {
            match way.trip.exchange.target(0).clone() {
                Target::Here(Local::Listen(wanted)) => Box::pin(listen::run(way, *wanted)),
                target => Box::pin(answer(way, target)),
            }
        }
    }
}

async fn hold(mut way: Way<'_>) -> Result<(), Broken> {
    way.node = known_if_any(&way)?;
    if Box::pin(elsewhere::resume(&mut way)).await? {
        return Ok(());
    }
    way.node = Some(known(&way).await?);
    merge::know_names(&mut way).await;
    merge::run(way).await
}

async fn close(mut way: Way<'_>) -> Result<(), Broken> {
    way.node = known_if_any(&way)?;
    close::run(way).await
}

async fn gather(mut way: Way<'_>) -> Result<(), Broken> {
    way.node = if way.trip.exchange.ticket.is_some() { Some(known(&way).await?) } else { None };
    gather::run(way).await
}

/// Answers here, or tells whom it concerns.
async fn answer(mut way: Way<'_>, target: Target) -> Result<(), Broken> {
    match target {
        Target::Here(Local::Initialize) => opening::run(way).await,
        Target::Here(Local::Listen(wanted)) => Box::pin(listen::run(way, *wanted)).await,
        Target::Here(Local::Absorb) => taken(way).await,
        Target::Here(Local::List { kind, after }) => {
            let list = here::list(&way, kind, after.as_ref(), way.trip.request_id().unwrap_or_default())?;
            respond::pieces(way.session, way.trip, list.pieces()).await.map_err(Broken::from)
        }
        Target::Here(local) => {
            let answer = here::answer(&mut way, 0, &local).await?;
            respond::message(way.session, way.trip, &[], answer).await.map_err(Broken::from)
        }
        Target::Member(hop) => Box::pin(to_member(way, hop.member)).await,
        Target::Asker { question, hop } => {
            way.node = known_if_any(&way)?;
            if Box::pin(elsewhere::answer(&mut way, &question)).await? {
                return Ok(());
            }
            way.node = Some(known(&way).await?);
            let link = link(&way, hop.member)?;
            ask::still_waits(&way, &question, &link)?;
            Box::pin(to_member(way, hop.member)).await
        }
        Target::All => {
            way.node = known_if_any(&way)?;
            tell::all(&way, 0);
            taken(way).await
        }
        Target::Owner { request } => {
            way.node = known_if_any(&way)?;
            tell::owner(&way, 0, request);
            taken(way).await
        }
        Target::Refused(refusal) => Err((*refusal).into()),
    }
}

/// The backend that a message goes to.
pub(super) fn link(way: &Way<'_>, member: usize) -> Result<Arc<Link>, Refusal> {
    way.server.links.get(member).cloned().ok_or_else(|| Refusal::new(Fault::Internal, RULE))
}

/// One message to one backend, its answer brought back.
async fn to_member(mut way: Way<'_>, member: usize) -> Result<(), Broken> {
    head_for(&mut way, member).await?;
    forward::run(way).await
}

/// Prepares what it takes to send the request to a member, the session there with it.
pub(super) async fn head_for(way: &mut Way<'_>, member: usize) -> Result<(), Broken> {
    way.link = link(way, member)?;
    let kind = way.trip.exchange.scan.messages.first().map(|message| message.kind);
    let asked = way.trip.request_id().filter(|_| kind == Some(Kind::Request)).map(Bytes::copy_from_slice);
    if way.trip.exchange.ticket.is_some() {
        let node = match way.node.clone() {
            Some(node) => node,
            None => known(way).await?,
        };
        way.node = Some(Arc::clone(&node));
        if let Some(id) = asked.clone() {
            way.underway = node.send_on(id, progress_token(&way.trip.exchange, 0), &way.link.backend.place);
        }
        if node.upstream(&way.link.backend.place).is_none() {
            Box::pin(revive::renew(way, &way.link, None)).await?;
        }
        if asked.is_some() {
            way.take_mark();
        }
    }
    let exchange = &way.trip.exchange;
    let method = exchange.scan.messages.first().and_then(|message| message.method);
    let method = method.and_then(|method| method.text(&exchange.body)).unwrap_or_default();
    let owes = asked.map_or(Owes::Nothing, Owes::To);
    way.translate = Translate::of(way, member, &method, owes);
    Ok(())
}

/// What this node knows of the session that the request's ticket names; a session that it has forgotten is taken in again.
pub(super) async fn known(way: &Way<'_>) -> Result<Arc<NodeSession>, Broken> {
    let Some(ticket) = way.trip.exchange.ticket.clone() else {
        return Err(Refusal::new(Fault::SessionRequired, RULE).into());
    };
    match way.gateway.world.sessions.get(&ticket.id, now()) {
        Standing::Live(session) => Ok(session),
        Standing::Ended => Err(Refusal::new(Fault::SessionUnknown, RULE).into()),
        Standing::Unknown => {
            let node = Box::pin(revive::run(way, &ticket)).await?;
            node.announces(Lists::ALL);
            node.missed_news();
            Ok(node)
        }
    }
}

/// As [`known`], where nothing needs to be taken in for it.
fn known_if_any(way: &Way<'_>) -> Result<Option<Arc<NodeSession>>, Broken> {
    let Some(ticket) = &way.trip.exchange.ticket else { return Ok(None) };
    match way.gateway.world.sessions.get(&ticket.id, now()) {
        Standing::Live(session) => Ok(Some(session)),
        Standing::Ended => Err(Refusal::new(Fault::SessionUnknown, RULE).into()),
        Standing::Unknown => Ok(None),
    }
}

/// A notification or response was taken: nothing is owed.
async fn taken(way: Way<'_>) -> Result<(), Broken> {
    let header = respond::header(way.trip, StatusCode::ACCEPTED)?;
    respond::whole(way.session, header, Bytes::new()).await?;
    Ok(())
}
