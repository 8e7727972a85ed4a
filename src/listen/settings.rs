//! What a listener is told: plain values, compiled from the configuration by whoever starts or reloads it.
//!
//! Address and whether TLS is spoken are fixed when the listener starts. Everything else may change while it runs and
//! counts for connections that are accepted afterwards.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its name in the configuration, which is also its metric label.
    pub name: String,
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Certificate and key, if TLS is spoken.
    pub tls: Option<TlsFiles>,
    /// Whether HTTP/2 is spoken: by prior knowledge on a plain listener, by ALPN with TLS.
    pub http2: bool,
    /// Whether trusted proxies begin each connection with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// Networks whose word about the client is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What one client, and all clients together, may use.
    pub limits: ConnectionLimits,
}

impl ListenerSettings {
    /// A plain listener with HTTP/2, no trusted proxies and the default limits.
    pub fn new(name: impl Into<String>, address: SocketAddr) -> ListenerSettings {
        ListenerSettings {
            name: name.into(),
            address,
            tls: None,
            http2: true,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: Vec::new(),
            limits: ConnectionLimits::default(),
        }
    }

    /// Whether the word of a proxy with this address is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        lockgate_filters::forwarded::is_trusted(address, &self.trusted_proxies)
    }
}

/// Where a listener's certificate lies, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The private key (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
    /// Whose client certificates are believed; `None` where clients are not asked for any.
    pub clients: Option<ClientTls>,
}

/// Client certificates on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// The certificates of those who vouch for clients, as a PEM file.
    pub ca: PathBuf,
    /// Whether a client without a certificate is turned away in the handshake.
    pub required: bool,
}

/// Which PROXY header a trusted proxy must send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// None.
    #[default]
    Off,
    /// The text form.
    V1,
    /// The binary form.
    V2,
    /// Either form.
    Any,
}

/// What connections may use. Each member is a key of `limits` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections, all listeners together. Above it a connection is closed as soon as it is accepted.
    pub connections: usize,
    /// Open connections of one client address (IPv6: of one /64). Trusted proxies count for their clients where PROXY
    /// headers name them, and are exempt where not.
    pub connections_per_address: usize,
    /// Addresses to which `connections_per_address` does not apply: loopback.
    pub exempt_addresses: Vec<IpNet>,
    /// The longest request head, in bytes, that is handed on. Up to twice as much is read, so that the gateway can
    /// refuse it in its own form; beyond that the connection answers 431 itself and ends.
    pub header_bytes: usize,
    /// From the first byte of a request to the end of its head; and for a PROXY header, a TLS handshake and the first
    /// byte of a connection.
    pub header_time: Duration,
    /// How long a connection may be open without a request.
    pub keep_alive_idle: Duration,
    /// Concurrent HTTP/2 streams of one connection; also the number of streams a client may reset in a second.
    pub streams_per_connection: u32,
    /// How long a client may refuse to take what is sent to it.
    pub write_time: Duration,
    /// Bytes per second that a client must take while it is slower than we are, measured over each `write_time`.
    pub write_rate: u64,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            connections: 10_000,
            connections_per_address: 512,
            exempt_addresses: LOOPBACK.to_vec(),
            header_bytes: 64 * 1024,
            header_time: Duration::from_secs(10),
            keep_alive_idle: Duration::from_secs(60),
            streams_per_connection: 100,
            write_time: Duration::from_secs(30),
            write_rate: 1024,
        }
    }
}

impl ConnectionLimits {
    /// The most bytes of a request head that are read.
    pub(crate) fn head_read_max(&self) -> usize {
        self.header_bytes.saturating_mul(2)
    }

    /// Whether an address may open as many connections as it likes.
    pub(crate) fn exempts(&self, address: IpAddr) -> bool {
        self.exempt_addresses.iter().any(|network| network.contains(&address))
    }
}

/// Loopback connections come from the same machine, where every client has the same address.
const LOOPBACK: [IpNet; 2] = [
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
];
