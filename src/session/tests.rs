use super::before::Before;
use super::journal::{JournalFault, SessionRecord};
use super::level::LogLevel;
use super::limits::Limits;
use super::store::{InsertFault, Standing};
use super::streams::{StreamKind, Told};
use super::upstream_session::{UpstreamId, UpstreamSession};
use super::*;
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::revision::Revision;
use lockgate_filters::ticket::{ClientCapabilities, ClientText, PrincipalDigest, SessionId, Ticket};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const NOW: UnixMillis = UnixMillis(1_000_000);
const EXPIRES: UnixMillis = UnixMillis(u64::MAX);
const KILLED: &str = "LOCKGATE_TEST_KILLED_STATE";

fn options(state_dir: &Path) -> Options<'_> {
    Options { state_dir: Some(state_dir), keys_configured: false, ephemeral: false, limits: Limits::default() }
}

fn record(id: SessionId) -> SessionRecord {
    let upstream = UpstreamSession { id: UpstreamId::new(b"upstream-1"), revision: Revision::V2025_11_25 };
    SessionRecord { id, expires: EXPIRES, upstream: vec![("demo".into(), upstream)], before: Before::Nowhere }
}

fn ticket(opened: &Opened) -> Ticket {
    Ticket {
        id: SessionId([1; 16]),
        principal: PrincipalDigest::ANONYMOUS,
        revision: Revision::V2025_11_25,
        client_name: ClientText::new("test"),
        client_version: ClientText::new("1"),
        capabilities: ClientCapabilities::NONE,
        issued: NOW,
        expires: EXPIRES,
        node: opened.node,
    }
}

async fn insert(sessions: &Sessions, id: SessionId) -> Arc<live::Session> {
    sessions.insert(record(id), NOW).await.0.unwrap()
}

fn dump(sessions: &Sessions) -> Vec<String> {
    let mut changes = Vec::new();
    sessions.store().changes(&mut |change| changes.push(format!("{change:?}")));
    changes.sort();
    changes
}

/// The state directory as a process killed now would leave it.
fn as_if_killed(state: &Path, to: &Path) -> PathBuf {
    let copy = to.join("copy");
    state_dir::StateDir::open(&copy).unwrap();
    for entry in fs::read_dir(state).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    copy
}

/// A process that comes back must not try the session that a backend is known to have lost.
#[tokio::test]
async fn what_was_lost_is_not_back_after_the_process() {
    let base = tempfile::tempdir().unwrap();
    let first = open(&options(&base.path().join("s")), NOW).unwrap();
    let id = SessionId([1; 16]);
    let session = insert(&first.sessions, id).await;
    let other = UpstreamSession { id: UpstreamId::new(b"upstream-2"), revision: Revision::V2025_11_25 };
    first.sessions.bind(&session, &"other".into(), other, Loss::Nothing).await.unwrap();
    first.sessions.leave(&session, &"demo".into()).await.unwrap();
    assert!(session.upstream("demo").is_none() && session.upstream("other").is_some());
    let copy = as_if_killed(&base.path().join("s"), base.path());
    let second = open(&options(&copy), NOW).unwrap();
    let Standing::Live(session) = second.sessions.get(&id, NOW) else { panic!("the session is gone") };
    assert!(session.upstream("demo").is_none() && session.upstream("other").is_some());
}

/// What a client has yet to hear of is still to be said after the process, and what it has heard is not, also in a journal that
/// was written anew.
#[tokio::test]
async fn what_is_to_be_told_is_told_by_the_next_process() {
    let base = tempfile::tempdir().unwrap();
    let (demo, other, third): (Arc<str>, Arc<str>, Arc<str>) = ("demo".into(), "other".into(), "third".into());
    let first = open(&options(&base.path().join("s")), NOW).unwrap();
    let id = SessionId([1; 16]);
    let session = insert(&first.sessions, id).await;
    first.sessions.to_be_marked(&session, &demo).await;
    first.sessions.to_be_marked(&session, &other).await;
    first.sessions.lost_unheard(&session, &other).await;
    first.sessions.lost_unheard(&session, &third).await;
    first.sessions.was_marked(&session, &demo);
    first.sessions.told_anew(&session, &third).await;
    let due = |session: &NodeSession| {
        [&demo, &other, &third].map(|place| (session.is_to_be_marked(place), session.begins_anew(place)))
    };
    let expected = [(false, false), (true, true), (false, false)];
    assert_eq!(due(&session), expected);
    let copy = as_if_killed(&base.path().join("s"), base.path());
    for _ in 0..2 {
        let next = open(&options(&copy), NOW).unwrap();
        let Standing::Live(session) = next.sessions.get(&id, NOW) else { panic!("the session is gone") };
        assert_eq!(due(&session), expected);
        // Enough that the journal is written anew.
        let long = "x".repeat(8000);
        for _ in 0..100 {
            next.sessions.subscribe(&session, &long).await.unwrap();
            next.sessions.unsubscribe(&session, &long).await.unwrap();
        }
        assert!(next.sessions.journal().unwrap().gauges().rewrites.load(Relaxed) > 0);
        next.sessions.close().await;
    }
}

