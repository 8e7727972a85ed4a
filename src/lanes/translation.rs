//! A backend's answer on its way to the client, before it is known whether anything in it must become ours: of most answers
//! nothing must, and nothing is made for them.

use super::Way;
use super::owes::Owes;
use super::translate::{LIMITS, Translate};
use bytes::Bytes;
use lockgate_filters::federate::event_id::Stream;
use lockgate_filters::federate::outward;
use lockgate_filters::rpc::answer::plainly_answers;
use std::sync::Arc;

/// What is translated where a virtual server has several backends.
pub(super) struct Translation {
    /// Which member of the virtual server speaks.
    pub member: usize,
    /// What is answered.
    pub stream: Stream,
    /// What the backend may answer.
    pub owes: Owes,
}

impl Way<'_> {
    /// What translates the backend's words; `None` where everything passes as it is.
    pub(super) fn translate(&self) -> Option<Arc<Translate>> {
        let Translation { member, stream, owes } = self.translation.as_ref()?;
        Translate::of(self, *member, *stream, owes.clone())
    }

    /// Whether an answer is one that the backend owes.
    pub(super) fn admits(&self, answer: &[u8]) -> bool {
        let owed = self.translation.as_ref().and_then(|translation| translation.owes.asked());
        owed.is_some_and(|asked| plainly_answers(answer, asked, &LIMITS))
            || self.translate().is_none_or(|translate| translate.admits(answer))
    }

    /// An answer with its URIs as clients see them.
    pub(super) fn with_our_uris(&self, answer: Bytes) -> Bytes {
        if !self.changes_answers() || !self.is_kept_private() && !outward::may_name_uris(&answer) {
            return answer;
        }
        match self.translate() {
            Some(translate) => translate.response(answer),
            None => answer,
        }
    }

    /// Whether answers must be read whole, because something in them may have to be changed.
    pub(super) fn changes_answers(&self) -> bool {
        let federation = self.server.policy.federation.as_ref();
        let method = self.translation.as_ref().and_then(|translation| translation.stream.method());
        self.is_kept_private()
            || method.is_some_and(outward::bears_uris)
                && federation.is_some_and(|federation| federation.policy.maps_uris())
    }

    /// Whether only the client that asked may keep the answer.
    fn is_kept_private(&self) -> bool {
        let method = self.translation.as_ref().and_then(|translation| translation.stream.method());
        let federation = self.server.policy.federation.as_ref();
        method.is_some_and(outward::is_kept_private) && federation.is_some_and(|federation| federation.private)
    }
}
