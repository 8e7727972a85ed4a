//! What is counted for one backend.

use super::definitions as d;
use super::labels::{BackendEra, UpstreamOutcome};
use super::metrics::Metrics;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The families that carry the label `backend`.
#[derive(Debug)]
pub(super) struct Families {
    requests: IntCounterVec,
    first_byte: HistogramVec,
    up: IntGaugeVec,
    era: IntGaugeVec,
    healed: IntCounterVec,
    questions_refused: IntCounterVec,
    answers_refused: IntCounterVec,
    questions: IntGaugeVec,
    callers_refused: IntCounterVec,
    streams_refused: IntCounterVec,
    dropped: IntCounterVec,
    children: IntGaugeVec,
    child_starts: IntCounterVec,
    child_failures: IntCounterVec,
    inventory_bytes: IntGaugeVec,
}

/// What is counted at a backend that is not reached over Streamable HTTP: how many children run
/// and how many questions are open, and the rest since it was taken over last.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdapterCounts {
    /// Child processes that run; `None` where it has none.
    pub children: Option<u64>,
    /// Requests of the backend that wait for a client's answer.
    pub questions: u64,
    /// Child processes that were started.
    pub starts: u64,
    /// Child processes that failed.
    pub failures: u64,
    /// Requests of the backend that were refused.
    pub refused: u64,
    /// Messages of the backend that were dropped.
    pub dropped: u64,
}

impl Families {
    pub fn new(registry: &Registry) -> Result<Families> {
        Ok(Families {
            requests: d::UPSTREAM_REQUESTS.counter_vec(registry)?,
            first_byte: d::UPSTREAM_DURATION.histogram_vec(registry)?,
            up: d::BACKEND_UP.gauge_vec(registry)?,
            era: d::BACKEND_ERA.gauge_vec(registry)?,
            healed: d::SESSIONS_HEALED.counter_vec(registry)?,
            questions_refused: d::BACKEND_QUESTIONS_REFUSED.counter_vec(registry)?,
            answers_refused: d::BACKEND_ANSWERS_REFUSED.counter_vec(registry)?,
            questions: d::BACKEND_QUESTIONS.gauge_vec(registry)?,
            callers_refused: d::CALLERS_TURNED_AWAY.counter_vec(registry)?,
            streams_refused: d::BACKEND_STREAMS_REFUSED.counter_vec(registry)?,
            dropped: d::BACKEND_MESSAGES_DROPPED.counter_vec(registry)?,
            children: d::CHILDREN.gauge_vec(registry)?,
            child_starts: d::CHILD_STARTS.counter_vec(registry)?,
            child_failures: d::CHILD_FAILURES.counter_vec(registry)?,
            inventory_bytes: d::INVENTORY_BYTES.gauge_vec(registry)?,
        })
    }
}

/// The series of one backend, looked up once when a snapshot is built.
#[derive(Debug)]
pub struct BackendMetrics {
    name: Box<str>,
    metrics: Arc<Metrics>,
    requests: [IntCounter; UpstreamOutcome::COUNT],
    first_byte: Histogram,
    healed: IntCounter,
    questions_refused: IntCounter,
    answers_refused: IntCounter,
    callers_refused: IntCounter,
    streams_refused: IntCounter,
    up: OnceLock<IntGauge>,
    eras: [OnceLock<IntGauge>; BackendEra::COUNT],
}

impl BackendMetrics {
    pub(super) fn new(metrics: Arc<Metrics>, name: &str) -> BackendMetrics {
        let families = &metrics.backends;
        BackendMetrics {
            name: name.into(),
            requests: std::array::from_fn(|i| {
                families.requests.with_label_values(&[name, UpstreamOutcome::ALL[i].label()])
            }),
            first_byte: families.first_byte.with_label_values(&[name]),
            healed: families.healed.with_label_values(&[name]),
            questions_refused: families.questions_refused.with_label_values(&[name]),
            answers_refused: families.answers_refused.with_label_values(&[name]),
            callers_refused: families.callers_refused.with_label_values(&[name]),
            streams_refused: families.streams_refused.with_label_values(&[name]),
            up: OnceLock::new(),
            eras: std::array::from_fn(|_| OnceLock::new()),
            metrics,
        }
    }

