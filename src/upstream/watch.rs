//! Keeping what is known of one backend true: which eras it speaks, what it says of itself, where it is.

use super::callers::{CallerLists, Readings};
use super::fault::{AttemptFault, FaultKind};
use super::fetch::Fetcher;
use super::gate::{Backoff, Gate, jittered};
use super::inventory::Stock;
use super::probe::{Description, Findings, discover, probe};
use super::reach::Reach;
use super::settings::Protocol;
use super::{inventory, tools};
use arc_swap::ArcSwap;
use lockgate_filters::backend::{Backend, Discover, Facts, Speaks};
use lockgate_filters::exchange::UnixMillis;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::futures::Notified;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a verdict stands: a backend may be upgraded, and a stale "legacy" works so well that nobody notices.
const VERDICT_TIME: Duration = Duration::from_secs(300);
/// How long a probe may wait for an answer, whatever clients' requests may.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The same for a command: each time processes are started, and runners of packages take long to start them.
const COMMAND_VERDICT_TIME: Duration = Duration::from_secs(3600);
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);
/// How soon after a failed probe a request may cause another.
const FAILURE_TIME: Duration = Duration::from_millis(250);
/// The first and the longest time between probes while a backend cannot be asked.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// The shortest time between background refreshes, however short the backend's `ttlMs` is.
pub(super) const LEAST_REFRESH: Duration = Duration::from_secs(5);
/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);
/// How long after its last request a backend counts as in use.
const IN_USE: Duration = Duration::from_secs(600);

/// What a modern backend declared about its lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    /// It has tools.
    pub(super) tools: bool,
    /// It tells when its tools change.
    pub(super) tools_changed: bool,
    /// It tells when some list changes.
    pub(super) lists_changed: bool,
}

/// One backend: shared by the generations that configure it alike, and by its background work.
pub(super) struct Watched {
    pub(super) backend: Arc<Backend>,
    pub(super) protocol: Protocol,
    /// Where clients' requests go.
    pub(super) traffic: Reach,
    /// How the gateway asks for itself: over connections of its own, which belong to another runtime than clients'.
    pub(super) fetcher: ArcSwap<Fetcher>,
    pub(super) eras: Gate,
    pub(super) tools: Gate,
    pub(super) declared: watch::Sender<Declared>,
    pub(super) stock: Stock,
    /// The lists of single callers, and what this backend is known by there.
    pub(super) callers: Arc<CallerLists>,
    pub(super) number: u64,
    pub(super) readings: Readings,
    born: Instant,
    last_used: AtomicU64,
}

impl Watched {
    pub(super) fn new(
        backend: Arc<Backend>,
        protocol: Protocol,
        traffic: Reach,
        fetcher: Fetcher,
        stock: Stock,
        callers: Arc<CallerLists>,
    ) -> Watched {
        Watched {
            backend,
            protocol,
            traffic,
            fetcher: ArcSwap::from_pointee(fetcher),
            eras: Gate::new(FAILURE_TIME),
            tools: Gate::new(tools::SPACING),
            declared: watch::Sender::default(),
            stock,
            number: callers.backend(),
            callers,
            readings: Readings::new(),
            born: Instant::now(),
            last_used: AtomicU64::new(0),
        }
    }

    /// What is known before anybody asked: what the configuration says.
    pub(super) fn given(protocol: Protocol) -> Facts {
        let (modern, legacy) = match protocol {
            Protocol::Auto => (Speaks::Unknown, Speaks::Unknown),
            Protocol::Modern => (Speaks::Yes, Speaks::No),
            Protocol::Legacy | Protocol::Sse => (Speaks::No, Speaks::Yes),
        };
        Facts { modern, legacy, ..Facts::default() }
    }

    /// Whether each look at it starts a process.
    pub(super) fn is_command(&self) -> bool {
        self.traffic.command().is_some()
    }

