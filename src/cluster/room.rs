//! How many there may be at a time, where the limit may change meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Places that are taken.
#[derive(Debug, Default)]
pub(super) struct Room(Arc<AtomicUsize>);

/// One of them, left when this is dropped.
#[derive(Debug)]
pub struct Seat(Arc<AtomicUsize>);

impl Room {
    /// A place, where fewer than `most` are taken.
    pub fn take(&self, most: usize) -> Option<Seat> {
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Seat(Arc::clone(&self.0)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let room = Room::default();
        let one = room.take(1).unwrap();
        assert!(room.take(1).is_none());
        let two = room.take(2).unwrap();
        drop((one, two));
        assert!(room.take(1).is_some());
    }
}
