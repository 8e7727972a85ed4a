//! Who is let in at the virtual servers of one configuration, and where it is said whom to ask for a token.

use super::World;
use crate::config::Objection;
use crate::config::model::{Config, Listener, Route, VirtualServer};
use crate::config::path::KeyPath;
use crate::config::sections::AuthMode;
use crate::config::values::Name;
use crate::identity::{Prepared, RevocationWatch, Unusable, UnusableReason, revoker, system_clock};
use crate::settings;
use bytes::Bytes;
use lockgate_filters::authenticate::access::{Access, AccessParts, Issuer, KeySource, Mode, RevocationSource};
use lockgate_filters::authenticate::api_key::ApiKeys;
use lockgate_filters::authenticate::audience::Audiences;
use lockgate_filters::authenticate::certificate::Certificates;
use lockgate_filters::authenticate::challenge::Challenges;
use lockgate_filters::authenticate::keys::KeySet;
use lockgate_filters::authenticate::metadata::{Metadata, Resource};
use lockgate_filters::authenticate::revoked::Revocations;
use std::collections::HashMap;
use std::sync::Arc;

/// The list of what no longer counts, as it is kept.
pub type Revoking = Arc<RevocationWatch<Revocations>>;

/// What the virtual servers of one configuration know their callers by.
pub(super) struct Proofs {
    issuers: HashMap<Arc<str>, Arc<Issuer>>,
    api_keys: Option<Arc<ApiKeys>>,
    certificates: Option<Arc<Certificates>>,
    revocations: Option<Revoking>,
}

/// What a listener says to those who are not let in, and where.
#[derive(Default)]
pub(super) struct Notices {
    /// The documents, by path.
    pub documents: Vec<(Box<str>, Bytes)>,
    challenges: HashMap<Box<str>, Arc<Challenges>>,
}

impl Notices {
    /// What callers at this path are told.
    pub fn challenges(&self, path: &str) -> Option<Arc<Challenges>> {
        self.challenges.get(path).cloned()
    }
}

impl World {
    /// Prepares the issuers; nothing that serves changes by it.
    ///
    /// # Errors
    /// Every one that cannot be used.
    pub(super) fn prepare_issuers(&self, config: &Config) -> Result<Prepared<KeySet>, Vec<Objection>> {
        let issuers = settings::identity::issuers(config)?;
        self.identities.prepare(issuers).map_err(|wrong| wrong.into_iter().map(unusable).collect())
    }

