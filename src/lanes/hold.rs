//! GET: the stream on which a legacy session hears what the server says of its own accord, or takes up a lost one.

use super::stream::{self, KEEP_ALIVE};
use super::{Broken, Way, attempt, relay, respond, revive};
use crate::downstream::gone;
use crate::session::{End, Resume, StreamKind};
use crate::upstream::{Form, UpstreamRequest};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use lockgate_filters::headers::LAST_EVENT_ID;
use tokio::time::{Instant, sleep_until};

pub(super) async fn run(mut way: Way<'_>) -> Result<(), Broken> {
    if let Some(resume) = take_up(&way) {
        return follow(way, resume).await;
    }
    let session = way.upstream_session();
    let asked = request(&way);
    let mut response = attempt::send(&mut way, asked, true).await?;
    if let (StatusCode::NOT_FOUND, Some(lost)) = (response.status, &session) {
        drop(response);
        revive::renew(&way, Some(lost)).await?;
        let asked = request(&way);
        response = attempt::send(&mut way, asked, true).await?;
    }
    if response.status == StatusCode::OK && response.form() == Form::EventStream {
        return stream::run(way, response, StreamKind::Get).await;
    }
    relay::answer(way, response).await
}

fn request(way: &Way<'_>) -> UpstreamRequest {
    attempt::get(&way.server, &way.session.req_header().headers, &way.trip.exchange, way.upstream_session())
}

/// The recorded stream that the client wants: the one its last event belongs to, or its own GET stream that went on
/// without it.
fn take_up(way: &Way<'_>) -> Option<Resume> {
    let recorder = way.gateway.world.sessions.recorder(way.node.as_ref()?);
    match way.session.req_header().headers.get(LAST_EVENT_ID) {
        Some(id) => recorder.resume(id.as_bytes()),
        None => recorder.rejoin(),
    }
}

/// Brings what was recorded, then what comes.
async fn follow(mut way: Way<'_>, mut resume: Resume) -> Result<(), Broken> {
    let mut header = respond::header(way.trip, StatusCode::OK)?;
    header.insert_header(CONTENT_TYPE, "text/event-stream")?;
    stream::begin(&mut way, header).await?;
    let patience = way.trip.snapshot.limits.keep_alive;
    let drain = way.gateway.drain.clone();
    let draining = drain.draining();
    tokio::pin!(draining);
    let mut quiet = Instant::now() + patience;
    loop {
        let frame = tokio::select! {
            biased;
            frame = resume.next() => frame,
            () = gone(way.session) => return Err(Broken::ClientGone),
            () = sleep_until(quiet) => Some(KEEP_ALIVE),
            () = &mut draining => None,
        };
        quiet = Instant::now() + patience;
        match frame {
            Some(frame) => way.session.write_response_body(Some(frame), false).await?,
            None => return end(way, resume).await,
        }
    }
}

/// A stream that the backend closed early goes on there, behind the last event that the client has.
async fn end(mut way: Way<'_>, resume: Resume) -> Result<(), Broken> {
    if resume.end() == Some(End::Cut) {
        let mut request = request(&way);
        if let Some(last) = resume.last_id().and_then(|id| HeaderValue::from_bytes(id).ok()) {
            request.fields.set(LAST_EVENT_ID, last);
        }
        let kind = resume.kind();
        drop(resume);
        let response = attempt::send(&mut way, request, true).await;
        match response {
            Ok(response) if response.status == StatusCode::OK && response.form() == Form::EventStream => {
                return stream::go_on(way, response, kind).await;
            }
            Err(Broken::ClientGone) => return Err(Broken::ClientGone),
            // The backend does not go on: what was recorded is all there is.
            Ok(_) | Err(_) => {}
        }
    }
    way.session.write_response_body(None, true).await?;
    Ok(())
}
