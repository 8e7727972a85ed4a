use super::*;
use crate::session::limits::ReplayLimits;
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::{advance, timeout};

const MINUTE: Duration = Duration::from_secs(60);

fn limits() -> ReplayLimits {
    ReplayLimits { bytes: 4096, time: 5 * MINUTE, streams: 2, bytes_total: 1 << 20, streams_total: 10 }
}

fn recorder_within(limits: ReplayLimits) -> Arc<Recorder> {
    Arc::new(Recorder::new(Arc::new(ReplayBudget::new(limits))))
}

fn source() -> Arc<str> {
    "demo".into()
}

fn recorder() -> Arc<Recorder> {
    recorder_within(limits())
}

async fn push(record: &StreamRecord, id: impl Into<Option<&'static str>>, frame: &str) -> bool {
    record.push(id.into().map(Bytes::from), Bytes::copy_from_slice(frame.as_bytes())).await
}

/// A recorder, and a stream of which one event is recorded.
async fn recorded() -> (Arc<Recorder>, StreamRecord) {
    let recorder = recorder();
    let record = recorder.start(StreamKind::Post, None, &source());
    push(&record, "1", "one").await;
    (recorder, record)
}

/// What a follower gets without waiting.
async fn ready(resume: &mut Resume) -> Vec<String> {
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = timeout(Duration::from_millis(1), resume.next()).await {
        frames.push(String::from_utf8(frame.to_vec()).unwrap());
    }
    frames
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_gets_what_it_missed_then_what_comes() {
    let recorder = recorder();
    let mut record = recorder.start(StreamKind::Post, None, &source());
    assert!(push(&record, "1", "one").await, "the lane passes it to its client");
    record.detach();
    assert!(!push(&record, "2", "two").await, "nobody is there to pass it to");
    assert!(!push(&record, None, "no id").await);
    let mut resume = recorder.resume(b"1").unwrap();
    assert_eq!(resume.kind(), StreamKind::Post);
    assert_eq!(ready(&mut resume).await, ["two", "no id"]);
    push(&record, "3", "three").await;
    assert_eq!(resume.next().await.unwrap(), "three");
    record.finish(End::Complete);
    assert_eq!(resume.next().await, None);
    assert_eq!((resume.end(), resume.missed()), (Some(End::Complete), 0));
    assert_eq!(resume.last_id().unwrap(), "3");
}

#[tokio::test(start_paused = true)]
async fn a_renewed_session_keeps_what_was_recorded_and_forgets_what_ids_meant() {
    let recorder = recorder();
    let mut get = recorder.start(StreamKind::Get, None, &source());
    push(&get, "1", "one").await;
    let mut post = recorder.start(StreamKind::Post, Some(Bytes::from_static(b"7")), &source());
    push(&post, "2", "two").await;
    post.detach();
    push(&post, "3", "three").await;
    recorder.renew(None);
    assert_eq!(get.told().await, Told::Stop, "what the server says now comes on another stream");
    drop(get);
    let mut resume = recorder.resume(b"2").unwrap();
    assert!(resume.is_lost() && resume.spent().is_none());
    assert_eq!(ready(&mut resume).await, ["three"]);
    assert_eq!(resume.asked().unwrap(), "7");
    drop(post);
    assert_eq!(resume.next().await, None);
    assert_eq!((resume.end(), resume.spent()), (Some(End::Cut), Some(End::Cut)));
    let resume = recorder.resume(b"1").unwrap();
    assert!(resume.is_lost() && resume.spent() == Some(End::Cut));
    // The new session numbers its events from the beginning.
    let again = recorder.start(StreamKind::Get, None, &source());
    push(&again, "1", "another one").await;
    assert!(!recorder.resume(b"1").unwrap().is_lost(), "where both used an id, the newer one is meant");
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_something_left_is_not_spent() {
    let (recorder, mut record) = recorded().await;
    record.detach();
    push(&record, None, "no id").await;
    record.finish(End::Cut);
    let mut resume = recorder.resume(b"1").unwrap();
    assert_eq!(resume.spent(), None);
    assert_eq!(ready(&mut resume).await, ["no id"]);
    assert_eq!(resume.spent(), Some(End::Cut));
    assert_eq!(recorder.resume(b"1").unwrap().spent(), Some(End::Cut), "it was handed out, and has no id");
}

#[tokio::test(start_paused = true)]
async fn a_follower_waits_for_what_comes() {
    let (recorder, mut record) = recorded().await;
    record.detach();
    let mut resume = recorder.resume(b"1").unwrap();
    let follower = tokio::spawn(async move { (resume.next().await, resume.next().await, resume.end()) });
    tokio::task::yield_now().await;
    push(&record, "2", "two").await;
    drop(record);
    assert_eq!(follower.await.unwrap(), (Some(Bytes::from_static(b"two")), None, Some(End::Cut)));
}

#[tokio::test(start_paused = true)]
async fn only_the_named_stream_is_replayed() {
    let recorder = recorder();
    let (mut one, mut two) =
        (recorder.start(StreamKind::Post, None, &source()), recorder.start(StreamKind::Get, None, &source()));
    push(&one, "a1", "a1").await;
    push(&two, "b1", "b1").await;
    one.detach();
    two.detach();
    push(&two, "b2", "b2").await;
    push(&one, "a2", "a2").await;
    assert_eq!(ready(&mut recorder.resume(b"b1").unwrap()).await, ["b2"]);
    assert_eq!(ready(&mut recorder.resume(b"a1").unwrap()).await, ["a2"]);
    assert!(recorder.resume(b"c1").is_none());
    assert!(recorder.resume(b"").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_priming_event_is_a_position() {
    let recorder = recorder();
    let record = recorder.start(StreamKind::Post, None, &source());
    push(&record, "p0", "id: p0\ndata:\n\n").await;
    record.finish(End::Cut);
    let mut resume = recorder.resume(b"p0").unwrap();
    assert_eq!(resume.next().await, None);
    assert_eq!(resume.end(), Some(End::Cut), "the lane now asks the backend to go on");
}

#[tokio::test(start_paused = true)]
async fn an_event_without_id_is_sent_once_at_most() {
    let (recorder, mut record) = recorded().await;
    push(&record, None, "passed on by the lane").await;
    record.detach();
    push(&record, None, "kept").await;
    push(&record, "2", "two").await;
    assert_eq!(ready(&mut recorder.resume(b"1").unwrap()).await, ["kept", "two"]);
    assert_eq!(ready(&mut recorder.resume(b"1").unwrap()).await, ["two"]);
}

#[tokio::test(start_paused = true)]
async fn a_post_stream_that_nobody_can_name_is_not_recorded() {
    let recorder = recorder();
    let mut record = recorder.start(StreamKind::Post, None, &source());
    record.detach();
    push(&record, None, "lost").await;
    push(&record, "", "an empty id names nothing").await;
    assert_eq!(recorder.budget.bytes.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_get_stream_is_rejoined_where_it_was_left() {
    let recorder = recorder();
    assert!(recorder.rejoin().is_none());
    let mut record = recorder.start(StreamKind::Get, None, &source());
    push(&record, "1", "seen").await;
    assert!(recorder.rejoin().is_none(), "its client is attached");
    record.detach();
    push(&record, None, "without id").await;
    push(&record, "2", "two").await;
    let mut resume = recorder.rejoin().unwrap();
    assert_eq!(resume.next().await.unwrap(), "without id");
    drop(resume);
    assert_eq!(ready(&mut recorder.rejoin().unwrap()).await, ["two"]);
    record.finish(End::Complete);
    assert!(recorder.rejoin().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_newest_follower_takes_over() {
    let (recorder, mut record) = recorded().await;
    record.detach();
    let mut first = recorder.resume(b"1").unwrap();
    let waiting = tokio::spawn(async move { (first.next().await, first.end()) });
    tokio::task::yield_now().await;
    let mut second = recorder.resume(b"1").unwrap();
    assert_eq!(waiting.await.unwrap(), (None, None));
    push(&record, "2", "two").await;
    assert_eq!(second.next().await.unwrap(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_follower_takes_over_from_a_client_that_is_not_known_to_be_gone() {
    let (recorder, mut record) = recorded().await;
    let mut resume = recorder.resume(b"1").unwrap();
    assert_eq!(record.told().await, Told::TakenOver);
    assert!(!push(&record, None, "two").await, "no longer the first client's");
    record.detach();
    assert_eq!(resume.next().await.unwrap(), "two");
    assert!(timeout(MINUTE, record.told()).await.is_err(), "told once, and its end changes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_client_is_let_go_in_time() {
    let (recorder, mut record) = recorded().await;
    assert!(timeout(60 * MINUTE, record.told()).await.is_err(), "a client is attached");
    record.detach();
    advance(4 * MINUTE).await;
    drop(recorder.resume(b"1").unwrap());
    assert!(timeout(4 * MINUTE, record.told()).await.is_err(), "the time begins anew");
    assert_eq!(record.told().await, Told::Stop);
    assert_eq!(recorder.budget.detached.load(Relaxed), 0);
    assert_eq!(recorder.budget.abandoned.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn too_many_streams_without_a_client_let_the_oldest_go() {
    let recorder = recorder();
    let mut records: Vec<_> = (0..3).map(|_| recorder.start(StreamKind::Post, None, &source())).collect();
    for record in &mut records {
        advance(Duration::from_secs(1)).await;
        record.detach();
    }
    assert_eq!(records[0].told().await, Told::Stop);
    assert!(timeout(MINUTE, records[1].told()).await.is_err());
    assert_eq!(recorder.budget.detached.load(Relaxed), 2);
    drop(records);
    assert_eq!(recorder.budget.detached.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn too_many_streams_of_all_sessions_let_the_newest_go() {
    let budget = Arc::new(ReplayBudget::new(ReplayLimits { streams_total: 1, ..limits() }));
    let sessions: Vec<_> = (0..2).map(|_| Arc::new(Recorder::new(budget.clone()))).collect();
    let mut records: Vec<_> =
        sessions.iter().map(|recorder| recorder.start(StreamKind::Post, None, &source())).collect();
    records.iter_mut().for_each(StreamRecord::detach);
    assert_eq!(records[1].told().await, Told::Stop);
    assert!(timeout(MINUTE, records[0].told()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn evicted_events_leave_a_gap_that_is_told() {
    let recorder = recorder();
    let mut record = recorder.start(StreamKind::Post, None, &source());
    for id in ["1", "2", "3", "4", "5"] {
        push(&record, id, &id.repeat(1000)).await;
    }
    record.detach();
    let mut resume = recorder.resume(b"1").unwrap();
    assert_eq!(resume.missed(), 1, "2 is gone");
    assert_eq!(ready(&mut resume).await, ["3".repeat(1000), "4".repeat(1000), "5".repeat(1000)]);
    assert_eq!(recorder.resume(b"2").unwrap().missed(), 0, "nothing behind 2 is gone");
    assert_eq!(recorder.budget.gaps.load(Relaxed), 1);
    assert!(recorder.budget.bytes.load(Relaxed) <= 4096);
}

#[tokio::test(start_paused = true)]
async fn the_newest_event_is_kept_even_if_it_is_longer_than_the_ring() {
    let (recorder, mut record) = recorded().await;
    record.detach();
    push(&record, "2", &"x".repeat(100_000)).await;
    record.finish(End::Complete);
    let mut resume = recorder.resume(b"1").unwrap();
    assert_eq!(resume.next().await.unwrap().len(), 100_000);
    assert!(recorder.budget.bytes.load(Relaxed) >= 100_000);
    drop(resume);
    advance(6 * MINUTE).await;
    recorder.expire();
    assert_eq!(recorder.budget.bytes.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn all_sessions_together_are_bounded() {
    let budget = Arc::new(ReplayBudget::new(ReplayLimits { bytes_total: 4096, ..limits() }));
    let sessions: Vec<_> = (0..4).map(|_| Arc::new(Recorder::new(budget.clone()))).collect();
    let mut records = Vec::new();
    for recorder in &sessions {
        let record = recorder.start(StreamKind::Get, None, &source());
        push(&record, "1", &"x".repeat(2000)).await;
        records.push(record);
        assert!(budget.bytes.load(Relaxed) <= 4096);
    }
    drop((records, sessions));
    assert_eq!(budget.bytes.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_finished_stream_is_forgotten_when_its_time_is_over() {
    let (recorder, record) = recorded().await;
    record.finish(End::Complete);
    advance(4 * MINUTE).await;
    assert!(recorder.resume(b"1").is_some());
    advance(2 * MINUTE).await;
    assert!(recorder.resume(b"1").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_found_however_long_ago_its_last_event_was() {
    let recorder = recorder();
    let mut record = recorder.start(StreamKind::Get, None, &source());
    push(&record, "1", "one").await;
    advance(60 * MINUTE).await;
    recorder.expire();
    assert_eq!(recorder.budget.bytes.load(Relaxed), 0);
    record.detach();
    push(&record, "2", "two").await;
    let mut resume = recorder.resume(b"1").unwrap();
    assert_eq!((ready(&mut resume).await, resume.missed()), (vec!["two".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_lagging_follower_holds_the_writer_back_and_loses_nothing() {
    let recorder = recorder();
    let mut record = recorder.start(StreamKind::Post, None, &source());
    push(&record, "start", "start").await;
    record.detach();
    let mut resume = recorder.resume(b"start").unwrap();
    let writer = tokio::spawn(async move {
        for number in 0..200 {
            record.push(Some(number.to_string().into()), format!("{number:01000}").into()).await;
        }
        record.finish(End::Complete);
    });
    tokio::task::yield_now().await;
    assert!(!writer.is_finished());
    for number in 0..200 {
        assert_eq!(resume.next().await.unwrap(), format!("{number:01000}"));
    }
    assert_eq!((resume.next().await, resume.end(), resume.missed()), (None, Some(End::Complete), 0));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_leaves_lets_the_writer_go_on() {
    let recorder = recorder();
    let mut record = recorder.start(StreamKind::Post, None, &source());
    push(&record, "start", "start").await;
    record.detach();
    let resume = recorder.resume(b"start").unwrap();
    let writer = tokio::spawn(async move {
        for number in 0..50 {
            record.push(Some(number.to_string().into()), Bytes::from_static(&[b'x'; 1000])).await;
        }
    });
    tokio::task::yield_now().await;
    assert!(!writer.is_finished());
    drop(resume);
    writer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_ends_everybody() {
    let recorder = recorder();
    let (mut followed, mut attached) =
        (recorder.start(StreamKind::Post, None, &source()), recorder.start(StreamKind::Get, None, &source()));
    push(&followed, "1", "one").await;
    followed.detach();
    let mut resume = recorder.resume(b"1").unwrap();
    recorder.close();
    assert_eq!((resume.next().await, resume.end()), (None, None));
    assert_eq!(followed.told().await, Told::Stop);
    assert_eq!(attached.told().await, Told::Stop);
    push(&attached, "2", "two").await;
    assert!(recorder.resume(b"2").is_none());
    assert_eq!(recorder.start(StreamKind::Get, None, &source()).told().await, Told::Stop);
    assert_eq!(recorder.budget.bytes.load(Relaxed), 0);
}

#[test]
fn what_lanes_await_can_move_between_threads() {
    fn can_move<T: Send>(_: &T) {}
    let recorder = recorder();
    let mut record = recorder.start(StreamKind::Get, None, &source());
    can_move(&record.push(None, Bytes::new()));
    can_move(&record.told());
    if let Some(mut resume) = recorder.rejoin() {
        can_move(&resume.next());
    }
}

#[test]
fn a_small_frame_does_not_keep_its_read_buffer_alive() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let recorder = recorder();
        let mut record = recorder.start(StreamKind::Get, None, &source());
        let buffer = Bytes::from(vec![b'x'; 65_536]);
        record.push(Some(buffer.slice(0..1)), buffer.slice(0..100)).await;
        record.detach();
        assert!(buffer.is_unique());
    });
}

#[derive(Clone, Debug)]
enum Step {
    Start(bool),
    Push { stream: usize, named: bool, length: usize },
    Detach(usize),
    Finish(usize),
    Resume(usize),
    Read,
    Leave,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<bool>().prop_map(Step::Start),
        (0..4usize, any::<bool>(), 0..3000usize).prop_map(|(stream, named, length)| Step::Push {
            stream,
            named,
            length
        }),
        (0..4usize).prop_map(Step::Detach),
        (0..4usize).prop_map(Step::Finish),
        (0..60usize).prop_map(Step::Resume),
        Just(Step::Read),
        Just(Step::Leave),
        (0..400u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens, counters return to zero, the ring keeps its bound, and a follower sees one stream in order,
    /// nothing twice.
    #[test]
    fn nothing_leaks_and_nothing_is_replayed_out_of_order(steps in prop::collection::vec(step(), 0..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let recorder = recorder();
            let budget = recorder.budget.clone();
            let mut records = Vec::new();
            let mut follower: Option<(Resume, Vec<[u64; 2]>)> = None;
            let (mut pushed, mut started) = (0u64, 0u64);
            for step in steps {
                match step {
                    Step::Start(get) if records.len() < 4 => {
                        started += 1;
                        records.push((recorder.start(if get { StreamKind::Get } else { StreamKind::Post }, None, &source()), started));
                    }
                    Step::Push { stream, named, length } if stream < records.len() => {
                        let id = named.then(|| Bytes::from(pushed.to_string()));
                        let frame = format!("{} {pushed} {}", records[stream].1, "x".repeat(length));
                        // A lagging follower holds the writer back: then this event is not pushed.
                        let _ = timeout(Duration::from_millis(1), records[stream].0.push(id, frame.into())).await;
                        pushed += 1;
                    }
                    Step::Detach(stream) if stream < records.len() => records[stream].0.detach(),
                    Step::Finish(stream) if stream < records.len() => {
                        records.remove(stream).0.finish(End::Complete);
                    }
                    Step::Resume(id) => {
                        if let Some(resume) = recorder.resume(id.to_string().as_bytes()) {
                            follower = Some((resume, Vec::new()));
                        }
                    }
                    Step::Read => {
                        if let Some((resume, seen)) = &mut follower
                            && let Ok(Some(frame)) = timeout(Duration::from_millis(1), resume.next()).await
                        {
                            let text = String::from_utf8(frame.to_vec()).unwrap();
                            let numbers: Vec<u64> = text.split(' ').take(2).map(|word| word.parse().unwrap()).collect();
                            let this = [numbers[0], numbers[1]];
                            assert!(seen.last().is_none_or(|last| last[0] == this[0] && last[1] < this[1]));
                            seen.push(this);
                        }
                    }
                    Step::Leave => follower = None,
                    Step::Wait(seconds) => {
                        advance(Duration::from_secs(seconds)).await;
                        recorder.expire();
                    }
                    _ => {}
                }
                assert!(budget.bytes.load(Relaxed) <= 4096 + 3400);
                assert!(budget.detached.load(Relaxed) <= 4);
            }
            drop((records, follower));
            assert_eq!(budget.detached.load(Relaxed), 0);
            advance(10 * MINUTE).await;
            recorder.expire();
            assert_eq!(budget.bytes.load(Relaxed), 0);
        });
    }
}
