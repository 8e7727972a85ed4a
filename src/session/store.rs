//! The legacy sessions of this node, in memory.
//!
//! A ticket is valid without the store; the store holds what a ticket cannot: what changes. So a session that is missing
//! here is [`Standing::Unknown`], not refused; only one that was ended on purpose is [`Standing::Ended`].
//!
//! Locks are taken in one order: shard, then the ended sessions or one session's state. Each change is put into the
//! journal's queue under the lock that guards it, so the journal has the order that memory had.

use super::before::Before;
use super::ended::Ended;
use super::journal::{Ack, Change, SessionRecord, Slot};
use super::left::{Kept, Left};
use super::limits::Limits;
use super::live::Session;
use arc_swap::{ArcSwap, Guard};
use foldhash::fast::RandomState;
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::ticket::SessionId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Enough that cores rarely meet at one lock; a power of two.
const SHARDS: usize = 64;

/// Sessions whose ids begin alike.
#[derive(Default)]
struct Shard {
    live: HashMap<SessionId, Arc<Session>, RandomState>,
    /// Of sessions that were given up. Under the same lock as those that live, so that no snapshot misses one on its way
    /// from here to there or back.
    left: Kept,
}

/// What the store counts. Plain atomics, read by whoever exports metrics.
#[derive(Debug, Default)]
pub struct StoreGauges {
    /// Live sessions.
    pub live: AtomicUsize,
    /// Ended sessions that are remembered.
    pub ended: AtomicUsize,
    /// Sessions refused because `limits.sessions` was reached.
    pub refused: AtomicU64,
    /// Sessions given up because nobody used them.
    pub idled: AtomicU64,
    /// Ended sessions forgotten before their time because `limits.ended_sessions` was reached.
    pub ends_lost: AtomicU64,
    /// Sessions whose log level and subscriptions were forgotten because `Limits::left_bytes` was reached.
    pub left_lost: AtomicU64,
}

/// What is known of a session id that a valid ticket carries.
#[derive(Debug)]
pub enum Standing {
    /// Here it is; it counts as used now.
    Live(Arc<Session>),
    /// It was ended on purpose: answer as if it had never existed.
    Ended,
    /// This node has no state of it: idle for long, lost, or minted elsewhere. Its ticket is still good.
    Unknown,
}

/// Why a session was not taken in.
#[derive(Debug)]
pub enum InsertFault {
    /// `limits.sessions` is reached and all are in use.
    Full,
    /// It was ended on purpose meanwhile.
    Ended,
    /// Somebody else was faster: use this one, and end the upstream sessions that were opened for the other.
    Exists(Arc<Session>),
}

/// Sessions by id.
pub struct Store {
    limits: ArcSwap<Limits>,
    shards: Box<[Mutex<Shard>]>,
    ended: Mutex<Ended>,
    gauges: StoreGauges,
    /// No session becomes idle before this: spares a full store from being searched at each refusal.
    idle_from: AtomicU64,
}

impl Store {
    /// An empty store.
    pub fn new(limits: Limits) -> Store {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Store {
            limits: ArcSwap::from_pointee(limits),
            shards,
            ended: Mutex::default(),
            gauges: StoreGauges::default(),
            idle_from: AtomicU64::new(0),
        }
    }

    /// What the store counts.
    pub fn gauges(&self) -> &StoreGauges {
        &self.gauges
    }

    /// The bounds of this store. The guard must not be held across an await.
    pub fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    /// Other bounds from now on; what exceeds them goes when its time comes.
    pub(super) fn set_limits(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
        self.idle_from.store(0, Relaxed);
    }

