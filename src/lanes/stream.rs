//! Relaying an event stream: as it comes, never buffered, byte for byte.
//!
//! The stream is framed only as far as it must be: to know where a keep-alive comment may stand, to bound an event, to
//! record events for a legacy client that comes back with `Last-Event-ID`, and to keep requests of the backend from a
//! modern one, whose era has none (2026-07-28 asks with `input_required` instead).

use super::heal::Mark;
use super::messages::is_request;
use super::translate::{self, Translate};
use super::{Broken, LISTEN, Way, detached, relay, respond};
use crate::downstream::gone;
use crate::drain::Drain;
use crate::session::{End, StreamKind, StreamRecord, Told, Underway};
use crate::telemetry::labels;
use crate::upstream::{AttemptFault, UpstreamResponse};
use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, TRANSFER_ENCODING};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::revision::Era;
use lockgate_filters::rpc::reply;
use lockgate_filters::rpc::scan::{self, Kind, Limits};
use lockgate_filters::sse::{self, BYTE_ORDER_MARK, Framer, Unmark};
use pingora_http::ResponseHeader;
use std::future::pending;
use std::sync::Arc;
use tokio::pin;
use tokio::time::{Instant, sleep_until};

const RULE: &str = "stream";

/// What keeps an idle stream open: a comment, which clients skip (WHATWG HTML section 9.2.7).
pub(super) const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// An upstream event stream and what is known of it.
pub(super) struct Flow {
    pub response: UpstreamResponse,
    pub framer: Framer,
    /// Where events are kept for a client that comes back; only in the legacy era.
    pub record: Option<StreamRecord>,
    /// The raw id of the request that it answers; a GET stream answers none.
    asked: Option<Bytes>,
    /// Whether events are for the client that opened the stream, rather than for one that took it over.
    pub ours: bool,
    /// The last event's data: says whether the stream had come to its end.
    last_data: Bytes,
    /// Whether the backend may send requests on it.
    may_ask: bool,
    /// Whether no frame has ended yet.
    first: bool,
    /// How its events become ours, where they must; they are then passed on frame by frame.
    translate: Option<Arc<Translate>>,
    /// That its response is to say that the backend's session was opened again.
    mark: Option<Mark>,
    /// Keeps its request to be found by who cancels it.
    _underway: Option<Arc<Underway>>,
    /// What is to be passed on of what was taken last, where events become ours.
    translated: BytesMut,
}

/// Why a stream cannot be passed on any further.
pub(super) enum Flaw {
    /// An event is too long.
    TooLong,
    /// The backend sent a request where the era has none.
    Request {
        /// How much of the last chunk stands before it; `None` when it had begun before, so that a part of it is out.
        before: Option<usize>,
    },
}

impl Flaw {
    fn fault(&self) -> AttemptFault {
        AttemptFault::protocol(match self {
            Flaw::TooLong => "it sent an event that is too long",
            Flaw::Request { .. } => {
                "it sent a request on an answer's stream, which this protocol revision does not have"
            }
        })
    }
}

/// What happened to a stream.
enum Turn {
    Chunk(Result<Option<Bytes>, AttemptFault>),
    Gone,
    Told(Told),
    Quiet,
    Stopping,
}

/// Starts an event stream to the client.
pub(super) async fn begin(way: &mut Way<'_>, mut header: ResponseHeader) -> Result<(), Broken> {
    header.insert_header(TRANSFER_ENCODING, "chunked")?;
    if !header.headers.contains_key(CACHE_CONTROL) {
        header.insert_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))?;
    }
    if !header.headers.contains_key("x-accel-buffering") {
        header.insert_header("x-accel-buffering", "no")?;
    }
    respond::begin(way.session, header, false).await?;
    Ok(())
}

/// Relays a stream from its first byte.
pub(super) async fn run(mut way: Way<'_>, response: UpstreamResponse, kind: StreamKind) -> Result<(), Broken> {
    let header = relay::header(&way, &response)?;
    let begun = begin(&mut way, header).await.is_ok();
    let asked = asked(&way);
    relay_on(way, response, (kind, asked), None, begun).await
}

/// Relays a stream behind what the client has got of the same response already; `asked` is the raw id of the request that
/// it answers.
pub(super) async fn go_on(
    way: Way<'_>,
    response: UpstreamResponse,
    kind: StreamKind,
    asked: Option<Bytes>,
) -> Result<(), Broken> {
    relay_on(way, response, (kind, asked), Some(Unmark::default()), true).await
}

