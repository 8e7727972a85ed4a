//! What a slice counted, and how long things took.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::failure::{Failure, Outcome};

/// Shortest and longest time told apart, and significant decimal digits (an error of 0.1 %).
const SHORTEST_NANOS: u64 = 1_000;
const LONGEST_NANOS: u64 = 60_000_000_000;
const DIGITS: u8 = 3;

/// Times in a histogram of high dynamic range.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Times {
    /// An empty histogram.
    pub fn new() -> Outcome<Self> {
        let histogram = Histogram::new_with_bounds(SHORTEST_NANOS, LONGEST_NANOS, DIGITS);
        histogram.map(Self).map_err(|error| Failure::said(format!("histogram: {error}")))
    }

    /// Adds one time; what is longer than 60 s counts as 60 s.
    pub fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(LONGEST_NANOS));
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this share of all (0.0 to 1.0) did not exceed, in microseconds; 0 when empty.
    pub fn micros(&self, quantile: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(quantile) as f64 / 1_000.0 }
    }

    /// The longest, in microseconds.
    pub fn max_micros(&self) -> f64 {
        self.0.max() as f64 / 1_000.0
    }
}

/// Everything that is counted while a slice runs.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Right answers inside the measured window.
    pub answered: u64,
    /// Wrong or missing answers, at any time.
    pub failed: u64,
    /// Kept-alive connections closed under a request, which was then repeated.
    pub cut: u64,
    /// Connections opened, the first ones included.
    pub opened: u64,
    /// Time to the whole answer: from the intended start where there is one.
    pub latency: Times,
    /// Time to the first byte of the body, from the same start.
    pub first_byte: Times,
    /// How late requests were sent, for want of a free connection or of CPU here.
    pub lag: Times,
    /// What went wrong first, in words.
    pub first_failure: Option<String>,
}

impl Recorder {
    /// Nothing counted yet.
    pub fn new() -> Outcome<Self> {
        Ok(Self {
            answered: 0,
            failed: 0,
            cut: 0,
            opened: 0,
            latency: Times::new()?,
            first_byte: Times::new()?,
            lag: Times::new()?,
            first_failure: None,
        })
    }

    /// Counts a failure; keeps the words of the first.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.failed += 1;
        if self.first_failure.is_none() {
            self.first_failure = Some(why.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_thousandth() {
        let mut times = Times::new().unwrap();
        for micros in 1..=10_000 {
            times.add(Duration::from_micros(micros));
        }
        for (quantile, expected) in [(0.5, 5_000.0), (0.9, 9_000.0), (0.99, 9_900.0), (0.999, 9_990.0)] {
            let got = times.micros(quantile);
            assert!((got - expected).abs() <= expected * 0.0015, "{quantile}: {got}");
        }
        assert_eq!(times.count(), 10_000);
        assert!((times.max_micros() - 10_000.0).abs() < 15.0);
    }

    #[test]
    fn the_endless_counts_as_the_longest() {
        let mut times = Times::new().unwrap();
        times.add(Duration::from_secs(3_600));
        assert!((times.max_micros() - 60_000_000.0).abs() < 70_000.0);
        assert!(Times::new().unwrap().micros(0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn the_first_failure_is_kept() {
        let mut recorder = Recorder::new().unwrap();
        recorder.fail("one");
        recorder.fail("two");
        assert_eq!((recorder.failed, recorder.first_failure.as_deref()), (2, Some("one")));
    }
}
