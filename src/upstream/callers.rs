//! What a backend offers single callers, where it tells them apart by fields of their requests: read when it is needed, with
//! their own fields, and kept for a while under a digest of these. The fields themselves are forgotten.

use super::control::Control;
use super::fault::{AttemptFault, FaultKind};
use super::fetch::Fetcher;
use super::inventory;
use super::live::LiveBackend;
use super::watch::{PATIENCE, Watched, now};
use http::HeaderMap;
use lockgate_filters::federate::{Audience, Inventory};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

/// The shortest and the longest time for which a caller's lists are kept, whatever the backend says.
const KEPT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(300));
/// How long a caller whose lists could not be read is not tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The shortest time between two readings for one caller, however often the backend says that something changed.
const SPACING: Duration = Duration::from_millis(500);
/// After how long without a request a caller's lists are forgotten.
const IDLE: Duration = Duration::from_secs(600);
/// How many callers' lists are read of one backend at a time.
pub(super) const READINGS: usize = 8;
/// How many more readings of one backend wait for their turn. Beyond it nobody is read: a backend that takes its time for each
/// of many callers has a queue that is short enough for its end to be worth waiting for.
pub(super) const WAITING: usize = 32;
/// How long a reading waits for its turn at most that nobody waits for.
const TURN: Duration = Duration::from_secs(5);
/// How many callers of one backend are remembered of whom nothing is known: they are being read, or could not be. They take no
/// room from those whose lists are known; more than are read at a time, so that there is always one that can go.
const UNKNOWN: usize = 4 * (READINGS + WAITING);
/// What a caller counts for at least, in bytes.
const LEAST_BYTES: usize = 16 * 1024;

/// How many callers' lists are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerLimits {
    /// Callers of one backend.
    pub callers: usize,
    /// The bytes of all lists of all callers: half for what backends listed, half for what virtual servers show of it.
    pub bytes: usize,
}

impl Default for CallerLimits {
    fn default() -> CallerLimits {
        CallerLimits { callers: 64, bytes: 128 << 20 }
    }
}

/// Which backend, and who calls.
type Key = (u64, Audience);
type Slots = HashMap<Key, Arc<Slot>>;

/// The lists of all callers at all backends.
#[derive(Default)]
pub(super) struct CallerLists {
    tables: Mutex<Tables>,
    backends: AtomicU64,
}

#[derive(Default)]
struct Tables {
    /// Whose lists could be read.
    known: Slots,
    /// Who is being read for the first time, and whose lists could not be read.
    unknown: Slots,
}

impl CallerLists {
    /// What another backend is known by here.
    pub(super) fn backend(&self) -> u64 {
        self.backends.fetch_add(1, Ordering::Relaxed)
    }

    /// Forgets all callers of a backend.
    pub(super) fn forget(&self, backend: u64) {
        self.retain(|(of, _), _| *of != backend);
    }

    /// Forgets the callers of a backend who have not called for long.
    pub(super) fn sweep(&self, backend: u64) {
        self.retain(|(of, _), slot| *of != backend || slot.state.lock().used.elapsed() < IDLE);
    }

    fn retain(&self, stays: impl Fn(&Key, &Slot) -> bool) {
        let mut tables = self.tables.lock();
        tables.known.retain(|key, slot| stays(key, slot));
        tables.unknown.retain(|key, slot| stays(key, slot));
    }

    /// How many bytes the lists of a backend's callers hold.
    pub(super) fn bytes(&self, backend: u64) -> usize {
        let tables = self.tables.lock();
        tables.known.iter().filter(|((of, _), _)| *of == backend).map(|(_, slot)| slot.bytes()).sum()
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.tables.lock().known.len()
    }

    /// This caller, where its lists are known.
    fn known(&self, key: &Key) -> Option<Arc<Slot>> {
        self.tables.lock().known.get(key).cloned()
    }

    /// This caller, known or new.
    fn slot(&self, key: Key) -> Arc<Slot> {
        let mut tables = self.tables.lock();
        if let Some(slot) = tables.known.get(&key).or_else(|| tables.unknown.get(&key)) {
            return Arc::clone(slot);
        }
        while count(&tables.unknown, key.0) >= UNKNOWN {
            let idle = |of: &Key, slot: &Slot| of.0 == key.0 && !slot.state.lock().reading;
            if evict(&mut tables.unknown, idle).is_none() {
                break;
            }
        }
        let slot = Arc::new(Slot::new());
        tables.unknown.insert(key, Arc::clone(&slot));
        slot
    }

