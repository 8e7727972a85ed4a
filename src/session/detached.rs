//! Exchanges that go on although their client has left, and how many there may be.
//!
//! In the legacy era a disconnect cancels nothing (2025-11-25, "Sending Messages to the Server"): the backend comes to its
//! answer, which nobody gets. Each such exchange holds a task, a connection to the backend and the request's body, and a
//! client that sends and leaves in a loop could pile up any number of them. So they are counted here: beyond what one
//! session may have, its oldest are cancelled after all; beyond what all may have together, the newest is, so that nobody
//! can crowd out the others.
//!
//! Event streams are counted by their recorder ([`super::streams`]), since their clients may come back for them.

use super::limits::DetachedLimits;
use arc_swap::{ArcSwap, Guard};
use lockgate_filters::ticket::SessionId;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// What goes on without a client, of all sessions.
#[derive(Debug)]
pub struct Detached {
    limits: ArcSwap<DetachedLimits>,
    ledger: Mutex<Ledger>,
    given_up: AtomicU64,
}

#[derive(Debug, Default)]
struct Ledger {
    sessions: HashMap<SessionId, VecDeque<Entry>>,
    held: Cost,
    numbered: u64,
}

/// What something that goes on takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Exchanges with a backend, at once.
    pub exchanges: usize,
    /// Bytes of request bodies.
    pub bytes: usize,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    cost: Cost,
    task: AbortHandle,
}

impl Detached {
    /// Nothing goes on yet.
    pub fn new(limits: DetachedLimits) -> Detached {
        Detached { limits: ArcSwap::from_pointee(limits), ledger: Mutex::default(), given_up: AtomicU64::new(0) }
    }

    /// Other bounds from now on; what exceeds them goes when its time comes.
    pub(super) fn set_limits(&self, limits: DetachedLimits) {
        self.limits.store(Arc::new(limits));
    }

    /// The bounds.
    pub fn limits(&self) -> Guard<Arc<DetachedLimits>> {
        self.limits.load()
    }

    /// Lets `work` of a session go on by itself, for as long as `replay_time`; where there is no room, it is dropped.
    pub fn let_go_on(
        self: &Arc<Self>,
        session: SessionId,
        cost: Cost,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let limits = self.limits();
        let mut ledger = self.ledger.lock();
        let crowded = cost.exchanges > limits.session || !ledger.has_room(cost, &limits);
        let others = if crowded { Vec::new() } else { ledger.make_room(session, cost, limits.session) };
        if !crowded {
            ledger.numbered += 1;
            let number = ledger.numbered;
            let place = Place { detached: Arc::clone(self), session, number };
            let time = limits.time;
            let task = tokio::spawn(async move {
                let _place = place;
                // What takes longer is cancelled, like a stream that nobody comes back for.
                let _ = timeout(time, work).await;
            });
            ledger.add(session, Entry { number, cost, task: task.abort_handle() });
        }
        drop(ledger);
        self.cancel(&others);
        self.given_up.fetch_add(crowded.into(), Relaxed);
    }

    /// Cancels everything that goes on of a session: the session was ended.
    pub(super) fn end(&self, session: &SessionId) {
        let ended = self.ledger.lock().take_all(session);
        for task in ended {
            task.abort();
        }
    }

    /// What goes on now.
    pub fn held(&self) -> Cost {
        self.ledger.lock().held
    }

    /// How many were cancelled for want of room, since the start.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Relaxed)
    }

    fn cancel(&self, tasks: &[AbortHandle]) {
        tasks.iter().for_each(AbortHandle::abort);
        self.given_up.fetch_add(tasks.len() as u64, Relaxed);
    }
}

impl Ledger {
    fn has_room(&self, cost: Cost, limits: &DetachedLimits) -> bool {
        self.held.exchanges + cost.exchanges <= limits.total
            && self.held.bytes.saturating_add(cost.bytes) <= limits.bytes
    }

    /// Takes out as many of a session's oldest as must go for something of this cost.
    fn make_room(&mut self, session: SessionId, cost: Cost, most: usize) -> Vec<AbortHandle> {
        let Some(entries) = self.sessions.get_mut(&session) else { return Vec::new() };
        let mut exchanges: usize = entries.iter().map(|entry| entry.cost.exchanges).sum();
        let mut gone = Vec::new();
        while exchanges + cost.exchanges > most
            && let Some(oldest) = entries.pop_front()
        {
            exchanges -= oldest.cost.exchanges;
            self.held.less(oldest.cost);
            gone.push(oldest.task);
        }
        gone
    }

    fn add(&mut self, session: SessionId, entry: Entry) {
        self.held.exchanges += entry.cost.exchanges;
        self.held.bytes += entry.cost.bytes;
        self.sessions.entry(session).or_default().push_back(entry);
    }

