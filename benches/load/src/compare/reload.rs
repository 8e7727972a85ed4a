//! Reloads while calls run at a fixed rate: what is lost, what is cut.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::drive::worker::Job;
use crate::drive::{self, Load, Pace};
use crate::failure::Outcome;
use crate::mcp::Era;
use crate::proxy::{Contender, Ground, Place, Running};

const RATE: f64 = 2_000.0;
const CONNECTIONS: usize = 64;
/// Time between two reloads.
const PAUSE: Duration = Duration::from_millis(100);
/// Phases of a run: before the measured window, and after it (inside it stands between).
const BEFORE: u8 = 0;
const AFTER: u8 = 2;

/// What reloading under load did.
#[derive(Clone, Debug)]
pub struct Reloads {
    /// The contender's name.
    pub name: String,
    /// Reloads asked for.
    pub reloads: u32,
    /// How far the configuration generation moved, where it is shown.
    pub generations: Option<u64>,
    /// Right answers.
    pub answered: u64,
    /// Lost or wrong answers.
    pub failed: u64,
    /// Kept-alive connections closed under a request, which a client repeats.
    pub cut: u64,
    /// 99th percentile of latency in microseconds.
    pub p99: f64,
    /// Longest latency in microseconds.
    pub max: f64,
}

/// Runs calls of the legacy era for `length` and reloads all the while.
pub fn reloads(contender: &Contender, ground: &Ground, length: Duration) -> Outcome<Reloads> {
    let running = contender.start(ground)?;
    let before = running.generation();
    let load = Load {
        target: running.target(Place::One)?,
        job: Job::Small,
        era: Era::Legacy,
        connections: CONNECTIONS,
        pace: Pace::Rate(RATE),
        warm: Duration::from_millis(200),
        measure: length,
    };
    let phase = AtomicU8::new(BEFORE);
    let (slice, reloads) = std::thread::scope(|scope| {
        let reloading = scope.spawn(|| reload_meanwhile(&running, &phase));
        // Read at the begin and the end of the measured window: reloads happen inside it only.
        let slice = drive::run(&load, || {
            phase.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        phase.store(AFTER, Ordering::Relaxed);
        let reloads = reloading.join().unwrap_or(Ok(0));
        slice.and_then(|slice| reloads.map(|reloads| (slice, reloads)))
    })?;
    let after = running.generation();
    Ok(Reloads {
        name: contender.name.clone(),
        reloads,
        generations: before.zip(after).map(|(before, after)| after.saturating_sub(before)),
        answered: slice.recorder.answered,
        failed: slice.recorder.failed,
        cut: slice.recorder.cut,
        p99: slice.recorder.latency.micros(0.99),
        max: slice.recorder.latency.max_micros(),
    })
}

/// Reloads at a steady pace inside the measured window; returns how often.
fn reload_meanwhile(running: &Running, phase: &AtomicU8) -> Outcome<u32> {
    while phase.load(Ordering::Relaxed) == BEFORE {
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    let mut reloads = 0;
    while phase.load(Ordering::Relaxed) < AFTER {
        reloads += 1;
        running.reload(reloads)?;
        std::thread::sleep((PAUSE * reloads).saturating_sub(begun.elapsed()));
    }
    Ok(reloads)
}
