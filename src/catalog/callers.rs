//! What virtual servers show callers that some backends tell apart: merged when it is asked for, kept for a while.

use super::keeper::{Catalogs, MergedOf, now, offers};
use super::news::{ANNOUNCED, News};
use lockgate_filters::federate::{Audience, Callers, Catalog, Inventory, Kind, Offer, Standing};
use lockgate_filters::virtual_server::VirtualServer;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// After how long without a request a caller's catalog is forgotten.
const IDLE: Duration = Duration::from_secs(600);

/// Which virtual server, and who calls.
type Key = (Arc<str>, Audience);

/// The catalogs of single callers, bounded in number.
pub(super) struct Own {
    kept: Mutex<HashMap<Key, Kept>>,
    /// The most callers of one virtual server.
    most: AtomicUsize,
}

impl Default for Own {
    fn default() -> Own {
        Own { kept: Mutex::default(), most: AtomicUsize::new(1) }
    }
}

impl Own {
    /// This caller, known or new; `changes` is how often the server's backends have said that their lists changed.
    fn caller<'k>(&self, kept: &'k mut HashMap<Key, Kept>, key: Key, changes: u64) -> &'k mut Kept {
        if !kept.contains_key(&key) {
            make_room(kept, &key.0, self.most.load(Ordering::Relaxed));
        }
        let caller = kept.entry(key).or_insert_with(|| Kept::new(changes));
        caller.used = Instant::now();
        caller
    }
}

struct Kept {
    news: Arc<News>,
    merged: Option<(Arc<Catalog>, MergedOf)>,
    used: Instant,
    /// How often the server's backends had said that their lists changed, when that was told last.
    changes: u64,
}

impl Kept {
    fn new(changes: u64) -> Kept {
        Kept { news: Arc::new(News::new()), merged: None, used: Instant::now(), changes }
    }
}

fn changes(server: &VirtualServer) -> u64 {
    server.backends.iter().map(|backend| backend.changes()).sum()
}

impl Catalogs {
    /// What these callers are shown: what the members that tell them apart offer them, where that is known, and what the
    /// others offer everybody.
    pub fn own(
        &self,
        server: &VirtualServer,
        callers: &Callers,
        inventories: Vec<(usize, Option<Arc<Inventory>>)>,
    ) -> Option<Arc<Catalog>> {
        let federation = server.federation.as_ref()?;
        let (mut offers, _) = offers(federation, &server.backends, now());
        for (member, inventory) in inventories {
            let failed = inventory.as_ref().is_some_and(|inventory| inventory.has_failed());
            let standing = if failed { Standing::Stale } else { Standing::Fresh };
            *offers.get_mut(member)? = Offer { inventory, standing };
        }
        let key = (Arc::clone(&server.name), callers.all());
        if let Some(kept) = self.own.kept.lock().get_mut(&key) {
            kept.used = Instant::now();
            if let Some((catalog, of)) = &kept.merged
                && of.is(federation, &offers)
            {
                return Some(Arc::clone(catalog));
            }
        }
        let catalog = Arc::new(Catalog::merge(&federation.policy, &offers));
        let merged = (Arc::clone(&catalog), MergedOf::new(federation, offers));
        let mut own = self.own.kept.lock();
        let kept = self.own.caller(&mut own, key, changes(server));
        if let Some((before, _)) = kept.merged.replace(merged) {
            kept.news.changed(catalog.changes(&before));
        }
        Some(catalog)
    }

    /// The news of a virtual server for this audience: those of everybody, where it is not told apart.
    pub fn news_of(&self, server: &VirtualServer, audience: Option<Audience>) -> Arc<News> {
        let Some(audience) = audience else { return self.news(&server.name) };
        let mut own = self.own.kept.lock();
        Arc::clone(&self.own.caller(&mut own, (Arc::clone(&server.name), audience), changes(server)).news)
    }

    /// Remembers at most so many callers of one virtual server.
    pub fn keep_callers(&self, most: usize) {
        self.own.most.store(most, Ordering::Relaxed);
    }

    /// Tells a virtual server's single callers what everybody is told, and of all lists where a backend says that its own
    /// changed: how they look to them is only known when they ask.
    pub(super) fn tell_callers(&self, server: &VirtualServer, kinds: impl Iterator<Item = Kind> + Clone) {
        let now = changes(server);
        for ((_, _), kept) in self.own.kept.lock().iter_mut().filter(|((name, _), _)| *name == server.name) {
            match std::mem::replace(&mut kept.changes, now) == now {
                true => kept.news.changed(kinds.clone()),
                false => kept.news.changed(ANNOUNCED),
            }
            if kept.news.is_awaited() {
                kept.used = Instant::now();
            }
        }
    }

    /// Forgets callers who have not called for long, and those of virtual servers that are gone.
    pub(super) fn forget_callers(&self, servers: &[Arc<VirtualServer>]) {
        self.own.kept.lock().retain(|(name, _), kept| {
            Arc::strong_count(&kept.news) > 1
                || kept.used.elapsed() < IDLE && servers.iter().any(|server| server.name == *name)
        });
    }
}

/// Forgets who has not called for longest, where there are too many; who waits for news only where nobody else can go.
fn make_room(own: &mut HashMap<Key, Kept>, server: &Arc<str>, most: usize) {
    while own.keys().filter(|(name, _)| name == server).count() >= most.max(1) {
        let candidates = own.iter().filter(|((name, _), _)| name == server);
        let oldest = candidates.min_by_key(|(_, kept)| (kept.news.is_awaited(), kept.used)).map(|(key, _)| key.clone());
        let Some(oldest) = oldest else { return };
        own.remove(&oldest);
    }
}

#[cfg(test)]
mod tests;