    /// Records how long the backend took to its first byte, from the start of the attempt.
    pub fn first_byte(&self, elapsed: Duration) {
        self.first_byte.observe(elapsed.as_secs_f64());
    }

    /// Records the end of an attempt.
    pub fn finished(&self, outcome: UpstreamOutcome) {
        self.requests[outcome.index()].inc();
    }

    /// Records that a session was opened again there because it was lost.
    pub fn healed(&self) {
        self.healed.inc();
    }

    /// Records that a request of the backend could be put to no client.
    pub fn refused_request(&self) {
        self.questions_refused.inc();
    }

    /// Records that an answer of the backend was not passed on for what is in it.
    pub fn refused_answer(&self) {
        self.answers_refused.inc();
    }

    /// Records that a caller was not shown what the backend offers it, because it was asked for too many others.
    pub fn turned_caller_away(&self) {
        self.callers_refused.inc();
    }

    /// Records that the backend refused whoever wanted to hear what it says of its own accord.
    pub fn refused_stream(&self) {
        self.streams_refused.inc();
    }

    /// Takes over what was counted at the backend's adapter.
    pub fn add_adapter(&self, counts: AdapterCounts) {
        let (families, name) = (&self.metrics.backends, [&*self.name]);
        self.questions_refused.inc_by(counts.refused);
        families.dropped.with_label_values(&name).inc_by(counts.dropped);
        families.questions.with_label_values(&name).set(i64::try_from(counts.questions).unwrap_or(i64::MAX));
        if let Some(children) = counts.children {
            families.children.with_label_values(&name).set(i64::try_from(children).unwrap_or(i64::MAX));
            families.child_starts.with_label_values(&name).inc_by(counts.starts);
            families.child_failures.with_label_values(&name).inc_by(counts.failures);
        }
    }

    /// Records whether the backend answered when it was last asked: by a probe or by an exchange.
    pub fn set_up(&self, up: bool) {
        self.up.get_or_init(|| self.metrics.backends.up.with_label_values(&[&*self.name])).set(up.into());
    }

    /// Takes over how many bytes its lists hold; `None` where they are not read.
    pub fn set_inventory(&self, bytes: Option<usize>) {
        let (family, name) = (&self.metrics.backends.inventory_bytes, [&*self.name]);
        match bytes {
            Some(bytes) => family.with_label_values(&name).set(i64::try_from(bytes).unwrap_or(i64::MAX)),
            // An error says that the series was never there.
            None => drop(family.remove_label_values(&name)),
        }
    }

    /// Records which eras the backend speaks.
    pub fn set_era(&self, era: BackendEra, spoken: bool) {
        self.eras[era.index()]
            .get_or_init(|| self.metrics.backends.era.with_label_values(&[&*self.name, era.label()]))
            .set(spoken.into());
    }

    fn remove_series(&self) {
        let families = &self.metrics.backends;
        let name = &*self.name;
        // An error here says that the series was never there.
        let _ = families.first_byte.remove_label_values(&[name]);
        let _ = families.up.remove_label_values(&[name]);
        let _ = families.healed.remove_label_values(&[name]);
        let _ = families.questions_refused.remove_label_values(&[name]);
        let _ = families.answers_refused.remove_label_values(&[name]);
        let _ = families.questions.remove_label_values(&[name]);
        let _ = families.callers_refused.remove_label_values(&[name]);
        let _ = families.streams_refused.remove_label_values(&[name]);
        let _ = families.dropped.remove_label_values(&[name]);
        let _ = families.children.remove_label_values(&[name]);
        let _ = families.child_starts.remove_label_values(&[name]);
        let _ = families.child_failures.remove_label_values(&[name]);
        let _ = families.inventory_bytes.remove_label_values(&[name]);
        for outcome in UpstreamOutcome::ALL {
            let _ = families.requests.remove_label_values(&[name, outcome.label()]);
        }
        for era in BackendEra::ALL {
            let _ = families.era.remove_label_values(&[name, era.label()]);
        }
    }
}

impl Drop for BackendMetrics {
    fn drop(&mut self) {
        self.metrics.backend_handles.forget(&self.name, || self.remove_series());
    }
}
