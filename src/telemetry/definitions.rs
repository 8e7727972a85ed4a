//! Every metric, declared once: name, type, labels and meaning. `docs/metrics.md` is generated from them.

use prometheus::core::Collector;
use prometheus::{Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use prometheus::{Opts, Registry, Result};

/// Upper bounds of the duration buckets in seconds: those of the OpenTelemetry MCP conventions.
pub const SECONDS: &[f64] = &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// The Prometheus type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
#[derive(Debug)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Definition {
    Definition { name, kind: Kind::Histogram, labels, help }
}

macro_rules! definitions {
    ($($constant:ident = $definition:expr;)+) => {
        $(pub const $constant: Definition = $definition;)+

        /// Every metric, in the order of `docs/metrics.md`.
        #[cfg(test)]
        pub const ALL: &[Definition] = &[$($constant,)+];
    };
}

definitions! {
    REQUESTS = counter("lockgate_requests_total", &["virtual_server", "method", "era", "outcome"],
        "Client exchanges that ended.");
    REQUEST_DURATION = histogram("lockgate_request_duration_seconds", &["virtual_server", "method"],
        "From the request's header to the end of the answer; for a stream, to its end.");
    REFUSALS = counter("lockgate_refusals_total", &["virtual_server", "reason"],
        "Exchanges that ended in an error of the gateway; the reasons are listed in errors.md.");
    REQUEST_BYTES = counter("lockgate_request_bytes_total", &["virtual_server"],
        "Bytes of request bodies read.");
    RESPONSE_BYTES = counter("lockgate_response_bytes_total", &["virtual_server"],
        "Bytes of response bodies sent.");
    IN_FLIGHT = gauge("lockgate_in_flight", &["virtual_server"],
        "Exchanges that have begun and not ended.");
    STREAMS = gauge("lockgate_streams", &["virtual_server", "kind"],
        "Event streams open to clients.");
    LISTEN_STREAMS = gauge("lockgate_listen_streams", &[],
        "`subscriptions/listen` requests that are carried out, of `limits.listen_streams`.");
    UPSTREAM_REQUESTS = counter("lockgate_upstream_requests_total", &["backend", "outcome"],
        "Attempts at a backend that ended.");
    UPSTREAM_DURATION = histogram("lockgate_upstream_duration_seconds", &["backend"],
        "From the start of an attempt to the first byte of the backend's answer.");
    SESSIONS_HEALED = counter("lockgate_sessions_healed_total", &["backend"],
        "Sessions that were opened again at a backend that had lost them.");
    BACKEND_QUESTIONS_REFUSED = counter("lockgate_backend_questions_refused_total", &["backend"],
        "Requests of a backend that were answered with an error because they could be put to no client.");
    BACKEND_ANSWERS_REFUSED = counter("lockgate_backend_answers_refused_total", &["backend"],
        "Answers of a backend that were not passed on because they are no JSON-RPC, or name more resources than can be renamed; where URIs are renamed.");
    BACKEND_QUESTIONS = gauge("lockgate_backend_questions", &["backend"],
        "Requests of a backend that wait for a client's answer; where it is a command, or speaks the transport of 2024-11-05. Elsewhere the gateway keeps nothing of them.");
    CALLERS_TURNED_AWAY = counter("lockgate_caller_lists_refused_total", &["backend"],
        "Requests for which a backend that shows each caller its own lists was not asked, because too many other callers waited for theirs.");
    BACKEND_STREAMS_REFUSED = counter("lockgate_backend_streams_refused_total", &["backend"],
        "Streams of sessions that a backend refused with 401 or 403.");
    BACKEND_MESSAGES_DROPPED = counter("lockgate_backend_messages_dropped_total", &["backend"],
        "Messages of a backend that were no JSON-RPC, too long, or for nobody who was there; where it is a command, or speaks the transport of 2024-11-05.");
    CHILDREN = gauge("lockgate_child_processes", &["backend"],
        "Child processes of a backend that run; absent where it is no command.");
    CHILD_STARTS = counter("lockgate_child_starts_total", &["backend"],
        "Child processes that were started.");
    CHILD_FAILURES = counter("lockgate_child_failures_total", &["backend"],
        "Child processes that could not be started, or ended though nobody had asked them to.");
    BACKEND_UP = gauge("lockgate_backend_up", &["backend"],
        "1 when the backend answered last time, 0 when it did not, or only with 502, 503 or 504; absent until it was asked.");
    BACKEND_ERA = gauge("lockgate_backend_era", &["backend", "era"],
        "1 when the backend speaks the era, 0 when it does not; absent until it was asked.");
    INVENTORY_BYTES = gauge("lockgate_inventory_bytes", &["backend"],
        "Memory that the backend's lists hold; absent where nobody wants them.");
    MEMBER_STANDING = gauge("lockgate_member_standing", &["virtual_server", "backend", "standing"],
        "1 for what is known of a backend's lists as a virtual server of several backends shows them, 0 for the others.");
    CATALOG_ITEMS = gauge("lockgate_catalog_items", &["virtual_server", "kind"],
        "Items that a virtual server of several backends lists.");
    CATALOG_CLASHES = gauge("lockgate_catalog_clashes", &["virtual_server"],
        "Items that are left out because another backend's have their names.");
    CATALOG_BYTES = gauge("lockgate_catalog_bytes", &["virtual_server"],
        "Memory that the lists of a virtual server of several backends hold.");
    CONNECTIONS = gauge("lockgate_connections", &["listener"],
        "Client connections that are open.");
    CONNECTIONS_REFUSED = counter("lockgate_connections_refused_total", &["listener", "reason"],
        "Client connections that were not taken, or were closed by the gateway.");
    SESSIONS = gauge("lockgate_sessions", &[],
        "Legacy sessions held in memory.");
    SESSIONS_OPENED = counter("lockgate_sessions_opened_total", &[],
        "Legacy sessions opened by initialize.");
    LEFT_BYTES = gauge("lockgate_left_bytes", &[],
        "Memory that is held of sessions that have left memory (what their clients had set, and where they were open), of `limits.left_bytes`.");
    REPLAY_BYTES = gauge("lockgate_replay_bytes", &[],
        "Memory that is held for clients that come back for their streams, of `limits.replay_bytes_total`.");
    DETACHED = gauge("lockgate_detached", &[],
        "Exchanges and streams of legacy sessions that go on without their client.");
    DETACHED_GIVEN_UP = counter("lockgate_detached_given_up_total", &[],
        "Those that were ended for want of room, or because nobody came back for them.");
    STREAMS_RESUMED = counter("lockgate_streams_resumed_total", &[],
        "Recorded streams taken up again by a client that came back.");
    STREAM_GAPS = counter("lockgate_stream_gaps_total", &[],
        "Gaps in what legacy sessions and subscriptions heard, which clients were told of as changes of everything.");
    NOTIFICATIONS = gauge("lockgate_notifications", &[],
        "Notifications of clients that are on their way to backends.");
    NOTIFICATION_BYTES = gauge("lockgate_notification_bytes", &[],
        "Memory that their bodies hold.");
    NOTIFICATIONS_DROPPED = counter("lockgate_notifications_dropped_total", &[],
        "Notifications of clients that were not passed on, because too many were on their way.");
    BODY_BYTES = gauge("lockgate_request_body_bytes", &[],
        "Memory that request bodies hold, those up to 64 KiB not counted.");
    NODE_REQUESTS = counter("lockgate_node_requests_total", &["kind", "outcome"],
        "Requests that were to be carried out by another node.");
    NODES = gauge("lockgate_nodes", &[],
        "Other processes of this gateway that have said who they are.");
    NODE_CONNECTIONS = gauge("lockgate_node_connections", &["direction"],
        "Connections between nodes that are open: `in` those that others have made, `out` those that were made to them.");
    NODE_CONNECTIONS_REFUSED = counter("lockgate_node_connections_refused_total", &[],
        "Connections for other nodes that were turned away: too many, or from somebody who is none.");
    CONFIG_GENERATION = gauge("lockgate_config_generation", &[],
        "The configuration in use: 1 at start, one more with each change.");
    CONFIG_RELOADS = counter("lockgate_config_reloads_total", &["outcome"],
        "Reloads that ended.");
    CONFIG_RELOADED = gauge("lockgate_config_last_reload_success_timestamp_seconds", &[],
        "When the configuration was last found good, in seconds since the Unix epoch.");
    JOURNAL_ERRORS = counter("lockgate_journal_errors_total", &[],
        "Session state that could not be written to the state directory.");
    LOG_LINES_DROPPED = counter("lockgate_log_lines_dropped_total", &[],
        "Log lines given up because standard error did not take them in time.");
    BUILD_INFO = gauge("lockgate_build_info", &["version", "revision"],
        "Always 1: what is running.");
    PROCESS_CPU = counter("lockgate_process_cpu_seconds_total", &[],
        "User and system CPU time of the process, in seconds.");
    PROCESS_MEMORY = gauge("lockgate_process_resident_memory_bytes", &[],
        "Resident memory of the process, in bytes.");
    PROCESS_OPEN_FDS = gauge("lockgate_process_open_fds", &[],
        "Open file descriptors of the process.");
    PROCESS_MAX_FDS = gauge("lockgate_process_max_fds", &[],
        "The process's soft limit of open file descriptors.");
    PROCESS_START = gauge("lockgate_process_start_time_seconds", &[],
        "When the process started, in seconds since the Unix epoch.");
}

