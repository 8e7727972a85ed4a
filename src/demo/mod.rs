//! The embedded demo MCP server: something real behind the gateway before anything else is installed.
//!
//! Both eras on one endpoint, `/mcp`, on loopback only, with `Host` and `Origin` checks. Its tools are small but useful,
//! and its notes change, so that subscriptions and `list_changed` have something to say. Nothing is kept on disk.

mod alone;
mod calculator;
mod clock;
mod handler;
mod notes;
mod prompts;
mod resources;
mod sessions;
#[cfg(test)]
mod tests;
mod text;
mod tools;

pub use alone::run;

use crate::small_http::{self, Bounds};
use axum::Router;
use handler::{DemoServer, Shared};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use sessions::DemoSessions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The path of the endpoint.
pub const PATH: &str = "/mcp";

const BOUNDS: Bounds = Bounds {
    connections: 4096,
    // Also how long an idle connection of a client's pool is kept.
    header_time: Duration::from_secs(300),
    header_bytes: 64 * 1024,
    connection_time: Duration::from_secs(24 * 3600),
    drain_time: Duration::from_secs(2),
};

/// From the request to stop until event streams that have not ended are cut.
const LAST_WORDS_TIME: Duration = Duration::from_millis(100);

/// Pages on this machine, such as the MCP Inspector.
const ALLOWED_ORIGINS: [&str; 3] = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];

/// The demo server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// It has no authentication, so it is for this machine only.
    #[error("the demo server serves loopback addresses only, not {0}")]
    NotLoopback(SocketAddr),
    /// The socket failed.
    #[error("the demo server's socket: {0}")]
    Socket(#[from] io::Error),
}

/// Serves the demo server on `listener` until `shutdown`, then at most two seconds longer.
///
/// # Errors
///
/// When the listener is not bound to a loopback address.
pub async fn serve(listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), DemoError> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(DemoError::NotLoopback(address));
    }
    let config = StreamableHttpServerConfig::default()
        .with_json_response(true)
        .with_allowed_origins(ALLOWED_ORIGINS)
        .enforce_origin_validation();
    let streams = config.cancellation_token.clone();
    let shared = Arc::new(Shared::default());
    let stopping = Arc::clone(&shared);
    let service = StreamableHttpService::new(
        move || Ok(DemoServer::new(Arc::clone(&shared))),
        Arc::new(DemoSessions::default()),
        config,
    );
    let ended = async move {
        shutdown.await;
        stopping.stop();
        // The SDK's own way to stop cuts streams off, so what can end with a result is given time to.
        sleep(LAST_WORDS_TIME).await;
        streams.cancel();
    };
    small_http::serve(listener, Router::new().route_service(PATH, service), BOUNDS, ended).await;
    Ok(())
}

/// A demo server that runs in this process.
#[must_use = "the server stops when this is dropped"]
#[derive(Debug)]
pub struct Demo {
    /// Where it is: `http://127.0.0.1:PORT/mcp`.
    pub url: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), DemoError>>,
}

/// Starts the demo server on a free loopback port, on the tokio runtime that this is called in.
///
/// # Errors
///
/// When no port can be bound.
pub async fn start_ephemeral() -> Result<Demo, DemoError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}{PATH}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, async move {
        // An error says that the handle was dropped, which means the same.
        let _ = stopped.await;
    }));
    Ok(Demo { url, stop, server })
}

impl Demo {
    /// Stops it and waits until it has, at most two seconds.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        if let Err(error) = self.server.await {
            tracing::warn!(%error, "the demo server failed");
        }
    }
}

/// The demo server of a process that may need one: started by the first configuration that asks for it, then kept.
#[derive(Debug, Default)]
pub struct OnDemand(Mutex<Option<Demo>>);

impl OnDemand {
    /// Where it is; starts it where it does not run yet, on the tokio runtime that this is called in.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn url(&self) -> Result<String, DemoError> {
        let mut demo = self.0.lock().await;
        let running = match demo.take() {
            Some(running) => running,
            None => start_ephemeral().await?,
        };
        Ok(demo.insert(running).url.clone())
    }

    /// Stops it, if it runs, and waits until it has.
    pub async fn stop(&self) {
        let running = self.0.lock().await.take();
        if let Some(running) = running {
            running.stop().await;
        }
    }
}
