//! Everything compiled from one configuration generation: immutable, behind one pointer, pinned by each exchange.

mod access;
mod servers;

use crate::bodies::Bodies;
use crate::catalog::Catalogs;
use crate::cluster::Cluster;
use crate::config::model::{Config, Listener as ListenerConfig};
use crate::config::path::KeyPath;
use crate::config::values::Name;
use crate::config::{Loaded, Objection};
use crate::egress::Egress;
use crate::identity::{Identities, Prepared, RevocationWatch};
use crate::request::BodyLimits;
use crate::seats::Seats;
use crate::session::keys::KeysFault;
use crate::session::state_dir::StateFault;
use crate::session::{Secrets, Sessions};
use crate::settings;
use crate::telemetry::{BackendMetrics, Metrics, ServerMetrics};
use crate::upstream::{Generation, LiveBackend, Registry};
use access::Revoking;
use arc_swap::{ArcSwap, ArcSwapOption};
use lockgate_filters::authenticate::access::Access;
use lockgate_filters::authenticate::cache::TokenCache;
use lockgate_filters::authenticate::filter::Authenticate;
use lockgate_filters::authenticate::keys::KeySet;
use lockgate_filters::authenticate::revoked::Revocations;
use lockgate_filters::authorize::{Authorize, Policy};
use lockgate_filters::chain::Chain;
use lockgate_filters::envelope::Envelope;
use lockgate_filters::era::Era;
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::federate::Federate;
use lockgate_filters::filter::Filter;
use lockgate_filters::guard::{Guard, HostRule, OriginRule};
use lockgate_filters::metadata::Metadata;
use lockgate_filters::negotiate::Negotiate;
use lockgate_filters::params::Params;
use lockgate_filters::route::Route;
use lockgate_filters::rpc::scan;
use lockgate_filters::session::Session;
use lockgate_filters::ticket::{Keyring, SessionId};
use lockgate_filters::virtual_server::VirtualServer;
use servers::{Place, Servers};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// The pointer that a reload stores to and every request loads from.
pub type Current = Arc<ArcSwap<Snapshot>>;

/// One configuration generation, ready to serve.
pub struct Snapshot {
    /// Counts from 1; grows with each reload that changed something.
    pub generation: u64,
    /// Since when this generation is in use.
    pub since: UnixMillis,
    /// What it was compiled from.
    pub loaded: Arc<Loaded>,
    /// The listeners, in the order in which they were bound.
    pub listeners: Vec<Arc<Listener>>,
    /// The virtual servers, in the order of the configuration.
    pub servers: Vec<Arc<Server>>,
    /// The backends.
    pub backends: Generation,
    /// The issuers of tokens.
    pub issuers: Prepared<KeySet>,
    /// What no longer counts.
    pub revoking: Option<Revoking>,
    /// Who may do what, where that is said.
    pub policy: Option<Arc<Policy>>,
    /// What tickets are sealed with, and nodes know each other by.
    pub keys: Arc<Keyring>,
    /// Bounds.
    pub limits: Limits,
    /// What operators prove themselves with: configured, or this node's own; `None` where there is neither.
    pub admin_token: Option<Arc<str>>,
    /// The series of requests that reached no virtual server.
    pub unrouted: Arc<ServerMetrics>,
}

/// A listener as requests see it.
pub struct Listener {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// `metadata` where there is any, `guard`, `route`.
    pub chain: Chain,
}

/// A virtual server with what is needed to carry its requests out.
pub struct Server {
    /// What filters know of it.
    pub policy: Arc<VirtualServer>,
    /// The backends behind it, in the order of the configuration; never empty.
    pub links: Box<[Arc<Link>]>,
    /// Who is let in; `None` where everybody is.
    pub access: Option<Arc<Access>>,
    /// Who may do what, where that is said.
    pub rights: Option<Arc<Policy>>,
    /// What its tickets are sealed with.
    pub keys: Arc<Keyring>,
    /// Its series.
    pub metrics: Arc<ServerMetrics>,
}

/// A backend as a virtual server reaches it.
pub struct Link {
    /// The backend.
    pub backend: Arc<LiveBackend>,
    /// Its series.
    pub metrics: Arc<BackendMetrics>,
    /// Whether a session that it has lost is opened again there; otherwise the client is told of the loss.
    pub heals: bool,
    /// Turns to answer what it asks the gateway itself: at most [`REPLIES`] at a time.
    pub replies: Arc<Semaphore>,
}

/// How many of a backend's own requests are answered at a time.
const REPLIES: usize = 8;

impl Link {
    fn new(backend: Arc<LiveBackend>, metrics: Arc<BackendMetrics>, heals: bool) -> Link {
        Link { backend, metrics, heals, replies: Arc::new(Semaphore::new(REPLIES)) }
    }

    /// The backend's name.
    pub fn name(&self) -> &Arc<str> {
        &self.backend.backend.name
    }
}