    /// Roughly how many bytes are held of sessions that were given up.
    pub fn left_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().left.bytes()).sum()
    }

    /// Looks a session up; one that is live counts as used now.
    pub fn get(&self, id: &SessionId, now: UnixMillis) -> Standing {
        let shard = self.shard(id).lock();
        if let Some(session) = shard.live.get(id) {
            session.touch(now);
            return Standing::Live(session.clone());
        }
        if self.ended.lock().contains(id) { Standing::Ended } else { Standing::Unknown }
    }

    /// What the client had set in a session that was given up.
    pub fn left(&self, id: &SessionId) -> Option<Left> {
        self.shard(id).lock().left.get(id).cloned()
    }

    /// Whether a session was ended on purpose.
    pub fn is_ended(&self, id: &SessionId) -> bool {
        !self.shard(id).lock().live.contains_key(id) && self.ended.lock().contains(id)
    }

    /// Takes a new session in, or one that was given up, with what its client had set.
    ///
    /// # Errors
    /// [`InsertFault`]. When it is `Full`, giving idle sessions up first may help: see [`Store::idle`].
    pub fn insert(
        &self,
        mut record: SessionRecord,
        now: UnixMillis,
        slot: Slot<'_>,
    ) -> Result<(Arc<Session>, Ack), InsertFault> {
        let mut shard = self.shard(&record.id).lock();
        if let Some(session) = shard.live.get(&record.id) {
            return Err(InsertFault::Exists(session.clone()));
        }
        if self.ended.lock().contains(&record.id) {
            return Err(InsertFault::Ended);
        }
        let most = self.limits().sessions;
        let room = |live| (live < most).then_some(live + 1);
        if self.gauges.live.fetch_update(Relaxed, Relaxed, room).is_err() {
            return Err(InsertFault::Full);
        }
        let left = shard.left.take(&record.id);
        if let (Before::Unknown(_), Some(left)) = (&record.before, &left) {
            record.before = left.before.clone();
        }
        let ack = slot.put(&Change::Opened(record.clone()));
        let session = Arc::new(Session::new(record, left.unwrap_or_default(), now));
        shard.live.insert(session.id(), session.clone());
        Ok((session, ack))
    }

    /// Ends a session for good, until its ticket expires. Returns it if it was live, for its streams and upstream
    /// sessions to be ended too. Ending twice changes nothing.
    pub fn end(
        &self,
        id: &SessionId,
        until: UnixMillis,
        now: UnixMillis,
        slot: Slot<'_>,
    ) -> (Option<Arc<Session>>, Ack) {
        let mut shard = self.shard(id).lock();
        let mut ended = self.ended.lock();
        if ended.contains(id) {
            return (None, Ack::nothing());
        }
        let lost = ended.remember(*id, until, now, self.limits().ended_sessions);
        self.gauges.ended.store(ended.len(), Relaxed);
        self.gauges.ends_lost.fetch_add(lost as u64, Relaxed);
        let session = self.take(&mut shard, id);
        shard.left.take(id);
        (session, slot.put(&Change::Ended { id: *id, until }))
    }

    /// The sessions that nobody has used for `session_idle`, or whose tickets have expired; ended sessions whose tickets
    /// have expired are forgotten, and recorded events whose time is over dropped.
    pub fn idle(&self, now: UnixMillis) -> Vec<SessionId> {
        let mut ended = self.ended.lock();
        ended.expire(now);
        self.gauges.ended.store(ended.len(), Relaxed);
        drop(ended);
        let mut idle = Vec::new();
        let mut oldest = now;
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.left.expire(now);
            for session in shard.live.values() {
                if let Some(recorder) = session.recorder_if_any() {
                    recorder.expire();
                }
                if self.is_idle(session, now) {
                    idle.push(session.id());
                } else {
                    oldest = oldest.min(session.last_used());
                }
            }
        }
        if idle.is_empty() {
            self.idle_from.store(oldest.plus(self.idle_millis()).0, Relaxed);
        }
        idle
    }

    /// Whether there is room for another session.
    pub fn has_room(&self) -> bool {
        self.gauges.live.load(Relaxed) < self.limits().sessions
    }

    /// Whether [`Store::idle`] may find something now.
    pub fn may_have_idle(&self, now: UnixMillis) -> bool {
        now.0 >= self.idle_from.load(Relaxed)
    }

    /// Gives a session up if it still is idle, so that its upstream sessions can be ended. Its ticket stays valid, and what
    /// its client set is kept.
    pub fn forget_if_idle(&self, id: &SessionId, now: UnixMillis, slot: Slot<'_>) -> Option<(Arc<Session>, Ack)> {
        let mut shard = self.shard(id).lock();
        if !self.is_idle(shard.live.get(id)?, now) {
            return None;
        }
        let session = self.give_up(&mut shard, id, now)?;
        self.gauges.idled.fetch_add(1, Relaxed);
        Some((session, slot.put(&Change::Forgotten { id: *id })))
    }

    /// Looks a session up without using it.
    pub fn peek(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.shard(id).lock().live.get(id).cloned()
    }

    /// Gives a session up that is another node's, whoever uses it, so that its upstream sessions can be ended.
    pub fn forget(&self, id: &SessionId, now: UnixMillis, slot: Slot<'_>) -> Option<(Arc<Session>, Ack)> {
        let session = self.give_up(&mut self.shard(id).lock(), id, now)?;
        Some((session, slot.put(&Change::Forgotten { id: *id })))
    }

    /// Every change that makes this store again.
    pub fn changes(&self, emit: &mut dyn FnMut(&Change)) {
        let ended: Vec<_> = self.ended.lock().iter().collect();
        for (id, until) in ended {
            emit(&Change::Ended { id, until });
        }
        for shard in &self.shards {
            let mut changes = Vec::new();
            let shard = shard.lock();
            for session in shard.live.values() {
                session.changes(&mut |change| changes.push(change.clone()));
            }
            for (id, until, left) in shard.left.iter() {
                let uris = left.subscriptions.iter().cloned().collect();
                changes.push(Change::Left { id, until, level: left.log_level, uris, before: left.before.clone() });
            }
            // Whoever takes them may write a file.
            drop(shard);
            changes.iter().for_each(&mut *emit);
        }
    }

    /// Applies a change read from a journal. What has expired, exceeds a limit or concerns no live session is left out.
    pub fn replay(&self, change: Change, now: UnixMillis) {
        match change {
            Change::Opened(record) if record.expires > now => {
                self.take(&mut self.shard(&record.id).lock(), &record.id);
                if let Err(InsertFault::Full) = self.insert(record, now, Slot::none()) {
                    self.gauges.refused.fetch_add(1, Relaxed);
                }
            }
            Change::Opened(_) => {}
            Change::Ended { id, until } => drop(self.end(&id, until, now, Slot::none())),
            Change::Forgotten { id } => drop(self.give_up(&mut self.shard(&id).lock(), &id, now)),
            Change::Left { id, until, level, uris, before } if until > now => {
                let left = Left { log_level: level, subscriptions: uris.into_iter().collect(), before };
                self.keep(&mut self.shard(&id).lock(), id, until, left);
            }
            Change::Left { .. } => {}
            // A fault here means that a limit was lowered since: the rest of the session is still good.
            Change::Bound { id, backend, upstream } => {
                self.on_live(&id, |session| drop(session.bind(&backend, upstream, Slot::none())));
            }
            Change::Unbound { id, backend } => {
                self.on_live(&id, |session| drop(session.leave(&backend, Slot::none())));
            }
            Change::Losses { id, before, unmarked } => {
                self.on_live(&id, |session| session.replace_losses(before, unmarked));
            }
            Change::LogLevel { id, level } => {
                self.on_live(&id, |session| drop(session.set_log_level(level, Slot::none())));
            }
            Change::Subscribed { id, uri } => {
                self.on_live(&id, |session| drop(session.subscribe(&uri, &self.limits(), Slot::none())));
            }
            Change::Unsubscribed { id, uri } => {
                self.on_live(&id, |session| drop(session.unsubscribe(&uri, Slot::none())));
            }
        }
    }

    fn on_live(&self, id: &SessionId, change: impl FnOnce(&Session)) {
        if let Some(session) = self.shard(id).lock().live.get(id) {
            change(session);
        }
    }

    /// Takes a session out of memory, but for what its client set.
    fn give_up(&self, shard: &mut Shard, id: &SessionId, now: UnixMillis) -> Option<Arc<Session>> {
        let session = self.take(shard, id)?;
        if session.expires() > now {
            self.keep(shard, *id, session.expires(), session.left());
        }
        Some(session)
    }

    fn keep(&self, shard: &mut Shard, id: SessionId, until: UnixMillis, left: Left) {
        let lost = shard.left.put(id, until, left, self.limits().left_bytes / SHARDS);
        self.gauges.left_lost.fetch_add(lost as u64, Relaxed);
    }

    fn take(&self, shard: &mut Shard, id: &SessionId) -> Option<Arc<Session>> {
        let session = shard.live.remove(id)?;
        self.gauges.live.fetch_sub(1, Relaxed);
        session.retire();
        Some(session)
    }

    /// Called under the shard's lock: nobody can begin to use the session meanwhile.
    fn is_idle(&self, session: &Arc<Session>, now: UnixMillis) -> bool {
        if Arc::strong_count(session) > 1 {
            session.touch(now);
            return false;
        }
        session.expires() <= now || session.last_used().plus(self.idle_millis()) <= now
    }

    fn idle_millis(&self) -> u64 {
        u64::try_from(self.limits().session_idle.as_millis()).unwrap_or(u64::MAX)
    }

    /// Ids are random, so their first byte spreads them as well as any hash.
    fn shard(&self, id: &SessionId) -> &Mutex<Shard> {
        &self.shards[usize::from(id.0[0]) % SHARDS]
    }
}

#[cfg(test)]
mod tests;
