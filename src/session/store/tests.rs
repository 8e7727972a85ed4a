//! The store without a journal, with the time passed in.

use super::*;
use std::time::Duration;

const NOW: UnixMillis = UnixMillis(1_000_000);
const EXPIRES: UnixMillis = UnixMillis(100_000_000);
const HOUR: u64 = 3_600_000;

fn store(sessions: usize) -> Store {
    Store::new(Limits { sessions, ended_sessions: 2, session_idle: Duration::from_millis(HOUR), ..Limits::default() })
}

fn id(n: u8) -> SessionId {
    SessionId([n; 16])
}

fn insert(store: &Store, n: u8, now: UnixMillis) -> Result<Arc<Session>, InsertFault> {
    let record = SessionRecord { id: id(n), expires: EXPIRES, upstream: Vec::new(), before: Before::Nowhere };
    store.insert(record, now, Slot::none()).map(|(session, _)| session)
}

fn live(store: &Store) -> usize {
    store.gauges().live.load(Relaxed)
}

#[test]
fn a_session_is_live_until_it_is_ended_for_good() {
    let store = store(10);
    assert!(matches!(store.get(&id(1), NOW), Standing::Unknown));
    let session = insert(&store, 1, NOW).unwrap();
    assert!(matches!(store.get(&id(1), NOW), Standing::Live(found) if Arc::ptr_eq(&found, &session)));
    assert!(store.end(&id(1), EXPIRES, NOW, Slot::none()).0.is_some());
    assert!(matches!(store.get(&id(1), NOW), Standing::Ended));
    assert!(matches!(insert(&store, 1, NOW), Err(InsertFault::Ended)));
    assert!(store.end(&id(1), EXPIRES, NOW, Slot::none()).0.is_none());
    assert!(session.set_log_level(crate::session::level::LogLevel::Info, Slot::none()).is_err());
    assert_eq!((live(&store), store.gauges().ended.load(Relaxed)), (0, 1));
    store.idle(EXPIRES);
    assert!(matches!(store.get(&id(1), EXPIRES), Standing::Unknown));
}

#[test]
fn what_sessions_leave_is_counted_while_it_is_kept() {
    let store = store(10);
    for n in [1, 2] {
        let session = insert(&store, n, NOW).unwrap();
        session.subscribe("file:///a", &store.limits(), Slot::none()).map(drop).unwrap();
        assert_eq!(store.left_bytes(), 0, "it lives");
    }
    let later = NOW.plus(HOUR);
    assert!(store.forget_if_idle(&id(1), later, Slot::none()).is_some());
    let one = store.left_bytes();
    assert!(store.forget_if_idle(&id(2), later, Slot::none()).is_some());
    assert!(one > "file:///a".len() && store.left_bytes() == 2 * one);
    insert(&store, 1, later).unwrap();
    assert_eq!(store.left_bytes(), one, "it is the session's again");
    store.idle(EXPIRES);
    assert_eq!(store.left_bytes(), 0);
}

#[test]
fn a_session_that_this_node_does_not_know_can_be_ended_too() {
    let store = store(10);
    assert!(store.end(&id(1), EXPIRES, NOW, Slot::none()).0.is_none());
    assert!(matches!(store.get(&id(1), NOW), Standing::Ended));
}

#[test]
fn ends_lost_to_the_bound_are_counted() {
    let store = store(10);
    for n in 0..5 {
        let _ = store.end(&id(n), EXPIRES, NOW, Slot::none());
    }
    assert_eq!(store.gauges().ended.load(Relaxed), 2);
    assert_eq!(store.gauges().ends_lost.load(Relaxed), 3);
}

#[test]
fn the_second_of_two_racing_inserts_learns_of_the_first() {
    let store = store(10);
    let first = insert(&store, 1, NOW).unwrap();
    assert!(matches!(insert(&store, 1, NOW), Err(InsertFault::Exists(found)) if Arc::ptr_eq(&found, &first)));
    assert_eq!(live(&store), 1);
}

#[test]
fn a_full_store_refuses_and_knows_when_searching_may_help() {
    let store = store(2);
    drop((insert(&store, 1, NOW), insert(&store, 2, NOW.plus(5))));
    assert!(matches!(insert(&store, 3, NOW.plus(10)), Err(InsertFault::Full)));
    assert!(store.may_have_idle(NOW.plus(10)));
    assert!(store.idle(NOW.plus(10)).is_empty());
    assert!(!store.may_have_idle(NOW.plus(HOUR - 1)));
    assert!(store.may_have_idle(NOW.plus(HOUR)));
    assert_eq!(store.idle(NOW.plus(HOUR)), [id(1)]);
    assert!(store.forget_if_idle(&id(1), NOW.plus(HOUR), Slot::none()).is_some());
    assert!(matches!(store.get(&id(1), NOW.plus(HOUR)), Standing::Unknown), "its ticket is still good");
    assert!(insert(&store, 3, NOW.plus(HOUR)).is_ok());
}

#[test]
fn a_session_in_use_is_not_idle() {
    let store = store(2);
    let held = insert(&store, 1, NOW).unwrap();
    assert!(store.idle(NOW.plus(5 * HOUR)).is_empty());
    drop(held);
    assert!(store.idle(NOW.plus(6 * HOUR - 1)).is_empty(), "it was in use when it was last looked at");
    assert_eq!(store.idle(NOW.plus(6 * HOUR)), [id(1)]);
    assert!(matches!(store.get(&id(1), NOW.plus(6 * HOUR)), Standing::Live(_)));
    assert!(store.forget_if_idle(&id(1), NOW.plus(6 * HOUR), Slot::none()).is_none(), "used again meanwhile");
}

#[test]
fn a_session_outlives_no_ticket() {
    let store = store(2);
    drop(insert(&store, 1, EXPIRES));
    assert_eq!(store.idle(EXPIRES), [id(1)]);
}

#[test]
fn replay_heeds_limits_and_expiry() {
    let store = store(2);
    for n in 0..4 {
        let record = SessionRecord {
            id: id(n),
            expires: UnixMillis(NOW.0 + u64::from(n)),
            upstream: Vec::new(),
            before: Before::Nowhere,
        };
        store.replay(Change::Opened(record), NOW);
    }
    assert_eq!((live(&store), store.gauges().refused.load(Relaxed)), (2, 1));
    assert!(matches!(store.get(&id(0), NOW), Standing::Unknown), "expired");
}

/// Prints what looking a session up costs: `cargo test --release --lib store -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn the_cost_of_looking_up() {
    let store = Store::new(Limits::default());
    let ids: Vec<_> = (0..100_000).map(|_| SessionId::random().unwrap()).collect();
    for id in &ids {
        let record = SessionRecord { id: *id, expires: EXPIRES, upstream: Vec::new(), before: Before::Nowhere };
        drop(store.insert(record, NOW, Slot::none()));
    }
    let start = std::time::Instant::now();
    for id in ids.iter().cycle().take(1_000_000) {
        drop(store.get(id, NOW));
    }
    println!("get among 100,000: {} ns", start.elapsed().as_nanos() / 1_000_000);
}
