//! The flags that say which configuration is meant.

use super::backend_flag;
use crate::config::{BackendFlag, ConfigSource, Overrides};
use std::path::PathBuf;

/// Where the configuration comes from. Without any of these, the built-in quickstart.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct SourceArgs {
    /// A configuration file (YAML)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["backend", "command", "mcp_json"])]
    config: Option<PathBuf>,
    /// An MCP server to put the gateway in front of; may be given several times
    #[arg(long, value_name = "NAME=URL", value_parser = backend_flag::backend)]
    backend: Vec<BackendFlag>,
    /// An MCP server to start, which speaks on its standard input and output; may be given several times
    #[arg(long, value_name = "NAME=COMMAND", value_parser = backend_flag::command)]
    command: Vec<BackendFlag>,
    /// The JSON file in which an MCP client lists its servers (`mcpServers`)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["backend", "command"])]
    mcp_json: Option<PathBuf>,
}

/// What the command line says in place of the configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct OverrideArgs {
    /// Accept clients on this address instead of the configured one
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Accept operators on this address instead of the configured one
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<String>,
    /// Keep state in this directory instead of the configured one
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl From<SourceArgs> for ConfigSource {
    fn from(arguments: SourceArgs) -> ConfigSource {
        match arguments {
            SourceArgs { config: Some(path), .. } => ConfigSource::File(path),
            SourceArgs { mcp_json: Some(path), .. } => ConfigSource::McpJson(path),
            SourceArgs { backend, command, .. } => {
                let flags: Vec<BackendFlag> = backend.into_iter().chain(command).collect();
                if flags.is_empty() { ConfigSource::Quickstart } else { ConfigSource::Backends(flags) }
            }
        }
    }
}

impl From<OverrideArgs> for Overrides {
    fn from(OverrideArgs { listen, admin, state_dir }: OverrideArgs) -> Overrides {
        Overrides { listen, admin, state_dir, private: false }
    }
}
