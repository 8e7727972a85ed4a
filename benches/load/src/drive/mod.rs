//! The load generator: one thread, many connections, in a closed loop or at a fixed rate.

pub mod check;
pub mod command;
pub mod pacer;
pub mod recorder;
pub mod schedule;
pub mod streams;
pub mod worker;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use recorder::Recorder;
use schedule::Schedule;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{sleep, timeout};
use worker::{Job, Target, Trouble, Worker};

use crate::failure::{During, Failure, Outcome};
use crate::mcp::Era;
use crate::mcp::request;
use crate::wire::client::{ExchangeError, Sources};

/// A run stops early after so many failures: the figures would mean nothing.
const FAILURES_MAX: u64 = 1_000;
/// How long the last answers and the closing of sessions may take.
const END_TIME: Duration = Duration::from_secs(15);
/// Most connections of a run.
pub const CONNECTIONS_MAX: usize = 10_000;

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each connection sends its next request when it has its answer.
    Closed,
    /// So many requests a second, whatever the answers do.
    Rate(f64),
}

/// One slice of load.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where it goes.
    pub target: Target,
    /// What each client does.
    pub job: Job,
    /// What it speaks.
    pub era: Era,
    /// Clients at once.
    pub connections: usize,
    /// How requests follow each other.
    pub pace: Pace,
    /// Unmeasured time before.
    pub warm: Duration,
    /// Measured time.
    pub measure: Duration,
}

/// What a slice gave: `M` is what the meter read at either end of the measured window.
#[derive(Clone, Debug)]
pub struct Slice<M> {
    /// Counts and times.
    pub recorder: Recorder,
    /// Length of the measured window, as it was.
    pub elapsed: Duration,
    /// Readings at its begin and end, all connections being open.
    pub readings: (M, M),
}

impl<M> Slice<M> {
    /// Right answers a second.
    pub fn rate(&self) -> f64 {
        self.recorder.answered as f64 / self.elapsed.as_secs_f64()
    }
}

/// What the clients of a run share.
struct Run {
    recorder: RefCell<Recorder>,
    sources: Sources,
    started: Instant,
    sent: Cell<u64>,
    /// Closed loop: answers count now.
    measuring: Cell<bool>,
    stopped: Cell<bool>,
}

