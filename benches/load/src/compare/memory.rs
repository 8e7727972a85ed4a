//! Memory of a freshly started contender: idle, under load, after it; and what an idle stream costs.

use std::time::Duration;

use crate::accounting::resident;
use crate::drive::streams::{Hold, Past, hold};
use crate::drive::worker::Job;
use crate::drive::{self, Load, Pace};
use crate::failure::{Failure, Outcome};
use crate::mcp::Era;
use crate::proxy::{Contender, Ground, Place};

/// Limits of resident memory in bytes: idle, under 256 connections, and how much more than idle may stay.
pub const IDLE_MAX: u64 = 20 * 1024 * 1024;
/// See [`IDLE_MAX`].
pub const LOADED_MAX: u64 = 45 * 1024 * 1024;
/// See [`IDLE_MAX`].
pub const STAYING_MAX: u64 = 8 * 1024 * 1024;
const CONNECTIONS: usize = 256;

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Length of the load.
    pub load: Duration,
    /// Rest before idle and after load is read.
    pub settle: Duration,
    /// Idle streams held.
    pub streams: usize,
}

/// Resident memory in bytes.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The contender's name.
    pub name: String,
    /// From start to the first right answer.
    pub first_answer: Duration,
    /// After the first answer and a rest.
    pub idle: u64,
    /// While 256 connections call.
    pub loaded: u64,
    /// After the load and a rest.
    pub after: u64,
    /// Per idle stream, its connection (and session) included: legacy, modern.
    pub stream: [f64; 2],
    /// When all these streams have gone and after a rest: legacy, modern.
    pub after_streams: [u64; 2],
}

/// Measures one contender in three fresh processes.
pub fn memory(contender: &Contender, ground: &Ground, extent: Extent) -> Outcome<Memory> {
    let running = contender.start(ground)?;
    std::thread::sleep(extent.settle);
    let idle = resident(&running.pids)?;
    let load = Load {
        target: running.target(Place::One)?,
        job: Job::Small,
        era: Era::Legacy,
        connections: CONNECTIONS,
        pace: Pace::Closed,
        warm: Duration::ZERO,
        measure: extent.load,
    };
    let slice = drive::run(&load, || resident(&running.pids))?;
    if let Some(failure) = slice.recorder.first_failure {
        return Err(Failure::said(format!("{} under load: {failure}", contender.name)));
    }
    std::thread::sleep(extent.settle * 2);
    let after = resident(&running.pids)?;
    let first_answer = running.first_answer;
    drop(running);
    let (legacy, modern) =
        (streams(contender, ground, extent, Era::Legacy)?, streams(contender, ground, extent, Era::Modern)?);
    Ok(Memory {
        name: contender.name.clone(),
        first_answer,
        idle,
        loaded: slice.readings.1,
        after,
        stream: [legacy.0, modern.0],
        after_streams: [legacy.1, modern.1],
    })
}

/// Bytes per idle stream, and memory when they have gone.
fn streams(contender: &Contender, ground: &Ground, extent: Extent, era: Era) -> Outcome<(f64, u64)> {
    let mut running = contender.start(ground)?;
    std::thread::sleep(extent.settle);
    let target = &running.target(Place::One)?;
    let held = hold(target, Hold::Streams(era, Past::None), extent.streams, extent.settle, || resident(&running.pids))
        .map_err(|failure| Failure::said(format!("{}, {} streams: {failure}", contender.name, era.word())))?;
    running.check()?;
    Ok((held.open.saturating_sub(held.before) as f64 / extent.streams as f64, held.after))
}
