//! What the client of a session is told without having asked: on which of its streams, and what it may have missed.

use super::Session;
use crate::session::lists::Lists;
use crate::session::upstream_session::UpstreamId;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::futures::Notified;

/// Who listens to a session's backends, and where they are heard.
#[derive(Default)]
pub(super) struct Listeners {
    count: usize,
    /// The upstream sessions whose streams are open, or known to be none, or were waited for in vain.
    settled: Vec<Settled>,
}

/// That of one backend's last stream.
struct Settled {
    backend: Arc<str>,
    upstream: Option<UpstreamId>,
    /// Whether it was waited for in vain.
    given_up: bool,
}

/// Somebody listens to a session's backends.
pub struct Listening(Arc<Session>);

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.listeners.count -= 1;
        if state.listeners.count == 0 {
            state.listeners.settled = Vec::new();
        }
        drop(state);
        // Who waits to be heard waits for nobody.
        self.0.settles.notify_waiters();
    }
}

impl Session {
    /// Takes the session's news for a new stream: whoever had them before is told so, since each message goes to one stream
    /// only (2025-11-25, "Multiple Connections").
    pub fn take_news(&self) -> u64 {
        let number = self.newsreader.fetch_add(1, Relaxed) + 1;
        self.superseded.notify_waiters();
        number
    }

    /// The number of the stream that has the session's news.
    pub fn newsreader(&self) -> u64 {
        self.newsreader.load(Relaxed)
    }

    /// Waits until another stream has taken the news from the one with this number. Dropping the future loses nothing.
    pub async fn news_taken(&self, number: u64) {
        loop {
            let superseded = self.superseded.notified();
            if self.newsreader.load(Relaxed) != number {
                return;
            }
            superseded.await;
        }
    }

    /// Which versions of the lists the client has been told of.
    pub fn heard(&self, versions: [u64; 3]) {
        self.state.lock().heard = Some(versions);
    }

    /// Which versions of the lists the client was last told of; `None` where nobody here knows.
    pub fn last_heard(&self) -> Option<[u64; 3]> {
        self.state.lock().heard
    }

    /// Waits until a backend gives this session something, or there is something to tell. To be called before it is looked what
    /// there is.
    pub fn next_bound(&self) -> Notified<'_> {
        self.bound.notified()
    }

    /// Somebody listens to this session's backends, until this is dropped.
    pub fn listen(self: &Arc<Session>) -> Listening {
        let mut state = self.state.lock();
        state.listeners.count += 1;
        // It opens streams of its own.
        state.listeners.settled = Vec::new();
        Listening(Arc::clone(self))
    }

    /// The stream of this upstream session is open, or there is none. Whether somebody had given up waiting for it, so that what
    /// was said until now may have been missed.
    pub fn stream_is_settled(&self, backend: &Arc<str>, upstream: Option<&UpstreamId>) -> bool {
        let given_up = self.settle(backend, upstream, false);
        self.settles.notify_waiters();
        given_up
    }

    /// Nobody waits any longer for the stream of the session at this backend: it may come with its first event only.
    pub fn give_up_stream(&self, backend: &Arc<str>) {
        if let Some(open) = self.upstream(backend) {
            self.settle(backend, open.id.as_ref(), true);
        }
    }

    fn settle(&self, backend: &Arc<str>, upstream: Option<&UpstreamId>, given_up: bool) -> bool {
        let mut state = self.state.lock();
        if state.listeners.count == 0 {
            return false;
        }
        let settled = &mut state.listeners.settled;
        let before = settled.iter().position(|known| known.backend == *backend).map(|at| settled.swap_remove(at));
        settled.push(Settled { backend: Arc::clone(backend), upstream: upstream.cloned(), given_up });
        before.is_some_and(|before| before.given_up && before.upstream.as_ref() == upstream)
    }

    /// Waits until the stream of the session at this backend is settled, where somebody listens: what the backend says after
    /// that is heard. Dropping the future loses nothing.
    pub async fn stream_settles(&self, backend: &str) {
        loop {
            let settles = self.settles.notified();
            tokio::pin!(settles);
            // Registered before the state is read, so that nothing is missed in between.
            settles.as_mut().enable();
            if self.is_settled(backend) {
                return;
            }
            settles.await;
        }
    }

    fn is_settled(&self, backend: &str) -> bool {
        let state = self.state.lock();
        let open = state.upstream.iter().find(|(known, _)| **known == *backend);
        let Some((_, upstream)) = open.filter(|_| state.listeners.count > 0) else { return true };
        state.listeners.settled.iter().any(|known| *known.backend == *backend && known.upstream == upstream.id)
    }

    /// Notes which changes the backend announces.
    pub fn announces(&self, lists: Lists) {
        self.state.lock().announces = lists;
    }

    /// Announcements of the backend may have been lost: the client is to be told on its GET stream, or on its next one.
    pub fn missed_news(&self) {
        self.state.lock().unheard = true;
        // Whoever is there to be told looks again.
        self.bound.notify_waiters();
    }

    /// What the client must be told because announcements may have been lost; nothing the next time.
    pub fn take_unheard(&self) -> Lists {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.unheard) { state.announces } else { Lists::default() }
    }
}
