//! One duplex of JSON-RPC messages with one peer (a child process, a connection of 2024-11-05) that many exchanges share.
//!
//! Upwards it looks like a Streamable HTTP server: each request gets an answer of its own, which becomes an event stream
//! as soon as something precedes the response, and each session has a stream for what the server says of its own accord.
//! Downwards there is one sequence of messages. [`rewrite`] changes what must differ between the two, [`table`] knows who
//! waits for what, [`hear`] finds out where a message of the peer belongs, [`Listening`] is the reader's end.
//!
//! Nothing here waits for a reader: a queue that stays full ends its exchange, so that a slow client holds up nobody else.

mod feed;
pub mod fuzz;
mod hear;
mod lines;
mod listening;
mod rewrite;
mod table;

pub(super) use lines::{Line, LineFramer};
pub(super) use listening::Listening;

use super::announced::Announcer;
use super::counters::Counters;
use super::fault::{AttemptFault, FaultKind};
use super::response::UpstreamResponse;
use super::settings::Timeouts;
use super::time::from_now;
use async_trait::async_trait;
use bytes::Bytes;
use feed::{Ending, Feed, Next};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::scan::{self, Kind, Limits, Message};
use lockgate_filters::splice::Outbound;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use table::{Pending, Table, What};
use tokio::time::{Instant, timeout_at};

/// How long the peer's other messages wait for one reader whose queue is full.
const STALL: Duration = Duration::from_secs(1);

/// How long it may take until it is known why a peer takes no more messages.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Where messages to the peer go.
#[async_trait]
pub(super) trait Outlet: Send + Sync + 'static {
    /// Writes one message. A fault says whether the peer can have got it.
    async fn write(&self, message: Bytes, fields: &Outbound) -> Result<(), AttemptFault>;

    /// Writes one message soon, without waiting. It is lost where too much waits to be written.
    fn post(&self, message: Bytes);
}

/// What a channel may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChannelLimits {
    /// The most requests that wait for an answer.
    pub(super) in_flight: usize,
    /// How many bytes may wait for the reader of one answer or stream.
    pub(super) queue: usize,
    /// How many messages may wait for a session's stream to be opened.
    pub(super) waiting: usize,
    /// The most requests of the peer that wait for a client's answer.
    pub(super) questions: usize,
    /// The most resource URIs that sessions have subscribed to.
    pub(super) subscriptions: usize,
}

impl Default for ChannelLimits {
    fn default() -> ChannelLimits {
        ChannelLimits { in_flight: 1024, queue: 1 << 20, waiting: 64, questions: 256, subscriptions: 4096 }
    }
}

/// Who may be asked what the peer asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// The client that the question can be tied to.
    Clients,
    /// Nobody: no client's capabilities were offered.
    Nobody,
}

/// A session on a channel.
pub(super) type SessionKey = u64;

/// One request or message of a client, on its way to the peer.
#[derive(Clone, Copy)]
pub(super) struct Spoken<'a> {
    /// The session that it belongs to; none in the modern era.
    pub(super) session: Option<SessionKey>,
    /// The message.
    pub(super) body: &'a Bytes,
    /// What the scan of it found.
    pub(super) message: &'a Message,
    /// Header fields, where the peer gets any.
    pub(super) fields: &'a Outbound,
}

/// What a channel does now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    /// Requests that wait for an answer.
    pub(super) in_flight: usize,
    /// Streams of sessions that are open.
    pub(super) streams: usize,
    /// When it was used last.
    pub(super) used: Instant,
}

/// A channel to one peer.
pub(super) struct Channel {
    backend: Arc<str>,
    outlet: Box<dyn Outlet>,
    limits: ChannelLimits,
    asks: Asks,
    counters: Arc<Counters>,
    announcer: Announcer,
    table: Mutex<Table>,
}

impl Channel {
    /// A channel to a peer of this backend.
    pub(super) fn new(
        backend: Arc<str>,
        outlet: Box<dyn Outlet>,
        limits: ChannelLimits,
        asks: Asks,
        counters: Arc<Counters>,
        announcer: Announcer,
    ) -> Arc<Channel> {
        Arc::new(Channel { backend, outlet, limits, asks, counters, announcer, table: Mutex::new(Table::new()) })
    }

