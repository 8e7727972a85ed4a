//! Catalogs of single callers, with inventories that nobody had to read.

use super::*;
use lockgate_filters::backend::{Backend, Facts};
use lockgate_filters::chain::Chain;
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::federate::policy::Member;
use lockgate_filters::federate::{Failure, Federation, InventoryBuilder, InventoryLimits, Policy};

const MOST: usize = 8;

fn inventory(tools: &[&str]) -> Arc<Inventory> {
    let mut builder = InventoryBuilder::within(InventoryLimits::default(), now()).private_unless_said();
    builder.describe(br#"{"capabilities":{"tools":{}}}"#).unwrap();
    let items: Vec<String> = tools.iter().map(|name| format!(r#"{{"name":"{name}"}}"#)).collect();
    builder.page(Kind::Tools, format!(r#"{{"tools":[{}]}}"#, items.join(",")).as_bytes()).unwrap();
    Arc::new(builder.finish(60_000))
}

/// A virtual server over two backends, of which the first tells callers apart by a token.
fn server() -> Arc<VirtualServer> {
    let mut members = ["one", "two"].map(Member::new);
    members[0].identity = Box::new([http::HeaderName::from_static("x-token")]);
    let policy = Policy { members: members.into(), separator: "__".into(), page_size: 100, ..Policy::default() };
    let backend = |(name, tools): (&str, &[&str])| {
        Arc::new(Backend::new(name, Facts { inventory: Some(inventory(tools)), ..Facts::default() }))
    };
    Arc::new(VirtualServer {
        index: 0,
        name: "default".into(),
        backends: [("one", &["everybodys"][..]), ("two", &["b"])].map(backend).into(),
        chain: Chain::default(),
        federation: Some(Arc::new(Federation::new(policy, Failure::Partial, 1000))),
        pinned: None,
        offered: Default::default(),
    })
}

fn callers(server: &VirtualServer, token: &str) -> Callers {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-token", token.parse().unwrap());
    Callers::of(&headers, server.federation.as_ref().unwrap(), &server.backends).unwrap()
}

fn tools(catalog: &Catalog) -> Vec<String> {
    catalog.items(Kind::Tools).map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn each_caller_is_shown_its_own_and_what_is_everybodys() {
    let (server, catalogs) = (server(), Catalogs::default());
    catalogs.keep_callers(MOST, usize::MAX);
    let [alice, bob] = ["alice", "bob"].map(|token| callers(&server, token));
    let hers = inventory(&["hers"]);
    let own = |callers: &Callers, known: Option<&Arc<Inventory>>| {
        catalogs.own(&server, callers, vec![(0, known.cloned())]).unwrap()
    };
    let first = own(&alice, Some(&hers));
    assert_eq!(tools(&first), ["one__hers", "two__b"]);
    assert!(Arc::ptr_eq(&first, &own(&alice, Some(&hers))), "nothing has changed, nothing is merged");
    // What cannot be read for one is missing for that one alone.
    let missing = own(&bob, None);
    assert_eq!(tools(&missing), ["two__b"]);
    assert_eq!(missing.standings(), [Standing::Missing, Standing::Fresh]);
    assert_eq!(missing.ttl(UnixMillis(0)), 0);
    assert!(Arc::ptr_eq(&first, &own(&alice, Some(&hers))));
}

#[test]
fn callers_are_told_of_their_own_changes_and_of_everybodys() {
    let (server, catalogs) = (server(), Catalogs::default());
    catalogs.keep_callers(MOST, usize::MAX);
    let servers = [Arc::clone(&server)];
    catalogs.renew(&servers, now());
    let [alice, bob] = ["alice", "bob"].map(|token| callers(&server, token));
    let [hers, his] = [&alice, &bob].map(|callers| catalogs.news_of(&server, Some(callers.all())));
    let all = || [his.versions(), hers.versions(), catalogs.news_of(&server, None).versions()];
    let own = |tools: &[&str]| catalogs.own(&server, &alice, vec![(0, Some(inventory(tools)))]).unwrap();
    let [mut his_before, mut hers_before, shared_before] = all();
    own(&["a"]);
    own(&["a", "b"]);
    assert_eq!(all()[0], his_before);
    assert_eq!(hers.versions().since(hers_before).collect::<Vec<_>>(), [Kind::Tools]);
    // A backend says that its lists changed: how, is only known when they ask.
    [his_before, hers_before] = [his.versions(), hers.versions()];
    server.backends[0].change();
    catalogs.renew(&servers, now());
    assert_eq!(his.versions().since(his_before).count(), 3);
    assert_eq!(hers.versions().since(hers_before).count(), 3);
    assert_eq!(all()[2], shared_before, "what everybody sees is the same");
    // What everybody sees of another backend changes.
    his_before = his.versions();
    server.backends[1].learn(|facts| facts.inventory = Some(inventory(&["b", "c"])));
    catalogs.renew(&servers, now());
    assert_eq!(his.versions().since(his_before).collect::<Vec<_>>(), [Kind::Tools]);
}

#[tokio::test(start_paused = true)]
async fn callers_are_forgotten_when_there_are_too_many_or_they_are_idle() {
    let (server, catalogs) = (server(), Catalogs::default());
    let servers = [Arc::clone(&server)];
    let waiting = callers(&server, "waiting");
    catalogs.keep_callers(MOST, usize::MAX);
    let news = catalogs.news_of(&server, Some(waiting.all()));
    let _stream = news.subscribe();
    for number in 0..3 * MOST {
        tokio::time::advance(Duration::from_millis(1)).await;
        let caller = callers(&server, &format!("caller{number}"));
        catalogs.own(&server, &caller, vec![(0, None)]).unwrap();
        assert!(catalogs.own.kept.lock().len() <= MOST + 1);
    }
    assert!(Arc::ptr_eq(&news, &catalogs.news_of(&server, Some(waiting.all()))), "who waits is kept");
    tokio::time::advance(IDLE).await;
    catalogs.renew(&servers, now());
    assert_eq!(catalogs.own.kept.lock().len(), 1);
    drop((news, _stream));
    tokio::time::advance(IDLE).await;
    catalogs.renew(&servers, now());
    assert!(catalogs.own.kept.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_listens_is_never_forgotten_however_many_they_are() {
    let (server, catalogs) = (server(), Catalogs::default());
    catalogs.keep_callers(1, usize::MAX);
    let callers = ["a", "b", "c"].map(|token| callers(&server, token));
    let news = callers.each_ref().map(|caller| catalogs.news_of(&server, Some(caller.all())));
    for (caller, news) in callers.iter().zip(&news) {
        tokio::time::advance(Duration::from_millis(1)).await;
        catalogs.own(&server, caller, vec![(0, Some(inventory(&["a"])))]).unwrap();
        assert!(Arc::ptr_eq(news, &catalogs.news_of(&server, Some(caller.all()))));
    }
    let merged = || catalogs.own.kept.lock().values().filter(|kept| kept.merged.is_some()).count();
    assert!(merged() <= 1, "what they were shown is merged again");
    let before = news[0].versions();
    catalogs.own(&server, &callers[0], vec![(0, Some(inventory(&["a"])))]).unwrap();
    assert_eq!(news[0].versions(), before, "and looks the same");
    catalogs.own(&server, &callers[0], vec![(0, Some(inventory(&["b"])))]).unwrap();
    assert_eq!(news[0].versions().since(before).collect::<Vec<_>>(), [Kind::Tools]);
}

#[tokio::test(start_paused = true)]
async fn catalogs_are_bounded_in_bytes_and_go_with_what_they_were_merged_of() {
    let (server, catalogs) = (server(), Catalogs::default());
    let [alice, bob] = ["alice", "bob"].map(|token| callers(&server, token));
    let lists = Mutex::new(Some(inventory(&["a"])));
    let own = |callers: &Callers| {
        let known = vec![(0, lists.lock().clone())];
        catalogs.own(&server, callers, known).unwrap()
    };
    let merged = |callers: &Callers| {
        let kept = catalogs.own.kept.lock();
        kept.get(&(Arc::clone(&server.name), callers.all())).is_some_and(|kept| kept.merged.is_some())
    };
    for (bytes, left) in [(3 * CATALOG_BYTES, [true, true]), (2 * CATALOG_BYTES, [false, true]), (1, [false; 2])] {
        catalogs.keep_callers(MOST, bytes);
        own(&alice);
        tokio::time::advance(Duration::from_millis(1)).await;
        own(&bob);
        catalogs.own.trim(&mut catalogs.own.kept.lock(), &(Arc::clone(&server.name), bob.all()));
        assert_eq!([&alice, &bob].map(merged), left, "{bytes}");
    }
    catalogs.keep_callers(MOST, usize::MAX);
    own(&alice);
    assert!(merged(&alice));
    let gone = lists.lock().take().map(|lists| Arc::downgrade(&lists)).unwrap();
    assert_eq!(gone.strong_count(), 0, "the catalog does not hold it");
    catalogs.renew(&[Arc::clone(&server)], now());
    assert!(!merged(&alice));
}

#[test]
fn what_one_was_shown_is_found_for_that_one_and_its_server_alone() {
    let (server_, catalogs) = (server(), Catalogs::default());
    catalogs.keep_callers(MOST, usize::MAX);
    let [alice, bob] = ["alice", "bob"].map(|token| callers(&server_, token));
    let hers = inventory(&["hers"]);
    let own = catalogs.own(&server_, &alice, vec![(0, Some(Arc::clone(&hers)))]).unwrap();
    assert!(catalogs.shown_to(&server_, alice.all()).is_some_and(|shown| Arc::ptr_eq(&shown, &own)));
    assert!(catalogs.shown_to(&server_, bob.all()).is_none());
    // After a reload members may have other places.
    assert!(catalogs.shown_to(&server(), alice.all()).is_none());
    // What a backend says in her session is told to her.
    let [hers, his] = [&alice, &bob].map(|callers| catalogs.news_of(&server_, Some(callers.all())));
    let before = [hers.versions(), his.versions()];
    catalogs.announced_to(&server_, alice.all());
    assert_eq!(hers.versions().since(before[0]).count(), ANNOUNCED.len());
    assert_eq!(his.versions(), before[1]);
}
