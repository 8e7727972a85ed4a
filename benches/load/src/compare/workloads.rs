//! The workloads of a comparison, in the order they run, each with the goal it is measured for.

use std::time::Duration;

use crate::drive::worker::Job;
use crate::mcp::Era;
use crate::proxy::Place;

/// How a workload loads its target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Closed loop over so many connections.
    Closed(usize),
    /// Half of what the first gateway reached in the closed loop of the same job and era.
    HalfOfSaturation(usize),
    /// A fixed rate.
    Rate(usize, f64),
    /// So many pushed streams, each with an event every so often.
    Push(usize, Duration),
}

/// What a gateway has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// CPU time per request, as a multiple of nginx's.
    CpuRatio(f64),
    /// CPU time per request or event, in microseconds.
    CpuMicros(f64),
    /// CPU time per request, as a multiple of what the same gateway needs with one backend.
    CpuOne(f64),
    /// 99th percentile of latency, as a multiple of nginx's.
    P99Ratio(f64),
    /// 99th percentile of latency, in milliseconds.
    P99Millis(f64),
    /// Median time to the first byte beyond direct, in microseconds.
    AddedFirstByteMicros(f64),
}

/// One row of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// What each client does; a pushed stream counts as a small call.
    pub job: Job,
    /// What it speaks.
    pub era: Era,
    /// What is asked.
    pub place: Place,
    /// How it loads.
    pub shape: Shape,
    /// What is to be reached.
    pub goal: Option<Goal>,
}

/// Connections of an ordinary closed loop, and of the crowded one.
const ORDINARY: usize = 32;
const CROWD: usize = 256;

/// All workloads.
pub const WORKLOADS: [Workload; 24] = {
    use Era::{Legacy, Modern};
    use Goal::{AddedFirstByteMicros, CpuMicros, CpuRatio, P99Millis, P99Ratio};
    use Job::{ArgumentObjects, ArgumentText, Connect, Event, List, ResultObjects, ResultText, Session, Small};
    use Shape::{Closed, HalfOfSaturation, Push, Rate};
    let events = Push(100, Duration::from_millis(10));
    [
        row("small", Small, Legacy, Closed(ORDINARY), Some(CpuRatio(2.2))),
        row("small", Small, Modern, Closed(ORDINARY), Some(CpuRatio(2.2))),
        row("crowd", Small, Legacy, Closed(CROWD), Some(P99Millis(15.0))),
        row("crowd", Small, Modern, Closed(CROWD), Some(P99Millis(15.0))),
        row("half", Small, Legacy, HalfOfSaturation(CROWD), Some(P99Ratio(2.0))),
        row("half", Small, Modern, HalfOfSaturation(CROWD), Some(P99Ratio(2.0))),
        row("argument-64k", ArgumentText, Legacy, Closed(ORDINARY), Some(CpuRatio(2.0))),
        row("argument-64k", ArgumentText, Modern, Closed(ORDINARY), Some(CpuRatio(2.0))),
        row("argument-objects", ArgumentObjects, Legacy, Closed(ORDINARY), None),
        row("argument-objects", ArgumentObjects, Modern, Closed(ORDINARY), None),
        row("result-64k", ResultText, Legacy, Closed(ORDINARY), Some(CpuRatio(1.8))),
        row("result-64k", ResultText, Modern, Closed(ORDINARY), Some(CpuRatio(1.8))),
        row("result-objects", ResultObjects, Legacy, Closed(ORDINARY), None),
        row("result-objects", ResultObjects, Modern, Closed(ORDINARY), None),
        row("sse", Event, Legacy, Closed(ORDINARY), None),
        row("sse", Event, Modern, Closed(ORDINARY), None),
        row("first-byte", Event, Legacy, Rate(16, 5_000.0), Some(AddedFirstByteMicros(150.0))),
        row("first-byte", Event, Modern, Rate(16, 5_000.0), Some(AddedFirstByteMicros(150.0))),
        row("push", Small, Legacy, events, Some(CpuMicros(15.0))),
        row("push", Small, Modern, events, Some(CpuMicros(15.0))),
        row("list", List, Legacy, Closed(ORDINARY), None),
        row("list", List, Modern, Closed(ORDINARY), None),
        row("connect", Connect, Modern, Closed(ORDINARY), None),
        row("session", Session, Legacy, Closed(ORDINARY), None),
    ]
};

/// The workloads of a gateway over several backends.
pub const FEDERATION: [Workload; 6] = {
    use Era::{Legacy, Modern};
    use Goal::{CpuOne, CpuRatio};
    use Job::{List, Small};
    use Place::{Part, Whole};
    [
        federated("federated-list", List, Legacy, Whole, CpuRatio(1.0)),
        federated("federated-list", List, Modern, Whole, CpuRatio(1.0)),
        federated("federated-list-120", List, Legacy, Part, CpuRatio(1.0)),
        federated("federated-list-120", List, Modern, Part, CpuRatio(1.0)),
        federated("federated-call", Small, Legacy, Whole, CpuOne(1.05)),
        federated("federated-call", Small, Modern, Whole, CpuOne(1.05)),
    ]
};

const fn row(name: &'static str, job: Job, era: Era, shape: Shape, goal: Option<Goal>) -> Workload {
    Workload { name, job, era, place: Place::One, shape, goal }
}

const fn federated(name: &'static str, job: Job, era: Era, place: Place, goal: Goal) -> Workload {
    Workload { name, job, era, place, shape: Shape::Closed(ORDINARY), goal: Some(goal) }
}

impl Workload {
    /// Name and era together.
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.era.word())
    }

    /// How it loads, in words.
    pub fn describe(&self, half_rate: Option<f64>) -> String {
        match self.shape {
            Shape::Closed(connections) => format!("{connections} connections"),
            Shape::HalfOfSaturation(_) => format!("{:.0}/s", half_rate.unwrap_or(0.0)),
            Shape::Rate(_, rate) => format!("{rate:.0}/s"),
            Shape::Push(streams, interval) => {
                format!("{streams} streams, {:.0} events/s", streams as f64 / interval.as_secs_f64())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_has_its_closed_loop_before_it() {
        for (at, half) in WORKLOADS.iter().enumerate() {
            if let Shape::HalfOfSaturation(_) = half.shape {
                let base = WORKLOADS[..at]
                    .iter()
                    .any(|base| base.job == half.job && base.era == half.era && matches!(base.shape, Shape::Closed(_)));
                assert!(base, "{}", half.label());
            }
        }
    }

    #[test]
    fn labels_are_unique_and_sessions_are_legacy() {
        let mut labels: Vec<String> = WORKLOADS.iter().chain(&FEDERATION).map(Workload::label).collect();
        labels.sort();
        labels.dedup();
        assert_eq!(labels.len(), WORKLOADS.len() + FEDERATION.len());
        assert!(WORKLOADS.iter().all(|workload| workload.job != Job::Session || workload.era == Era::Legacy));
    }
}
