//! Virtual servers and what they refer to.

use super::Resolver;
use super::listeners::Bound;
use crate::config::diagnostic::Finding;
use crate::config::file::VirtualServerFile;
use crate::config::model::{Listener, VirtualServer};
use crate::config::path::KeyPath;
use crate::config::sections::Backend;
use crate::config::suggest::closest;
use crate::config::values::Name;
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};

/// The most virtual servers.
const VIRTUAL_SERVERS_MAX: usize = 10_000;

impl Resolver<'_> {
    /// The virtual servers of a file, with every reference followed.
    pub(super) fn virtual_servers(
        &mut self,
        servers: IndexMap<Name, VirtualServerFile>,
        listeners: &IndexMap<Name, Bound<Listener>>,
        backends: &IndexMap<Name, Backend>,
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
            let path = path.key(&name);
            self.check_backends(&path.key("backends"), &server.backends, backends);
            let listeners = self.offered_on(&path.key("listeners"), server.listeners, listeners);
            match server.path {
                Some(path) => {
                    resolved.insert(name, VirtualServer { path, listeners, backends: server.backends });
                }
                None => self.missing(&path, "path", "add the URL path at which clients find it, such as `path: /mcp`"),
            }
        }
        self.check_routes(&path, &resolved);
        self.warn_of_unused(listeners, backends, &resolved);
        resolved
    }

    fn check_backends(&mut self, path: &KeyPath, names: &[Name], backends: &IndexMap<Name, Backend>) {
        if names.is_empty() {
            self.missing(&path.parent().unwrap_or_default(), "backends", "name the backend that it exposes");
        }
        if names.len() > 1 {
            self.note(
                Finding::error(
                    self.element(path, 1),
                    "several backends in one virtual server come with federation; list one",
                )
                .help("give each backend a virtual server of its own, such as `/mcp/name`"),
            );
        }
        for (index, name) in names.iter().enumerate() {
            self.check_reference(&self.element(path, index), "backend", "backends", name, backends);
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
    fn check_reference<T>(
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

    /// Two virtual servers cannot share a path on one listener.
    fn check_routes(&mut self, path: &KeyPath, servers: &IndexMap<Name, VirtualServer>) {
        let mut taken: HashMap<(&Name, &str), &Name> = HashMap::new();
        for (name, server) in servers {
            for listener in &server.listeners {
                if let Some(earlier) = taken.insert((listener, server.path.as_str()), name)
                    && earlier != name
                {
                    let message = format!("virtual server `{earlier}` has the same path on listener `{listener}`");
                    self.note(Finding::error(path.key(name).key("path"), message));
                    break;
                }
            }
        }
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
        let used: HashSet<&Name> = servers.values().flat_map(|server| &server.backends).collect();
        for name in backends.keys().filter(|name| !used.contains(name)) {
            let path = KeyPath::from(["backends", name.as_str()]);
            self.note(Finding::warning(path, "no virtual server uses this backend"));
        }
    }
}