impl Definition {
    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    pub fn counter_vec(&self, registry: &Registry) -> Result<IntCounterVec> {
        registered(IntCounterVec::new(self.opts(), self.labels)?, registry)
    }

    pub fn gauge_vec(&self, registry: &Registry) -> Result<IntGaugeVec> {
        registered(IntGaugeVec::new(self.opts(), self.labels)?, registry)
    }

    pub fn histogram_vec(&self, registry: &Registry) -> Result<HistogramVec> {
        let opts = HistogramOpts::from(self.opts()).buckets(SECONDS.to_vec());
        registered(HistogramVec::new(opts, self.labels)?, registry)
    }

    pub fn counter(&self, registry: &Registry) -> Result<IntCounter> {
        registered(IntCounter::with_opts(self.opts())?, registry)
    }

    pub fn gauge(&self, registry: &Registry) -> Result<IntGauge> {
        registered(IntGauge::with_opts(self.opts())?, registry)
    }

    pub fn seconds_gauge(&self, registry: &Registry) -> Result<Gauge> {
        registered(Gauge::with_opts(self.opts())?, registry)
    }

    pub fn info(&self, values: &[&str], registry: &Registry) -> Result<()> {
        let family = registered(GaugeVec::new(self.opts(), self.labels)?, registry)?;
        family.get_metric_with_label_values(values)?.set(1.0);
        Ok(())
    }
}

fn registered<C: Collector + Clone + 'static>(collector: C, registry: &Registry) -> Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