/// Relays a stream, or lets it go on without its client where the client is no longer `there`; `unmark` where the client
/// has got something before the stream's first byte.
async fn relay_on(
    way: Way<'_>,
    response: UpstreamResponse,
    (kind, asked): (StreamKind, Option<Bytes>),
    mut unmark: Option<Unmark>,
    there: bool,
) -> Result<(), Broken> {
    let record = way
        .node
        .as_ref()
        .map(|node| way.gateway.world.sessions.recorder(node).start(kind, asked.clone(), &way.link.backend.place));
    if let (Some(record), Some(underway)) = (&record, &way.underway) {
        record.keep(Arc::clone(underway));
    }
    let limit = way.trip.snapshot.limits.event_bytes;
    let may_ask = way.trip.exchange.era() != Some(Era::Modern);
    let framer = Framer::keeping(limit);
    let translate = way.translate();
    if let Some(translate) = &translate {
        translate.speak_with(|| way.speaker(&way.link.backend));
    }
    let mut flow = Flow {
        response,
        framer,
        record,
        asked,
        ours: true,
        last_data: Bytes::new(),
        may_ask,
        first: true,
        translate,
        mark: way.mark.clone(),
        _underway: way.underway.clone(),
        translated: BytesMut::new(),
    };
    if !there {
        return left_behind(way, flow);
    }
    let _open = way.server.metrics.stream(metric_kind(&way, kind));
    let held = kind == StreamKind::Get || is_listen(&way);
    let stopping = stopping(way.gateway.drain.clone(), held);
    pin!(stopping);
    let patience = way.trip.snapshot.limits.keep_alive;
    let mut quiet = Instant::now() + patience;
    loop {
        let turn = tokio::select! {
            biased;
            // Before what comes: that is for whoever has taken the stream over.
            told = told(&mut flow.record) => Turn::Told(told),
            chunk = flow.response.chunk() => Turn::Chunk(chunk),
            () = gone(way.session) => Turn::Gone,
            () = sleep_until(quiet), if flow.is_between_events() => Turn::Quiet,
            () = &mut stopping => Turn::Stopping,
        };
        match turn {
            Turn::Chunk(Ok(Some(chunk))) => {
                quiet = Instant::now() + patience;
                let taken = flow.take(&chunk).await;
                let passes = match taken {
                    _ if flow.changes() => flow.translated.split().freeze(),
                    Ok(()) => chunk,
                    Err(Flaw::Request { before: Some(before) }) => chunk.slice(..before),
                    Err(flaw) => return broke_off(way, flow, &flaw.fault(), false).await,
                };
                let passes = match &mut unmark {
                    Some(unmark) => unmark.pass(passes),
                    None => passes,
                };
                if flow.ours
                    && !passes.is_empty()
                    && way.session.write_response_body(Some(passes), false).await.is_err()
                {
                    return left_behind(way, flow);
                }
                if let Err(flaw) = taken {
                    return broke_off(way, flow, &flaw.fault(), true).await;
                }
            }
            Turn::Chunk(Ok(None)) => {
                flow.finish();
                way.session.write_response_body(None, true).await?;
                return Ok(());
            }
            Turn::Chunk(Err(fault)) => {
                let whole = flow.is_between_events();
                return broke_off(way, flow, &fault, whole).await;
            }
            Turn::Gone => return left_behind(way, flow),
            Turn::Told(Told::Stop) => {
                way.session.write_response_body(None, true).await?;
                return Ok(());
            }
            Turn::Told(Told::TakenOver) => {
                detached::pump(flow);
                way.session.write_response_body(None, true).await?;
                return Ok(());
            }
            Turn::Quiet => {
                quiet = Instant::now() + patience;
                if !flow.framer.has_begun() {
                    unmark = Some(Unmark::default());
                }
                if way.session.write_response_body(Some(KEEP_ALIVE), false).await.is_err() {
                    return left_behind(way, flow);
                }
            }
            Turn::Stopping => return say_goodbye(way, &flow, held).await,
        }
    }
}

impl Flow {
    /// Whether events are passed on otherwise than as they came.
    fn changes(&self) -> bool {
        self.translate.is_some() || self.mark.is_some()
    }

    /// Whether the client has got whole events only.
    fn is_between_events(&self) -> bool {
        self.changes() || self.framer.at_boundary()
    }

    /// Frames what came, and records what a client may come back for.
    pub(super) async fn take(&mut self, chunk: &Bytes) -> Result<(), Flaw> {
        self.translated.clear();
        let begun = self.framer.kept_length();
        self.framer.feed(chunk).map_err(|_| Flaw::TooLong)?;
        let mut read: usize = 0;
        while let Some(frame) = self.framer.next_frame() {
            let first = std::mem::take(&mut self.first);
            if !self.may_ask && frame.has_data && is_request(&frame.data) {
                return Err(Flaw::Request { before: (read > 0 || begun == 0).then(|| read.saturating_sub(begun)) });
            }
            read += frame.bytes.len();
            // Who gets it later gets it behind something else.
            let marked = first && frame.bytes.starts_with(&BYTE_ORDER_MARK);
            let bytes = if marked { frame.bytes.slice(BYTE_ORDER_MARK.len()..) } else { frame.bytes.clone() };
            let event = frame.has_data || frame.id.is_some();
            let (id, bytes) = if self.changes() {
                match translate::event(self.translate.as_deref(), &frame, self.mark.as_ref()) {
                    Some((id, Some(changed))) => (id, changed),
                    Some((id, None)) => (id, bytes),
                    None => continue,
                }
            } else {
                (frame.id, bytes)
            };
            if self.changes() {
                self.translated.extend_from_slice(&bytes);
            }
            if let Some(record) = &self.record
                && event
            {
                self.last_data = frame.data;
                self.ours &= record.push(id, bytes).await;
            }
        }
        Ok(())
    }

