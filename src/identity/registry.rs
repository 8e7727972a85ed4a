//! All issuers of a configuration, across reloads: an unchanged one keeps its keys and its task, a removed one ends at once.

use super::Clock;
use super::introspection::Introspector;
use super::issuer::{Held, Issuer, Keys};
use super::settings::{IssuerSettings, KeysFrom};
use super::source::keep;
use crate::egress::{Bounds, Client, Egress, TrustError};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Why an issuer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnusableReason {
    /// Its authorities cannot be used.
    #[error("{0}")]
    Trust(TrustError),
    /// Its secret cannot be sent.
    #[error("the client secret cannot be sent")]
    Secret,
    /// The keys that were given cannot be used.
    #[error("the key set cannot be used: {0}")]
    Keys(String),
}

/// An issuer that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Why.
    pub reason: UnusableReason,
}

/// The issuers that a configuration leads to, before anything of them runs.
pub struct Prepared<K> {
    issuers: Vec<Arc<Issuer<K>>>,
    /// What the new ones among them are fetched with.
    clients: HashMap<Arc<str>, Client>,
}

impl<K> Prepared<K> {
    /// The issuer of a name.
    pub fn issuer(&self, name: &str) -> Option<&Arc<Issuer<K>>> {
        self.issuers.iter().find(|issuer| &**issuer.name() == name)
    }

    /// All of them, in the order of the configuration.
    pub fn issuers(&self) -> &[Arc<Issuer<K>>] {
        &self.issuers
    }
}

/// The issuers that run.
pub struct Identities<K> {
    egress: Arc<Egress>,
    clock: Clock,
    running: Mutex<HashMap<Arc<str>, Running<K>>>,
    changes: watch::Sender<u64>,
}

struct Running<K> {
    issuer: Arc<Issuer<K>>,
    /// None where there is nothing to fetch.
    task: Option<JoinHandle<()>>,
}

impl<K> Drop for Running<K> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        self.issuer.end();
    }
}

impl<K> fmt::Debug for Identities<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

impl<K: Keys> Identities<K> {
    /// None yet.
    pub fn new(egress: Arc<Egress>, clock: Clock) -> Identities<K> {
        Identities { egress, clock, running: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// Counts up when the keys of an issuer change, and when one ends: for what is held open on somebody's behalf.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The issuers that these settings lead to: those that run already, where nothing of them has changed. Nothing that
    /// serves changes by it. May read the system's trusted certificates, so it blocks.
    ///
    /// # Errors
    /// Every issuer that cannot be used.
    pub fn prepare(&self, settings: Vec<IssuerSettings>) -> Result<Prepared<K>, Vec<Unusable>> {
        let running = self.running.lock();
        let (mut issuers, mut clients, mut unusable) = (Vec::new(), HashMap::new(), Vec::new());
        for settings in settings {
            let known = running.get(&settings.name).map(|running| &running.issuer);
            if let Some(known) = known.filter(|known| *known.settings() == settings) {
                issuers.push(Arc::clone(known));
                continue;
            }
            let name = Arc::clone(&settings.name);
            match self.make(settings, known) {
                Ok((issuer, client)) => {
                    issuers.push(Arc::new(issuer));
                    clients.insert(name, client);
                }
                Err(reason) => unusable.push(Unusable { name, reason }),
            }
        }
        if unusable.is_empty() { Ok(Prepared { issuers, clients }) } else { Err(unusable) }
    }

    /// A new issuer. Keys that were fetched from the same place go on being believed; `known` had this name before.
    fn make(
        &self,
        settings: IssuerSettings,
        known: Option<&Arc<Issuer<K>>>,
    ) -> Result<(Issuer<K>, Client), UnusableReason> {
        let client = self.egress.client(&settings.keys.trust, Bounds::default()).map_err(UnusableReason::Trust)?;
        let introspector =
            settings.introspection.as_ref().map(|asked| Introspector::new(asked.clone(), client.clone()));
        let introspector = introspector.transpose().map_err(|_| UnusableReason::Secret)?;
        let before = known.map(|known| (known, known.published.load_full()));
        let generation = before.as_ref().map_or(1, |(_, published)| published.generation + 1);
        let held = match &settings.keys.from {
            KeysFrom::Given(set) => {
                let keys = K::parse(set).map_err(UnusableReason::Keys)?;
                Some(Held { digest: keys.digest(), keys: Arc::new(keys), at: None, until: None })
            }
            KeysFrom::Discovery(_) | KeysFrom::Url(_) => before
                .filter(|(known, _)| known.key_settings().same_place(&settings.keys))
                .and_then(|(_, published)| published.keys.clone())
                .map(|held| {
                    let max_stale = u64::try_from(settings.keys.max_stale.as_millis()).unwrap_or(u64::MAX);
                    Held {
                        until: Some(held.at.map_or(lockgate_filters::exchange::UnixMillis(0), |at| at.plus(max_stale))),
                        ..held
                    }
                }),
        };
        Ok((Issuer::new(settings, held, generation, introspector), client))
    }

    /// Runs what was prepared, and nothing else: issuers that are not among them end before this returns. Within a runtime.
    pub fn commit(&self, prepared: &Prepared<K>) {
        let mut running = self.running.lock();
        let mut before = std::mem::take(&mut *running);
        for issuer in &prepared.issuers {
            let name = Arc::clone(issuer.name());
            let same = before.get(&name).is_some_and(|running| Arc::ptr_eq(&running.issuer, issuer));
            if same && let Some(kept) = before.remove(&name) {
                running.insert(name, kept);
                continue;
            }
            let given = matches!(issuer.key_settings().from, KeysFrom::Given(_));
            let task = prepared.clients.get(&name).filter(|_| !given).map(|client| {
                tokio::spawn(keep(Arc::clone(issuer), client.clone(), Arc::clone(&self.clock), self.changes.clone()))
            });
            running.insert(name, Running { issuer: Arc::clone(issuer), task });
        }
        let ended = !before.is_empty();
        drop(before);
        if ended {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// The issuers that run, by name: for metrics and the admin page.
    pub fn running(&self) -> Vec<Arc<Issuer<K>>> {
        let mut running: Vec<_> = self.running.lock().values().map(|running| Arc::clone(&running.issuer)).collect();
        running.sort_by(|one, other| one.name().cmp(other.name()));
        running
    }
}

#[cfg(test)]
mod tests;
