//! Stops of a drain that nobody but the test takes part in.

use super::*;

/// Far more than any test takes, so that only a hang reaches it.
const LONG: Duration = Duration::from_secs(60);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn run(drain: &Drain, time: Duration, idle: Duration) -> Duration {
    let began = Instant::now();
    drain.run(DrainSettings { time, idle }).await;
    began.elapsed()
}

#[tokio::test]
async fn with_nobody_there_a_stop_takes_no_time() {
    let drain = Drain::new();
    assert!(run(&drain, LONG, LONG).await < LONG / 2);
    assert_eq!(drain.phase(), Phase::Closing);
}

#[tokio::test]
async fn requests_in_flight_are_waited_for() {
    let drain = Drain::new();
    let (request, connection) = (drain.enter(), drain.connected());
    let stop = tokio::spawn({
        let drain = drain.clone();
        async move { run(&drain, LONG, Duration::ZERO).await }
    });
    drain.draining().await;
    drop(connection);
    assert!(!stop.is_finished() && drain.phase() == Phase::Draining);
    drop(request);
    assert!(stop.await.unwrap() < LONG / 2);
}

#[tokio::test]
async fn idle_connections_get_their_time_and_are_then_closed() {
    let drain = Drain::new();
    let connection = drain.connected();
    let client = tokio::spawn({
        let drain = drain.clone();
        async move {
            drain.closing().await;
            drop(connection);
        }
    });
    let took = run(&drain, LONG, millis(100)).await;
    assert!(took >= millis(100) && took < LONG / 2, "{took:?}");
    client.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_kept_behind_a_long_answer_has_its_idle_time_from_then_on() {
    let drain = Drain::new();
    let (request, connection) = (drain.enter(), drain.connected());
    let client = tokio::spawn({
        let drain = drain.clone();
        async move {
            drain.draining().await;
            tokio::time::sleep(millis(1000)).await;
            drain.kept();
            drop(request);
            tokio::time::sleep(millis(200)).await;
            let another = drain.enter();
            assert_eq!(drain.phase(), Phase::Draining, "there is time for another request");
            drain.kept();
            drop(another);
            drain.closing().await;
            drop(connection);
        }
    });
    assert_eq!(run(&drain, LONG, millis(300)).await, millis(1500));
    client.await.unwrap();
}

#[tokio::test]
async fn the_drain_time_is_the_end_whatever_is_in_flight() {
    let drain = Drain::new();
    let _request = drain.enter();
    let began = Instant::now();
    let last_words = tokio::spawn({
        let drain = drain.clone();
        async move {
            drain.closing().await;
            began.elapsed()
        }
    });
    let took = run(&drain, millis(200), millis(50)).await;
    assert!(took >= millis(200) && took < LONG / 2, "{took:?}");
    let last_words = last_words.await.unwrap();
    assert!(last_words >= millis(180) && last_words < took, "{last_words:?}");
}

#[tokio::test]
async fn a_task_that_was_stirred_says_its_last_words() {
    let drain = Drain::new();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn({
        let drain = drain.clone();
        async move {
            let notice = drain.notice();
            tokio::pin!(notice);
            Drain::stir(notice.as_mut()).await;
            let _ = ready.send(());
            drain.last_words().await;
        }
    });
    is_ready.await.unwrap();
    drain.begin();
    tokio::task::yield_now().await;
    assert!(!serving.is_finished(), "a stop has begun, no more");
    drain.close();
    timeout(LONG, serving).await.unwrap().unwrap();
    let late = async {
        let notice = drain.notice();
        tokio::pin!(notice);
        Drain::stir(notice.as_mut()).await;
        drain.last_words().await;
    };
    timeout(LONG, late).await.unwrap();
}

#[tokio::test]
async fn pingoras_watch_and_the_phase_tell_the_same() {
    let drain = Drain::new();
    let watch = drain.shutdown_watch();
    assert!(!drain.is_draining() && !*watch.borrow());
    drain.begin();
    assert!(drain.is_draining() && *watch.borrow());
    let late = drain.shutdown_watch();
    assert!(*late.borrow() && late.has_changed().unwrap(), "whoever asks later knows too, and is told");
    drain.draining().await;
    drain.close();
    drain.begin();
    assert_eq!(drain.phase(), Phase::Closing, "a stop does not go back");
    drain.closing().await;
}
