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
use super::translate::progress_token;
use super::translation::Translation;
use super::{Broken, Way, close, elsewhere, forward, gather, respond, revive};
use crate::serve::now;
use crate::session::{Lists, NodeSession, Standing};
use crate::snapshot::Link;
pub(super) use ask::{Asked, answer_locally};
use bytes::Bytes;
use http::StatusCode;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::event_id::Stream;
use lockgate_filters::federate::listen::Wanted;
use lockgate_filters::federate::question::Question;
use lockgate_filters::federate::{Local, Target};
use lockgate_filters::lane::Lane;
use lockgate_filters::rpc::id::RawId;
use lockgate_filters::rpc::scan::{Kind, Value};
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
pub(super) use tell::others as tell_others;

const RULE: &str = "federated";

/// A request on its way. Each kind has a future of its own: a stream that is held for hours takes no more room than it
/// needs itself, and a call no more than a call.
type Carried<'a> = Pin<Box<dyn Future<Output = Result<(), Broken>> + Send + 'a>>;

/// How a request is carried out.
pub(super) enum Course {
    /// To this member alone, and to nobody else.
    Member(usize),
    /// In a way that only a server of several backends has.
    Own(Own),
}

/// A way that only a server of several backends has.
pub(super) enum Own {
    Hold,
    Close,
    Gather,
    Listen(Box<Wanted>),
    /// It is answered here.
    Here(Local),
    /// To the member that has asked, if it still waits.
    Asker {
        question: Box<Question>,
        member: usize,
    },
    /// To every member that the session is open at.
    All,
    /// To the member that the request with this id is at.
    Owner(Value),
    Refused(Box<Refusal>),
}

impl Course {
    /// How the request that was decided on is carried out in this lane.
    pub fn of(way: &Way<'_>, lane: Lane) -> Course {
        let own = match lane {
            Lane::Hold => Own::Hold,
            Lane::Close => Own::Close,
            Lane::Gather => Own::Gather,
            Lane::Open | Lane::Discover | Lane::Forward | Lane::Local | Lane::Spread => {
                match way.trip.exchange.target(0) {
                    Target::Member(hop) => return Course::Member(hop.member),
                    Target::Here(Local::Listen(wanted)) => Own::Listen(wanted.clone()),
                    Target::Here(local) => Own::Here(local.clone()),
                    Target::Asker { question, hop } => Own::Asker { question: question.clone(), member: hop.member },
                    Target::All => Own::All,
                    Target::Owner { request } => Own::Owner(*request),
                    Target::Refused(refusal) => Own::Refused(refusal.clone()),
                }
            }
        };
        Course::Own(own)
    }
}

/// Carries a request out in a way that only a server of several backends has.
pub(super) fn run(way: Way<'_>, own: Own) -> Carried<'_> {
    match own {
        Own::Hold => Box::pin(hold(way)),
        Own::Close => Box::pin(close(way)),
        Own::Gather => Box::pin(gather(way)),
        Own::Listen(wanted) => Box::pin(listen::run(way, *wanted)),
        Own::Here(local) => Box::pin(here(way, local)),
        Own::Asker { question, member } => Box::pin(asker(way, question, member)),
        Own::All => Box::pin(tell_all(way)),
        Own::Owner(request) => Box::pin(tell_owner(way, request)),
        Own::Refused(refusal) => Box::pin(ready(Err((*refusal).into()))),
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

/// Answers here.
async fn here(mut way: Way<'_>, local: Local) -> Result<(), Broken> {
    match local {
        Local::Initialize => opening::run(way).await,
        Local::Absorb => taken(way).await,
        Local::List { kind, after } => {
            let list = here::list(&way, kind, after.as_ref(), way.trip.request_id().unwrap_or_default())?;
            respond::pieces(way.session, way.trip, list.pieces()).await.map_err(Broken::from)
        }
        local => {
            let answer = here::answer(&mut way, 0, &local).await?;
            respond::message(way.session, way.trip, &[], answer).await.map_err(Broken::from)
        }
    }
}

/// Brings a backend the client's answer to what it has asked.
async fn asker(mut way: Way<'_>, question: Box<Question>, member: usize) -> Result<(), Broken> {
    way.node = known_if_any(&way)?;
    if Box::pin(elsewhere::answer(&mut way, &question)).await? {
        return Ok(());
    }
    way.node = Some(known(&way).await?);
    let link = link(&way, member)?;
    ask::still_waits(&way, &question, &link)?;
    head_for(&mut way, member).await?;
    forward::run(way).await
}

async fn tell_all(mut way: Way<'_>) -> Result<(), Broken> {
    way.node = known_if_any(&way)?;
    tell::all(&way, 0);
    taken(way).await
}

async fn tell_owner(mut way: Way<'_>, request: Value) -> Result<(), Broken> {
    way.node = known_if_any(&way)?;
    tell::owner(&way, 0, request);
    taken(way).await
}

/// The backend that a message goes to.
pub(super) fn link(way: &Way<'_>, member: usize) -> Result<Arc<Link>, Refusal> {
    way.server.links.get(member).cloned().ok_or_else(|| Refusal::new(Fault::Internal, RULE))
}

/// Prepares what it takes to send the request to a member, the session there with it.
pub(super) async fn head_for(way: &mut Way<'_>, member: usize) -> Result<(), Broken> {
    way.link = link(way, member)?;
    let kind = way.trip.exchange.scan.messages.first().map(|message| message.kind);
    let asked = way.trip.request_id().filter(|_| kind == Some(Kind::Request)).map(RawId::new);
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
            way.look_for_mark();
        }
    }
    let exchange = &way.trip.exchange;
    let method = exchange.scan.messages.first().and_then(|message| message.method);
    let method = method.and_then(|method| method.bytes(&exchange.body)).unwrap_or_default();
    let owes = asked.map_or(Owes::Nothing, Owes::To);
    way.translation = Some(Translation { member, stream: Stream::answering(&method), owes });
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
