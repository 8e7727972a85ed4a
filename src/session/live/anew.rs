//! That something of a session was lost at a backend: whether its client must hear of it, and whether it has.

use super::{BACKENDS_MAX, Session};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

impl Session {
    /// Whether what is opened at a backend now begins anew: the session was open there before this process took it in, as far
    /// as anybody knows, or where the backend was before a reload.
    pub fn begins_anew(&self, place: &str) -> bool {
        let state = self.state.lock();
        state.before.may_have_been_at(place) || state.upstream.iter().any(|(other, _)| has_moved(other, place))
    }

    /// Where the backend of a place was before, with this session open.
    pub fn moved_from(&self, place: &str) -> Vec<Arc<str>> {
        let state = self.state.lock();
        state.upstream.iter().map(|(other, _)| other).filter(|other| has_moved(other, place)).cloned().collect()
    }

    /// The client hears that what is opened there begins anew.
    pub fn told_anew(&self, place: &Arc<str>) {
        self.state.lock().before.told(place);
    }

    /// The session is lost at a backend, and its client has not heard of it.
    pub fn lost_unheard(&self, place: &Arc<str>) {
        self.state.lock().before.untold(place);
    }

    /// Another session was opened at a backend in place of one that is lost: the next result from there is to say so.
    pub fn to_be_marked(&self, place: &Arc<str>) {
        let mut state = self.state.lock();
        if !state.unmarked.contains(place) && state.unmarked.len() < BACKENDS_MAX {
            state.unmarked.push(Arc::clone(place));
        }
        self.marks.store(true, Release);
    }

    /// Whether a result of this backend is to say that its session was opened again; no longer afterwards.
    pub fn take_mark(&self, place: &str) -> bool {
        if !self.marks.load(Acquire) {
            return false;
        }
        let mut state = self.state.lock();
        let before = state.unmarked.len();
        state.unmarked.retain(|known| **known != *place);
        let taken = state.unmarked.len() < before;
        self.marks.store(!state.unmarked.is_empty(), Release);
        taken
    }
}

/// Whether two places are of one backend: a place is its name and a digest of where it is.
fn has_moved(before: &str, now: &str) -> bool {
    let name = |place: &str| place.rsplit_once('@').map(|(name, _)| name.len());
    before != now && name(before).is_some_and(|length| name(now) == Some(length) && before[..length] == now[..length])
}

#[cfg(test)]
mod tests {
    use super::has_moved;

    #[test]
    fn a_backend_that_moved_is_known_by_its_name() {
        assert!(has_moved("a@01", "a@02"));
        for (before, now) in [("a@01", "a@01"), ("a@01", "b@01"), ("a@01", "ab@02"), ("a@b@01", "a@02"), ("a", "a@1")] {
            assert!(!has_moved(before, now), "{before} {now}");
        }
    }
}
