//! Against scripted issuers on real sockets. Time stands still unless a test moves it.

use super::*;
use crate::egress::testing::{Server, allowing_here, answer, here, json};
use crate::egress::{FetchError, Rules, Trust};
use crate::identity::testing::{Text, clock};
use crate::identity::{KeyFault, KeySettings, KeyState, NoKeys};
use lockgate_filters::exchange::UnixMillis;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{advance, timeout};
use url::Url;

const HOUR: Duration = Duration::from_secs(3_600);

struct World {
    identities: Identities<Text>,
    clock: Clock,
}

impl World {
    fn new(rules: Rules) -> World {
        let clock = clock();
        let egress = Arc::new(Egress::looking_up(rules, here()));
        World { identities: Identities::new(egress, Arc::clone(&clock)), clock }
    }

    fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    fn run(&self, settings: Vec<IssuerSettings>) -> Vec<Arc<Issuer<Text>>> {
        let prepared = self.identities.prepare(settings).expect("usable");
        self.identities.commit(&prepared);
        prepared.issuers().to_vec()
    }

    fn keys(&self, issuer: &Issuer<Text>) -> Result<String, NoKeys> {
        issuer.keys(self.now()).map(|believed| believed.keys.0.clone())
    }
}

fn settings(server: &Server, from: KeysFrom) -> IssuerSettings {
    let trust = Trust { ca: Some(server.ca.clone()), identity: None };
    let issuer = server.url("https", "idp.example", "/a");
    let keys = KeySettings { issuer: issuer.as_str().into(), from, refresh: HOUR / 4, max_stale: HOUR * 24, trust };
    IssuerSettings { name: "corp".into(), keys, introspection: None }
}

fn at_url(server: &Server) -> IssuerSettings {
    settings(server, KeysFrom::Url(server.url("https", "idp.example", "/keys")))
}

/// Waits until so many fetches have ended.
async fn ended<K>(issuer: &Issuer<K>, number: u64) {
    let mut progress = issuer.progress.subscribe();
    let done = progress.wait_for(|progress| progress.ended >= number);
    timeout(Duration::from_secs(20), done).await.expect("in time").expect("alive");
}

/// A server whose keys are these texts, one after the other, the last one for ever; and how often it was asked.
async fn serving(texts: &'static [&'static str]) -> (Server, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = Server::tls(move |_| {
        let at = counted.fetch_add(1, Ordering::SeqCst).min(texts.len() - 1);
        match texts[at] {
            "down" => answer("503 Service Unavailable", "", ""),
            text => answer("200 OK", "", text),
        }
    })
    .await;
    (server, asked)
}

#[tokio::test]
async fn keys_are_fetched_and_published() {
    let (server, _) = serving(&["keys:1"]).await;
    let world = World::new(Rules::default());
    let issuer = world.run(vec![at_url(&server)]).remove(0);
    ended(&issuer, 1).await;
    let believed = issuer.keys(world.now()).unwrap();
    assert_eq!((believed.keys.0.as_str(), believed.generation), ("1", 2));
    assert!(issuer.is_current(2) && !issuer.is_current(1));
    assert_eq!(issuer.report(world.now()).state, KeyState::Fresh);
    assert!(believed.until.is_some_and(|until| until > world.now()));
}

