//! Notifications of clients on their way to backends, and how many there may be.
//!
//! Nobody waits for them, so a client could send any number to a backend that takes none. They have bounds of their own:
//! what goes on without its client ([`super::detached`]) is given up for what is newer, and a word that roots have changed
//! must end nobody's call. Here the newest is dropped, which costs the client that sent it and nobody else.
//!
//! Cancellations are counted apart: as many as there are calls to cancel, and whatever else is on its way takes the place of
//! none. What a backend that is slow to take them works on is just what its client wants to be rid of.

use super::live::BACKENDS_MAX;
use super::underway::UNDERWAY_MAX;
use lockgate_filters::ticket::SessionId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many of one session may be on their way to one backend: what a backend that answers at all takes long before.
pub const BACKEND_MAX: usize = 8;
/// How many of one session may be on their way to all backends: two to each of as many as there can be.
pub const SESSION_MAX: usize = 2 * BACKENDS_MAX;
/// How many of all sessions may be on their way; each holds a task and a connection.
pub const ALL_MAX: usize = 4 * SESSION_MAX;
/// How many bytes their bodies may hold together.
pub const BYTES_MAX: usize = 32 * 1024 * 1024;
/// How many cancellations of all sessions may be on their way; one session may cancel all that it has under way.
pub const CANCELLATIONS_MAX: usize = 4 * UNDERWAY_MAX;

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A request, which is not to be answered any more.
    Request,
    /// Anything else.
    Session,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    backend: usize,
    session: usize,
    all: usize,
}

impl About {
    fn bounds(self) -> Bounds {
        match self {
            About::Request => Bounds { backend: UNDERWAY_MAX, session: UNDERWAY_MAX, all: CANCELLATIONS_MAX },
            About::Session => Bounds { backend: BACKEND_MAX, session: SESSION_MAX, all: ALL_MAX },
        }
    }
}

/// What is on its way, of all sessions.
#[derive(Debug, Default)]
pub struct Notices {
    cancellations: Mutex<Ledger>,
    others: Mutex<Ledger>,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Ledger {
    sessions: HashMap<SessionId, Vec<(Arc<str>, usize)>>,
    all: usize,
    bytes: usize,
}

/// One on its way; its place is given back when this is dropped.
#[derive(Debug)]
pub struct Notice {
    notices: Arc<Notices>,
    about: About,
    session: SessionId,
    backend: Arc<str>,
    bytes: usize,
}

impl Notices {
    /// A place for a notification of a session to a backend, whose body holds so many bytes. `None` where there is no room:
    /// that is counted.
    pub fn send(
        self: &Arc<Self>,
        about: About,
        session: SessionId,
        backend: &Arc<str>,
        bytes: usize,
    ) -> Option<Notice> {
        if !self.ledger(about).lock().add(about.bounds(), session, backend, bytes) {
            self.dropped.fetch_add(1, Relaxed);
            return None;
        }
        Some(Notice { notices: Arc::clone(self), about, session, backend: Arc::clone(backend), bytes })
    }

    fn ledger(&self, about: About) -> &Mutex<Ledger> {
        match about {
            About::Request => &self.cancellations,
            About::Session => &self.others,
        }
    }

    /// How many are on their way, and how many bytes their bodies hold.
    pub fn held(&self) -> (usize, usize) {
        let (cancellations, others) = (self.cancellations.lock(), self.others.lock());
        (cancellations.all + others.all, cancellations.bytes + others.bytes)
    }

    /// How many were dropped for want of room, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

impl Ledger {
    fn add(&mut self, bounds: Bounds, session: SessionId, backend: &Arc<str>, bytes: usize) -> bool {
        if self.all >= bounds.all || self.bytes.saturating_add(bytes) > BYTES_MAX {
            return false;
        }
        let counts = self.sessions.entry(session).or_default();
        let sum: usize = counts.iter().map(|(_, count)| count).sum();
        match counts.iter_mut().find(|(known, _)| known == backend) {
            _ if sum >= bounds.session => return false,
            Some((_, count)) if *count >= bounds.backend => return false,
            Some((_, count)) => *count += 1,
            None => counts.push((Arc::clone(backend), 1)),
        }
        self.all += 1;
        self.bytes += bytes;
        true
    }

