//! What callers are shown of a catalog: decided when one first asks, kept while caller and catalog stay the same.
//!
//! A view is small, and each caller has its own. A list is not: callers who are shown the same items share it.

use super::policy::Policy;
use super::query::{Item, Moment};
use super::view::{View, Visible};
use crate::federate::{Catalog, Kind};
use crate::principal::Principal;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How many callers' views are kept for one virtual server.
const CALLERS_MAX: usize = 4_096;
const SHARDS: usize = 16;
/// How many different lists are kept in sight, so that they are shared.
const LISTS_MAX: usize = 1_024;

/// Views by caller.
pub(super) struct Views {
    policy: Arc<Policy>,
    server: Arc<str>,
    backends: Box<[Arc<str>]>,
    shards: Box<[Shard]>,
    lists: Mutex<HashMap<[u8; 32], List, RandomState>>,
}

/// By callers' identities.
type Callers = HashMap<[u8; 32], Kept, RandomState>;
type Shard = Mutex<Callers>;

/// A caller's view of a catalog.
#[derive(Clone)]
struct Kept {
    /// Weak: an old catalog is not kept for those who come no more. While this is there, its address is nobody else's.
    of: Weak<Catalog>,
    view: Arc<View>,
    /// What is listed, where that is the same with each request.
    list: Option<Arc<Catalog>>,
}

/// A list that somebody is shown.
struct List {
    of: Weak<Catalog>,
    list: Weak<Catalog>,
}

impl Views {
    pub fn new(policy: Arc<Policy>, server: Arc<str>, backends: Box<[Arc<str>]>) -> Views {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Views { policy, server, backends, shards, lists: Mutex::default() }
    }

    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    /// The name of a member's backend.
    pub fn backend(&self, member: usize) -> &str {
        self.backends.get(member).map_or("", |name| name)
    }

    /// An item as policies see it.
    pub fn item<'a>(&'a self, catalog: &'a Catalog, kind: Kind, place: usize) -> Option<Item<'a>> {
        let listed = catalog.listed(kind, place)?;
        let (original, exposed, json) = (listed.original, listed.exposed, listed.json);
        Some(Item { kind, backend: self.backend(listed.member), original, exposed, json })
    }

    /// What a caller may do with the items of a catalog.
    pub fn view(&self, principal: &Principal, catalog: &Arc<Catalog>) -> Arc<View> {
        self.kept(principal, catalog).view
    }

    /// What a caller is shown of a catalog.
    pub fn list(&self, principal: &Principal, catalog: &Arc<Catalog>, moment: Moment<'_>) -> Arc<Catalog> {
        let Kept { view, list, .. } = self.kept(principal, catalog);
        if let Some(list) = list {
            return list;
        }
        let visible = view.visible(moment, &|kind, place| self.item(catalog, kind, place));
        let list = self.shared(catalog, &visible);
        if view.is_settled()
            && let Some(kept) = self.shard(principal).get_mut(principal.identity()).filter(|kept| kept.is_of(catalog))
        {
            kept.list = Some(Arc::clone(&list));
        }
        list
    }

    fn kept(&self, principal: &Principal, catalog: &Arc<Catalog>) -> Kept {
        let known = self.shard(principal).get(principal.identity()).filter(|kept| kept.is_of(catalog)).cloned();
        if let Some(known) = known {
            return known;
        }
        let items = Kind::ALL
            .into_iter()
            .flat_map(|kind| (0..catalog.count(kind)).filter_map(move |place| self.item(catalog, kind, place)));
        let view = Arc::new(View::build(&self.policy, principal, &self.server, items));
        let kept = Kept { of: Arc::downgrade(catalog), view, list: None };
        let mut shard = self.shard(principal);
        if shard.len() >= CALLERS_MAX / SHARDS && !shard.contains_key(principal.identity()) {
            // Any will do: whoever is forgotten is looked at again when it comes.
            let oldest = shard.keys().next().copied();
            oldest.map(|oldest| shard.remove(&oldest));
        }
        shard.insert(*principal.identity(), kept.clone());
        kept
    }

    fn shared(&self, catalog: &Arc<Catalog>, visible: &Visible) -> Arc<Catalog> {
        let mut lists = locked(&self.lists);
        let known = lists.get(visible.digest()).filter(|list| std::ptr::eq(list.of.as_ptr(), Arc::as_ptr(catalog)));
        if let Some(list) = known.and_then(|list| list.list.upgrade()) {
            return list;
        }
        let list = Arc::new(catalog.only(|kind, place| visible.contains(kind, place)));
        if lists.len() >= LISTS_MAX {
            lists.retain(|_, list| list.list.strong_count() > 0);
        }
        if lists.len() < LISTS_MAX {
            lists.insert(*visible.digest(), List { of: Arc::downgrade(catalog), list: Arc::downgrade(&list) });
        }
        list
    }

    fn shard(&self, principal: &Principal) -> MutexGuard<'_, Callers> {
        let at = usize::from(principal.identity()[0]) % SHARDS;
        locked(&self.shards[at])
    }
}

impl Kept {
    fn is_of(&self, catalog: &Arc<Catalog>) -> bool {
        std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(catalog))
    }
}

/// Nothing is done under these locks that could panic half way.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
