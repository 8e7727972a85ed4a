//! GET on a virtual server over several backends: one stream on which a legacy session hears what its backends say of
//! their own accord, and what the gateway itself has to say.
//!
//! A client that comes back gets what was recorded for it; what comes then is read anew from each backend, behind the last
//! event of it that the client has. What can neither be replayed nor asked for again is a gap: the client is told that
//! every list may have changed.

use super::super::owes::Owes;
use super::super::translation::Translation;
use super::super::{Broken, Way, hold, names, stream};
use super::RULE;
use super::merged::Merged;
use crate::downstream::gone;
use crate::lease::Lease;
use crate::serve::now;
use crate::session::{End, Listening, Lists, NodeSession, Resume, StreamKind, StreamRecord, Told, Underway};
use crate::snapshot::Link;
use crate::telemetry::labels;
use bytes::Bytes;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::Identity;
use lockgate_filters::federate::event_id::{EventId, Stream};
use lockgate_filters::headers::LAST_EVENT_ID;
use lockgate_filters::rpc::id::RawId;
use std::sync::Arc;
use std::time::Duration;
use tokio::pin;
use tokio::time::{Instant, sleep_until};

/// How long a stream lives, unless its ticket ends before: clients open it again.
const HELD: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn run(mut way: Way<'_>) -> Result<(), Broken> {
    let Some(node) = way.node.clone() else { return Err(Refusal::new(Fault::SessionRequired, RULE).into()) };
    let last = way.session.req_header().headers.get(LAST_EVENT_ID).cloned();
    let mut behind = last.as_ref().and_then(|id| position(&way, &node, id.as_bytes()));
    let recorder = Arc::clone(way.gateway.world.sessions.recorder(&node));
    let resume = match &last {
        Some(id) => recorder.resume(id.as_bytes()),
        None => recorder.rejoin(),
    };
    if let Some((id, method)) = behind.as_ref().and_then(|id| Some((id, id.stream.method()?))) {
        way.link = answering(&way, id)?;
        let asked = resume.as_ref().and_then(Resume::asked);
        let asked = asked.or_else(|| Some(id.asked.clone()).filter(|asked| !asked.is_empty()));
        way.underway = underway(&way, &node, resume.as_ref(), asked.as_ref());
        let owes = Owes::Again(asked.as_deref().map(RawId::new));
        if let Some(member) = member_of(&way) {
            way.translation = Some(Translation { member, stream: Stream::answering(method.as_bytes()), owes });
        }
        return Box::pin(hold::answer_on(way, resume, asked)).await;
    }
    let from_before = announces(&way, &node);
    // From before the client is told that it is heard.
    let listening = node.listen();
    hold::begin(&mut way).await?;
    let _open = Arc::clone(&way.server.metrics).stream(labels::StreamKind::Session);
    let mut gap = false;
    match resume {
        Some(resume) => match Box::pin(follow(&mut way, &node, resume)).await? {
            Followed::Over => {
                way.session.write_response_body(None, true).await?;
                return Ok(());
            }
            Followed::To(end) => behind = end.or(behind),
        },
        None if last.is_some() => {
            // What this process, or a backend that sends nothing twice, said meanwhile is lost.
            gap = true;
        }
        None => {}
    }
    hold_on(way, node, listening, behind, Missed { ours: gap, theirs: gap || from_before }).await
}

/// Finds out what the client calls what is said to it, where backends tell callers apart and this process does not know: what
/// goes on of an answer, and what it subscribed to before this process was there.
pub(super) async fn know_names(way: &mut Way<'_>) {
    let exchange = &way.trip.exchange;
    let (Some(node), Some(callers), Some(server)) =
        (way.node.clone(), exchange.callers.clone(), exchange.server.clone())
    else {
        return;
    };
    let Some(federation) = server.federation.as_ref() else { return };
    let headers = &way.session.req_header().headers;
    let goes_on = headers.contains_key(LAST_EVENT_ID);
    if !goes_on && !node.has_nobodys() {
        return;
    }
    let identity = Identity::of(headers, federation);
    // Where it cannot be found out, what everybody is shown has to do.
    let _ = way.gateway.show_own(way.trip, &server, &callers, &identity).await;
    if let Some(catalog) = &way.trip.exchange.catalog {
        names::learn(way, &node, catalog);
    }
}

