//! What a user may write: the shape of a configuration file, before defaults that depend on other values.
//!
//! [`ConfigFile`] is what the JSON Schema describes; [`Config`](super::Config) is what the rest of the gateway reads. Doc
//! comments here are the schema's descriptions.
//!
//! What must be given is optional here too: its absence is told with everything else that is wrong, instead of hiding it.

use super::sections::{
    AdminLimits, ApiKeys, AuthFile, Backend, CertificateRule, Cluster, Drain, Egress, FailurePolicy, Issuer, Limits,
    ListenerTls, Log, Member, MetricsAccess, Policy, PrefixPolicy, ProtocolRevision, ProxyProtocol, Revocations,
    Streams,
};
use super::values::{
    AllowedHost, AllowedOrigin, ListenAddress, Name, Network, PublicUrl, RoutePath, Secret, Separator, TimeSpan,
};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// The port that the admin listener has when nothing else is said.
pub const ADMIN_PORT: u16 = 9901;

/// How long a session ticket lives when nothing else is said: thirty days.
const TICKET_LIFETIME: TimeSpan = TimeSpan::seconds(30 * 86_400);

/// How long the items of a backend that does not answer are listed when nothing else is said.
const GRACE: TimeSpan = TimeSpan::seconds(60);

/// The items on one page of a list when nothing else is said.
const PAGE_SIZE: u32 = 1_000;

/// The configuration of a Lockgate gateway.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Lockgate configuration", extend("required" = ["listeners", "backends", "virtual_servers"]))]
pub struct ConfigFile {
    /// Where the gateway accepts clients, by name.
    pub listeners: IndexMap<Name, ListenerFile>,
    /// The operator's listener: health, metrics, status, reload.
    pub admin: AdminFile,
    /// Where the gateway keeps what must survive a restart. Default: `$XDG_STATE_HOME/lockgate`, else
    /// `~/.local/state/lockgate`.
    pub state_dir: Option<PathBuf>,
    /// Session tickets: how they are sealed and how long they live.
    pub tickets: TicketsFile,
    /// The other nodes of this gateway.
    pub cluster: Cluster,
    /// The MCP servers behind the gateway, by name.
    pub backends: IndexMap<Name, Backend>,
    /// The MCP endpoints that clients see, by name.
    pub virtual_servers: IndexMap<Name, VirtualServerFile>,
    /// Who issues the tokens that callers show, by name.
    pub issuers: IndexMap<Name, Issuer>,
    /// The keys that callers may show instead of tokens: a list; or `{ file: ./keys.yaml }`, a file with that list, which is
    /// read again when it changes.
    pub api_keys: ApiKeys,
    /// Who client certificates speak for.
    pub certificates: Vec<CertificateRule>,
    /// Who may do what. Default: everybody who is let in may do everything.
    pub policy: Option<Policy>,
    /// What no longer counts although it has not ended.
    pub revocations: Option<Revocations>,
    /// What the gateway itself may fetch.
    pub egress: Egress,
    /// Bounds on what clients and backends may send and hold.
    pub limits: Limits,
    /// Streams held open towards clients.
    pub streams: Streams,
    /// Stopping.
    pub drain: Drain,
    /// Threads that carry traffic. Default: the CPUs that this process may use.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// What the gateway writes about itself.
    pub log: Log,
}

/// An address on which the gateway accepts clients.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerFile {
    /// The IP address and port to bind.
    #[schemars(required)]
    pub address: Option<ListenAddress>,
    /// The URL by which clients reach this listener. Default on loopback: made from the address; required elsewhere.
    pub public_url: Option<PublicUrl>,
    /// TLS. Without it the listener speaks plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Which hosts clients may ask for, beyond that of `public_url`. Default on loopback: the loopback names; required
    /// elsewhere.
    pub allowed_hosts: Option<Vec<AllowedHost>>,
    /// Which web pages may call. Default on loopback: pages of this machine; elsewhere none.
    pub allowed_origins: Option<Vec<AllowedOrigin>>,
    /// Proxies in front whose word about the client's address is believed.
    #[serde(default)]
    pub trusted_proxies: Vec<Network>,
    /// Whether connections start with a PROXY protocol header. Believed only from `trusted_proxies`.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// Whether HTTP/2 is offered: negotiated on TLS, with prior knowledge on plain HTTP.
    #[serde(default = "yes")]
    pub http2: bool,
    /// That callers need not prove who they are (`auth: none`) although this listener is not on loopback: something in front
    /// asks them, or they may be anybody.
    #[serde(default)]
    pub acknowledge_no_auth: bool,
}

