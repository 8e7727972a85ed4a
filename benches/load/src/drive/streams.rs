//! Streams: many that push events at a fixed rate, and many that are only held open.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{sleep, timeout, timeout_at};

use super::recorder::Recorder;
use super::worker::{Target, Trouble, initialize};
use super::{CONNECTIONS_MAX, END_TIME, Slice, check};
use crate::backend::monotonic_nanos;
use crate::failure::{During, Failure, Outcome};
use crate::mcp::request::{Composer, id};
use crate::mcp::results::Tool;
use crate::mcp::{Era, skim};
use crate::wire::client::Client;

/// Streams that push events.
#[derive(Clone, Debug)]
pub struct Push {
    /// Where they go.
    pub target: Target,
    /// What the clients speak.
    pub era: Era,
    /// Streams at once, one connection each.
    pub streams: usize,
    /// Time between two events of a stream.
    pub interval: Duration,
    /// Unmeasured time before.
    pub warm: Duration,
    /// Measured time.
    pub measure: Duration,
}

/// What the streams of a run share.
struct Shared {
    recorder: RefCell<Recorder>,
    measuring: Cell<bool>,
}

/// Runs pushed streams; each event counts as an answer, and its latency is the time from backend to client.
pub fn push<M>(load: &Push, meter: impl FnMut() -> Outcome<M>) -> Outcome<Slice<M>> {
    bounded(load.streams)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().during("start the runtime")?;
    LocalSet::new().block_on(&runtime, pushed(load, meter))
}

async fn pushed<M>(load: &Push, mut meter: impl FnMut() -> Outcome<M>) -> Outcome<Slice<M>> {
    let shared = Rc::new(Shared { recorder: RefCell::new(Recorder::new()?), measuring: Cell::new(false) });
    // Opening takes a while, so the first stream must last longer than the measured window.
    let opening = Duration::from_secs(1) + Duration::from_millis(5) * u32::try_from(load.streams).unwrap_or(0);
    let lasting = opening + load.warm + load.measure;
    let events = (lasting.as_secs_f64() / load.interval.as_secs_f64()).ceil() as u64;
    let mut tasks: Vec<JoinHandle<()>> = Vec::with_capacity(load.streams);
    for _ in 0..load.streams {
        let opened = timeout(END_TIME, open_push(load, events)).await;
        let (client, composer) = opened
            .map_err(|_| Failure::said("opening a stream took too long"))?
            .map_err(|trouble| Failure::said(format!("a pushed stream cannot start: {trouble}")))?;
        tasks.push(tokio::task::spawn_local(listen(shared.clone(), client, composer, load.era, events)));
    }
    sleep(load.warm).await;
    let begin = (meter()?, Instant::now());
    shared.measuring.set(true);
    sleep(load.measure).await;
    shared.measuring.set(false);
    let elapsed = begin.1.elapsed();
    let readings = (begin.0, meter()?);
    // To the end and not cut off: a gateway that keeps interrupted streams for resumption would work on.
    let deadline = tokio::time::Instant::now() + lasting + END_TIME;
    for task in tasks {
        if timeout_at(deadline, task).await.is_err() {
            shared.recorder.borrow_mut().fail("a pushed stream did not end");
        }
    }
    let recorder = shared.recorder.borrow().clone();
    Ok(Slice { recorder, elapsed, readings })
}

async fn open_push(load: &Push, events: u64) -> Result<(Client, Composer), Trouble> {
    let mut client = Client::new(load.target.address);
    let composer = start(&mut client, &load.target, load.era, Past::None, 0).await?;
    let arguments = format!(r#"{{"events":{events},"interval_us":{}}}"#, load.interval.as_micros());
    client.open_head(composer.call(&load.target.name(Tool::Push, 0), &arguments).stamp(id(0))).await?;
    check::status(&client, &[200])?;
    Ok((client, composer))
}

/// Reads a stream to its end and checks that nothing was lost.
async fn listen(shared: Rc<Shared>, mut client: Client, composer: Composer, era: Era, events: u64) {
    let mut tally = Tally::default();
    loop {
        let whole = memchr::memmem::rfind(client.body(), b"\n\n").map_or(0, |at| at + 2);
        let now = monotonic_nanos();
        for data in check::data_lines(&client.body()[..whole]) {
            if let Some(sent) = tally.take(data)
                && shared.measuring.get()
            {
                let mut recorder = shared.recorder.borrow_mut();
                recorder.answered += 1;
                recorder.latency.add(Duration::from_nanos(now.saturating_sub(sent)));
            }
        }
        client.consume(whole);
        match client.read_more().await {
            Ok(true) if client.body().is_empty() => break,
            Ok(_) => {}
            Err(error) => {
                shared.recorder.borrow_mut().fail(format!("a pushed stream broke: {error}"));
                return;
            }
        }
    }
    shared.recorder.borrow_mut().opened += client.opened;
    if shared.measuring.get() {
        shared.recorder.borrow_mut().fail("a pushed stream ended inside the measured window: opening took too long");
    }
    if tally.events != events || !tally.answered {
        let why = format!("{} of {events} events came, the answer: {}", tally.events, tally.answered);
        shared.recorder.borrow_mut().fail(why);
    }
    if era == Era::Legacy {
        let _ = client.exchange(composer.delete().stamp(0)).await;
    }
}

/// What came of one stream.
#[derive(Debug, Default)]
struct Tally {
    events: u64,
    answered: bool,
}

impl Tally {
    /// Takes one message; returns when it was sent if it is a pushed event.
    fn take(&mut self, data: &[u8]) -> Option<u64> {
        const STAMP: &[u8] = br#""sent "#;
        const DIGITS: usize = 20;
        let Some(at) = memchr::memmem::find(data, STAMP).map(|at| at + STAMP.len()) else {
            self.answered |= skim::answer(data).has_result;
            return None;
        };
        self.events += 1;
        std::str::from_utf8(data.get(at..at + DIGITS)?).ok()?.parse().ok()
    }
}

/// What a client has done before it becomes idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Nothing but opening its session.
    None,
    /// It has called a tool of the member that its number chooses, and servers may ask it something: a gateway has a session
    /// for it there, and listens there for it.
    Called,
}

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A stream each on a connection of its own: a GET stream of a session, or `subscriptions/listen`.
    Streams(Era, Past),
    /// Sessions alone, opened over one connection.
    Sessions(Past),
}

