//! A listening socket, and what its connections are told: bound first, served later, changed while it runs.

use super::admission::Admission;
use super::settings::ListenerSettings;
use super::tally::Tally;
use super::tls::{Acceptor, Identity, TlsError, TlsMaterial};
use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Connections that wait to be accepted; the kernel has its own limit as well (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// A client that vanished without a word is noticed after about `KEEPALIVE_IDLE + 4 * KEEPALIVE_INTERVAL`.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// Bytes that wait in the kernel for a client that is slower than we are. More than this is neither sent sooner nor
/// noticed later for being there, and it is the kernel's memory.
const UNSENT: u32 = 128 * 1024;

/// Why a listener cannot be started, or cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("listener {name}: cannot listen on {address}: {error}")]
    Bind {
        /// The listener.
        name: String,
        /// The address it should have.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Its certificate or key cannot be used.
    #[error("listener {name}: {error}")]
    Tls {
        /// The listener.
        name: String,
        /// What is wrong.
        error: Box<TlsError>,
    },
    /// The address of a running listener cannot change.
    #[error("listener {name}: its address cannot change from {from} to {to} while it runs: restart the gateway")]
    AddressFixed {
        /// The listener.
        name: String,
        /// The address it has.
        from: SocketAddr,
        /// The address it should get.
        to: SocketAddr,
    },
    /// A running listener cannot begin or cease to speak TLS.
    #[error("listener {name}: TLS cannot be switched on or off while it runs: restart the gateway")]
    TlsFixed {
        /// The listener.
        name: String,
    },
}

/// What becomes of a running listener's certificate and key when its settings change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// They are read anew.
    Read,
    /// They stay as they were read; their files need not be there any more.
    Keep,
}

/// A listener: what is known of it while it runs.
pub struct Listener {
    name: String,
    address: SocketAddr,
    identity: Option<Identity>,
    live: ArcSwap<Live>,
    tally: Arc<Tally>,
    admission: Arc<Admission>,
}

/// What a connection is told when it is accepted.
pub(crate) struct Live {
    pub(crate) settings: Arc<ListenerSettings>,
    pub(crate) tls: Option<Acceptor>,
}

impl Listener {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it really listens: the port is known even if it was asked to take a free one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it is told now.
    pub fn settings(&self) -> Arc<ListenerSettings> {
        self.live.load().settings.clone()
    }

    /// What happened at it.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// When the certificate it shows ends.
    pub fn certificate_not_after(&self) -> Option<SystemTime> {
        self.identity.as_ref().map(Identity::not_after)
    }

    /// Makes everything ready for other settings and changes nothing yet. Blocks while it reads files.
    pub fn prepare(
        self: &Arc<Self>,
        settings: ListenerSettings,
        certificate: Certificate,
    ) -> Result<Change, ListenError> {
        let now = self.settings();
        let name = || settings.name.clone();
        if settings.address != now.address {
            return Err(ListenError::AddressFixed { name: name(), from: now.address, to: settings.address });
        }
        let failed = |error| ListenError::Tls { name: name(), error: Box::new(error) };
        let (tls, material) = match (&self.identity, &settings.tls) {
            (None, None) => (None, None),
            (Some(identity), Some(files)) => {
                let material = match certificate {
                    Certificate::Read => Some(TlsMaterial::load(files).map_err(failed)?),
                    Certificate::Keep => None,
                };
                (Some(identity.acceptor(settings.http2, material.as_ref()).map_err(failed)?), material)
            }
            _ => return Err(ListenError::TlsFixed { name: name() }),
        };
        Ok(Change { listener: self.clone(), live: Live { settings: Arc::new(settings), tls }, material })
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("name", &self.name).field("address", &self.address).finish_non_exhaustive()
    }
}

/// A change of a listener that can no longer fail.
#[must_use]
pub struct Change {
    listener: Arc<Listener>,
    live: Live,
    material: Option<TlsMaterial>,
}

