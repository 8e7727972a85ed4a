//! What one reader is still to get: messages on the way, then an end. Bounded, and never waited for under a lock.

use crate::upstream::fault::AttemptFault;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::Notify;

/// How a feed ends.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// With the response that was waited for.
    Answer(Bytes),
    /// Without one: a stream that answers nothing is over.
    Over,
    /// Because something went wrong.
    Fault(AttemptFault),
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// A message on the way.
    Said(Bytes),
    /// The end. Whoever reads on gets [`Ending::Over`].
    Ended(Ending),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It will be read.
    Taken,
    /// There is no room now.
    Full,
    /// Nobody reads any more.
    Gone,
}

/// A queue between the channel and one reader.
#[derive(Debug)]
pub(super) struct Feed {
    state: Mutex<State>,
    /// Something came.
    came: Notify,
    /// Something was read.
    read: Notify,
    /// How many bytes may wait; one message may, however long it is.
    room: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    ending: Option<Ending>,
    gone: bool,
}

impl Feed {
    pub(super) fn new(room: usize) -> Feed {
        Feed { state: Mutex::default(), came: Notify::new(), read: Notify::new(), room }
    }

    /// Adds a message.
    pub(super) fn push(&self, message: Bytes) -> Pushed {
        let mut state = self.state.lock();
        if state.gone || state.ending.is_some() {
            return Pushed::Gone;
        }
        if state.bytes > 0 && state.bytes.saturating_add(message.len()) > self.room {
            return Pushed::Full;
        }
        state.bytes += message.len();
        state.waiting.push_back(message);
        drop(state);
        self.came.notify_one();
        Pushed::Taken
    }

    /// Ends the feed behind what waits; the first end counts.
    pub(super) fn end(&self, ending: Ending) {
        self.state.lock().ending.get_or_insert(ending);
        self.came.notify_one();
        self.read.notify_one();
    }

    /// Resolves when something was read, or will not be.
    pub(super) async fn was_read(&self) {
        self.read.notified().await;
    }

    /// What comes next. Cancel-safe; for one reader.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.came.notified().await;
        }
    }

    fn take(&self) -> Option<Next> {
        let mut state = self.state.lock();
        if let Some(message) = state.waiting.pop_front() {
            state.bytes -= message.len();
            drop(state);
            self.read.notify_one();
            return Some(Next::Said(message));
        }
        state.ending.as_mut().map(|ending| Next::Ended(std::mem::replace(ending, Ending::Over)))
    }

    /// Nobody reads any more. What nobody has read is given back.
    pub(super) fn leave(&self) -> VecDeque<Bytes> {
        let mut state = self.state.lock();
        state.gone = true;
        state.bytes = 0;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        self.read.notify_one();
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(next: Next) -> Bytes {
        match next {
            Next::Said(message) => message,
            Next::Ended(ending) => panic!("{ending:?}"),
        }
    }

    #[tokio::test]
    async fn messages_come_before_the_end() {
        let feed = Feed::new(4);
        assert_eq!(feed.push("long message".into()), Pushed::Taken, "one, however long");
        assert_eq!(feed.push("b".into()), Pushed::Full);
        feed.end(Ending::Answer("answer".into()));
        assert_eq!(feed.push("late".into()), Pushed::Gone);
        assert_eq!(said(feed.next().await), "long message");
        feed.was_read().await;
        assert!(matches!(feed.next().await, Next::Ended(Ending::Answer(answer)) if answer == "answer"));
        assert!(matches!(feed.next().await, Next::Ended(Ending::Over)));
    }

    #[tokio::test]
    async fn what_nobody_reads_is_given_back() {
        let feed = Feed::new(4);
        assert_eq!((feed.push("a".into()), feed.push("b".into())), (Pushed::Taken, Pushed::Taken));
        assert_eq!(said(feed.next().await), "a");
        assert_eq!(feed.leave(), ["b"]);
        assert_eq!(feed.push("c".into()), Pushed::Gone);
    }
}
