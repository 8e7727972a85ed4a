//! What is counted for one virtual server.

use super::definitions as d;
use super::held::Held;
use super::labels::{ClientEra, Method, Outcome, StreamKind};
use super::metrics::Metrics;
use lockgate_filters::fault::Fault;
use lockgate_filters::federate::{Catalog, Kind, Standing};
use parking_lot::Mutex;
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
    standing: IntGaugeVec,
    items: IntGaugeVec,
    clashes: IntGaugeVec,
    catalog_bytes: IntGaugeVec,
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
            standing: d::MEMBER_STANDING.gauge_vec(registry)?,
            items: d::CATALOG_ITEMS.gauge_vec(registry)?,
            clashes: d::CATALOG_CLASHES.gauge_vec(registry)?,
            catalog_bytes: d::CATALOG_BYTES.gauge_vec(registry)?,
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
    /// The backends of which a standing was recorded.
    members: Mutex<Vec<Box<str>>>,
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
            members: Mutex::default(),
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

    /// Takes over what it shows of these backends, in the order of the catalog; `None` where it has no catalog.
    pub fn set_catalog<'a>(&self, catalog: Option<&Catalog>, backends: impl Iterator<Item = &'a str>) {
        let (families, name) = (&self.metrics.servers, &*self.name);
        let members: Vec<Box<str>> = catalog.map_or(Vec::new(), |_| backends.map(Box::from).collect());
        let before = std::mem::replace(&mut *self.members.lock(), members.clone());
        for gone in before.iter().filter(|before| !members.contains(before)) {
            self.remove_standing(gone);
        }
        let Some(catalog) = catalog else { return self.remove_catalog() };
        for (member, standing) in members.iter().zip(catalog.standings()) {
            for each in Standing::ALL {
                families.standing.with_label_values(&[name, member, each.label()]).set((each == *standing).into());
            }
        }
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for kind in Kind::ALL {
            families.items.with_label_values(&[name, kind.member()]).set(count(catalog.count(kind)));
        }
        let clashes = catalog.clashes().len() + catalog.further_clashes();
        families.clashes.with_label_values(&[name]).set(count(clashes));
        families.catalog_bytes.with_label_values(&[name]).set(count(catalog.bytes()));
    }

    fn remove_standing(&self, backend: &str) {
        for standing in Standing::ALL {
            let _ = self.metrics.servers.standing.remove_label_values(&[&*self.name, backend, standing.label()]);
        }
    }

    fn remove_catalog(&self) {
        let (families, name) = (&self.metrics.servers, &*self.name);
        // An error here says that the series was never there.
        for kind in Kind::ALL {
            let _ = families.items.remove_label_values(&[name, kind.member()]);
        }
        let _ = families.clashes.remove_label_values(&[name]);
        let _ = families.catalog_bytes.remove_label_values(&[name]);
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
        for backend in self.members.lock().drain(..) {
            self.remove_standing(&backend);
        }
        self.remove_catalog();
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