/// Runs one slice on the calling thread. `meter` is read at both ends of the measured window.
pub fn run<M>(load: &Load, meter: impl FnMut() -> Outcome<M>) -> Outcome<Slice<M>> {
    if load.connections == 0 || load.connections > CONNECTIONS_MAX {
        return Err(Failure::said(format!("connections must be 1 to {CONNECTIONS_MAX}")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().during("start the runtime")?;
    LocalSet::new().block_on(&runtime, slice(load, meter))
}

async fn slice<M>(load: &Load, mut meter: impl FnMut() -> Outcome<M>) -> Outcome<Slice<M>> {
    let mut workers = Vec::with_capacity(load.connections);
    for number in 0..load.connections {
        let opening = timeout(END_TIME, Worker::open(&load.target, load.era, load.job, number)).await;
        let opened = opening.map_err(|_| Failure::said("opening a session took too long"))?;
        workers.push(opened.map_err(|trouble| Failure::said(format!("{} cannot start: {trouble}", name(load))))?);
    }
    let run = Rc::new(Run {
        recorder: RefCell::new(Recorder::new()?),
        sources: Sources::default(),
        started: Instant::now(),
        sent: Cell::new(0),
        measuring: Cell::new(false),
        stopped: Cell::new(false),
    });
    let schedule = match load.pace {
        Pace::Closed => None,
        Pace::Rate(rate) => Some((Schedule::new(rate, load.warm + load.measure), pacer::Tickets::new())),
    };
    let tasks: Vec<JoinHandle<Worker>> = workers
        .into_iter()
        .map(|worker| match &schedule {
            None => tokio::task::spawn_local(closed(run.clone(), worker)),
            Some((schedule, tickets)) => {
                tokio::task::spawn_local(paced(run.clone(), worker, *schedule, tickets.clone(), load.warm))
            }
        })
        .collect();
    if let Some((schedule, tickets)) = &schedule {
        tokio::task::spawn_local(pacer::release(*schedule, run.started, tickets.clone()));
    }

    sleep(load.warm.saturating_sub(run.started.elapsed())).await;
    let begin = (meter()?, Instant::now());
    run.measuring.set(true);
    let end = begin.1 + load.measure;
    while Instant::now() < end && !run.stopped.get() {
        sleep((end - Instant::now()).min(Duration::from_millis(250))).await;
    }
    run.measuring.set(false);
    let elapsed = begin.1.elapsed();
    let readings = (begin.0, meter()?);
    if schedule.is_none() {
        run.stopped.set(true);
    }
    finish(&run, tasks, load.era).await;
    let recorder = run.recorder.borrow().clone();
    Ok(Slice { recorder, elapsed, readings })
}

/// Waits for the last answers, then ends the sessions; what hangs is counted as failed.
async fn finish(run: &Run, tasks: Vec<JoinHandle<Worker>>, era: Era) {
    let deadline = tokio::time::Instant::now() + END_TIME;
    for task in tasks {
        let abort = task.abort_handle();
        match tokio::time::timeout_at(deadline, task).await {
            Ok(Ok(mut worker)) => {
                run.recorder.borrow_mut().opened += worker.client.opened;
                if era == Era::Legacy {
                    let _ = tokio::time::timeout_at(deadline, worker.close()).await;
                }
            }
            Ok(Err(error)) => run.recorder.borrow_mut().fail(format!("a client ended: {error}")),
            Err(_) => {
                abort.abort();
                run.recorder.borrow_mut().fail("no answer within the time to end");
            }
        }
    }
}

async fn closed(run: Rc<Run>, mut worker: Worker) -> Worker {
    while !run.stopped.get() {
        let begin = Instant::now();
        let first_byte = attempt(&run, &mut worker).await;
        if let (Some(first_byte), true) = (first_byte, run.measuring.get()) {
            run.record(begin, first_byte);
        }
    }
    worker
}

async fn paced(
    run: Rc<Run>,
    mut worker: Worker,
    schedule: Schedule,
    tickets: Rc<pacer::Tickets>,
    warm: Duration,
) -> Worker {
    while !run.stopped.get() {
        let Some(number) = tickets.take().await else { break };
        let start = schedule.start(number);
        let intended = run.started + start;
        let lag = Instant::now().saturating_duration_since(intended);
        let first_byte = attempt(&run, &mut worker).await;
        // By when it was meant to start, not by when it ended: a stall at the end of the window counts too.
        if let (Some(first_byte), true) = (first_byte, start >= warm) {
            run.record(intended, first_byte);
            run.recorder.borrow_mut().lag.add(lag);
        }
    }
    worker
}

/// Does the job once, and once more if the connection was closed under it. `None` after a counted failure.
async fn attempt(run: &Run, worker: &mut Worker) -> Option<Instant> {
    let count = run.sent.get();
    run.sent.set(count + 1);
    let mut done = worker.once(request::id(count), &run.sources).await;
    if let Err(Trouble::Exchange(ExchangeError::Cut)) = done {
        run.recorder.borrow_mut().cut += 1;
        worker.client.disconnect();
        done = worker.once(request::id(count), &run.sources).await;
    }
    match done {
        Ok(first_byte) => Some(first_byte),
        Err(trouble) => {
            worker.client.disconnect();
            let mut recorder = run.recorder.borrow_mut();
            recorder.fail(trouble.to_string());
            if recorder.failed >= FAILURES_MAX {
                run.stopped.set(true);
            }
            None
        }
    }
}

impl Run {
    fn record(&self, begin: Instant, first_byte: Instant) {
        let mut recorder = self.recorder.borrow_mut();
        recorder.answered += 1;
        recorder.latency.add(begin.elapsed());
        recorder.first_byte.add(first_byte.saturating_duration_since(begin));
    }
}

fn name(load: &Load) -> String {
    format!("{:?} {} to {}", load.job, load.era.word(), load.target.address)
}

#[cfg(test)]
mod tests;
