//! Virtual servers and what they refer to.

use super::Resolver;
use super::auth::Proofs;
use super::listeners::Bound;
use crate::config::diagnostic::Finding;
use crate::config::file::VirtualServerFile;
use crate::config::model::{Listener, VirtualServer};
use crate::config::path::KeyPath;
use crate::config::sections::{Backend, PrefixPolicy};
use crate::config::suggest::closest;
use crate::config::values::{Name, RoutePath};
use indexmap::IndexMap;
use std::collections::HashSet;

/// The most virtual servers.
const VIRTUAL_SERVERS_MAX: usize = 10_000;

/// The longest instructions, in bytes: every client's model reads them.
const INSTRUCTIONS_BYTES_MAX: usize = 16 << 10;

impl Resolver<'_> {
    /// The virtual servers of a file, with every reference followed.
    pub(super) fn virtual_servers(
        &mut self,
        servers: IndexMap<Name, VirtualServerFile>,
        listeners: &IndexMap<Name, Bound<Listener>>,
        backends: &IndexMap<Name, Backend>,
        proofs: Proofs<'_>,
    ) -> IndexMap<Name, VirtualServer> {
        let path = KeyPath::from(["virtual_servers"]);
        if servers.is_empty() && !self.is_pruned(&path) {
            self.note(
                Finding::error(path.clone(), "there is no virtual server")
                    .at_key()
                    .help("add `virtual_servers: { default: { path: /mcp, backends: [demo] } }`"),
            );
        }
        self.check_count(&path, servers.len(), VIRTUAL_SERVERS_MAX);
        let mut resolved = IndexMap::with_capacity(servers.len());
        for (name, server) in servers.into_iter().take(VIRTUAL_SERVERS_MAX) {
            let server = self.virtual_server(&path.key(&name), &name, server, (listeners, backends), proofs);
            resolved.insert(name, server);
        }
        self.check_routes(&path, &resolved);
        self.warn_of_unused(listeners, backends, &resolved);
        resolved
    }

    fn virtual_server(
        &mut self,
        path: &KeyPath,
        name: &Name,
        file: VirtualServerFile,
        (listeners, backends): (&IndexMap<Name, Bound<Listener>>, &IndexMap<Name, Backend>),
        proofs: Proofs<'_>,
    ) -> VirtualServer {
        let by_count = if file.backends.len() > 1 { PrefixPolicy::Always } else { PrefixPolicy::Never };
        let prefix = file.prefix.unwrap_or(by_count);
        self.check_members(&path.key("backends"), &file.backends, prefix, backends);
        if file.direct_views {
            self.check_views(&path.key("direct_views"), &file.backends);
        }
        self.check_eras(path, &file.backends, file.revisions.as_deref(), file.sse, backends);
        self.check_server_limits(path, file.grace, file.page_size);
        if file.instructions.as_ref().is_some_and(|text| text.len() > INSTRUCTIONS_BYTES_MAX) {
            let message = format!("instructions have at most {} KiB", INSTRUCTIONS_BYTES_MAX >> 10);
            self.note(Finding::error(path.key("instructions"), message));
        }
        VirtualServer {
            path: file.path.unwrap_or_else(|| RoutePath::of_server(name, "mcp")),
            listeners: self.offered_on(&path.key("listeners"), file.listeners, listeners),
            backends: file.backends,
            auth: self.auth(&path.key("auth"), file.auth, proofs),
            prefix,
            separator: file.separator,
            failure: file.failure,
            grace: file.grace,
            instructions: file.instructions,
            revisions: file.revisions.unwrap_or_default(),
            direct_views: file.direct_views,
            sse: file.sse,
            page_size: file.page_size,
        }
    }

    fn offered_on(
        &mut self,
        path: &KeyPath,
        names: Option<Vec<Name>>,
        listeners: &IndexMap<Name, Bound<Listener>>,
    ) -> Vec<Name> {
        let Some(names) = names else {
            return listeners.keys().cloned().collect();
        };
        if names.is_empty() {
            self.note(
                Finding::error(path.clone(), "a virtual server is offered on a listener")
                    .help("leave this out for all"),
            );
        }
        let mut seen = HashSet::new();
        for (index, name) in names.iter().enumerate() {
            let path = self.element(path, index);
            if !seen.insert(name) {
                self.note(Finding::error(path.clone(), "this listener stands here twice"));
            }
            self.check_reference(&path, "listener", "listeners", name, listeners);
        }
        names
    }

    /// Says when a name refers to nothing; silent when what it refers to is wrong itself.
    pub(super) fn check_reference<T>(
        &mut self,
        path: &KeyPath,
        kind: &str,
        section: &str,
        name: &Name,
        known: &IndexMap<Name, T>,
    ) {
        let target = KeyPath::from([section]).key(name);
        if known.contains_key(name) || self.pruned.iter().any(|pruned| target.is_within(pruned)) {
            return;
        }
        let message = format!("there is no {kind} {}", self.quoted(path, name));
        let guess =
            if self.is_interpolated(path) { None } else { closest(name.as_str(), known.keys().map(Name::as_str)) };
        self.note(Finding::error(path.clone(), message).did_you_mean(guess));
    }

    fn warn_of_unused(
        &mut self,
        listeners: &IndexMap<Name, Bound<Listener>>,
        backends: &IndexMap<Name, Backend>,
        servers: &IndexMap<Name, VirtualServer>,
    ) {
        let offered: HashSet<&Name> = servers.values().flat_map(|server| &server.listeners).collect();
        for name in listeners.keys().filter(|name| !offered.contains(name)) {
            let path = KeyPath::from(["listeners", name.as_str()]);
            self.note(Finding::warning(path, "no virtual server is offered on this listener"));
        }
        let members = servers.values().flat_map(|server| &server.backends);
        let used: HashSet<&Name> = members.map(|member| &member.backend).collect();
        for name in backends.keys().filter(|name| !used.contains(name)) {
            let path = KeyPath::from(["backends", name.as_str()]);
            self.note(Finding::warning(path, "no virtual server uses this backend"));
        }
    }
}
