//! The metrics registry, and what is counted once for the whole process.
//!
//! A facade over the `prometheus` crate: nothing outside this room names its types, so another exposition format or
//! library changes this room only. Label values come from configuration and from [`super::labels`], never from clients.

use super::backend::{self, BackendMetrics};
use super::definitions as d;
use super::labels::{NodeOutcome, NodeRequest, Reload};
use super::listener::{self, ListenerMetrics};
use super::named::Named;
use super::process::ProcessCollector;
use super::virtual_server::{self, ServerMetrics};
use prometheus::{Gauge, IntCounter, IntGauge, Registry, TextEncoder};
use std::sync::Arc;

/// What `lockgate_build_info` says.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo<'a> {
    /// The version of the package.
    pub version: &'a str,
    /// The source revision, or `unknown`.
    pub revision: &'a str,
}

/// The metrics could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the metrics registry refused a metric: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// The registry and everything in it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub(super) servers: virtual_server::Families,
    pub(super) backends: backend::Families,
    pub(super) listeners: listener::Families,
    pub(super) server_handles: Named<ServerMetrics>,
    pub(super) backend_handles: Named<BackendMetrics>,
    pub(super) listener_handles: Named<ListenerMetrics>,
    sessions: IntGauge,
    sessions_opened: IntCounter,
    streams_resumed: IntCounter,
    stream_gaps: IntCounter,
    left_bytes: IntGauge,
    replay_bytes: IntGauge,
    listen_streams: IntGauge,
    body_bytes: IntGauge,
    detached: IntGauge,
    detached_given_up: IntCounter,
    notifications: IntGauge,
    notification_bytes: IntGauge,
    notifications_dropped: IntCounter,
    node_requests: [[IntCounter; NodeOutcome::COUNT]; NodeRequest::COUNT],
    nodes: IntGauge,
    /// Outward, inward.
    node_connections: [IntGauge; 2],
    node_connections_refused: IntCounter,
    config_generation: IntGauge,
    config_reloads: [IntCounter; Reload::COUNT],
    config_reloaded: Gauge,
    journal_errors: IntCounter,
    log_lines_dropped: IntCounter,
}

/// The label `virtual_server` of exchanges that end before a virtual server is found: no configured name can be this.
pub const UNROUTED: &str = "-";

impl Metrics {
    /// An empty registry with every family in it.
    ///
    /// # Errors
    ///
    /// When two metrics share a name, which the tests rule out.
    pub fn new(build: BuildInfo<'_>) -> Result<Arc<Metrics>, MetricsError> {
        let registry = Registry::new();
        d::BUILD_INFO.info(&[build.version, build.revision], &registry)?;
        registry.register(Box::new(ProcessCollector::new()?))?;
        let node_connections = d::NODE_CONNECTIONS.gauge_vec(&registry)?;
        let node_requests = d::NODE_REQUESTS.counter_vec(&registry)?;
        let of = |kind: usize, outcome: usize| {
            let labels = [NodeRequest::ALL[kind].label(), NodeOutcome::ALL[outcome].label()];
            node_requests.with_label_values(&labels)
        };
        let reloads = d::CONFIG_RELOADS.counter_vec(&registry)?;
        Ok(Arc::new(Metrics {
            servers: virtual_server::Families::new(&registry)?,
            backends: backend::Families::new(&registry)?,
            listeners: listener::Families::new(&registry)?,
            server_handles: Named::default(),
            backend_handles: Named::default(),
            listener_handles: Named::default(),
            sessions: d::SESSIONS.gauge(&registry)?,
            sessions_opened: d::SESSIONS_OPENED.counter(&registry)?,
            streams_resumed: d::STREAMS_RESUMED.counter(&registry)?,
            stream_gaps: d::STREAM_GAPS.counter(&registry)?,
            left_bytes: d::LEFT_BYTES.gauge(&registry)?,
            replay_bytes: d::REPLAY_BYTES.gauge(&registry)?,
            listen_streams: d::LISTEN_STREAMS.gauge(&registry)?,
            body_bytes: d::BODY_BYTES.gauge(&registry)?,
            detached: d::DETACHED.gauge(&registry)?,
            detached_given_up: d::DETACHED_GIVEN_UP.counter(&registry)?,
            notifications: d::NOTIFICATIONS.gauge(&registry)?,
            notification_bytes: d::NOTIFICATION_BYTES.gauge(&registry)?,
            notifications_dropped: d::NOTIFICATIONS_DROPPED.counter(&registry)?,
            node_requests: std::array::from_fn(|kind| std::array::from_fn(|outcome| of(kind, outcome))),
            nodes: d::NODES.gauge(&registry)?,
            node_connections: ["out", "in"].map(|direction| node_connections.with_label_values(&[direction])),
            node_connections_refused: d::NODE_CONNECTIONS_REFUSED.counter(&registry)?,
            config_generation: d::CONFIG_GENERATION.gauge(&registry)?,
            config_reloads: std::array::from_fn(|i| reloads.with_label_values(&[Reload::ALL[i].label()])),
            config_reloaded: d::CONFIG_RELOADED.seconds_gauge(&registry)?,
            journal_errors: d::JOURNAL_ERRORS.counter(&registry)?,
            log_lines_dropped: d::LOG_LINES_DROPPED.counter(&registry)?,
            registry,
        }))
    }

