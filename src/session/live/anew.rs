//! That something of a session was lost at a backend: whether its client must hear of it, and whether it has.

use super::{BACKENDS_MAX, Session, State};
use crate::session::before::{Before, backend};
use crate::session::journal::{Ack, Change, Slot};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

impl Session {
    /// Whether what is opened at a backend now begins anew: the session was open there before this process took it in, as far
    /// as anybody knows, or where the backend was before a reload.
    pub fn begins_anew(&self, place: &str) -> bool {
        let state = self.state.lock();
        state.before.may_have_been_at(place) || state.upstream.iter().any(|(other, _)| has_moved(other, place))
    }

    /// Where the backend of a place was before, with this session open. It is not there any more: what it has, it must end
    /// itself.
    pub fn moved_from(&self, place: &str) -> Vec<Arc<str>> {
        let state = self.state.lock();
        state.upstream.iter().map(|(other, _)| other).filter(|other| has_moved(other, place)).cloned().collect()
    }

    /// The client hears that what is opened there begins anew.
    pub(in crate::session) fn told_anew(&self, place: &Arc<str>, slot: Slot<'_>) -> Ack {
        let mut state = self.state.lock();
        let is_new = state.before.told(place);
        self.note_losses(&state, is_new, slot)
    }

    /// The session is lost at a backend, and its client has not heard of it.
    pub(in crate::session) fn lost_unheard(&self, place: &Arc<str>, slot: Slot<'_>) -> Ack {
        let mut state = self.state.lock();
        state.before.untold(place);
        self.note_losses(&state, true, slot)
    }

    /// Another session was opened at a backend in place of one that is lost: the next result from there is to say so.
    pub(in crate::session) fn to_be_marked(&self, place: &Arc<str>, slot: Slot<'_>) -> Ack {
        let mut state = self.state.lock();
        let is_new = !state.unmarked.contains(place) && state.unmarked.len() < BACKENDS_MAX;
        if is_new {
            state.unmarked.push(Arc::clone(place));
        }
        self.marks.store(true, Release);
        self.note_losses(&state, is_new, slot)
    }

    /// Whether a result of this backend is to say that its session was opened again.
    pub fn is_to_be_marked(&self, place: &str) -> bool {
        self.marks.load(Acquire) && self.state.lock().unmarked.iter().any(|known| **known == *place)
    }

    /// A result has said so.
    pub(in crate::session) fn was_marked(&self, place: &str, slot: Slot<'_>) -> Ack {
        let mut state = self.state.lock();
        let was_due = state.unmarked.iter().any(|known| **known == *place);
        self.no_mark(&mut state, place);
        self.note_losses(&state, was_due, slot)
    }

    /// No result of this backend is to say anything.
    pub(super) fn no_mark(&self, state: &mut State, place: &str) {
        state.unmarked.retain(|known| **known != *place);
        self.marks.store(!state.unmarked.is_empty(), Release);
    }

    /// Notes what the client has yet to hear of, where that has changed.
    fn note_losses(&self, state: &State, changed: bool, slot: Slot<'_>) -> Ack {
        if state.gone || !changed {
            return Ack::nothing();
        }
        let (before, unmarked) = (state.before.clone(), state.unmarked.clone());
        slot.put(&Change::Losses { id: self.id, before, unmarked })
    }

    /// This is what the client has yet to hear of.
    pub(in crate::session) fn replace_losses(&self, before: Before, unmarked: Vec<Arc<str>>) {
        let mut state = self.state.lock();
        self.marks.store(!unmarked.is_empty(), Release);
        state.before = before;
        state.unmarked = unmarked;
    }
}

/// Whether two places are of one backend.
fn has_moved(before: &str, now: &str) -> bool {
    before != now && backend(before) == backend(now)
}

#[cfg(test)]
mod tests {
    use super::has_moved;

    #[test]
    fn a_backend_that_moved_is_known_by_its_name() {
        assert!(has_moved("a@01", "a@02"));
        for (before, now) in [("a@01", "a@01"), ("a@01", "b@01"), ("a@01", "ab@02"), ("a@b@01", "a@02")] {
            assert!(!has_moved(before, now), "{before} {now}");
        }
    }
}
