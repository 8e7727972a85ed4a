//! How a backend is reached: over HTTP, or through an adapter that behaves like a Streamable HTTP server.
//!
//! This is where transports end: above it a backend is asked by [`UpstreamRequest`] and answers with
//! [`UpstreamResponse`], whatever it is.

use super::connector::Connector;
use super::counters::Counters;
use super::endpoint::Endpoint;
use super::exchange::UpstreamRequest;
use super::fault::AttemptFault;
use super::ground::Ground;
use super::response::UpstreamResponse;
use super::settings::{BackendSettings, CommandSettings, PoolSettings, Protocol, Setting, SettingsError, Timeouts};
use super::sse::Sse;
use super::stdio::Command;
use std::fmt;
use std::sync::Arc;
use tokio::sync::futures::Notified;

/// The way to a backend.
#[derive(Clone)]
pub(super) enum Reach {
    /// A URL.
    Http {
        /// What is spoken to as Streamable HTTP.
        endpoint: Arc<Endpoint>,
        /// The same as the transport of 2024-11-05, where that may turn out to be what it speaks.
        sse: Option<Arc<Sse>>,
    },
    /// A URL that is known to speak the transport of 2024-11-05.
    Sse {
        /// Where its streams come from, or its messages go.
        endpoint: Arc<Endpoint>,
        /// How it is spoken to.
        sse: Arc<Sse>,
    },
    /// A command.
    Command(Arc<Command>),
}

impl Reach {
    /// The ways to a backend: for clients' requests, and for the gateway's own.
    pub(super) fn ways(
        settings: &BackendSettings,
        connector: &Arc<Connector>,
        ground: &Arc<Ground>,
    ) -> Result<(Reach, Reach), SettingsError> {
        let one = |message| Err(SettingsError::new(Setting::Endpoints, message));
        match (settings.endpoints.as_slice(), &settings.command) {
            ([endpoint], None) => {
                let traffic = Arc::new(Endpoint::new(endpoint, settings.pool, connector)?);
                let control = Arc::new(Endpoint::new(endpoint, settings.pool, connector)?.beside(&traffic));
                // A session is its connection, so there is one adapter for both ways.
                let sse = (matches!(settings.protocol, Protocol::Auto | Protocol::Sse)).then(|| {
                    let (name, ways) = (settings.name.clone(), (control.clone(), traffic.clone()));
                    Sse::new(name, connector.clone(), ways, ground.clone(), settings.sse_event)
                });
                let way = |endpoint| match (&sse, settings.protocol) {
                    (Some(sse), Protocol::Sse) => Reach::Sse { endpoint, sse: sse.clone() },
                    (sse, _) => Reach::Http { endpoint, sse: sse.clone() },
                };
                Ok((way(traffic.clone()), way(control.clone())))
            }
            ([], Some(_)) if settings.protocol == Protocol::Sse => {
                let message = "a command is spoken to over its standard input and output";
                Err(SettingsError::new(Setting::Protocol, message))
            }
            ([], Some(command)) => {
                let name = settings.name.clone();
                let command = Command::new(name, command, settings.sse_event, ground.clone())?;
                Ok((Reach::Command(command.clone()), Reach::Command(command)))
            }
            (_, Some(_)) => one("either endpoints or a command"),
            (_, None) => one("exactly one endpoint: several come with load balancing"),
        }
    }

    /// Sends a request; see [`Connector::send`].
    pub(super) async fn send(
        &self,
        connector: &Connector,
        request: &UpstreamRequest,
        timeouts: &Timeouts,
        answer_bytes: usize,
    ) -> Result<UpstreamResponse, AttemptFault> {
        match self {
            // Adapters are rare and large: kept out of the future of every HTTP request.
            Reach::Http { sse: Some(sse), .. } if sse.is_spoken() => Box::pin(sse.send(request, timeouts)).await,
            Reach::Http { endpoint, .. } => connector.send(endpoint, request, timeouts, answer_bytes).await,
            Reach::Sse { sse, .. } => Box::pin(sse.send(request, timeouts)).await,
            Reach::Command(command) => Box::pin(command.send(request, timeouts)).await,
        }
    }

