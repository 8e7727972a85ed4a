//! One live legacy session: what changes after its ticket was minted.

mod anew;
mod news;
mod requests;
mod subscriptions;

pub use news::Listening;

use super::before::Before;
use super::journal::{Ack, Change, SessionRecord, Slot};
use super::left::Left;
use super::level::LogLevel;
use super::lists::Lists;
use super::streams::Recorder;
use super::underway::Underway;
use super::upstream_session::UpstreamSession;
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::ticket::SessionId;
use news::Listeners;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::Notify;

/// The longest URI that can be subscribed to, in bytes.
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// How many backends a session may have been open at: those of its virtual server, and those that a reload took from it.
pub const BACKENDS_MAX: usize = 512;

/// What is lost when a backend gives a session something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: the session had nothing there.
    Nothing,
    /// What it had at that backend.
    There,
    /// All that it had: this node had forgotten it, or its only backend is another one now.
    Everything,
}

/// A live session. Whoever holds it (beside the store) is using it: a session in use is never idle.
pub struct Session {
    id: SessionId,
    expires: UnixMillis,
    last_used: AtomicU64,
    state: Mutex<State>,
    recorder: OnceLock<Arc<Recorder>>,
    ended: Notify,
    bound: Notify,
    /// That a stream of a backend is open, or known to be none.
    settles: Notify,
    turns: Mutex<Vec<(Arc<str>, Turn)>>,
    underway: Mutex<Vec<Weak<Underway>>>,
    /// How often the client has said that its roots changed.
    roots: AtomicU64,
    /// Which stream gets the news.
    newsreader: AtomicU64,
    superseded: Notify,
    /// Whether the result of some backend is to say that its session was opened again.
    marks: AtomicBool,
}

/// What a session had at a backend that is no longer remembered, and at which: somebody must end it.
pub type Displaced = (Arc<str>, UpstreamSession);

/// Held while a session is opened at one backend, so that only one request does it.
pub type Turn = Arc<tokio::sync::Mutex<()>>;

/// The session was ended or given up while it was being changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Why a subscription was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeFault {
    /// The session was ended or given up.
    Gone,
    /// The URI is longer than [`URI_BYTES_MAX`].
    UriTooLong,
    /// `limits.subscriptions` or `limits.subscription_bytes` is reached.
    TooMany,
}

/// Whose a resource is, where its URI alone does not say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The backend's name in the configuration.
    pub backend: Arc<str>,
    /// What that backend calls it.
    pub original: Box<str>,
}

#[derive(Default)]
struct State {
    upstream: Vec<(Arc<str>, UpstreamSession)>,
    log_level: Option<LogLevel>,
    /// By URI; whose each is, where this process knows.
    subscriptions: BTreeMap<Box<str>, Option<Whose>>,
    /// The URIs, and what backends call them where that is known.
    subscription_bytes: usize,
    /// Where it was open before this process took it in.
    before: Before,
    /// The backends whose next result is to say that the session was opened again there.
    unmarked: Vec<Arc<str>>,
    /// Whether this process replaced the backend's session by another.
    renewed: bool,
    /// Which changes the backend announces; nothing is known of a session that was opened before this process.
    announces: Lists,
    /// Whether announcements may have been lost since the client was last told so.
    unheard: bool,
    gone: bool,
    /// Which versions of the lists the client was last told of.
    heard: Option<[u64; 3]>,
    listeners: Listeners,
}

impl Session {
    pub(super) fn new(record: SessionRecord, left: Left, now: UnixMillis) -> Session {
        let Left { log_level, subscriptions, .. } = left;
        let subscription_bytes = subscriptions.iter().map(|uri| uri.len()).sum();
        let subscriptions = subscriptions.into_iter().map(|uri| (uri, None)).collect();
        let SessionRecord { upstream, before, .. } = record;
        let state = State { upstream, before, log_level, subscriptions, subscription_bytes, ..State::default() };
        Session {
            id: record.id,
            expires: record.expires,
            last_used: AtomicU64::new(now.0),
            state: Mutex::new(state),
            recorder: OnceLock::new(),
            ended: Notify::new(),
            bound: Notify::new(),
            settles: Notify::new(),
            turns: Mutex::default(),
            underway: Mutex::default(),
            roots: AtomicU64::new(0),
            newsreader: AtomicU64::new(0),
            superseded: Notify::new(),
            marks: AtomicBool::new(false),
        }
    }

    /// The session's id inside the gateway.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// When its ticket expires.
    pub fn expires(&self) -> UnixMillis {
        self.expires
    }

    /// What a backend gave this session; `None` when it has none there. Backends are told apart by a key of the caller's.
    pub fn upstream(&self, backend: &str) -> Option<UpstreamSession> {
        let state = self.state.lock();
        state.upstream.iter().find(|(name, _)| **name == *backend).map(|(_, upstream)| upstream.clone())
    }

    /// Whose turn it is to open this session at a backend.
    pub fn turn(&self, backend: &Arc<str>) -> Turn {
        let mut turns = self.turns.lock();
        if let Some((_, turn)) = turns.iter().find(|(known, _)| known == backend) {
            return Arc::clone(turn);
        }
        // Those that nobody holds or waits for.
        turns.retain(|(_, turn)| Arc::strong_count(turn) > 1);
        let turn = Turn::default();
        turns.push((Arc::clone(backend), Arc::clone(&turn)));
        turn
    }

