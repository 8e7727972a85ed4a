//! Who waits for what on a channel: exchanges, sessions and their streams, what the peer has asked.
//!
//! Plain bookkeeping under the channel's lock: nothing here waits, and nothing is written to the peer.

use super::feed::{Ending, Feed, Pushed};
use super::{Activity, Spoken, rewrite};
use crate::upstream::counters::{Counters, Open};
use crate::upstream::fault::{AttemptFault, FaultKind};
use bytes::Bytes;
use lockgate_filters::rpc::id;
use lockgate_filters::rpc::scan::Message;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;

pub(super) use super::SessionKey;

/// What a request is, as far as its place among others depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The handshake, which is never cancelled.
    Initialize,
    /// A stream that is held open for news (2026-07-28).
    Listen,
    /// Anything else.
    Call {
        /// Whether it asks for log messages (2026-07-28).
        logs: bool,
    },
}

impl What {
    pub(super) fn of(message: &Message, body: &[u8]) -> What {
        if message.is(b"initialize", body) {
            return What::Initialize;
        }
        if message.is(b"subscriptions/listen", body) {
            return What::Listen;
        }
        let meta = message.params.as_ref().and_then(|params| params.meta.as_ref());
        What::Call { logs: meta.is_some_and(|meta| meta.log_level.is_some()) }
    }
}

/// A request that waits for its response.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) session: Option<SessionKey>,
    /// The client's own id and progress token, as it wrote them.
    pub(super) id: Bytes,
    pub(super) token: Option<Bytes>,
    pub(super) feed: Arc<Feed>,
    pub(super) what: What,
    /// Whether the client has cancelled it; the peer may still answer.
    pub(super) cancelled: bool,
}

#[derive(Debug, Default)]
struct Member {
    /// Its open stream, and which of those that it ever had.
    stream: Option<(u64, Arc<Feed>)>,
    /// What was said while no stream was open.
    waiting: VecDeque<Bytes>,
}

/// What the peer has asked, until it is answered.
#[derive(Debug)]
struct Question {
    /// The peer's raw id.
    id: Bytes,
    /// Who is asked.
    session: SessionKey,
    _open: Open,
}

#[derive(Debug)]
pub(super) struct Table {
    next: u64,
    /// By number, so in the order in which they began.
    exchanges: BTreeMap<u64, Pending>,
    sessions: HashMap<SessionKey, Member>,
    questions: Vec<Question>,
    subscriptions: HashMap<Box<str>, HashSet<SessionKey>>,
    pub(super) ended: Option<AttemptFault>,
    used: Instant,
}

/// Where a message for a session is put.
#[derive(Debug)]
pub(super) enum Stream {
    /// On the stream of an exchange.
    Exchange(u64, Arc<Feed>),
    /// On the session's own, or where it waits for one.
    Own(SessionKey),
}

impl Table {
    pub(super) fn new() -> Table {
        Table {
            next: 1,
            exchanges: BTreeMap::new(),
            sessions: HashMap::new(),
            questions: Vec::new(),
            subscriptions: HashMap::new(),
            ended: None,
            used: Instant::now(),
        }
    }

    pub(super) fn touch(&mut self) {
        self.used = Instant::now();
    }

