//! How long a command that failed is left alone.

use crate::upstream::fault::{AttemptFault, FaultKind};
use crate::upstream::gate::Backoff;
use std::time::Duration;
use tokio::time::Instant;

/// The state after a failure.
#[derive(Debug)]
pub(super) struct Retry {
    backoff: Backoff,
    until: Instant,
    why: String,
}

impl Retry {
    /// Before the first failure.
    pub(super) fn new((first, most): (Duration, Duration)) -> Retry {
        Retry { backoff: Backoff::new(first, most), until: Instant::now(), why: String::new() }
    }

    /// Takes note of a failure; how long it is until the next start.
    pub(super) fn failed(&mut self, why: &str) -> Duration {
        let wait = self.backoff.fail();
        self.until = Instant::now() + wait;
        why.clone_into(&mut self.why);
        wait
    }

    /// Whether nothing keeps the command from being started.
    pub(super) fn is_over(&self) -> bool {
        self.until <= Instant::now()
    }

    /// Since when the next start has been possible, if it is.
    pub(super) fn idle(&self) -> Duration {
        Instant::now().saturating_duration_since(self.until)
    }

    /// Why it cannot be started now.
    pub(super) fn fault(&self) -> Option<AttemptFault> {
        let left = self.until.saturating_duration_since(Instant::now());
        let text = || format!("{}; it is started again in {:.1} s", self.why, left.as_secs_f64());
        (!left.is_zero()).then(|| AttemptFault::not_run(FaultKind::NotRunning).saying(text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_named_until_it_is_over() {
        let mut retry = Retry::new((Duration::from_secs(2), Duration::from_secs(3)));
        assert!(retry.fault().is_none());
        let wait = retry.failed("its process ended (exit status: 3)");
        let fault = retry.fault().expect("a reason");
        assert!(fault.provably_not_run && fault.to_string().starts_with("its process ended (exit status: 3); it is "));
        tokio::time::advance(wait).await;
        assert!(retry.fault().is_none() && retry.is_over());
        assert!(retry.failed("again") > wait);
    }
}
