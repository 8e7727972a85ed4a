//! One session by itself, without a store or a journal.

use super::*;
use crate::session::limits::Limits;
use crate::session::upstream_session::UpstreamId;
use lockgate_filters::revision::Revision;
use std::time::Duration;
use tokio::time::timeout;

fn session() -> Session {
    let record =
        SessionRecord { id: SessionId([1; 16]), expires: UnixMillis(9), upstream: Vec::new(), before: Before::Nowhere };
    Session::new(record, Left::default(), UnixMillis(0))
}

#[test]
fn subscriptions_are_bounded_in_number_and_size() {
    let session = session();
    let limits = Limits { subscriptions: 3, subscription_bytes: 20, ..Limits::default() };
    let subscribe = |uri: &str| session.subscribe(uri, &limits, Slot::none()).map(drop);
    assert_eq!(subscribe("0123456789"), Ok(()));
    assert_eq!(subscribe("0123456789"), Ok(()), "twice is once");
    assert_eq!(subscribe("0123456789x"), Err(SubscribeFault::TooMany));
    assert_eq!((subscribe("a"), subscribe("b")), (Ok(()), Ok(())));
    assert_eq!(subscribe("c"), Err(SubscribeFault::TooMany));
    assert_eq!(subscribe(&"x".repeat(URI_BYTES_MAX + 1)), Err(SubscribeFault::UriTooLong));
    session.unsubscribe("0123456789", Slot::none()).map(drop).unwrap();
    session.unsubscribe("never there", Slot::none()).map(drop).unwrap();
    assert_eq!(subscribe("0123456789012345"), Ok(()));
    assert_eq!(session.subscriptions(), ["0123456789012345".into(), "a".into(), Box::<str>::from("b")]);
}

#[test]
fn what_backends_call_subscriptions_is_bounded_with_them() {
    let session = session();
    let limits = Limits { subscription_bytes: 20, ..Limits::default() };
    let subscribe = |uri: &str| session.subscribe(uri, &limits, Slot::none()).map(drop);
    let belongs = |uri: &str, original: &str| {
        session.belongs(uri, Whose { backend: "one".into(), original: original.into() }, &limits);
        session.subscribed_as("one", original).is_some()
    };
    assert_eq!(subscribe("one+12345"), Ok(()));
    assert!(belongs("one+12345", "12345") && belongs("one+12345", "54321"), "another one takes its place");
    assert_eq!(subscribe("one+abc"), Err(SubscribeFault::TooMany), "14 bytes are held");
    assert_eq!(subscribe("123456"), Ok(()));
    assert!(!belongs("123456", "x") && !belongs("one+12345", "123456"));
    assert_eq!(session.subscribed_as("one", "54321").as_deref(), Some("one+12345"), "what was known stays");
    session.unsubscribe("one+12345", Slot::none()).map(drop).unwrap();
    assert!(belongs("123456", "12345678901234") && !belongs("123456", "123456789012345"));
}

#[tokio::test(start_paused = true)]
async fn who_waits_to_be_heard_waits_for_the_stream_of_what_is_open() {
    let session = Arc::new(session());
    let demo: Arc<str> = "demo".into();
    let open = |text: &str| {
        let upstream = UpstreamSession { id: UpstreamId::new(text.as_bytes()), revision: Revision::V2025_11_25 };
        session.bind(&demo, upstream, Slot::none()).map(drop).unwrap();
    };
    let settled = |text: &str| session.stream_is_settled(&demo, UpstreamId::new(text.as_bytes()).as_ref());
    open("old");
    session.stream_settles("demo").await;
    let listening = (session.listen(), session.listen());
    session.stream_settles("other").await;
    settled("old");
    session.stream_settles("demo").await;
    open("new");
    let waits = session.stream_settles("demo");
    tokio::pin!(waits);
    let a_while = Duration::from_secs(1);
    assert!(timeout(a_while, &mut waits).await.is_err(), "the stream is that of another session");
    settled("new");
    waits.await;
    open("newer");
    let waits = session.stream_settles("demo");
    tokio::pin!(waits);
    drop(listening.0);
    assert!(timeout(a_while, &mut waits).await.is_err(), "somebody listens");
    drop(listening.1);
    waits.await;
    settled("newer");
    let _first = session.listen();
    assert!(!settled("newer"));
    session.give_up_stream(&demo);
    session.stream_settles("demo").await;
    assert!(settled("newer") && !settled("newer"), "who had given it up may have missed something, once");
    let _listening = session.listen();
    assert!(timeout(a_while, session.stream_settles("demo")).await.is_err(), "nobody listened then");
}