#[tokio::test]
async fn what_was_answered_survives_the_process() {
    let base = tempfile::tempdir().unwrap();
    let first = open(&options(&base.path().join("s")), NOW).unwrap();
    let text = ticket(&first).seal(&first.secrets.keyring(&[]).unwrap(), "default").unwrap();
    let id = SessionId([1; 16]);
    let session = insert(&first.sessions, id).await;
    let other = UpstreamSession { id: None, revision: Revision::V2025_03_26 };
    first.sessions.bind(&session, &"other".into(), other.clone(), Loss::Everything).await.unwrap();
    first.sessions.set_log_level(&session, LogLevel::Warning).await.unwrap();
    for uri in ["test://a", "test://b"] {
        first.sessions.subscribe(&session, uri).await.unwrap();
    }
    first.sessions.unsubscribe(&session, "test://a").await.unwrap();
    insert(&first.sessions, SessionId([2; 16])).await;
    first.sessions.end(&SessionId([2; 16]), EXPIRES, NOW).await.unwrap();

    let second = open(&options(&as_if_killed(&base.path().join("s"), base.path())), NOW).unwrap();
    let ticket = Ticket::open(&second.secrets.keyring(&[]).unwrap(), "default", &text, NOW).unwrap();
    assert_eq!(ticket.node, second.node);
    let Standing::Live(session) = second.sessions.get(&ticket.id, NOW) else { panic!("not live") };
    assert_eq!(session.upstream("demo").unwrap().id, UpstreamId::new(b"upstream-1"));
    assert_eq!(session.upstream("other"), Some(other));
    assert_eq!(session.log_level(), Some(LogLevel::Warning));
    assert_eq!(session.subscriptions(), [Box::<str>::from("test://b")]);
    assert!(matches!(second.sessions.get(&SessionId([2; 16]), NOW), Standing::Ended));
    assert_eq!(dump(&first.sessions), dump(&second.sessions));
}

