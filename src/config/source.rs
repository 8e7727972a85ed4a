//! Where a configuration comes from, and what the command line changes in it.

use std::path::PathBuf;

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// The built-in configuration with the demo server.
    Quickstart,
    /// A YAML file.
    File(PathBuf),
    /// The JSON file of an MCP client (`mcpServers`).
    McpJson(PathBuf),
    /// Backends given on the command line.
    Backends(Vec<BackendFlag>),
}

impl ConfigSource {
    /// The file to watch, where there is one.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            ConfigSource::File(path) | ConfigSource::McpJson(path) => Some(path),
            ConfigSource::Quickstart | ConfigSource::Backends(_) => None,
        }
    }
}

/// One `--backend NAME=URL` or `--command NAME=COMMAND`. No part has been looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendFlag {
    /// The name.
    pub name: String,
    /// How the server is reached.
    pub reached: Reached,
}

/// How a server of the command line is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// At the URL of its endpoint.
    Url(String),
    /// By starting it: a program and its arguments, quoted as for a shell. No shell sees it.
    Command(String),
}

/// What the command line says in place of the configuration. The values have not been looked at yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`: the address of the only listener.
    pub listen: Option<String>,
    /// `--admin`: the address of the admin listener.
    pub admin: Option<String>,
    /// `--state-dir`: relative to the working directory.
    pub state_dir: Option<PathBuf>,
    /// Nobody but this process shall find the gateway: each listener, the admin listener too, is a plain one at a loopback
    /// port that the system chooses, whatever else is said of it.
    pub private: bool,
}
