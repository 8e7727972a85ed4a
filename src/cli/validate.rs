//! `lockgate validate`: everything that is wrong with a configuration file.

use super::terminal::Terminal;
use super::{Exit, Hooks, listing};
use crate::config::{Config, ConfigSource, Loaded, Overrides, Report, Style, SystemSources, load_judged};
use serde_json::json;
use std::path::PathBuf;

/// Check a configuration file and show every mistake in it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file (YAML)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How to show what was found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How findings are shown.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// With source lines, for people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Validates a file.
pub(super) fn execute(arguments: &Args, hooks: Hooks, terminal: &mut Terminal<'_>) -> Exit {
    let source = ConfigSource::File(arguments.file.clone());
    let judge = |config: &Config| hooks.objections(config);
    let result = load_judged(&source, &Overrides::default(), &SystemSources, &judge);
    let exit = if result.is_ok() { Exit::Ok } else { Exit::Failed };
    match arguments.format {
        Format::Json => terminal.print(&as_json(&result)),
        Format::Text => {
            let report = result.as_ref().map_or_else(|report| report, |loaded| &loaded.warnings);
            terminal.error(&report.render(terminal.err_style()));
            let file = arguments.file.display();
            match &result {
                Ok(loaded) => {
                    terminal.print(&format!("{file} is valid\n{}", overview(&loaded.config, terminal.out_style())))
                }
                Err(report) => {
                    let count = report.error_count();
                    let errors = if count == 1 { "error" } else { "errors" };
                    terminal.error(&format!("{file} is not valid: {count} {errors}"));
                }
            }
        }
    }
    exit
}

fn as_json(result: &Result<Loaded, Report>) -> String {
    let findings = result.as_ref().map_or_else(Report::entries, |loaded| loaded.warnings.entries());
    format!("{:#}", json!({ "valid": result.is_ok(), "findings": findings }))
}

/// Which URLs lead to which backends: a table for people, tab-separated lines for programs.
fn overview(config: &Config, style: Style) -> String {
    let rows = config.listeners.iter().flat_map(|(name, listener)| {
        config.offered_on(name).map(move |(server_name, server)| {
            let backends: Vec<&str> = server.backends.iter().map(|member| member.backend.as_str()).collect();
            [server_name.to_string(), listener.public_url.join(server.path.as_str()), backends.join(", ")]
        })
    });
    listing::rows(["virtual server", "URL", "backends"], rows, style)
}
