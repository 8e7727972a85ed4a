//! The configuration as the rest of the gateway reads it: validated, every default filled in, paths absolute.
//!
//! It serializes to the same keys as the file, so what `config show` prints can be loaded again once the masks are
//! replaced.

use super::sections::{
    AdminLimits, ApiKeys, AuthMode, Backend, CertificateRule, Cluster, Drain, Egress, FailurePolicy, Issuer, Limits,
    ListenerTls, Log, Member, MetricsAccess, Policy, PrefixPolicy, ProtocolRevision, ProxyProtocol, Revocations,
    Streams,
};
use super::values::{
    AllowedHost, AllowedOrigin, ItemPrefix, KeyMaterial, ListenAddress, Name, Network, PublicUrl, RoutePath, Scope,
    Secret, Separator, TimeSpan,
};
use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// A whole, valid configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Where clients are accepted; at least one.
    pub listeners: IndexMap<Name, Listener>,
    /// The operator's listener.
    pub admin: Admin,
    /// Where state is kept; `None` when nothing names a place (no setting, no `XDG_STATE_HOME`, no `HOME`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
    /// Session tickets.
    pub tickets: Tickets,
    /// Other nodes.
    pub cluster: Cluster,
    /// The MCP servers behind the gateway; at least one.
    pub backends: IndexMap<Name, Backend>,
    /// The MCP endpoints clients see; at least one. Paths are unique on each listener.
    pub virtual_servers: IndexMap<Name, VirtualServer>,
    /// Who issues tokens; no two have the same `iss`.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub issuers: IndexMap<Name, Issuer>,
    /// API keys, those of a file included; their ids and hashes are unique.
    #[serde(skip_serializing_if = "ApiKeys::is_none")]
    pub api_keys: ApiKeys,
    /// Who client certificates speak for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateRule>,
    /// Who may do what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// What no longer counts: a file, a URL, or both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocations: Option<Revocations>,
    /// What the gateway itself may fetch.
    #[serde(skip_serializing_if = "is_closed")]
    pub egress: Egress,
    /// Bounds.
    pub limits: Limits,
    /// Streams held open towards clients.
    pub streams: Streams,
    /// Stopping.
    pub drain: Drain,
    /// Threads that carry traffic.
    pub workers: NonZeroUsize,
    /// Logging.
    pub log: Log,
}

impl Config {
    /// The virtual servers that a listener offers, in the order of the configuration.
    pub fn offered_on<'a>(&'a self, listener: &'a Name) -> impl Iterator<Item = (&'a Name, &'a VirtualServer)> {
        self.virtual_servers.iter().filter(move |(_, server)| server.listeners.contains(listener))
    }

    /// What stands before the names of a member's items, where the virtual server gives prefixes.
    pub fn prefix_of(&self, member: &Member) -> ItemPrefix {
        let own = || self.backends.get(&member.backend).and_then(|backend| backend.prefix.clone());
        member.prefix.clone().or_else(own).unwrap_or_else(|| ItemPrefix::of_name(&member.backend))
    }

    /// Whether a virtual server passes everything on as it is: one backend that speaks Streamable HTTP, nothing selected,
    /// nothing renamed, nothing added, nobody asked who they are.
    pub fn is_direct(&self, server: &VirtualServer) -> bool {
        let [member] = server.backends.as_slice() else { return false };
        let backend = self.backends.get(&member.backend);
        server.prefix == PrefixPolicy::Never
            && server.instructions.is_none()
            && server.auth.mode == AuthMode::None
            && self.policy.is_none()
            && member.takes_all()
            && backend.is_some_and(Backend::is_streamable_http)
    }
}

/// Whether nothing is exempt.
fn is_closed(egress: &Egress) -> bool {
    egress.allow.is_empty()
}

/// An address on which clients are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// The address to bind; port 0 lets the system choose.
    pub address: ListenAddress,
    /// The URL clients know it by. With port 0 and no setting, ask [`Listener::public_url_at`] once bound.
    pub public_url: PublicUrl,
    /// TLS, where it is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Hosts that are let in, that of `public_url` included. Never empty.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Origins that are let in.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Proxies that are believed.
    pub trusted_proxies: Vec<Network>,
    /// The PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Whether callers need not prove who they are although the address is not loopback.
    pub acknowledge_no_auth: bool,
    /// Whether `public_url` was made from the address.
    #[serde(skip)]
    pub public_url_is_derived: bool,
}

