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
mod tests {
    use super::*;
    use lockgate_filters::backend::{Facts, Lost};
    use lockgate_filters::chain::Chain;
    use lockgate_filters::federate::policy::Member;
    use lockgate_filters::federate::{InventoryBuilder, InventoryLimits, Policy};

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn inventory(tools: &[&str]) -> Arc<Inventory> {
        let mut builder = InventoryBuilder::within(InventoryLimits::default(), NOW);
        builder.describe(br#"{"capabilities":{"tools":{}}}"#).unwrap();
        let items: Vec<String> =
            tools.iter().map(|name| format!(r#"{{"name":"{name}","inputSchema":{{}}}}"#)).collect();
        builder.page(Kind::Tools, format!(r#"{{"tools":[{}]}}"#, items.join(",")).as_bytes()).unwrap();
        Arc::new(builder.finish(1000))
    }

    fn backend(name: &str, tools: &[&str]) -> Arc<Backend> {
        let facts = Facts { inventory: Some(inventory(tools)), ..Facts::default() };
        Arc::new(Backend::new(name, facts))
    }

    fn server(failure: Failure, backends: &[&Arc<Backend>]) -> Arc<VirtualServer> {
        let members = backends.iter().map(|backend| Member::new(Arc::clone(&backend.name))).collect();
        let policy = Policy { members, separator: "__".into(), page_size: 100, ..Policy::default() };
        Arc::new(VirtualServer {
            index: 0,
            name: "default".into(),
            backends: backends.iter().map(|backend| Arc::clone(backend)).collect(),
            chain: Chain::default(),
            federation: Some(Arc::new(Federation::new(policy, failure, 1000))),
            pinned: None,
        })
    }

    fn lose(backend: &Backend) {
        backend.learn(|facts| facts.lost = Some(Lost { since: NOW, why: "gone".into() }));
    }

    fn tools(server: &VirtualServer) -> usize {
        server.federation.as_ref().unwrap().catalog().count(Kind::Tools)
    }

    #[test]
    fn a_lost_member_stays_for_its_time_and_its_loss_is_told() {
        let (one, two) = (backend("one", &["a"]), backend("two", &["b", "c"]));
        let server = server(Failure::Partial, &[&one, &two]);
        let catalogs = Catalogs::default();
        let news = catalogs.news(&server.name);
        let servers = [Arc::clone(&server)];
        assert_eq!(catalogs.renew(&servers, NOW), None);
        let first = news.versions();
        assert_eq!(tools(&server), 3);
        lose(&two);
        let due = catalogs.renew(&servers, NOW.plus(1)).unwrap();
        assert_eq!((tools(&server), due), (3, Duration::from_millis(1000)));
        assert_eq!(server.federation.as_ref().unwrap().catalog().standings(), [Standing::Fresh, Standing::Stale]);
        assert_eq!(news.versions(), first, "clients see the same");
        assert_eq!(catalogs.renew(&servers, NOW.plus(1000)), None);
        assert_eq!(tools(&server), 1);
        assert_eq!(news.versions().since(first).collect::<Vec<_>>(), [Kind::Tools]);
        two.learn(|facts| facts.lost = None);
        catalogs.renew(&servers, NOW.plus(2000));
        assert_eq!(tools(&server), 3, "it is back");
    }

    #[test]
    fn what_becomes_of_a_lost_members_items_is_policy() {
        for (failure, left) in [(Failure::Stale, 3), (Failure::Strict, 1), (Failure::Partial, 1)] {
            let (one, two) = (backend("one", &["a"]), backend("two", &["b", "c"]));
            let server = server(failure, &[&one, &two]);
            lose(&two);
            Catalogs::default().renew(&[Arc::clone(&server)], NOW.plus(10_000));
            assert_eq!(tools(&server), left, "{failure:?}");
        }
    }

    #[test]
    fn who_waits_for_news_keeps_the_lists_fresh() {
        let one = backend("one", &["a"]);
        let server = server(Failure::Partial, &[&one]);
        let catalogs = Catalogs::default();
        catalogs.renew(&[Arc::clone(&server)], NOW);
        assert_eq!(one.last_shown(), UnixMillis(0));
        let news = catalogs.news(&server.name);
        let _stream = news.subscribe();
        catalogs.renew(&[Arc::clone(&server)], NOW);
        assert_eq!(one.last_shown(), NOW);
    }

    #[test]
    fn a_list_that_could_not_be_read_is_not_complete() {
        let one = backend("one", &["a"]);
        let server = server(Failure::Strict, &[&one]);
        let mut builder = InventoryBuilder::within(InventoryLimits::default(), NOW);
        builder.failed(Kind::Tools);
        builder.keep(one.facts().inventory.as_ref().unwrap());
        let failed = Arc::new(builder.finish(1000));
        one.learn(|facts| facts.inventory = Some(Arc::clone(&failed)));
        Catalogs::default().renew(&[Arc::clone(&server)], NOW);
        let catalog = server.federation.as_ref().unwrap().pinned();
        assert_eq!((catalog.standings(), catalog.count(Kind::Tools)), (&[Standing::Stale][..], 1));
        assert_eq!(catalog.ttl(NOW), 0);
    }

    #[test]
    fn what_is_known_first_is_never_published_last() {
        let many: Vec<String> = (0..2000).map(|number| format!("tool{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for _ in 0..10 {
            let one = backend("one", &many);
            let server = server(Failure::Partial, &[&one]);
            let catalogs = Catalogs::default();
            let servers = [Arc::clone(&server)];
            catalogs.renew(&servers, NOW);
            let news = catalogs.news(&server.name);
            let first = news.versions();
            let begun = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    one.learn(|facts| facts.inventory = Some(inventory(&many[1..])));
                    begun.wait();
                    catalogs.fill(&server);
                });
                begun.wait();
                one.learn(|facts| facts.inventory = Some(inventory(&["last"])));
                catalogs.renew(&servers, NOW);
            });
            catalogs.renew(&servers, NOW);
            assert_eq!(tools(&server), 1);
            assert_ne!(news.versions(), first, "and clients are told, whoever published it");
        }
    }

    #[tokio::test]
    async fn who_waits_gets_what_was_known_when_it_asked() {
        let one = backend("one", &["a"]);
        let server = server(Failure::Partial, &[&one]);
        let catalogs = Arc::new(Catalogs::default());
        let (known, servers) = (watch::Sender::new(0), vec![Arc::clone(&server)]);
        let keeping = tokio::spawn(Arc::clone(&catalogs).keep(known.subscribe(), move || servers.clone()));
        for count in 2..5 {
            one.learn(|facts| facts.inventory = Some(inventory(&["a", "b", "c", "d"][..count])));
            catalogs.catch_up(Duration::from_secs(20)).await;
            assert_eq!(tools(&server), count);
        }
        keeping.abort();
    }

    #[test]
    fn a_reload_tells_what_it_changed_and_nothing_else() {
        let (one, two) = (backend("one", &["a"]), backend("two", &["b"]));
        let catalogs = Catalogs::default();
        let before = server(Failure::Partial, &[&one]);
        catalogs.renew(&[Arc::clone(&before)], NOW);
        let news = catalogs.news(&before.name);
        let first = news.versions();
        let same = server(Failure::Partial, &[&one]);
        catalogs.fill(&same);
        assert_eq!(tools(&same), 1, "it can serve before anybody is told");
        catalogs.renew(&[same], NOW);
        assert_eq!(news.versions(), first);
        catalogs.renew(&[server(Failure::Partial, &[&one, &two])], NOW);
        assert_eq!(news.versions().since(first).collect::<Vec<_>>(), [Kind::Tools]);
        drop(news);
        catalogs.renew(&[], NOW);
        assert!(catalogs.kept.lock().is_empty());
    }
}