    /// A caller's lists have been read, or could not be: only the former count among those that are kept. Nothing happens
    /// where the caller has been forgotten meanwhile.
    fn settle(&self, key: Key, slot: &Arc<Slot>, limits: CallerLimits) {
        let is_known = slot.state.lock().known.is_some();
        let mut tables = self.tables.lock();
        let Tables { known, unknown } = &mut *tables;
        let (from, to) = if is_known { (unknown, known) } else { (known, unknown) };
        if from.get(&key).is_some_and(|there| Arc::ptr_eq(there, slot)) {
            from.remove(&key);
            to.insert(key, Arc::clone(slot));
        }
        while count(&tables.known, key.0) > limits.callers.max(1) {
            if evict(&mut tables.known, |of, _| of.0 == key.0 && *of != key).is_none() {
                break;
            }
        }
        // Never this one: it is needed now. The other half is for what virtual servers show of them.
        let mut bytes: usize = tables.known.values().map(|slot| slot.bytes()).sum();
        while bytes > limits.bytes / 2 {
            let Some(gone) = evict(&mut tables.known, |of, _| *of != key) else { return };
            bytes = bytes.saturating_sub(gone);
        }
    }
}

fn count(slots: &Slots, backend: u64) -> usize {
    slots.keys().filter(|(of, _)| *of == backend).count()
}

/// Forgets who has not called for longest, of those that `may` go; says how many bytes that was.
fn evict(slots: &mut Slots, may: impl Fn(&Key, &Slot) -> bool) -> Option<usize> {
    let candidates = slots.iter().filter(|(key, slot)| may(key, slot));
    let oldest = candidates.min_by_key(|(_, slot)| slot.state.lock().used).map(|(key, _)| *key)?;
    slots.remove(&oldest).map(|slot| slot.bytes())
}

/// The room for readings of one backend: [`READINGS`] at a time, and [`WAITING`] behind them.
pub(super) struct Readings {
    turns: Semaphore,
    places: Arc<Semaphore>,
}

impl Readings {
    pub(super) fn new() -> Readings {
        Readings { turns: Semaphore::new(READINGS), places: Arc::new(Semaphore::new(READINGS + WAITING)) }
    }
}

/// Why there are no lists of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The backend cannot be asked for this caller, refuses to list, or did not answer in time.
    Missing,
    /// The backend was not even asked: there are too many others for whom it is.
    Overloaded,
}

/// One caller at one backend.
struct Slot {
    state: Mutex<State>,
    /// Counts the readings that have ended.
    ended: watch::Sender<u64>,
}

struct State {
    known: Option<Arc<Inventory>>,
    /// When it was read, and until when that counts.
    read: Instant,
    until: Instant,
    /// How often the backend had said before that its lists changed.
    changes: u64,
    /// Whether what is known may no longer be true: the backend has said so to this caller, or it does not fit what this
    /// caller sent.
    doubted: bool,
    reading: bool,
    /// Whether the latest reading had its turn.
    begun: bool,
    /// Whether the last reading failed, or took too long: nobody waits for the next one.
    failed: bool,
    used: Instant,
}

impl Slot {
    fn new() -> Slot {
        let now = Instant::now();
        let (known, changes) = (None, 0);
        let (doubted, reading, begun, failed) = (false, false, false, false);
        let state = State { known, read: now, until: now, changes, doubted, reading, begun, failed, used: now };
        Slot { state: Mutex::new(state), ended: watch::Sender::new(0) }
    }

    fn bytes(&self) -> usize {
        LEAST_BYTES + self.state.lock().known.as_ref().map_or(0, |known| known.bytes())
    }
}

impl State {
    fn is_fresh(&self, changes: u64) -> bool {
        Instant::now() < self.until && !self.has_changed(changes)
    }

    /// Whether the lists may have changed, and were not read just now.
    fn has_changed(&self, changes: u64) -> bool {
        (self.doubted || self.changes < changes) && self.read.elapsed() >= SPACING
    }

    /// What was last known.
    fn answer(&self) -> Result<Arc<Inventory>, Unread> {
        let unread = if self.begun || self.failed { Unread::Missing } else { Unread::Overloaded };
        self.known.clone().ok_or(unread)
    }
}

/// A reading on its way; however it ends, whoever waits for it goes on.
struct Reading {
    slot: Arc<Slot>,
    key: Key,
    _place: OwnedSemaphorePermit,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.slot.state.lock().reading = false;
        self.slot.ended.send_modify(|count| *count += 1);
    }
}