    /// The backend closed the stream: it may have said everything, or (2025-11-25) go on when it is asked again.
    pub(super) fn finish(self) {
        let Some(record) = self.record else { return };
        let answered = scan::scan_envelope(&self.last_data, &Limits { depth: 512, batch: 1 })
            .is_ok_and(|message| message.kind == Kind::Response);
        record.finish(if answered { End::Complete } else { End::Cut });
    }
}

/// The client has left: a modern one has cancelled by it, a legacy one has not.
fn left_behind(way: Way<'_>, mut flow: Flow) -> Result<(), Broken> {
    if way.trip.exchange.era() != Some(Era::Modern) {
        if let Some(record) = &mut flow.record {
            record.detach();
        }
        detached::pump(flow);
    }
    Err(Broken::ClientGone)
}

/// The backend broke the stream off.
///
/// A client that can resume is left to do so. Otherwise it is told, unless half an event is out, which `whole` denies: it
/// must not be finished.
async fn broke_off(way: Way<'_>, flow: Flow, fault: &AttemptFault, whole: bool) -> Result<(), Broken> {
    tracing::warn!(backend = %way.link.name(), cause = fault.cause.as_deref().unwrap_or_default(), "{fault}");
    way.trip.record.failed(fault.fault(), RULE);
    let resumable = flow.record.is_some() && flow.framer.has_ids();
    if resumable || !whole {
        return Err(Broken::Cut);
    }
    let refusal = fault.refusal(way.link.name(), RULE);
    tell(way, flow.asked.as_deref(), &refusal).await
}

/// The process is stopping: the stream ends in the form that its era has for it.
async fn say_goodbye(way: Way<'_>, flow: &Flow, held: bool) -> Result<(), Broken> {
    if !held {
        way.trip.record.failed(Fault::Draining, RULE);
    }
    if !flow.is_between_events() {
        return Err(Broken::Cut);
    }
    if !held {
        return tell(way, flow.asked.as_deref(), &Refusal::new(Fault::Draining, RULE)).await;
    }
    if is_listen(&way) {
        let id = way.trip.request_id().unwrap_or(b"null");
        let subscription = String::from_utf8_lossy(id);
        let result = format!(
            "{{\"resultType\":\"complete\",\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{subscription}}}}}"
        );
        let message = reply::result_body(way.trip.request_id(), result.as_bytes());
        way.session.write_response_body(Some(sse::write_event(None, &message)), false).await?;
    }
    way.session.write_response_body(None, true).await?;
    Ok(())
}

/// Ends a stream with a JSON-RPC error for the request it answers; a GET stream answers none and just ends.
pub(super) async fn tell(way: Way<'_>, asked: Option<&[u8]>, refusal: &Refusal) -> Result<(), Broken> {
    if asked.is_some() {
        let message = reply::error_body(asked, refusal, way.trip.correlation.as_str());
        way.session.write_response_body(Some(sse::write_event(None, &message)), false).await?;
    }
    way.session.write_response_body(None, true).await?;
    Ok(())
}

/// Resolves when a stream must end because the process stops: held streams at once, answers when the time is nearly over.
pub(super) async fn stopping(drain: Drain, held: bool) {
    if held { drain.draining().await } else { drain.closing().await }
}

async fn told(record: &mut Option<StreamRecord>) -> Told {
    match record {
        Some(record) => record.told().await,
        None => pending().await,
    }
}

/// The raw id of the request that a stream answers, to be told to a client that comes back for a lost answer.
fn asked(way: &Way<'_>) -> Option<Bytes> {
    way.trip.request_id().map(Bytes::copy_from_slice)
}

fn is_listen(way: &Way<'_>) -> bool {
    let exchange = &way.trip.exchange;
    exchange.scan.messages.first().is_some_and(|message| message.is(LISTEN, &exchange.body))
}

fn metric_kind(way: &Way<'_>, kind: StreamKind) -> labels::StreamKind {
    match kind {
        StreamKind::Get => labels::StreamKind::Session,
        StreamKind::Post if is_listen(way) => labels::StreamKind::Listen,
        StreamKind::Post => labels::StreamKind::Answer,
    }
}
