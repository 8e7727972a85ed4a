//! Backends and virtual servers, as the operator is told of them.

use crate::admin::overview::{
    BackendReport, Backends, Clash, CommandReport, EndpointReport, Items, MemberReport, Offence, Owner, PathReport,
    ServerReport, Servers,
};
use crate::config::model::{Route, VirtualServer};
use crate::config::sections::{Backend, BackendProtocol, Member, PrefixPolicy};
use crate::config::values::Name;
use crate::config::{Config, Effective};
use crate::listen::Listener;
use crate::snapshot::{Server, Snapshot};
use crate::upstream::LiveBackend;
use lockgate_filters::backend::{Facts, Speaks};
use lockgate_filters::federate::inventory::Extent;
use lockgate_filters::federate::{Catalog, Inventory, Kind, catalog, inventory};
use lockgate_filters::revision::{Era, Revision};
use serde::Deserialize;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// The most revisions of a backend that are told: it names them, and may name many.
const REVISIONS_MAX: usize = 16;

/// The most characters of what a backend calls a revision.
const REVISION_LENGTH_MAX: usize = 32;

/// What is known of the backends.
pub(super) fn backends(snapshot: &Snapshot) -> Backends {
    let config = &snapshot.loaded.config;
    let effective = &snapshot.loaded.effective;
    let report = |(name, backend): (&Name, &Backend)| {
        let live = snapshot.backends.get(name.as_str());
        backend_report(config, effective, name, backend, live.map(|live| &**live))
    };
    Backends { generation: snapshot.generation, backends: config.backends.iter().map(report).collect() }
}

fn backend_report(
    config: &Config,
    effective: &Effective,
    name: &Name,
    backend: &Backend,
    live: Option<&LiveBackend>,
) -> BackendReport {
    let shown = &effective.tree()["backends"][name.as_str()];
    let text = |value: &serde_yaml::Value| value.as_str().unwrap_or_default().to_owned();
    let up = live.and_then(LiveBackend::is_up);
    let endpoints = shown["endpoints"].as_sequence().into_iter().flatten();
    let command = backend.command.as_ref().map(|command| CommandReport {
        run: shown["command"]["run"].as_sequence().into_iter().flatten().map(text).collect(),
        shared: command.shared,
        instances: live
            .filter(|live| live.is_command())
            .and_then(|live| usize::try_from(live.counters()?.running()).ok()),
        instances_most: command.instances,
    });
    let transport = match (&command, backend.protocol) {
        (Some(_), _) => "stdio",
        (None, BackendProtocol::Sse) => "sse",
        (None, _) => "streamable_http",
    };
    let facts = live.map(|live| Facts::clone(&live.backend.facts())).unwrap_or_default();
    let part_of = |server: &VirtualServer| server.backends.iter().any(|member| member.backend == *name);
    BackendReport {
        name: name.to_string(),
        transport: transport.to_owned(),
        protocol: text(&shown["protocol"]),
        eras: eras(&facts),
        revisions: revisions(&facts),
        endpoints: endpoints.map(|endpoint| EndpointReport { url: text(&endpoint["url"]), up }).collect(),
        command,
        up,
        servers: config
            .virtual_servers
            .iter()
            .filter(|(_, server)| part_of(server))
            .map(|(name, _)| name.to_string())
            .collect(),
        items: match &facts.inventory {
            Some(inventory) => offered(inventory),
            None => Items { tools: facts.tools.as_ref().map(|tools| tools.len()), ..Items::default() },
        },
        last_error: live.and_then(LiveBackend::last_error).or(facts.lost.map(|lost| lost.why.to_string())),
        offences: facts.inventory.iter().flat_map(|known| &known.offences).map(offence).collect(),
        further_offences: facts.inventory.map_or(0, |known| known.further_offences),
    }
}

/// How much a backend offers; nothing is known of lists that could not be read.
fn offered(inventory: &Inventory) -> Items {
    let count = |kind| {
        let listing = inventory.list(kind);
        (listing.extent != Extent::Failed).then_some(listing.items.len())
    };
    items(count)
}

fn items(count: impl Fn(Kind) -> Option<usize>) -> Items {
    Items {
        tools: count(Kind::Tools),
        prompts: count(Kind::Prompts),
        resources: count(Kind::Resources),
        resource_templates: count(Kind::Templates),
    }
}

/// What a kind of item is called here, where keys have underscores.
fn label(kind: Kind) -> String {
    match kind {
        Kind::Templates => "resource_templates",
        kind => kind.member(),
    }
    .to_owned()
}

fn offence(offence: &inventory::Offence) -> Offence {
    Offence { kind: label(offence.kind), name: offence.name.to_string(), what: offence.what.to_string() }
}

