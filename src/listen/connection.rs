//! What is known of a client's connection, for whoever handles its requests.

use super::clients::ClientCertificate;
use super::settings::ListenerSettings;
use super::within::Forwarded;
use crate::drain::Drain;
use ipnet::IpNet;
use pingora_core::protocols::http::ServerSession;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One client connection: who is at its other end, and what its listener was told when it was accepted.
#[derive(Debug)]
pub struct Connection {
    pub(super) settings: Arc<ListenerSettings>,
    pub(super) peer: SocketAddr,
    pub(super) client: SocketAddr,
    /// Whether the application has taken up the request that is being read. Requests of HTTP/1.1 come one after another;
    /// over HTTP/2 it is always so.
    claimed: AtomicBool,
    pub(super) drain: Drain,
    /// Set where another process of the gateway has handed its request over.
    forwarded: Option<Forwarded>,
    /// What the client has shown in the handshake.
    certificate: Option<ClientCertificate>,
}

impl Connection {
    pub(super) fn new(
        settings: Arc<ListenerSettings>,
        peer: SocketAddr,
        client: SocketAddr,
        drain: Drain,
    ) -> Connection {
        Connection { settings, peer, client, claimed: AtomicBool::new(true), drain, forwarded: None, certificate: None }
    }

    /// The same, of a request that another process has handed over, or not.
    pub(super) fn forwarded_as(self, forwarded: Option<&Forwarded>) -> Connection {
        Connection { forwarded: forwarded.cloned(), ..self }
    }

    /// The same, of a client that has shown a certificate, or has not.
    pub(super) fn showing(self, certificate: Option<ClientCertificate>) -> Connection {
        Connection { certificate, ..self }
    }

    /// The certificate that the client has shown, as long as those who vouched for it are believed.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref().filter(|certificate| certificate.counts())
    }

    /// Whether another process of the gateway has handed its request over: it is handed on no further.
    pub fn forwarded(&self) -> Option<&Forwarded> {
        self.forwarded.as_ref()
    }

    /// The connection that a request came over. There is none only for sessions that no listener of ours accepted.
    ///
    /// A `pingora_proxy::Session` can be passed as it is.
    pub fn of(session: &ServerSession) -> Option<&Arc<Connection>> {
        session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }

    /// To be said by the application's first hook of each request: from here on the application answers it. An answer
    /// that is written before is Pingora's own, to a head that it refuses, and is replaced by one in our form.
    pub fn claim(&self) {
        self.claimed.store(true, Ordering::Relaxed);
    }

    pub(super) fn unclaim(&self) {
        self.claimed.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed)
    }

    /// The name of the listener.
    pub fn listener(&self) -> &str {
        &self.settings.name
    }

    /// The listener's settings when the connection was accepted.
    pub fn settings(&self) -> &ListenerSettings {
        &self.settings
    }

    /// The address at the other end of the socket. IPv4-mapped addresses are shown as IPv4.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The client's address: what a trusted proxy said in its PROXY header, else the peer's.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// Whether forwarding headers and request ids of this connection may be believed: the client, as far as the
    /// connection tells, is itself a trusted proxy.
    pub fn from_trusted_proxy(&self) -> bool {
        self.settings.trusts(self.client.ip())
    }

    /// Networks whose word about the client is believed.
    pub fn trusted_proxies(&self) -> &[IpNet] {
        &self.settings.trusted_proxies
    }

    /// The address of the client that sent a request with these headers, through however many trusted proxies.
    pub fn client_address(&self, headers: &http::HeaderMap) -> IpAddr {
        lockgate_filters::forwarded::client_address(self.client.ip(), headers, &self.settings.trusted_proxies)
    }

    /// Whether answers should say that this connection takes no further request: the process is stopping.
    pub fn is_ending(&self) -> bool {
        self.drain.is_draining()
    }

    /// Whether the client speaks TLS with us.
    pub fn is_tls(&self) -> bool {
        self.settings.tls.is_some()
    }
}

/// An address as it is meant: IPv4 clients of a dual-stack socket as IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
