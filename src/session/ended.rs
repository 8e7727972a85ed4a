//! Sessions that were ended on purpose, remembered until their tickets expire.
//!
//! A ticket needs no store to be valid, so an ended session must be remembered or it would come back to life. The memory
//! is bounded: when it is full, the one that expires soonest is forgotten, since it does the least harm for the shortest
//! time, and the loss is counted.

use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::ticket::SessionId;
use std::collections::{BTreeSet, HashMap};

/// Ended sessions, by id and by the time at which they may be forgotten.
#[derive(Debug, Default)]
pub(super) struct Ended {
    until: HashMap<SessionId, UnixMillis>,
    order: BTreeSet<(UnixMillis, SessionId)>,
}

impl Ended {
    pub fn contains(&self, id: &SessionId) -> bool {
        self.until.contains_key(id)
    }

    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Remembers an ended session; a second end changes nothing. Returns how many were forgotten to make room.
    pub fn remember(&mut self, id: SessionId, until: UnixMillis, now: UnixMillis, most: usize) -> usize {
        self.expire(now);
        if until <= now || self.contains(&id) {
            return 0;
        }
        self.until.insert(id, until);
        self.order.insert((until, id));
        let mut forgotten = 0;
        while self.until.len() > most && self.forget_soonest() {
            forgotten += 1;
        }
        forgotten
    }

    /// Forgets those whose tickets have expired.
    pub fn expire(&mut self, now: UnixMillis) {
        while self.order.first().is_some_and(|(until, _)| *until <= now) {
            self.forget_soonest();
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (SessionId, UnixMillis)> {
        self.order.iter().map(|(until, id)| (*id, *until))
    }

    fn forget_soonest(&mut self) -> bool {
        let soonest = self.order.pop_first();
        soonest.is_some_and(|(_, id)| self.until.remove(&id).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> SessionId {
        SessionId([n; 16])
    }

    #[test]
    fn an_ended_session_is_remembered_until_its_ticket_expires() {
        let mut ended = Ended::default();
        assert_eq!(ended.remember(id(1), UnixMillis(100), UnixMillis(0), 10), 0);
        ended.expire(UnixMillis(99));
        assert!(ended.contains(&id(1)));
        ended.expire(UnixMillis(100));
        assert!(!ended.contains(&id(1)));
        assert_eq!(ended.len(), 0);
    }

    #[test]
    fn when_full_the_soonest_to_expire_is_forgotten() {
        let mut ended = Ended::default();
        ended.remember(id(1), UnixMillis(300), UnixMillis(0), 2);
        ended.remember(id(2), UnixMillis(100), UnixMillis(0), 2);
        assert_eq!(ended.remember(id(3), UnixMillis(200), UnixMillis(0), 2), 1);
        assert!(ended.contains(&id(1)) && ended.contains(&id(3)) && !ended.contains(&id(2)));
        assert_eq!(ended.iter().count(), ended.len());
    }

    #[test]
    fn what_has_expired_or_is_known_takes_no_room() {
        let mut ended = Ended::default();
        ended.remember(id(1), UnixMillis(100), UnixMillis(0), 1);
        assert_eq!(ended.remember(id(1), UnixMillis(500), UnixMillis(0), 1), 0);
        assert_eq!(ended.remember(id(2), UnixMillis(50), UnixMillis(60), 1), 0);
        assert!(ended.contains(&id(1)));
        ended.expire(UnixMillis(100));
        assert_eq!(ended.len(), 0);
    }
}
