//! The URL paths of virtual servers: each leads to one thing.

use super::Resolver;
use crate::config::diagnostic::Finding;
use crate::config::model::{Route, VirtualServer};
use crate::config::path::KeyPath;
use crate::config::values::{Name, RoutePath};
use indexmap::IndexMap;
use std::collections::HashMap;

/// Who has a path.
type Owner<'a> = (&'a Name, &'a VirtualServer, Route<'a>);

impl Resolver<'_> {
    /// Says which paths lead to two things on one listener, once for each virtual server; `path` is that of the section.
    pub(super) fn check_routes(&mut self, path: &KeyPath, servers: &IndexMap<Name, VirtualServer>) {
        let mut taken: HashMap<RoutePath, Vec<Owner<'_>>> = HashMap::new();
        for (name, server) in servers {
            let mut clash = None;
            for (at, route) in server.routes(name) {
                let owners = taken.entry(at.clone()).or_default();
                if clash.is_none() {
                    let found = owners.iter().find_map(|&(other, theirs, leads)| {
                        let shared = theirs.listeners.iter().find(|listener| server.listeners.contains(listener))?;
                        Some((owner_of(other, leads), shared))
                    });
                    clash =
                        found.map(|(other, listener)| self.clash(path, (name, server, route), &at, &other, listener));
                }
                owners.push((name, server, route));
            }
            clash.into_iter().for_each(|finding| self.note(finding));
        }
    }

    fn clash(
        &self,
        path: &KeyPath,
        (name, server, route): Owner<'_>,
        at: &RoutePath,
        other: &str,
        listener: &Name,
    ) -> Finding {
        let place = path.key(name);
        let written = place.key("path");
        if route == Route::Mcp && *at == server.path {
            return Finding::error(written, format!("{other} has the same path on listener `{listener}`"));
        }
        let key = match route {
            Route::Mcp => written.clone(),
            Route::View(_) => place.key("direct_views"),
            Route::Sse | Route::Message => place.key("sse"),
        };
        let at = self.quoted(&written, at);
        let mine = owner_of(name, route);
        Finding::error(key, format!("{at} leads to both {other} and {mine} on listener `{listener}`"))
    }
}

/// What a path leads to, in words.
fn owner_of(name: &Name, route: Route<'_>) -> String {
    match route {
        Route::Mcp => format!("virtual server `{name}`"),
        Route::View(backend) => format!("the direct view of backend `{backend}` in virtual server `{name}`"),
        Route::Sse => format!("the event stream of virtual server `{name}`"),
        Route::Message => format!("the messages to the event stream of virtual server `{name}`"),
    }
}
