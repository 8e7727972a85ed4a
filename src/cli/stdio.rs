//! `lockgate stdio`: a virtual server, or any MCP endpoint, for a client that only starts commands.

use super::endpoint::{Endpoint, EndpointArgs, Look};
use super::terminal::Terminal;
use super::{Exit, Failure, Hooks};

/// Serve a virtual server, or any MCP endpoint, on standard input and output
///
/// For clients that start their servers as commands, such as Claude Desktop. With a configuration file, the gateway that
/// runs with it is used; where none runs, and with every other source, one is started within this process, on a port of
/// its own.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    endpoint: EndpointArgs,
}

/// Serves until the client has said its last word.
pub(super) fn execute(
    arguments: Args,
    terminal: &mut Terminal<'_>,
    hooks: Hooks,
    serve: impl FnOnce(Endpoint) -> Result<(), Failure>,
) -> Exit {
    let endpoint = match arguments.endpoint.find(Look::File, terminal, hooks) {
        Ok(endpoint) => endpoint,
        Err((message, exit)) => {
            terminal.error(&message);
            return exit;
        }
    };
    match serve(endpoint) {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            terminal.error(&format!("error: {failure}"));
            Exit::Failed
        }
    }
}
