//! GET: the stream on which a legacy session hears what the server says of its own accord, or takes up a lost one.

use super::stream::{self, KEEP_ALIVE};
use super::{Broken, Way, attempt, relay, respond, revive};
use crate::downstream::gone;
use crate::session::{End, Resume, StreamKind};
use crate::upstream::{Form, UpstreamRequest, UpstreamResponse};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::event_id::EventId;
use lockgate_filters::headers::LAST_EVENT_ID;
use lockgate_filters::sse;
use tokio::time::{Instant, sleep_until};

const RULE: &str = "hold";

/// What a stream is asked of the backend for.
struct Wanted {
    kind: StreamKind,
    /// The event behind which it is to go on; a fresh stream without.
    behind: Option<HeaderValue>,
}

pub(super) async fn run(way: Way<'_>) -> Result<(), Broken> {
    let Some(resume) = take_up(&way) else {
        let wanted = Wanted { kind: StreamKind::Get, behind: unknown_event(&way) };
        return open(way, wanted, None).await;
    };
    take_on(way, resume).await
}

/// Takes up an answer whose stream its client has lost; what is recorded of it, if anything is, or else the backend's.
/// Where neither can be had, who `asked` is told so.
pub(super) async fn answer_on(mut way: Way<'_>, resume: Option<Resume>, asked: Option<Bytes>) -> Result<(), Broken> {
    if let Some(resume) = resume {
        return take_on(way, resume).await;
    }
    let behind = last_event(&way).and_then(|id| at_backend(&way, id));
    if behind.is_none() || way.onward().revision.is_none() {
        // It was given in a session that nobody knows any more.
        begin(&mut way).await?;
        return answer_lost(way, asked.as_deref()).await;
    }
    open(way, Wanted { kind: StreamKind::Post, behind }, asked).await
}

/// Takes a recorded stream up.
async fn take_on(mut way: Way<'_>, resume: Resume) -> Result<(), Broken> {
    // Nothing is left of it here: the backend's own answer is the client's, with its status.
    if resume.spent() == Some(End::Cut)
        && let Some(wanted) = rest(&way, &resume)
    {
        let asked = resume.asked();
        drop(resume);
        return open(way, wanted, asked).await;
    }
    begin(&mut way).await?;
    follow(way, resume).await
}

/// The recorded stream that the client wants: the one its last event belongs to, or its own GET stream that went on
/// without it.
fn take_up(way: &Way<'_>) -> Option<Resume> {
    let recorder = way.gateway.world.sessions.recorder(way.node.as_ref()?);
    match last_event(way) {
        Some(id) => recorder.resume(id.as_bytes()),
        None => recorder.rejoin(),
    }
}

fn last_event<'w>(way: &'w Way<'_>) -> Option<&'w HeaderValue> {
    way.session.req_header().headers.get(LAST_EVENT_ID)
}

/// The client's last event where nothing is known of it here: the backend may know it, unless it has lost the session
/// that the event came from.
fn unknown_event(way: &Way<'_>) -> Option<HeaderValue> {
    let id = last_event(way)?;
    match &way.node {
        Some(node) if node.was_renewed() => {
            node.missed_news();
            None
        }
        _ => Some(id.clone()),
    }
}

/// What the backend can be asked for behind the end of a recorded stream. Nothing where the rest is lost: the answer to a
/// request, in a session that the backend no longer has.
fn rest(way: &Way<'_>, resume: &Resume) -> Option<Wanted> {
    let kind = resume.kind();
    if resume.is_lost() {
        return (kind == StreamKind::Get).then_some(Wanted { kind, behind: None });
    }
    let handed_out = resume.last_id().and_then(|id| HeaderValue::from_bytes(id).ok());
    let last = handed_out.or_else(|| last_event(way).cloned());
    let behind = last.and_then(|id| at_backend(way, &id));
    if behind.is_none() && kind == StreamKind::Post && way.server.policy.federation.is_some() {
        // What the backend would give is another stream of another session.
        return None;
    }
    Some(Wanted { kind, behind })
}

/// What the backend calls an event that the client names.
fn at_backend(way: &Way<'_>, id: &HeaderValue) -> Option<HeaderValue> {
    if way.server.policy.federation.is_none() {
        return Some(id.clone());
    }
    let sealed = EventId::open(&way.server.keys, &way.server.policy.name, id.to_str().ok()?)?;
    let place = &way.link.backend.place;
    let upstream = way.node.as_ref()?.upstream(place)?;
    HeaderValue::from_bytes(sealed.at(upstream.source(place))?).ok()
}

fn request(way: &Way<'_>, behind: Option<&HeaderValue>) -> UpstreamRequest {
    let headers = &way.session.req_header().headers;
    let mut request = attempt::get(&way.link, headers, &way.trip.exchange, way.onward());
    match behind {
        Some(id) => request.fields.set(LAST_EVENT_ID, id.clone()),
        None => request.fields.remove(&LAST_EVENT_ID),
    }
    request
}

/// Asks the backend for a stream. Where it has lost the session, that is opened again and a fresh stream asked for: the
/// new session knows none of the old one's events. `None` where an answer was wanted that is lost with the session.
async fn ask(way: &mut Way<'_>, wanted: &Wanted) -> Result<Option<UpstreamResponse>, Broken> {
    let session = way.onward().session;
    let asked = request(way, wanted.behind.as_ref());
    let response = attempt::send(way, asked, true).await?;
    if response.status != StatusCode::NOT_FOUND {
        return Ok(Some(response));
    }
    drop(response);
    let Some(lost) = &session else { return Err(no_stream(way)) };
    revive::renew(way, &way.link, Some(lost)).await?;
    if wanted.kind == StreamKind::Post {
        return Ok(None);
    }
    let asked = request(way, None);
    let response = attempt::send(way, asked, true).await?;
    if response.status == StatusCode::NOT_FOUND {
        // The session is new, so this is no word about it.
        return Err(no_stream(way));
    }
    Ok(Some(response))
}