    fn remove(&mut self, session: &SessionId, number: u64) {
        let Some(entries) = self.sessions.get_mut(session) else { return };
        if let Some(at) = entries.iter().position(|entry| entry.number == number)
            && let Some(entry) = entries.remove(at)
        {
            self.held.less(entry.cost);
        }
        if entries.is_empty() {
            self.sessions.remove(session);
        }
    }

    fn take_all(&mut self, session: &SessionId) -> Vec<AbortHandle> {
        let entries = self.sessions.remove(session).unwrap_or_default();
        let take = |entry: Entry| {
            self.held.less(entry.cost);
            entry.task
        };
        entries.into_iter().map(take).collect()
    }
}

impl Cost {
    fn less(&mut self, other: Cost) {
        self.exchanges -= other.exchanges;
        self.bytes -= other.bytes;
    }
}

/// The place of something that goes on, given back however it ends.
struct Place {
    detached: Arc<Detached>,
    session: SessionId,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.detached.ledger.lock().remove(&self.session, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::time::Duration;
    use tokio::sync::oneshot;
    use tokio::time::sleep;

    const ONE: Cost = Cost { exchanges: 1, bytes: 10 };

    fn detached(limits: DetachedLimits) -> Arc<Detached> {
        Arc::new(Detached::new(limits))
    }

    fn session(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    /// Lets something go on that never ends; the receiver fails once it is gone.
    fn endless(detached: &Arc<Detached>, session: SessionId, cost: Cost) -> oneshot::Receiver<()> {
        let (held, gone) = oneshot::channel();
        detached.let_go_on(session, cost, async move {
            let _held: oneshot::Sender<()> = held;
            pending::<()>().await;
        });
        gone
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_done_and_its_place_given_back() {
        let detached = detached(DetachedLimits::default());
        let (done, is_done) = oneshot::channel();
        detached.let_go_on(session(1), ONE, async move {
            sleep(Duration::from_secs(60)).await;
            let _ = done.send(());
        });
        assert_eq!(detached.held(), ONE);
        assert_eq!(is_done.await, Ok(()));
        tokio::task::yield_now().await;
        assert_eq!((detached.held(), detached.given_up()), (Cost::default(), 0));
        assert!(detached.ledger.lock().sessions.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_when_its_time_is_over() {
        let detached = detached(DetachedLimits::default());
        let gone = endless(&detached, session(1), ONE);
        assert!(gone.await.is_err());
        assert_eq!(tokio::time::Instant::now().elapsed(), Duration::ZERO);
        tokio::task::yield_now().await;
        assert_eq!(detached.held(), Cost::default());
    }

    #[tokio::test]
    async fn a_session_gives_its_oldest_up() {
        let detached = detached(DetachedLimits { session: 2, ..DetachedLimits::default() });
        let oldest = endless(&detached, session(1), ONE);
        let mut second = endless(&detached, session(1), ONE);
        let mut other = endless(&detached, session(2), ONE);
        let mut third = endless(&detached, session(1), ONE);
        assert!(oldest.await.is_err());
        for kept in [&mut second, &mut other, &mut third] {
            assert_eq!(kept.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        }
        assert_eq!((detached.held().exchanges, detached.given_up()), (3, 1));
        let batch = endless(&detached, session(1), Cost { exchanges: 2, bytes: 0 });
        assert!(second.await.is_err() && third.await.is_err());
        assert_eq!(detached.held(), Cost { exchanges: 3, bytes: 10 });
        assert!(
            endless(&detached, session(1), Cost { exchanges: 3, bytes: 0 }).await.is_err(),
            "more than a session has"
        );
        drop(batch);
    }

    #[tokio::test]
    async fn all_together_give_the_newest_up() {
        let limits = DetachedLimits { total: 2, bytes: 25, ..DetachedLimits::default() };
        let detached = detached(limits.clone());
        let mut kept = endless(&detached, session(1), ONE);
        assert!(endless(&detached, session(2), Cost { exchanges: 1, bytes: 16 }).await.is_err(), "too many bytes");
        let mut also = endless(&detached, session(2), ONE);
        assert!(endless(&detached, session(3), Cost { exchanges: 1, bytes: 0 }).await.is_err(), "too many");
        assert_eq!(detached.given_up(), 2);
        detached.set_limits(DetachedLimits { total: 3, ..limits });
        let mut more = endless(&detached, session(3), Cost { exchanges: 1, bytes: 5 });
        for kept in [&mut kept, &mut also, &mut more] {
            assert_eq!(kept.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        }
    }

    #[tokio::test]
    async fn the_end_of_a_session_ends_what_goes_on_of_it() {
        let detached = detached(DetachedLimits::default());
        let (one, two) = (endless(&detached, session(1), ONE), endless(&detached, session(1), ONE));
        let mut other = endless(&detached, session(2), ONE);
        detached.end(&session(1));
        assert!(one.await.is_err() && two.await.is_err());
        assert_eq!(other.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert_eq!((detached.held(), detached.given_up()), (ONE, 0));
    }
}
