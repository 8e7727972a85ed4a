//! Other nodes of this gateway: finding the process that holds something, and handing it a client's request.
//!
//! What belongs to one process (a backend's question that waits for its answer, a stream, a call that runs) cannot be
//! carried out by another one. So a request that is about it is handed to that process, whole: it comes in there as if its
//! client had come there (`crate::listen::within`), passes the same filters and lanes, and what is answered goes back the
//! same way. It is handed on once: what came in like this goes no further.
//!
//! - [`settings`] is what a cluster is told; `places` are the addresses of the others: those configured, and no other. No
//!   address is ever taken from what a client sends.
//! - `identity` is how nodes know each other, and why nobody else is heard.
//! - [`greeting`] is what they say to each other; `directory` remembers who is where.
//! - `reach` finds a process and hands a request over, `accept` takes what is handed over; a `line` is the connection.

mod accept;
mod directory;
pub mod greeting;
mod home;
mod identity;
mod line;
mod places;
mod reach;
mod room;
mod settings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use greeting::{Aim, Arriving, Boot, CERTIFICATE_BYTES_MAX, Process, Refused};
pub use line::Line;
pub use reach::{Errand, Reached, Unreached};
pub use settings::{Peer, Settings};

use crate::seats::Seats;
use arc_swap::{ArcSwap, ArcSwapOption};
use directory::Directory;
use identity::Identity;
use line::Keys;
use lockgate_filters::ticket::Keyring;
use places::{Named, Places};
use room::Porch;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a silent connection goes before the kernel asks whether the other node is still there, how often it asks, and
/// how many answers may be missing; on Linux, the time of [`keep_alive`]'s `TCP_USER_TIMEOUT` takes the place of that number.
/// A stream may be silent for as long as it likes; a machine that is gone says nothing.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);
/// How long another node may leave unacknowledged what was sent to it, at least: what it has no room for, because its client
/// is slow, counts as well.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// This process among others.
#[derive(Debug)]
pub struct Cluster {
    is: Process,
    settings: ArcSwap<Settings>,
    /// None before it was told anything.
    identity: ArcSwapOption<Identity>,
    /// The public keys of those who are nodes: connections end with theirs.
    keys: Keys,
    places: Places,
    directory: Directory,
    outgoing: Seats,
    /// Streams of news, at other nodes and of theirs: calls have their places whatever is held.
    holding: Seats,
    held: Seats,
    noticing: Seats,
    insisting: Seats,
    strangers: Porch,
    incoming: Seats,
    /// Connections that are open, to others and from others.
    lines_out: Seats,
    lines_in: Seats,
    turned_away: AtomicU64,
}

/// No key pair could be derived from the ticket keys.
#[derive(Debug, thiserror::Error)]
#[error("nodes cannot be known by these ticket keys: {0}")]
pub struct KeysUnfit(#[from] rustls::Error);

/// A change that can no longer fail.
#[must_use]
pub struct Change {
    settings: Settings,
    identity: Identity,
}

impl Cluster {
    /// This process, alone until it is told more.
    pub fn new(is: Process) -> Cluster {
        Cluster {
            is,
            settings: ArcSwap::default(),
            identity: ArcSwapOption::empty(),
            keys: Keys::new(Arc::default()),
            places: Places::default(),
            directory: Directory::default(),
            outgoing: Seats::default(),
            holding: Seats::default(),
            held: Seats::default(),
            noticing: Seats::default(),
            insisting: Seats::default(),
            strangers: Porch::default(),
            incoming: Seats::default(),
            lines_out: Seats::default(),
            lines_in: Seats::default(),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Makes everything ready for other settings and keys, and changes nothing yet.
    ///
    /// # Errors
    /// [`KeysUnfit`].
    pub fn prepare(settings: Settings, keys: &Keyring) -> Result<Change, KeysUnfit> {
        Ok(Change { settings, identity: Identity::of(keys)? })
    }

    /// Makes a change count, for what begins from now on.
    pub fn apply(&self, change: Change) {
        let settings = Arc::new(change.settings);
        // First, so that whoever looks up the old peers is told to look again.
        self.settings.store(Arc::clone(&settings));
        self.places.set(&settings);
        let known = Arc::clone(&change.identity.known);
        // With those from before: whoever is made with the one identity or the other meanwhile, its keys are among these.
        let both = self.keys.borrow().iter().chain(known.iter()).cloned().collect();
        self.keys.send_replace(both);
        self.identity.store(Some(Arc::new(change.identity)));
        // Last: what is made from now on is made with these, and what was made with others ends.
        self.keys.send_replace(known);
    }

    /// What other nodes know it by.
    fn identity(&self) -> io::Result<Arc<Identity>> {
        self.identity.load_full().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Finds out who else is there. What comes in before that is known may be carried out where it does not belong.
    pub async fn look(self: &Arc<Self>) {
        let settings = self.settings.load_full();
        self.places.refresh(&settings, &mut Named::new()).await;
        self.look_around().await;
    }

    /// Keeps what is known of the others fresh, for as long as the process lives.
    pub async fn keep(self: Arc<Self>) {
        let mut named = Named::new();
        loop {
            let settings = self.settings.load_full();
            self.places.refresh(&settings, &mut named).await;
            self.look_around().await;
            self.places.rest(&settings).await;
        }
    }

    /// Which process this is.
    pub fn is(&self) -> Process {
        self.is
    }

    /// Whether there is nobody else, as far as this node is told.
    pub fn is_alone(&self) -> bool {
        self.places.is_empty()
    }

    /// How many other processes are known.
    pub fn known(&self) -> usize {
        self.directory.others(self.is)
    }

    /// How many connections to other processes are open, once they know each other, and how many from them.
    pub fn lines(&self) -> (usize, usize) {
        (self.lines_out.taken(), self.lines_in.taken())
    }

    /// How many connections were turned away: there were too many, or who came was no node.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Sees to it that a connection to a machine that is gone ends.
fn keep_alive(stream: &TcpStream, settings: &Settings) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (idle, interval, probes) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED.max(settings.write_time)))?;
    Ok(())
}

/// Where a node is, for logs.
fn at(place: SocketAddr) -> tracing::field::DisplayValue<SocketAddr> {
    tracing::field::display(place)
}
