//! `lockgate stdio`, put together: a client on standard input and output in front of an endpoint that is there, or of a
//! gateway that is started for it within this process.

use crate::bridge::{Limits, Patience, Server, stdio};
use crate::cli::{Endpoint, Target};
use crate::server::{self, StartError};
use crate::telemetry::logs::{self, LogError, LogFormat};
use crate::upstream::{EndpointSettings, SettingsError};
use http::header::AUTHORIZATION;
use http::{HeaderValue, header};
use std::io;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

/// What is logged beside an endpoint that somebody else runs: the client shows it to its user.
const LEVEL: &str = "warn";

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// The endpoint.
    #[error("{0}")]
    Endpoint(#[from] SettingsError),
    /// The token is no header value.
    #[error("the token cannot be sent: {0}")]
    Token(#[from] header::InvalidHeaderValue),
    /// The gateway within.
    #[error(transparent)]
    Gateway(#[from] StartError),
    /// No listener offers the virtual server.
    #[error("no listener offers virtual server `{0}`")]
    NotOffered(String),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Threads or signals.
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
}

/// Serves the client until it has said its last word and has its answers, or the process is told to stop.
///
/// # Errors
/// [`StdioError`], before anything is read.
pub fn run(Endpoint { target, token }: Endpoint) -> Result<(), StdioError> {
    match target {
        Target::There(url) => {
            let server = endpoint(url, token.as_deref())?;
            let _logs = logs::init(LogFormat::Auto, LEVEL, || ())?;
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let served = runtime.block_on(async {
                serve(server, stop()?).await;
                Ok(())
            });
            // A thread may still wait for standard input: nobody waits for that thread.
            runtime.shutdown_background();
            served
        }
        Target::Within(start, name) => server::run_for(*start, |within| {
            let url = within.url(&name).ok_or_else(|| StdioError::NotOffered(name.to_string()))?;
            let server = endpoint(url, token.as_deref())?;
            let stop = stop()?;
            Ok(serve(server, stop))
        }),
    }
}

/// An endpoint in the network, and what is proven to it.
///
/// # Errors
/// When one of them cannot be used.
pub fn endpoint(url: Url, token: Option<&str>) -> Result<Server, StdioError> {
    let mut settings = EndpointSettings::new(url);
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
        value.set_sensitive(true);
        settings.headers.push((AUTHORIZATION, value));
    }
    Ok(Server::at(&settings)?)
}

async fn serve(server: Server, stop: impl Future) {
    let (input, output) = (tokio::io::stdin(), tokio::io::stdout());
    stdio::serve(input, output, server, Limits::default(), Patience::default(), stop).await;
}

/// Ends when the process is told to stop. To be called on a runtime.
fn stop() -> io::Result<impl Future> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
