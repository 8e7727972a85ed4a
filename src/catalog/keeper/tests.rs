//! What is published when, with the time passed in and no backend asked.

use super::*;
use lockgate_filters::backend::{Facts, Lost};
use lockgate_filters::chain::Chain;
use lockgate_filters::federate::policy::Member;
use lockgate_filters::federate::{InventoryBuilder, InventoryLimits, Policy};

const NOW: UnixMillis = UnixMillis(1_000_000);

fn inventory(tools: &[&str]) -> Arc<Inventory> {
    let mut builder = InventoryBuilder::within(InventoryLimits::default(), NOW);
    builder.describe(br#"{"capabilities":{"tools":{}}}"#).unwrap();
    let items: Vec<String> = tools.iter().map(|name| format!(r#"{{"name":"{name}","inputSchema":{{}}}}"#)).collect();
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
        offered: Default::default(),
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
