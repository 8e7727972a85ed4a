//! A stream of events while it goes out: when the next one is due, and its bytes.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep_until};

use super::respond::{Push, Responder, progress};

/// Events at a fixed rate, then the answer.
pub struct Pushing {
    push: Push,
    sent: u64,
    due: Instant,
}

impl Pushing {
    /// The first event is due after one interval.
    pub fn begin(push: Push) -> Self {
        let due = Instant::now() + push.interval;
        Self { push, sent: 0, due }
    }

    /// Waits for the next event, or sends the answer at once after the last one; appends its bytes. `false` when
    /// that was the end. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self, responder: &Responder, out: &mut Vec<u8>) -> bool {
        if self.sent == self.push.events {
            responder.pushed(&self.push, out);
            return false;
        }
        sleep_until(self.due).await;
        self.due += self.push.interval;
        self.sent += 1;
        progress(out, self.sent, monotonic_nanos());
        true
    }
}

/// The clock that generator and backend share.
pub fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let time = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