    fn remove(&mut self, session: &SessionId, backend: &Arc<str>, bytes: usize) {
        let Some(counts) = self.sessions.get_mut(session) else { return };
        let Some(at) = counts.iter().position(|(known, _)| known == backend) else { return };
        counts[at].1 -= 1;
        if counts[at].1 == 0 {
            counts.swap_remove(at);
        }
        if counts.is_empty() {
            self.sessions.remove(session);
        }
        self.all -= 1;
        self.bytes -= bytes;
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.notices.ledger(self.about).lock().remove(&self.session, &self.backend, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    #[test]
    fn a_backend_that_takes_nothing_keeps_no_other_waiting() {
        let notices = Arc::new(Notices::default());
        let (slow, well): (Arc<str>, Arc<str>) = ("slow".into(), "well".into());
        let mut held: Vec<_> =
            (0..=BACKEND_MAX).filter_map(|_| notices.send(About::Session, session(1), &slow, 10)).collect();
        assert_eq!((held.len(), notices.dropped()), (BACKEND_MAX, 1));
        assert!(notices.send(About::Session, session(1), &well, 10).is_some());
        assert!(notices.send(About::Session, session(2), &slow, 10).is_some());
        held.pop();
        assert!(notices.send(About::Session, session(1), &slow, 10).is_some(), "a place was given back");
        drop(held);
        let ledger = notices.others.lock();
        assert!(ledger.sessions.is_empty() && (ledger.all, ledger.bytes) == (0, 0), "{ledger:?}");
    }

    #[test]
    fn sessions_and_bytes_are_bounded() {
        let notices = Arc::new(Notices::default());
        let backend = |number: usize| -> Arc<str> { format!("backend-{number}").into() };
        let held: Vec<_> = (0..=SESSION_MAX)
            .filter_map(|number| notices.send(About::Session, session(1), &backend(number), 0))
            .collect();
        assert_eq!((held.len(), notices.dropped()), (SESSION_MAX, 1));
        let large = notices.send(About::Session, session(2), &backend(0), BYTES_MAX).expect("room");
        assert!(notices.send(About::Session, session(3), &backend(0), 1).is_none());
        drop(large);
        let all: Vec<_> = (0..10)
            .flat_map(|number| (0..SESSION_MAX).map(move |backend| (number + 10, backend)))
            .filter_map(|(number, at)| notices.send(About::Session, session(number), &backend(at), 1))
            .collect();
        assert_eq!(all.len() + held.len(), ALL_MAX);
    }

    #[test]
    fn all_calls_of_a_session_can_be_cancelled_whatever_else_is_on_its_way() {
        let notices = Arc::new(Notices::default());
        let backend: Arc<str> = "slow".into();
        let others: Vec<_> =
            (0..=BACKEND_MAX).filter_map(|_| notices.send(About::Session, session(1), &backend, 0)).collect();
        let all: Vec<_> =
            (0..=UNDERWAY_MAX).filter_map(|_| notices.send(About::Request, session(1), &backend, 0)).collect();
        assert_eq!((others.len(), all.len(), notices.dropped()), (BACKEND_MAX, UNDERWAY_MAX, 2));
        let large = notices.send(About::Request, session(2), &backend, 100).expect("room");
        assert_eq!(notices.held(), (BACKEND_MAX + UNDERWAY_MAX + 1, 100));
        drop((others, all, large));
        assert_eq!(notices.held(), (0, 0));
        for ledger in [&notices.others, &notices.cancellations] {
            assert!(ledger.lock().sessions.is_empty() && ledger.lock().all == 0);
        }
    }
}
