//! How a backend is reached: over HTTP, or through an adapter that behaves like a Streamable HTTP server.
//!
//! This is where transports end: above it a backend is asked by [`UpstreamRequest`] and answers with
//! [`UpstreamResponse`], whatever it is.

use super::connector::Connector;
use super::counters::Counters;
use super::endpoint::Endpoint;
use super::exchange::UpstreamRequest;
use super::fault::AttemptFault;
use super::response::UpstreamResponse;
use super::settings::{BackendSettings, CommandSettings, PoolSettings, Timeouts};
use super::stdio::Command;
use std::fmt;
use std::sync::Arc;
use tokio::sync::futures::Notified;

/// The way to a backend.
#[derive(Clone)]
pub(super) enum Reach {
    /// A URL.
    Http(Arc<Endpoint>),
    /// A command.
    Command(Arc<Command>),
}

impl Reach {
    /// Sends a request; see [`Connector::send`].
    pub(super) async fn send(
        &self,
        connector: &Connector,
        request: &UpstreamRequest,
        timeouts: &Timeouts,
        answer_bytes: usize,
    ) -> Result<UpstreamResponse, AttemptFault> {
        match self {
            Reach::Http(endpoint) => connector.send(endpoint, request, timeouts, answer_bytes).await,
            // Rare and large: kept out of the future of every HTTP request.
            Reach::Command(command) => Box::pin(command.send(request, timeouts)).await,
        }
    }

    /// Its URL, where it has one.
    pub(super) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        match self {
            Reach::Http(endpoint) => Some(endpoint),
            Reach::Command(_) => None,
        }
    }

    /// Its command, where it is one.
    pub(super) fn command(&self) -> Option<&Arc<Command>> {
        match self {
            Reach::Http(_) => None,
            Reach::Command(command) => Some(command),
        }
    }

    /// Whether these settings describe it.
    pub(super) fn is(&self, settings: &BackendSettings) -> bool {
        match (self, settings.endpoints.as_slice(), &settings.command) {
            (Reach::Http(endpoint), [wanted], None) => endpoint.is(wanted),
            (Reach::Command(command), [], Some(wanted)) => command.is(wanted),
            _ => false,
        }
    }

    /// What sessions are remembered under; see [`Endpoint::place`].
    pub(super) fn place(&self, backend: &str) -> Arc<str> {
        match self {
            Reach::Http(endpoint) => endpoint.place(backend),
            Reach::Command(command) => command.place(),
        }
    }

    /// Whether it answered when it was last asked; `None` until it was.
    pub(super) fn is_up(&self) -> Option<bool> {
        match self {
            Reach::Http(endpoint) => endpoint.answered.last(),
            Reach::Command(command) => command.answered.last(),
        }
    }

    /// Waits until it answers again, or does so no more.
    pub(super) fn flips(&self) -> Notified<'_> {
        match self {
            Reach::Http(endpoint) => endpoint.answered.flips(),
            Reach::Command(command) => command.answered.flips(),
        }
    }

    /// What its adapter counts, if it has one.
    pub(super) fn counters(&self) -> Option<&Arc<Counters>> {
        match self {
            Reach::Http(_) => None,
            Reach::Command(command) => Some(command.counters()),
        }
    }

    /// Takes over how connections and processes are kept, which can change while they are there.
    pub(super) fn keep_as(&self, kept: &Kept) {
        match self {
            Reach::Http(endpoint) => endpoint.set_pool(kept.pool),
            Reach::Command(command) => {
                if let Some(settings) = &kept.command {
                    command.keep_as(settings, kept.message_bytes);
                }
            }
        }
    }

    /// Keeps nothing open from now on; see [`Endpoint::retire`]. What runs goes on to its end.
    pub(super) fn retire(&self) {
        match self {
            Reach::Http(endpoint) => endpoint.retire(),
            Reach::Command(command) => command.retire(),
        }
    }

    /// Closes idle connections that are too old, or that the backend closed.
    pub(super) fn sweep(&self) {
        if let Some(endpoint) = self.endpoint() {
            endpoint.sweep();
        }
    }

    /// Keeps the addresses behind its URL fresh; for ever.
    pub(super) async fn keep_fresh(&self) {
        if let Some(endpoint) = self.endpoint() {
            endpoint.resolver.keep_fresh(|| endpoint.pool().resolve_interval).await;
        }
    }

    /// Whether the `User-Agent` of a request is the client's, or none.
    pub(super) fn forwards_user_agent(&self) -> bool {
        self.endpoint().is_some_and(|endpoint| endpoint.forwards_user_agent())
    }
}

/// How connections and processes are kept, as one generation of the configuration wants it.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) pool: PoolSettings,
    pub(super) command: Option<CommandSettings>,
    pub(super) message_bytes: usize,
}

impl Kept {
    pub(super) fn of(settings: &BackendSettings) -> Kept {
        Kept { pool: settings.pool, command: settings.command.clone(), message_bytes: settings.sse_event }
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Http(endpoint) => endpoint.fmt(f),
            Reach::Command(command) => command.fmt(f),
        }
    }
}
