//! One session's connection: its stream, and where its messages go.

use crate::upstream::announced::Announcer;
use crate::upstream::caller::Caller;
use crate::upstream::channel::{Asks, Channel, ChannelLimits, Outlet};
use crate::upstream::connector::Connector;
use crate::upstream::counters::Counters;
use crate::upstream::endpoint::{Endpoint, Target, Verb};
use crate::upstream::exchange::UpstreamRequest;
use crate::upstream::fault::{AttemptFault, FaultKind};
use crate::upstream::ground::Ground;
use crate::upstream::response::{Form, UpstreamResponse};
use crate::upstream::settings::Timeouts;
use crate::upstream::time::from_now;
use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use lockgate_filters::splice::{Outbound, Replay};
use lockgate_filters::sse::EventReader;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::timeout_at;

/// How long a connection lives; it may be silent all the time.
const HELD: Duration = Duration::from_secs(24 * 3600);
/// How much is read of what a server answers to a message, which means nothing, in bytes.
const ANSWER_BYTES: usize = 64 * 1024;
/// How many messages of the gateway's own are on their way at a time.
const OWN_MESSAGES: usize = 16;

/// What a connection is made of.
pub(super) struct Wanted {
    pub(super) backend: Arc<str>,
    pub(super) connector: Arc<Connector>,
    pub(super) events: Arc<Endpoint>,
    pub(super) messages: Arc<Endpoint>,
    pub(super) counters: Arc<Counters>,
    pub(super) ground: Arc<Ground>,
    /// The fields of the request that opens it.
    pub(super) fields: Outbound,
    pub(super) timeouts: Timeouts,
    pub(super) event_bytes: usize,
}

/// What came of it.
pub(super) enum Opened {
    /// A channel, open until the sender is dropped.
    Channel(Arc<Channel>, watch::Sender<()>),
    /// The server answers with this status instead of a stream.
    Refused(StatusCode),
}

/// Opens a connection and waits for the URL that messages go to.
pub(super) async fn open(wanted: Wanted) -> Result<Opened, AttemptFault> {
    let (tell, told) = oneshot::channel();
    let (open, closed) = watch::channel(());
    // In a task from the start: a stream belongs to the runtime that opened it.
    let ground = wanted.ground.handle();
    ground.spawn(serve(wanted, tell, closed));
    let gone = || AttemptFault::not_run(FaultKind::Unreachable);
    match told.await.map_err(|_| gone())?? {
        Ok(channel) => Ok(Opened::Channel(channel, open)),
        Err(status) => Ok(Opened::Refused(status)),
    }
}

type Told = Result<Result<Arc<Channel>, StatusCode>, AttemptFault>;

/// Serves a connection until it ends, or nobody wants it any more.
async fn serve(wanted: Wanted, tell: oneshot::Sender<Told>, mut closed: watch::Receiver<()>) {
    let deadline = from_now(wanted.timeouts.connect.saturating_add(wanted.timeouts.first_byte));
    let begun = tokio::select! {
        begun = timeout_at(deadline, begin(&wanted)) => {
            begun.unwrap_or_else(|_| Err(AttemptFault::not_run(FaultKind::FirstByteTimeout)))
        }
        _ = closed.changed() => return,
    };
    let (mut stream, target) = match begun {
        Ok(Ok(begun)) => begun,
        Ok(Err(status)) => return drop(tell.send(Ok(Err(status)))),
        Err(fault) => return drop(tell.send(Err(AttemptFault { provably_not_run: true, ..fault }))),
    };
    let posts = Arc::new(Posts {
        wanted,
        target,
        own: Semaphore::new(OWN_MESSAGES),
        channel: OnceLock::new(),
        forgotten: Notify::new(),
    });
    let Wanted { backend, counters, .. } = &posts.wanted;
    let outlet = Box::new(Outgoing(Arc::clone(&posts)));
    let channel = Channel::new(
        Arc::clone(backend),
        outlet,
        ChannelLimits::default(),
        Asks::Clients,
        Arc::clone(counters),
        Announcer::default(),
    );
    let weak = Arc::downgrade(&channel);
    posts.channel.get_or_init(|| weak.clone());
    if tell.send(Ok(Ok(Arc::clone(&channel)))).is_err() {
        return;
    }
    drop(channel);
    let fault = tokio::select! {
        fault = listen(&mut stream, &weak) => fault,
        _ = closed.changed() => AttemptFault::new(FaultKind::Closed).saying("its session was ended"),
        () = posts.forgotten.notified() => AttemptFault::new(FaultKind::Closed).saying("it has forgotten the session"),
    };
    if let Some(channel) = weak.upgrade() {
        channel.end(fault);
    }
}

