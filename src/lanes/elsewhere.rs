//! Requests about what another process of the gateway holds: a question that waits for its answer there, a stream, a call
//! that runs, a session that it remembers. They are handed over as they came, and carried out there.
//!
//! A request is handed over once. One that has come from another process is carried out here, whatever it is about.

mod home;
mod message;
mod parcel;

use super::{Broken, Way, attempt, detached, forward, relay, respond, session_ended, stream};
use crate::cluster::{Aim, Boot};
use crate::downstream::gone;
use crate::session::Cost;
use crate::telemetry::labels::{NodeRequest, StreamKind};
use crate::upstream::Form;
use bytes::Bytes;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::event_id::{EventId, Stream};
use lockgate_filters::federate::question::Question;
use lockgate_filters::headers::LAST_EVENT_ID;
use lockgate_filters::lane::Lane;
use lockgate_filters::splice::edited;
use parcel::{Parcel, Taken, Undone};
use std::time::Duration;
use tokio::time::timeout;

pub(super) use home::{at_home, comes_back, is_foreign, needs_home, welcome_back};
pub(crate) use message::{hand_over, knows};

const RULE: &str = "elsewhere";

/// How long another node may take for an answer of a batch: as long, the others may wait for the end of theirs.
const IN_A_BATCH: Duration = Duration::from_secs(5);

/// Has a client's answer taken where the question waits; `false` where that is here, or nobody else is there to ask.
pub(super) async fn answer(way: &mut Way<'_>, question: &Question) -> Result<bool, Broken> {
    let body = way.trip.exchange.body.clone();
    let bytes = body.len();
    let Some(parcel) = Parcel::of_answer(way, question, 0, body) else { return Ok(false) };
    let parcel = parcel.map_err(|why| unanswered(question, &why))?;
    let mut handing = Box::pin(async move { parcel.hand_over().await });
    let taken = match unless_over(way, &mut handing).await {
        Err(Broken::ClientGone) => {
            // What a client has said is not unsaid when it leaves.
            detached::go_on(way, Cost { exchanges: 1, bytes }, async move { drop(handing.await) });
            return Err(Broken::ClientGone);
        }
        taken => taken?,
    };
    match taken {
        Ok(taken) => relay(way, taken, false).await.map(|()| true),
        Err(why) => Err(unanswered(question, &why).into()),
    }
}

/// As [`answer`], for one message of several, and for whoever carries it out beside the others. What comes of it is nothing
/// but perhaps a refusal.
pub(super) fn answer_of_batch(
    way: &Way<'_>,
    index: usize,
    question: &Question,
) -> Option<impl Future<Output = Result<(), Refusal>> + Send + use<>> {
    let body = message(way, index)?;
    let parcel = Parcel::of_answer(way, question, index, body)?;
    let question = question.clone();
    Some(async move {
        let taken = match parcel {
            Ok(parcel) => parcel.hand_over_within(IN_A_BATCH).await,
            Err(why) => Err(why),
        };
        match taken {
            Ok(taken) if taken.response.status.is_success() => Ok(()),
            Ok(_) => Err(forward::no_longer_asked(&question.backend)),
            Err(why) => Err(unanswered(&question, &why)),
        }
    })
}

/// Has a stream gone on with where it is held, or at its session's node where nobody holds it; `false` where that is here, or
/// it cannot be had there.
pub(super) async fn resume(way: &mut Way<'_>) -> Result<bool, Broken> {
    let Some(id) = last_event(way).filter(|id| id.boot != way.gateway.boot) else { return Ok(false) };
    Ok(resume_there(way, &id).await? || (is_foreign(way) && at_home(way, Lane::Hold).await?))
}

async fn resume_there(way: &mut Way<'_>, id: &EventId) -> Result<bool, Broken> {
    let news = id.stream == Stream::News;
    let aim = Aim::Boot(Boot(id.boot));
    let Some(parcel) = Parcel::of(way, NodeRequest::Stream, aim, Bytes::new()) else { return Ok(false) };
    let parcel = if news { parcel.of_news() } else { parcel };
    match unless_over(way, parcel.hand_over()).await? {
        Ok(taken) if taken.response.status.is_server_error() => {
            let status = taken.response.status.as_u16();
            tracing::warn!(id = %way.trip.correlation, status, "a stream is not gone on with at its node");
            Ok(false)
        }
        Ok(taken) => relay(way, taken, news).await.map(|()| true),
        // Said in the log. What can be gone on with from here is.
        Err(_) => Ok(false),
    }
}

