//! Stopping without losing anything.
//!
//! A stop goes through three phases:
//!
//! 1. **Draining**: readiness fails, nobody new is accepted, every HTTP/1.1 answer says `Connection: close`, HTTP/2
//!    connections get a GOAWAY, held streams end themselves in protocol form. Idle connections stay open for a while: a
//!    request that is already on its way to us over one of them still gets its answer.
//! 2. **Closing**: nothing is in flight any more, or the time is nearly over: idle connections are closed, and whatever
//!    still runs says its last words.
//! 3. The process exits; a second signal makes it exit at once.

mod signals;

pub use signals::{StopAfter, StopSignals};

use parking_lot::Mutex;
use pingora_core::server::ShutdownWatch;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// What is kept of the drain time for last words, unless the drain time is shorter than ten times as much.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a stop may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// From the signal to the end of the last exchange (`drain.time`, default 30 s).
    pub time: Duration,
    /// How long idle connections are kept for requests that are already on their way, from the signal or from the end of
    /// the last answer on them (`drain.idle`, default 5 s); never longer than `time`. An interrupt from a terminal does not wait for them.
    pub idle: Duration,
}

impl Default for DrainSettings {
    fn default() -> DrainSettings {
        DrainSettings { time: Duration::from_secs(30), idle: Duration::from_secs(5) }
    }
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No stop has been asked for.
    Serving,
    /// What is in flight is finished; nothing new is accepted.
    Draining,
    /// What is left is ended.
    Closing,
}

/// The one handle on stopping, shared by listeners, hooks and the signal handler.
#[derive(Clone, Debug)]
pub struct Drain(Arc<State>);

#[derive(Debug)]
struct State {
    phase: watch::Sender<Phase>,
    /// Whether the last phase has begun: to be read without a lock.
    closing: AtomicBool,
    /// Tells whoever serves requests that it has.
    closed: Notify,
    /// The form in which Pingora wants to know: HTTP/2 connections and its own keep-alive decision read it.
    going_away: watch::Sender<bool>,
    requests: Count,
    connections: Count,
    doors: Count,
    /// When the last answer ended on a connection that its client may use again, since the stop began.
    kept: Mutex<Option<Instant>>,
}

/// A number that can be waited for to become zero.
#[derive(Debug, Default)]
struct Count {
    number: AtomicUsize,
    emptied: Notify,
}

impl Count {
    fn leave(&self) {
        if self.number.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
    }

    async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Registered before the number is read, so that the last one leaving in between is not missed.
            emptied.as_mut().enable();
            if self.number.load(Ordering::Acquire) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// A request in flight; dropping it says that the request is over.
#[derive(Debug)]
pub struct InFlight(Arc<State>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.requests.leave();
    }
}

/// An open client connection; dropping it says that the connection is gone.
#[derive(Debug)]
pub struct OpenConnection(Arc<State>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.leave();
    }
}

/// A socket through which connections may still come in; dropping it says that it is closed.
#[derive(Debug)]
pub struct OpenDoor(Arc<State>);

impl Drop for OpenDoor {
    fn drop(&mut self) {
        self.0.doors.leave();
    }
}

impl Default for Drain {
    fn default() -> Drain {
        Drain::new()
    }
}

impl Drain {
    /// Nothing is stopping yet.
    pub fn new() -> Drain {
        Drain(Arc::new(State {
            phase: watch::Sender::new(Phase::Serving),
            closing: AtomicBool::new(false),
            closed: Notify::new(),
            going_away: watch::Sender::new(false),
            requests: Count::default(),
            connections: Count::default(),
            doors: Count::default(),
            kept: Mutex::new(None),
        }))
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        self.0.requests.number.fetch_add(1, Ordering::AcqRel);
        InFlight(self.0.clone())
    }

    /// Counts a client connection as open until the guard is dropped.
    pub fn connected(&self) -> OpenConnection {
        self.0.connections.number.fetch_add(1, Ordering::AcqRel);
        OpenConnection(self.0.clone())
    }

    /// Says that connections may still come in, until the guard is dropped.
    pub fn opened_door(&self) -> OpenDoor {
        self.0.doors.number.fetch_add(1, Ordering::AcqRel);
        OpenDoor(self.0.clone())
    }

    /// Requests in flight, for metrics.
    pub fn in_flight(&self) -> usize {
        self.0.requests.number.load(Ordering::Acquire)
    }

