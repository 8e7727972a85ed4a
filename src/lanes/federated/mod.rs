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

use super::translate::{Owes, Translate, progress_token};
use super::{Broken, Way, close, elsewhere, forward, gather, respond, revive};
use crate::serve::now;
use crate::session::{Lists, NodeSession, Standing};
use crate::snapshot::Link;
pub(super) use ask::{Asked, answer_locally};
use bytes::Bytes;
use http::StatusCode;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::target::Hop;
use lockgate_filters::federate::{Local, Target};
use lockgate_filters::lane::Lane;
use lockgate_filters::rpc::scan::Kind;
use std::sync::Arc;

const RULE: &str = "federated";

/// Carries a request out.
pub(super) async fn run(mut way: Way<'_>, lane: Lane) -> Result<(), Broken> {
    match lane {
        Lane::Hold => {
            if Box::pin(elsewhere::resume(&mut way)).await? {
                return Ok(());
            }
            way.node = Some(known(&way).await?);
            return Box::pin(merge::run(way)).await;
        }
        Lane::Close => {
            way.node = known_if_any(&way)?;
            return Box::pin(close::run(way)).await;
        }
        Lane::Gather => {
            way.node = if way.trip.exchange.ticket.is_some() { Some(known(&way).await?) } else { None };
            return Box::pin(gather::run(way)).await;
        }
        Lane::Open | Lane::Discover | Lane::Forward | Lane::Local | Lane::Spread => {}
    }
    match way.trip.exchange.target(0).clone() {
        Target::Here(Local::Initialize) => opening::run(way).await,
        Target::Here(Local::Listen(wanted)) => Box::pin(listen::run(way, *wanted)).await,
        Target::Here(Local::Absorb) => taken(way).await,
        Target::Here(Local::List { kind, after }) => {
            let answer = here::list(&way, kind, after.as_ref(), way.trip.request_id().unwrap_or_default())?;
            respond::message(way.session, way.trip, &[], answer).await.map_err(Broken::from)
        }
        Target::Here(local) => {
            let answer = here::answer(&mut way, 0, &local).await?;
            respond::message(way.session, way.trip, &[], answer).await.map_err(Broken::from)
        }
        Target::Member(hop) => to_member(way, hop).await,
        Target::Asker { question, hop } => {
            if Box::pin(elsewhere::answer(&mut way, &question)).await? {
                return Ok(());
            }
            way.node = Some(known(&way).await?);
            let link = link(&way, hop.member)?;
            ask::still_waits(&way, &question, &link)?;
            to_member(way, hop).await
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
async fn to_member(mut way: Way<'_>, hop: Hop) -> Result<(), Broken> {
    way.link = link(&way, hop.member)?;
    if way.trip.exchange.ticket.is_some() {
        let node = match way.node.clone() {
            Some(node) => node,
            None => known(&way).await?,
        };
        way.node = Some(Arc::clone(&node));
        let message = way.trip.exchange.scan.messages.first();
        let kind = message.map(|message| message.kind);
        if kind == Some(Kind::Request)
            && let Some(id) = way.trip.request_id()
        {
            let (id, token) = (Bytes::copy_from_slice(id), progress_token(&way.trip.exchange, 0));
            way.underway = node.send_on(id, token, &way.link.backend.place);
        }
        if node.upstream(&way.link.backend.place).is_none() {
            Box::pin(revive::renew(&way, &way.link, None)).await?;
        }
    }
    let exchange = &way.trip.exchange;
    let method = exchange.scan.messages.first().and_then(|message| message.method);
    let method = method.and_then(|method| method.text(&exchange.body)).unwrap_or_default();
    let kind = exchange.scan.messages.first().map(|message| message.kind);
    let asked = way.trip.request_id().filter(|_| kind == Some(Kind::Request));
    let owes = asked.map_or(Owes::Nothing, |id| Owes::To(Bytes::copy_from_slice(id)));
    way.translate = Translate::of(&way, hop.member, &method, owes);
    forward::run(way).await
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
