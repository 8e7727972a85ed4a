//! Taking stock of a backend: its lists are read in the background and kept true, so that virtual servers over several
//! backends answer from memory and one slow backend delays nobody.
//!
//! A list is read again when the backend says that it changed, when its time to live is over, when the backend comes back,
//! and when traffic shows that it is gone.

mod take;

pub(super) use take::take_for_caller;

use super::answered::Answered;
use super::control::Control;
use super::fault::{AttemptFault, FaultKind};
use super::gate::{Backoff, Gate, jittered};
use super::watch::{LEAST_REFRESH, PATIENCE, Watched, now};
use lockgate_filters::backend::Backend;
use lockgate_filters::federate::inventory::Scope;
use lockgate_filters::federate::{Inventory, Kind};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use take::{Taken, take};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// The shortest time between two changes of which single callers are told, however many their backend announces.
const TELLING: Duration = Duration::from_secs(1);
/// The first and the longest time between tries while a backend cannot be asked.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// The shortest time between looks at a backend that announces changes, however short the time is for which its lists may
/// be kept.
const HEARD_REFRESH: Duration = Duration::from_secs(60);
/// How long the list of a command is believed that says nothing of its own accord: each look starts it.
const COMMAND_TRUST: Duration = Duration::from_secs(3600);
/// What taking stock of one backend needs beside the backend.
pub(super) struct Stock {
    /// Whether anybody wants to know.
    pub(super) wanted: watch::Sender<bool>,
    /// Each look is a run.
    pub(super) gate: Gate,
    /// Told whenever something became known of any backend.
    pub(super) news: Arc<watch::Sender<u64>>,
    /// Whether it is over.
    ending: watch::Sender<bool>,
    /// Whether a stream is open on which the backend announces changes (modern era).
    heard: AtomicBool,
    announced: Mutex<Announced>,
}

/// When it was last told that the backend announces changes, and whether it has announced others since.
#[derive(Default)]
struct Announced {
    told: Option<Instant>,
    again: bool,
    /// Whether it has announced any since its lists were last read.
    unread: bool,
}

impl Stock {
    /// Nobody wants to know yet; `news` counts up whenever something became known, `spacing` is the shortest time between
    /// two looks.
    pub(super) fn new(news: Arc<watch::Sender<u64>>, spacing: Duration) -> Stock {
        Stock {
            wanted: watch::Sender::new(false),
            gate: Gate::new(spacing),
            news,
            ending: watch::Sender::new(false),
            heard: AtomicBool::new(false),
            announced: Mutex::default(),
        }
    }

    /// The backend says that its lists have changed: whatever of it is kept for single callers is no longer true. They are
    /// told at most once in [`TELLING`], however often it says so.
    pub(super) fn changed(&self, backend: &Backend) {
        {
            let mut announced = self.announced.lock();
            (announced.again, announced.unread) = (true, true);
        }
        self.tell_due(backend);
    }

    /// Tells single callers of changes that were announced too soon after others. To be called now and then.
    pub(super) fn tell_due(&self, backend: &Backend) {
        let mut announced = self.announced.lock();
        if !announced.again || announced.told.is_some_and(|told| told.elapsed() < TELLING) {
            return;
        }
        (announced.told, announced.again) = (Some(Instant::now()), false);
        drop(announced);
        backend.change();
        self.news.send_modify(|count| *count += 1);
    }

    /// The backend's lists were read, and have changed or not. A change that it did not announce to the gateway may be one for
    /// single callers as well, where its lists are private.
    fn was_read(&self, backend: &Backend, changed: bool) {
        if !std::mem::take(&mut self.announced.lock().unread) && changed {
            self.changed(backend);
            self.announced.lock().unread = false;
        }
    }

    /// Ends it: no look is begun or finished, and the gateway's own session is ended.
    pub(super) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Notes whether a stream is open on which the backend announces changes.
    pub(super) fn hears(&self, heard: bool) {
        self.heard.store(heard, Ordering::Relaxed);
    }

    fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Whether anybody wants to know.
    pub(super) fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }
}

/// How long it is until the next look, if nobody asks and nothing is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// While clients are shown what was found.
    soon: Duration,
    /// While they are not.
    late: Duration,
}

impl Wait {
    fn at_most(self, most: Duration) -> Wait {
        Wait { soon: self.soon.min(most), late: self.late.min(most) }
    }

    /// Waits for its end.
    pub(super) async fn over(self, watched: &Watched) {
        let begun = Instant::now();
        tokio::time::sleep(self.soon).await;
        while begun.elapsed() < self.late && !watched.is_shown() {
            tokio::time::sleep(LEAST_REFRESH.min(self.late.saturating_sub(begun.elapsed()))).await;
        }
    }
}

/// Keeps a backend's inventory true, until it is told to end.
pub(super) async fn keep(watched: &Watched) {
    let mut ending = watched.stock.ending.subscribe();
    let mut control = Control::default();
    tokio::select! {
        biased;
        _ = ending.wait_for(|ending| *ending) => {}
        () = keep_looking(watched, &mut control) => {}
    }
    control.leave(&watched.fetcher.load_full()).await;
}