    /// Waits until it answers again, or does so no more.
    pub(super) fn flipped(&self) -> Notified<'_> {
        self.traffic.flips()
    }

    /// Notes that a client's request was sent.
    pub(super) fn used(&self) {
        let now = self.born.elapsed().as_secs();
        // Mostly a read: requests of the same second do not fight for the cache line.
        if self.last_used.load(Ordering::Relaxed) != now {
            self.last_used.store(now, Ordering::Relaxed);
        }
    }

    pub(super) fn is_in_use(&self) -> bool {
        let last = Duration::from_secs(self.last_used.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(last) < IN_USE
    }

    /// Whether clients use it, or are shown what it offers.
    pub(super) fn is_shown(&self) -> bool {
        let shown = now().0.saturating_sub(self.backend.last_shown().0);
        self.is_in_use() || Duration::from_millis(shown) < IN_USE
    }

    /// Whether nothing about the eras needs to be asked.
    pub(super) fn is_known(&self) -> bool {
        let facts = self.backend.facts();
        let decided = facts.modern != Speaks::Unknown && facts.legacy != Speaks::Unknown;
        let described = facts.modern != Speaks::Yes
            || match &facts.discover {
                Some(discover) => discover.fresh_until > now(),
                // A backend that speaks the era but does not describe itself is not asked again and again.
                None => self.eras.succeeded(),
            };
        decided && described
    }

    /// Keeps no connection to it any more: its configuration has changed. Requests that began before still reach it.
    pub(super) fn retire(&self) {
        self.callers.forget(self.number);
        self.traffic.retire();
        self.fetcher.load().reach.retire();
    }

    /// Tells whoever waits for something to be found out that nobody looks any more.
    pub(super) fn give_up(&self) {
        let gone = AttemptFault::not_run(FaultKind::Unreachable).saying("its configuration has changed meanwhile");
        self.tools.close(gone.clone());
        self.stock.gate.close(gone.clone());
        self.eras.close(gone);
    }

    /// Everything that is done in the background for this backend. Ends when dropped, or soon after [`Stock::end`].
    pub(super) async fn keep(self: Arc<Self>) {
        let control = self.fetcher.load().reach.clone();
        let others = async {
            tokio::join!(
                self.keep_eras(),
                tools::keep(&self),
                tools::keep_listening(&self),
                self.traffic.keep_fresh(),
                control.keep_fresh(),
                self.keep_sweeping(&control),
            )
        };
        tokio::select! {
            () = inventory::keep(&self) => {}
            _ = others => {}
        }
    }

    async fn keep_sweeping(&self, control: &Reach) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.traffic.sweep();
            control.sweep();
            self.callers.sweep(self.number);
            self.stock.tell_due(&self.backend);
        }
    }

    async fn keep_eras(&self) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let mut verdict_until = None;
        let (patience, verdict_time) = match self.traffic.command() {
            Some(_) => (COMMAND_PATIENCE, COMMAND_VERDICT_TIME),
            None => (PATIENCE, VERDICT_TIME),
        };
        loop {
            let fetcher = self.fetcher.load().patient(patience);
            let fresh = verdict_until.is_some_and(|until| Instant::now() < until);
            let modern = self.backend.facts().modern == Speaks::Yes;
            let findings = if fresh && modern && self.protocol == Protocol::Auto {
                // Only what it says of itself has run out.
                discover(&fetcher).await
            } else {
                probe(&fetcher, self.protocol).await
            };
            if fresh && findings.modern == Speaks::No {
                verdict_until = None;
                continue;
            }
            let fault = findings.fault.clone();
            self.publish(findings);
            let wait = if fault.is_some() {
                backoff.fail()
            } else {
                backoff.reset();
                let now = Instant::now();
                let until = *verdict_until.get_or_insert_with(|| now + jittered(verdict_time));
                self.next_refresh(verdict_time).min(until.saturating_duration_since(now)).max(LEAST_REFRESH)
            };
            if verdict_until.is_some_and(|until| Instant::now() + wait >= until) {
                verdict_until = None;
            }
            self.eras.report(fault);
            self.rest(wait).await;
        }
    }

    /// How long what the backend says of itself stays true; not long where it speaks neither era.
    fn next_refresh(&self, verdict_time: Duration) -> Duration {
        let facts = self.backend.facts();
        match (facts.modern, facts.legacy, &facts.discover) {
            (Speaks::Yes, _, Some(discover)) => until(discover.fresh_until),
            (Speaks::No, Speaks::No, _) => BACKOFF.1,
            _ => verdict_time,
        }
    }

    /// Waits until the next probe is due: asked for and needed, or `wait` is over and the backend is in use.
    async fn rest(&self, wait: Duration) {
        let due = Instant::now() + wait;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() && (self.is_in_use() || !self.is_known()) {
                return;
            }
            self.eras.wanted_within(if left.is_zero() { LEAST_REFRESH } else { left }).await;
            if Instant::now() < due && !self.is_known() {
                return;
            }
        }
    }

    /// Publishes what was found out. An outage takes nothing back.
    fn publish(&self, findings: Findings) {
        let declared = match (&findings.description, findings.modern) {
            (Some(said), _) => Some(said.declared),
            (None, Speaks::No) => Some(Declared::default()),
            (None, _) => None,
        };
        let described = findings.description.map(kept);
        let before = self.backend.facts();
        let changed = |found: Speaks, known: Speaks| found != Speaks::Unknown && found != known;
        if changed(findings.modern, before.modern) || changed(findings.legacy, before.legacy) {
            let (modern, legacy) = (findings.modern, findings.legacy);
            tracing::info!(backend = %self.backend.name, ?modern, ?legacy, "which eras a backend speaks");
        }
        if let Some(fault) = &findings.fault
            && self.eras.last_fault() != Some(fault.kind)
        {
            tracing::warn!(backend = %self.backend.name, %fault, cause = ?fault.cause, "a backend cannot be asked");
        }
        drop(before);
        self.backend.learn(|facts| {
            if findings.modern != Speaks::Unknown {
                facts.modern = findings.modern;
            }
            if findings.legacy != Speaks::Unknown {
                facts.legacy = findings.legacy;
            }
            if let Some(described) = &described {
                facts.discover = Some(described.clone());
            } else if facts.modern == Speaks::No {
                facts.discover = None;
                facts.tools = None;
            }
        });
        if let Some(declared) = declared {
            self.declared.send_if_modified(|known| std::mem::replace(known, declared) != declared);
        }
    }
}

pub(super) fn kept(description: Description) -> Arc<Discover> {
    Arc::new(Discover { result: description.result, fresh_until: now().plus(description.ttl_millis) })
}

/// The time, as filters are told it.
pub(super) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn until(moment: UnixMillis) -> Duration {
    Duration::from_millis(moment.0.saturating_sub(now().0))
}
