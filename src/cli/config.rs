//! `lockgate config show|schema|diff`.

use super::running::{Refused, RunningArgs, Told};
use super::source::{OverrideArgs, SourceArgs};
use super::terminal::Terminal;
use super::{Exit, Hooks};
use crate::config::{Change, Config, Loaded, Report, Style, SystemSources, diff, load, load_file, schema};
use clap::Subcommand;
use owo_colors::{OwoColorize as _, Style as Paint};
use std::path::PathBuf;

/// Show configurations, compare them, or print their schema
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the configuration in effect: defaults filled in, secrets masked
    Show {
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        overrides: OverrideArgs,
        #[command(flatten)]
        running: RunningArgs,
        /// The form to print it in
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print the JSON Schema of configuration files
    Schema,
    /// Print what differs between two configuration files; exits with 1 when something does
    Diff {
        /// The configuration to compare from
        #[arg(value_name = "A")]
        from: PathBuf,
        /// The configuration to compare to
        #[arg(value_name = "B")]
        to: PathBuf,
        /// The form to print it in
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Yaml,
    /// For programs
    Json,
}

/// Carries out a verb of `lockgate config`.
pub(super) fn execute(arguments: Args, hooks: Hooks, terminal: &mut Terminal<'_>) -> Exit {
    match arguments.verb {
        Verb::Show { source, overrides, running, format } if running.is_meant() => {
            let load = |terminal: &mut Terminal<'_>| {
                let loaded = valid(load(&source.into(), &overrides.into(), &SystemSources), terminal);
                loaded.map(|loaded| loaded.config)
            };
            match show_running(&running, load, format, hooks, terminal) {
                Ok(text) => {
                    terminal.print(&text);
                    Exit::Ok
                }
                Err((message, exit)) => {
                    terminal.error(&message);
                    exit
                }
            }
        }
        Verb::Show { source, overrides, format, .. } => {
            let loaded = load(&source.into(), &overrides.into(), &SystemSources);
            let Some(Loaded { effective, .. }) = valid(loaded, terminal) else { return Exit::Failed };
            match format {
                Format::Yaml => terminal.print(&effective.to_yaml()),
                Format::Json => terminal.print(&serde_json::to_string_pretty(&effective).unwrap_or_default()),
            }
            Exit::Ok
        }
        Verb::Schema => {
            terminal.print(&schema::schema_text());
            Exit::Ok
        }
        Verb::Diff { from, to, format } => {
            let (from, to) = (valid(load_file(&from), terminal), valid(load_file(&to), terminal));
            let (Some(from), Some(to)) = (from, to) else { return Exit::Failed };
            let changes = diff(&from.effective, &to.effective);
            match format {
                Format::Yaml => terminal.print(&listing(&changes, terminal.out_style())),
                Format::Json => terminal.print(&serde_json::to_string_pretty(&changes).unwrap_or_default()),
            }
            if changes.is_empty() { Exit::Ok } else { Exit::Failed }
        }
    }
}

/// What a running gateway serves. The configuration is read only where it is needed to find the gateway.
fn show_running(
    running: &RunningArgs,
    load: impl FnOnce(&mut Terminal<'_>) -> Option<Config>,
    format: Format,
    hooks: Hooks,
    terminal: &mut Terminal<'_>,
) -> Result<String, Refused> {
    let told = |(message, exit): Refused| (format!("error: {message}"), exit);
    let way = running.way();
    let config = match way.needs_config(&SystemSources).map_err(told)? {
        // What is wrong with it has been said.
        true => Some(load(terminal).ok_or((String::new(), Exit::Failed))?),
        false => None,
    };
    let media_type = match format {
        Format::Yaml => "application/yaml",
        Format::Json => "application/json",
    };
    let answer = way.ask("/config", media_type, config.as_ref(), hooks, &SystemSources);
    answer.and_then(Told::text).map_err(told)
}

/// The configuration, or what is wrong with it on the screen.
pub(super) fn valid(loaded: Result<Loaded, Report>, terminal: &mut Terminal<'_>) -> Option<Loaded> {
    let report = loaded.as_ref().map_or_else(|report| report, |loaded| &loaded.warnings);
    terminal.error(&report.render(terminal.err_style()));
    loaded.ok()
}

/// Changes, one a line: `+` added, `-` removed, `~` changed.
fn listing(changes: &[Change], style: Style) -> String {
    let mut text = String::new();
    for change in changes {
        let (line, paint) = match change {
            Change::Added { path, value } => (format!("+ {path}: {}", scalar(value)), Paint::new().green()),
            Change::Removed { path, value } => (format!("- {path}: {}", scalar(value)), Paint::new().red()),
            Change::Changed { path, masked: true, .. } => {
                (format!("~ {path}: changed (masked)"), Paint::new().yellow())
            }
            Change::Changed { path, from, to, .. } => {
                (format!("~ {path}: {} -> {}", scalar(from), scalar(to)), Paint::new().yellow())
            }
        };
        match style {
            Style::Plain => text.push_str(&line),
            Style::Coloured => text.push_str(&line.style(paint).to_string()),
        }
        text.push('\n');
    }
    text
}

/// A scalar on one line.
fn scalar(value: &serde_yaml::Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
