//! What virtual servers ask of their callers, and whether anybody could meet it.

use super::Resolver;
use super::issuers::AUDIENCES_MAX;
use super::listeners::Bound;
use crate::config::diagnostic::Finding;
use crate::config::model::{Auth, Listener, VirtualServer};
use crate::config::path::KeyPath;
use crate::config::sections::{AuthFile, AuthMode, Issuer};
use crate::config::values::{ListenAddress, Name};
use indexmap::IndexMap;

/// The most scopes that one virtual server asks for.
const SCOPES_MAX: usize = 100;

/// What callers may show at all.
#[derive(Clone, Copy)]
pub(super) struct Proofs<'a> {
    pub issuers: &'a IndexMap<Name, Issuer>,
    pub api_keys: bool,
    pub certificates: bool,
}

impl Proofs<'_> {
    fn exist(&self) -> bool {
        !self.issuers.is_empty() || self.api_keys || self.certificates
    }
}

impl Resolver<'_> {
    /// What a virtual server asks; `path` is that of its `auth`.
    pub(super) fn auth(&mut self, path: &KeyPath, file: Option<AuthFile>, proofs: Proofs<'_>) -> Auth {
        let written = file.is_some();
        let default = AuthFile { mode: AuthMode::None, ..AuthFile::default() };
        let file = match file {
            Some(file) => file,
            None if proofs.exist() => AuthFile::default(),
            None => default,
        };
        self.check_texts(&path.key("audiences"), &file.audiences, AUDIENCES_MAX);
        self.check_count(&path.key("scopes"), file.scopes.len(), SCOPES_MAX);
        if file.mode == AuthMode::None {
            self.check_nothing_asked(path, &file);
            return Auth {
                mode: AuthMode::None,
                issuers: Vec::new(),
                api_keys: false,
                certificates: false,
                audiences: Vec::new(),
                scopes: Vec::new(),
                default_resource: false,
            };
        }
        for (index, name) in file.issuers.iter().flatten().enumerate() {
            let here = path.key("issuers");
            let place = self.element(&here, index);
            if file.issuers.iter().flatten().take(index).any(|earlier| earlier == name) {
                self.note(Finding::error(place.clone(), "this issuer stands here twice"));
            }
            self.check_reference(&place, "issuer", "issuers", name, proofs.issuers);
        }
        for (key, wanted, exists, section) in [
            ("api_keys", file.api_keys, proofs.api_keys, "api_keys"),
            ("certificates", file.certificates, proofs.certificates, "certificates"),
        ] {
            if wanted == Some(true) && !exists && !self.is_pruned(&KeyPath::from([section])) {
                let message = format!("there are none: `{section}` is empty");
                self.note(Finding::error(path.key(key), message));
            }
        }
        let auth = Auth {
            mode: file.mode,
            issuers: file.issuers.unwrap_or_else(|| proofs.issuers.keys().cloned().collect()),
            api_keys: file.api_keys.unwrap_or(proofs.api_keys),
            certificates: file.certificates.unwrap_or(proofs.certificates),
            audiences: file.audiences,
            scopes: file.scopes,
            default_resource: file.default_resource,
        };
        let sections = ["issuers", "api_keys", "certificates"];
        let unknown = sections.iter().any(|section| self.is_pruned(&KeyPath::from([*section])));
        let nobody = auth.issuers.is_empty() && !auth.api_keys && !auth.certificates;
        if written && nobody && !unknown && auth.mode == AuthMode::Required {
            let help = "configure `issuers`, `api_keys` or `certificates`, or write `auth: none`";
            let message = "nobody could be let in: there is no proof that is taken here";
            self.note(Finding::error(path.clone(), message).help(help));
        }
        auth
    }

    /// With `none`, nothing else that stands beside it has any effect.
    fn check_nothing_asked(&mut self, path: &KeyPath, file: &AuthFile) {
        let beside = [
            ("issuers", file.issuers.as_ref().is_some_and(|issuers| !issuers.is_empty())),
            ("api_keys", file.api_keys == Some(true)),
            ("certificates", file.certificates == Some(true)),
            ("audiences", !file.audiences.is_empty()),
            ("scopes", !file.scopes.is_empty()),
            ("default_resource", file.default_resource),
        ];
        for (key, _) in beside.into_iter().filter(|(_, given)| *given) {
            self.note(Finding::error(path.key(key), "with `none`, nobody is asked for anything").at_key());
        }
    }

    /// Says which listeners let everybody in from elsewhere without anybody having said so, and what on a listener does not
    /// go together.
    pub(super) fn check_openness(
        &mut self,
        listeners: &IndexMap<Name, Bound<Listener>>,
        servers: &IndexMap<Name, VirtualServer>,
    ) {
        for (name, bound) in listeners {
            let path = KeyPath::from(["listeners"]).key(name);
            let offered: Vec<_> = servers.iter().filter(|(_, server)| server.listeners.contains(name)).collect();
            self.check_default_resource(&offered);
            let Some(listener) = &bound.resolved else { continue };
            let open = offered.iter().find(|(_, server)| server.auth.mode == AuthMode::None);
            let elsewhere = bound.address.is_some_and(|address| !ListenAddress::is_loopback(address));
            if let (Some((open, _)), true, false) = (open, elsewhere, listener.acknowledge_no_auth) {
                let message = format!(
                    "everybody who reaches this address may use virtual server `{open}`: nobody is asked who they are"
                );
                let help = "configure `issuers`, `api_keys` or `certificates`; or, where something in front asks, write \
                            `acknowledge_no_auth: true`";
                self.note(Finding::error(path, message).at_key().help(help));
            }
        }
        let asks = |listener: &Listener| listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        for (name, server) in servers.iter().filter(|(_, server)| server.auth.certificates) {
            let resolved = || server.listeners.iter().filter_map(|listener| listeners.get(listener)?.resolved.as_ref());
            if resolved().count() == server.listeners.len() && !resolved().any(asks) {
                let message = "client certificates are taken here, and none of its listeners asks for one";
                let path = KeyPath::from(["virtual_servers"]).key(name);
                let written = path.key("auth");
                self.note(Finding::warning(written, message).help("set `tls.client_ca` on a listener"));
            }
        }
    }

    /// One virtual server of a listener may have its metadata at the root.
    fn check_default_resource(&mut self, offered: &[(&Name, &VirtualServer)]) {
        let mut first = None;
        for (name, _) in offered.iter().filter(|(_, server)| server.auth.default_resource) {
            let Some(earlier) = first.replace(*name) else { continue };
            let path = KeyPath::from(["virtual_servers"]).key(name).key("auth").key("default_resource");
            let message = format!("virtual server `{earlier}` is the default resource of the same listener");
            if !self.findings.iter().any(|finding| finding.path == path) {
                self.note(Finding::error(path, message));
            }
        }
    }
}
