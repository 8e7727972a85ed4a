//! HTTP/2 towards backends: one request on one stream of Pingora's client.

use super::endpoint::{Target, Verb};
use super::fault::{AttemptFault, FaultKind};
use super::headers::{HEADER_BYTES, HEADER_FIELDS, inbound};
use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, StatusCode, header};
use lockgate_filters::splice::Outbound;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::protocols::http::v2::write_body;
use pingora_core::{BError, ErrorType};
use pingora_http::RequestHeader;
use std::fmt;

/// A response whose header was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Reader,
}

/// Sends one request and reads the header of its response.
///
/// Not bounded in time: the caller drops it when it takes too long, which resets the stream (`CANCEL`).
pub(super) async fn exchange(
    mut session: Box<Http2Session>,
    target: &Target,
    verb: Verb,
    fields: &Outbound,
    body: &Bytes,
) -> Result<Answer, AttemptFault> {
    let header = request_header(target, verb, fields, body)
        .map_err(|error| AttemptFault::not_run(FaultKind::Protocol).because(error))?;
    if let Err(error) = session.write_request_header(Box::new(header), body.is_empty()) {
        session.conn.mark_shutdown();
        return Err(AttemptFault::not_run(FaultKind::Closed).because(error));
    }
    let mut written = Ok(());
    let mut writing = !body.is_empty();
    let mut writer = session.take_request_body_writer();
    let read = {
        let mut write = std::pin::pin!(async {
            match writer.as_mut() {
                Some(writer) => write_body(writer, body.clone(), true, None).await,
                None => Ok(()),
            }
        });
        // A response may come before the request is written whole, and then makes the rest of it pointless.
        loop {
            tokio::select! {
                biased;
                outcome = &mut write, if writing => { written = outcome; writing = false; }
                outcome = session.read_response_header() => break outcome,
            }
        }
    };
    if let Err(error) = read {
        return Err(failed(&session, &error, writing || written.is_err()));
    }
    let Some(response) = session.response_header() else {
        return Err(AttemptFault::protocol("its response has no header"));
    };
    let bytes: usize = response.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADER_BYTES || response.headers.len() > HEADER_FIELDS {
        return Err(AttemptFault::protocol("its response header is too large"));
    }
    let status = response.status;
    let mut headers = inbound(&response.headers);
    if let Some(length) = response.headers.get(header::CONTENT_LENGTH)
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
    {
        headers.insert(header::CONTENT_LENGTH, length.clone());
    }
    Ok(Answer { status, headers, body: Reader { session } })
}

fn request_header(target: &Target, verb: Verb, fields: &Outbound, body: &Bytes) -> Result<RequestHeader, BError> {
    let mut header = RequestHeader::build_no_case(verb.method(), b"/", Some(16))?;
    // Absolute, so that `:scheme` and `:authority` are the endpoint's.
    header.set_uri(target.uri().clone());
    for (name, value) in target.constants(verb).iter().chain(fields.iter()) {
        header.append_header(name.clone(), value.clone())?;
    }
    if verb == Verb::Post {
        header.append_header(header::CONTENT_LENGTH, body.len())?;
    }
    Ok(header)
}

fn failed(session: &Http2Session, error: &BError, unwritten: bool) -> AttemptFault {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    let remote = cause.filter(|cause| cause.is_remote());
    // The backend says itself that it did not look at the request (RFC 9113 sections 6.8 and 8.7).
    let refused = remote.is_some_and(|cause| {
        (cause.is_reset() && cause.reason() == Some(Reason::REFUSED_STREAM))
            || (cause.is_go_away() && cause.reason() == Some(Reason::NO_ERROR))
    });
    if !remote.is_some_and(h2::Error::is_reset) {
        // More than this stream broke: the next request needs another connection. Running streams are left to end.
        session.conn.mark_shutdown();
    }
    let broken = cause.is_some_and(h2::Error::is_library)
        || matches!(error.etype(), ErrorType::InvalidH2 | ErrorType::InvalidHTTPHeader);
    let kind = if broken { FaultKind::Protocol } else { FaultKind::Closed };
    AttemptFault { provably_not_run: refused || unwritten, ..AttemptFault::new(kind).because(error) }
}

/// The body of a response. Dropping it before its end resets the stream (`CANCEL`).
pub(super) struct Reader {
    session: Box<Http2Session>,
}

impl Reader {
    /// The next piece of the body; `None` at its end.
    ///
    /// Cancel-safe: waiting takes nothing from the stream. Each piece gives its flow-control window back.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, AttemptFault> {
        loop {
            match self.session.read_response_body().await {
                Ok(Some(data)) if data.is_empty() => {}
                Ok(data) => return Ok(data),
                Err(error) => return Err(AttemptFault::new(FaultKind::Cut).because(error)),
            }
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
