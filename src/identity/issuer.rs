//! One issuer as requests see it: its keys, believed or not.
//!
//! Reading takes no lock and waits for nothing. Keys are published with the moment until which they are believed, and with a
//! number that counts up whenever they change or end: whatever was verified with an earlier number no longer counts.

use super::introspection::Introspector;
use super::settings::{IssuerSettings, KeySettings};
use crate::egress::FetchError;
use arc_swap::ArcSwap;
use lockgate_filters::authenticate::generation::{Generation, Generations};
use lockgate_filters::exchange::UnixMillis;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

/// The shortest time between two fetches that unknown keys ask for.
pub(super) const SPACING: Duration = Duration::from_secs(10);

/// How long a request waits for keys that are fetched for it. Longer than discovery and a fetch may take together.
const LOOK_TIME: Duration = Duration::from_secs(15);

/// What keys are made of; the parser of key sets stands elsewhere.
pub trait Keys: Sized + Send + Sync + 'static {
    /// Reads a key set (RFC 7517).
    ///
    /// # Errors
    /// What is wrong with it, in words that repeat nothing of it.
    fn parse(set: &[u8]) -> Result<Self, String>;

    /// The same for two sets by which every token is judged alike.
    fn digest(&self) -> [u8; 32];
}

/// Why keys could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// They could not be fetched.
    #[error("{0}")]
    Fetch(FetchError),
    /// The metadata does not lead to them.
    #[error("{0}")]
    Discovery(super::DiscoveryFault),
    /// They could not be read.
    #[error("the key set cannot be used: {0}")]
    Parse(String),
}

impl KeyFault {
    /// The label in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            KeyFault::Fetch(error) => error.label(),
            KeyFault::Discovery(_) => "discovery",
            KeyFault::Parse(_) => "parse",
        }
    }
}

/// Keys that are believed.
#[derive(Clone, Debug)]
pub struct Believed<K> {
    /// The keys.
    pub keys: Arc<K>,
    /// Counts up when they change: what was verified with another number no longer counts, see [`Issuer::is_current`].
    pub generation: u64,
    /// Ends when they change: what tokens that were verified with them are kept with.
    pub verified_with: Generation,
    /// Until when they are, if they cannot be fetched again; `None` for keys that were given.
    pub until: Option<UnixMillis>,
}

/// Why there are no keys to believe. Refuse the token, and do not blame it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoKeys {
    /// They have not been fetched yet.
    #[error("the issuer's keys have not been fetched yet")]
    Pending,
    /// They could not be fetched again for too long.
    #[error("the issuer's keys are too old")]
    Stale,
    /// The issuer is no longer configured.
    #[error("the issuer is no longer configured")]
    Ended,
}

impl NoKeys {
    /// The label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            NoKeys::Pending => "pending",
            NoKeys::Stale => "stale",
            NoKeys::Ended => "ended",
        }
    }
}

/// How the keys of an issuer are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// The last fetch succeeded, or they were given.
    Fresh,
    /// The last fetch failed; they are believed for a while.
    Aging,
    /// There are none to believe.
    Missing(NoKeys),
}

/// What operators and metrics are told of an issuer.
#[derive(Clone, Debug)]
pub struct Report {
    /// How its keys are doing.
    pub state: KeyState,
    /// The number of its keys.
    pub generation: u64,
    /// When its keys were last fetched.
    pub fetched_at: Option<UnixMillis>,
    /// Fetches that succeeded.
    pub fetched: u64,
    /// Fetches that failed.
    pub failed: u64,
    /// Fetches that unknown keys have asked for.
    pub looked: u64,
    /// Unknown keys for which nothing was fetched, because it had just been.
    pub held_back: u64,
    /// Why the last fetch failed, where it did.
    pub fault: Option<Arc<KeyFault>>,
}

/// What is published.
pub(super) struct Published<K> {
    pub(super) keys: Option<Held<K>>,
    pub(super) generation: u64,
    pub(super) verified_with: Generation,
    pub(super) ended: bool,
    /// Of the last fetch, where it failed.
    pub(super) fault: Option<Arc<KeyFault>>,
}

/// Keys, and since when.
pub(super) struct Held<K> {
    pub(super) keys: Arc<K>,
    pub(super) digest: [u8; 32],
    pub(super) at: Option<UnixMillis>,
    pub(super) until: Option<UnixMillis>,
}

impl<K> Clone for Held<K> {
    fn clone(&self) -> Held<K> {
        Held { keys: Arc::clone(&self.keys), digest: self.digest, at: self.at, until: self.until }
    }
}

/// How far the fetches are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) begun: u64,
    pub(super) ended: u64,
    pub(super) begun_at: Option<Instant>,
}

