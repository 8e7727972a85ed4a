//! Clock arithmetic that cannot overflow, however long the times are that somebody configures.

use std::time::Duration;
use tokio::time::Instant;

/// As good as never.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// This long after `start`, or a year where that is beyond what the clock can hold.
pub(super) fn after(start: Instant, time: Duration) -> Instant {
    start.checked_add(time).unwrap_or_else(|| start + NEVER)
}

/// This long from now.
pub(super) fn from_now(time: Duration) -> Instant {
    after(Instant::now(), time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_too_long() {
        assert!(from_now(Duration::MAX) > Instant::now());
    }
}
