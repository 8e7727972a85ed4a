//! Metrics, logs and what never gets into them.
//!
//! [`metrics`] is the one registry; the rest of the gateway observes through handles that are looked up once, when a
//! snapshot is built. [`logs`] sets up logging, [`redact`] keeps secrets out of it, [`correlation`] names each exchange.

pub mod access;
pub mod backend;
pub mod correlation;
mod definitions;
#[cfg(test)]
mod docs;
mod held;
pub mod labels;
pub mod listener;
mod log_bridge;
mod log_writer;
pub mod logs;
pub mod metrics;
mod named;
mod process;
pub mod redact;
pub mod virtual_server;

pub use backend::{AdapterCounts, BackendMetrics};
pub use correlation::CorrelationId;
pub use held::Held;
pub use listener::ListenerMetrics;
pub use metrics::{BuildInfo, Metrics};
pub use virtual_server::ServerMetrics;
