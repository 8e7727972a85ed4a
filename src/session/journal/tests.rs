use super::file::{Disk, WritePart};
use super::replay::{HEADER, replay};
use super::*;
use crate::session::before::Before;
use crate::session::level::LogLevel;
use crate::session::limits::Limits;
use crate::session::store::{Standing, Store};
use crate::session::upstream_session::{UpstreamId, UpstreamSession};
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::revision::Revision;
use lockgate_filters::ticket::SessionId;
use proptest::prelude::*;
use std::fs;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

const NOW: UnixMillis = UnixMillis(1_000_000);
const LATER: UnixMillis = UnixMillis(9_000_000);

fn id(n: u8) -> SessionId {
    SessionId([n; 16])
}

fn opened(n: u8) -> Change {
    let upstream = UpstreamSession { id: UpstreamId::new(&[b'a' + n % 26; 36]), revision: Revision::V2025_11_25 };
    Change::Opened(SessionRecord {
        id: id(n),
        expires: LATER,
        upstream: vec![("demo".into(), upstream)],
        before: Before::Nowhere,
    })
}

fn ended(n: u8) -> Change {
    Change::Ended { id: id(n), until: LATER }
}

/// A journal of these changes, and where each record is.
fn journal(changes: &[Change]) -> (Vec<u8>, Vec<Range<usize>>) {
    let mut bytes = HEADER.to_vec();
    let place = |change| {
        let start = bytes.len();
        assert!(record::append(&mut bytes, change));
        start..bytes.len()
    };
    let places = changes.iter().map(place).collect();
    (bytes, places)
}

fn read_back(bytes: &[u8]) -> (Vec<Change>, ReplayReport) {
    let mut changes = Vec::new();
    let report = replay(bytes, |change| changes.push(change)).unwrap();
    (changes, report)
}

fn dump(store: &Store) -> Vec<String> {
    let mut changes = Vec::new();
    store.changes(&mut |change| changes.push(serde_json::to_string(change).unwrap()));
    changes.sort();
    changes
}

#[test]
fn a_whole_journal_is_read_whole() {
    let changes = [opened(1), Change::LogLevel { id: id(1), level: LogLevel::Info }, ended(2)];
    let (bytes, _) = journal(&changes);
    let (read, report) = read_back(&bytes);
    assert_eq!(read, changes);
    assert_eq!(report, ReplayReport { changes: 3, intact_bytes: bytes.len() as u64, ..ReplayReport::default() });
}

#[test]
fn a_journal_cut_anywhere_keeps_every_whole_record() {
    let changes = [opened(1), ended(2), opened(3)];
    let (bytes, places) = journal(&changes);
    for cut in 0..bytes.len() {
        let (read, report) = read_back(&bytes[..cut]);
        let whole = places.iter().filter(|place| place.end <= cut).count();
        assert_eq!(read, changes[..whole], "cut at {cut}");
        assert_eq!(report.damaged_bytes, 0, "cut at {cut}");
        assert_eq!(report.intact_bytes as usize + report.torn_bytes, cut);
    }
}

#[test]
fn zeros_at_the_end_are_a_torn_end() {
    let (mut bytes, _) = journal(&[opened(1)]);
    bytes.extend_from_slice(&[0; 5000]);
    let (read, report) = read_back(&bytes);
    assert_eq!((read.len(), report.torn_bytes), (1, 5000));
}

#[test]
fn behind_damage_only_ends_count() {
    let changes = [opened(1), opened(2), opened(3), ended(1), opened(4), ended(3)];
    let (mut bytes, places) = journal(&changes);
    bytes[places[1].start + 20] ^= 1;
    let (read, report) = read_back(&bytes);
    assert_eq!(read, [opened(1), ended(1), ended(3)]);
    assert_eq!((report.salvaged_ends, report.torn_bytes), (2, 0));
    assert_eq!(report.damaged_bytes, bytes.len() - places[1].start);
}

#[test]
fn a_length_that_lies_is_damage() {
    for length in [0, 5, 1 << 20, u32::MAX] {
        let (mut bytes, places) = journal(&[opened(1), opened(2), ended(1)]);
        bytes[places[1].start + 4..][..4].copy_from_slice(&length.to_le_bytes());
        assert_eq!(read_back(&bytes).0, [opened(1), ended(1)]);
    }
}

