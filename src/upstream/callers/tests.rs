//! Against a scripted backend on a real socket that shows each caller another tool.

use super::*;
use crate::upstream::Registry;
use crate::upstream::settings::{BackendSettings, Protocol, StockSettings};
use crate::upstream::testing::{self, PATIENT, Received, answer, backend_at, serve_mcp};
use http::HeaderName;
use lockgate_filters::backend::Facts;
use lockgate_filters::federate::policy::Member;
use lockgate_filters::federate::{Callers, Failure, Federation, Kind, Policy};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;

const TOKEN: HeaderName = HeaderName::from_static("x-token");

/// Shows whoever calls a tool with the name of the token; `lists` counts what those who have one asked.
async fn backend(lists: Arc<AtomicUsize>) -> SocketAddr {
    serve_mcp(move |request: &Received| {
        let token = request.field("x-token").unwrap_or("nobody");
        let result = match (request.method().as_str(), token) {
            (_, wrong) if wrong.starts_with("wrong") => return answer("401 Unauthorized", "", ""),
            ("server/discover", _) => {
                json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "ttlMs": 60_000, "cacheScope": "public"})
            }
            _ => {
                lists.fetch_add(usize::from(token != "nobody"), Ordering::SeqCst);
                json!({"tools": [{"name": token}], "ttlMs": 0, "cacheScope": "private"})
            }
        };
        request.result(result)
    })
    .await
}

fn started(address: SocketAddr, callers: CallerLimits) -> (Registry, Arc<LiveBackend>) {
    testing::started(BackendSettings {
        protocol: Protocol::Modern,
        forward_headers: vec![TOKEN],
        stock: StockSettings { varies: true, callers, ..StockSettings::default() },
        stocked: true,
        ..backend_at("demo", format!("http://{address}/mcp"))
    })
}

/// The fields of a caller, and what it is known by.
fn caller(token: &str) -> (HeaderMap, Audience) {
    let mut headers = HeaderMap::new();
    headers.insert(TOKEN, token.parse().expect("a value"));
    let member = Member { identity: Box::new([TOKEN]), ..Member::new("demo") };
    let policy = Policy { members: Box::new([member]), ..Policy::default() };
    let federation = Federation::new(policy, Failure::Partial, 0);
    let backend = Arc::new(lockgate_filters::backend::Backend::new("demo", Facts::default()));
    let audience = Callers::of(&headers, &federation, &[backend]).expect("somebody").all();
    (headers, audience)
}

/// What is known of a caller.
fn slot(live: &LiveBackend, token: &str) -> Arc<Slot> {
    live.watched().callers.slot((live.watched().number, caller(token).1))
}

async fn tool(live: &LiveBackend, token: &str) -> Option<String> {
    let (headers, audience) = caller(token);
    let known = live.inventory_of(audience, &headers, PATIENT).await.ok()?;
    Some(known.list(Kind::Tools).items[0].name.to_string())
}

#[tokio::test]
async fn each_caller_has_its_own_lists_and_they_are_read_once() {
    let lists = Arc::new(AtomicUsize::new(0));
    let (_registry, live) = started(backend(lists.clone()).await, CallerLimits::default());
    live.ensure_inventory(PATIENT).await;
    let shared = live.backend.facts().inventory.clone().expect("what everybody sees");
    assert_eq!(&*shared.list(Kind::Tools).items[0].name, "nobody");
    let (first, second) = tokio::join!(tool(&live, "alice"), tool(&live, "alice"));
    assert_eq!((first.as_deref(), second.as_deref()), (Some("alice"), Some("alice")));
    assert_eq!(tool(&live, "bob").await.as_deref(), Some("bob"));
    assert_eq!(tool(&live, "alice").await.as_deref(), Some("alice"), "at least for a minute, whatever it says");
    assert_eq!(lists.load(Ordering::SeqCst), 2);
    let same = live.backend.facts().inventory.clone().expect("what everybody sees");
    assert!(Arc::ptr_eq(&shared, &same), "nobody else is shown it");
    assert!(live.caller_bytes() >= 2 * LEAST_BYTES);
}

#[tokio::test]
async fn a_caller_that_is_refused_keeps_nobody_waiting_and_takes_nothing_from_others() {
    let (_registry, live) = started(backend(Arc::default()).await, CallerLimits::default());
    live.ensure_inventory(PATIENT).await;
    assert_eq!(tool(&live, "wrong").await, None);
    assert_eq!(tool(&live, "wrong").await, None);
    assert_eq!(tool(&live, "alice").await.as_deref(), Some("alice"));
    assert!(live.backend.facts().lost.is_none());
}

#[tokio::test]
async fn what_a_backend_says_has_changed_is_read_again() {
    let lists = Arc::new(AtomicUsize::new(0));
    let (_registry, live) = started(backend(lists.clone()).await, CallerLimits::default());
    live.ensure_inventory(PATIENT).await;
    tool(&live, "alice").await;
    let before = lists.load(Ordering::SeqCst);
    slot(&live, "alice").state.lock().read -= SPACING;
    live.backend.change();
    assert_eq!(tool(&live, "alice").await.as_deref(), Some("alice"));
    assert_eq!(lists.load(Ordering::SeqCst), before + 1);
}

