//! From an endpoint to a connection that a request can be sent on.
//!
//! One connector serves the whole process and survives reloads; it holds what connections to all endpoints share. The
//! connections themselves belong to their endpoints.

use super::endpoint::Endpoint;
use super::fault::{AttemptFault, FaultKind};
use super::resolve::{Address, Lookup, system_lookup};
use super::time::{after, from_now};
use super::tls::SystemRoots;
use pingora_core::connectors::http::v2::{H2HandshakeSettings, handshake};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::protocols::l4::stream::Stream as Transport;
use pingora_core::protocols::tls::client;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

/// How long a silent TCP connection goes before the kernel asks whether the peer is still there, and how often it asks.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15));
/// How often an HTTP/2 connection is pinged.
const H2_PING: Duration = Duration::from_secs(30);
/// How much of one answer is taken in before a client reads it, in bytes.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
/// The largest window that HTTP/2 has, in bytes (RFC 9113 section 6.9.1).
const H2_MOST_WINDOW: u64 = (1 << 31) - 1;
/// The least time an address gets while others are left to try.
const LEAST_SHARE: Duration = Duration::from_millis(250);

/// What connections to all endpoints share.
pub struct Connector {
    roots: SystemRoots,
    lookup: Lookup,
    /// Numbers for the gateway's own requests.
    ids: AtomicU64,
}

/// A connection, ready for one request.
pub(super) enum Session {
    H1 { stream: Stream, address: Address, reused: bool },
    H2 { session: Box<Http2Session>, reused: bool },
}

impl Connector {
    /// A connector without connections.
    pub fn new() -> Connector {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Sessions outlive processes, and none may hear of an id twice: a later process counts from further on.
        let first = u64::try_from(since.as_micros()).unwrap_or_default();
        Connector { roots: SystemRoots::default(), lookup: system_lookup(), ids: AtomicU64::new(first) }
    }

    /// A number that no other request of the gateway has.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed)
    }

    #[cfg(test)]
    pub(super) fn with_lookup(lookup: Lookup) -> Connector {
        Connector { lookup, ..Connector::new() }
    }

    pub(super) fn lookup(&self) -> Lookup {
        self.lookup.clone()
    }

    pub(super) fn system_roots(&self) -> &SystemRoots {
        &self.roots
    }

    /// A connection to an endpoint; with `fresh` no idle HTTP/1.1 connection is taken.
    ///
    /// All faults are provably before the request ran.
    pub(super) async fn session(
        &self,
        endpoint: &Endpoint,
        fresh: bool,
        within: Duration,
    ) -> Result<Session, AttemptFault> {
        if endpoint.may_share()
            && let Some(session) = stream_on_shared(endpoint).await
        {
            return Ok(Session::H2 { session, reused: true });
        }
        if !fresh && let Some((stream, address)) = endpoint.idle.take() {
            return Ok(Session::H1 { stream, address, reused: true });
        }
        let deadline = from_now(within);
        // A handshake's state is several kilobytes, which every exchange would carry for as long as it lives.
        let connected = timeout_at(deadline, Box::pin(self.connect(endpoint, deadline))).await;
        connected.unwrap_or_else(|_| Err(AttemptFault::not_run(FaultKind::ConnectTimeout)))
    }

    async fn connect(&self, endpoint: &Endpoint, deadline: Instant) -> Result<Session, AttemptFault> {
        let mut turn = None;
        if endpoint.may_share() {
            // One at a time: what the first connection turns out to be decides whether the others are needed.
            turn = Some(endpoint.shared.connecting.lock().await);
            if let Some(session) = stream_on_shared(endpoint).await {
                return Ok(Session::H2 { session, reused: true });
            }
            if !endpoint.may_share() {
                turn = None;
            }
        }
        let (stream, address) = dial(endpoint, deadline).await?;
        if !endpoint.negotiated(stream.selected_alpn_proto().as_ref()) {
            if endpoint.insists_on_h2() {
                return Err(AttemptFault {
                    provably_not_run: true,
                    ..AttemptFault::protocol("it does not speak HTTP/2")
                });
            }
            return Ok(Session::H1 { stream, address, reused: false });
        }
        let mut settings = H2HandshakeSettings::new();
        let streams = endpoint.pool().h2_streams.max(1);
        settings.max_streams = streams;
        settings.ping_interval = Some(H2_PING);
        // Room for all streams at once: a client that reads slowly must not hold up the others.
        settings.stream_window_size = Some(H2_STREAM_WINDOW);
        let window = u64::from(H2_STREAM_WINDOW).saturating_mul(streams as u64).min(H2_MOST_WINDOW);
        settings.connection_window_size = u32::try_from(window).ok();
        let unusable = |cause: &dyn fmt::Display| AttemptFault::not_run(FaultKind::Unreachable).because(cause);
        let connection = handshake(stream, settings).await.map_err(|error| unusable(&error))?;
        let session = connection.spawn_stream().await.map_err(|error| unusable(&error))?;
        let session = session.ok_or_else(|| unusable(&"a new HTTP/2 connection takes no stream"))?;
        endpoint.shared.add(connection);
        drop(turn);
        Ok(Session::H2 { session: Box::new(session), reused: false })
    }
}

