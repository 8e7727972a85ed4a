//! What comes back from the endpoint, message by message.

use super::settings::Limits;
use crate::upstream::{AttemptFault, Form, UpstreamResponse};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use lockgate_filters::rpc::members::items;
use lockgate_filters::rpc::scan::{self, Message};
use lockgate_filters::sse::EventReader;
use std::time::Duration;

/// A server's own messages may nest as deep as can be read at all.
pub(super) const OWN: scan::Limits = scan::Limits { depth: scan::MAX_DEPTH, batch: 1 };

/// Reads the envelope of a message of the server's.
pub(super) fn envelope(message: &[u8]) -> Option<Message> {
    scan::scan_envelope(message, &OWN).ok()
}

/// Whether a response is an event stream that brings messages.
pub(super) fn is_stream(response: &UpstreamResponse) -> bool {
    response.status.is_success() && response.form() == Form::EventStream
}

/// The messages of a body that is no stream: one, those of a batch, or none.
pub(super) async fn whole(response: &mut UpstreamResponse, limits: &Limits) -> Result<Vec<Bytes>, AttemptFault> {
    if matches!(response.status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
        return Ok(Vec::new());
    }
    Ok(split(response.collect(limits.answer_bytes).await?, limits.scan.batch))
}

/// The messages of a body: one, those of a batch but no more than `most`, or none.
pub(super) fn split(body: Bytes, most: usize) -> Vec<Bytes> {
    if body.trim_ascii_start().first() != Some(&b'[') {
        return if body.is_empty() { Vec::new() } else { vec![body] };
    }
    if scan::skim(&body, &OWN).is_err() {
        return Vec::new();
    }
    items(&body).take(most).map(|item| body.slice_ref(item.span.of(&body))).collect()
}

/// An event stream, and what it said about itself.
pub(super) struct Stream {
    response: UpstreamResponse,
    events: EventReader,
    /// How long the server wants to be left alone after it has ended.
    pub(super) retry: Option<Duration>,
    /// Whether it brought any event.
    pub(super) has_news: bool,
}

impl Stream {
    pub(super) fn of(response: UpstreamResponse, limits: &Limits) -> Stream {
        let events = EventReader::new(limits.event_bytes);
        Stream { response, events, retry: None, has_news: false }
    }

    /// The next message; `None` at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, AttemptFault> {
        loop {
            while let Some(event) = self.events.next_event() {
                self.has_news = true;
                if let Some(retry) = event.retry {
                    self.retry = Some(Duration::from_millis(retry));
                }
                // Nothing in it: it says where the stream can be taken up again. Other kinds of events are none of ours.
                if !event.data.is_empty() && event.event.as_deref().is_none_or(|kind| kind == b"message") {
                    return Ok(Some(event.data));
                }
            }
            let Some(chunk) = self.response.chunk().await? else { return Ok(None) };
            self.events.feed(&chunk).map_err(|_| AttemptFault::protocol("it sent an event that is too long"))?;
        }
    }

    /// Where to take it up again, if that can be said.
    pub(super) fn last_id(&self) -> Option<HeaderValue> {
        let id = self.events.last_id();
        if id.is_empty() { None } else { HeaderValue::from_bytes(id).ok() }
    }
}