/// Where a client stands that names this event; `None` where it is none of this session's.
fn position(way: &Way<'_>, node: &NodeSession, id: &[u8]) -> Option<EventId> {
    let id = EventId::open(&way.server.keys, &way.server.policy.name, std::str::from_utf8(id).ok()?)?;
    (id.session == node.id()).then_some(id)
}

/// Notes which changes are announced here; `true` where the session comes from before this process, and has missed some.
fn announces(way: &Way<'_>, node: &NodeSession) -> bool {
    if let Some(federation) = &way.server.policy.federation {
        node.announces(Lists::declared(federation.catalog().capabilities().json().as_bytes()));
    }
    let from_before = node.last_heard().is_none();
    if from_before {
        node.missed_news();
    }
    from_before
}

/// The backend whose answer a client wants to hear on.
fn answering(way: &Way<'_>, id: &EventId) -> Result<Arc<Link>, Refusal> {
    let from = |link: &&Arc<Link>| id.comes_from(&link.backend.place);
    way.server.links.iter().find(from).cloned().ok_or_else(|| {
        Refusal::new(Fault::BackendUnreachable, RULE).saying("the backend that gave this answer is no longer here")
    })
}

/// Keeps the request whose answer is taken up to be found by who cancels it: it has been sent long ago.
fn underway(
    way: &Way<'_>,
    node: &Arc<NodeSession>,
    resume: Option<&Resume>,
    asked: Option<&Bytes>,
) -> Option<Arc<Underway>> {
    if let Some(resume) = resume {
        return resume.underway();
    }
    // Another process has sent it, or nothing is left of it here.
    let underway = node.send_on(RawId::new(asked?), None, &way.link.backend.place)?;
    underway.may_be_sent().then_some(underway)
}

fn member_of(way: &Way<'_>) -> Option<usize> {
    way.server.links.iter().position(|link| Arc::ptr_eq(link, &way.link))
}

/// How following a recorded stream ended.
enum Followed {
    /// The response is at its end.
    Over,
    /// Nobody reads on for the record: the client stands behind this event, where it got one.
    To(Option<EventId>),
}

/// Brings what was recorded, and what comes as long as somebody reads on.
async fn follow(way: &mut Way<'_>, node: &NodeSession, mut resume: Resume) -> Result<Followed, Broken> {
    let patience = way.trip.snapshot.limits.keep_alive;
    let number = node.newsreader();
    let end = end_of_life(way);
    let mut quiet = Instant::now() + patience;
    let mut missed = 0;
    let lapsed = Lease::of(way.gateway, way.trip).lapsed();
    pin!(lapsed);
    loop {
        if resume.missed() > missed {
            missed = resume.missed();
            node.missed_news();
            hold::tell_news(way, StreamKind::Get).await?;
        }
        let frame = tokio::select! {
            biased;
            frame = resume.next() => frame,
            () = node.news_taken(number) => return Ok(Followed::Over),
            () = gone(way.session) => return Err(Broken::ClientGone),
            () = sleep_until(quiet) => Some(stream::KEEP_ALIVE),
            () = sleep_until(end) => return Ok(Followed::Over),
            () = &mut lapsed => return Ok(Followed::Over),
            () = way.gateway.drain.draining() => return Ok(Followed::Over),
        };
        quiet = Instant::now() + patience;
        match frame {
            Some(frame) => way.session.write_response_body(Some(frame), false).await?,
            None if resume.end() == Some(End::Cut) => {
                return Ok(Followed::To(resume.last_id().and_then(|id| position(way, node, id))));
            }
            None => return Ok(Followed::Over),
        }
    }
}

