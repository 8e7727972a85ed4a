//! Requests of a session that are under way to a backend, so that a cancellation finds them.
//!
//! A request that waits for its backend to open a session has not been sent: cancelling it means that it never is. One that
//! was sent is the backend's to cancel.

use super::live::Session;
use lockgate_filters::rpc::id::{self, RawId};
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::{Arc, Weak};

/// How many requests of one session are remembered while they are under way: beyond it, one cannot be cancelled.
pub const UNDERWAY_MAX: usize = 1024;

/// A request under way, for as long as somebody holds it.
pub struct Underway {
    /// Weak, for it may be kept with what was recorded of the session's streams.
    session: Weak<Session>,
    /// The raw id that the client gave it.
    pub(super) id: RawId,
    /// The raw token under which the client hears of its progress.
    token: Option<RawId>,
    /// Where it goes.
    pub(super) backend: Arc<str>,
    state: AtomicU8,
}

/// It waits for something before it is sent.
const WAITS: u8 = 0;
/// It is at the backend.
const SENT: u8 = 1;
/// It was cancelled while it waited.
const CANCELLED: u8 = 2;
/// It was cancelled at the backend, which may turn out not to have taken it.
const CANCELLED_THERE: u8 = 3;

impl Underway {
    pub(super) fn new(session: &Arc<Session>, id: RawId, token: Option<RawId>, backend: Arc<str>) -> Underway {
        Underway { session: Arc::downgrade(session), id, token, backend, state: AtomicU8::new(WAITS) }
    }

    /// To be asked before it is sent: `false` where it was cancelled, and must not be.
    pub fn may_be_sent(&self) -> bool {
        self.state.compare_exchange(WAITS, SENT, AcqRel, Acquire) != Err(CANCELLED)
    }

    /// The backend did not take it: it waits again.
    pub fn waits_again(&self) {
        if self.state.compare_exchange(SENT, WAITS, AcqRel, Acquire) == Err(CANCELLED_THERE) {
            self.state.store(CANCELLED, Release);
        }
    }

    /// Whether the client wants to hear of its progress.
    pub(super) fn reports(&self) -> bool {
        self.token.is_some()
    }

    /// Whether the client hears of its progress under this raw token.
    pub(super) fn reports_under(&self, token: &[u8]) -> bool {
        self.token.as_ref().is_some_and(|own| id::same(own, token))
    }

    /// Its answer is there: whoever still holds it, there is nothing left to cancel.
    pub fn is_over(&self) {
        if let Some(session) = self.session.upgrade() {
            session.forget_underway(self);
        }
    }

    /// Cancels it if it was not sent yet; otherwise that is for its backend to do, which is told once (`false`).
    pub(super) fn cancel(&self) -> bool {
        match self.state.compare_exchange(WAITS, CANCELLED, AcqRel, Acquire) {
            Ok(_) | Err(CANCELLED | CANCELLED_THERE) => true,
            Err(_) => self.state.compare_exchange(SENT, CANCELLED_THERE, AcqRel, Acquire).is_err(),
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.is_over();
    }
}

#[cfg(test)]
mod tests {
    use super::super::before::Before;
    use super::super::journal::SessionRecord;
    use super::super::left::Left;
    use super::super::live::BACKENDS_MAX;
    use super::*;
    use lockgate_filters::exchange::UnixMillis;
    use lockgate_filters::ticket::SessionId;

    fn session() -> Arc<Session> {
        let record = SessionRecord {
            id: SessionId([1; 16]),
            expires: UnixMillis(9),
            upstream: Vec::new(),
            before: Before::Nowhere,
        };
        Arc::new(Session::new(record, Left::default(), UnixMillis(0)))
    }

    fn send(session: &Arc<Session>, id: &'static str, backend: &str) -> Arc<Underway> {
        session.send_on(RawId::new(id.as_bytes()), None, &backend.into()).expect("room")
    }

