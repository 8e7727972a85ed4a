//! `lockgate run`: loads the configuration and hands it to the server.

use super::source::{OverrideArgs, SourceArgs};
use super::terminal::Terminal;
use super::{Exit, Failure, Hooks};
use crate::config::{ConfigSource, Judge, Loaded, Overrides, SystemSources, load_judged};

/// Run the gateway
///
/// Without a source, runs the built-in quickstart: a demo MCP server at http://127.0.0.1:8080/mcp.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Seal tickets with keys that die with this process, where none is configured and none can be stored
    #[arg(long)]
    ephemeral_keys: bool,
}

/// What the command line asks to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Where the configuration comes from; read again on every reload.
    pub source: ConfigSource,
    /// What the command line says in its place, on every reload.
    pub overrides: Overrides,
    /// Whether keys may die with the process.
    pub ephemeral_keys: bool,
}

impl RunOptions {
    /// A gateway for a while, whose keys are of no use to another one.
    pub(super) fn new(source: ConfigSource) -> RunOptions {
        RunOptions { source, overrides: Overrides::default(), ephemeral_keys: true }
    }

    /// Loads the configuration, for the first time or again.
    ///
    /// # Errors
    /// Everything that is wrong with it, with positions.
    pub fn load(&self, judge: Judge<'_>) -> Result<Loaded, crate::config::Report> {
        load_judged(&self.source, &self.overrides, &SystemSources, judge)
    }
}

impl From<Args> for RunOptions {
    fn from(Args { source, overrides, ephemeral_keys }: Args) -> RunOptions {
        RunOptions { source: source.into(), overrides: overrides.into(), ephemeral_keys }
    }
}

/// What a server starts from.
#[derive(Debug)]
pub struct Start {
    /// What was asked for, to load the configuration again.
    pub options: RunOptions,
    /// The configuration.
    pub loaded: Loaded,
}

/// Loads the configuration and serves it until told to stop.
pub fn execute(
    options: RunOptions,
    terminal: &mut Terminal<'_>,
    hooks: Hooks,
    serve: impl FnOnce(Start) -> Result<(), Failure>,
) -> Exit {
    let loaded = match options.load(&|config| hooks.objections(config)) {
        Ok(loaded) => loaded,
        Err(report) => {
            terminal.error(&report.render(terminal.err_style()));
            return Exit::Failed;
        }
    };
    if !loaded.warnings.is_empty() {
        terminal.error(&loaded.warnings.render(terminal.err_style()));
    }
    match serve(Start { options, loaded }) {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            terminal.error(&format!("error: {failure}"));
            Exit::Failed
        }
    }
}
