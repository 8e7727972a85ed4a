//! Telling held streams that what a virtual server shows has changed.

use lockgate_filters::federate::Kind;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// The lists whose changes are announced: resources and templates share an announcement.
pub const ANNOUNCED: [Kind; 3] = [Kind::Tools, Kind::Prompts, Kind::Resources];

/// Counts all changes in this process, so that what was heard of one [`News`] is never the state of another: a session may
/// outlive those that it has heard.
static CHANGES: AtomicU64 = AtomicU64::new(1);

fn next() -> u64 {
    CHANGES.fetch_add(1, Ordering::Relaxed)
}

/// Which change was the last of each of the [`ANNOUNCED`] lists. The numbers mean nothing but that they differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions(pub [u64; ANNOUNCED.len()]);

impl Versions {
    /// The lists that differ from an earlier look.
    pub fn since(self, earlier: Versions) -> impl Iterator<Item = Kind> {
        let changed = self.0.into_iter().zip(earlier.0).map(|(now, then)| now != then);
        ANNOUNCED.into_iter().zip(changed).filter_map(|(kind, changed)| changed.then_some(kind))
    }
}

/// The news of one virtual server. It outlives snapshots: a stream that is held over a reload hears of it.
pub struct News {
    versions: watch::Sender<Versions>,
}

impl News {
    pub(super) fn new() -> News {
        News { versions: watch::Sender::new(Versions([next(); ANNOUNCED.len()])) }
    }

    /// Waits for changes; what is seen first is the state of now.
    pub fn subscribe(&self) -> watch::Receiver<Versions> {
        self.versions.subscribe()
    }

    /// The state of now.
    pub fn versions(&self) -> Versions {
        *self.versions.borrow()
    }

    /// Whether anybody waits for changes.
    pub(super) fn is_awaited(&self) -> bool {
        self.versions.receiver_count() > 0
    }

    /// These lists have changed.
    pub(super) fn changed(&self, kinds: impl IntoIterator<Item = Kind>) {
        self.versions.send_if_modified(|versions| {
            let before = *versions;
            for kind in kinds {
                let kind = if kind == Kind::Templates { Kind::Resources } else { kind };
                if let Some(at) = ANNOUNCED.iter().position(|announced| *announced == kind) {
                    versions.0[at] = next();
                }
            }
            *versions != before
        });
    }
}

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("News").field(&self.versions()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let news = News::new();
        let before = news.versions();
        let receiver = news.subscribe();
        news.changed([]);
        assert!(!receiver.has_changed().unwrap());
        news.changed([Kind::Templates, Kind::Tools]);
        assert!(receiver.has_changed().unwrap());
        assert_eq!(news.versions().since(before).collect::<Vec<_>>(), [Kind::Tools, Kind::Resources]);
        assert_eq!(news.versions().since(news.versions()).count(), 0);
    }

    #[test]
    fn what_was_heard_of_forgotten_news_is_not_the_state_of_others() {
        let forgotten = News::new();
        let heard = [forgotten.versions(), {
            forgotten.changed(ANNOUNCED);
            forgotten.versions()
        }];
        drop(forgotten);
        let news = News::new();
        for heard in heard {
            assert_eq!(news.versions().since(heard).count(), ANNOUNCED.len());
        }
    }
}
