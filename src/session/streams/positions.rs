//! The ids of events that are no longer recorded, so that who names one still finds its stream. Bounded, oldest out first.

use bytes::Bytes;
use std::collections::VecDeque;

/// What a position costs beside its id.
const POSITION_BYTES: usize = 64;

/// The positions of one session.
#[derive(Default)]
pub(super) struct Positions {
    positions: VecDeque<Position>,
    bytes: usize,
}

struct Position {
    stream: u32,
    number: u64,
    id: Bytes,
}

impl Position {
    fn cost(&self) -> usize {
        POSITION_BYTES + self.id.len()
    }
}

impl Positions {
    /// Remembers the place of an event.
    pub fn remember(&mut self, stream: u32, number: u64, id: Bytes) {
        let position = Position { stream, number, id };
        self.bytes += position.cost();
        self.positions.push_back(position);
    }

    /// Forgets the oldest, until the others take no more than this.
    pub fn keep_within(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(oldest) = self.positions.pop_front()
        {
            self.bytes -= oldest.cost();
        }
    }

    /// The stream and the number of the newest event of this id.
    pub fn find(&self, id: &[u8]) -> Option<(u32, u64)> {
        let position = self.positions.iter().rev().find(|position| position.id == id)?;
        Some((position.stream, position.number))
    }

    /// Forgets those of a stream.
    pub fn forget(&mut self, stream: u32) {
        self.positions.retain(|position| position.stream != stream);
        self.bytes = self.positions.iter().map(Position::cost).sum();
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.positions.clear();
        self.bytes = 0;
    }
}
