//! The command line: one file a verb.
//!
//! Exit codes: 0 when it worked, 1 when something is invalid, differs or failed, 2 when the command line itself is wrong.

mod backend_flag;
pub mod clients;
mod completions;
mod config;
mod demo;
mod endpoint;
mod healthcheck;
mod http;
mod key;
mod listing;
mod overview;
pub mod run;
mod running;
mod source;
mod stdio;
mod terminal;
mod tools;
mod validate;
mod version;

pub use demo::DemoOptions;
pub use endpoint::{Endpoint, Target};
pub use run::{RunOptions, Start};
pub use terminal::Terminal;
pub use version::COMMIT;

use crate::config::{Config, Objection, Style};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde_json::{Map, Value};
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Why a verb that serves came to an end before it was told to.
pub type Failure = Box<dyn Error>;

/// Reads the admin token that a gateway keeps in its state directory; `None` when there is none.
pub type TokenReader = fn(&Path) -> Result<Option<String>, Failure>;

/// What a person asks an MCP endpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// All its tools.
    Tools,
    /// To call one.
    Call {
        /// Its name.
        name: String,
        /// Its arguments.
        arguments: Map<String, Value>,
    },
}

/// Asks an endpoint; the answer may take so long.
pub type QueryRunner = fn(Endpoint, Query, Duration) -> Result<Value, Failure>;

/// Starts a gateway and gives what it knows of its parts, once it has asked its backends.
pub type Survey = fn(Start) -> Result<Value, Failure>;

/// The parts of the gateway that the command line starts but does not know. A verb without its part is not offered.
#[derive(Clone, Copy, Default)]
pub struct Hooks {
    /// Serves until told to stop.
    pub run: Option<fn(Start) -> Result<(), Failure>>,
    /// Serves the demo MCP server until told to stop.
    pub demo: Option<fn(DemoOptions) -> Result<(), Failure>>,
    /// Serves on standard input and output until the client has said its last word.
    pub stdio: Option<fn(Endpoint) -> Result<(), Failure>>,
    /// Asks an MCP endpoint.
    pub query: Option<QueryRunner>,
    /// Tells of the backends of a gateway that is started for it.
    pub backends: Option<Survey>,
    /// Tells of its virtual servers.
    pub servers: Option<Survey>,
    /// Says everything that keeps a configuration, right by itself, from being used here.
    pub judge: Option<fn(&Config) -> Vec<Objection>>,
    /// Reads the admin token that a gateway keeps.
    pub admin_token: Option<TokenReader>,
}

impl Hooks {
    /// What is wrong with a configuration in the eyes of those who will use it.
    fn objections(self, config: &Config) -> Vec<Objection> {
        self.judge.map(|judge| judge(config)).unwrap_or_default()
    }
}

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It worked.
    Ok,
    /// Something is invalid, differs or failed.
    Failed,
    /// The command line is wrong.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
        })
    }
}

/// An MCP gateway: one safe, fast, observable endpoint in front of many Model Context Protocol servers.
#[derive(Debug, Parser)]
#[command(name = "lockgate", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Args),
    Stdio(stdio::Args),
    Demo(demo::Args),
    Validate(validate::Args),
    Config(config::Args),
    Key(key::Args),
    Tools(tools::Args),
    Backends(overview::BackendsArgs),
    Servers(overview::ServersArgs),
    Healthcheck(healthcheck::Args),
    Version(version::Args),
    Completions(completions::Args),
}

/// Carries out the command line of this process.
pub fn main(hooks: Hooks) -> ExitCode {
    Terminal::of_process(|terminal| execute(std::env::args_os(), hooks, terminal)).into()
}

/// Carries out a command line.
pub fn execute(arguments: impl IntoIterator<Item = OsString>, hooks: Hooks, terminal: &mut Terminal<'_>) -> Exit {
    let parsed = command(hooks).try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        // Help and version are errors to clap too: they end the parsing.
        Err(error) if error.use_stderr() => {
            terminal.error(&styled(&error, terminal.err_style()));
            return Exit::Usage;
        }
        Err(error) => {
            terminal.print(&styled(&error, terminal.out_style()));
            return Exit::Ok;
        }
    };
    match cli.verb {
        Verb::Run(arguments) => match hooks.run {
            Some(serve) => run::execute(arguments.into(), terminal, hooks, serve),
            None => absent(terminal),
        },
        Verb::Stdio(arguments) => match hooks.stdio {
            Some(serve) => stdio::execute(arguments, terminal, hooks, serve),
            None => absent(terminal),
        },
        Verb::Demo(arguments) => match hooks.demo {
            Some(serve) => demo::execute(arguments.into(), terminal, serve),
            None => absent(terminal),
        },
        Verb::Validate(arguments) => validate::execute(&arguments, hooks, terminal),
        Verb::Config(arguments) => config::execute(arguments, hooks, terminal),
        Verb::Key(arguments) => key::execute(arguments, terminal),
        Verb::Tools(arguments) => match hooks.query {
            Some(run) => tools::execute(arguments, terminal, hooks, run),
            None => absent(terminal),
        },
        Verb::Backends(arguments) => overview::backends(arguments, hooks, terminal),
        Verb::Servers(arguments) => overview::servers(arguments, hooks, terminal),
        Verb::Healthcheck(arguments) => healthcheck::execute(&arguments, terminal),
        Verb::Version(arguments) => version::execute(&arguments, terminal),
        Verb::Completions(arguments) => completions::execute(&arguments, command(hooks), terminal),
    }
}

/// What clap has to say, coloured where that is wanted.
fn styled(message: &clap::Error, style: Style) -> String {
    let text = message.render();
    match style {
        Style::Plain => text.to_string(),
        Style::Coloured => text.ansi().to_string(),
    }
}

/// A verb whose part this build does not carry.
fn absent(terminal: &mut Terminal<'_>) -> Exit {
    terminal.error("error: this build of lockgate does not carry that verb");
    Exit::Usage
}

/// The command line, without the verbs whose parts are missing.
fn command(hooks: Hooks) -> clap::Command {
    let absent = [
        ("run", hooks.run.is_none()),
        ("stdio", hooks.stdio.is_none()),
        ("tools", hooks.query.is_none()),
        ("demo", hooks.demo.is_none()),
    ];
    absent
        .into_iter()
        .filter(|(_, absent)| *absent)
        .fold(Cli::command(), |command, (verb, _)| command.mut_subcommand(verb, |verb| verb.hide(true)))
}

#[cfg(test)]
mod tests;