#[tokio::test]
async fn the_journal_has_the_order_that_memory_had() {
    let base = tempfile::tempdir().unwrap();
    let first = Arc::new(open(&options(&base.path().join("s")), NOW).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8u8 {
        let first = first.clone();
        tasks.spawn(async move {
            for round in 0..60u8 {
                let id = SessionId([round % 3; 16]);
                match first.sessions.get(&id, NOW) {
                    Standing::Live(session) => {
                        let level = LogLevel::ALL[usize::from((task + round) % 8)];
                        let _ = first.sessions.set_log_level(&session, level).await;
                        let uri = format!("test://{}", (task ^ round) % 5);
                        let _ = if round % 2 == 0 {
                            first.sessions.subscribe(&session, &uri).await.is_ok()
                        } else {
                            first.sessions.unsubscribe(&session, &uri).await.is_ok()
                        };
                    }
                    _ => drop(first.sessions.insert(record(id), NOW).await),
                }
                if (task, round) == (3, 40) {
                    first.sessions.end(&SessionId([0; 16]), EXPIRES, NOW).await;
                }
            }
        });
    }
    tasks.join_all().await;
    let second = open(&options(&as_if_killed(&base.path().join("s"), base.path())), NOW).unwrap();
    assert_eq!(dump(&first.sessions), dump(&second.sessions));
}

/// Run by the next test in a process of its own: takes sessions in and says so, until it is killed.
#[tokio::test]
#[ignore = "only as the child of another test"]
async fn a_process_that_will_be_killed() {
    let Some(state) = std::env::var_os(KILLED) else { return };
    let opened = open(&options(Path::new(&state)), NOW).unwrap();
    let mut out = std::io::stdout().lock();
    for round in 0.. {
        let id = SessionId::random().unwrap();
        insert(&opened.sessions, id).await;
        writeln!(out, "live {id}").unwrap();
        if round % 3 == 0 {
            opened.sessions.end(&id, EXPIRES, NOW).await;
            writeln!(out, "ended {id}").unwrap();
        }
        out.flush().unwrap();
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_answered() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("s");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["session::tests::a_process_that_will_be_killed", "--exact", "--ignored", "--nocapture"])
        .env(KILLED, &state)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = HashMap::new();
    let mut last = None;
    while said.len() < 300
        && let Some(Ok(line)) = lines.next()
    {
        if let Some((word, id)) = line.split_once(' ')
            && let Some(id) = keys::hex(id).and_then(|id| id.try_into().ok()).map(SessionId)
        {
            said.insert(id, word == "live");
            last = Some(id);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let opened = open(&options(&state), NOW).unwrap();
    assert_eq!((said.len(), opened.replay.unwrap().damaged_bytes), (300, 0));
    for (id, live) in said {
        match opened.sessions.get(&id, NOW) {
            Standing::Live(_) => assert!(live, "{id} was ended"),
            Standing::Ended => assert!(!live || Some(id) == last, "{id} was not ended, as far as was said"),
            Standing::Unknown => panic!("{id} was lost"),
        }
    }
}

#[tokio::test]
async fn idle_sessions_make_room_and_their_tickets_stay_valid() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("s");
    let opened =
        open(&Options { limits: Limits { sessions: 1, ..Limits::default() }, ..options(&state) }, NOW).unwrap();
    let sessions = &opened.sessions;
    drop(insert(sessions, SessionId([1; 16])).await);
    let (refused, none) = sessions.insert(record(SessionId([2; 16])), NOW).await;
    assert!(matches!(refused, Err(InsertFault::Full)) && none.is_empty());
    assert_eq!(sessions.store().gauges().refused.load(Relaxed), 1);
    let later = NOW.plus(3_600_000);
    let (taken, given_up) = sessions.insert(record(SessionId([2; 16])), later).await;
    assert!(taken.is_ok());
    assert_eq!(given_up[0].upstreams()[0].1.id, UpstreamId::new(b"upstream-1"), "for the caller to end");
    assert!(matches!(sessions.get(&SessionId([1; 16]), later), Standing::Unknown));
    let again = open(&options(&as_if_killed(&state, base.path())), later).unwrap();
    assert!(matches!(again.sessions.get(&SessionId([1; 16]), later), Standing::Unknown));
    assert!(matches!(again.sessions.get(&SessionId([2; 16]), later), Standing::Live(_)));
}

/// What the client set comes back with its ticket, also when the process was killed meanwhile, twice even.
#[tokio::test]
async fn a_session_that_was_given_up_comes_back_with_what_its_client_set() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("s");
    let first = open(&options(&state), NOW).unwrap();
    let id = SessionId([1; 16]);
    let session = insert(&first.sessions, id).await;
    first.sessions.set_log_level(&session, LogLevel::Alert).await.unwrap();
    for uri in ["test://a", "test://b"] {
        first.sessions.subscribe(&session, uri).await.unwrap();
    }
    first.sessions.unsubscribe(&session, "test://a").await.unwrap();
    drop(session);
    let later = NOW.plus(3_600_000);
    assert_eq!(first.sessions.sweep(later).await.len(), 1);
    assert!(matches!(first.sessions.get(&id, later), Standing::Unknown));

    let expected = Left {
        log_level: Some(LogLevel::Alert),
        subscriptions: [Box::from("test://b")].into(),
        before: Before::At(vec!["demo".into()]),
    };
    assert_eq!(first.sessions.left(&id), Some(expected.clone()));
    let second = open(&options(&as_if_killed(&state, base.path())), later).unwrap();
    assert_eq!(second.sessions.left(&id), Some(expected.clone()), "from the changes themselves");
    assert_eq!(dump(&first.sessions), dump(&second.sessions));
    // As a journal that was written anew has it.
    let third = store::Store::new(Limits::default());
    second.sessions.store().changes(&mut |change| third.replay(change.clone(), later));
    assert_eq!(third.left(&id), Some(expected.clone()));

    for sessions in [&first.sessions, &second.sessions] {
        let session = sessions.insert(record(id), later).await.0.unwrap();
        assert_eq!(session.left(), expected);
        assert_eq!(sessions.left(&id), None, "it is the session's again");
        sessions.unsubscribe(&session, "test://b").await.unwrap();
    }
    fs::remove_dir_all(base.path().join("copy")).unwrap();
    let again = open(&options(&as_if_killed(&state, base.path())), later).unwrap();
    let Standing::Live(session) = again.sessions.get(&id, later) else { panic!("not live") };
    assert_eq!((session.log_level(), session.subscriptions()), (Some(LogLevel::Alert), Vec::new()));
}

#[tokio::test]
async fn nothing_is_kept_of_a_session_that_was_ended_or_has_expired() {
    let opened = open(&Options { ephemeral: true, ..options(Path::new("/nowhere")) }, NOW).unwrap();
    let sessions = &opened.sessions;
    let later = NOW.plus(3_600_000);
    for n in [1, 2] {
        let expires = if n == 1 { EXPIRES } else { later.plus(1) };
        let new = SessionRecord { id: SessionId([n; 16]), expires, upstream: Vec::new(), before: Before::Nowhere };
        let session = sessions.insert(new, NOW).await.0.unwrap();
        sessions.set_log_level(&session, LogLevel::Alert).await.unwrap();
    }
    assert_eq!(sessions.sweep(later).await.len(), 2);
    assert!(sessions.left(&SessionId([1; 16])).is_some() && sessions.left(&SessionId([2; 16])).is_some());
    sessions.end(&SessionId([1; 16]), EXPIRES, later).await;
    sessions.sweep(later.plus(1)).await;
    assert_eq!((sessions.left(&SessionId([1; 16])), sessions.left(&SessionId([2; 16]))), (None, None));
}

#[tokio::test]
async fn new_limits_hold_at_once() {
    let opened = open(&Options { ephemeral: true, ..options(Path::new("/nowhere")) }, NOW).unwrap();
    let session = insert(&opened.sessions, SessionId([1; 16])).await;
    opened.sessions.set_limits(Limits { sessions: 1, subscriptions: 0, ..Limits::default() });
    let (refused, _) = opened.sessions.insert(record(SessionId([2; 16])), NOW).await;
    assert!(matches!(refused, Err(InsertFault::Full)));
    assert!(opened.sessions.subscribe(&session, "test://a").await.is_err());
}

#[tokio::test]
async fn ending_a_session_ends_its_streams() {
    let opened = open(&Options { ephemeral: true, ..options(Path::new("/nowhere")) }, NOW).unwrap();
    let session = insert(&opened.sessions, SessionId([1; 16])).await;
    let mut record = opened.sessions.recorder(&session).start(StreamKind::Get, None, &"demo".into());
    opened.sessions.end(&session.id(), EXPIRES, NOW).await.unwrap();
    assert_eq!(record.told().await, Told::Stop);
}

#[tokio::test]
async fn two_gateways_never_share_a_state_directory() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("s");
    let first = open(&options(&state), NOW).unwrap();
    assert!(matches!(open(&options(&state), NOW), Err(StartFault::Journal(JournalFault::InUse { .. }))));
    first.sessions.close().await;
    assert!(open(&options(&state), NOW).is_ok());
}