impl Reading {
    /// Reads when it has its turn: which one that is `attended` no longer needs when nobody waits for it.
    async fn run(self, watched: Arc<Watched>, fetcher: Fetcher, attended: bool) {
        let abandoned = async {
            match attended {
                true => self.slot.ended.closed().await,
                false => tokio::time::sleep(TURN).await,
            }
        };
        let turn = tokio::select! {
            biased;
            turn = watched.readings.turns.acquire() => turn,
            () = abandoned => return,
        };
        let Ok(_turn) = turn else { return };
        {
            let mut state = self.slot.state.lock();
            // What is doubted from here on is read again.
            (state.begun, state.doubted) = (true, false);
        }
        let changes = watched.backend.changes();
        let mut control = Control::default();
        let read = timeout(fetcher.stock.time, inventory::take_for_caller(&watched, &fetcher, &mut control)).await;
        let read = read.unwrap_or(Err(AttemptFault::new(FaultKind::TotalTimeout)));
        self.note(read, changes, &watched.backend.name);
        watched.callers.settle(self.key, &self.slot, fetcher.stock.callers);
        // Who waits for the lists does not wait for the session's end.
        drop(self);
        control.leave(&fetcher).await;
    }

    fn note(&self, read: Result<Inventory, AttemptFault>, changes: u64, backend: &str) {
        let now_ = Instant::now();
        let mut state = self.slot.state.lock();
        (state.read, state.changes) = (now_, changes);
        match read {
            Ok(inventory) => {
                let left = Duration::from_millis(inventory.freshness.end().0.saturating_sub(now().0));
                (state.failed, state.until) = (false, now_ + left.clamp(KEPT.0, KEPT.1));
                // The same stays the same value, so that nobody merges it again.
                match state.known.as_ref().filter(|known| ***known == inventory) {
                    Some(known) => known.freshness.renew(inventory.freshness.end()),
                    None => state.known = Some(Arc::new(inventory)),
                }
            }
            Err(fault) => {
                let cause = &fault.cause;
                tracing::debug!(%backend, %fault, ?cause, "the lists of a caller cannot be read");
                (state.known, state.failed, state.until) = (None, true, now_ + RETRY);
            }
        }
    }
}

impl LiveBackend {
    /// What it offers this caller, whose request has these fields. What was last known is told while it is read again,
    /// unless the backend has said that it changed: then, and where nothing is known, that is waited for, not longer than
    /// `within`.
    ///
    /// # Errors
    /// Nothing is known; see [`Unread`].
    pub async fn inventory_of(
        &self,
        audience: Audience,
        identity: &HeaderMap,
        within: Duration,
    ) -> Result<Arc<Inventory>, Unread> {
        let watched = self.watched();
        watched.used();
        let key = (watched.number, audience);
        let slot = watched.callers.slot(key);
        let changes = self.backend.changes();
        // Before the reading is begun, which ends where nobody waits for it.
        let mut ended = slot.ended.subscribe();
        {
            let mut state = slot.state.lock();
            state.used = Instant::now();
            if state.is_fresh(changes) {
                return state.answer();
            }
            let waits = !state.failed && (state.known.is_none() || state.has_changed(changes));
            if !state.reading {
                let Ok(place) = Arc::clone(&watched.readings.places).try_acquire_owned() else {
                    return state.answer();
                };
                (state.reading, state.begun) = (true, false);
                let fetcher = self.fetcher().patient(PATIENCE).on_behalf(self.forwarding.outbound(identity));
                let reading = Reading { slot: Arc::clone(&slot), key, _place: place };
                tokio::spawn(reading.run(Arc::clone(watched), fetcher, waits));
            }
            if !waits {
                return state.answer();
            }
        }
        let in_time = timeout(within, ended.changed()).await.is_ok();
        let mut state = slot.state.lock();
        state.failed |= !in_time && state.begun;
        state.answer()
    }

    /// What is known of this caller's lists may no longer be true: they are read again when they are needed next.
    pub fn doubt(&self, audience: Audience) {
        let watched = self.watched();
        if let Some(slot) = watched.callers.known(&(watched.number, audience)) {
            slot.state.lock().doubted = true;
        }
    }

    /// How many bytes the lists of single callers hold.
    pub fn caller_bytes(&self) -> usize {
        let watched = self.watched();
        watched.callers.bytes(watched.number)
    }
}

#[cfg(test)]
mod tests;