#[tokio::test]
async fn discovery_asks_both_places_and_believes_the_right_issuer_only() {
    let server = Server::tls(|request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
        let document =
            |issuer: &str| json(&format!(r#"{{"issuer":"https://{host}{issuer}","jwks_uri":"https://{host}/keys"}}"#));
        match path {
            "/.well-known/oauth-authorization-server/a" => answer("404 Not Found", "", ""),
            "/a/.well-known/openid-configuration" => document("/a"),
            "/.well-known/oauth-authorization-server/b" => document("/evil"),
            "/keys" => answer("200 OK", "", "keys:found"),
            _ => answer("404 Not Found", "", ""),
        }
    })
    .await;
    let of = |path: &str| {
        let url = server.url("https", "idp.example", path);
        let mut settings = settings(&server, KeysFrom::Discovery(url.clone()));
        settings.keys.issuer = url.as_str().into();
        settings.name = path.trim_start_matches('/').into();
        settings
    };
    let world = World::new(Rules::default());
    let issuers = world.run(vec![of("/a"), of("/b"), of("/c")]);
    for issuer in &issuers {
        ended(issuer, 1).await;
    }
    assert_eq!(world.keys(&issuers[0]).as_deref(), Ok("found"), "the operator's own origin may be anywhere");
    assert_eq!(world.keys(&issuers[1]), Err(NoKeys::Pending));
    let fault = |issuer: &Issuer<Text>| issuer.report(world.now()).fault.map(|fault| (*fault).clone());
    let other = KeyFault::Discovery(super::super::DiscoveryFault::OtherIssuer);
    assert_eq!(fault(&issuers[1]), Some(other), "more than that the other place does not exist");
    assert!(matches!(fault(&issuers[2]), Some(KeyFault::Fetch(FetchError::Status(_)))));
}

#[tokio::test]
async fn ssrf_metadata_leads_to_public_places_only() {
    let server = Server::tls(|request| {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
        if request.contains("well-known") {
            let port = host.rsplit(':').next().unwrap_or_default();
            json(&format!(r#"{{"issuer":"https://{host}/a","jwks_uri":"https://other.example:{port}/keys"}}"#))
        } else {
            answer("200 OK", "", "keys:elsewhere")
        }
    })
    .await;
    let discovered = || settings(&server, KeysFrom::Discovery(server.url("https", "idp.example", "/a")));
    let world = World::new(Rules::default());
    let issuer = world.run(vec![discovered()]).remove(0);
    ended(&issuer, 1).await;
    let fault = issuer.report(world.now()).fault.expect("refused");
    assert_eq!(fault.label(), "blocked", "{fault}");
    let world = World::new(allowing_here());
    let issuer = world.run(vec![discovered()]).remove(0);
    ended(&issuer, 1).await;
    assert_eq!(world.keys(&issuer).as_deref(), Ok("elsewhere"));
}

#[tokio::test]
async fn unknown_keys_are_looked_for_once_in_ten_seconds_and_for_all_at_once() {
    let (server, asked) = serving(&["keys:1", "keys:2", "keys:3"]).await;
    let world = World::new(Rules::default());
    let issuer = world.run(vec![at_url(&server)]).remove(0);
    ended(&issuer, 1).await;
    assert!(!issuer.look_again().await, "it was fetched just now");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    tokio::time::pause();
    advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    let (one, two, three) = tokio::join!(issuer.look_again(), issuer.look_again(), issuer.look_again());
    assert!(one && two && three, "one fetch serves all");
    assert_eq!(world.keys(&issuer).as_deref(), Ok("2"));
    assert_eq!(issuer.keys(world.now()).unwrap().generation, 3, "other keys, another number");
    assert!(!issuer.look_again().await);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let report = issuer.report(world.now());
    assert_eq!((report.fetched, report.looked, report.held_back), (2, 3, 2));
}

#[tokio::test]
async fn stale_keys_are_believed_for_a_while_and_then_refused() {
    let (server, _) = serving(&["keys:1", "down"]).await;
    let world = World::new(Rules::default());
    let issuer = world.run(vec![at_url(&server)]).remove(0);
    ended(&issuer, 1).await;
    tokio::time::pause();
    advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    assert!(issuer.look_again().await, "it was asked, in vain");
    let until = issuer.keys(world.now()).unwrap().until.expect("a bound");
    assert_eq!(issuer.report(world.now()).state, KeyState::Aging);
    assert_eq!(issuer.keys(world.now()).unwrap().generation, 2, "the same keys");
    assert!(issuer.keys(UnixMillis(until.0 - 1)).is_ok());
    assert_eq!(issuer.keys(until).map(|_| ()), Err(NoKeys::Stale));
    assert_eq!(issuer.report(until).state, KeyState::Missing(NoKeys::Stale));
}

#[tokio::test]
async fn keys_are_fetched_again_after_the_interval_and_soon_after_a_failure() {
    let (server, asked) = serving(&["down", "nonsense", "keys:1", "keys:1"]).await;
    let world = World::new(Rules::default());
    let issuer = world.run(vec![at_url(&server)]).remove(0);
    for (number, most) in [(1, 0), (2, 2), (3, 3), (4, 1_000)] {
        tokio::time::pause();
        advance(Duration::from_secs(most)).await;
        tokio::time::resume();
        ended(&issuer, number).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    let report = issuer.report(world.now());
    assert_eq!((report.fetched, report.failed, report.generation), (2, 2, 2), "equal keys are no change");
}

#[tokio::test]
async fn an_unchanged_issuer_survives_a_reload_and_a_removed_one_ends_at_once() {
    let (server, asked) = serving(&["keys:1"]).await;
    let world = World::new(Rules::default());
    let mut changes = world.identities.changes();
    let first = world.run(vec![at_url(&server)]).remove(0);
    ended(&first, 1).await;
    assert!(changes.has_changed().unwrap());
    let again = world.run(vec![at_url(&server)]).remove(0);
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "nothing was fetched for it");
    let mut slower = at_url(&server);
    slower.keys.refresh = HOUR;
    let slower = world.run(vec![slower]).remove(0);
    assert_eq!(first.keys(world.now()).map(|_| ()), Err(NoKeys::Ended));
    assert_eq!(world.keys(&slower).as_deref(), Ok("1"), "keys from the same place go on being believed");
    assert!(slower.keys(world.now()).unwrap().generation > 2 && !first.is_current(2));
    let mut elsewhere = at_url(&server);
    elsewhere.keys.from = KeysFrom::Url(server.url("https", "idp.example", "/other"));
    let prepared = world.identities.prepare(vec![elsewhere]).unwrap();
    assert_eq!(world.keys(&slower).as_deref(), Ok("1"), "what is prepared changes nothing");
    assert_eq!(world.keys(prepared.issuer("corp").unwrap()), Err(NoKeys::Pending), "keys from another place are not");
    changes.mark_unchanged();
    world.run(Vec::new());
    assert_eq!(slower.keys(world.now()).map(|_| ()), Err(NoKeys::Ended));
    assert!(changes.has_changed().unwrap() && world.identities.running().is_empty());
    assert!(!slower.look_again().await);
}

#[tokio::test]
async fn given_keys_need_nobody() {
    let (server, asked) = serving(&["down"]).await;
    let world = World::new(Rules::default());
    let given = |text: &'static str| settings(&server, KeysFrom::Given(text.into()));
    let issuer = world.run(vec![given("keys:here")]).remove(0);
    assert_eq!(world.keys(&issuer).as_deref(), Ok("here"));
    assert_eq!(issuer.keys(UnixMillis(u64::MAX)).unwrap().until, None);
    assert!(!issuer.look_again().await);
    let other = world.run(vec![given("keys:other")]).remove(0);
    assert_eq!(world.keys(&other).as_deref(), Ok("other"));
    assert_eq!(issuer.keys(world.now()).map(|_| ()), Err(NoKeys::Ended));
    let unusable = world.identities.prepare(vec![given("nonsense")]).map(|_| ()).unwrap_err();
    assert_eq!(unusable[0].reason, UnusableReason::Keys("no keys".to_owned()));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_issuer_that_nobody_can_be_trusted_for_is_unusable() {
    let world = World::new(Rules::default());
    let url = Url::parse("https://idp.example/keys").unwrap();
    let trust = Trust { ca: Some("nonsense".into()), identity: None };
    let keys = KeySettings {
        issuer: "https://idp.example".into(),
        from: KeysFrom::Url(url),
        refresh: HOUR,
        max_stale: HOUR,
        trust,
    };
    let settings = IssuerSettings { name: "corp".into(), keys, introspection: None };
    let unusable = world.identities.prepare(vec![settings]).map(|_| ()).unwrap_err();
    assert_eq!((&*unusable[0].name, &unusable[0].reason), ("corp", &UnusableReason::Trust(TrustError::Ca)));
}
