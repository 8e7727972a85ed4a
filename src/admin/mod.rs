//! The operator's listener: health, metrics, effective configuration, reload.
//!
//! It knows the rest of the gateway only as a [`Control`]; whatever a reload may change is asked for on each request.
//!
//! | path | answer | open to |
//! |---|---|---|
//! | `GET /healthz`, `/health`, `/livez` | 200 as long as the process serves | everybody |
//! | `GET /readyz` | 200 or 503; with the token, the detail as JSON | everybody |
//! | `GET /metrics` | Prometheus text | as [`MetricsPolicy`] says |
//! | `GET /config` | the effective configuration, secrets masked: YAML, or JSON by `Accept` | the token |
//! | `GET /backends` | what is known of the backends: [`overview::Backends`] | the token |
//! | `GET /servers` | what is known of the virtual servers: [`overview::Servers`] | the token |
//! | `POST /reload` | what the reload did | the token |

mod answer;
mod control;
mod guard;
pub mod overview;
mod routes;
#[cfg(test)]
mod tests;
mod timestamp;

pub use control::{
    BackendState, ConfigForm, Control, Detail, Diagnostic, EffectiveConfig, LastReload, MetricsPolicy, ReloadOutcome,
};

use crate::small_http::{self, Bounds};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// What a client of the admin listener may use. Each member is a key of `admin.limits` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// From the start of a connection, or the end of an answer, to the end of the next request's header.
    pub header_time: Duration,
    /// Bytes of a request's header.
    pub header_bytes: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// From the end of a request's header to the end of its answer.
    pub request_time: Duration,
    /// The life of a connection.
    pub connection_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 64,
            header_time: Duration::from_secs(10),
            header_bytes: 64 * 1024,
            body_bytes: 64 * 1024,
            request_time: Duration::from_secs(30),
            connection_time: Duration::from_secs(600),
        }
    }
}

/// Serves the operator on `listener` until `shutdown`; requests that have begun get [`Limits::request_time`] more.
pub async fn serve(
    listener: TcpListener,
    control: Arc<dyn Control>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    serve_as(listener, control, limits, loopback, shutdown).await;
}

async fn serve_as(
    listener: TcpListener,
    control: Arc<dyn Control>,
    limits: Limits,
    loopback: bool,
    shutdown: impl Future<Output = ()>,
) {
    let router = routes::router(control, limits, loopback);
    let bounds = Bounds {
        connections: limits.connections,
        header_time: limits.header_time,
        header_bytes: limits.header_bytes,
        connection_time: limits.connection_time,
        drain_time: limits.request_time,
    };
    small_http::serve(listener, router, bounds, shutdown).await;
}