#[test]
fn a_record_of_a_newer_kind_is_skipped() {
    let (mut bytes, _) = journal(&[opened(1)]);
    let payload = br#"{"folded":{"id":"x"}}"#;
    let length = (payload.len() as u32).to_le_bytes();
    bytes.extend_from_slice(&record::MARKER);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&record::checksum(length, payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    record::append(&mut bytes, &ended(1));
    let (read, report) = read_back(&bytes);
    assert_eq!((read.len(), report.unreadable, report.damaged_bytes), (2, 1, 0));
}

#[test]
fn what_is_no_journal_is_refused() {
    for bytes in [&b"lockgate-journ2\n"[..], b"PK\x03\x04", b"{}"] {
        assert_eq!(replay(bytes, |_| ()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    let n = 0..6u8;
    let uri = "[a-c]{1,2}".prop_map(|uri| uri.into_boxed_str());
    let level = (0..8usize).prop_map(|at| LogLevel::ALL[at]);
    prop_oneof![
        3 => n.clone().prop_map(opened),
        1 => n.clone().prop_map(ended),
        1 => n.clone().prop_map(|n| Change::Forgotten { id: id(n) }),
        1 => (n.clone(), prop::option::of(level.clone()), prop::collection::vec(uri.clone(), 0..3))
            .prop_map(|(n, level, uris)| Change::Left { id: id(n), until: LATER, level, uris, before: Before::At(vec!["demo".into()]) }),
        1 => (n.clone(), any::<bool>()).prop_map(|(n, gone)| match gone {
            true => Change::Unbound { id: id(n), backend: "demo".into() },
            false => Change::Bound {
                id: id(n),
                backend: "other".into(),
                upstream: UpstreamSession { id: None, revision: Revision::V2025_03_26 },
            },
        }),
        2 => (n.clone(), any::<bool>(), any::<bool>()).prop_map(|(n, before, unmarked)| Change::Losses {
            id: id(n),
            before: if before { Before::At(vec!["demo".into()]) } else { Before::Nowhere },
            unmarked: if unmarked { vec!["other".into()] } else { Vec::new() },
        }),
        2 => (n.clone(), level).prop_map(|(n, level)| Change::LogLevel { id: id(n), level }),
        2 => (n.clone(), uri.clone()).prop_map(|(n, uri)| Change::Subscribed { id: id(n), uri }),
        1 => (n, uri).prop_map(|(n, uri)| Change::Unsubscribed { id: id(n), uri }),
    ]
}

#[derive(Clone, Debug)]
enum Damage {
    Cut(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Zero(prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        (any::<prop::sample::Index>(), 1..=255u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<prop::sample::Index>(), 1..200usize).prop_map(|(at, length)| Damage::Zero(at, length)),
    ]
}

proptest! {
    /// Whatever is damaged: no panic, and where the record of an end is still whole, the session stays ended.
    #[test]
    fn damage_never_brings_an_ended_session_back(
        changes in prop::collection::vec(any_change(), 1..40),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let (mut bytes, _) = journal(&changes);
        for damage in damages {
            let body = bytes.len() - HEADER.len();
            if body == 0 {
                break;
            }
            match damage {
                Damage::Cut(at) => bytes.truncate(HEADER.len() + at.index(body)),
                Damage::Flip(at, bits) => bytes[HEADER.len() + at.index(body)] ^= bits,
                Damage::Insert(at, more) => {
                    let at = HEADER.len() + at.index(body);
                    bytes.splice(at..at, more);
                }
                Damage::Zero(at, length) => {
                    let at = HEADER.len() + at.index(body);
                    let end = (at + length).min(bytes.len());
                    bytes[at..end].fill(0);
                }
            }
        }
        let store = Store::new(Limits::default());
        let report = replay(bytes.as_slice(), |change| store.replay(change, NOW)).unwrap();
        prop_assert_eq!(
            report.intact_bytes as usize + report.torn_bytes + report.damaged_bytes, bytes.len()
        );
        for n in 0..6 {
            let mut end = Vec::new();
            record::append(&mut end, &ended(n));
            if memchr::memmem::find(&bytes, &end).is_some() {
                prop_assert!(matches!(store.get(&id(n), NOW), Standing::Ended));
            }
        }
    }

    /// A journal written anew says the same as the changes that led to it.
    #[test]
    fn a_rewritten_journal_says_the_same(changes in prop::collection::vec(any_change(), 0..60)) {
        let store = Store::new(Limits::default());
        changes.into_iter().for_each(|change| store.replay(change, NOW));
        let mut kept = Vec::new();
        store.changes(&mut |change| kept.push(change.clone()));
        let again = Store::new(Limits::default());
        let (bytes, _) = journal(&kept);
        replay(bytes.as_slice(), |change| again.replay(change, NOW)).unwrap();
        prop_assert_eq!(dump(&store), dump(&again));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [HEADER.as_slice(), &bytes].concat();
        prop_assert!(replay(bytes.as_slice(), |_| ()).is_ok());
    }
}

/// A disk that fails a number of times.
#[derive(Clone, Default)]
struct FlakyDisk {
    failures: Arc<AtomicUsize>,
    bytes: Arc<parking_lot::Mutex<Vec<u8>>>,
}

impl FlakyDisk {
    fn may_fail(&self) -> io::Result<()> {
        match self.failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Err(io::ErrorKind::StorageFull.into()),
            Err(_) => Ok(()),
        }
    }
}

impl Disk for FlakyDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.may_fail()?;
        self.bytes.lock().extend_from_slice(bytes);
        Ok(())
    }

    fn replace(&mut self, produce: &mut dyn FnMut(&mut WritePart<'_>) -> io::Result<()>) -> io::Result<()> {
        self.may_fail()?;
        let mut new = HEADER.to_vec();
        produce(&mut |part| {
            new.extend_from_slice(part);
            Ok(())
        })?;
        *self.bytes.lock() = new;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.may_fail()
    }

    fn len(&self) -> u64 {
        self.bytes.lock().len() as u64
    }
}

fn journal_on(disk: &FlakyDisk, store: &Arc<Store>, retry: Duration) -> Journal {
    disk.bytes.lock().extend_from_slice(HEADER);
    let gauges = Arc::new(JournalGauges::default());
    let store = store.clone();
    let writer = Writer {
        disk: disk.clone(),
        snapshot: Box::new(move |emit| store.changes(emit)),
        gauges: gauges.clone(),
        live: LiveBytes::default(),
        last_attempt: None,
        retry,
    };
    let (queue, entries) = mpsc::channel(QUEUE);
    std::thread::spawn(move || writer.run(entries));
    Journal { queue, gauges }
}

async fn insert(store: &Store, journal: &Journal, n: u8) -> Durability {
    let Change::Opened(record) = opened(n) else { unreachable!() };
    store.insert(record, NOW, journal.reserve().await).unwrap().1.written().await
}

#[tokio::test]
async fn a_full_disk_leaves_sessions_in_memory_and_is_caught_up_with() {
    let (disk, store) = (FlakyDisk::default(), Arc::new(Store::new(Limits::default())));
    let journal = journal_on(&disk, &store, Duration::ZERO);
    assert_eq!(insert(&store, &journal, 1).await, Durability::Journaled);
    disk.failures.store(2, Relaxed);
    assert_eq!(insert(&store, &journal, 2).await, Durability::InMemory);
    assert_eq!(insert(&store, &journal, 3).await, Durability::InMemory);
    let gauges = journal.gauges();
    assert!(gauges.behind.load(Relaxed));
    assert_eq!((gauges.lost.load(Relaxed), gauges.failures.load(Relaxed)), (2, 2));
    assert_eq!(insert(&store, &journal, 4).await, Durability::Journaled);
    assert!(!journal.gauges().behind.load(Relaxed));
    let bytes = disk.bytes.lock().clone();
    assert_eq!(read_back(&bytes).0.len(), 4, "the two that failed are there too");
}

#[tokio::test]
async fn closing_catches_up_and_later_changes_stay_in_memory() {
    let (disk, store) = (FlakyDisk::default(), Arc::new(Store::new(Limits::default())));
    let journal = journal_on(&disk, &store, Duration::from_secs(3600));
    disk.failures.store(1, Relaxed);
    assert_eq!(insert(&store, &journal, 1).await, Durability::InMemory);
    journal.close().await;
    assert_eq!(read_back(&disk.bytes.lock()).0.len(), 1);
    assert_eq!(insert(&store, &journal, 2).await, Durability::InMemory);
    journal.close().await;
}

fn state() -> (tempfile::TempDir, StateDir) {
    let base = tempfile::tempdir().unwrap();
    let dir = StateDir::open(&base.path().join("s")).unwrap();
    (base, dir)
}

fn start(dir: &StateDir) -> (Arc<Store>, Journal, ReplayReport) {
    let store = Arc::new(Store::new(Limits::default()));
    let read = read(dir, |change| store.replay(change, NOW)).unwrap();
    let report = read.report().clone();
    let kept = store.clone();
    let journal = read.start(move |emit| kept.changes(emit)).unwrap();
    (store, journal, report)
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_closes() {
    let (_base, dir) = state();
    let (_, journal, _) = start(&dir);
    let fault = read(&dir, |_| ()).err().unwrap().to_string();
    assert!(fault.contains(&std::process::id().to_string()), "{fault}");
    journal.close().await;
    assert!(read(&dir, |_| ()).is_ok());
}

#[tokio::test]
async fn the_file_is_private_and_a_wider_one_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (_base, dir) = state();
    let (store, journal, _) = start(&dir);
    insert(&store, &journal, 1).await;
    journal.close().await;
    let path = JournalFile::path(&dir);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(read(&dir, |_| ()), Err(JournalFault::State(StateFault::TooOpen { .. }))));
}

#[tokio::test]
async fn a_torn_end_is_cut_and_written_over() {
    let (_base, dir) = state();
    let (store, journal, _) = start(&dir);
    insert(&store, &journal, 1).await;
    insert(&store, &journal, 2).await;
    journal.close().await;
    let path = JournalFile::path(&dir);
    let whole = fs::read(&path).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(whole.len() as u64 - 3).unwrap();
    let (store, journal, report) = start(&dir);
    assert_eq!((report.changes, report.damaged_bytes), (1, 0));
    insert(&store, &journal, 2).await;
    journal.close().await;
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[tokio::test]
async fn a_damaged_journal_is_written_anew_at_start() {
    let (_base, dir) = state();
    let (store, journal, _) = start(&dir);
    for n in 1..=3 {
        insert(&store, &journal, n).await;
    }
    store.end(&id(1), LATER, NOW, journal.reserve().await).1.written().await;
    journal.close().await;
    let path = JournalFile::path(&dir);
    let mut bytes = fs::read(&path).unwrap();
    let second = memchr::memmem::find_iter(&bytes, &record::MARKER).nth(1).unwrap();
    bytes[second + 15] ^= 0x40;
    fs::write(&path, bytes).unwrap();
    let (store, journal, report) = start(&dir);
    assert_eq!((report.changes, report.salvaged_ends), (1, 1));
    assert!(matches!(store.get(&id(1), NOW), Standing::Ended));
    assert_eq!(insert(&store, &journal, 4).await, Durability::Journaled);
    journal.close().await;
    let (store, _journal, report) = start(&dir);
    assert_eq!((report.damaged_bytes, report.changes), (0, 2));
    assert!(matches!(store.get(&id(1), NOW), Standing::Ended));
    assert!(matches!(store.get(&id(4), NOW), Standing::Live(_)));
}

#[tokio::test]
async fn sessions_that_come_and_go_are_compacted_away_and_live_ones_are_not_rewritten_in_vain() {
    let (disk, store) = (FlakyDisk::default(), Arc::new(Store::new(Limits::default())));
    let journal = journal_on(&disk, &store, Duration::ZERO);
    let long_lived = UnixMillis(u64::MAX);
    let open = |number: u64| SessionRecord {
        id: numbered(number),
        expires: long_lived,
        upstream: Vec::new(),
        before: Before::Nowhere,
    };
    for number in 0..12_000 {
        drop(store.insert(open(number), NOW, journal.reserve().await));
    }
    let acked = store.insert(open(12_000), NOW, journal.reserve().await).unwrap().1.written().await;
    assert_eq!((acked, journal.gauges().rewrites.load(Relaxed)), (Durability::Journaled, 0));
    let later = NOW.plus(7_200_000);
    for number in 0..12_000 {
        drop(store.forget_if_idle(&numbered(number), later, journal.reserve().await));
    }
    journal.close().await;
    assert!(journal.gauges().rewrites.load(Relaxed) >= 1);
    assert!(disk.len() < 2 * 1024 * 1024, "{}", disk.len());
}

fn numbered(number: u64) -> SessionId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    SessionId(id)
}

#[tokio::test]
async fn garbage_is_compacted_away() {
    let (_base, dir) = state();
    let (store, journal, _) = start(&dir);
    insert(&store, &journal, 1).await;
    let Standing::Live(session) = store.get(&id(1), NOW) else { unreachable!() };
    let mut last = None;
    for round in 0..14_000 {
        let level = LogLevel::ALL[round % 8];
        last = session.set_log_level(level, journal.reserve().await).ok();
    }
    last.unwrap().written().await;
    journal.close().await;
    assert_eq!(journal.gauges().rewrites.load(Relaxed), 1);
    let length = fs::metadata(JournalFile::path(&dir)).unwrap().len();
    assert!(length < 1024 * 1024, "{length}");
    let (again, ..) = start(&dir);
    assert_eq!(dump(&again), dump(&store));
}