    /// Opens a session.
    pub(super) fn open_session(&self) -> Result<SessionKey, AttemptFault> {
        self.table.lock().open_session()
    }

    /// Ends a session: what it waits for ends, what it was asked is refused.
    pub(super) fn close_session(&self, session: SessionKey) {
        let (working, asked) = self.table.lock().close_session(session);
        for number in working {
            self.cancel(number);
        }
        for id in asked {
            self.refuse(&id, GONE);
        }
    }

    /// Ends the channel: the peer is gone, for this reason.
    pub(super) fn end(&self, fault: AttemptFault) {
        self.table.lock().end(fault);
    }

    /// Why the channel ended, if it did.
    pub(super) fn ended(&self) -> Option<AttemptFault> {
        self.table.lock().ended.clone()
    }

    /// What it does now.
    pub(super) fn activity(&self) -> Activity {
        self.table.lock().activity()
    }

    /// Ends everything that is held open: streams of sessions and subscriptions. Calls go on.
    pub(super) fn release_held(&self) {
        self.table.lock().release_held();
    }

    /// Sends a request and waits for the beginning of its answer.
    pub(super) async fn ask(
        self: &Arc<Self>,
        spoken: Spoken<'_>,
        timeouts: &Timeouts,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let deadline = from_now(timeouts.total);
        let mut listening = self.begin(spoken, timeouts, deadline).await?;
        match listening.take_first() {
            Some(Next::Ended(Ending::Answer(answer))) => Ok(whole(spoken.session.is_none(), answer)),
            Some(Next::Ended(Ending::Fault(fault))) => Err(fault),
            Some(Next::Ended(Ending::Over)) => Err(AttemptFault::protocol("it ended the request without a response")),
            first => {
                listening.put_back(first);
                Ok(UpstreamResponse::heard(events(), listening, timeouts.idle_stream, deadline))
            }
        }
    }

    /// Sends a request and waits for its response; what is said before it is not heard.
    pub(super) async fn ask_whole(
        self: &Arc<Self>,
        spoken: Spoken<'_>,
        timeouts: &Timeouts,
    ) -> Result<Bytes, AttemptFault> {
        let deadline = from_now(timeouts.first_byte.min(timeouts.total));
        let mut listening = self.begin(spoken, timeouts, deadline).await?;
        timeout_at(deadline, listening.answer()).await.unwrap_or_else(|_| Err(late()))
    }

    /// Sends a request; the beginning of its answer is there afterwards.
    async fn begin(
        self: &Arc<Self>,
        spoken: Spoken<'_>,
        timeouts: &Timeouts,
        deadline: Instant,
    ) -> Result<Listening, AttemptFault> {
        let (mut listening, line) = self.register(spoken)?;
        let first_byte = from_now(timeouts.first_byte).min(deadline);
        let begun = timeout_at(first_byte, async {
            tokio::select! {
                biased;
                written = self.outlet.write(line, spoken.fields) => written?,
                // Who answers has got it.
                () = listening.first() => return Ok::<(), AttemptFault>(()),
            }
            listening.first().await;
            Ok(())
        });
        match begun.await {
            Ok(Ok(())) => Ok(listening),
            Ok(Err(fault)) => {
                if fault.kind == FaultKind::NotRunning {
                    // It takes nothing because it is about to be gone, and why it is says more.
                    let _ = timeout_at(from_now(LAST_WORDS), listening.first()).await;
                }
                listening.never_sent();
                Err(match self.ended() {
                    Some(ended) => AttemptFault { provably_not_run: fault.provably_not_run, ..ended },
                    None => fault,
                })
            }
            Err(_) => Err(late()),
        }
    }

    fn register(self: &Arc<Self>, spoken: Spoken<'_>) -> Result<(Listening, Bytes), AttemptFault> {
        let mut table = self.table.lock();
        let number = table.number(self.limits.in_flight)?;
        let Some(outgoing) = rewrite::request(spoken.body, spoken.message, number) else {
            return Err(AttemptFault { provably_not_run: true, ..AttemptFault::protocol("this is no request") });
        };
        let feed = Arc::new(Feed::new(self.limits.queue));
        let pending = Pending {
            session: spoken.session,
            id: outgoing.id,
            token: outgoing.token,
            feed: Arc::clone(&feed),
            what: What::of(spoken.message, spoken.body),
            cancelled: false,
        };
        table.insert(number, pending);
        drop(table);
        Ok((Listening::to_exchange(Arc::clone(self), feed, number), outgoing.line))
    }

