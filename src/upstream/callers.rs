//! What a backend offers single callers, where it tells them apart by fields of their requests: read when it is needed, with
//! their own fields, and kept for a while under a digest of these. The fields themselves are forgotten.

use super::backends::LiveBackend;
use super::control::Control;
use super::fault::{AttemptFault, FaultKind};
use super::fetch::Fetcher;
use super::inventory;
use super::watch::{PATIENCE, Watched, now};
use http::HeaderMap;
use lockgate_filters::federate::{Audience, Inventory};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
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
/// What a caller counts for at least, in bytes.
const LEAST_BYTES: usize = 16 * 1024;

/// How many callers' lists are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerLimits {
    /// Callers of one backend.
    pub callers: usize,
    /// The bytes of all lists of all callers at all backends.
    pub bytes: usize,
}

impl Default for CallerLimits {
    fn default() -> CallerLimits {
        CallerLimits { callers: 64, bytes: 128 << 20 }
    }
}

/// Which backend, and who calls.
type Key = (u64, Audience);

/// The lists of all callers at all backends.
#[derive(Default)]
pub(super) struct CallerLists {
    kept: Mutex<HashMap<Key, Arc<Slot>>>,
    backends: AtomicU64,
}

impl CallerLists {
    /// What another backend is known by here.
    pub(super) fn backend(&self) -> u64 {
        self.backends.fetch_add(1, Ordering::Relaxed)
    }

    /// Forgets all callers of a backend.
    pub(super) fn forget(&self, backend: u64) {
        self.kept.lock().retain(|(of, _), _| *of != backend);
    }

    /// Forgets the callers of a backend who have not called for long.
    pub(super) fn sweep(&self, backend: u64) {
        self.kept.lock().retain(|(of, _), slot| *of != backend || slot.state.lock().used.elapsed() < IDLE);
    }

    /// How many bytes the lists of a backend's callers hold.
    pub(super) fn bytes(&self, backend: u64) -> usize {
        self.kept.lock().iter().filter(|((of, _), _)| *of == backend).map(|(_, slot)| slot.bytes()).sum()
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.kept.lock().len()
    }

    fn slot(&self, key: Key, limits: CallerLimits) -> Arc<Slot> {
        let mut kept = self.kept.lock();
        if let Some(known) = kept.get(&key) {
            return Arc::clone(known);
        }
        while kept.keys().filter(|(of, _)| *of == key.0).count() >= limits.callers.max(1) {
            evict(&mut kept, |(of, _)| *of == key.0);
        }
        let slot = Arc::new(Slot::new());
        kept.insert(key, Arc::clone(&slot));
        drop(kept);
        self.trim(limits, key);
        slot
    }

    /// Forgets who has not called for longest, until the others fit; never this one.
    fn trim(&self, limits: CallerLimits, but: Key) {
        let mut kept = self.kept.lock();
        let mut bytes: usize = kept.values().map(|slot| slot.bytes()).sum();
        while bytes > limits.bytes {
            let Some(gone) = evict(&mut kept, |key| *key != but) else { return };
            bytes = bytes.saturating_sub(gone);
        }
    }
}

/// Forgets who has not called for longest, of those that `may` go; says how many bytes that was.
fn evict(kept: &mut HashMap<Key, Arc<Slot>>, may: impl Fn(&Key) -> bool) -> Option<usize> {
    let candidates = kept.iter().filter(|(key, _)| may(key));
    let oldest = candidates.min_by_key(|(_, slot)| slot.state.lock().used).map(|(key, _)| *key)?;
    kept.remove(&oldest).map(|slot| slot.bytes())
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
    reading: bool,
    /// Whether the last reading failed, or took too long: nobody waits for the next one.
    failed: bool,
    used: Instant,
}

impl Slot {
    fn new() -> Slot {
        let now = Instant::now();
        let state = State { known: None, read: now, until: now, changes: 0, reading: false, failed: false, used: now };
        Slot { state: Mutex::new(state), ended: watch::Sender::new(0) }
    }

    fn bytes(&self) -> usize {
        LEAST_BYTES + self.state.lock().known.as_ref().map_or(0, |known| known.bytes())
    }
}

impl State {
    fn is_fresh(&self, changes: u64) -> bool {
        let unchanged = self.changes >= changes || self.read.elapsed() < SPACING;
        Instant::now() < self.until && unchanged
    }
}

/// A reading on its way; however it ends, whoever waits for it goes on.
struct Reading(Arc<Slot>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.state.lock().reading = false;
        self.0.ended.send_modify(|count| *count += 1);
    }
}

impl Reading {
    async fn run(self, watched: Arc<Watched>, fetcher: Fetcher, audience: Audience) {
        let changes = watched.backend.changes();
        let read = timeout(fetcher.stock.time, read(&watched, &fetcher)).await;
        let read = read.unwrap_or(Err(AttemptFault::new(FaultKind::TotalTimeout)));
        let now_ = Instant::now();
        let mut state = self.0.state.lock();
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
                let (backend, cause) = (&watched.backend.name, &fault.cause);
                tracing::debug!(%backend, %fault, ?cause, "the lists of a caller cannot be read");
                (state.known, state.failed, state.until) = (None, true, now_ + RETRY);
            }
        }
        drop(state);
        watched.callers.trim(fetcher.stock.callers, (watched.number, audience));
    }
}

async fn read(watched: &Watched, fetcher: &Fetcher) -> Result<Inventory, AttemptFault> {
    let Ok(_permit) = watched.readings.acquire().await else {
        return Err(AttemptFault::not_run(FaultKind::Unreachable));
    };
    let mut control = Control::default();
    let inventory = inventory::take_for_caller(watched, fetcher, &mut control).await;
    control.leave(fetcher).await;
    inventory
}

/// Room for [`READINGS`].
pub(super) fn readings() -> Semaphore {
    Semaphore::new(READINGS)
}

impl LiveBackend {
    /// What it offers this caller, whose request has these fields; `None` where it cannot be asked, or does not answer
    /// `within` this time.
    pub async fn inventory_of(
        &self,
        audience: Audience,
        identity: &HeaderMap,
        within: Duration,
    ) -> Option<Arc<Inventory>> {
        let watched = self.watched();
        watched.used();
        let fetcher = self.fetcher();
        let slot = watched.callers.slot((watched.number, audience), fetcher.stock.callers);
        let changes = self.backend.changes();
        let mut ended = slot.ended.subscribe();
        {
            let mut state = slot.state.lock();
            state.used = Instant::now();
            if state.is_fresh(changes) {
                return state.known.clone();
            }
            if !std::mem::replace(&mut state.reading, true) {
                let fetcher = fetcher.patient(PATIENCE).on_behalf(self.forwarding.outbound(identity));
                tokio::spawn(Reading(Arc::clone(&slot)).run(Arc::clone(watched), fetcher, audience));
            }
            if state.failed {
                return None;
            }
        }
        if timeout(within, ended.changed()).await.is_err() {
            slot.state.lock().failed = true;
        }
        let state = slot.state.lock();
        if state.is_fresh(changes) { state.known.clone() } else { None }
    }

    /// How many bytes the lists of single callers hold.
    pub fn caller_bytes(&self) -> usize {
        let watched = self.watched();
        watched.callers.bytes(watched.number)
    }
}

#[cfg(test)]
mod tests;