/// Counts.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) fetched: AtomicU64,
    pub(super) failed: AtomicU64,
    looked: AtomicU64,
    held_back: AtomicU64,
}

/// One issuer at run time.
pub struct Issuer<K> {
    settings: IssuerSettings,
    pub(super) published: ArcSwap<Published<K>>,
    pub(super) generations: Generations,
    pub(super) wanted: Notify,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) counts: Counts,
    introspector: Option<Introspector>,
}

impl<K> fmt::Debug for Issuer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<K> Issuer<K> {
    pub(super) fn new(
        settings: IssuerSettings,
        keys: Option<Held<K>>,
        generation: u64,
        introspector: Option<Introspector>,
    ) -> Issuer<K> {
        let generations = Generations::new();
        let verified_with = generations.begin();
        Issuer {
            settings,
            published: ArcSwap::from_pointee(Published { keys, generation, verified_with, ended: false, fault: None }),
            generations,
            wanted: Notify::new(),
            progress: watch::Sender::new(Progress::default()),
            counts: Counts::default(),
            introspector,
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    pub(super) fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    pub(super) fn key_settings(&self) -> &KeySettings {
        &self.settings.keys
    }

    /// Its keys, where they are believed at this moment.
    ///
    /// # Errors
    /// [`NoKeys`].
    pub fn keys(&self, now: UnixMillis) -> Result<Believed<K>, NoKeys> {
        let published = self.published.load();
        if published.ended {
            return Err(NoKeys::Ended);
        }
        let held = published.keys.as_ref().ok_or(NoKeys::Pending)?;
        if held.until.is_some_and(|until| now >= until) {
            return Err(NoKeys::Stale);
        }
        Ok(Believed {
            keys: Arc::clone(&held.keys),
            generation: published.generation,
            verified_with: published.verified_with.clone(),
            until: held.until,
        })
    }

    /// Whether what was verified with keys of this number still counts.
    pub fn is_current(&self, generation: u64) -> bool {
        let published = self.published.load();
        !published.ended && published.generation == generation
    }

    /// Has the keys fetched again because one was not among them, and waits for it: at most once in ten seconds, for all
    /// requests together. Whether they have been fetched since this was called; then it is worth looking once more.
    pub async fn look_again(&self) -> bool {
        let mut progress = self.progress.subscribe();
        let seen = *progress.borrow_and_update();
        let number = if seen.begun > seen.ended {
            seen.begun
        } else if self.is_settled() || seen.begun_at.is_some_and(|at| at.elapsed() < SPACING) {
            self.counts.held_back.fetch_add(1, Ordering::Relaxed);
            return false;
        } else {
            self.wanted.notify_one();
            seen.begun + 1
        };
        self.counts.looked.fetch_add(1, Ordering::Relaxed);
        let done = progress.wait_for(|progress| progress.ended >= number || progress.ended == u64::MAX);
        let done = timeout(LOOK_TIME, done).await;
        matches!(done, Ok(Ok(progress)) if progress.ended != u64::MAX)
    }

    /// Whether there is nothing to fetch: the keys were given, or the issuer has ended.
    fn is_settled(&self) -> bool {
        let published = self.published.load();
        published.ended || published.keys.as_ref().is_some_and(|held| held.until.is_none())
    }

    /// What the answers about its opaque tokens are kept with.
    pub fn generation(&self) -> Generation {
        self.published.load().verified_with.clone()
    }

    /// Who is asked about its opaque tokens, where it is.
    pub fn introspector(&self) -> Option<&Introspector> {
        self.introspector.as_ref().filter(|_| !self.published.load().ended)
    }

    /// How it is doing.
    pub fn report(&self, now: UnixMillis) -> Report {
        let published = self.published.load();
        let state = match self.keys(now) {
            Err(none) => KeyState::Missing(none),
            Ok(_) if published.fault.is_some() => KeyState::Aging,
            Ok(_) => KeyState::Fresh,
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Report {
            state,
            generation: published.generation,
            fetched_at: published.keys.as_ref().and_then(|held| held.at),
            fetched: count(&self.counts.fetched),
            failed: count(&self.counts.failed),
            looked: count(&self.counts.looked),
            held_back: count(&self.counts.held_back),
            fault: published.fault.clone(),
        }
    }

    /// Ends it at once: nothing of it is believed any more, and nobody waits for it.
    pub(super) fn end(&self) {
        let generation = self.published.load().generation + 1;
        // What was verified counts no longer, and what is being verified at this moment will not.
        let verified_with = self.generations.begin();
        self.generations.end();
        let published = Published { keys: None, generation, verified_with, ended: true, fault: None };
        self.published.store(Arc::new(published));
        self.progress.send_modify(|progress| progress.ended = u64::MAX);
    }
}