    fn unique(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn alive(&self) -> Result<(), AttemptFault> {
        self.ended.clone().map_or(Ok(()), |fault| Err(AttemptFault { provably_not_run: true, ..fault }))
    }

    /// The number of the next request, where there may be one more.
    pub(super) fn number(&mut self, most: usize) -> Result<u64, AttemptFault> {
        self.alive()?;
        self.touch();
        if self.exchanges.len() >= most {
            return Err(AttemptFault::not_run(FaultKind::Busy));
        }
        Ok(self.unique())
    }

    pub(super) fn insert(&mut self, number: u64, pending: Pending) {
        self.exchanges.insert(number, pending);
    }

    pub(super) fn get(&self, number: u64) -> Option<&Pending> {
        self.exchanges.get(&number)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Pending> {
        let removed = self.exchanges.remove(&number);
        if removed.is_some() {
            self.touch();
        }
        removed
    }

    /// The only request that waits, if there is but one.
    pub(super) fn only(&self) -> Option<u64> {
        let mut numbers = self.exchanges.keys();
        numbers.next().copied().filter(|_| numbers.next().is_none())
    }

    pub(super) fn activity(&self) -> Activity {
        let streams = self.sessions.values().filter(|member| member.stream.is_some()).count();
        Activity { in_flight: self.exchanges.len(), streams, used: self.used }
    }

    pub(super) fn open_session(&mut self) -> Result<SessionKey, AttemptFault> {
        self.alive()?;
        self.touch();
        let key = self.unique();
        self.sessions.insert(key, Member::default());
        Ok(key)
    }

    /// Ends a session, and tells which of its requests the peer still works on, and which of the peer's nobody will answer.
    pub(super) fn close_session(&mut self, session: SessionKey) -> (Vec<u64>, Vec<Bytes>) {
        self.touch();
        if let Some(Member { stream: Some((_, feed)), .. }) = self.sessions.remove(&session) {
            feed.end(Ending::Over);
        }
        let mut working = Vec::new();
        for (number, pending) in self.exchanges.extract_if(.., |_, pending| pending.session == Some(session)) {
            pending.feed.end(Ending::Fault(AttemptFault::new(FaultKind::Closed).saying("its session was ended")));
            working.extend((pending.what != What::Initialize).then_some(number));
        }
        self.subscriptions.retain(|_, sessions| {
            sessions.remove(&session);
            !sessions.is_empty()
        });
        let asked = self.questions.extract_if(.., |question| question.session == session).map(|question| question.id);
        (working, asked.collect())
    }

    pub(super) fn end(&mut self, fault: AttemptFault) {
        for pending in std::mem::take(&mut self.exchanges).into_values() {
            pending.feed.end(Ending::Fault(fault.clone()));
        }
        for member in std::mem::take(&mut self.sessions).into_values() {
            if let Some((_, feed)) = member.stream {
                feed.end(Ending::Over);
            }
        }
        self.questions.clear();
        self.ended.get_or_insert(fault);
    }

    pub(super) fn release_held(&mut self) {
        for pending in self.exchanges.values().filter(|pending| pending.what == What::Listen) {
            pending.feed.end(Ending::Over);
        }
        for (_, feed) in self.sessions.values().filter_map(|member| member.stream.as_ref()) {
            feed.end(Ending::Over);
        }
    }

    /// Opens a session's stream; tells which of its streams this is.
    pub(super) fn hold(&mut self, session: SessionKey, feed: &Arc<Feed>) -> Result<u64, AttemptFault> {
        self.alive()?;
        self.touch();
        let hold = self.unique();
        let Some(member) = self.sessions.get_mut(&session) else {
            return Err(AttemptFault::not_run(FaultKind::Closed).saying("its session was ended"));
        };
        if let Some((_, before)) = member.stream.replace((hold, Arc::clone(feed))) {
            before.end(Ending::Over);
        }
        for message in std::mem::take(&mut member.waiting) {
            if feed.push(message.clone()) != Pushed::Taken {
                member.waiting.push_back(message);
            }
        }
        Ok(hold)
    }

    /// Closes a session's stream; what was not read waits for the next.
    pub(super) fn release(&mut self, session: SessionKey, hold: u64, unread: impl Iterator<Item = Bytes>, most: usize) {
        self.touch();
        let Some(member) = self.sessions.get_mut(&session) else { return };
        if member.stream.as_ref().is_some_and(|(open, _)| *open == hold) {
            member.stream = None;
        }
        for message in unread {
            if member.waiting.len() < most {
                member.waiting.push_back(message);
            }
        }
    }

    /// Puts a message on a session's own stream, or keeps it for the next one. Whether there was room.
    pub(super) fn give(&mut self, session: SessionKey, message: &Bytes, most: usize) -> bool {
        let Some(member) = self.sessions.get_mut(&session) else { return false };
        if let Some((_, feed)) = &member.stream {
            match feed.push(message.clone()) {
                Pushed::Taken => return true,
                Pushed::Full => return false,
                Pushed::Gone => {}
            }
        }
        // To be told twice of the same change is no news.
        if member.waiting.contains(message) {
            return true;
        }
        let room = member.waiting.len() < most;
        if room {
            member.waiting.push_back(message.clone());
        }
        room
    }

    /// Requests that something can be said about: neither handshakes nor held streams, nor what the client gave up.
    fn working(&self) -> impl DoubleEndedIterator<Item = (&u64, &Pending)> {
        let works = |pending: &Pending| matches!(pending.what, What::Call { .. }) && !pending.cancelled;
        self.exchanges.iter().filter(move |(_, pending)| works(pending))
    }

    /// The only request that works, if there is but one.
    fn only_working(&self) -> Option<(u64, &Pending)> {
        let mut working = self.working();
        working.next().filter(|_| working.next().is_none()).map(|(number, pending)| (*number, pending))
    }

    /// The one session that a message without an address can be for.
    pub(super) fn addressee(&self) -> Option<SessionKey> {
        let mut sessions = self.sessions.keys();
        if let (Some(session), None) = (sessions.next(), sessions.next()) {
            return Some(*session);
        }
        let mut working = self.working().map(|(_, pending)| pending.session);
        let first = working.next()??;
        working.all(|session| session == Some(first)).then_some(first)
    }

    /// The stream on which a session hears what may belong to one of its requests.
    pub(super) fn stream(&self, session: SessionKey) -> Stream {
        let own = Stream::Own(session);
        let on = |(number, pending): (&u64, &Pending)| Stream::Exchange(*number, Arc::clone(&pending.feed));
        let mut working = self.working().filter(|(_, pending)| pending.session == Some(session)).rev();
        match (working.next(), working.next()) {
            (None, _) => own,
            (Some(only), None) => on(only),
            // Which one is meant cannot be known: the session's own stream, where somebody reads it.
            (Some(latest), Some(_)) => {
                if self.is_open(session) {
                    own
                } else {
                    on(latest)
                }
            }
        }
    }

    /// The stream on which a session hears that something changed, which belongs to no request.
    pub(super) fn news_stream(&self, session: SessionKey) -> Stream {
        match self.only_working() {
            Some((number, pending)) if pending.session == Some(session) && !self.is_open(session) => {
                Stream::Exchange(number, Arc::clone(&pending.feed))
            }
            _ => Stream::Own(session),
        }
    }

    fn is_open(&self, session: SessionKey) -> bool {
        self.sessions.get(&session).is_some_and(|member| member.stream.is_some())
    }

    /// The request that a log message of the modern era can be about.
    pub(super) fn logging(&self) -> Option<(u64, Arc<Feed>)> {
        let (number, pending) = self.only_working()?;
        (pending.what == What::Call { logs: true }).then(|| (number, Arc::clone(&pending.feed)))
    }

    /// All sessions.
    pub(super) fn everybody(&self) -> Vec<SessionKey> {
        self.sessions.keys().copied().collect()
    }

    /// Notes that the peer asks a session something. Not where it asks too much, or the same again.
    pub(super) fn asks(&mut self, id: &[u8], session: SessionKey, most: usize, counters: &Arc<Counters>) -> bool {
        let room = self.questions.len() < most && self.asked(id).is_none();
        if room {
            self.questions.push(Question { id: Bytes::copy_from_slice(id), session, _open: counters.asked() });
        }
        room
    }

    /// Forgets what the peer asked.
    pub(super) fn forget_question(&mut self, id: &[u8]) {
        self.questions.retain(|question| !id::same(&question.id, id));
    }

    /// Whom the peer has asked this.
    pub(super) fn asked(&self, id: &[u8]) -> Option<SessionKey> {
        self.questions.iter().find(|question| id::same(&question.id, id)).map(|question| question.session)
    }

    /// A client's answer, with the id as the peer wrote it; `None` where the peer has not asked this client.
    pub(super) fn answered(&mut self, spoken: Spoken<'_>) -> Option<Bytes> {
        let id = spoken.message.id?;
        let raw = id.span.of(spoken.body);
        let at = self
            .questions
            .iter()
            .position(|question| Some(question.session) == spoken.session && id::same(&question.id, raw))?;
        let question = self.questions.swap_remove(at);
        Some(rewrite::replaced(spoken.body, id, &question.id))
    }

    /// A client's cancellation, with the id that the peer knows; `None` where nothing of that name runs.
    pub(super) fn cancelled(&mut self, spoken: Spoken<'_>) -> Option<Bytes> {
        let id = spoken.message.params.as_ref()?.request_id?;
        let raw = id.span.of(spoken.body);
        let (number, pending) = self
            .exchanges
            .iter_mut()
            .find(|(_, pending)| pending.session == spoken.session && id::same(&pending.id, raw))?;
        if pending.what == What::Initialize {
            return None;
        }
        pending.cancelled = true;
        Some(rewrite::replaced(spoken.body, id, number.to_string().as_bytes()))
    }

    /// Takes note of `resources/subscribe` and `resources/unsubscribe`. Whether the peer must be told.
    pub(super) fn subscription(&mut self, spoken: Spoken<'_>, most: usize) -> bool {
        let uri = spoken.message.params.as_ref().and_then(|params| params.uri);
        let (Some(session), Some(uri)) = (spoken.session, uri.and_then(|uri| uri.text(spoken.body))) else {
            return true;
        };
        if spoken.message.is(b"resources/subscribe", spoken.body) {
            if self.subscriptions.len() < most || self.subscriptions.contains_key(&*uri) {
                self.subscriptions.entry(uri.into()).or_default().insert(session);
            }
            return true;
        }
        let Some(sessions) = self.subscriptions.get_mut(&*uri) else { return true };
        sessions.remove(&session);
        let last = sessions.is_empty();
        if last {
            self.subscriptions.remove(&*uri);
        }
        last
    }

    /// Who wants to hear that a resource was updated: everybody who subscribed to it. Servers name a part of what was
    /// subscribed to as well; where that is nobody's own, only a session that has the channel for itself can be meant.
    pub(super) fn subscribers(&self, uri: &str) -> Vec<SessionKey> {
        match self.subscriptions.get(uri) {
            Some(sessions) => sessions.iter().copied().collect(),
            None => self.everybody().into_iter().filter(|_| self.sessions.len() == 1).collect(),
        }
    }
}
