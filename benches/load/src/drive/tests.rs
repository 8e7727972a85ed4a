//! The generator against the real backend, both in this process.

use std::net::TcpListener;

use super::streams::{Hold, Past, Push, hold, push};
use super::*;
use crate::backend;
use crate::mcp::results::Listed;

const TOOLS: usize = 120;
const JOBS: [Job; 9] = [
    Job::Small,
    Job::ArgumentText,
    Job::ArgumentObjects,
    Job::ResultText,
    Job::ResultObjects,
    Job::Event,
    Job::List,
    Job::Connect,
    Job::Session,
];

/// Starts a backend that lives as long as the test process.
fn target() -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listed = Listed::Own(TOOLS);
    std::thread::spawn(move || backend::serve(vec![backend::Server::new(listener, "test", listed)]));
    Target { address, path: "/mcp".to_owned(), listed, members: 0 }
}

fn load(job: Job, era: Era, pace: Pace) -> Load {
    let (warm, measure) = (Duration::from_millis(5), Duration::from_millis(40));
    Load { target: target(), job, era, connections: 4, pace, warm, measure }
}

#[test]
fn every_job_gets_right_answers_in_both_eras() {
    for era in [Era::Legacy, Era::Modern] {
        for job in JOBS.into_iter().filter(|job| *job != Job::Session || era == Era::Legacy) {
            // A rate and no closed loop: so many requests are answered however slow this machine is.
            let slice = run(&load(job, era, Pace::Rate(500.0)), || Ok(())).unwrap();
            let recorder = &slice.recorder;
            assert_eq!((recorder.failed, recorder.cut), (0, 0), "{job:?} {era:?}: {:?}", recorder.first_failure);
            assert_eq!(recorder.answered, 20, "{job:?} {era:?}");
            assert_eq!(recorder.latency.count(), recorder.answered);
            assert!(recorder.first_byte.micros(0.5) <= recorder.latency.max_micros());
            if job == Job::Connect {
                assert!(recorder.opened >= recorder.answered);
            }
        }
    }
}

#[test]
fn a_rate_is_kept_to_the_last_request() {
    let slice = run(&load(Job::Small, Era::Modern, Pace::Rate(2_000.0)), || Ok(())).unwrap();
    // All that was meant to start inside the window, however slow this machine is: 40 ms of 2,000 a second.
    assert_eq!((slice.recorder.answered, slice.recorder.failed), (80, 0));
    assert_eq!(slice.recorder.lag.count(), 80);
}

#[test]
fn a_closed_loop_counts_what_its_window_saw() {
    let mut read = 0;
    let closed = Load { measure: Duration::from_millis(250), ..load(Job::Small, Era::Modern, Pace::Closed) };
    let slice = run(&closed, || {
        read += 1;
        Ok(read)
    });
    let slice = slice.unwrap();
    assert_eq!(slice.readings, (1, 2));
    assert!(slice.recorder.answered > 0 && slice.rate() > 0.0 && slice.elapsed >= closed.measure);
    assert_eq!((slice.recorder.lag.count(), slice.recorder.opened), (0, 4));
}

#[test]
fn wrong_answers_are_counted_and_end_the_run_early() {
    let listed = Listed::Own(TOOLS * 2);
    let expected_longer = Load { target: Target { listed, ..target() }, ..load(Job::List, Era::Modern, Pace::Closed) };
    let slice = run(&Load { measure: Duration::from_secs(60), ..expected_longer }, || Ok(())).unwrap();
    assert!(slice.recorder.failed >= FAILURES_MAX && slice.recorder.answered == 0);
    assert!(slice.recorder.first_failure.is_some_and(|why| why.contains("bytes instead of")));
    assert!(slice.elapsed < Duration::from_secs(30));
}

#[test]
fn nobody_listening_is_said_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let deaf = Load { target: Target { address, ..target() }, ..load(Job::Small, Era::Modern, Pace::Closed) };
    assert!(run(&deaf, || Ok(())).is_err_and(|failure| failure.to_string().contains("connect")));
}

#[test]
fn pushed_events_arrive_complete() {
    for era in [Era::Legacy, Era::Modern] {
        let (warm, measure) = (Duration::from_millis(5), Duration::from_millis(60));
        let interval = Duration::from_millis(5);
        let slice = push(&Push { target: target(), era, streams: 3, interval, warm, measure }, || Ok(())).unwrap();
        assert_eq!(slice.recorder.failed, 0, "{:?}", slice.recorder.first_failure);
        assert!(slice.recorder.answered > 0 && slice.recorder.latency.max_micros() > 0.0);
    }
}

#[test]
fn idle_streams_and_sessions_are_held_and_let_go() {
    for what in
        [Hold::Streams(Era::Legacy, Past::None), Hold::Streams(Era::Modern, Past::None), Hold::Sessions(Past::Called)]
    {
        let mut read = 0;
        let held = hold(&target(), what, 5, Duration::from_millis(1), || {
            read += 1;
            Ok(read)
        });
        let held = held.unwrap();
        assert_eq!((held.before, held.open, held.after), (1, 2, 3), "{what:?}");
    }
}
