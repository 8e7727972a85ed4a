//! What is left of sessions that were given up for idleness: their log level, their subscriptions, and where they were open.
//!
//! The session leaves memory and is ended at its backends, but its ticket stays good and its client does not know. When it
//! comes back, a new upstream session gets what the old one had, and the client hears where it begins anew. This is bounded
//! in bytes, and is forgotten with the ticket; beyond the bound, sessions go first in which nothing was set, and of these what
//! expires soonest.

use super::before::Before;
use super::level::LogLevel;
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::ticket::SessionId;
use std::collections::{BTreeSet, HashMap};

/// What one entry takes beside its URIs, roughly.
const ENTRY_BYTES: usize = 320;
/// What one URI takes beside its text, roughly.
const URI_BYTES: usize = 32;
/// What one place takes: its name is one that all sessions share.
const PLACE_BYTES: usize = 16;

/// What is left of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// The log level, if it set one.
    pub log_level: Option<LogLevel>,
    /// The URIs that it was subscribed to.
    pub subscriptions: BTreeSet<Box<str>>,
    /// Where it was open.
    pub before: Before,
}

impl Left {
    /// Whether the client had set anything.
    fn was_set(&self) -> bool {
        self.log_level.is_some() || !self.subscriptions.is_empty()
    }

    fn bytes(&self) -> usize {
        let uris = self.subscriptions.iter().map(|uri| uri.len() + URI_BYTES).sum::<usize>();
        ENTRY_BYTES + uris + self.before.count() * PLACE_BYTES
    }
}

/// What is kept, by session and by the time at which it may be forgotten.
#[derive(Debug, Default)]
pub(super) struct Kept {
    sessions: HashMap<SessionId, (UnixMillis, Left)>,
    /// In which nothing was set, and something.
    order: [BTreeSet<(UnixMillis, SessionId)>; 2],
    bytes: usize,
}

impl Kept {
    /// Keeps what a session leaves until its ticket expires. Returns how many were forgotten to make room in which something
    /// was set.
    pub fn put(&mut self, id: SessionId, until: UnixMillis, left: Left, most_bytes: usize) -> usize {
        self.take(&id);
        self.bytes += left.bytes();
        self.order[usize::from(left.was_set())].insert((until, id));
        self.sessions.insert(id, (until, left));
        let mut forgotten = 0;
        while self.bytes > most_bytes {
            if self.forget_soonest(0) {
                continue;
            }
            if !self.forget_soonest(1) {
                break;
            }
            forgotten += 1;
        }
        forgotten
    }

    /// What a session left.
    pub fn get(&self, id: &SessionId) -> Option<&Left> {
        self.sessions.get(id).map(|(_, left)| left)
    }

    /// The same, no longer kept.
    pub fn take(&mut self, id: &SessionId) -> Option<Left> {
        let (until, left) = self.sessions.remove(id)?;
        self.order[usize::from(left.was_set())].remove(&(until, *id));
        self.bytes -= left.bytes();
        Some(left)
    }

    /// Forgets what belongs to tickets that have expired.
    pub fn expire(&mut self, now: UnixMillis) {
        for which in [0, 1] {
            while self.order[which].first().is_some_and(|(until, _)| *until <= now) {
                self.forget_soonest(which);
            }
        }
    }

    /// Roughly how many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn iter(&self) -> impl Iterator<Item = (SessionId, UnixMillis, &Left)> {
        self.sessions.iter().map(|(id, (until, left))| (*id, *until, left))
    }

    fn forget_soonest(&mut self, which: usize) -> bool {
        let soonest = self.order[which].first().copied();
        soonest.is_some_and(|(_, id)| self.take(&id).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> SessionId {
        SessionId([n; 16])
    }

    fn left(uris: &[&str]) -> Left {
        let subscriptions = uris.iter().map(|uri| Box::from(*uri)).collect();
        Left { log_level: Some(LogLevel::Error), subscriptions, before: Before::Nowhere }
    }

    #[test]
    fn what_was_left_is_kept_until_it_is_taken_or_expires() {
        let mut kept = Kept::default();
        assert_eq!(kept.put(id(1), UnixMillis(10), left(&["a"]), 10_000), 0);
        kept.put(id(2), UnixMillis(20), left(&[]), 10_000);
        kept.put(id(3), UnixMillis(30), Left::default(), 10_000);
        assert_eq!(kept.take(&id(3)), Some(Left::default()), "it was open nowhere");
        assert_eq!(kept.get(&id(1)), Some(&left(&["a"])));
        kept.expire(UnixMillis(10));
        assert_eq!((kept.take(&id(1)), kept.take(&id(2))), (None, Some(left(&[]))));
        kept.put(id(4), UnixMillis(15), Left::default(), 10_000);
        kept.expire(UnixMillis(15));
        assert_eq!((kept.bytes, kept.order.iter().map(BTreeSet::len).sum::<usize>()), (0, 0));
    }

    #[test]
    fn beyond_the_bound_what_expires_soonest_is_forgotten() {
        let mut kept = Kept::default();
        let long = "x".repeat(500);
        let lost: usize = (0..10).map(|n| kept.put(id(n), UnixMillis(100 - u64::from(n)), left(&[&long]), 3600)).sum();
        assert_eq!((lost, kept.iter().count()), (6, 4));
        assert!(kept.get(&id(0)).is_some() && kept.get(&id(9)).is_none() && kept.bytes <= 3600);
        kept.put(id(0), UnixMillis(5), left(&[]), 3600);
        assert_eq!((kept.iter().count(), kept.get(&id(0))), (4, Some(&left(&[]))), "the newer replaces the older");
        // Where somebody was open is worth less than what somebody has set, however long the ticket lasts.
        let open = Left { before: Before::At(vec!["demo@01".into()]), ..Left::default() };
        kept.put(id(20), UnixMillis(500), open.clone(), 3600);
        assert_eq!((kept.iter().count(), kept.get(&id(20))), (5, Some(&open)));
        assert_eq!((kept.put(id(21), UnixMillis(90), left(&[&long]), 3600), kept.get(&id(20))), (1, None));
    }
}