impl Change {
    /// Makes it count, for connections that are accepted from now on.
    pub fn apply(self) {
        if let (Some(identity), Some(material)) = (&self.listener.identity, self.material) {
            identity.swap(material);
        }
        self.listener.live.store(Arc::new(self.live));
    }
}

/// A listener whose address is taken, but which does not accept yet: clients that connect wait.
#[derive(Debug)]
pub struct BoundListener {
    pub(crate) socket: TcpListener,
    pub(crate) listener: Arc<Listener>,
}

impl BoundListener {
    /// Reads the certificate and takes the address. `admission` is shared by all listeners of the process.
    pub fn bind(settings: ListenerSettings, admission: Arc<Admission>) -> Result<BoundListener, ListenError> {
        let failed = |error| ListenError::Tls { name: settings.name.clone(), error: Box::new(error) };
        let identity = match &settings.tls {
            Some(files) => Some(TlsMaterial::load(files).and_then(Identity::new).map_err(failed)?),
            None => None,
        };
        let tls =
            identity.as_ref().map(|identity| identity.acceptor(settings.http2, None)).transpose().map_err(failed)?;
        let (socket, address) = open(settings.address).map_err(|error| ListenError::Bind {
            name: settings.name.clone(),
            address: settings.address,
            error,
        })?;
        let name = settings.name.clone();
        let live = ArcSwap::from_pointee(Live { settings: Arc::new(settings), tls });
        let listener = Listener { name, address, identity, live, tally: Arc::default(), admission };
        Ok(BoundListener { socket, listener: Arc::new(listener) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address
    }

    /// The handle that outlives the service: for reloads and metrics.
    pub fn handle(&self) -> Arc<Listener> {
        self.listener.clone()
    }
}

/// Opens a listening socket. Its options are inherited by the connections that it accepts.
fn open(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` is for IPv4 as well, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from(socket);
    let address = socket.local_addr()?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::tls::tests::Files;
    use socket2::SockRef;
    use std::net::TcpStream;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn connections_inherit_what_the_listening_socket_is_told() {
        let (socket, address) = open(any()).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        socket.set_nonblocking(false).unwrap();
        let (accepted, _) = socket.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), UNSENT);
    }

    #[test]
    fn an_address_in_use_is_named() {
        let (_socket, address) = open(any()).unwrap();
        let error = BoundListener::bind(ListenerSettings::new("main", address), Admission::new()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("listener main") && text.contains(&address.to_string()), "{text}");
    }

    #[test]
    fn what_cannot_change_is_refused_and_a_bad_certificate_changes_nothing() {
        let plain = BoundListener::bind(ListenerSettings::new("plain", any()), Admission::new()).unwrap().handle();
        let mut settings = ListenerSettings::new("plain", SocketAddr::from(([127, 0, 0, 1], 1)));
        let again = Certificate::Read;
        assert!(matches!(plain.prepare(settings.clone(), again), Err(ListenError::AddressFixed { .. })));
        let files = Files::new("one.example");
        (settings.address, settings.tls) = (any(), Some(files.tls.clone()));
        assert!(matches!(plain.prepare(settings.clone(), again), Err(ListenError::TlsFixed { .. })));

        let secure = BoundListener::bind(settings.clone(), Admission::new()).unwrap().handle();
        let before = secure.certificate_not_after().unwrap();
        assert!(before > SystemTime::now());
        std::fs::write(&files.tls.key, "no key").unwrap();
        settings.http2 = false;
        assert!(matches!(secure.prepare(settings.clone(), again), Err(ListenError::Tls { .. })));
        assert!(secure.settings().http2 && secure.certificate_not_after() == Some(before));
        std::fs::remove_file(&files.tls.key).unwrap();
        secure.prepare(settings.clone(), Certificate::Keep).unwrap().apply();
        assert!(!secure.settings().http2 && secure.certificate_not_after() == Some(before));
        files.write("two.example");
        settings.http2 = true;
        secure.prepare(settings, again).unwrap().apply();
        assert!(secure.settings().http2);
    }
}
