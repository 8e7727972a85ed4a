//! `lockgate demo`: the demo MCP server alone.

use super::terminal::Terminal;
use super::{Exit, Failure};
use std::net::SocketAddr;

/// Run the built-in demo MCP server alone, without the gateway
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address to accept clients on; port 0 lets the system choose
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
}

/// What the command line asks of the demo server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoOptions {
    /// The address to accept clients on.
    pub listen: SocketAddr,
}

impl From<Args> for DemoOptions {
    fn from(Args { listen }: Args) -> DemoOptions {
        DemoOptions { listen }
    }
}

/// Serves until told to stop.
pub(super) fn execute(
    options: DemoOptions,
    terminal: &mut Terminal<'_>,
    serve: impl FnOnce(DemoOptions) -> Result<(), Failure>,
) -> Exit {
    match serve(options) {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            terminal.error(&format!("error: {failure}"));
            Exit::Failed
        }
    }
}