    /// The session is no longer open at a backend, which has lost it.
    pub(super) fn leave(&self, backend: &Arc<str>, slot: Slot<'_>) -> Result<Ack, Gone> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(Gone);
        }
        state.upstream.retain(|(known, _)| known != backend);
        self.no_mark(&mut state, backend);
        Ok(slot.put(&Change::Unbound { id: self.id, backend: Arc::clone(backend) }))
    }

    /// The client says that its roots changed. To be called before it is looked where the session is open: where it is being
    /// opened meanwhile, that is told by whoever opens it.
    pub fn roots_changed(&self) {
        self.roots.fetch_add(1, SeqCst);
    }

    /// How often the client has said that its roots changed.
    pub fn roots_changes(&self) -> u64 {
        self.roots.load(SeqCst)
    }

    /// Every backend that gave this session something, with what it gave.
    pub fn upstreams(&self) -> Vec<(Arc<str>, UpstreamSession)> {
        self.state.lock().upstream.clone()
    }

    /// The log level that the client set, if it set one.
    pub fn log_level(&self) -> Option<LogLevel> {
        self.state.lock().log_level
    }

    /// What the client has set, which another upstream session must be told, and where the session is open.
    pub fn left(&self) -> Left {
        let state = self.state.lock();
        let before = state.before.and(state.upstream.iter().map(|(place, _)| Arc::clone(place)));
        Left { log_level: state.log_level, subscriptions: state.subscriptions.keys().cloned().collect(), before }
    }

    /// Whether the backend's session was replaced by another in this process: an event id that the recorder does not know
    /// may belong to the one before.
    pub fn was_renewed(&self) -> bool {
        self.state.lock().renewed
    }

    /// Whether the session was ended or given up.
    pub fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    /// Waits until the session is ended or given up. Dropping the future loses nothing.
    pub async fn ended(&self) {
        let ended = self.ended.notified();
        tokio::pin!(ended);
        // Registered before the state is read, so that an end in between is not missed.
        ended.as_mut().enable();
        if !self.is_gone() {
            ended.await;
        }
    }

    /// The recorder of this session's streams, made by `make` when it is first asked for.
    pub(super) fn recorder(&self, make: impl FnOnce() -> Arc<Recorder>) -> &Arc<Recorder> {
        self.recorder.get_or_init(make)
    }

    /// The recorder, if this session ever had one.
    pub(super) fn recorder_if_any(&self) -> Option<&Arc<Recorder>> {
        self.recorder.get()
    }

    /// What is displaced because the session is open at [`BACKENDS_MAX`] others comes second.
    pub(super) fn bind(
        &self,
        backend: &Arc<str>,
        upstream: UpstreamSession,
        slot: Slot<'_>,
    ) -> Result<(Ack, Option<Displaced>), Gone> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(Gone);
        }
        let ack = slot.put(&Change::Bound { id: self.id, backend: backend.clone(), upstream: upstream.clone() });
        self.bound.notify_waiters();
        let mut displaced = None;
        match state.upstream.iter_mut().find(|(name, _)| name == backend) {
            Some((_, bound)) => *bound = upstream,
            None => {
                if state.upstream.len() >= BACKENDS_MAX {
                    displaced = Some(state.upstream.remove(0));
                }
                state.upstream.push((backend.clone(), upstream));
            }
        }
        Ok((ack, displaced))
    }

    /// Another session of the backend takes the place of what was: to be called before it is bound.
    pub(super) fn renew(&self, backend: &str, loss: Loss) {
        let source = match loss {
            Loss::Nothing => return,
            Loss::There => Some(backend),
            Loss::Everything => None,
        };
        {
            let mut state = self.state.lock();
            state.renewed = true;
            state.unheard = true;
        }
        if let Some(recorder) = self.recorder.get() {
            recorder.renew(source);
        }
    }

    pub(super) fn set_log_level(&self, level: LogLevel, slot: Slot<'_>) -> Result<Ack, Gone> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(Gone);
        }
        state.log_level = Some(level);
        Ok(slot.put(&Change::LogLevel { id: self.id, level }))
    }

    /// From now on nothing changes this session any more; its streams end, and so does what waits for [`Session::ended`].
    pub(super) fn retire(&self) {
        self.state.lock().gone = true;
        self.ended.notify_waiters();
        if let Some(recorder) = self.recorder.get() {
            recorder.close();
        }
    }

    /// The changes that make this session again, or none when it is gone.
    pub(super) fn changes(&self, emit: &mut dyn FnMut(&Change)) {
        let id = self.id;
        let state = self.state.lock();
        if state.gone {
            return;
        }
        let (upstream, before) = (state.upstream.clone(), state.before.clone());
        emit(&Change::Opened(SessionRecord { id, expires: self.expires, upstream, before: before.clone() }));
        if !state.unmarked.is_empty() {
            emit(&Change::Losses { id, before, unmarked: state.unmarked.clone() });
        }
        if let Some(level) = state.log_level {
            emit(&Change::LogLevel { id, level });
        }
        for uri in state.subscriptions.keys() {
            emit(&Change::Subscribed { id, uri: uri.clone() });
        }
    }

    pub(super) fn touch(&self, now: UnixMillis) {
        self.last_used.store(now.0, Relaxed);
    }

    pub(super) fn last_used(&self) -> UnixMillis {
        UnixMillis(self.last_used.load(Relaxed))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
