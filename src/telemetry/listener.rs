//! What is counted for one listener.

use super::definitions as d;
use super::labels::ConnectionRefusal;
use super::metrics::Metrics;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result};
use std::sync::Arc;

/// The families that carry the label `listener`.
#[derive(Debug)]
pub(super) struct Families {
    connections: IntGaugeVec,
    refused: IntCounterVec,
}

impl Families {
    pub fn new(registry: &Registry) -> Result<Families> {
        Ok(Families {
            connections: d::CONNECTIONS.gauge_vec(registry)?,
            refused: d::CONNECTIONS_REFUSED.counter_vec(registry)?,
        })
    }
}

/// The series of one listener, looked up once when it is bound.
#[derive(Debug)]
pub struct ListenerMetrics {
    name: Box<str>,
    metrics: Arc<Metrics>,
    connections: IntGauge,
    refused: [IntCounter; ConnectionRefusal::COUNT],
}

impl ListenerMetrics {
    pub(super) fn new(metrics: Arc<Metrics>, name: &str) -> ListenerMetrics {
        let families = &metrics.listeners;
        ListenerMetrics {
            name: name.into(),
            connections: families.connections.with_label_values(&[name]),
            refused: std::array::from_fn(|i| {
                families.refused.with_label_values(&[name, ConnectionRefusal::ALL[i].label()])
            }),
            metrics,
        }
    }

    /// Takes over how many connections are open now.
    pub fn set_open(&self, connections: usize) {
        self.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    /// Takes over how many connections were refused for a reason since the start: a number that never falls.
    pub fn set_refused(&self, reason: ConnectionRefusal, total: u64) {
        let counter = &self.refused[reason.index()];
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    fn remove_series(&self) {
        let families = &self.metrics.listeners;
        // An error here says that the series was never there.
        let _ = families.connections.remove_label_values(&[&*self.name]);
        for reason in ConnectionRefusal::ALL {
            let _ = families.refused.remove_label_values(&[&*self.name, reason.label()]);
        }
    }
}

impl Drop for ListenerMetrics {
    fn drop(&mut self) {
        self.metrics.listener_handles.forget(&self.name, || self.remove_series());
    }
}