    #[test]
    fn what_was_sent_is_cancelled_at_its_backend() {
        let session = session();
        let (first, second) = (send(&session, "1", "demo"), send(&session, r#""1""#, "other"));
        assert!(first.may_be_sent() && second.may_be_sent());
        assert_eq!(session.cancel(b"1.0"), Some(vec!["demo".into()]));
        assert_eq!(session.cancel(br#""1""#), Some(vec!["other".into()]));
        drop((first, second));
        assert_eq!(session.cancel(b"1"), None, "it is over");
    }

    #[test]
    fn what_was_not_sent_never_is() {
        let session = session();
        let request = send(&session, "1", "demo");
        assert_eq!((session.cancel(b"1"), session.cancel(b"1")), (Some(Vec::new()), Some(Vec::new())));
        assert!(!request.may_be_sent());
        // One that was cancelled at a backend that had not taken it.
        let request = send(&session, "3", "demo");
        assert!(request.may_be_sent());
        assert_eq!(session.cancel(b"3"), Some(vec!["demo".into()]), "it is for the backend to cancel");
        request.waits_again();
        assert!(!request.may_be_sent());
        // One that waits for a new session, because the backend had lost the old one.
        let request = send(&session, "2", "demo");
        assert!(request.may_be_sent());
        request.waits_again();
        assert_eq!(session.cancel(b"2"), Some(Vec::new()));
        request.waits_again();
        assert!(!request.may_be_sent());
    }

    #[test]
    fn progress_comes_from_where_the_request_is() {
        let session = session();
        let token = Some(RawId::new(b"7"));
        let request = session.send_on(RawId::new(b"1"), token, &"demo".into()).expect("room");
        assert!(session.awaits_progress(b"7", "demo"));
        assert!(!session.awaits_progress(b"7", "other") && !session.awaits_progress(b"1", "demo"));
        assert!(session.awaits_progress_elsewhere(b"7", "other") && !session.awaits_progress_elsewhere(b"7", "demo"));
        assert!(session.asked_elsewhere(b"1.0", "other") && !session.asked_elsewhere(b"1", "demo"));
        drop(request);
        assert!(!session.awaits_progress(b"7", "demo"));
        assert!(!session.awaits_progress_elsewhere(b"7", "other") && !session.asked_elsewhere(b"1", "other"));
    }

    #[tokio::test]
    async fn reports_are_wanted_for_as_long_as_there_is_something_to_report_on() {
        let session = session();
        let token = || Some(RawId::new(b"7"));
        let send = |token, backend: &str| session.send_on(RawId::new(b"1"), token, &backend.into());
        let bound = session.next_bound();
        tokio::pin!(bound);
        bound.as_mut().enable();
        let silent = send(None, "demo");
        assert!(!session.wants_reports("demo") && silent.is_some());
        let (first, second) = (send(token(), "demo"), send(token(), "demo"));
        // Who listens has been woken.
        bound.await;
        assert!(session.wants_reports("demo") && !session.wants_reports("other"));
        drop(first);
        assert!(session.wants_reports("demo"));
        drop(second);
        assert!(!session.wants_reports("demo"), "nobody can report any more");
        // However many there were before.
        (0..=BACKENDS_MAX).for_each(|number| drop(send(token(), &format!("backend-{number}"))));
        let last = send(token(), "demo");
        assert!(session.wants_reports("demo") && last.is_some());
    }

    #[test]
    fn what_is_over_is_not_found_though_it_is_held() {
        let session = session();
        let (over, other) = (send(&session, "1", "demo"), send(&session, "2", "demo"));
        assert!(over.may_be_sent() && other.may_be_sent());
        over.is_over();
        assert_eq!((session.cancel(b"1"), session.cancel(b"2")), (None, Some(vec!["demo".into()])));
        drop(over);
        assert_eq!(session.cancel(b"2"), Some(Vec::new()), "its backend was told");
    }

    #[test]
    fn only_so_many_are_remembered() {
        let session = session();
        let send = |_| session.send_on(RawId::new(b"1"), None, &"demo".into());
        let many: Vec<_> = (0..=UNDERWAY_MAX).filter_map(send).collect();
        assert_eq!(many.len(), UNDERWAY_MAX);
        drop(many);
        assert!(send(0).is_some());
    }
}