#[tokio::test]
async fn without_a_place_for_keys_it_does_not_start() {
    let nowhere = Path::new("/dev/null/lockgate");
    let fault = open(&options(nowhere), NOW).err().unwrap().to_string();
    assert!(fault.contains("/dev/null/lockgate") && fault.contains("--ephemeral-keys"), "{fault}");
    let ephemeral = open(&Options { ephemeral: true, ..options(nowhere) }, NOW).unwrap();
    assert!(ephemeral.secrets.state_dir().is_none() && ephemeral.sessions.journal().is_none());
    assert!(ephemeral.unkept.is_none());
    let configured = open(&Options { keys_configured: true, ..options(nowhere) }, NOW).unwrap();
    assert!(configured.unkept.is_some() && configured.sessions.journal().is_none());
    insert(&configured.sessions, SessionId([1; 16])).await;
}

#[tokio::test]
async fn whose_a_subscription_is_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(&options(&folder.path().join("state")), NOW).unwrap();
    let session = insert(&opened.sessions, SessionId([7; 16])).await;
    let whose = |original: &str| Whose { backend: "one".into(), original: original.into() };
    opened.sessions.belongs(&session, "one+a", whose("a"));
    assert_eq!(session.subscribed_as("one", "a"), None, "nobody is subscribed to it");
    for uri in ["one+a", "b"] {
        opened.sessions.subscribe(&session, uri).await.unwrap();
    }
    opened.sessions.belongs(&session, "one+a", whose("a"));
    assert!(session.has_nobodys());
    opened.sessions.belongs(&session, "b", whose("b"));
    assert!(!session.has_nobodys());
    assert_eq!(session.subscribed_as("one", "a").as_deref(), Some("one+a"));
    assert_eq!((session.subscribed_as("two", "a"), session.subscribed_as("one", "one+a")), (None, None));
    assert_eq!(session.subscribed(), [("b".into(), Some(whose("b"))), ("one+a".into(), Some(whose("a")))]);
    opened.sessions.unsubscribe(&session, "one+a").await.unwrap();
    assert_eq!(session.subscribed_as("one", "a"), None);
}
