//! What one client calls the resources of a virtual server's backends, long after the request that said who it is.
//!
//! Where backends tell callers apart, each is shown a catalog of its own, which is kept only for a while. What a client is
//! subscribed to is known by the name that it was subscribed to under, and stays that; of anything else, its own catalog
//! says it as long as there is one, and then everybody's.

use super::Way;
use crate::catalog::Catalogs;
use crate::session::{NodeSession, Whose};
use crate::snapshot::Server;
use lockgate_filters::federate::{Audience, Callers, Catalog};
use std::sync::Arc;

/// The names that one client knows.
#[derive(Clone)]
pub(super) struct Names {
    catalogs: Arc<Catalogs>,
    callers: Option<Arc<Callers>>,
    /// Who calls where callers are told apart.
    told_apart: Option<ToldApart>,
}

/// The backends that tell callers apart, and who calls there.
type ToldApart = Arc<[(Arc<str>, Audience)]>;

impl Names {
    /// Those that the client of this request knows.
    pub fn of(way: &Way<'_>) -> Names {
        let callers = way.trip.exchange.callers.clone();
        let name = |member: usize| way.server.links.get(member).map(|link| Arc::clone(link.name()));
        let told_apart = callers.as_ref().map(|callers| {
            callers.members().iter().filter_map(|(member, audience)| Some((name(*member)?, *audience))).collect()
        });
        Names { catalogs: Arc::clone(&way.gateway.world.catalogs), callers, told_apart }
    }

    /// What the client is shown, as far as that is known now.
    pub fn catalog(&self, server: &Server) -> Option<Arc<Catalog>> {
        let own = self.callers.as_ref().and_then(|callers| self.catalogs.shown_to(&server.policy, callers.all()));
        own.or_else(|| server.policy.federation.as_ref().map(|federation| federation.pinned()))
    }

    /// What the client is subscribed to: what it calls each, which member's it is, and what that one calls it.
    pub fn subscribed(&self, server: &Server, node: &NodeSession) -> Vec<(Box<str>, usize, Box<str>)> {
        let catalog = self.catalog(server);
        let owner = |uri: &str, whose: Option<Whose>| {
            if let Some(whose) = whose {
                // One that is no longer a member has nothing here.
                let member = server.links.iter().position(|link| *link.name() == whose.backend)?;
                return Some((member, whose.original));
            }
            let owner = catalog.as_ref()?.resource(uri)?;
            Some((owner.member, owner.original.as_ref().into()))
        };
        let known = node.subscribed().into_iter();
        known.filter_map(|(uri, whose)| owner(&uri, whose).map(|(member, original)| (uri, member, original))).collect()
    }

    /// Who calls at a backend, where that tells callers apart. By its name: after a reload members have other places.
    pub fn audience_at(&self, backend: &str) -> Option<Audience> {
        self.told_apart.as_ref()?.iter().find(|(name, _)| **name == *backend).map(|(_, audience)| *audience)
    }

    /// A member has said in a session of this client's that its lists changed.
    pub fn announced(&self, server: &Server) {
        if let Some(callers) = &self.callers {
            self.catalogs.announced_to(&server.policy, callers.all());
        }
    }
}

/// Notes whose the resources are that a session is subscribed to, as this catalog of its client's own shows them.
pub(super) fn learn(way: &Way<'_>, node: &NodeSession, catalog: &Catalog) {
    if !node.has_nobodys() {
        return;
    }
    for (uri, _) in node.subscribed().into_iter().filter(|(_, whose)| whose.is_none()) {
        if let Some(whose) = whose(&way.server, catalog, &uri) {
            way.gateway.world.sessions.belongs(node, &uri, whose);
        }
    }
}

/// Whose a resource is, as this catalog shows it.
pub(super) fn whose(server: &Server, catalog: &Catalog, uri: &str) -> Option<Whose> {
    let owner = catalog.resource(uri)?;
    let backend = Arc::clone(server.links.get(owner.member)?.name());
    Some(Whose { backend, original: owner.original.as_ref().into() })
}