    /// The series of a virtual server: the same handle for the same name as long as one is held.
    pub fn virtual_server(self: &Arc<Self>, name: &str) -> Arc<ServerMetrics> {
        self.server_handles.get(name, || ServerMetrics::new(Arc::clone(self), name))
    }

    /// The series of exchanges that end before a virtual server is found.
    pub fn unrouted(self: &Arc<Self>) -> Arc<ServerMetrics> {
        self.virtual_server(UNROUTED)
    }

    /// The series of a backend: the same handle for the same name as long as one is held.
    pub fn backend(self: &Arc<Self>, name: &str) -> Arc<BackendMetrics> {
        self.backend_handles.get(name, || BackendMetrics::new(Arc::clone(self), name))
    }

    /// The series of a listener: the same handle for the same name as long as one is held.
    pub fn listener(self: &Arc<Self>, name: &str) -> Arc<ListenerMetrics> {
        self.listener_handles.get(name, || ListenerMetrics::new(Arc::clone(self), name))
    }

    /// Takes over how many legacy sessions are held in memory now.
    pub fn set_sessions(&self, live: usize) {
        set(&self.sessions, live);
    }

    /// Records a legacy session opened by `initialize`.
    pub fn session_opened(&self) {
        self.sessions_opened.inc();
    }

    /// Takes over how many bytes the larger request bodies hold now.
    pub fn set_body_bytes(&self, held: usize) {
        set(&self.body_bytes, held);
    }

    /// Takes over what goes on without its client now, and how much was given up since the start.
    pub fn set_detached(&self, now: usize, given_up: u64) {
        set(&self.detached, now);
        self.detached_given_up.inc_by(given_up.saturating_sub(self.detached_given_up.get()));
    }

    /// Takes over how many streams were taken up again since the start, and how many gaps there were.
    pub fn set_streams(&self, resumed: u64, gaps: u64) {
        self.streams_resumed.inc_by(resumed.saturating_sub(self.streams_resumed.get()));
        self.stream_gaps.inc_by(gaps.saturating_sub(self.stream_gaps.get()));
    }

    /// Takes over how many bytes are held for sessions that have left memory, and how many of what was recorded of streams.
    pub fn set_kept(&self, left: usize, replay: usize) {
        set(&self.left_bytes, left);
        set(&self.replay_bytes, replay);
    }

    /// Takes over how many `subscriptions/listen` requests are carried out now.
    pub fn set_listen_streams(&self, now: usize) {
        set(&self.listen_streams, now);
    }

    /// Takes over how many notifications of clients are on their way and what their bodies hold, and how many were dropped
    /// since the start.
    pub fn set_notifications(&self, (now, bytes): (usize, usize), dropped: u64) {
        set(&self.notifications, now);
        set(&self.notification_bytes, bytes);
        self.notifications_dropped.inc_by(dropped.saturating_sub(self.notifications_dropped.get()));
    }

    /// Records what became of a request to another node.
    pub fn node_request(&self, kind: NodeRequest, outcome: NodeOutcome) {
        self.node_requests[kind.index()][outcome.index()].inc();
    }

    /// Takes over how many other processes are known, and how many connections for them were turned away since the start.
    pub fn set_nodes(&self, known: usize, refused: u64) {
        set(&self.nodes, known);
        self.node_connections_refused.inc_by(refused.saturating_sub(self.node_connections_refused.get()));
    }

    /// Takes over how many connections to other processes are open, and how many from them.
    pub fn set_node_connections(&self, (outward, inward): (usize, usize)) {
        let [out, within] = &self.node_connections;
        set(out, outward);
        set(within, inward);
    }

    /// Records the end of a reload at `unix_seconds`, after which `generation` is in use.
    pub fn config_reloaded(&self, outcome: Reload, generation: u64, unix_seconds: f64) {
        self.config_reloads[outcome.index()].inc();
        if outcome != Reload::Rejected {
            self.config_in_use(generation, unix_seconds);
        }
    }

    /// Records the configuration that the process started with, found good at `unix_seconds`.
    pub fn config_in_use(&self, generation: u64, unix_seconds: f64) {
        self.config_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.config_reloaded.set(unix_seconds);
    }

    /// Takes over how many changes of sessions could not be written to the state directory since the start.
    pub fn set_journal_errors(&self, total: u64) {
        self.journal_errors.inc_by(total.saturating_sub(self.journal_errors.get()));
    }

    /// Records a log line that was given up.
    pub fn log_line_dropped(&self) {
        self.log_lines_dropped.inc();
    }

    /// Everything in the Prometheus text format (version 0.0.4).
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "the metrics could not be written in full");
        }
        text
    }
}

fn set(gauge: &IntGauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