    /// Open client connections, for metrics.
    pub fn connections(&self) -> usize {
        self.0.connections.number.load(Ordering::Acquire)
    }

    /// How far a stop has come.
    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// Whether a stop has begun: readiness fails, answers should end their connection.
    pub fn is_draining(&self) -> bool {
        self.phase() != Phase::Serving
    }

    /// Ends when a stop begins. Held streams that a client re-opens elsewhere should end themselves then.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Ends when what is left must go: idle connections close, unfinished exchanges answer that they will not finish.
    pub async fn closing(&self) {
        self.reached(Phase::Closing).await;
    }

    /// As [`Drain::closing`], at no cost for a request that ends before: it wakes nobody. Whoever serves requests has to
    /// see to it that their task is polled again then, by [`Drain::stir`].
    pub async fn last_words(&self) {
        poll_fn(|_| if self.0.closing.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// What [`Drain::stir`] needs, for as long as the task is to be woken.
    pub fn notice(&self) -> Notified<'_> {
        self.0.closed.notified()
    }

    /// Has the task that calls this polled again when what is left must go: for [`Drain::last_words`].
    pub async fn stir(mut notice: Pin<&mut Notified<'_>>) {
        poll_fn(|cx| {
            // Registered by this, or over already: then whoever looks finds it so.
            let _ = notice.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Turns true when a stop begins: what Pingora's connection handling wants to be given.
    ///
    /// Pingora waits for a change. To whoever asks when the stop has begun already, that is one too.
    pub fn shutdown_watch(&self) -> ShutdownWatch {
        let mut watch = self.0.going_away.subscribe();
        if *watch.borrow() {
            watch.mark_changed();
        }
        watch
    }

    /// Says that an answer has ended on a connection that stays open. While a stop is under way it is idle from now on,
    /// and has an idle connection's time: its client was told that it may send another request. To be called while the
    /// request still counts as in flight.
    pub fn kept(&self) {
        if self.is_draining() {
            *self.0.kept.lock() = Some(Instant::now());
        }
    }

    /// Begins a stop. Does nothing if one has begun.
    pub fn begin(&self) {
        self.advance(Phase::Draining);
        self.0.going_away.send_if_modified(|gone| !std::mem::replace(gone, true));
    }

    /// Ends what is left of a stop, without waiting for it.
    pub fn close(&self) {
        self.begin();
        // Before anybody is woken to look.
        self.0.closing.store(true, Ordering::Release);
        self.advance(Phase::Closing);
        self.0.closed.notify_waiters();
    }

    /// Ends when no client connection is open.
    pub async fn no_connections(&self) {
        self.0.connections.empty().await;
    }

    /// Stops: begins, waits until nothing is in flight and idle connections had their time, closes, waits for last words.
    /// Takes `settings.time` at the most.
    pub async fn run(&self, settings: DrainSettings) {
        self.begin();
        let last_words = LAST_WORDS.min(settings.time / 10);
        let now = Instant::now();
        let (until, idle_until) = (now + (settings.time - last_words), now + settings.idle);
        let finished = async {
            self.0.doors.empty().await;
            loop {
                self.0.requests.empty().await;
                let kept = *self.0.kept.lock();
                let idle_until = kept.map_or(idle_until, |at| idle_until.max(at + settings.idle));
                tokio::select! {
                    () = self.no_connections() => return,
                    () = sleep_until(idle_until) => {}
                }
                // Whatever came meanwhile is finished, and its connection has its time as well.
                if self.in_flight() == 0 && *self.0.kept.lock() == kept {
                    return;
                }
            }
        };
        if timeout_at(until, finished).await.is_err() {
            tracing::warn!(requests = self.in_flight(), connections = self.connections(), "the drain time is over");
        }
        self.close();
        let gone = async {
            self.no_connections().await;
            self.0.requests.empty().await;
        };
        // Whoever is still here had the whole drain time.
        let _ = timeout(last_words, gone).await;
    }

    fn advance(&self, to: Phase) {
        self.0.phase.send_if_modified(|phase| {
            let later = *phase < to;
            if later {
                *phase = to;
            }
            later
        });
    }

    async fn reached(&self, phase: Phase) {
        // The sender lives as long as this handle, so the wait cannot fail.
        let _ = self.0.phase.subscribe().wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests;