impl Listener {
    /// The public URL once the listener is bound: a derived one takes the port that the system chose.
    pub fn public_url_at(&self, bound: SocketAddr) -> PublicUrl {
        if self.public_url_is_derived { self.public_url.with_port_of(bound) } else { self.public_url.clone() }
    }
}

/// The operator's listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Admin {
    /// The address to bind.
    pub address: ListenAddress,
    /// The operator's token; `None` asks for one generated into the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// Hosts that are let in.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Bounds.
    pub limits: AdminLimits,
}

/// Session tickets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tickets {
    /// Sealing keys: the first seals, all open. Empty asks for one generated into the state directory.
    pub keys: Vec<TicketKey>,
    /// How long a ticket lives.
    pub lifetime: TimeSpan,
}

/// One sealing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TicketKey {
    /// Its name, unique among the keys.
    pub id: Name,
    /// Its bytes.
    pub secret: KeyMaterial,
}

/// One MCP endpoint as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VirtualServer {
    /// Its URL path. `/servers/NAME/mcp` leads to it too: [`VirtualServer::routes`] knows all.
    pub path: RoutePath,
    /// The listeners that offer it; never empty.
    pub listeners: Vec<Name>,
    /// The backends behind it, none twice; never empty.
    pub backends: Vec<Member>,
    /// What is asked of callers.
    #[serde(serialize_with = "as_written")]
    pub auth: Auth,
    /// Whether items get prefixes.
    pub prefix: PrefixPolicy,
    /// What stands between a prefix and a name.
    pub separator: Separator,
    /// What becomes of lists when one backend does not answer.
    pub failure: FailurePolicy,
    /// How long the items of a backend that does not answer are listed, under [`FailurePolicy::Partial`].
    pub grace: TimeSpan,
    /// What clients are told in place of what the backends say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// The revisions that clients are offered, none twice; empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<ProtocolRevision>,
    /// Whether each backend is found alone too.
    pub direct_views: bool,
    /// Whether clients that speak HTTP+SSE are served.
    pub sse: bool,
    /// The items on one page of a list.
    pub page_size: u32,
}

/// What a virtual server asks of its callers. With [`AuthMode::None`] no proof is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Auth {
    /// Whether they must prove who they are.
    pub mode: AuthMode,
    /// The issuers whose tokens are taken, none twice.
    pub issuers: Vec<Name>,
    /// Whether API keys are taken.
    pub api_keys: bool,
    /// Whether client certificates are taken.
    pub certificates: bool,
    /// Audiences that are accepted besides the server's own URL.
    pub audiences: Vec<String>,
    /// Scopes that every caller with scopes must have.
    pub scopes: Vec<Scope>,
    /// Whether its metadata is found at the root of its listeners too.
    pub default_resource: bool,
}

/// Where nothing is asked, that is all there is to say.
fn as_written<S: Serializer>(auth: &Auth, serializer: S) -> Result<S::Ok, S::Error> {
    if auth.mode == AuthMode::None { auth.mode.serialize(serializer) } else { auth.serialize(serializer) }
}

/// What a URL path of a virtual server leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// The server itself.
    Mcp,
    /// One of its backends, alone and under its own names.
    View(&'a Name),
    /// The event stream of HTTP+SSE.
    Sse,
    /// Where clients of HTTP+SSE send their messages.
    Message,
}

impl VirtualServer {
    /// Every path that leads to it, each once; that of the configuration first.
    pub fn routes(&self, name: &Name) -> Vec<(RoutePath, Route<'_>)> {
        let own = RoutePath::of_server(name, "mcp");
        let mut routes = vec![(self.path.clone(), Route::Mcp)];
        if self.path != own {
            routes.push((own, Route::Mcp));
        }
        if self.direct_views {
            let view = |member: &'_ Member| self.path.below(member.backend.as_str());
            routes.extend(self.backends.iter().map(|member| (view(member), Route::View(&member.backend))));
        }
        if self.sse {
            for (segment, route) in [("sse", Route::Sse), ("message", Route::Message)] {
                routes.push((RoutePath::of_server(name, segment), route));
                routes.push((self.path.below(segment), route));
            }
        }
        routes
    }
}
