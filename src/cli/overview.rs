//! `lockgate backends` and `lockgate servers`: what a gateway knows of its backends and virtual servers.

use super::config::valid;
use super::endpoint::private;
use super::listing::{NOTHING, count, list, rows};
use super::running::{Refused, Told, Way, failed, listens};
use super::source::SourceArgs;
use super::terminal::Terminal;
use super::{Exit, Hooks, Survey};
use crate::admin::overview::{BackendReport, Backends, ServerReport, Servers};
use crate::config::{ConfigSource, Overrides, Style, SystemSources, load};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;

/// Which gateway is asked, and how it is shown.
#[derive(Debug, clap::Args)]
struct Asked {
    #[command(flatten)]
    source: SourceArgs,
    /// The gateway's admin listener (IP:PORT or URL) [default: that of the configuration]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// The file that holds the gateway's admin token [default: $LOCKGATE_ADMIN_TOKEN, else as configured]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Where the gateway keeps its state, the admin token included [default: as configured]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Show the backends of a gateway: how they are reached, what they speak and offer, whether they answer
///
/// Asks the gateway that runs with the configuration, or the one at ADDR. Where none runs with it, one is started within
/// this process for as long as the answer takes.
#[derive(Debug, clap::Args)]
pub(super) struct BackendsArgs {
    #[command(flatten)]
    asked: Asked,
}

/// Show the virtual servers of a gateway: where clients reach them, what they offer, what is missing or clashes
///
/// Asks the gateway that runs with the configuration, or the one at ADDR. Where none runs with it, one is started within
/// this process for as long as the answer takes.
#[derive(Debug, clap::Args)]
pub(super) struct ServersArgs {
    #[command(flatten)]
    asked: Asked,
}

/// Shows the backends.
pub(super) fn backends(arguments: BackendsArgs, hooks: Hooks, terminal: &mut Terminal<'_>) -> Exit {
    show(arguments.asked, "/backends", hooks, hooks.backends, terminal, |told: &Backends, style| {
        (backend_rows(&told.backends, style), told.backends.iter().flat_map(backend_remarks).collect())
    })
}

/// Shows the virtual servers.
pub(super) fn servers(arguments: ServersArgs, hooks: Hooks, terminal: &mut Terminal<'_>) -> Exit {
    show(arguments.asked, "/servers", hooks, hooks.servers, terminal, |told: &Servers, style| {
        (server_rows(&told.servers, style), told.servers.iter().flat_map(server_remarks).collect())
    })
}

fn show<T: DeserializeOwned + Serialize>(
    asked: Asked,
    path: &str,
    hooks: Hooks,
    survey: Option<Survey>,
    terminal: &mut Terminal<'_>,
    written: impl FnOnce(&T, Style) -> (String, Vec<String>),
) -> Exit {
    let json = asked.json;
    let told = ask(asked, path, hooks, survey, terminal).and_then(|told| {
        serde_json::from_value::<T>(told)
            .map_err(|error| failed(format!("the gateway's answer is not understood: {error}")))
    });
    match told {
        Ok(told) if json => terminal.print(&serde_json::to_string_pretty(&told).unwrap_or_default()),
        Ok(told) => {
            let (table, remarks) = written(&told, terminal.out_style());
            terminal.print(&table);
            remarks.iter().for_each(|remark| terminal.error(&super::listing::harmless(remark)));
        }
        Err((message, exit)) => {
            terminal.error(&message);
            return exit;
        }
    }
    Exit::Ok
}

fn ask(
    asked: Asked,
    path: &str,
    hooks: Hooks,
    survey: Option<Survey>,
    terminal: &mut Terminal<'_>,
) -> Result<Value, Refused> {
    let Asked { source, admin, token_file, state_dir, .. } = asked;
    let source: ConfigSource = source.into();
    let way = Way { address: admin.as_deref(), token_file: token_file.as_deref() };
    let told = |(message, exit): Refused| (format!("error: {message}"), exit);
    let config = match way.needs_config(&SystemSources).map_err(told)? {
        true => {
            let overrides = Overrides { state_dir, ..Overrides::default() };
            let loaded = valid(load(&source, &overrides, &SystemSources), terminal);
            // What is wrong with it has been said.
            Some(loaded.ok_or((String::new(), Exit::Failed))?.config)
        }
        false => None,
    };
    let runs = match source {
        _ if admin.is_some() => true,
        ConfigSource::Quickstart => true,
        ConfigSource::File(_) => config.as_ref().is_some_and(|config| listens(&config.admin)),
        ConfigSource::McpJson(_) | ConfigSource::Backends(_) => false,
    };
    if runs {
        let answer = way.ask(path, "application/json", config.as_ref(), hooks, &SystemSources);
        let answer = answer.and_then(Told::text).map_err(told)?;
        return serde_json::from_str(&answer)
            .map_err(|error| failed(format!("error: the gateway's answer is no JSON: {error}")));
    }
    let Some(survey) = survey else { return Err(failed("error: no gateway runs with this configuration")) };
    survey(private(source, terminal, hooks)?).map_err(|failure| failed(format!("error: {failure}")))
}

fn backend_rows(backends: &[BackendReport], style: Style) -> String {
    let header =
        ["backend", "transport", "eras", "revisions", "health", "tools", "prompts", "resources", "where", "servers"];
    let row = |backend: &BackendReport| {
        [
            backend.name.clone(),
            backend.transport.clone(),
            list(&backend.eras),
            list(&backend.revisions),
            health(backend.up),
            count(backend.items.tools),
            count(backend.items.prompts),
            count(backend.items.resources),
            place(backend),
            list(&backend.servers),
        ]
    };
    rows(header, backends.iter().map(row), style)
}

fn health(up: Option<bool>) -> String {
    match up {
        Some(true) => "up",
        Some(false) => "down",
        None => NOTHING,
    }
    .to_owned()
}

/// Where a backend is, or how it is started.
fn place(backend: &BackendReport) -> String {
    let Some(command) = &backend.command else {
        let urls: Vec<&str> = backend.endpoints.iter().map(|endpoint| endpoint.url.as_str()).collect();
        return list(&urls);
    };
    let instances = command.instances.map_or_else(String::new, |running| {
        let most = if command.shared { 1 } else { command.instances_most };
        format!(" ({running} of {most})")
    });
    format!("{}{instances}", command.run.join(" "))
}

fn backend_remarks(backend: &BackendReport) -> Vec<String> {
    let name = &backend.name;
    let mut remarks: Vec<String> = backend.last_error.iter().map(|error| format!("{name}: {error}")).collect();
    remarks.extend(backend.offences.iter().map(|offence| {
        let item = if offence.name.is_empty() { String::new() } else { format!(" `{}`", offence.name) };
        format!("{name}: {}{item}: {}", offence.kind, offence.what)
    }));
    if backend.further_offences > 0 {
        remarks.push(format!("{name}: {} more like that", backend.further_offences));
    }
    remarks
}

fn server_rows(servers: &[ServerReport], style: Style) -> String {
    let header = ["virtual server", "URL", "paths", "backends", "revisions", "tools", "prompts", "resources"];
    let row = |server: &ServerReport| {
        let backend = |member: &crate::admin::overview::MemberReport| match &member.standing {
            Some(standing) if standing != "fresh" => format!("{} ({standing})", member.backend),
            _ => member.backend.clone(),
        };
        let paths: Vec<&str> = server.paths.iter().map(|path| path.path.as_str()).collect();
        [
            server.name.clone(),
            list(&server.urls),
            list(&paths),
            list(&server.members.iter().map(backend).collect::<Vec<_>>()),
            list(&server.revisions),
            count(server.items.tools),
            count(server.items.prompts),
            count(server.items.resources),
        ]
    };
    rows(header, servers.iter().map(row), style)
}

fn server_remarks(server: &ServerReport) -> Vec<String> {
    let mut remarks: Vec<String> = server
        .clashes
        .iter()
        .map(|clash| {
            let (kept, lost) = (&clash.kept, &clash.lost);
            format!(
                "{}: {} `{}` of backend `{}` is shown, `{}` of `{}` is not: both would be called `{}`",
                server.name, clash.kind, kept.original, kept.backend, lost.original, lost.backend, clash.exposed
            )
        })
        .collect();
    if server.further_clashes > 0 {
        remarks.push(format!("{}: {} more clashes", server.name, server.further_clashes));
    }
    remarks
}
