//! Merging catalogs when something became known of a backend, when a lost backend's time is over, and after a reload.

use super::callers::Own;
use super::news::News;
use lockgate_filters::backend::Backend;
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::federate::{Catalog, Failure, Federation, Inventory, Kind, Offer, Standing};
use lockgate_filters::virtual_server::VirtualServer;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// What becomes known together is merged together.
const GATHERING: Duration = Duration::from_millis(20);
/// How often it is looked whether clients wait for news, when nothing else is due.
const IDLE: Duration = Duration::from_secs(240);

/// The catalogs of all federated virtual servers, by name: what clients were last told outlives a reload.
#[derive(Default)]
pub struct Catalogs {
    kept: Mutex<HashMap<Arc<str>, Arc<Kept>>>,
    poked: Notify,
    /// How many rounds were asked for, and the last of them that was made.
    asked: AtomicU64,
    made: watch::Sender<u64>,
    /// What single callers are shown.
    pub(super) own: Own,
}

/// What is kept of one virtual server.
struct Kept {
    news: Arc<News>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// What clients know.
    catalog: Option<Arc<Catalog>>,
    /// What was published last, whether clients know it or not.
    published: Option<Published>,
    /// Why no era can be served, as the operator was told last.
    misfit: Option<String>,
}

/// A published catalog, and what it was merged of.
struct Published {
    catalog: Arc<Catalog>,
    of: MergedOf,
}

/// What a catalog was merged of: where it is the same, so is the catalog.
struct MergedOf {
    federation: Weak<Federation>,
    offers: Vec<Offer>,
}

impl Catalogs {
    /// The news of a virtual server.
    pub fn news(&self, server: &Arc<str>) -> Arc<News> {
        Arc::clone(&self.kept(server).news)
    }

    /// Merges a server's catalog from what is known already. Nobody is told yet.
    pub fn fill(&self, server: &VirtualServer) {
        if let Some(federation) = &server.federation {
            publish(&mut self.kept(&server.name).told.lock(), federation, &server.backends, now());
        }
    }

    /// Waits until the catalogs hold what is known of the backends at this moment; not longer than `within`.
    pub async fn catch_up(&self, within: Duration) {
        let mut made = self.made.subscribe();
        let round = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        self.poke();
        // Where it takes longer, what there is has to do.
        let _ = timeout(within, made.wait_for(|made| *made >= round)).await;
    }

    /// Other virtual servers serve from now on.
    pub fn poke(&self) {
        self.poked.notify_one();
    }

    /// Keeps the catalogs of the virtual servers that serve; `known` counts up when something becomes known of a backend.
    pub async fn keep(
        self: Arc<Catalogs>,
        mut known: watch::Receiver<u64>,
        servers: impl Fn() -> Vec<Arc<VirtualServer>>,
    ) {
        loop {
            known.mark_unchanged();
            let round = self.asked.load(Ordering::Relaxed);
            let due = self.renew(&servers(), now()).unwrap_or(IDLE).min(IDLE);
            self.made.send_replace(round);
            tokio::select! {
                changed = known.changed() => match changed {
                    Ok(()) => tokio::time::sleep(GATHERING).await,
                    Err(_) => return,
                },
                () = self.poked.notified() => {}
                () = tokio::time::sleep(due) => {}
            }
        }
    }

    /// Merges what has changed, and says when the next member's time is over.
    pub(super) fn renew(&self, servers: &[Arc<VirtualServer>], now: UnixMillis) -> Option<Duration> {
        self.kept.lock().retain(|name, kept| {
            // News that a stream still waits for are kept until it has ended.
            Arc::strong_count(&kept.news) > 1 || servers.iter().any(|server| server.name == *name)
        });
        self.forget_callers(servers);
        servers.iter().filter_map(|server| self.renew_one(server, now)).min()
    }

    fn renew_one(&self, server: &VirtualServer, now: UnixMillis) -> Option<Duration> {
        let federation = server.federation.as_ref()?;
        let kept = self.kept(&server.name);
        let mut told = kept.told.lock();
        if kept.news.is_awaited() {
            server.backends.iter().for_each(|backend| backend.show(now));
        }
        name_misfit(server, &mut told);
        let (catalog, due) = publish(&mut told, federation, &server.backends, now);
        let due = due.map(|due| Duration::from_millis(due.0.saturating_sub(now.0) + 1));
        if told.catalog.as_ref().is_some_and(|known| Arc::ptr_eq(known, &catalog)) {
            drop(told);
            self.tell_callers(server, std::iter::empty());
            return due;
        }
        name_clashes(server, &catalog, told.catalog.as_deref());
        let before = told.catalog.replace(Arc::clone(&catalog));
        drop(told);
        if let Some(before) = before {
            let kinds: Vec<Kind> = catalog.changes(&before).collect();
            kept.news.changed(kinds.iter().copied());
            self.tell_callers(server, kinds.iter().copied());
        }
        due
    }

