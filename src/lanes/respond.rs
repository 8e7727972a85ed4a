//! Writing answers that are made here.

use crate::listen::Connection;
use crate::trip::Trip;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use lockgate_filters::fault::Refusal;
use lockgate_filters::filter::Answer;
use lockgate_filters::headers::REQUEST_ID;
use lockgate_filters::rpc::reply;
use lockgate_filters::sse;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Up to here a message is copied into one piece, as the connection would do anyway.
const COPIED_BYTES: usize = 4 * 1024;

/// The same for one that ends with a piece of its own: copying costs less than another write, as 39 KB of 120 tools show.
const COPIED_WITH_TAIL: usize = 128 * 1024;

/// Why nothing more can be written: the client is gone.
pub type Lost = Box<pingora::Error>;

/// A response header with what every response of this request carries.
pub fn header(trip: &Trip, status: StatusCode) -> Result<ResponseHeader, Lost> {
    let extra = &trip.exchange.response_headers;
    let mut header = ResponseHeader::build_no_case(status, Some(extra.len() + 8))?;
    for (name, value) in extra {
        header.append_header(name.clone(), value.clone())?;
    }
    header.insert_header(REQUEST_ID, trip.correlation.as_str())?;
    Ok(header)
}

/// Begins a response. While the process stops, it says that its connection takes no further request: decided here and not
/// when the request came, because an answer may take longer than it takes to be told to stop.
pub async fn begin(session: &mut Session, header: ResponseHeader, end: bool) -> Result<(), Lost> {
    if Connection::of(session).is_some_and(|connection| connection.is_ending()) {
        session.set_keepalive(None);
    }
    session.write_response_header(Box::new(header), end).await
}

/// Writes a whole response: header and body leave in one write.
pub async fn whole(session: &mut Session, mut header: ResponseHeader, body: Bytes) -> Result<(), Lost> {
    if header.status != StatusCode::NO_CONTENT {
        header.insert_header(CONTENT_LENGTH, body.len())?;
    }
    let empty = body.is_empty();
    begin(session, header, empty).await?;
    if !empty {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Writes a filter's answer.
pub async fn answer(session: &mut Session, trip: &Trip, answer: Answer) -> Result<(), Lost> {
    let mut header = header(trip, answer.status)?;
    for (name, value) in &answer.headers {
        header.append_header(name.clone(), value.clone())?;
    }
    whole(session, header, answer.body).await
}

/// Writes a JSON-RPC response message in the form that the client takes, with extra headers.
pub async fn message(
    session: &mut Session,
    trip: &Trip,
    extra: &[(HeaderName, HeaderValue)],
    message: Bytes,
) -> Result<(), Lost> {
    let mut header = header(trip, StatusCode::OK)?;
    for (name, value) in extra {
        header.insert_header(name.clone(), value.clone())?;
    }
    if trip.exchange.accepts.json {
        header.insert_header(CONTENT_TYPE, JSON)?;
        return whole(session, header, message).await;
    }
    header.insert_header(CONTENT_TYPE, EVENT_STREAM)?;
    whole(session, header, sse::write_event(None, &message)).await
}

/// As [`message`], for one in pieces that stay what they are: what is long is not copied to be sent.
pub async fn pieces(session: &mut Session, trip: &Trip, pieces: [Bytes; 3]) -> Result<(), Lost> {
    let length: usize = pieces.iter().map(Bytes::len).sum();
    let copied = if pieces[2].is_empty() { COPIED_BYTES } else { COPIED_WITH_TAIL };
    if !trip.exchange.accepts.json || length < copied {
        return message(session, trip, &[], pieces.concat().into()).await;
    }
    let mut header = header(trip, StatusCode::OK)?;
    header.insert_header(CONTENT_TYPE, JSON)?;
    header.insert_header(CONTENT_LENGTH, length)?;
    begin(session, header, false).await?;
    // The head waits in the connection for the items, and both leave in one write.
    let [head, items, tail] = pieces;
    session.write_response_body(Some(head), false).await?;
    let ends = tail.is_empty();
    session.write_response_body(Some(items), ends).await?;
    if ends { Ok(()) } else { session.write_response_body(Some(tail), true).await }
}

/// Writes a refusal: the fault's status, and a JSON-RPC error that repeats the request's id.
pub async fn refuse(session: &mut Session, trip: &Trip, refusal: &Refusal) -> Result<(), Lost> {
    let status = StatusCode::from_u16(refusal.fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut header = header(trip, status)?;
    header.insert_header(CONTENT_TYPE, JSON)?;
    for (name, value) in &refusal.headers {
        header.insert_header(*name, value.as_ref())?;
    }
    let body = reply::error_body(trip.request_id(), refusal, trip.correlation.as_str());
    whole(session, header, body).await
}
