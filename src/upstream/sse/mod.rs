//! A backend that speaks the transport of 2024-11-05 ("HTTP with SSE"): one event stream for each session, and a URL,
//! named on it, that messages are posted to. Seen from above it is a Streamable HTTP server.
//!
//! A session is its connection: when that ends, the session is unknown (404), which heals.

mod connection;

use super::channel::{Channel, SessionKey, Spoken, scanned};
use super::connector::Connector;
use super::counters::Counters;
use super::endpoint::{Endpoint, Verb};
use super::exchange::UpstreamRequest;
use super::fault::{AttemptFault, FaultKind};
use super::fetch::SESSION_ID;
use super::ground::Ground;
use super::response::UpstreamResponse;
use super::settings::Timeouts;
use connection::{Opened, Wanted};
use http::{HeaderMap, HeaderValue, StatusCode};
use lockgate_filters::rpc::scan::{Kind, Message};
use lockgate_filters::splice::Outbound;
use lockgate_filters::ticket::{PrincipalDigest, SessionId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The most sessions, each with a connection of its own.
const SESSIONS: usize = 4096;
/// How long a session is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(1800);
/// How often unused sessions are looked for, and those of a retired backend.
const SWEEP: Duration = Duration::from_secs(10);
const RETIRED_SWEEP: Duration = Duration::from_millis(250);

/// A URL that is spoken to in this way, or may be.
pub(super) struct Sse {
    backend: Arc<str>,
    connector: Arc<Connector>,
    /// Where the streams come from: over the control plane's connections, as they outlive requests.
    events: Arc<Endpoint>,
    /// Where messages go.
    messages: Arc<Endpoint>,
    ground: Arc<Ground>,
    counters: Arc<Counters>,
    /// The longest message that is read, in bytes.
    event_bytes: AtomicUsize,
    /// Whether the backend was found to speak this and nothing better.
    spoken: AtomicBool,
    state: Mutex<State>,
}

struct State {
    sessions: HashMap<Box<str>, Session>,
    swept: Instant,
}

#[derive(Clone)]
struct Session {
    channel: Arc<Channel>,
    key: SessionKey,
    principal: PrincipalDigest,
    /// Dropping the last one closes the connection.
    _open: Arc<watch::Sender<()>>,
}

impl Sse {
    /// Prepares to speak to a URL. Nothing is connected.
    pub(super) fn new(
        backend: Arc<str>,
        connector: Arc<Connector>,
        (events, messages): (Arc<Endpoint>, Arc<Endpoint>),
        ground: Arc<Ground>,
        event_bytes: usize,
    ) -> Arc<Sse> {
        Arc::new(Sse {
            backend,
            connector,
            events,
            messages,
            ground,
            counters: Arc::default(),
            event_bytes: AtomicUsize::new(event_bytes),
            spoken: AtomicBool::new(false),
            state: Mutex::new(State { sessions: HashMap::new(), swept: Instant::now() }),
        })
    }

    /// Whether the backend was found to speak this and nothing better.
    pub(super) fn is_spoken(&self) -> bool {
        self.spoken.load(Ordering::Relaxed)
    }

    /// Takes note of what the backend was found to speak.
    pub(super) fn found(&self, spoken: bool) {
        if self.spoken.swap(spoken, Ordering::Relaxed) != spoken {
            tracing::info!(backend = %self.backend, spoken, "whether a backend speaks HTTP+SSE (2024-11-05)");
        }
    }

    /// What it counts.
    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Reads messages of another length from now on, in new sessions.
    pub(super) fn keep_as(&self, event_bytes: usize) {
        self.event_bytes.store(event_bytes, Ordering::Relaxed);
    }

    /// Sends a request as if to a Streamable HTTP server.
    pub(super) async fn send(
        self: &Arc<Self>,
        request: &UpstreamRequest,
        timeouts: &Timeouts,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let id = request.fields.iter().find(|(name, _)| *name == SESSION_ID).map(|(_, value)| value.as_bytes());
        let session = match id.map(|id| (id, self.session(id, request.caller.principal))) {
            Some((_, None)) => return Ok(empty(StatusCode::NOT_FOUND)),
            Some((_, session)) => session,
            None => None,
        };
        match (request.verb, session) {
            (Verb::Get, Some(session)) => {
                session.channel.hold(session.key, timeouts).or_else(|fault| lost(&session, fault))
            }
            (Verb::Delete, Some(session)) => {
                self.close(id.unwrap_or_default());
                session.channel.close_session(session.key);
                Ok(empty(StatusCode::OK))
            }
            (Verb::Get | Verb::Delete, None) => Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
            (Verb::Post, session) => {
                let Some(message) = scanned(&request.body) else { return Ok(empty(StatusCode::BAD_REQUEST)) };
                match session {
                    Some(session) => say(&session, request, &message, timeouts).await,
                    None if message.is(b"initialize", &request.body) => self.open(request, &message, timeouts).await,
                    None => Ok(empty(StatusCode::BAD_REQUEST)),
                }
            }
        }
    }

    /// Opens a session: a connection, and the handshake on it.
    async fn open(
        self: &Arc<Self>,
        request: &UpstreamRequest,
        message: &Message,
        timeouts: &Timeouts,
    ) -> Result<UpstreamResponse, AttemptFault> {
        self.make_room()?;
        let fields = own_fields(&request.fields);
        let wanted = Wanted {
            backend: Arc::clone(&self.backend),
            connector: Arc::clone(&self.connector),
            events: Arc::clone(&self.events),
            messages: Arc::clone(&self.messages),
            counters: Arc::clone(&self.counters),
            ground: Arc::clone(&self.ground),
            fields: fields.clone(),
            timeouts: *timeouts,
            event_bytes: self.event_bytes.load(Ordering::Relaxed),
        };
        let (channel, open) = match connection::open(wanted).await? {
            Opened::Channel(channel, open) => (channel, open),
            // What it says of the stream it says of the session that was to be opened.
            Opened::Refused(status) => return Ok(empty(status)),
        };
        let key = channel.open_session()?;
        let spoken = Spoken { session: Some(key), body: &request.body, message, fields: &fields };
        let mut response = super::channel::json(channel.ask_whole(spoken, timeouts).await?);
        let random = |error| AttemptFault::not_run(FaultKind::Busy).because(error);
        let id = SessionId::random().map_err(random)?.to_string();
        let value =
            HeaderValue::try_from(&id).map_err(|error| AttemptFault::protocol("it has no id").because(error))?;
        response.headers.insert(SESSION_ID, value);
        let session = Session { channel, key, principal: request.caller.principal, _open: Arc::new(open) };
        self.state.lock().sessions.insert(id.into(), session);
        Ok(response)
    }

    fn make_room(&self) -> Result<(), AttemptFault> {
        let mut state = self.state.lock();
        if state.sessions.len() >= SESSIONS {
            state.forget(IDLE);
        }
        if state.sessions.len() < SESSIONS {
            return Ok(());
        }
        Err(AttemptFault::not_run(FaultKind::Busy).saying("it has as many sessions as it may"))
    }

    fn session(&self, id: &[u8], principal: PrincipalDigest) -> Option<Session> {
        let state = self.state.lock();
        let session = state.sessions.get(std::str::from_utf8(id).ok()?)?;
        // The gateway itself, which ends sessions, is nobody in particular.
        let may = principal == PrincipalDigest::ANONYMOUS || session.principal == principal;
        (may && session.channel.ended().is_none()).then(|| session.clone())
    }

    fn close(&self, id: &[u8]) {
        if let Ok(id) = std::str::from_utf8(id) {
            self.state.lock().sessions.remove(id);
        }
    }

    /// Closes connections that nobody has used for long, now and then.
    pub(super) fn sweep(&self) {
        let mut state = self.state.lock();
        if state.swept.elapsed() >= SWEEP {
            state.swept = Instant::now();
            state.forget(IDLE);
        }
    }

    /// The configuration wants something else: streams that are held end, calls go on to their end.
    pub(super) fn retire(self: &Arc<Self>) {
        let mut state = self.state.lock();
        for session in state.sessions.values() {
            session.channel.release_held();
        }
        state.forget(Duration::ZERO);
        let left = !state.sessions.is_empty();
        drop(state);
        if !left {
            return;
        }
        let sse = Arc::clone(self);
        self.ground.handle().spawn(async move {
            while !sse.state.lock().sessions.is_empty() {
                tokio::time::sleep(RETIRED_SWEEP).await;
                sse.state.lock().forget(Duration::ZERO);
            }
        });
    }
}

impl State {
    /// Forgets sessions that are over, and those that have not been used for this long.
    fn forget(&mut self, idle: Duration) {
        self.sessions.retain(|_, session| {
            let activity = session.channel.activity();
            let busy = activity.in_flight > 0 || activity.streams > 0;
            session.channel.ended().is_none() && (busy || activity.used.elapsed() < idle)
        });
    }
}

/// A message of a session.
async fn say(
    session: &Session,
    request: &UpstreamRequest,
    message: &Message,
    timeouts: &Timeouts,
) -> Result<UpstreamResponse, AttemptFault> {
    let fields = own_fields(&request.fields);
    let spoken = Spoken { session: Some(session.key), body: &request.body, message, fields: &fields };
    if message.kind == Kind::Request {
        return session.channel.ask(spoken, timeouts).await.or_else(|fault| lost(session, fault));
    }
    match session.channel.tell(spoken, timeouts).await {
        Ok(()) => Ok(empty(StatusCode::ACCEPTED)),
        Err(fault) => lost(session, fault),
    }
}

/// A request's fields without the session that only this adapter knows.
fn own_fields(fields: &Outbound) -> Outbound {
    let mut own = fields.clone();
    own.remove(&SESSION_ID);
    own
}

/// What a request of a session gets that has just ended: where it cannot have run, the session is unknown.
fn lost(session: &Session, fault: AttemptFault) -> Result<UpstreamResponse, AttemptFault> {
    let over = session.channel.ended().is_some();
    if over && fault.provably_not_run { Ok(empty(StatusCode::NOT_FOUND)) } else { Err(fault) }
}

fn empty(status: StatusCode) -> UpstreamResponse {
    UpstreamResponse::made(status, HeaderMap::new(), bytes::Bytes::new())
}

impl fmt::Debug for Sse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sse").field("backend", &self.backend).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