/// How a response ends.
enum Ending {
    /// Nobody is to hear what comes now.
    Over,
    /// Somebody else has taken the record over.
    TakenOver,
    /// The client is gone.
    Left,
}

/// What the client of a new stream may have missed.
struct Missed {
    /// What the gateway has said.
    ours: bool,
    /// What backends have said that cannot say it again.
    theirs: bool,
}

/// Reads the backends' streams, with the client there, which is told of what it may have missed.
async fn hold_on(
    way: Way<'_>,
    node: Arc<NodeSession>,
    listening: Listening,
    behind: Option<EventId>,
    missed: Missed,
) -> Result<(), Broken> {
    let sessions = Arc::clone(&way.gateway.world.sessions);
    let mut record = sessions.recorder(&node).start(StreamKind::Get, None, &Arc::from("*"));
    // Before the backends are asked: whoever had their streams must let go of them.
    let number = node.take_news();
    // Nobody heard the backends between another stream's end and this one's beginning, nor before a session of theirs was
    // replaced.
    let theirs = missed.theirs || number > 1 || node.was_renewed();
    let mut merged = Merged::of(&way, listening, Arc::clone(&node), behind, theirs)?;
    // Names are looked up as they come: what is listed now need not be kept for as long as this lasts.
    way.trip.exchange.catalog = None;
    if missed.ours {
        merged.gap_of_ours();
    }
    let patience = way.trip.snapshot.limits.keep_alive;
    let end = end_of_life(&way);
    let mut quiet = Instant::now() + patience;
    let lapsed = Lease::of(way.gateway, way.trip).lapsed();
    pin!(lapsed);
    let ending = loop {
        tokio::select! {
            biased;
            told = record.told() => break if told == Told::TakenOver { Ending::TakenOver } else { Ending::Over },
            () = node.news_taken(number) => {
                // What was written last may not have come through: a client comes again before its end of the connection is
                // known to be dead.
                node.missed_news();
                break Ending::Over;
            }
            said = merged.next() => {
                let Some((id, event)) = said else { break Ending::Over };
                quiet = Instant::now() + patience;
                let ours = record.push(id, event.clone()).await;
                if ours && way.session.write_response_body(Some(event), false).await.is_err() {
                    break Ending::Left;
                }
            }
            () = gone(way.session) => break Ending::Left,
            () = sleep_until(quiet) => {
                quiet = Instant::now() + patience;
                if way.session.write_response_body(Some(stream::KEEP_ALIVE), false).await.is_err() {
                    break Ending::Left;
                }
            }
            () = sleep_until(end) => break Ending::Over,
            () = &mut lapsed => break Ending::Over,
            () = way.gateway.drain.draining() => break Ending::Over,
        }
    };
    match ending {
        // The backends' streams first: whoever opens others must not find them taken.
        Ending::Over => drop((merged, record)),
        Ending::TakenOver => go_on(merged, record, node, number),
        Ending::Left => {
            record.detach();
            go_on(merged, record, node, number);
            return Err(Broken::ClientGone);
        }
    }
    way.session.write_response_body(None, true).await?;
    Ok(())
}

/// When a stream ends at the latest.
fn end_of_life(way: &Way<'_>) -> Instant {
    let expires = way.trip.exchange.ticket.as_ref().map(|ticket| ticket.expires);
    let left = expires.map_or(HELD, |expires| Duration::from_millis(expires.0.saturating_sub(now().0)));
    Instant::now() + left.min(HELD)
}

/// Listens on without the client, until it comes back, or nobody does in time, or another stream has the news.
fn go_on(mut merged: Merged, mut record: StreamRecord, node: Arc<NodeSession>, number: u64) {
    tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                told = record.told() => if told == Told::Stop {
                    // What was recorded goes with the record.
                    node.missed_news();
                    return;
                },
                () = node.news_taken(number) => {
                    // Nobody has fetched what was recorded since.
                    node.missed_news();
                    return;
                }
                said = merged.next() => {
                    let Some((id, event)) = said else { return };
                    record.push(id, event).await;
                }
            }
        }
    });
}