/// What a 404 means that is not about the session: there is no such stream. To the client that status would mean the end of
/// its session.
fn no_stream(way: &Way<'_>) -> Broken {
    Refusal::new(Fault::MethodNotAllowed, RULE)
        .saying(format!("backend \"{}\" has no stream for its sessions", way.link.name()))
        .with_header("allow", "POST, DELETE, OPTIONS")
        .into()
}

/// Opens a stream at the backend and relays it.
async fn open(mut way: Way<'_>, wanted: Wanted, asked: Option<Bytes>) -> Result<(), Broken> {
    let Some(response) = ask(&mut way, &wanted).await? else {
        begin(&mut way).await?;
        return answer_lost(way, asked.as_deref()).await;
    };
    if !is_stream(&response) {
        return relay::answer(way, response).await;
    }
    let header = relay::header(&way, &response)?;
    stream::begin(&mut way, header).await?;
    tell_news(&mut way, wanted.kind).await?;
    stream::go_on(way, response, wanted.kind, asked).await
}

fn is_stream(response: &UpstreamResponse) -> bool {
    response.status == StatusCode::OK && response.form() == Form::EventStream
}

/// Brings what was recorded, then what comes.
async fn follow(mut way: Way<'_>, mut resume: Resume) -> Result<(), Broken> {
    let patience = way.trip.snapshot.limits.keep_alive;
    let stopping = stream::stopping(way.gateway.drain.clone(), resume.kind() == StreamKind::Get);
    tokio::pin!(stopping);
    let mut quiet = Instant::now() + patience;
    let mut missed = 0;
    loop {
        if resume.missed() > missed {
            missed = resume.missed();
            if let Some(node) = &way.node {
                node.missed_news();
            }
        }
        tell_news(&mut way, resume.kind()).await?;
        let frame = tokio::select! {
            biased;
            frame = resume.next() => frame,
            () = gone(way.session) => return Err(Broken::ClientGone),
            () = sleep_until(quiet) => Some(KEEP_ALIVE),
            () = &mut stopping => return stopped(way, &resume).await,
        };
        quiet = Instant::now() + patience;
        match frame {
            Some(frame) => way.session.write_response_body(Some(frame), false).await?,
            None => return end(way, resume).await,
        }
    }
}

/// The process stops: a GET stream just ends, and who waits for an answer is told.
async fn stopped(way: Way<'_>, resume: &Resume) -> Result<(), Broken> {
    let asked = resume.asked();
    if asked.is_some() {
        way.trip.record.failed(Fault::Draining, RULE);
    }
    stream::tell(way, asked.as_deref(), &Refusal::new(Fault::Draining, RULE)).await
}

/// A stream that the backend closed early goes on there, behind the last event that the client has.
async fn end(mut way: Way<'_>, resume: Resume) -> Result<(), Broken> {
    if resume.end() == Some(End::Cut) {
        let asked = resume.asked();
        let wanted = rest(&way, &resume);
        drop(resume);
        let Some(wanted) = wanted else { return answer_lost(way, asked.as_deref()).await };
        match ask(&mut way, &wanted).await {
            Ok(None) => return answer_lost(way, asked.as_deref()).await,
            Ok(Some(response)) if is_stream(&response) => {
                tell_news(&mut way, wanted.kind).await?;
                return stream::go_on(way, response, wanted.kind, asked).await;
            }
            Err(Broken::ClientGone) => return Err(Broken::ClientGone),
            // The backend does not go on now: what was recorded is all there is.
            Ok(Some(_)) | Err(_) => {}
        }
    }
    way.session.write_response_body(None, true).await?;
    Ok(())
}

/// Ends a stream whose answer the backend has lost: who asked is told, or it would wait and ask for ever.
async fn answer_lost(way: Way<'_>, asked: Option<&[u8]>) -> Result<(), Broken> {
    let text = format!("backend \"{}\" has lost the session in which this was asked", way.link.name());
    let refusal = Refusal::new(Fault::BackendUnreachable, RULE).saying(text);
    way.trip.record.failed(refusal.fault, RULE);
    stream::tell(way, asked, &refusal).await
}

/// Starts a stream of the gateway's own.
pub(super) async fn begin(way: &mut Way<'_>) -> Result<(), Broken> {
    let mut header = respond::header(way.trip, StatusCode::OK)?;
    header.insert_header(CONTENT_TYPE, "text/event-stream")?;
    stream::begin(way, header).await
}

/// Tells a client on its GET stream that lists may have changed while announcements were lost, if they may have.
pub(super) async fn tell_news(way: &mut Way<'_>, kind: StreamKind) -> Result<(), Broken> {
    let Some(node) = way.node.clone().filter(|_| kind == StreamKind::Get) else { return Ok(()) };
    for message in node.take_unheard().notifications() {
        if let Err(lost) = write_event(way, message.as_bytes()).await {
            // The next stream will do.
            node.missed_news();
            return Err(lost);
        }
    }
    Ok(())
}

async fn write_event(way: &mut Way<'_>, message: &[u8]) -> Result<(), Broken> {
    let event: Bytes = sse::write_event(None, message);
    Ok(way.session.write_response_body(Some(event), false).await?)
}
