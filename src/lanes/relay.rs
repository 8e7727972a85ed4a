//! Bringing a backend's answer to the client: status and body as they came, unless they may not be passed on.

use super::answering::Answering;
use super::judge::{self, Judged, judge};
use super::messages::Messages;
use super::{Broken, Way, attempt, detached, respond, session_ended, stream};
use crate::downstream::gone;
use crate::session::StreamKind;
use crate::upstream::{AttemptFault, UpstreamResponse};
use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::revision::Era;
use lockgate_filters::rpc::scan::Kind;
use pingora_http::ResponseHeader;

const RULE: &str = "relay";

/// A JSON answer up to this size is gathered first: it then leaves in one write, and one that breaks off becomes a proper
/// error instead of half an answer. Longer ones stream.
const GATHERED_BYTES: usize = 128 * 1024;

/// What a response's fields pass on to the client, beside MCP's own.
const PASSED: [HeaderName; 4] = [CONTENT_TYPE, CACHE_CONTROL, RETRY_AFTER, ALLOW];

/// Passes an answer on.
pub(super) async fn answer(mut way: Way<'_>, response: UpstreamResponse) -> Result<(), Broken> {
    let asked = way.trip.exchange.scan.messages.first().map(|message| message.kind);
    match judge(way.link.name(), asked, &response)? {
        Judged::Json => json(&mut way, response).await,
        Judged::Events if way.trip.exchange.accepts.sse => stream::run(way, response, StreamKind::Post).await,
        // Rare ways are boxed, so that they take no room in every request's.
        Judged::Events => Box::pin(fold(way, response)).await,
        Judged::Taken => {
            let header = respond::header(way.trip, StatusCode::ACCEPTED)?;
            empty(way, header, response).await
        }
        Judged::Nothing => {
            let header = header(&way, &response)?;
            empty(way, header, response).await
        }
    }
}

/// A response header with the backend's status and the fields that may be passed on.
pub(super) fn header(way: &Way<'_>, response: &UpstreamResponse) -> Result<ResponseHeader, Broken> {
    let mut header = respond::header(way.trip, response.status)?;
    for (name, value) in &response.headers {
        if passes(name) {
            header.append_header(name.clone(), value.clone())?;
        }
    }
    Ok(header)
}

fn passes(name: &HeaderName) -> bool {
    PASSED.contains(name)
        || name == "x-accel-buffering"
        || (name.as_str().starts_with("mcp-") && name != "mcp-session-id")
}

async fn empty(way: Way<'_>, header: ResponseHeader, response: UpstreamResponse) -> Result<(), Broken> {
    respond::whole(way.session, header, Bytes::new()).await?;
    detached::settle(response).await;
    Ok(())
}

async fn json(way: &mut Way<'_>, mut response: UpstreamResponse) -> Result<(), Broken> {
    let head = header(way, &response)?;
    let asked = way.trip.exchange.scan.messages.first().map(|message| message.kind);
    // Whose answer it is, must be known before any of it is passed on, where it could be that to another backend's request.
    let is_checked = asked == Some(Kind::Request) && way.translation.is_some();
    let streams = way.trip.exchange.accepts.json && !way.changes_answers() && !is_checked;
    // What is too long to be read as a whole leaves a mark to the next answer.
    let gathered_most =
        if streams && way.mark.is_none() { GATHERED_BYTES } else { way.trip.snapshot.limits.answer_bytes };
    let (body, whole) = match gather(way, &mut response, gathered_most).await {
        Err(Broken::ClientGone) => return left_behind(way, response),
        gathered => gathered?,
    };
    if whole {
        if is_checked && !way.admits(&body) {
            let text = format!("backend \"{}\" gave an answer to something else", way.link.name());
            return Err(Refusal::new(Fault::BackendProtocol, RULE).saying(text).into());
        }
        let body = way.translated(body);
        let end = if way.trip.exchange.accepts.json || head.status != StatusCode::OK {
            respond::whole(way.session, head, body).await
        } else {
            respond::message(way.session, way.trip, &[], body).await
        };
        return Ok(end?);
    }
    if !streams {
        let text = format!("backend \"{}\" gave an answer that is too long", way.link.name());
        return Err(Refusal::new(Fault::BackendProtocol, RULE).saying(text).into());
    }
    stream_json(way, response, head, body).await
}

