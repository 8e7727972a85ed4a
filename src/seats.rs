//! How many there may be at a time, where the limit may change meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Places that are taken.
#[derive(Debug, Default)]
pub struct Seats(Arc<AtomicUsize>);

/// One of them, left when this is dropped.
#[must_use = "the place is left when this is dropped"]
#[derive(Debug)]
pub struct Seat(Arc<AtomicUsize>);

impl Seats {
    /// A place, where fewer than `most` are taken.
    pub fn take(&self, most: usize) -> Option<Seat> {
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        self.0.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Seat(Arc::clone(&self.0)))
    }

    /// A place for what is bounded elsewhere, and only counted here.
    pub fn count(&self) -> Seat {
        self.0.fetch_add(1, Relaxed);
        Seat(Arc::clone(&self.0))
    }

    /// How many are taken now.
    pub fn taken(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let seats = Seats::default();
        let one = seats.take(1).unwrap();
        assert!(seats.take(1).is_none());
        let two = seats.take(2).unwrap();
        let more = seats.count();
        assert_eq!(seats.taken(), 3);
        drop((one, two, more));
        assert_eq!(seats.taken(), 0);
        assert!(seats.take(1).is_some());
    }
}
