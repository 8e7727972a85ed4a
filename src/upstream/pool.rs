//! Connections that wait for the next request.
//!
//! Each endpoint owns its connections, so two endpoints can never share one. Nothing watches an idle connection: whether
//! the backend closed it is seen when it is taken, and by a sweep every second. That costs a request no task and no wake.

use super::h1::Reusable;
use super::resolve::{Address, Resolver};
use super::settings::PoolSettings;
use super::time::from_now;
use parking_lot::Mutex;
use pingora_core::connectors::http::v2::ConnectionRef;
use pingora_core::protocols::Stream;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

/// How much earlier than the backend an idle connection is given up.
const KEEP_MARGIN: Duration = Duration::from_secs(1);

struct Idle {
    stream: Stream,
    address: Address,
    until: Instant,
}

impl Idle {
    /// Whether the connection may be used: not too old, not closed, and silent, as it must be between two responses.
    fn is_usable(&mut self, now: Instant) -> bool {
        if self.until <= now {
            return false;
        }
        let mut space = [0; 1];
        let mut read = ReadBuf::new(&mut space);
        Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut read).is_pending()
    }
}

/// The idle HTTP/1.1 connections of one endpoint, the latest used last.
#[derive(Default)]
pub(super) struct IdlePool {
    connections: Mutex<VecDeque<Idle>>,
    closed: AtomicBool,
}

impl IdlePool {
    /// The latest used connection that is still open.
    pub(super) fn take(&self) -> Option<(Stream, Address)> {
        let now = Instant::now();
        loop {
            let mut idle = self.connections.lock().pop_back()?;
            if idle.is_usable(now) {
                return Some((idle.stream, idle.address));
            }
        }
    }

    /// Keeps a connection for the next request, or closes it where there is no room or its address is out of use.
    pub(super) fn put(&self, connection: Reusable, address: Address, resolver: &Resolver, settings: &PoolSettings) {
        let announced = connection.keep_for.map_or(settings.idle_time, |time| time.saturating_sub(KEEP_MARGIN));
        let keep = settings.idle_time.min(announced);
        if keep.is_zero() || !resolver.knows(&address) {
            return;
        }
        let idle = Idle { stream: connection.stream, address, until: from_now(keep) };
        let mut connections = self.connections.lock();
        // Seen within the lock: whoever closes the pool takes what was put before.
        if connections.len() < settings.idle_connections && !self.closed.load(Ordering::Relaxed) {
            connections.push_back(idle);
        }
    }

    /// Closes all connections, and whatever is put here from now on.
    pub(super) fn close(&self) {
        let mut connections = self.connections.lock();
        self.closed.store(true, Ordering::Relaxed);
        drop(std::mem::take(&mut *connections));
    }

    /// Closes what is too old or was closed by the backend.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.connections.lock().retain_mut(|idle| idle.is_usable(now));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.connections.lock().len()
    }
}

impl fmt::Debug for IdlePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdlePool").finish_non_exhaustive()
    }
}

struct Shared {
    connection: ConnectionRef,
    idle_since: Option<Instant>,
}

/// The HTTP/2 connections of one endpoint, each shared by many requests.
#[derive(Default)]
pub(super) struct SharedPool {
    connections: Mutex<Vec<Shared>>,
    closed: AtomicBool,
    /// Held while a connection is made, so that a burst of requests makes one and not one each.
    pub(super) connecting: tokio::sync::Mutex<()>,
}

impl SharedPool {
    /// A connection with room for one more stream; the oldest first, so that the others can run dry.
    pub(super) fn find(&self) -> Option<ConnectionRef> {
        let connections = self.connections.lock();
        connections.iter().map(|shared| &shared.connection).find(|connection| connection.can_accept_streams(1)).cloned()
    }

    pub(super) fn add(&self, connection: ConnectionRef) {
        let mut connections = self.connections.lock();
        if !self.closed.load(Ordering::Relaxed) {
            connections.push(Shared { connection, idle_since: None });
        }
    }

    /// Lets go of all connections, and keeps none from now on. Each ends with its last stream.
    pub(super) fn close(&self) {
        let mut connections = self.connections.lock();
        self.closed.store(true, Ordering::Relaxed);
        connections.clear();
    }

    /// Lets go of connections that are closed, or had no stream for `idle_time`.
    pub(super) fn sweep(&self, idle_time: Duration) {
        let now = Instant::now();
        self.connections.lock().retain_mut(|shared| {
            if shared.connection.is_closed() || shared.connection.is_shutting_down() {
                return false;
            }
            if !shared.connection.is_idle() {
                shared.idle_since = None;
                return true;
            }
            now.duration_since(*shared.idle_since.get_or_insert(now)) < idle_time
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.connections.lock().len()
    }
}

impl fmt::Debug for SharedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPool").finish_non_exhaustive()
    }
}