/// Tells all other nodes what these messages say, in one request, and waits for none.
pub(super) fn tell(way: &Way<'_>, kind: NodeRequest, indices: &[usize]) {
    // Without a session there is nothing that it could be about.
    if way.trip.exchange.ticket.is_some()
        && let Some(parcel) = messages(way, indices).and_then(|body| Parcel::of(way, kind, Aim::Anyone, body))
        && let Ok(parcel) = parcel.into_notice(way)
    {
        tokio::spawn(parcel.tell_all());
    }
}

/// Tells all other nodes what this request says; done when they have taken note, or had their time. Those that have not are
/// told again, for which nobody waits.
pub(super) fn told(way: &Way<'_>, kind: NodeRequest) -> impl Future<Output = ()> + use<> {
    let parcel = Parcel::of(way, kind, Aim::Anyone, way.trip.exchange.body.clone());
    async move {
        if let Some(parcel) = parcel {
            parcel.insist().await;
        }
    }
}

/// What comes of some work, unless the client leaves, its session ends or the process must stop before it is done.
async fn unless_over<T>(way: &mut Way<'_>, work: impl Future<Output = T>) -> Result<T, Broken> {
    let ended = way.ended();
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = ended => Err(session_ended()),
        () = gone(way.session) => Err(Broken::ClientGone),
        () = way.gateway.drain.last_words() => Err(attempt::draining()),
    }
}

/// One message of the request's body.
fn message(way: &Way<'_>, index: usize) -> Option<Bytes> {
    let exchange = &way.trip.exchange;
    Some(edited(&exchange.body, exchange.scan.messages.get(index)?.span, &[]))
}

/// Several of them: a batch, where there is more than one.
fn messages(way: &Way<'_>, indices: &[usize]) -> Option<Bytes> {
    match indices {
        [] => None,
        [one] => message(way, *one),
        several => {
            let found = several.iter().filter_map(|index| message(way, *index)).collect::<Vec<_>>();
            Some([&b"["[..], &found.join(&b","[..]), b"]"].concat().into())
        }
    }
}

/// The event of this session that the client has last, where it is one of ours.
fn last_event(way: &Way<'_>) -> Option<EventId> {
    let ticket = way.trip.exchange.ticket.as_ref()?;
    let last = way.session.req_header().headers.get(LAST_EVENT_ID)?.to_str().ok()?;
    let id = EventId::open(&way.server.keys, &way.server.policy.name, last)?;
    (id.session == ticket.id).then_some(id)
}

fn unanswered(question: &Question, why: &Undone) -> Refusal {
    if why.is_for_a_while() { Refusal::new(Fault::Overloaded, RULE) } else { out_of_reach(question) }
}

/// What a client is told whose answer another node waits for, where there is no way to that.
pub(super) fn out_of_reach(question: &Question) -> Refusal {
    let text = format!("the gateway node that asked this ({}) cannot be reached", question.node);
    Refusal::new(Fault::PeerUnreachable, RULE).saying(text)
}

/// Brings another node's answer to the client: what it says, as it says it.
async fn relay(way: &mut Way<'_>, taken: Taken, news: bool) -> Result<(), Broken> {
    let Taken { mut response, patience, _seat } = taken;
    let header = relay::header(way, &response)?;
    if response.form() != Form::EventStream {
        let most = way.trip.snapshot.limits.answer_bytes;
        let body = unless_over(way, timeout(patience, response.collect(most))).await?;
        let broke_off = |why: String| {
            let refusal = Refusal::new(Fault::PeerUnreachable, RULE);
            refusal.saying(format!("the gateway node that took this broke off: {why}"))
        };
        let body =
            body.map_err(|_| broke_off("it took too long".into()))?.map_err(|fault| broke_off(fault.to_string()))?;
        return Ok(respond::whole(way.session, header, body).await?);
    }
    stream::begin(way, header).await?;
    let kind = if news { StreamKind::Session } else { StreamKind::Answer };
    let _open = way.server.metrics.stream(kind);
    loop {
        let ended = way.ended();
        let chunk = tokio::select! {
            biased;
            chunk = response.chunk() => chunk,
            // The node that holds it may not have been told.
            () = ended => break,
            () = gone(way.session) => return Err(Broken::ClientGone),
            () = way.gateway.drain.draining(), if news => break,
            () = way.gateway.drain.last_words() => return Err(Broken::Cut),
        };
        match chunk {
            Ok(Some(chunk)) => way.session.write_response_body(Some(chunk), false).await?,
            Ok(None) => break,
            Err(fault) => {
                tracing::warn!(id = %way.trip.correlation, "the node that holds a stream broke off: {fault}");
                way.trip.record.failed(Fault::PeerUnreachable, RULE);
                return Err(Broken::Cut);
            }
        }
    }
    way.session.write_response_body(None, true).await?;
    Ok(())
}
