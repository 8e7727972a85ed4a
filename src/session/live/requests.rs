//! What a session has under way at its backends: found by who cancels it, and by what is reported of it.

use super::Session;
use crate::session::underway::{UNDERWAY_MAX, Underway};
use lockgate_filters::rpc::id::{self, RawId};
use std::sync::{Arc, Weak};

impl Session {
    /// Remembers to which backend a request with this raw id goes, for as long as it is under way. `None` beyond
    /// [`UNDERWAY_MAX`].
    pub fn send_on(self: &Arc<Session>, id: RawId, token: Option<RawId>, backend: &Arc<str>) -> Option<Arc<Underway>> {
        let first = token.is_some() && !self.wants_reports(backend);
        let request = Arc::new(Underway::new(self, id, token, Arc::clone(backend)));
        let mut underway = self.underway.lock();
        // What is over its bound must not be dropped under the lock.
        let room = underway.len() < UNDERWAY_MAX;
        if room {
            underway.push(Arc::downgrade(&request));
        }
        drop(underway);
        if first && room {
            // Some backends report on the stream on which they speak of their own accord: who listens there is woken.
            self.bound.notify_waiters();
        }
        room.then_some(request)
    }

    /// Whether a request is under way to this backend whose progress the client wants to hear of.
    pub fn wants_reports(&self, backend: &str) -> bool {
        self.any_underway(|known| *known.backend == *backend && known.reports())
    }

    /// Cancels the requests with this raw id that are under way but not sent; those that are sent are at these backends.
    /// `None` where there are none of either.
    pub fn cancel(&self, request: &[u8]) -> Option<Vec<Arc<str>>> {
        // Whoever holds the last of one forgets it, and so must not hold the lock.
        let mut underway: Vec<_> = self.underway.lock().iter().filter_map(Weak::upgrade).collect();
        underway.retain(|known| id::same(&known.id, request));
        let sent = underway.iter().filter(|known| !known.cancel()).map(|known| Arc::clone(&known.backend)).collect();
        (!underway.is_empty()).then_some(sent)
    }

    /// Whether a request with this raw progress token is under way to this backend.
    pub fn awaits_progress(&self, token: &[u8], backend: &str) -> bool {
        self.any_underway(|known| *known.backend == *backend && known.reports_under(token))
    }

    /// Whether a request with this raw progress token is under way, but to other backends only.
    pub fn awaits_progress_elsewhere(&self, token: &[u8], backend: &str) -> bool {
        !self.awaits_progress(token, backend) && self.any_underway(|known| known.reports_under(token))
    }

    /// Whether a request with this raw id is under way, but to other backends only.
    pub fn asked_elsewhere(&self, request: &[u8], backend: &str) -> bool {
        let there = |known: &Underway, here: bool| (*known.backend == *backend) == here && id::same(&known.id, request);
        !self.any_underway(|known| there(known, true)) && self.any_underway(|known| there(known, false))
    }

    fn any_underway(&self, is_it: impl Fn(&Underway) -> bool) -> bool {
        // Whoever holds the last of one forgets it, and so must not hold the lock.
        let underway: Vec<_> = self.underway.lock().iter().filter_map(Weak::upgrade).collect();
        underway.iter().any(|known| is_it(known))
    }

    /// Forgets a request that is over.
    pub(in crate::session) fn forget_underway(&self, over: &Underway) {
        self.underway.lock().retain(|request| !std::ptr::eq(request.as_ptr(), over));
    }
}