/// The eras that a backend is known to speak.
pub(super) fn eras(facts: &Facts) -> Vec<String> {
    let known = [("legacy", facts.legacy), ("modern", facts.modern)];
    known.into_iter().filter(|(_, speaks)| *speaks == Speaks::Yes).map(|(era, _)| era.to_owned()).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    supported_versions: Vec<String>,
}

/// The revisions that a backend names, newest first. They are its own words: short ones in visible characters only.
fn revisions(facts: &Facts) -> Vec<String> {
    let named = facts.discover.as_ref().and_then(|said| serde_json::from_slice::<Named>(&said.result).ok());
    let fit = |revision: &String| {
        revision.len() <= REVISION_LENGTH_MAX && revision.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let mut revisions: Vec<String> =
        named.into_iter().flat_map(|named| named.supported_versions).filter(fit).take(REVISIONS_MAX).collect();
    revisions.sort_unstable_by(|one, other| other.cmp(one));
    revisions.dedup();
    revisions
}

/// What is known of the virtual servers; `listeners` are those that run.
pub(super) fn servers<'a>(snapshot: &Snapshot, listeners: impl Iterator<Item = &'a Arc<Listener>>) -> Servers {
    let bound: Vec<(&str, SocketAddr)> = listeners.map(|listener| (listener.name(), listener.address())).collect();
    let config = &snapshot.loaded.config;
    // Among them stand the views of single backends, under names that no virtual server has.
    let live: HashMap<&str, &Server> = snapshot.servers.iter().map(|live| (&*live.policy.name, &**live)).collect();
    let report = |(name, server): (&Name, &VirtualServer)| {
        let live = *live.get(name.as_str())?;
        let catalog = live.policy.federation.as_ref().map(|federation| federation.pinned());
        let catalog = catalog.as_deref();
        Some(ServerReport {
            name: name.to_string(),
            paths: server.routes(name).iter().map(|(path, route)| path_report(path.as_str(), *route)).collect(),
            urls: urls(config, server, &bound),
            direct: config.is_direct(server),
            members: members(config, server, catalog),
            eras: [("legacy", Era::Legacy), ("modern", Era::Modern)]
                .into_iter()
                .filter(|(_, era)| live.policy.offers(*era) == Speaks::Yes)
                .map(|(era, _)| era.to_owned())
                .collect(),
            revisions: live.policy.revisions().map(Revision::as_str).map(str::to_owned).collect(),
            items: catalog.map(|catalog| items(|kind| Some(catalog.count(kind)))).unwrap_or_default(),
            clashes: catalog.iter().flat_map(|catalog| catalog.clashes()).map(|one| clash(server, one)).collect(),
            further_clashes: catalog.map_or(0, Catalog::further_clashes),
        })
    };
    Servers { generation: snapshot.generation, servers: config.virtual_servers.iter().filter_map(report).collect() }
}

fn clash(server: &VirtualServer, clash: &catalog::Clash) -> Clash {
    let owner = |(member, original): &(usize, Box<str>)| Owner {
        backend: server.backends.get(*member).map(|member| member.backend.to_string()).unwrap_or_default(),
        original: original.to_string(),
    };
    Clash {
        kind: label(clash.kind),
        exposed: clash.exposed.to_string(),
        kept: owner(&clash.kept),
        lost: owner(&clash.lost),
    }
}

fn path_report(path: &str, route: Route<'_>) -> PathReport {
    let (kind, backend) = match route {
        Route::Mcp => ("mcp", None),
        Route::View(backend) => ("view", Some(backend.to_string())),
        Route::Sse => ("sse", None),
        Route::Message => ("message", None),
    };
    PathReport { path: path.to_owned(), kind: kind.to_owned(), backend }
}

/// Where clients reach a virtual server. A listener that waits for a restart offers nothing yet.
fn urls(config: &Config, server: &VirtualServer, bound: &[(&str, SocketAddr)]) -> Vec<String> {
    let url = |name: &Name| {
        let (_, address) = bound.iter().find(|(bound, _)| *bound == name.as_str())?;
        Some(config.listeners.get(name)?.public_url_at(*address).join(server.path.as_str()))
    };
    server.listeners.iter().filter_map(url).collect()
}

fn members(config: &Config, server: &VirtualServer, catalog: Option<&Catalog>) -> Vec<MemberReport> {
    let report = |(index, member): (usize, &Member)| {
        let prefix = (server.prefix != PrefixPolicy::Never).then(|| config.prefix_of(member).to_string());
        let standing = catalog.and_then(|catalog| catalog.standings().get(index));
        let standing = standing.map(|standing| standing.label().to_owned());
        MemberReport { backend: member.backend.to_string(), prefix, standing }
    };
    server.backends.iter().enumerate().map(report).collect()
}