    /// The list of what no longer counts: the one that is kept already, where nothing about it has changed.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(super) fn prepare_revocations(&self, config: &Config) -> Result<Option<Revoking>, Vec<Objection>> {
        let Some(settings) = settings::identity::revocations(config) else { return Ok(None) };
        if let Some(kept) = self.revoking.load_full().filter(|kept| kept.is_of(&settings)) {
            return Ok(Some(kept));
        }
        let wrong = |message: String| vec![Objection::new(KeyPath::from(["revocations"]), message)];
        let client = self.egress.client(&Default::default(), Default::default());
        let client = client.map_err(|error| wrong(error.to_string()))?;
        let started = RevocationWatch::start(settings, client, system_clock(), revoker());
        started.map(|watch| Some(Arc::new(watch))).map_err(|fault| wrong(fault.to_string()))
    }

    /// What the virtual servers of this configuration know their callers by.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn proofs(
        &self,
        config: &Config,
        prepared: &Prepared<KeySet>,
        revocations: Option<Revoking>,
    ) -> Result<Proofs, Vec<Objection>> {
        let mut issuers = HashMap::new();
        for (name, settings) in &config.issuers {
            let Some(running) = prepared.issuer(name.as_str()) else { continue };
            let path = KeyPath::from(["issuers", name.as_str()]);
            let issuer = Issuer {
                name: name.shared(),
                rules: settings::identity::token_rules(settings),
                mapping: settings::identity::claims(&path, settings).map_err(|wrong| vec![wrong])?,
                keys: Arc::clone(running) as Arc<dyn KeySource>,
                introspects: settings.introspection.is_some(),
                introspection_millis: settings.introspection.as_ref().map_or(0, |asked| asked.cache.as_millis()),
            };
            issuers.insert(name.shared(), Arc::new(issuer));
        }
        let api_keys = settings::identity::api_keys(config).map_err(|wrong| vec![wrong])?;
        let certificates = settings::identity::certificates(config).map_err(|wrong| vec![wrong])?;
        Ok(Proofs {
            issuers,
            api_keys: (!api_keys.is_empty()).then(|| Arc::new(api_keys)),
            certificates: (!certificates.is_empty()).then(|| Arc::new(certificates)),
            revocations,
        })
    }

    /// Who is let in at a virtual server; `None` where everybody is.
    pub(super) fn access(
        &self,
        config: &Config,
        name: &Name,
        server: &VirtualServer,
        proofs: &Proofs,
    ) -> Option<Arc<Access>> {
        let mode = match server.auth.mode {
            AuthMode::None => return None,
            AuthMode::Required => Mode::Required,
            AuthMode::Optional => Mode::Optional,
        };
        let issuers: Box<[_]> =
            server.auth.issuers.iter().filter_map(|issuer| proofs.issuers.get(issuer.as_str()).cloned()).collect();
        let named = server.auth.issuers.iter().filter_map(|issuer| config.issuers.get(issuer));
        let own = self.resources(config, name, server);
        let audiences = own.iter().chain(&server.auth.audiences).chain(named.flat_map(|issuer| &issuer.audiences));
        let revocations = proofs.revocations.clone().map(|kept| kept as Arc<dyn RevocationSource>);
        Some(Arc::new(Access::new(AccessParts {
            mode,
            issuers,
            api_keys: proofs.api_keys.clone().filter(|_| server.auth.api_keys),
            certificates: proofs.certificates.clone().filter(|_| server.auth.certificates),
            revocations,
            audiences: Audiences::new(audiences),
            server: name.shared(),
            tokens: Arc::clone(&self.tokens),
        })))
    }

    /// The URLs by which clients know a virtual server, on all its listeners.
    fn resources(&self, config: &Config, name: &Name, server: &VirtualServer) -> Vec<String> {
        let listeners =
            server.listeners.iter().filter_map(|listener| Some((listener, config.listeners.get(listener)?)));
        let urls = listeners.flat_map(|(listener, settings)| {
            let public = self.public_url(listener, settings);
            server.routes(name).into_iter().map(move |(path, _)| format!("{public}{}", path.as_str()))
        });
        urls.collect()
    }

    /// The URL by which clients know a listener, with the port that it got.
    fn public_url(&self, name: &Name, listener: &Listener) -> String {
        let bound = self.bound.iter().zip(&self.addresses).find(|(bound, _)| *bound == name);
        bound.map_or_else(|| listener.public_url.clone(), |(_, address)| listener.public_url_at(*address)).to_string()
    }

    /// What is said on a listener to those who are not let in.
    pub(super) fn notices(&self, config: &Config, listener: &Name, scopes: &dyn Fn(&Name) -> Vec<String>) -> Notices {
        let mut notices = Notices::default();
        let Some(settings) = config.listeners.get(listener) else { return notices };
        let public = self.public_url(listener, settings);
        let asking = config.offered_on(listener).filter(|(_, server)| server.auth.mode != AuthMode::None);
        for (name, server) in asking {
            let issuers = server.auth.issuers.iter().filter_map(|issuer| config.issuers.get(issuer));
            let issuers: Vec<&str> = issuers.map(|issuer| issuer.issuer.as_str()).collect();
            let needed = || server.auth.scopes.iter().map(|scope| scope.as_str());
            let known = scopes(name);
            let all: Vec<&str> = needed().chain(known.iter().map(String::as_str)).collect();
            for (at, (path, route)) in server.routes(name).into_iter().enumerate() {
                let url = format!("{public}{}", path.as_str());
                let Ok(resource) = Resource::parse(&url) else { continue };
                notices
                    .challenges
                    .insert(path.as_str().into(), Arc::new(Challenges::new(&resource.metadata_url(), needed())));
                let document = Metadata {
                    resource: &url,
                    authorization_servers: &issuers,
                    scopes: &all,
                    name: Some(name.as_str()),
                    certificate_bound_tokens: settings.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
                };
                let document = Bytes::from(document.to_json());
                notices.documents.push((resource.metadata_path().into(), document.clone()));
                // The root form is that of one server, by its first path.
                if at == 0 && server.auth.default_resource && route == Route::Mcp {
                    notices.documents.push((lockgate_filters::authenticate::metadata::WELL_KNOWN.into(), document));
                }
            }
        }
        notices
    }
}

fn unusable(Unusable { name, reason }: Unusable) -> Objection {
    let path = KeyPath::from(["issuers", &name]);
    let path = match reason {
        UnusableReason::Trust(_) => path.key("tls"),
        UnusableReason::Secret => path.key("introspection").key("client_secret"),
        UnusableReason::Keys(_) => path,
    };
    Objection::new(path, reason.to_string())
}