/// The operator's listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminFile {
    /// The IP address and port to bind.
    pub address: ListenAddress,
    /// What operators prove themselves with: 16 characters or more. Default: made at the first start, in `state_dir`.
    pub token: Option<Secret>,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// Which hosts may be asked for. Default on loopback: the loopback names; required elsewhere.
    pub allowed_hosts: Option<Vec<AllowedHost>>,
    /// Bounds on what operators' connections may use.
    pub limits: AdminLimits,
}

impl Default for AdminFile {
    fn default() -> AdminFile {
        AdminFile {
            address: ListenAddress::loopback(ADMIN_PORT),
            token: None,
            metrics: MetricsAccess::default(),
            allowed_hosts: None,
            limits: AdminLimits::default(),
        }
    }
}

/// Session tickets.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TicketsFile {
    /// Sealing keys: the first seals, all open. Default: one made at the first start, in `state_dir`.
    pub keys: Vec<TicketKeyFile>,
    /// How long a ticket lives. A key may be taken out once this time has passed since it last sealed.
    pub lifetime: TimeSpan,
}

impl Default for TicketsFile {
    fn default() -> TicketsFile {
        TicketsFile { keys: Vec::new(), lifetime: TICKET_LIFETIME }
    }
}

/// One sealing key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketKeyFile {
    /// Its name, by which messages call it.
    pub id: Name,
    /// The key: at least 32 random bytes as hex or base64.
    pub secret: Secret,
}

/// One MCP endpoint as clients see it: the items of one backend or of several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["backends"]))]
pub struct VirtualServerFile {
    /// The URL path at which it is found. Default: `/servers/NAME/mcp`, which leads to it in any case.
    pub path: Option<RoutePath>,
    /// The listeners that offer it. Default: all.
    pub listeners: Option<Vec<Name>>,
    /// The backends whose items it exposes: names, or maps that say more. Of two items that clash, that of the backend
    /// listed first is shown.
    pub backends: Vec<Member>,
    /// What is asked of callers. Default: `required` where an issuer, an API key or a rule for client certificates is
    /// configured, else `none`.
    pub auth: Option<AuthFile>,
    /// Whether the names of items get prefixes, and so the URIs of resources. Default: `always` with several backends,
    /// `never` with one.
    pub prefix: Option<PrefixPolicy>,
    /// What stands between a prefix and a name.
    pub separator: Separator,
    /// What becomes of lists when one backend does not answer.
    pub failure: FailurePolicy,
    /// How long the items of a backend that does not answer are still listed, where `failure` is `partial`.
    pub grace: TimeSpan,
    /// What clients are told about the use of this server, in place of what its backends say. At most 16 KiB.
    pub instructions: Option<String>,
    /// The protocol revisions that clients are offered. Default: all that its backends allow.
    pub revisions: Option<Vec<ProtocolRevision>>,
    /// Whether each backend is found alone too, all of it and under its own names, at `path` followed by `/` and the
    /// backend's name.
    pub direct_views: bool,
    /// Whether clients that speak HTTP+SSE (revision 2024-11-05) are served: their event stream is at `/servers/NAME/sse`
    /// and at `path` followed by `/sse`, their messages go to `message` in the same places.
    pub sse: bool,
    /// The items on one page of a list.
    pub page_size: u32,
}

impl Default for VirtualServerFile {
    fn default() -> VirtualServerFile {
        VirtualServerFile {
            path: None,
            listeners: None,
            backends: Vec::new(),
            auth: None,
            prefix: None,
            separator: Separator::default(),
            failure: FailurePolicy::default(),
            grace: GRACE,
            instructions: None,
            revisions: None,
            direct_views: false,
            sse: false,
            page_size: PAGE_SIZE,
        }
    }
}

/// The default of a switch that is on.
const fn yes() -> bool {
    true
}
