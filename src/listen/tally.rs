//! What happened at a listener, counted for metrics.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

macro_rules! events {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal;)+) => {
        /// Something that happens to connections before, or instead of, a request reaching the gateway.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event { $($(#[doc = $doc])+ $name,)+ }

        impl Event {
            /// All of them.
            pub const ALL: &'static [Event] = &[$(Event::$name,)+];

            /// The metric label.
            pub const fn label(self) -> &'static str { match self { $(Event::$name => $label,)+ } }
        }
    };
}

events! {
    /// A connection was accepted and admitted.
    Accepted = "accepted";
    /// A connection could not be accepted: no file descriptors, no memory, gone before we looked.
    AcceptFailed = "accept_failed";
    /// Closed at once: `limits.connections` is reached.
    ConnectionsFull = "connections_full";
    /// Closed at once: `limits.connections_per_address` is reached.
    AddressFull = "address_full";
    /// Closed: a PROXY header was missing, late, malformed, of the wrong version, or came from an untrusted peer.
    ProxyRefused = "proxy_refused";
    /// Closed: the TLS handshake failed or took longer than `limits.header_time`.
    TlsFailed = "tls_failed";
    /// Closed: a request head took longer than `limits.header_time`.
    HeaderSlow = "header_slow";
    /// Closed: a request head was longer than twice `limits.header_bytes`.
    HeaderLarge = "header_large";
    /// Closed: no request came within `limits.header_time`.
    Silent = "silent";
    /// Closed: no further request came within `limits.keep_alive_idle`.
    Idle = "idle";
    /// Closed: the client did not take what was sent to it.
    WriteSlow = "write_slow";
    /// Closed: an HTTP/2 client reset its streams faster than `limits.streams_per_connection` a second.
    ResetFlood = "reset_flood";
}

/// The counters of one listener.
#[derive(Debug, Default)]
pub struct Tally {
    events: [AtomicU64; Event::ALL.len()],
    open: AtomicUsize,
}

impl Tally {
    /// How often an event has happened.
    pub fn get(&self, event: Event) -> u64 {
        self.events[event as usize].load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn opened(self: &std::sync::Arc<Self>) -> Opened {
        self.open.fetch_add(1, Ordering::Relaxed);
        Opened(self.clone())
    }
}

/// A connection that is open; dropping it counts it as closed.
#[derive(Debug)]
pub(crate) struct Opened(std::sync::Arc<Tally>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Arc;

    #[test]
    fn every_event_has_its_own_counter_and_label() {
        let tally = Arc::new(Tally::default());
        for event in Event::ALL {
            tally.count(*event);
        }
        assert!(Event::ALL.iter().all(|event| tally.get(*event) == 1));
        assert_eq!(Event::ALL.iter().map(|event| event.label()).collect::<HashSet<_>>().len(), Event::ALL.len());
    }

    #[test]
    fn open_connections_are_counted_by_their_guards() {
        let tally = Arc::new(Tally::default());
        let guards = [tally.opened(), tally.opened()];
        assert_eq!(tally.open(), 2);
        drop(guards);
        assert_eq!(tally.open(), 0);
    }
}