#[tokio::test]
async fn those_are_forgotten_who_have_not_called_for_longest() {
    for limits in
        [CallerLimits { callers: 2, bytes: 1 << 20 }, CallerLimits { callers: 64, bytes: 2 * (3 * LEAST_BYTES - 1) }]
    {
        let lists = Arc::new(AtomicUsize::new(0));
        let (registry, live) = started(backend(lists.clone()).await, limits);
        live.ensure_inventory(PATIENT).await;
        for token in ["alice", "bob", "alice", "carol", "alice"] {
            assert_eq!(tool(&live, token).await.as_deref(), Some(token));
        }
        assert_eq!(lists.load(Ordering::SeqCst), 3, "alice was never forgotten");
        assert_eq!(registry.caller_count(), 2, "{limits:?}");
        assert_eq!(tool(&live, "bob").await.as_deref(), Some("bob"), "who was, is read again");
        assert_eq!(lists.load(Ordering::SeqCst), 4);
    }
}

/// The lists of this caller are no longer fresh.
fn expire(live: &LiveBackend, token: &str) {
    slot(live, token).state.lock().until = Instant::now();
}

#[tokio::test]
async fn those_who_are_refused_take_no_room_from_others() {
    let lists = Arc::new(AtomicUsize::new(0));
    let limits = CallerLimits { callers: 1, bytes: 1 << 20 };
    let (registry, live) = started(backend(lists.clone()).await, limits);
    live.ensure_inventory(PATIENT).await;
    assert_eq!(tool(&live, "alice").await.as_deref(), Some("alice"));
    for number in 0..UNKNOWN + 10 {
        assert_eq!(tool(&live, &format!("wrong{number}")).await, None);
    }
    assert_eq!(tool(&live, "alice").await.as_deref(), Some("alice"));
    assert_eq!((lists.load(Ordering::SeqCst), registry.caller_count()), (1, 1));
    assert!(live.watched().callers.tables.lock().unknown.len() <= UNKNOWN);
}

#[tokio::test]
async fn who_does_not_come_to_its_turn_is_told_so_and_waits_no_longer_than_somebody_does() {
    let (_registry, live) = started(backend(Arc::default()).await, CallerLimits::default());
    live.ensure_inventory(PATIENT).await;
    assert_eq!(tool(&live, "alice").await.as_deref(), Some("alice"));
    let watched = live.watched();
    let free = READINGS + WAITING;
    let turns = watched.readings.turns.acquire_many(READINGS as u32).await.unwrap();
    let (headers, bob) = caller("bob");
    let waited = live.inventory_of(bob, &headers, Duration::from_millis(1)).await;
    assert_eq!(waited.err(), Some(Unread::Overloaded));
    while watched.readings.places.available_permits() < free {
        tokio::task::yield_now().await;
    }
    let places = watched.readings.places.try_acquire_many(free as u32).unwrap();
    let refused = live.inventory_of(bob, &headers, PATIENT).await;
    assert_eq!(refused.err(), Some(Unread::Overloaded), "at once");
    // Who was read before is told what was known then.
    expire(&live, "alice");
    assert_eq!(tool(&live, "alice").await.as_deref(), Some("alice"));
    drop((places, turns));
    assert_eq!(tool(&live, "bob").await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn what_was_known_is_told_while_it_is_read_again() {
    let lists = Arc::new(AtomicUsize::new(0));
    let (_registry, live) = started(backend(lists.clone()).await, CallerLimits::default());
    live.ensure_inventory(PATIENT).await;
    assert_eq!(tool(&live, "alice").await.as_deref(), Some("alice"));
    let turns = live.watched().readings.turns.acquire_many(READINGS as u32).await.unwrap();
    expire(&live, "alice");
    assert_eq!(tool(&live, "alice").await.as_deref(), Some("alice"), "though nothing can be read now");
    assert_eq!(lists.load(Ordering::SeqCst), 1);
    let mut ended = slot(&live, "alice").ended.subscribe();
    drop(turns);
    timeout(PATIENT, ended.changed()).await.expect("it is read again").unwrap();
    assert_eq!(lists.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_doubted_for_one_is_read_again_for_that_one_alone() {
    let lists = Arc::new(AtomicUsize::new(0));
    let (_registry, live) = started(backend(lists.clone()).await, CallerLimits::default());
    live.ensure_inventory(PATIENT).await;
    for token in ["alice", "bob"] {
        tool(&live, token).await;
    }
    live.look_again_for(caller("alice").1);
    for token in ["alice", "bob"] {
        assert_eq!(tool(&live, token).await.as_deref(), Some(token));
    }
    assert_eq!(lists.load(Ordering::SeqCst), 2, "they were read just now");
    tokio::time::sleep(SPACING).await;
    for token in ["alice", "bob", "alice"] {
        assert_eq!(tool(&live, token).await.as_deref(), Some(token));
    }
    assert_eq!(lists.load(Ordering::SeqCst), 3, "once, and for alice");
    assert_eq!(live.backend.changes(), 0, "nobody else is told");
}

#[tokio::test]
async fn what_a_callers_tools_mirror_is_kept_with_its_lists() {
    let (_registry, live) = started(backend(Arc::default()).await, CallerLimits::default());
    live.ensure_inventory(PATIENT).await;
    let (headers, audience) = caller("alice");
    let known = live.inventory_of(audience, &headers, PATIENT).await.expect("her lists");
    let params = known.params.clone().expect("what her tools mirror");
    assert!(params.headers("alice", None).is_some() && params.headers("nobody", None).is_none());
    assert!(live.backend.facts().inventory.as_ref().is_some_and(|known| known.params.is_none()));
}