/// The bounds that apply to each exchange.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of a request's header: bytes of names and values, and fields.
    pub header_bytes: usize,
    /// The most header fields.
    pub header_fields: usize,
    /// Of a request's body.
    pub body: BodyLimits,
    /// Of what is in it.
    pub scan: scan::Limits,
    /// Of an answer that is buffered whole, in bytes.
    pub answer_bytes: usize,
    /// Of one SSE event, in bytes.
    pub event_bytes: usize,
    /// How long a stream may be silent before a comment is sent on it.
    pub keep_alive: Duration,
    /// Clients of HTTP+SSE at a time.
    pub sse_sessions: usize,
    /// `subscriptions/listen` requests that are carried out at a time.
    pub listen_streams: usize,
    /// How long a session's ticket lives, in milliseconds.
    pub ticket_lifetime: u64,
}

/// What outlives snapshots.
pub struct World {
    /// Backends and connections.
    pub upstream: Arc<Registry>,
    /// Node state of legacy sessions.
    pub sessions: Arc<Sessions>,
    /// Keys and the admin token, where no configuration names them.
    pub secrets: Secrets,
    /// What the bodies of all requests hold.
    pub bodies: Arc<Bodies>,
    /// The `subscriptions/listen` requests that are carried out.
    pub listening: Seats,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// What federated virtual servers show.
    pub catalogs: Arc<Catalogs>,
    /// Counts up when another snapshot serves: for what is held open over it.
    pub reloads: watch::Sender<u64>,
    /// The other nodes.
    pub cluster: Arc<Cluster>,
    /// What the gateway itself may fetch, and how.
    pub egress: Arc<Egress>,
    /// The issuers whose keys are kept.
    pub identities: Identities<KeySet>,
    /// What no longer counts, as it is kept.
    pub revoking: ArcSwapOption<RevocationWatch<Revocations>>,
    /// Tokens that were verified.
    pub tokens: Arc<TokenCache>,
    /// The listeners that were bound at start, in order.
    pub bound: Vec<Name>,
    /// Where they are.
    pub addresses: Vec<SocketAddr>,
}

/// What a snapshot is compiled from.
pub struct Ingredients {
    /// The configuration.
    pub loaded: Loaded,
    /// Its number.
    pub generation: u64,
    /// Since when it is in use.
    pub since: UnixMillis,
    /// The URL of the demo server inside this process, where the configuration uses it.
    pub demo: Option<String>,
}

impl World {
    /// Compiles a configuration. Nothing that is serving changes by it.
    ///
    /// # Errors
    /// Everything that cannot be used: a certificate that has become unreadable, a key that is gone. Reads files: it
    /// blocks.
    pub fn compile(&self, from: Ingredients) -> Result<Snapshot, Vec<Objection>> {
        let Ingredients { loaded, generation, since, demo } = from;
        let config = &loaded.config;
        let backends = self.prepare_backends(config, demo.as_deref())?;
        let keys = self.keyring(config)?;
        let admin_token = self.admin_token(config)?;
        let issuers = self.prepare_issuers(config)?;
        let revoking = self.prepare_revocations(config)?;
        let proofs = self.proofs(config, &issuers, revoking.clone())?;
        let policy = settings::policy(config)?.map(Arc::new);
        let compiled = self.servers(config, &backends, &keys, (&proofs, policy.as_ref()))?;
        let listeners = self.bound.iter();
        let listeners = listeners.map(|name| Arc::new(self.listener(name, config, &compiled, policy.as_deref())));
        let listeners = listeners.collect();
        let servers = compiled.servers;
        let limits = Limits::of(config);
        let unrouted = self.metrics.unrouted();
        let loaded = Arc::new(loaded);
        Ok(Snapshot {
            generation,
            since,
            loaded,
            listeners,
            servers,
            backends,
            issuers,
            revoking,
            policy,
            keys,
            limits,
            admin_token,
            unrouted,
        })
    }

    /// Makes what a snapshot was compiled with count; it serves from now on. To be called on a runtime, which keeps what has
    /// to be kept.
    pub fn commit(&self, snapshot: &Snapshot) {
        self.egress.set_rules(settings::identity::egress(&snapshot.loaded.config));
        self.upstream.commit(&snapshot.backends);
        self.identities.commit(&snapshot.issuers);
        self.revoking.store(snapshot.revoking.clone());
        self.keep_callers(&snapshot.loaded.config.limits);
    }

    /// What tickets are sealed with.
    fn keyring(&self, config: &Config) -> Result<Arc<Keyring>, Vec<Objection>> {
        let unfit = |fault: KeysFault| vec![Objection::new(KeyPath::from(["tickets", "keys"]), fault.to_string())];
        self.secrets.keyring(&settings::ticket_keys(config)).map_err(unfit)
    }

