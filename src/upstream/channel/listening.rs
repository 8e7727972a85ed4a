//! The reader's end of an exchange or of a session's stream.

use super::Channel;
use super::feed::{Ending, Feed, Next};
use super::table::SessionKey;
use crate::upstream::fault::AttemptFault;
use bytes::Bytes;
use lockgate_filters::sse::write_event;
use std::sync::Arc;

/// Reads what is said to one reader. Dropping it before the end tells the peer that nobody waits any more.
pub(in crate::upstream) struct Listening {
    channel: Arc<Channel>,
    pub(super) feed: Arc<Feed>,
    to: To,
    first: Option<Next>,
    done: bool,
}

#[derive(Clone, Copy)]
enum To {
    Exchange(u64),
    Session { session: SessionKey, hold: u64 },
}

impl Listening {
    pub(super) fn to_exchange(channel: Arc<Channel>, feed: Arc<Feed>, number: u64) -> Listening {
        Listening { channel, feed, to: To::Exchange(number), first: None, done: false }
    }

    pub(super) fn to_session(channel: Arc<Channel>, feed: Arc<Feed>, session: SessionKey, hold: u64) -> Listening {
        Listening { channel, feed, to: To::Session { session, hold }, first: None, done: false }
    }

    /// Waits until there is something to read. Cancel-safe.
    pub(super) async fn first(&mut self) {
        if self.first.is_none() {
            self.first = Some(self.feed.next().await);
        }
    }

    pub(super) fn take_first(&mut self) -> Option<Next> {
        let first = self.first.take();
        self.done |= matches!(first, Some(Next::Ended(_)));
        first
    }

    pub(super) fn put_back(&mut self, first: Option<Next>) {
        self.first = first;
    }

    /// The request did not get out: there is nothing to cancel.
    pub(super) fn never_sent(&mut self) {
        self.done = true;
        if let To::Exchange(number) = self.to {
            self.channel.table.lock().remove(number);
        }
    }

    /// The response alone. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Result<Bytes, AttemptFault> {
        loop {
            self.first().await;
            match self.take_first() {
                Some(Next::Ended(Ending::Answer(answer))) => return Ok(answer),
                Some(Next::Ended(Ending::Fault(fault))) => return Err(fault),
                Some(Next::Ended(Ending::Over)) => {
                    return Err(AttemptFault::protocol("it ended the request without a response"));
                }
                Some(Next::Said(_)) | None => {}
            }
        }
    }

    /// The next event; `None` at the end. Cancel-safe.
    pub(in crate::upstream) async fn chunk(&mut self) -> Result<Option<Bytes>, AttemptFault> {
        self.first().await;
        match self.take_first() {
            Some(Next::Said(message) | Next::Ended(Ending::Answer(message))) => Ok(Some(write_event(None, &message))),
            Some(Next::Ended(Ending::Fault(fault))) => Err(fault),
            Some(Next::Ended(Ending::Over)) | None => Ok(None),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let unread = self.feed.leave();
        match self.to {
            To::Exchange(number) if !self.done => self.channel.left(number),
            To::Exchange(_) => {}
            To::Session { session, hold } => {
                let first = match self.first.take() {
                    Some(Next::Said(message)) => Some(message),
                    _ => None,
                };
                let unread = first.into_iter().chain(unread);
                self.channel.table.lock().release(session, hold, unread, self.channel.limits.waiting);
            }
        }
    }
}