    /// Its URL, where it has one.
    pub(super) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        match self {
            Reach::Http { endpoint, .. } | Reach::Sse { endpoint, .. } => Some(endpoint),
            Reach::Command(_) => None,
        }
    }

    /// Its command, where it is one.
    pub(super) fn command(&self) -> Option<&Arc<Command>> {
        match self {
            Reach::Http { .. } | Reach::Sse { .. } => None,
            Reach::Command(command) => Some(command),
        }
    }

    /// Its adapter to the transport of 2024-11-05, where it may speak that.
    pub(super) fn sse(&self) -> Option<&Arc<Sse>> {
        match self {
            Reach::Http { sse, .. } => sse.as_ref(),
            Reach::Sse { sse, .. } => Some(sse),
            Reach::Command(_) => None,
        }
    }

    /// The same URL, as Streamable HTTP whatever it was found to speak; to find out about it.
    pub(super) fn over_http(&self) -> Reach {
        match self {
            Reach::Http { endpoint, .. } => Reach::Http { endpoint: Arc::clone(endpoint), sse: None },
            Reach::Sse { .. } | Reach::Command(_) => self.clone(),
        }
    }

    /// The same URL over the transport of 2024-11-05, where it may speak that; to find out about it.
    pub(super) fn over_sse(&self) -> Option<Reach> {
        let (endpoint, sse) = (self.endpoint()?, self.sse()?);
        Some(Reach::Sse { endpoint: Arc::clone(endpoint), sse: Arc::clone(sse) })
    }

    /// Whether these settings describe it.
    pub(super) fn is(&self, settings: &BackendSettings) -> bool {
        match (self, settings.endpoints.as_slice(), &settings.command) {
            (_, [wanted], None) => self.endpoint().is_some_and(|endpoint| endpoint.is(wanted)),
            (Reach::Command(command), [], Some(wanted)) => command.is(wanted),
            _ => false,
        }
    }

    /// What sessions are remembered under; see [`Endpoint::place`].
    pub(super) fn place(&self, backend: &str) -> Arc<str> {
        match self {
            Reach::Http { endpoint, .. } | Reach::Sse { endpoint, .. } => endpoint.place(backend),
            Reach::Command(command) => command.place(),
        }
    }

    /// Whether it answered when it was last asked; `None` until it was.
    pub(super) fn is_up(&self) -> Option<bool> {
        match self {
            Reach::Http { endpoint, .. } | Reach::Sse { endpoint, .. } => endpoint.answered.last(),
            Reach::Command(command) => command.answered.last(),
        }
    }

    /// Waits until it answers again, or does so no more.
    pub(super) fn flips(&self) -> Notified<'_> {
        match self {
            Reach::Http { endpoint, .. } | Reach::Sse { endpoint, .. } => endpoint.answered.flips(),
            Reach::Command(command) => command.answered.flips(),
        }
    }

    /// What its adapter counts, if it is reached through one.
    pub(super) fn counters(&self) -> Option<&Arc<Counters>> {
        match self {
            Reach::Command(command) => Some(command.counters()),
            Reach::Sse { sse, .. } => Some(sse.counters()),
            Reach::Http { sse, .. } => sse.as_ref().filter(|sse| sse.is_spoken()).map(|sse| sse.counters()),
        }
    }

    /// Takes over how connections and processes are kept, which can change while they are there.
    pub(super) fn keep_as(&self, kept: &Kept) {
        if let Some(endpoint) = self.endpoint() {
            endpoint.set_pool(kept.pool);
        }
        if let Some(sse) = self.sse() {
            sse.keep_as(kept.message_bytes);
        }
        if let (Some(command), Some(settings)) = (self.command(), &kept.command) {
            command.keep_as(settings, kept.message_bytes);
        }
    }

    /// Keeps nothing open from now on; see [`Endpoint::retire`]. What runs goes on to its end.
    pub(super) fn retire(&self) {
        if let Some(endpoint) = self.endpoint() {
            endpoint.retire();
        }
        if let Some(sse) = self.sse() {
            sse.retire();
        }
        if let Some(command) = self.command() {
            command.retire();
        }
    }

    /// Closes idle connections that are too old, or that the backend closed.
    pub(super) fn sweep(&self) {
        if let Some(endpoint) = self.endpoint() {
            endpoint.sweep();
        }
        if let Some(sse) = self.sse() {
            sse.sweep();
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
            Reach::Http { endpoint, .. } | Reach::Sse { endpoint, .. } => endpoint.fmt(f),
            Reach::Command(command) => command.fmt(f),
        }
    }
}
