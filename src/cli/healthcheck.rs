//! `lockgate healthcheck`: asks a running gateway whether it is well, for containers that have no other HTTP client.

use super::Exit;
use super::http::{self, Problem};
use super::terminal::Terminal;
use std::time::{Duration, Instant};
use url::Url;

/// Ask a running gateway whether it is well; exits with 1 when it is not
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address to ask: /healthz is about the process, /readyz about taking traffic
    #[arg(long, default_value = "http://127.0.0.1:9901/healthz")]
    url: Url,
}

/// How long the whole check may take.
const TIME: Duration = Duration::from_secs(3);

/// Checks.
pub(super) fn execute(arguments: &Args, terminal: &mut Terminal<'_>) -> Exit {
    match http::get(&arguments.url, None, &[], Instant::now() + TIME).map(|answer| answer.status) {
        Ok(status @ 200..=299) => {
            terminal.print(&format!("healthy ({status})"));
            Exit::Ok
        }
        Ok(status) => {
            terminal.error(&format!("not healthy: {} answered {status}", arguments.url));
            Exit::Failed
        }
        Err(Problem::Usage(message)) => {
            terminal.error(&format!("error: {message}"));
            Exit::Usage
        }
        Err(problem) => {
            terminal.error(&format!("not healthy: {problem}"));
            Exit::Failed
        }
    }
}
