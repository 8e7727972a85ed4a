//! Something that is found out in the background, one run at a time, and that requests may wait for.

use super::fault::{AttemptFault, FaultKind};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

/// How the latest run ended.
#[derive(Clone, Debug)]
struct Ended {
    at: Instant,
    fault: Option<AttemptFault>,
    /// Whether no run follows.
    last: bool,
}

/// One side asks and waits, the other runs and reports.
#[derive(Debug)]
pub(super) struct Gate {
    wanted: Notify,
    ended: watch::Sender<Option<Ended>>,
    /// For how long the end of a run answers those who come after it.
    fresh: Duration,
}

impl Gate {
    pub(super) fn new(fresh: Duration) -> Gate {
        Gate { wanted: Notify::new(), ended: watch::Sender::new(None), fresh }
    }

    /// Asks for a run soon, without waiting for it.
    pub(super) fn ask(&self) {
        self.wanted.notify_one();
    }

    /// Waits for the end of a run: the running one, the next one, or one that has just ended.
    pub(super) async fn pass(&self, within: Duration) -> Result<(), AttemptFault> {
        let mut ended = self.ended.subscribe();
        if let Some(last) =
            ended.borrow_and_update().as_ref().filter(|ended| ended.last || ended.at.elapsed() < self.fresh)
        {
            return last.fault.clone().map_or(Ok(()), Err);
        }
        self.ask();
        let waited = timeout(within, ended.changed()).await;
        if !matches!(waited, Ok(Ok(()))) {
            return Err(AttemptFault::not_run(FaultKind::FirstByteTimeout));
        }
        ended.borrow().as_ref().and_then(|last| last.fault.clone()).map_or(Ok(()), Err)
    }

    /// Reports the end of a run to all who wait.
    pub(super) fn report(&self, fault: Option<AttemptFault>) {
        self.end(Ended { at: Instant::now(), fault, last: false });
    }

    /// Says that there will be no further run: who waits and who comes is told so.
    pub(super) fn close(&self, fault: AttemptFault) {
        self.end(Ended { at: Instant::now(), fault: Some(fault), last: true });
    }

    fn end(&self, ended: Ended) {
        self.ended.send_if_modified(|known| {
            let open = !known.as_ref().is_some_and(|known| known.last);
            if open {
                *known = Some(ended);
            }
            open
        });
    }

    /// Whether a run ended without a fault.
    pub(super) fn succeeded(&self) -> bool {
        self.ended.borrow().as_ref().is_some_and(|last| last.fault.is_none())
    }

    /// The fault that the latest run ended with.
    pub(super) fn fault(&self) -> Option<AttemptFault> {
        self.ended.borrow().as_ref().and_then(|last| last.fault.clone())
    }

    /// What kind of fault the latest run ended with.
    pub(super) fn last_fault(&self) -> Option<FaultKind> {
        self.fault().map(|fault| fault.kind)
    }

    /// Waits until somebody asks.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Waits until somebody asks, or `time` is over; tells which.
    pub(super) async fn wanted_within(&self, time: Duration) -> bool {
        timeout(time, self.wanted()).await.is_ok()
    }

    /// How long it is until `spacing` has passed since the latest run.
    pub(super) fn rest(&self, spacing: Duration) -> Duration {
        let last = self.ended.borrow().as_ref().map(|last| last.at);
        last.map_or(Duration::ZERO, |at| spacing.saturating_sub(at.elapsed()))
    }
}

/// Waiting times that grow while something keeps failing.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    first: Duration,
    most: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Backoff {
        Backoff { next: first, first, most }
    }

    /// The next waiting time, with jitter.
    pub(super) fn fail(&mut self) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.most);
        jittered(wait)
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A time within 10 % of `time`, so that what was started together does not stay together.
pub(super) fn jittered(time: Duration) -> Duration {
    let mut random = [0; 1];
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        return time;
    }
    let [byte] = random;
    time.mul_f64(0.9 + 0.2 * f64::from(byte) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_pass_with_one_run() {
        let gate = Arc::new(Gate::new(SECOND));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let gate = gate.clone();
                tokio::spawn(async move { gate.pass(SECOND).await.is_ok() })
            })
            .collect();
        assert!(gate.wanted_within(SECOND).await);
        gate.report(None);
        for waiter in waiting {
            assert!(waiter.await.expect("no panic"));
        }
        assert!(gate.succeeded());
        // The run has just ended: nobody is asked again.
        assert!(gate.pass(Duration::ZERO).await.is_ok());
        assert_eq!(gate.rest(SECOND), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn faults_reach_those_who_wait_and_silence_times_out() {
        let gate = Gate::new(SECOND);
        assert_eq!(gate.pass(SECOND).await.expect_err("nobody runs").kind, FaultKind::FirstByteTimeout);
        gate.report(Some(AttemptFault::new(FaultKind::Unreachable)));
        assert_eq!(gate.pass(SECOND).await.expect_err("just failed").kind, FaultKind::Unreachable);
        tokio::time::advance(SECOND).await;
        assert_eq!(gate.pass(SECOND).await.expect_err("old news").kind, FaultKind::FirstByteTimeout);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_lets_nobody_wait() {
        let gate = Arc::new(Gate::new(SECOND));
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.pass(SECOND).await.expect_err("closed").kind }
        });
        assert!(gate.wanted_within(SECOND).await);
        gate.close(AttemptFault::new(FaultKind::Unreachable));
        assert_eq!(waiting.await.expect("no panic"), FaultKind::Unreachable);
        gate.report(None);
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(gate.pass(Duration::ZERO).await.expect_err("still closed").kind, FaultKind::Unreachable);
    }

    #[test]
    fn waiting_times_grow_to_their_bound() {
        let mut backoff = Backoff::new(SECOND, 3 * SECOND);
        for expected in [1, 2, 3, 3] {
            let wait = backoff.fail().as_secs_f64() / f64::from(expected);
            assert!((0.9..=1.1).contains(&wait));
        }
        backoff.reset();
        assert!(backoff.fail() < 2 * SECOND);
    }
}
