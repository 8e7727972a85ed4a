//! A backend's response: its header, and its body as it comes.

use super::channel::Listening;
use super::endpoint::Endpoint;
use super::fault::{AttemptFault, FaultKind};
use super::resolve::Address;
use super::time::after;
use super::{h1, h2};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// What form a response body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/json`.
    Json,
    /// `text/event-stream`.
    EventStream,
    /// Anything else, or nothing.
    Other,
}

/// A backend's response.
///
/// Dropping it before its body was read to the end cancels the request at the backend at once: an HTTP/1.1 connection is
/// closed, an HTTP/2 stream is reset (`CANCEL`). When the body was read to its end the connection is free for the next
/// request, without anything to be called. It may be moved into another task.
pub struct UpstreamResponse {
    /// The status.
    pub status: StatusCode,
    /// The fields that may be passed on: no hop-by-hop fields, no cookies, none about the backend's origin.
    ///
    /// `Content-Length` is there where the length of the body is known. `Mcp-Session-Id` is the backend's own.
    pub headers: HeaderMap,
    body: Body,
    idle: Duration,
    /// When something came last: kept here, so that a caller that drops and repeats [`UpstreamResponse::chunk`] (in a
    /// `select!`) does not push the idle timeout away.
    progress: Instant,
    deadline: Instant,
}

enum Body {
    Done,
    Whole(Bytes),
    H1 { reader: h1::Reader, home: Arc<Endpoint>, address: Address },
    H2(h2::Reader),
    Channel(Box<Listening>),
}

impl UpstreamResponse {
    pub(super) fn over_h1(
        answer: h1::Answer,
        home: Arc<Endpoint>,
        address: Address,
        idle: Duration,
        deadline: Instant,
    ) -> UpstreamResponse {
        let body = Body::H1 { reader: answer.body, home, address };
        let mut response = UpstreamResponse::new(answer.status, answer.headers, body, idle, deadline);
        response.free_connection();
        response
    }

    pub(super) fn over_h2(answer: h2::Answer, idle: Duration, deadline: Instant) -> UpstreamResponse {
        UpstreamResponse::new(answer.status, answer.headers, Body::H2(answer.body), idle, deadline)
    }

    /// A whole answer that an adapter makes.
    pub(super) fn made(status: StatusCode, headers: HeaderMap, body: Bytes) -> UpstreamResponse {
        let now = Instant::now();
        let body = if body.is_empty() { Body::Done } else { Body::Whole(body) };
        UpstreamResponse::new(status, headers, body, Duration::MAX, now)
    }

    /// An event stream of what an adapter hears.
    pub(super) fn heard(
        headers: HeaderMap,
        listening: Listening,
        idle: Duration,
        deadline: Instant,
    ) -> UpstreamResponse {
        UpstreamResponse::new(StatusCode::OK, headers, Body::Channel(Box::new(listening)), idle, deadline)
    }

    fn new(status: StatusCode, headers: HeaderMap, body: Body, idle: Duration, deadline: Instant) -> UpstreamResponse {
        UpstreamResponse { status, headers, body, idle, progress: Instant::now(), deadline }
    }

    /// What form the body has, by its `Content-Type`.
    pub fn form(&self) -> Form {
        let Some(value) = self.headers.get(header::CONTENT_TYPE) else { return Form::Other };
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if essence.eq_ignore_ascii_case(b"application/json") {
            Form::Json
        } else if essence.eq_ignore_ascii_case(b"text/event-stream") {
            Form::EventStream
        } else {
            Form::Other
        }
    }

    /// How many bytes the body has, where that was announced.
    pub fn length(&self) -> Option<usize> {
        self.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// Whether the body was read to its end: nothing is left, and the connection is free.
    ///
    /// An HTTP/1.1 body is complete with its last piece, an HTTP/2 body once its end was asked for.
    pub fn is_complete(&self) -> bool {
        matches!(self.body, Body::Done)
    }

    /// The next piece of the body, never empty; `None` at its end, and ever after.
    ///
    /// Cancel-safe. A fault ends the body: the connection is given up.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, AttemptFault> {
        let until = self.deadline.min(after(self.progress, self.idle));
        let read = match &mut self.body {
            Body::Done => return Ok(None),
            Body::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.body = Body::Done;
                return Ok((!bytes.is_empty()).then_some(bytes));
            }
            Body::H1 { reader, .. } => timeout_at(until, reader.chunk()).await,
            Body::H2(reader) => timeout_at(until, reader.chunk()).await,
            Body::Channel(listening) => timeout_at(until, listening.chunk()).await,
        };
        match read {
            Ok(Ok(Some(bytes))) => {
                self.progress = Instant::now();
                self.free_connection();
                Ok(Some(bytes))
            }
            Ok(Ok(None)) => {
                self.free_connection();
                self.body = Body::Done;
                Ok(None)
            }
            Ok(Err(fault)) => {
                self.body = Body::Done;
                Err(fault)
            }
            Err(_) => {
                self.body = Body::Done;
                let total = until == self.deadline;
                Err(AttemptFault::new(if total { FaultKind::TotalTimeout } else { FaultKind::IdleTimeout }))
            }
        }
    }

    /// The whole body, where it is at most `limit` bytes long.
    pub async fn collect(&mut self, limit: usize) -> Result<Bytes, AttemptFault> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return within(first, limit) };
        let mut whole = BytesMut::with_capacity((first.len() + second.len()).saturating_mul(2).min(limit));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while whole.len() <= limit {
            let Some(next) = self.chunk().await? else { break };
            whole.extend_from_slice(&next);
        }
        within(whole.freeze(), limit)
    }

    /// Puts a body in place of what was read.
    pub(super) fn replace_body(&mut self, body: Bytes) {
        self.headers.remove(header::CONTENT_ENCODING);
        self.headers.insert(header::CONTENT_LENGTH, body.len().into());
        self.body = Body::Whole(body);
    }

    /// Gives the connection back as soon as the body is complete, not only when its end is asked for.
    fn free_connection(&mut self) {
        if !matches!(&self.body, Body::H1 { reader, .. } if reader.is_done()) {
            return;
        }
        if let Body::H1 { reader, home, address } = std::mem::replace(&mut self.body, Body::Done)
            && let Some(connection) = reader.into_reusable()
        {
            home.keep(connection, address);
        }
    }
}

fn within(body: Bytes, limit: usize) -> Result<Bytes, AttemptFault> {
    if body.len() > limit { Err(AttemptFault::new(FaultKind::TooLong)) } else { Ok(body) }
}

impl fmt::Debug for UpstreamResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamResponse").field("status", &self.status).finish_non_exhaustive()
    }
}