    fn admin_token(&self, config: &Config) -> Result<Option<Arc<str>>, Vec<Objection>> {
        if let Some(token) = &config.admin.token {
            return Ok(Some(token.expose().into()));
        }
        let unfit = |fault: StateFault| vec![Objection::new(KeyPath::from(["admin", "token"]), fault.to_string())];
        self.secrets.admin_token().map_err(unfit)
    }

    fn prepare_backends(&self, config: &Config, demo: Option<&str>) -> Result<Generation, Vec<Objection>> {
        let mut settings = Vec::with_capacity(config.backends.len());
        let mut wrong = Vec::new();
        for (name, backend) in &config.backends {
            match settings::usable_backend(name.shared(), backend, config, demo) {
                Ok(backend) => settings.push(backend),
                Err(objection) => wrong.push(objection),
            }
        }
        let prepared = self.upstream.prepare(&settings);
        let prepared = prepared.map_err(|unusable| wrong.extend(unusable.into_iter().map(settings::unusable_backend)));
        prepared.ok().filter(|_| wrong.is_empty()).ok_or(wrong)
    }

    /// The filters of a virtual server, in the order in which they decide.
    fn server_chain(&self, place: &Place<'_>, backends: Box<[Arc<str>]>) -> Chain {
        let (name, keys) = (Arc::clone(&place.name), Arc::clone(place.keys));
        let mut filters: Vec<Box<dyn Filter>> = Vec::new();
        if let Some(access) = &place.access {
            let scopes = place.settings.auth.scopes.iter().map(|scope| scope.as_str().into()).collect();
            filters.push(Box::new(Authenticate::new(Arc::clone(access), scopes, place.policy.cloned())));
        }
        filters.push(Box::new(Negotiate::new(place.config.limits.body_bytes.get())));
        filters.push(Box::new(Era));
        let sessions = Arc::new(Ended(Arc::clone(&self.sessions)));
        filters.push(Box::new(Session::new(Arc::clone(&name), Arc::clone(&keys), sessions)));
        filters.push(Box::new(Envelope));
        filters.push(Box::new(Federate::new(Arc::clone(&name), keys)));
        if let Some(policy) = place.policy {
            let denied_as = settings::denied_as(place.config);
            filters.push(Box::new(Authorize::new(Arc::clone(policy), name, backends, denied_as)));
        }
        filters.push(Box::new(Params));
        Chain::new(filters)
    }

    /// A listener that the configuration no longer names stays bound until a restart, and serves nothing.
    fn listener(&self, name: &Name, config: &Config, servers: &Servers, policy: Option<&Policy>) -> Listener {
        let Some(settings) = config.listeners.get(name) else {
            return Listener { name: name.shared(), chain: Chain::default() };
        };
        let scopes = || policy.map(|policy| policy.scopes().iter().map(|(scope, _)| scope.to_owned()).collect());
        let notices = self.notices(config, name, &|_| scopes().unwrap_or_default());
        let paths = servers.on(name, &notices);
        let mut filters: Vec<Box<dyn Filter>> = Vec::new();
        if !notices.documents.is_empty() {
            filters.push(Box::new(Metadata::new(notices.documents)));
        }
        filters.push(Box::new(Guard::new(hosts(settings), origins(settings))));
        filters.push(Box::new(Route::new(paths)));
        Listener { name: name.shared(), chain: Chain::new(filters) }
    }
}

fn hosts(settings: &ListenerConfig) -> Vec<HostRule> {
    settings.allowed_hosts.iter().map(|host| HostRule::parse(&host.to_string())).collect()
}

fn origins(settings: &ListenerConfig) -> Vec<OriginRule> {
    settings.allowed_origins.iter().map(|origin| OriginRule::parse(&origin.to_string())).collect()
}

impl Limits {
    fn of(config: &Config) -> Limits {
        let limits = &config.limits;
        Limits {
            header_bytes: limits.header_bytes.as_usize(),
            header_fields: limits.header_fields as usize,
            body: BodyLimits {
                bytes: limits.body_bytes.as_usize(),
                total: limits.body_bytes_total.as_usize(),
                time: limits.body_time.get(),
            },
            scan: scan::Limits { depth: limits.depth as usize, batch: limits.batch as usize },
            answer_bytes: limits.answer_bytes.as_usize(),
            event_bytes: limits.sse_event.as_usize(),
            keep_alive: config.streams.keep_alive.get(),
            sse_sessions: limits.sse_sessions as usize,
            listen_streams: limits.listen_streams as usize,
            ticket_lifetime: config.tickets.lifetime.as_millis(),
        }
    }
}

/// What the `session` filter asks of the node: only sessions that were ended on purpose are gone for good.
struct Ended(Arc<Sessions>);

impl lockgate_filters::session::Sessions for Ended {
    fn is_gone(&self, id: &SessionId) -> bool {
        self.0.store().is_ended(id)
    }
}