async fn keep_looking(watched: &Watched, control: &mut Control) {
    let mut wanted = watched.stock.wanted.subscribe();
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    loop {
        if !watched.stock.is_wanted() {
            control.leave(&watched.fetcher.load_full()).await;
        }
        if wanted.wait_for(|wanted| *wanted).await.is_err() {
            return;
        }
        let fetcher = watched.fetcher.load().patient(PATIENCE);
        let before = watched.traffic.is_up();
        control.looks(watched);
        let taken = match timeout(fetcher.stock.time, take(watched, &fetcher, control)).await {
            Ok(taken) => taken,
            Err(_) => {
                // A session in which nothing comes to an end may be what is wrong.
                control.leave(&fetcher).await;
                Err(AttemptFault::new(FaultKind::TotalTimeout))
            }
        };
        let succeeded = taken.is_ok();
        let wait = match taken {
            Ok(taken) => {
                let trust = trust(watched, control, &taken.inventory, fetcher.stock.refresh);
                let failed = taken.inventory.has_failed();
                control.looked(publish(watched, taken));
                watched.stock.gate.report(None);
                if failed {
                    trust.at_most(backoff.fail())
                } else {
                    backoff.reset();
                    trust
                }
            }
            Err(fault) => {
                control.looked(false);
                lost(watched, &fault);
                watched.stock.gate.report(Some(fault));
                let wait = backoff.fail();
                Wait { soon: wait, late: wait }
            }
        };
        // First what will be heard of, then what has been: nothing falls between.
        let (flipped, up) = (watched.flipped(), watched.traffic.is_up());
        // A look at a command starts a process, so there it has to do.
        if watched.is_command() || !Answered::contradicts(before, up, succeeded) {
            tokio::select! {
                () = control.rest(watched, &fetcher, wait, flipped) => {}
                _ = wanted.wait_for(|wanted| !*wanted) => {}
            }
        }
        tokio::time::sleep(watched.stock.gate.rest(fetcher.stock.spacing)).await;
    }
}

/// How long what was found may be believed.
fn trust(watched: &Watched, control: &Control, inventory: &Inventory, refresh: Duration) -> Wait {
    if watched.is_command() {
        let trust = jittered(COMMAND_TRUST.max(refresh));
        return Wait { soon: trust, late: trust };
    }
    let heard = control.is_heard() || watched.stock.is_heard();
    let left = Duration::from_millis(inventory.freshness.end().0.saturating_sub(now().0));
    wait(left, refresh, heard)
}

fn wait(left: Duration, refresh: Duration, heard: bool) -> Wait {
    let least = if heard { HEARD_REFRESH } else { LEAST_REFRESH };
    Wait { soon: jittered(left.min(refresh)).max(least), late: jittered(refresh).max(least) }
}

/// Publishes what was found; tells whether it is new. What is the same as before stays the same value, so that nobody merges
/// it again.
fn publish(watched: &Watched, taken: Taken) -> bool {
    let facts = watched.backend.facts();
    let (known, back) = (facts.inventory.clone(), facts.lost.is_some());
    drop(facts);
    let listed = |one: &Inventory, kind| one.list(kind).items == taken.inventory.list(kind).items;
    let others = known.as_ref().is_some_and(|known| Kind::ALL.iter().any(|kind| !listed(known, *kind)));
    let same = known.filter(|known| **known == taken.inventory);
    let (new, news) = (same.is_none(), same.is_none() || back);
    let inventory = match same {
        Some(known) => {
            known.freshness.renew(taken.inventory.freshness.end());
            known
        }
        None => {
            name_offences(&watched.backend, &taken.inventory);
            Arc::new(taken.inventory)
        }
    };
    if back {
        tracing::info!(backend = %watched.backend.name, "a backend can be listed again");
    }
    let tools = taken.tools.map(Arc::new);
    watched.backend.learn(|facts| {
        facts.inventory = Some(Arc::clone(&inventory));
        facts.lost = None;
        if let Some(tools) = &tools {
            facts.tools = Some(Arc::clone(tools));
        }
    });
    watched.stock.was_read(&watched.backend, others && inventory.scope == Scope::Private);
    if news {
        watched.stock.news.send_modify(|count| *count += 1);
    }
    new
}

/// The backend could not be asked. What was known of it stays; since when nothing is, is known too.
fn lost(watched: &Watched, fault: &AttemptFault) {
    let said = fault.refusal(&watched.backend.name, "inventory").message;
    if watched.stock.gate.last_fault() != Some(fault.kind) {
        tracing::warn!(backend = %watched.backend.name, %fault, cause = ?fault.cause, "a backend's lists cannot be read");
    }
    let since = now();
    watched.backend.learn(|facts| {
        let since = facts.lost.as_ref().map_or(since, |lost| lost.since);
        facts.lost = Some(lockgate_filters::backend::Lost { since, why: said.as_ref().into() });
    });
    watched.stock.news.send_modify(|count| *count += 1);
}

/// Tells the operator what is left out of a backend's lists, when that is new.
fn name_offences(backend: &Backend, inventory: &Inventory) {
    let known = backend.facts().inventory.as_ref().map(|known| known.offences.clone()).unwrap_or_default();
    if known == inventory.offences {
        return;
    }
    for offence in &inventory.offences {
        let (kind, name, what) = (offence.kind.noun(), &*offence.name, offence.what);
        tracing::warn!(backend = %backend.name, kind, name, "left out of the lists: {what}");
    }
    if inventory.further_offences > 0 {
        tracing::warn!(backend = %backend.name, further = inventory.further_offences, "more items are left out");
    }
}

#[cfg(test)]
mod tests;