#[test]
fn a_backend_gives_one_upstream_session_at_a_time() {
    let session = session();
    let (demo, other): (Arc<str>, Arc<str>) = ("demo".into(), "other".into());
    for text in ["old", "new"] {
        let upstream = UpstreamSession { id: UpstreamId::new(text.as_bytes()), revision: Revision::V2025_11_25 };
        session.bind(&demo, upstream, Slot::none()).map(drop).unwrap();
    }
    assert_eq!(session.upstream("demo").unwrap().id, UpstreamId::new(b"new"));
    assert_eq!(session.upstream("other"), None);
    let stateless = UpstreamSession { id: None, revision: Revision::V2025_03_26 };
    session.bind(&other, stateless, Slot::none()).map(drop).unwrap();
    assert_eq!(session.upstreams().len(), 2);
}

#[test]
fn only_so_many_backends_are_remembered() {
    let session = session();
    let mut displaced = Vec::new();
    for number in 0..=BACKENDS_MAX {
        let id = UpstreamId::new(format!("s-{number}").as_bytes());
        let upstream = UpstreamSession { id, revision: Revision::V2025_11_25 };
        displaced.extend(session.bind(&format!("backend-{number}").into(), upstream, Slot::none()).unwrap().1);
    }
    assert_eq!(session.upstreams().len(), BACKENDS_MAX);
    let displaced: Vec<_> = displaced.into_iter().map(|(place, upstream)| (place, upstream.id)).collect();
    assert_eq!(displaced, [("backend-0".into(), UpstreamId::new(b"s-0"))], "it is not forgotten: somebody must end it");
    assert!(session.upstream("backend-0").is_none() && session.upstream("backend-1").is_some());
}

#[test]
fn lost_announcements_are_told_once() {
    let session = session();
    let lists = Lists::declared(br#"{"tools":{"listChanged":true}}"#);
    session.announces(lists);
    assert_eq!(session.take_unheard(), Lists::default());
    session.renew("demo", Loss::Nothing);
    assert!(!session.was_renewed());
    session.renew("demo", Loss::There);
    assert!(session.was_renewed());
    assert_eq!(session.take_unheard(), lists);
    assert_eq!(session.take_unheard(), Lists::default());
}

#[tokio::test]
async fn one_request_at_a_time_opens_a_session_at_a_backend() {
    let session = session();
    let (demo, other): (Arc<str>, Arc<str>) = ("demo".into(), "other".into());
    let turn = session.turn(&demo);
    let held = turn.lock().await;
    assert!(session.turn(&demo).try_lock().is_err());
    assert!(session.turn(&other).try_lock().is_ok(), "a slow backend keeps nobody from another one");
    drop(held);
    assert!(session.turn(&demo).try_lock().is_ok());
}

#[tokio::test]
async fn whoever_waits_for_the_end_hears_of_it() {
    let session = session();
    tokio::join!(session.ended(), async { session.retire() });
    session.ended().await;
}

#[test]
fn nothing_changes_a_session_that_is_gone() {
    let session = session();
    session.retire();
    assert_eq!(session.set_log_level(LogLevel::Info, Slot::none()).map(drop), Err(Gone));
    assert_eq!(session.unsubscribe("a", Slot::none()).map(drop), Err(Gone));
    let subscribed = session.subscribe("a", &Limits::default(), Slot::none()).map(drop);
    assert_eq!(subscribed, Err(SubscribeFault::Gone));
    session.changes(&mut |change| panic!("{change:?}"));
}
