//! What virtual servers show callers that some backends tell apart: merged when it is asked for, kept for a while.

use super::keeper::{Catalogs, now, offers};
use super::news::{ANNOUNCED, News};
use lockgate_filters::federate::catalog::Digest;
use lockgate_filters::federate::{Audience, Callers, Catalog, Federation, Inventory, Kind, Offer, Standing};
use lockgate_filters::virtual_server::VirtualServer;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// After how long without a request a caller's catalog is forgotten.
const IDLE: Duration = Duration::from_secs(600);
/// What a catalog counts for beside its JSON, in bytes: itself, and each of its items.
const CATALOG_BYTES: usize = 16 * 1024;
const ITEM_BYTES: usize = 448;

/// Which virtual server, and who calls.
type Key = (Arc<str>, Audience);

/// The catalogs of single callers, bounded in number and bytes.
pub(super) struct Own {
    kept: Mutex<HashMap<Key, Kept>>,
    /// The most callers of one virtual server.
    most: AtomicUsize,
    /// What all catalogs may hold.
    bytes: AtomicUsize,
}

impl Default for Own {
    fn default() -> Own {
        Own { kept: Mutex::default(), most: AtomicUsize::new(1), bytes: AtomicUsize::new(usize::MAX) }
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

    /// Forgets the catalogs that can be had no more from what they were merged of, and those of who has not called for longest
    /// until the others fit; this one last.
    fn trim(&self, kept: &mut HashMap<Key, Kept>, now: &Key) {
        forget_orphans(kept);
        let here = |key: &Key| key.0 == now.0;
        let merged = kept.iter().filter(|(key, kept)| here(key) && kept.merged.is_some()).count();
        for _ in self.most.load(Ordering::Relaxed).max(1)..merged {
            forget_oldest(kept, |key| here(key) && key != now);
        }
        let most = self.bytes.load(Ordering::Relaxed);
        let mut bytes: usize = kept.values().filter_map(|kept| kept.merged.as_ref()).map(|merged| merged.bytes).sum();
        while bytes > most {
            let gone = forget_oldest(kept, |key| key != now).or_else(|| forget_oldest(kept, |_| true));
            let Some(gone) = gone else { return };
            bytes = bytes.saturating_sub(gone);
        }
    }
}

/// A caller's lists may have been forgotten, or others may have been read: then its catalog holds nothing that is of use.
fn forget_orphans(kept: &mut HashMap<Key, Kept>) {
    for kept in kept.values_mut() {
        kept.merged.take_if(|merged| merged.is_orphan());
    }
}

/// Forgets the catalog of who has not called for longest, of those that `may` go; says how many bytes that was.
fn forget_oldest(kept: &mut HashMap<Key, Kept>, may: impl Fn(&Key) -> bool) -> Option<usize> {
    let candidates = kept.iter_mut().filter(|(key, kept)| may(key) && kept.merged.is_some());
    let (_, oldest) = candidates.min_by_key(|(_, kept)| kept.used)?;
    oldest.merged.take().map(|merged| merged.bytes)
}

struct Kept {
    news: Arc<News>,
    merged: Option<Merged>,
    /// What the lists looked like that this caller was shown last, whether they are still there or not.
    shown: Option<[Digest; Kind::ALL.len()]>,
    used: Instant,
    /// How often the server's backends had said that their lists changed, when that was told last.
    changes: u64,
}

impl Kept {
    fn new(changes: u64) -> Kept {
        Kept { news: Arc::new(News::new()), merged: None, shown: None, used: Instant::now(), changes }
    }

    /// Whether somebody listens to its news, or is about to.
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.news) > 1
    }
}

/// A catalog, and what it was merged of; that is not kept by it.
struct Merged {
    catalog: Arc<Catalog>,
    federation: Weak<Federation>,
    offers: Vec<(Standing, Option<Weak<Inventory>>)>,
    bytes: usize,
}

impl Merged {
    fn new(federation: &Arc<Federation>, offers: &[Offer]) -> Merged {
        let catalog = Arc::new(Catalog::merge(&federation.policy, offers));
        let items: usize = Kind::ALL.iter().map(|kind| catalog.count(*kind)).sum();
        let bytes = CATALOG_BYTES + catalog.bytes() + items * ITEM_BYTES;
        let offers =
            offers.iter().map(|offer| (offer.standing, offer.inventory.as_ref().map(Arc::downgrade))).collect();
        Merged { catalog, federation: Arc::downgrade(federation), offers, bytes }
    }