    /// Sends a notification or a response of a client. Nothing is sent that the peer could not make sense of: an answer to
    /// what was not asked, a cancellation of what does not run.
    pub(super) async fn tell(&self, spoken: Spoken<'_>, timeouts: &Timeouts) -> Result<(), AttemptFault> {
        let line = {
            let mut table = self.table.lock();
            if let Some(fault) = table.ended.clone() {
                return Err(AttemptFault { provably_not_run: true, ..fault });
            }
            table.touch();
            match spoken.message.kind {
                Kind::Response => table.answered(spoken),
                _ if spoken.message.is(b"notifications/cancelled", spoken.body) => table.cancelled(spoken),
                _ => Some(spoken.body.clone()),
            }
        };
        let Some(line) = line else { return Ok(()) };
        let line = rewrite::on_one_line(&line);
        if spoken.message.is(b"notifications/initialized", spoken.body) {
            self.announcer.ready();
        }
        let until = from_now(timeouts.first_byte);
        timeout_at(until, self.outlet.write(line, spoken.fields)).await.unwrap_or_else(|_| Err(late()))
    }

    /// Subscribes or unsubscribes a session; whether the peer must be told of it. It need not be where others want to hear
    /// of the same resource.
    pub(super) fn must_tell_subscription(&self, spoken: Spoken<'_>) -> bool {
        self.table.lock().subscription(spoken, self.limits.subscriptions)
    }

    /// Opens the stream of a session: what waits for it comes first. It takes the place of one that was open.
    pub(super) fn hold(
        self: &Arc<Self>,
        session: SessionKey,
        timeouts: &Timeouts,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let feed = Arc::new(Feed::new(self.limits.queue));
        let hold = self.table.lock().hold(session, &feed)?;
        let listening = Listening::to_session(Arc::clone(self), feed, session, hold);
        let deadline = from_now(timeouts.total);
        Ok(UpstreamResponse::heard(events(), listening, timeouts.idle_stream, deadline))
    }

    /// Tells the peer that nobody waits for what this request brings.
    fn cancel(&self, number: u64) {
        let message = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{number},"reason":"the client has left"}}}}"#
        );
        self.outlet.post(message.into());
    }

    /// Refuses a request of the peer.
    fn refuse(&self, id: &[u8], why: (i32, &str)) {
        let (code, text) = why;
        let mut message = br#"{"jsonrpc":"2.0","id":"#.to_vec();
        message.extend_from_slice(id);
        message.extend_from_slice(format!(r#","error":{{"code":{code},"message":"{text}"}}}}"#).as_bytes());
        self.outlet.post(message.into());
    }
}

/// Why a request of the peer is refused: code and message.
const GONE: (i32, &str) = (-32603, "the client has left");

/// One message, as the peer and clients write it.
pub(super) fn scanned(message: &[u8]) -> Option<Message> {
    scan::scan_envelope(message, &Limits { depth: scan::MAX_DEPTH, batch: 1 }).ok()
}

fn late() -> AttemptFault {
    AttemptFault::new(FaultKind::FirstByteTimeout)
}

fn events() -> HeaderMap {
    [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))].into_iter().collect()
}

/// JSON with another value in place of one of its own.
pub(super) fn with_value(json: &[u8], value: scan::Value, with: &[u8]) -> Bytes {
    rewrite::replaced(json, value, with)
}

/// A response as one JSON body.
pub(super) fn json(answer: Bytes) -> UpstreamResponse {
    whole(false, answer)
}

/// A response as one JSON body, with the status that it has in its era (2026-07-28, "Error handling").
fn whole(modern: bool, answer: Bytes) -> UpstreamResponse {
    let status = if modern { status(&answer) } else { StatusCode::OK };
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, answer.len().into());
    UpstreamResponse::made(status, headers, answer)
}

fn status(answer: &[u8]) -> StatusCode {
    let error = scanned(answer).and_then(|message| message.error).map(|error| error.span.of(answer));
    let code = error.and_then(|error| Some(member(error, "code")?.span.of(error)));
    match code {
        Some(b"-32601") => StatusCode::NOT_FOUND,
        Some(b"-32020" | b"-32021" | b"-32022") => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("backend", &self.backend).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