/// What holding something gave: the meter read before, while all is open, and after.
#[derive(Clone, Debug)]
pub struct Held<M> {
    /// Before the first connection.
    pub before: M,
    /// All being open.
    pub open: M,
    /// All streams closed and sessions ended.
    pub after: M,
}

/// Holds `count` idle streams or sessions.
pub fn hold<M>(
    target: &Target,
    what: Hold,
    count: usize,
    settle: Duration,
    meter: impl FnMut() -> Outcome<M>,
) -> Outcome<Held<M>> {
    bounded(count)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().during("start the runtime")?;
    runtime.block_on(held(target, what, count, settle, meter))
}

async fn held<M>(
    target: &Target,
    what: Hold,
    count: usize,
    settle: Duration,
    mut meter: impl FnMut() -> Outcome<M>,
) -> Outcome<Held<M>> {
    let before = meter()?;
    let mut shared = Client::new(target.address);
    let mut streams = Vec::new();
    let mut composers = Vec::with_capacity(count);
    for number in 0..count {
        let opening = async {
            match what {
                Hold::Sessions(past) => start(&mut shared, target, Era::Legacy, past, number).await,
                Hold::Streams(era, past) => {
                    let (client, composer) = open_held(target, era, past, number).await?;
                    streams.push(client);
                    Ok(composer)
                }
            }
        };
        let opened = timeout(END_TIME, opening).await;
        let opened = opened.map_err(|_| Failure::said(format!("number {number} took too long to open")))?;
        composers.push(opened.map_err(|trouble| Failure::said(format!("number {number} cannot open: {trouble}")))?);
    }
    sleep(settle).await;
    let open = meter()?;
    drop(streams);
    if !matches!(what, Hold::Streams(Era::Modern, _)) {
        for composer in composers {
            let _ = timeout(END_TIME, shared.exchange(composer.delete().stamp(0))).await;
        }
    }
    sleep(settle * 2).await;
    Ok(Held { before, open, after: meter()? })
}

async fn open_held(target: &Target, era: Era, past: Past, number: usize) -> Result<(Client, Composer), Trouble> {
    let mut client = Client::new(target.address);
    let composer = start(&mut client, target, era, past, number).await?;
    match era {
        Era::Legacy => client.open_head(composer.stream().stamp(0)).await?,
        Era::Modern => drop(client.open(composer.listen().stamp(id(0))).await?),
    }
    check::status(&client, &[200])?;
    Ok((client, composer))
}

async fn start(client: &mut Client, target: &Target, era: Era, past: Past, number: usize) -> Result<Composer, Trouble> {
    let outside = Composer::new(target.endpoint(), era);
    let outside = if past == Past::None { outside } else { outside.answering() };
    let composer = match era {
        Era::Legacy => initialize(client, &outside, 0).await?,
        Era::Modern => outside,
    };
    if past == Past::Called {
        client.exchange(composer.call(&target.name(Tool::Small, number), "{}").stamp(id(0))).await?;
        check::status(client, &[200])?;
    }
    Ok(composer)
}

fn bounded(count: usize) -> Outcome<()> {
    if (1..=CONNECTIONS_MAX).contains(&count) {
        Ok(())
    } else {
        Err(Failure::said(format!("streams and sessions must be 1 to {CONNECTIONS_MAX}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_events_and_the_answer() {
        let mut tally = Tally::default();
        let event = br#"{"jsonrpc":"2.0","method":"n","params":{"message":"sent 00000000000000012345"}}"#;
        assert_eq!(tally.take(event), Some(12_345));
        assert_eq!(tally.take(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#), None);
        assert_eq!((tally.events, tally.answered), (1, true));
        assert_eq!(tally.take(br#"{"message":"sent 12"}"#), None);
    }

    #[test]
    fn counts_are_bounded() {
        assert!(bounded(0).is_err() && bounded(CONNECTIONS_MAX + 1).is_err());
        assert!(bounded(1).is_ok());
    }
}