    fn is_of(&self, federation: &Arc<Federation>, offers: &[Offer]) -> bool {
        let same = |known: &Option<Weak<Inventory>>, now: &Option<Arc<Inventory>>| match (known, now) {
            (Some(known), Some(now)) => known.as_ptr() == Arc::as_ptr(now),
            (None, None) => true,
            _ => false,
        };
        self.federation.as_ptr() == Arc::as_ptr(federation)
            && self.offers.len() == offers.len()
            && self
                .offers
                .iter()
                .zip(offers)
                .all(|(known, now)| known.0 == now.standing && same(&known.1, &now.inventory))
    }

    fn is_orphan(&self) -> bool {
        self.offers.iter().any(|(_, inventory)| inventory.as_ref().is_some_and(|known| known.strong_count() == 0))
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
            if let Some(merged) = kept.merged.as_ref().filter(|merged| merged.is_of(federation, &offers)) {
                return Some(Arc::clone(&merged.catalog));
            }
        }
        let merged = Merged::new(federation, &offers);
        let catalog = Arc::clone(&merged.catalog);
        let digests = Kind::ALL.map(|kind| catalog.digest(kind));
        let mut own = self.own.kept.lock();
        let kept = self.own.caller(&mut own, key.clone(), changes(server));
        if let Some(before) = kept.shown.replace(digests) {
            let changed = Kind::ALL.into_iter().zip(before).zip(digests).filter(|((_, before), now)| before != now);
            kept.news.changed(changed.map(|((kind, _), _)| kind));
        }
        kept.merged = Some(merged);
        self.own.trim(&mut own, &key);
        Some(catalog)
    }

    /// What this audience was last shown, where that is still there.
    pub fn shown_to(&self, server: &VirtualServer, audience: Audience) -> Option<Arc<Catalog>> {
        let federation = server.federation.as_ref()?;
        let kept = self.own.kept.lock();
        let merged = kept.get(&(Arc::clone(&server.name), audience))?.merged.as_ref()?;
        (merged.federation.as_ptr() == Arc::as_ptr(federation)).then(|| Arc::clone(&merged.catalog))
    }

    /// A backend has said to this audience alone that its lists changed.
    pub fn announced_to(&self, server: &VirtualServer, audience: Audience) {
        if let Some(kept) = self.own.kept.lock().get(&(Arc::clone(&server.name), audience)) {
            kept.news.changed(ANNOUNCED);
        }
    }

    /// The news of a virtual server for this audience: those of everybody, where it is not told apart.
    pub fn news_of(&self, server: &VirtualServer, audience: Option<Audience>) -> Arc<News> {
        let Some(audience) = audience else { return self.news(&server.name) };
        let mut own = self.own.kept.lock();
        Arc::clone(&self.own.caller(&mut own, (Arc::clone(&server.name), audience), changes(server)).news)
    }

    /// Remembers at most so many callers of one virtual server, and catalogs of at most so many `bytes` for all of them. Who
    /// waits for news is remembered beyond that.
    pub fn keep_callers(&self, most: usize, bytes: usize) {
        self.own.most.store(most, Ordering::Relaxed);
        self.own.bytes.store(bytes, Ordering::Relaxed);
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
        let mut kept = self.own.kept.lock();
        kept.retain(|(name, _), kept| {
            kept.is_held() || kept.used.elapsed() < IDLE && servers.iter().any(|server| server.name == *name)
        });
        forget_orphans(&mut kept);
    }
}

/// Forgets who has not called for longest, where there are too many that nobody listens for. Who listens stays, and is
/// bounded with the streams.
fn make_room(own: &mut HashMap<Key, Kept>, server: &Arc<str>, most: usize) {
    loop {
        let candidates = || own.iter().filter(|((name, _), kept)| name == server && !kept.is_held());
        if candidates().count() < most.max(1) {
            return;
        }
        let oldest = candidates().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone());
        let Some(oldest) = oldest else { return };
        own.remove(&oldest);
    }
}

#[cfg(test)]
mod tests;
