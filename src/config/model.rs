//! The configuration as the rest of the gateway reads it: validated, every default filled in, paths absolute.
//!
//! It serializes to the same keys as the file, so what `config show` prints can be loaded again once the masks are
//! replaced.

use super::sections::{AdminLimits, Backend, Drain, Limits, ListenerTls, Log, MetricsAccess, ProxyProtocol, Streams};
use super::values::{
    AllowedHost, AllowedOrigin, KeyMaterial, ListenAddress, Name, Network, PublicUrl, RoutePath, Secret, TimeSpan,
};
use indexmap::IndexMap;
use serde::Serialize;
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
    /// The MCP servers behind the gateway; at least one.
    pub backends: IndexMap<Name, Backend>,
    /// The MCP endpoints clients see; at least one. Paths are unique on each listener.
    pub virtual_servers: IndexMap<Name, VirtualServer>,
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
    /// Its URL path.
    pub path: RoutePath,
    /// The listeners that offer it; never empty.
    pub listeners: Vec<Name>,
    /// The backends behind it; exactly one for now.
    pub backends: Vec<Name>,
}
