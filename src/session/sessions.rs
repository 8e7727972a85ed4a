//! The session room's front: sessions in memory and their journal as one.
//!
//! Every change here is applied in memory and in the journal in the same order, and returns only when the journal has
//! it. So whatever a client was answered survives `kill -9`. Where there is no journal, or it cannot be written, sessions
//! go on in memory; [`JournalGauges::lost`](super::journal::JournalGauges) counts what that may cost.

use super::detached::Detached;
use super::journal::{Ack, Journal, SessionRecord, Slot};
#[cfg(test)]
use super::left::Left;
use super::level::LogLevel;
use super::limits::Limits;
use super::live::{Displaced, Gone, Loss, Session, SubscribeFault, Whose};
use super::notices::Notices;
use super::store::{InsertFault, Standing, Store};
use super::streams::{Recorder, ReplayBudget};
use super::upstream_session::UpstreamSession;
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::ticket::SessionId;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The legacy sessions of this node.
pub struct Sessions {
    store: Arc<Store>,
    journal: Option<Journal>,
    budget: Arc<ReplayBudget>,
    detached: Arc<Detached>,
    notices: Arc<Notices>,
}

impl Sessions {
    /// Sessions in this store, written through to this journal.
    pub(super) fn new(store: Arc<Store>, journal: Option<Journal>) -> Sessions {
        let budget = Arc::new(ReplayBudget::new(store.limits().replay.clone()));
        let detached = Arc::new(Detached::new(store.limits().detached.clone()));
        Sessions { store, journal, budget, detached, notices: Arc::default() }
    }

    /// The sessions in memory, for looking up and counting.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The journal; `None` when nothing is kept.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// What all recorders together hold.
    pub fn replay_budget(&self) -> &ReplayBudget {
        &self.budget
    }

    /// What goes on without its client.
    pub fn detached(&self) -> &Arc<Detached> {
        &self.detached
    }

    /// Notifications on their way to backends.
    pub fn notices(&self) -> &Arc<Notices> {
        &self.notices
    }

    /// Other bounds from now on, as after a reload; what exceeds them goes when its time comes.
    pub fn set_limits(&self, limits: Limits) {
        self.budget.set_limits(limits.replay.clone());
        self.detached.set_limits(limits.detached.clone());
        self.store.set_limits(limits);
    }

    /// Looks a session up; one that is live counts as used now.
    pub fn get(&self, id: &SessionId, now: UnixMillis) -> Standing {
        self.store.get(id, now)
    }

    /// What the client had set in a session that was given up for idleness.
    #[cfg(test)]
    pub(super) fn left(&self, id: &SessionId) -> Option<Left> {
        self.store.left(id)
    }

