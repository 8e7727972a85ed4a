//! One slice against one contender, reduced to the figures that tables are made of.

use std::time::Duration;

use super::workloads::{Shape, Workload};
use crate::accounting::{CoreReading, CpuReading};
use crate::drive::streams::{self, Push};
use crate::drive::{self, Load, Pace, Slice};
use crate::failure::{Failure, Outcome};
use crate::proxy::{Ground, Running};

/// How long slices take.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// Unmeasured time before.
    pub warm: Duration,
    /// Measured time.
    pub measure: Duration,
}

/// The figures of one slice. Times in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Answers (events, for pushed streams) a second.
    pub rate: f64,
    /// CPU time of the proxy per answer; of the backend when there is no proxy.
    pub cpu: f64,
    /// Median latency.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Longest.
    pub max: f64,
    /// Median time to the first byte of the body.
    pub first_byte: f64,
    /// 99th percentile of how late requests of a fixed rate were sent.
    pub lag: f64,
    /// Share of the CPU that the proxy used, 1.0 = all.
    pub busy: f64,
    /// Share of the proxy's CPU that others used: noise.
    pub foreign: f64,
    /// Wrong or missing answers.
    pub failed: u64,
    /// Kept-alive connections closed under a request.
    pub cut: u64,
    /// The first failure in words.
    pub failure: Option<String>,
}

impl Figures {
    /// Nothing but the reason why there is nothing.
    pub fn missing(why: &Failure) -> Self {
        Self { failed: 1, failure: Some(why.to_string()), ..Self::default() }
    }
}

/// The state of a contender at one moment.
struct Reading {
    cpu: CpuReading,
    core: CoreReading,
}

/// Runs one workload against one contender; `half_rate` is the rate of [`Shape::HalfOfSaturation`].
pub fn slice(
    workload: &Workload,
    running: &Running,
    ground: &Ground,
    lengths: Lengths,
    half_rate: f64,
) -> Outcome<Figures> {
    // The backend itself runs on the other CPU.
    let direct = running.is_direct();
    let target = running.target(workload.place)?;
    let cpu = if direct { ground.placement.load } else { ground.placement.proxy };
    let meter = || Ok(Reading { cpu: CpuReading::take(&running.pids)?, core: CoreReading::take(cpu)? });
    let (connections, pace) = match workload.shape {
        Shape::Closed(connections) => (connections, Pace::Closed),
        Shape::HalfOfSaturation(connections) => (connections, Pace::Rate(half_rate)),
        Shape::Rate(connections, rate) => (connections, Pace::Rate(rate)),
        Shape::Push(count, interval) => {
            let push = Push {
                target,
                era: workload.era,
                streams: count,
                interval,
                warm: lengths.warm,
                measure: lengths.measure,
            };
            return streams::push(&push, meter).map(|slice| figures(&slice, direct));
        }
    };
    let load = Load {
        target,
        job: workload.job,
        era: workload.era,
        connections,
        pace,
        warm: lengths.warm,
        measure: lengths.measure,
    };
    drive::run(&load, meter).map(|slice| figures(&slice, direct))
}

fn figures(slice: &Slice<Reading>, direct: bool) -> Figures {
    let (begin, end) = &slice.readings;
    let cpu = end.cpu.since(&begin.cpu).as_secs_f64();
    let core = end.core.since(begin.core).as_secs_f64();
    let wall = slice.elapsed.as_secs_f64();
    let recorder = &slice.recorder;
    Figures {
        rate: slice.rate(),
        cpu: cpu * 1e6 / recorder.answered.max(1) as f64,
        p50: recorder.latency.micros(0.5),
        p90: recorder.latency.micros(0.9),
        p99: recorder.latency.micros(0.99),
        p999: recorder.latency.micros(0.999),
        max: recorder.latency.max_micros(),
        first_byte: recorder.first_byte.micros(0.5),
        lag: recorder.lag.micros(0.99),
        busy: cpu / wall,
        // The generator shares the backend's CPU, so nothing can be told about others there.
        foreign: if direct { 0.0 } else { ((core - cpu) / wall).max(0.0) },
        failed: recorder.failed,
        cut: recorder.cut,
        failure: recorder.first_failure.clone(),
    }
}
