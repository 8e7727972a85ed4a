//! When requests of a fixed rate are meant to start.
//!
//! The schedule does not wait for answers: a request that could not be sent in time because the target was slow is
//! measured from when it should have been sent. Otherwise a stalled target would hide its own stall ("coordinated
//! omission").

use std::time::Duration;

/// Intended starts at a fixed rate, counted from the start of the run.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rate: f64,
    length: Duration,
}

impl Schedule {
    /// `rate` requests a second (at least one in ten seconds) for `length`.
    pub fn new(rate: f64, length: Duration) -> Self {
        Self { rate: rate.max(0.1), length }
    }

    /// Requests of the whole schedule.
    pub fn total(&self) -> u64 {
        (self.length.as_secs_f64() * self.rate).ceil() as u64
    }

    /// When the request with this number (from 0) is meant to start.
    pub fn start(&self, number: u64) -> Duration {
        // From the number, not by adding intervals: so that rounding does not pile up.
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// How many requests are meant to have started by now.
    pub fn due(&self, now: Duration) -> u64 {
        if now >= self.length {
            return self.total();
        }
        ((now.as_secs_f64() * self.rate).floor() as u64 + 1).min(self.total())
    }

    /// How long to wait until the request with this number is due: at least what a timer is worth, and at most
    /// a hundredth of a second, so that the end of a run is noticed.
    pub fn wait(&self, number: u64, now: Duration) -> Duration {
        self.start(number).saturating_sub(now).clamp(Duration::from_micros(20), Duration::from_millis(10))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn starts_are_evenly_spread() {
        let schedule = Schedule::new(4_000.0, Duration::from_secs(2));
        assert_eq!(schedule.total(), 8_000);
        assert_eq!(schedule.start(0), Duration::ZERO);
        assert_eq!(schedule.start(4_000), Duration::from_secs(1));
        assert_eq!(schedule.due(Duration::ZERO), 1);
        assert_eq!(schedule.due(Duration::from_millis(1)), 5);
        assert_eq!(schedule.due(Duration::from_secs(60)), 8_000);
    }

    #[test]
    fn waits_until_the_next_start_within_bounds() {
        let schedule = Schedule::new(5_000.0, Duration::from_secs(1));
        assert_eq!(schedule.wait(10, Duration::from_micros(1_900)), Duration::from_micros(100));
        assert_eq!(schedule.wait(10, Duration::from_micros(1_999)), Duration::from_micros(20));
        assert_eq!(schedule.wait(10, Duration::from_secs(3)), Duration::from_micros(20));
        assert_eq!(schedule.wait(4_000, Duration::ZERO), Duration::from_millis(10));
    }

    proptest! {
        #[test]
        fn what_is_due_has_started_and_what_is_not_has_not(rate in 1.0f64..200_000.0, millis in 0u64..20_000) {
            let schedule = Schedule::new(rate, Duration::from_secs(30));
            let now = Duration::from_millis(millis);
            let due = schedule.due(now);
            let rounding = Duration::from_nanos(2);
            prop_assert!(schedule.start(due - 1) <= now + rounding);
            prop_assert!(schedule.start(due) + rounding >= now);
        }
    }
}