/// Reads until the end or until `most` bytes are there; says whether that was all.
async fn gather(way: &mut Way<'_>, response: &mut UpstreamResponse, most: usize) -> Result<(Bytes, bool), Broken> {
    let mut gathered = Bytes::new();
    let mut more = BytesMut::new();
    loop {
        let chunk = next(way, response).await?.map_err(|fault| attempt::failed(&way.link, &fault))?;
        match chunk {
            None if more.is_empty() => return Ok((gathered, true)),
            None => return Ok((more.freeze(), true)),
            Some(chunk) if gathered.is_empty() && more.is_empty() => gathered = chunk,
            Some(chunk) => {
                if more.is_empty() {
                    more.reserve(length(response).unwrap_or(most).min(most));
                    more.extend_from_slice(&gathered);
                }
                more.extend_from_slice(&chunk);
            }
        }
        if gathered.len().max(more.len()) > most {
            return Ok((if more.is_empty() { gathered } else { more.freeze() }, false));
        }
    }
}

/// The next chunk of an answer, unless the client leaves or the process must stop first.
pub(super) async fn next(
    way: &mut Way<'_>,
    response: &mut UpstreamResponse,
) -> Result<Result<Option<Bytes>, AttemptFault>, Broken> {
    let ended = way.ended();
    tokio::select! {
        biased;
        chunk = response.chunk() => Ok(chunk),
        () = ended => Err(session_ended()),
        () = gone(way.session) => Err(Broken::ClientGone),
        () = way.gateway.drain.last_words() => Err(attempt::draining()),
    }
}

/// Passes on an answer whose first part is `begun`.
async fn stream_json(
    way: &mut Way<'_>,
    mut response: UpstreamResponse,
    mut head: ResponseHeader,
    begun: Bytes,
) -> Result<(), Broken> {
    match length(&response) {
        Some(length) => head.insert_header(CONTENT_LENGTH, length)?,
        None => head.insert_header(http::header::TRANSFER_ENCODING, "chunked")?,
    }
    if respond::begin(way.session, head, false).await.is_err()
        || way.session.write_response_body(Some(begun), false).await.is_err()
    {
        return left_behind(way, response);
    }
    loop {
        let chunk = match next(way, &mut response).await {
            Ok(chunk) => chunk,
            Err(Broken::Refused(refusal)) => {
                way.trip.record.fault = Some(refusal.fault);
                return Err(Broken::Cut);
            }
            Err(Broken::ClientGone | Broken::Cut) => return left_behind(way, response),
        };
        match chunk {
            Ok(Some(chunk)) => {
                if way.session.write_response_body(Some(chunk), false).await.is_err() {
                    return left_behind(way, response);
                }
            }
            Ok(None) => break,
            Err(fault) => {
                tracing::warn!(backend = %way.link.name(), cause = fault.cause.as_deref().unwrap_or_default(), "{fault}");
                way.trip.record.failed(fault.fault(), RULE);
                return Err(Broken::Cut);
            }
        }
    }
    way.session.write_response_body(None, true).await?;
    Ok(())
}

/// The client has left: a modern one has cancelled by it (the response is dropped), a legacy one has not.
fn left_behind(way: &Way<'_>, response: UpstreamResponse) -> Result<(), Broken> {
    if way.trip.exchange.era() != Some(Era::Modern) {
        detached::read_out(way, response);
    }
    Err(Broken::ClientGone)
}

/// How long a body is announced to be.
fn length(response: &UpstreamResponse) -> Option<usize> {
    response.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// An event stream for a client that takes only JSON: its response, without what was said on the way. What was asked there
/// is answered without it.
async fn fold(way: Way<'_>, response: UpstreamResponse) -> Result<(), Broken> {
    let limits = &way.trip.snapshot.limits;
    let mut messages = Messages::of(response, limits.answer_bytes, limits.event_bytes);
    let id = way.trip.request_id().unwrap_or_default();
    let answering = Answering::of(&way, &way.link);
    let ended = way.ended();
    let said = tokio::select! {
        biased;
        said = answering.response(&mut messages, id) => said,
        () = ended => return Err(session_ended()),
        () = gone(way.session) => return left_behind(&way, messages.into_response()),
        () = way.gateway.drain.last_words() => return Err(attempt::draining()),
    };
    let said = said.map_err(|fault| attempt::failed(&way.link, &fault))?;
    let Some(said) = said else { return Err(judge::no_response(way.link.name(), StatusCode::OK).into()) };
    let said = way.translated(said);
    respond::message(way.session, way.trip, &[], said).await?;
    Ok(())
}