/// A stream of which the events are taken.
struct Stream {
    response: UpstreamResponse,
    events: EventReader,
}

/// What a stream says: the name of an event, and its data.
struct Event {
    name: Option<Bytes>,
    data: Bytes,
}

impl Stream {
    async fn next(&mut self) -> Result<Event, AttemptFault> {
        loop {
            if let Some(event) = self.events.next_event() {
                return Ok(Event { name: event.event, data: event.data });
            }
            let Some(chunk) = self.response.chunk().await? else {
                return Err(AttemptFault::new(FaultKind::Cut).saying("it ended its event stream"));
            };
            self.events.feed(&chunk).map_err(|_| AttemptFault::new(FaultKind::TooLong))?;
        }
    }
}

/// Opens the stream and reads where messages go.
async fn begin(wanted: &Wanted) -> Result<Result<(Stream, Target), StatusCode>, AttemptFault> {
    let request = UpstreamRequest {
        verb: Verb::Get,
        fields: wanted.fields.clone(),
        body: Bytes::new(),
        replay: Replay::IfUnanswered,
        caller: Caller::default(),
    };
    let timeouts = Timeouts { idle_stream: HELD, total: HELD, ..wanted.timeouts };
    let response = wanted.connector.send(&wanted.events, &request, &timeouts, ANSWER_BYTES).await?;
    if response.status != StatusCode::OK {
        return Ok(Err(response.status));
    }
    if response.form() != Form::EventStream {
        return Err(AttemptFault::protocol("it does not answer with an event stream"));
    }
    let mut stream = Stream { response, events: EventReader::new(wanted.event_bytes) };
    let first = stream.next().await?;
    if first.name.as_deref() != Some(b"endpoint") {
        return Err(AttemptFault::protocol("its event stream does not begin with an endpoint"));
    }
    let (from, _) = wanted.events.target();
    let target = std::str::from_utf8(&first.data).ok().and_then(|place| wanted.messages.redirected(&from, place));
    let target = target.ok_or(AttemptFault::protocol("its event stream names an endpoint of another origin"))?;
    Ok(Ok((stream, target)))
}

/// Hears what the server says until it says no more.
async fn listen(stream: &mut Stream, channel: &Weak<Channel>) -> AttemptFault {
    loop {
        let event = match stream.next().await {
            Ok(event) => event,
            Err(fault) => return fault,
        };
        if event.name.is_some_and(|name| name != "message") || event.data.is_empty() {
            continue;
        }
        let Some(channel) = channel.upgrade() else { return AttemptFault::new(FaultKind::Closed) };
        channel.hear(&event.data).await;
    }
}

/// Where a session's messages go.
struct Posts {
    wanted: Wanted,
    target: Target,
    own: Semaphore,
    channel: OnceLock<Weak<Channel>>,
    /// The server has forgotten the session, though its stream is open.
    forgotten: Notify,
}

struct Outgoing(Arc<Posts>);

impl Posts {
    async fn send(&self, message: Bytes, fields: &Outbound) -> Result<(), AttemptFault> {
        let Wanted { connector, messages, timeouts, .. } = &self.wanted;
        let request = UpstreamRequest {
            verb: Verb::Post,
            fields: fields.clone(),
            body: message,
            replay: Replay::IfNotRun,
            caller: Caller::default(),
        };
        let mut response = connector.send_to(messages, &self.target, &request, timeouts).await?;
        let status = response.status;
        if status.is_success() {
            // What it says here means nothing; read, so that the connection can be used again.
            let _ = response.collect(ANSWER_BYTES).await;
            return Ok(());
        }
        Err(match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                let fault = AttemptFault::not_run(FaultKind::Closed).saying("it has forgotten the session");
                if let Some(channel) = self.channel.get().and_then(Weak::upgrade) {
                    channel.end(fault.clone());
                }
                self.forgotten.notify_one();
                fault
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => AttemptFault::not_run(FaultKind::Busy),
            _ => AttemptFault::new(FaultKind::Protocol)
                .saying(format!("it refuses a message with status {}", status.as_u16())),
        })
    }
}

#[async_trait]
impl Outlet for Outgoing {
    async fn write(&self, message: Bytes, fields: &Outbound) -> Result<(), AttemptFault> {
        self.0.send(message, fields).await
    }

    fn post(&self, message: Bytes) {
        let posts = Arc::clone(&self.0);
        self.0.wanted.ground.handle().spawn(async move {
            let Ok(_turn) = posts.own.try_acquire() else { return };
            if let Err(fault) = posts.send(message, &posts.wanted.fields).await {
                tracing::debug!(backend = %posts.wanted.backend, %fault, "a message of the gateway's own was not taken");
            }
        });
    }
}
