//! Virtual servers of one configuration: what each leads to, and under which paths it is found.

use super::access::{Notices, Proofs};
use super::{Link, Server, World};
use crate::config::Objection;
use crate::config::model::{Config, Route, VirtualServer as Settings};
use crate::config::path::KeyPath;
use crate::config::sections::{Limits, Member, SessionLoss};
use crate::config::values::Name;
use crate::settings;
use crate::upstream::Generation;
use lockgate_filters::authenticate::access::Access;
use lockgate_filters::authorize::Policy;
use lockgate_filters::door::Door;
use lockgate_filters::federate::Federation;
use lockgate_filters::route::Way;
use lockgate_filters::ticket::Keyring;
use lockgate_filters::virtual_server::VirtualServer;
use std::sync::Arc;

/// The virtual servers of a configuration.
#[derive(Default)]
pub(super) struct Servers {
    /// In the order of the configuration; behind each stand the views of its backends.
    pub servers: Vec<Arc<Server>>,
    /// Every path on every listener, and where it leads: a place among `servers`.
    paths: Vec<(Name, Box<str>, usize, Door)>,
}

impl Servers {
    /// The paths of one listener, where each leads, and what is said there to those who are not let in.
    pub fn on(&self, listener: &Name, notices: &Notices) -> Vec<(Box<str>, Way)> {
        let here = self.paths.iter().filter(|(name, ..)| name == listener);
        let leads = |at: usize| self.servers.get(at).map(|server| Arc::clone(&server.policy));
        here.filter_map(|(_, path, at, door)| {
            let challenges = notices.challenges(path);
            Some((path.clone(), Way { server: leads(*at)?, door: *door, challenges }))
        })
        .collect()
    }

    fn lead(&mut self, settings: &Settings, path: &str, at: usize, door: Door) {
        self.paths.extend(settings.listeners.iter().map(|listener| (listener.clone(), path.into(), at, door)));
    }
}

impl World {
    /// From now on, so many callers' own lists are kept: half of the bytes are for what virtual servers show of them.
    pub fn keep_callers(&self, limits: &Limits) {
        self.catalogs.keep_callers(limits.caller_lists as usize, limits.caller_list_bytes.as_usize() / 2);
    }

    /// Compiles the virtual servers.
    ///
    /// # Errors
    /// The first that names a backend which there is not.
    pub(super) fn servers(
        &self,
        config: &Config,
        backends: &Generation,
        keys: &Arc<Keyring>,
        (proofs, policy): (&Proofs, Option<&Arc<Policy>>),
    ) -> Result<Servers, Vec<Objection>> {
        let mut compiled = Servers::default();
        for (name, settings) in &config.virtual_servers {
            let members: Vec<&Member> = settings.backends.iter().collect();
            let access = self.access(config, name, settings, proofs);
            let place = Place { name: name.shared(), config, settings, backends, keys, access, policy };
            let federation = settings::federation(config, settings).map(Arc::new);
            let at = compiled.servers.len();
            compiled.servers.push(self.server(&place, &members, federation, at)?);
            for (path, route) in settings.routes(name) {
                match route {
                    Route::Mcp => compiled.lead(settings, path.as_str(), at, Door::Mcp),
                    Route::Sse => compiled.lead(settings, path.as_str(), at, Door::Stream),
                    Route::Message => compiled.lead(settings, path.as_str(), at, Door::Message),
                    Route::View(backend) => {
                        let own =
                            members.iter().copied().filter(|member| member.backend == *backend).collect::<Vec<_>>();
                        // Tickets of a view are no tickets of the server: another name, with what no name can hold.
                        let name = format!("{name}/{backend}").into();
                        let at = compiled.servers.len();
                        let federation = own.first().and_then(|member| settings::view(config, settings, member));
                        let place = Place { name, ..place.clone() };
                        compiled.servers.push(self.server(&place, &own, federation.map(Arc::new), at)?);
                        compiled.lead(settings, path.as_str(), at, Door::Mcp);
                    }
                }
            }
        }
        Ok(compiled)
    }

    fn server(
        &self,
        place: &Place<'_>,
        members: &[&Member],
        federation: Option<Arc<Federation>>,
        index: usize,
    ) -> Result<Arc<Server>, Vec<Objection>> {
        let links = self.links(place, members).map_err(|objection| vec![objection])?;
        let backends: Box<[_]> = links.iter().map(|link| Arc::clone(&link.backend.backend)).collect();
        let policy = VirtualServer {
            index,
            name: Arc::clone(&place.name),
            chain: self.server_chain(place, backends.iter().map(|backend| Arc::clone(&backend.name)).collect()),
            backends,
            federation,
            pinned: settings::pinned(place.settings),
            offered: Default::default(),
        };
        self.catalogs.fill(&policy);
        let metrics = self.metrics.virtual_server(&place.name);
        let (access, rights, keys) = (place.access.clone(), place.policy.cloned(), Arc::clone(place.keys));
        Ok(Arc::new(Server { policy: Arc::new(policy), links, access, rights, keys, metrics }))
    }

    /// The backends of a virtual server.
    fn links(&self, place: &Place<'_>, members: &[&Member]) -> Result<Box<[Arc<Link>]>, Objection> {
        let path = KeyPath::from(["virtual_servers", &place.name, "backends"]);
        if members.is_empty() {
            return Err(Objection::new(path, "there is no backend"));
        }
        let link = |member: &&Member| {
            let backend = place.backends.get(member.backend.as_str())?;
            let heals = place.config.backends.get(&member.backend)?.on_session_loss == SessionLoss::Heal;
            let metrics = self.metrics.backend(&backend.backend.name);
            Some(Arc::new(Link::new(Arc::clone(backend), metrics, heals)))
        };
        let links: Option<_> = members.iter().map(link).collect();
        links.ok_or_else(|| Objection::new(path, "there is no such backend"))
    }
}

/// What a virtual server is compiled of.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub name: Arc<str>,
    pub config: &'a Config,
    pub settings: &'a Settings,
    backends: &'a Generation,
    pub keys: &'a Arc<Keyring>,
    /// Who is let in; `None` where everybody is.
    pub access: Option<Arc<Access>>,
    /// Who may do what, where that is said.
    pub policy: Option<&'a Arc<Policy>>,
}