    /// The recorder of a session's streams.
    pub fn recorder<'s>(&self, session: &'s Session) -> &'s Arc<Recorder> {
        session.recorder(|| Arc::new(Recorder::new(self.budget.clone())))
    }

    /// Takes a new session in, or one that this node had given up or lost. What its client had set comes back with it, as
    /// far as this node has it. When there is no room, idle sessions are given up
    /// first: they come back second, for their upstream sessions to be ended.
    ///
    /// # Errors
    /// [`InsertFault`]; idle sessions given up in vain come back there too.
    pub async fn insert(
        &self,
        record: SessionRecord,
        now: UnixMillis,
    ) -> (Result<Arc<Session>, InsertFault>, Vec<Arc<Session>>) {
        let mut inserted = self.store.insert(record.clone(), now, self.slot().await);
        let mut given_up = Vec::new();
        if matches!(inserted, Err(InsertFault::Full)) && self.store.may_have_idle(now) {
            given_up = self.sweep(now).await;
            inserted = self.store.insert(record, now, self.slot().await);
        }
        if matches!(inserted, Err(InsertFault::Full)) {
            self.store.gauges().refused.fetch_add(1, Relaxed);
        }
        match inserted {
            Ok((session, ack)) => {
                ack.written().await;
                (Ok(session), given_up)
            }
            Err(fault) => (Err(fault), given_up),
        }
    }

    /// Ends a session for good, until its ticket expires. Returns it if it was live: its streams and what goes on without
    /// its client are ended, its upstream sessions are the caller's to end.
    pub async fn end(&self, id: &SessionId, until: UnixMillis, now: UnixMillis) -> Option<Arc<Session>> {
        let (session, ack) = self.store.end(id, until, now, self.slot().await);
        // Behind it: what a request that saw the session alive has left until now is among it.
        self.detached.end(id);
        ack.written().await;
        session
    }

    /// Whether there is room for one more session, before a backend is asked to open one. Idle sessions are given up for
    /// it: they come back second, for their upstream sessions to be ended.
    pub async fn make_room(&self, now: UnixMillis) -> (bool, Vec<Arc<Session>>) {
        let mut given_up = Vec::new();
        if !self.store.has_room() && self.store.may_have_idle(now) {
            given_up = self.sweep(now).await;
        }
        let room = self.store.has_room();
        if !room {
            self.store.gauges().refused.fetch_add(1, Relaxed);
        }
        (room, given_up)
    }

    /// Records what a backend gave a session that was opened there: it takes the place of what was before. Returns what the
    /// session had at another backend where it had too many: that is the caller's to end.
    ///
    /// # Errors
    /// [`Gone`] when the session was ended or given up meanwhile.
    pub async fn bind(
        &self,
        session: &Session,
        backend: &Arc<str>,
        upstream: UpstreamSession,
        loss: Loss,
    ) -> Result<Option<Displaced>, Gone> {
        session.renew(backend, loss);
        let (ack, displaced) = session.bind(backend, upstream, self.slot().await)?;
        ack.written().await;
        Ok(displaced)
    }

    /// Records that a backend has lost a session, which is not to be opened again before it is needed.
    ///
    /// # Errors
    /// [`Gone`] when the session was ended or given up meanwhile.
    pub async fn leave(&self, session: &Session, backend: &Arc<str>) -> Result<(), Gone> {
        written(session.leave(backend, self.slot().await)).await
    }

    /// Records that the client hears of what was lost at a backend: what is opened there begins anew.
    pub async fn told_anew(&self, session: &Session, backend: &Arc<str>) {
        if session.begins_anew(backend) {
            session.told_anew(backend, self.slot().await).written().await;
        }
    }

    /// Records that a session is lost at a backend, and that its client has not heard of it. To be called before
    /// [`Sessions::leave`], so that nothing in between hides it.
    pub async fn lost_unheard(&self, session: &Session, backend: &Arc<str>) {
        session.lost_unheard(backend, self.slot().await).written().await;
    }

    /// Records that the next result of a backend is to say that its session was opened again. To be called before
    /// [`Sessions::bind`], so that nothing in between hides it.
    pub async fn to_be_marked(&self, session: &Session, backend: &Arc<str>) {
        session.to_be_marked(backend, self.slot().await).written().await;
    }

    /// Records that a result has said so. Unlike any other change this one is not waited for: where it is not written, the next
    /// process says it once more.
    pub fn was_marked(&self, session: &Session, backend: &str) {
        let slot = self.journal.as_ref().map_or(Slot::none(), Journal::try_reserve);
        drop(session.was_marked(backend, slot));
    }

    /// Sets a session's log level.
    ///
    /// # Errors
    /// [`Gone`] when the session was ended or given up meanwhile.
    pub async fn set_log_level(&self, session: &Session, level: LogLevel) -> Result<(), Gone> {
        written(session.set_log_level(level, self.slot().await)).await
    }

    /// Subscribes a session to a resource; doing so twice changes nothing.
    ///
    /// # Errors
    /// [`SubscribeFault`] when the session is gone or has too many.
    pub async fn subscribe(&self, session: &Session, uri: &str) -> Result<(), SubscribeFault> {
        let slot = self.slot().await;
        let subscribed = session.subscribe(uri, &self.store.limits(), slot);
        written(subscribed).await
    }

    /// Notes whose a resource is that a session is subscribed to, within `limits.subscription_bytes`.
    pub fn belongs(&self, session: &Session, uri: &str, whose: Whose) {
        session.belongs(uri, whose, &self.store.limits());
    }

    /// Gives a subscription up; one that does not exist is no fault.
    ///
    /// # Errors
    /// [`Gone`] when the session was ended or given up meanwhile.
    pub async fn unsubscribe(&self, session: &Session, uri: &str) -> Result<(), Gone> {
        written(session.unsubscribe(uri, self.slot().await)).await
    }

    /// Gives idle sessions up and forgets what has expired. To be called now and then; returns the sessions that were
    /// given up, for their upstream sessions to be ended. Their tickets stay valid.
    pub async fn sweep(&self, now: UnixMillis) -> Vec<Arc<Session>> {
        let mut given_up = Vec::new();
        let mut last = Ack::nothing();
        for id in self.store.idle(now) {
            if let Some((session, ack)) = self.store.forget_if_idle(&id, now, self.slot().await) {
                given_up.push(session);
                last = ack;
            }
        }
        // Acks come in order: with the last, all are written.
        last.written().await;
        if let Some(journal) = &self.journal {
            journal.nudge();
        }
        given_up
    }

    /// Gives a session up that is another node's: see [`Store::forget`].
    pub async fn forget(&self, id: &SessionId, now: UnixMillis) -> Option<Arc<Session>> {
        let (session, ack) = self.store.forget(id, now, self.slot().await)?;
        ack.written().await;
        Some(session)
    }

    /// Makes everything durable and stops writing. Later changes stay in memory.
    pub async fn close(&self) {
        if let Some(journal) = &self.journal {
            journal.close().await;
        }
    }

    async fn slot(&self) -> Slot<'_> {
        match &self.journal {
            Some(journal) => journal.reserve().await,
            None => Slot::none(),
        }
    }
}

async fn written<E>(changed: Result<Ack, E>) -> Result<(), E> {
    changed?.written().await;
    Ok(())
}
