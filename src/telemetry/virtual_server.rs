//! What is counted for one virtual server.

use super::definitions as d;
use super::held::Held;
use super::labels::{ClientEra, Method, Outcome, StreamKind};
use super::metrics::Metrics;
use lockgate_filters::fault::Fault;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The families that carry the label `virtual_server`.
#[derive(Debug)]
pub(super) struct Families {
    requests: IntCounterVec,
    duration: HistogramVec,
    refusals: IntCounterVec,
    request_bytes: IntCounterVec,
    response_bytes: IntCounterVec,
    in_flight: IntGaugeVec,
    streams: IntGaugeVec,
}

impl Families {
    pub fn new(registry: &Registry) -> Result<Families> {
        Ok(Families {
            requests: d::REQUESTS.counter_vec(registry)?,
            duration: d::REQUEST_DURATION.histogram_vec(registry)?,
            refusals: d::REFUSALS.counter_vec(registry)?,
            request_bytes: d::REQUEST_BYTES.counter_vec(registry)?,
            response_bytes: d::RESPONSE_BYTES.counter_vec(registry)?,
            in_flight: d::IN_FLIGHT.gauge_vec(registry)?,
            streams: d::STREAMS.gauge_vec(registry)?,
        })
    }
}

/// The series of one virtual server, looked up once when a snapshot is built.
///
/// Series that depend on the method, the outcome or the reason come into being when they are first needed, so that a
/// virtual server which only ever answers `tools/call` does not export thirty empty histograms. After that an
/// observation costs a few atomic additions: no lock, no allocation, no hashing.
#[derive(Debug)]
pub struct ServerMetrics {
    name: Box<str>,
    metrics: Arc<Metrics>,
    request_bytes: IntCounter,
    response_bytes: IntCounter,
    in_flight: IntGauge,
    streams: [IntGauge; StreamKind::COUNT],
    methods: [OnceLock<Box<MethodSeries>>; Method::COUNT],
    refusals: [OnceLock<IntCounter>; Fault::ALL.len()],
}

#[derive(Debug)]
struct MethodSeries {
    duration: Histogram,
    requests: [[OnceLock<IntCounter>; Outcome::COUNT]; ClientEra::COUNT],
}

impl ServerMetrics {
    pub(super) fn new(metrics: Arc<Metrics>, name: &str) -> ServerMetrics {
        let families = &metrics.servers;
        ServerMetrics {
            name: name.into(),
            request_bytes: families.request_bytes.with_label_values(&[name]),
            response_bytes: families.response_bytes.with_label_values(&[name]),
            in_flight: families.in_flight.with_label_values(&[name]),
            streams: std::array::from_fn(|i| families.streams.with_label_values(&[name, StreamKind::ALL[i].label()])),
            methods: std::array::from_fn(|_| OnceLock::new()),
            refusals: std::array::from_fn(|_| OnceLock::new()),
            metrics,
        }
    }

    /// Counts an exchange as in flight until the returned guard is dropped.
    pub fn in_flight(&self) -> Held {
        Held::of(&self.in_flight)
    }

    /// Counts an event stream to a client as open until the returned guard is dropped.
    pub fn stream(&self, kind: StreamKind) -> Held {
        Held::of(&self.streams[kind.index()])
    }

    /// Records the end of an exchange that took `elapsed`.
    pub fn finished(&self, method: Method, era: ClientEra, outcome: Outcome, elapsed: Duration) {
        let series = self.methods[method.index()].get_or_init(|| self.method_series(method));
        series.duration.observe(elapsed.as_secs_f64());
        series.requests[era.index()][outcome.index()]
            .get_or_init(|| {
                let labels = [&*self.name, method.label(), era.label(), outcome.label()];
                self.metrics.servers.requests.with_label_values(&labels)
            })
            .inc();
    }

    /// Records that an exchange, or one message of a batch, ended in an error of the gateway.
    pub fn refused(&self, fault: Fault) {
        self.refusals[fault as usize]
            .get_or_init(|| self.metrics.servers.refusals.with_label_values(&[&*self.name, fault.label()]))
            .inc();
    }

    /// Records bytes of a request body.
    pub fn request_bytes(&self, bytes: u64) {
        self.request_bytes.inc_by(bytes);
    }

    /// Records bytes of a response body.
    pub fn response_bytes(&self, bytes: u64) {
        self.response_bytes.inc_by(bytes);
    }

    fn method_series(&self, method: Method) -> Box<MethodSeries> {
        Box::new(MethodSeries {
            duration: self.metrics.servers.duration.with_label_values(&[&*self.name, method.label()]),
            requests: std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())),
        })
    }

    /// Removes every series that may exist, not only those of this handle: an elder one of the same name may have left
    /// some.
    fn remove_series(&self) {
        let families = &self.metrics.servers;
        let name = &*self.name;
        // An error here says that the series was never there.
        let _ = families.request_bytes.remove_label_values(&[name]);
        let _ = families.response_bytes.remove_label_values(&[name]);
        let _ = families.in_flight.remove_label_values(&[name]);
        for kind in StreamKind::ALL {
            let _ = families.streams.remove_label_values(&[name, kind.label()]);
        }
        for fault in Fault::ALL {
            let _ = families.refusals.remove_label_values(&[name, fault.label()]);
        }
        for method in Method::ALL {
            let _ = families.duration.remove_label_values(&[name, method.label()]);
            for era in ClientEra::ALL {
                for outcome in Outcome::ALL {
                    let labels = [name, method.label(), era.label(), outcome.label()];
                    let _ = families.requests.remove_label_values(&labels);
                }
            }
        }
    }
}

impl Drop for ServerMetrics {
    fn drop(&mut self) {
        self.metrics.server_handles.forget(&self.name, || self.remove_series());
    }
}