impl Default for Connector {
    fn default() -> Connector {
        Connector::new()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// A stream on an HTTP/2 connection that is already open.
async fn stream_on_shared(endpoint: &Endpoint) -> Option<Box<Http2Session>> {
    while let Some(connection) = endpoint.shared.find() {
        match connection.spawn_stream().await {
            Ok(Some(session)) => return Some(Box::new(session)),
            // Another request took its last stream: there may be another connection.
            Ok(None) => {}
            // Broken. Marked, so that it is not found again; the sweep lets go of it.
            Err(_) => connection.mark_shutdown(),
        }
    }
    None
}

/// Connects to the first address that answers.
///
/// The time is shared out, so that an address that swallows packets leaves some to the next.
async fn dial(endpoint: &Endpoint, deadline: Instant) -> Result<(Stream, Address), AttemptFault> {
    let addresses = endpoint.resolver.addresses().await?;
    let mut left = addresses.len() as u32;
    let mut failed = AttemptFault::not_run(FaultKind::Unreachable);
    for address in addresses {
        let now = Instant::now();
        let share = (deadline.saturating_duration_since(now) / left.max(1)).max(LEAST_SHARE);
        left = left.saturating_sub(1);
        match timeout_at(deadline.min(after(now, share)), dial_address(endpoint, &address)).await {
            Ok(Ok(stream)) => {
                endpoint.resolver.connected(&address);
                return Ok((stream, address));
            }
            Ok(Err(fault)) => failed = fault,
            Err(_) => failed = AttemptFault::not_run(FaultKind::ConnectTimeout),
        }
    }
    endpoint.resolver.distrust();
    Err(failed)
}

async fn dial_address(endpoint: &Endpoint, address: &Address) -> Result<Stream, AttemptFault> {
    let unreachable = |error: std::io::Error| AttemptFault::not_run(FaultKind::Unreachable).because(error);
    let transport: Transport = match address {
        Address::Inet(address) => {
            let stream = TcpStream::connect(address).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE.0).with_interval(KEEPALIVE.1);
            socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive).map_err(unreachable)?;
            stream.into()
        }
        Address::Unix(path) => UnixStream::connect(path.as_path()).await.map_err(unreachable)?.into(),
        Address::Within(dial) => return dial.dial().map_err(unreachable),
    };
    let Some(tls) = &endpoint.tls else { return Ok(Box::new(transport)) };
    let stream = client::handshake(&tls.connector, &tls.server_name, transport)
        .await
        .map_err(|error| AttemptFault::not_run(FaultKind::Tls).because(error))?;
    Ok(Box::new(stream))
}