    fn kept(&self, server: &Arc<str>) -> Arc<Kept> {
        let fresh = || Arc::new(Kept { news: Arc::new(News::new()), told: Mutex::default() });
        Arc::clone(self.kept.lock().entry(Arc::clone(server)).or_insert_with(fresh))
    }
}

impl MergedOf {
    fn new(federation: &Arc<Federation>, offers: Vec<Offer>) -> MergedOf {
        MergedOf { federation: Arc::downgrade(federation), offers }
    }

    fn is(&self, federation: &Arc<Federation>, offers: &[Offer]) -> bool {
        let same = |a: &Option<Arc<Inventory>>, b: &Option<Arc<Inventory>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        self.federation.as_ptr() == Arc::as_ptr(federation)
            && self.offers.len() == offers.len()
            && self.offers.iter().zip(offers).all(|(a, b)| a.standing == b.standing && same(&a.inventory, &b.inventory))
    }
}

/// Merges and publishes what the members bring now, unless that is what was published last; also says when it changes
/// because a lost member's time is over.
///
/// What the members bring is read under the lock: whoever publishes later knows no less.
fn publish(
    told: &mut Told,
    federation: &Arc<Federation>,
    backends: &[Arc<Backend>],
    now: UnixMillis,
) -> (Arc<Catalog>, Option<UnixMillis>) {
    let (offers, due) = offers(federation, backends, now);
    if let Some(published) = told.published.as_ref().filter(|published| published.of.is(federation, &offers)) {
        return (Arc::clone(&published.catalog), due);
    }
    let catalog = Arc::new(Catalog::merge(&federation.policy, &offers));
    federation.publish(Arc::clone(&catalog));
    let of = MergedOf::new(federation, offers);
    told.published = Some(Published { catalog: Arc::clone(&catalog), of });
    (catalog, due)
}

/// What each member brings now, and when that changes because a lost member's time is over.
pub(super) fn offers(
    federation: &Federation,
    backends: &[Arc<Backend>],
    now: UnixMillis,
) -> (Vec<Offer>, Option<UnixMillis>) {
    let mut due: Option<UnixMillis> = None;
    let offer = |backend: &Arc<Backend>| {
        let facts = backend.facts();
        let inventory = facts.inventory.clone();
        let Some(lost) = &facts.lost else {
            // What could not be read now is there as it last was.
            let failed = inventory.as_ref().is_some_and(|inventory| inventory.has_failed());
            return Offer { inventory, standing: if failed { Standing::Stale } else { Standing::Fresh } };
        };
        let until = lost.since.plus(federation.grace);
        let stays = match federation.failure {
            Failure::Stale => true,
            Failure::Strict => false,
            Failure::Partial => now < until,
        };
        if stays && federation.failure == Failure::Partial {
            due = Some(due.map_or(until, |due| due.min(until)));
        }
        Offer { inventory, standing: if stays { Standing::Stale } else { Standing::Missing } }
    };
    let offers = backends.iter().map(offer).collect();
    (offers, due)
}

/// Tells the operator that the backends of a server speak no common era, when that is new.
fn name_misfit(server: &VirtualServer, told: &mut Told) {
    let misfit = server.misfit();
    if let Some(why) = misfit.as_ref().filter(|_| misfit != told.misfit) {
        tracing::warn!(virtual_server = %server.name, "{why}");
    }
    told.misfit = misfit;
}

/// Tells the operator which items are left out because two members' have one name, when that is new.
fn name_clashes(server: &VirtualServer, catalog: &Catalog, before: Option<&Catalog>) {
    if before.is_some_and(|before| before.clashes() == catalog.clashes()) {
        return;
    }
    let owner = |(member, original): &(usize, Box<str>)| {
        let backend = server.backends.get(*member).map_or("", |backend| &backend.name);
        format!("{backend}/{original}")
    };
    for clash in catalog.clashes() {
        tracing::warn!(
            virtual_server = %server.name,
            kind = clash.kind.noun(),
            name = &*clash.exposed,
            kept = owner(&clash.kept),
            left_out = owner(&clash.lost),
            "two backends offer an item of one name"
        );
    }
}

pub(super) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl fmt::Debug for Catalogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogs").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
