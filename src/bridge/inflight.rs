//! The client's requests that are not answered yet.

use bytes::Bytes;
use lockgate_filters::revision::Era;
use lockgate_filters::rpc::id;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// All of them, and whatever else of the client's is on its way to the server.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    list: Mutex<Vec<Entry>>,
    emptied: Notify,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    era: Era,
    /// The raw ids that an answer is due for: one, those of a batch, or none for what is not answered.
    due: Vec<Bytes>,
    /// Whether its end is not waited for: it may never come (`subscriptions/listen`), or nobody wants it any more.
    endless: bool,
    task: Option<AbortHandle>,
}

/// What a cancellation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// A modern request, which is over with this: its HTTP request is dropped, and that is how the server hears of it.
    Dropped,
    /// A legacy request: the server must be told.
    Tell,
    /// Nothing that is known here.
    Unknown,
}

/// One HTTP request of the client's. What is still due when it is dropped is no longer waited for.
#[derive(Debug)]
pub(super) struct Ticket {
    all: Arc<InFlight>,
    number: u64,
}

impl InFlight {
    /// Takes up what is not answered, or what no answer is waited for.
    pub(super) fn begin(self: &Arc<Self>, era: Era, due: Vec<Bytes>, endless: bool) -> Ticket {
        let mut list = self.list.lock();
        let number = list.last().map_or(0, |last| last.number + 1);
        list.push(Entry { number, era, due, endless, task: None });
        Ticket { all: Arc::clone(self), number }
    }

    /// How many HTTP requests are on their way.
    pub(super) fn len(&self) -> usize {
        self.list.lock().len()
    }

    /// Whether an answer to this id is due, in whatever request; it no longer is. A request that has all of its answers from
    /// elsewhere may itself never end.
    pub(super) fn answered(&self, id: &[u8]) -> bool {
        let mut list = self.list.lock();
        let Some(entry) = list.iter_mut().find_map(|entry| take(&mut entry.due, id).then_some(entry)) else {
            return false;
        };
        entry.endless |= entry.due.is_empty();
        self.emptied.notify_waiters();
        true
    }

    /// The client wants no answer to the request with this raw id.
    pub(super) fn cancel(&self, id: &[u8]) -> Cancelled {
        let mut list = self.list.lock();
        for entry in list.iter_mut() {
            if !take(&mut entry.due, id) {
                continue;
            }
            if entry.era == Era::Legacy {
                entry.endless |= entry.due.is_empty();
                self.emptied.notify_waiters();
                return Cancelled::Tell;
            }
            if let Some(task) = &entry.task {
                task.abort();
            }
            return Cancelled::Dropped;
        }
        Cancelled::Unknown
    }

    /// Ends when nothing is on its way but what never ends by itself.
    pub(super) async fn finished(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Registered before the list is read, so that the last one leaving in between is not missed.
            emptied.as_mut().enable();
            if self.list.lock().iter().all(|entry| entry.endless) {
                return;
            }
            emptied.await;
        }
    }
}

impl Ticket {
    /// What carries it out, to be dropped with it.
    pub(super) fn task(all: &InFlight, number: u64, task: AbortHandle) {
        if let Some(entry) = all.list.lock().iter_mut().find(|entry| entry.number == number) {
            entry.task = Some(task);
        }
    }

    /// What it is known by.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether an answer to this id is due here; it no longer is.
    pub(super) fn answered(&self, id: &[u8]) -> bool {
        self.with(|entry| take(&mut entry.due, id)).unwrap_or(false)
    }

    /// Its end is no longer waited for.
    pub(super) fn settled(&self) {
        self.with(|entry| entry.endless = true);
        self.all.emptied.notify_waiters();
    }

    /// Whether anything is due still.
    pub(super) fn is_due(&self) -> bool {
        self.with(|entry| !entry.due.is_empty()).unwrap_or(false)
    }

    /// The raw ids that are due still.
    pub(super) fn due(&self) -> Vec<Bytes> {
        self.with(|entry| entry.due.clone()).unwrap_or_default()
    }

    fn with<T>(&self, then: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.all.list.lock().iter_mut().find(|entry| entry.number == self.number).map(then)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.all.list.lock().retain(|entry| entry.number != self.number);
        self.all.emptied.notify_waiters();
    }
}

/// Takes an id out of a list; tells whether it was there.
fn take(due: &mut Vec<Bytes>, id: &[u8]) -> bool {
    let at = due.iter().position(|own| id::same(own, id));
    at.map(|at| due.swap_remove(at)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    fn ids(ids: &[&'static str]) -> Vec<Bytes> {
        ids.iter().map(|id| Bytes::from_static(id.as_bytes())).collect()
    }

    #[tokio::test]
    async fn what_is_due_is_answered_once() {
        let all = Arc::new(InFlight::default());
        let ticket = all.begin(Era::Legacy, ids(&["1", "\"a\""]), false);
        assert_eq!((all.len(), ticket.due().len()), (1, 2));
        assert!(ticket.answered(b"1.0") && !ticket.answered(b"1") && all.answered(b"\"a\""));
        assert!(!ticket.is_due());
        // Its own end is not waited for: what answered it came in another way.
        timeout(Duration::from_secs(20), all.finished()).await.unwrap();
        assert_eq!(all.len(), 1);
        drop(ticket);
        assert_eq!(all.len(), 0);
    }

    #[tokio::test]
    async fn a_modern_request_ends_with_its_cancellation_and_a_legacy_one_does_not() {
        let all = Arc::new(InFlight::default());
        let modern = all.begin(Era::Modern, ids(&["1"]), false);
        let number = modern.number();
        let task = tokio::spawn(async move {
            let _modern = modern;
            std::future::pending::<()>().await
        });
        Ticket::task(&all, number, task.abort_handle());
        let legacy = all.begin(Era::Legacy, ids(&["2"]), false);
        let listen = all.begin(Era::Modern, ids(&["3"]), true);
        assert_eq!(all.cancel(b"1"), Cancelled::Dropped);
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(all.cancel(b"2"), Cancelled::Tell);
        assert_eq!(all.cancel(b"2"), Cancelled::Unknown);
        assert_eq!((legacy.due(), listen.due()), (ids(&[]), ids(&["3"])));
        // Neither the stream that never ends is waited for nor what nobody wants.
        all.finished().await;
    }
}
