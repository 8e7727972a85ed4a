//! How much memory the request bodies of all clients hold together.
//!
//! One body is bounded, and so is one connection's number of requests, but ten thousand connections with a body each are
//! more than most machines have. Small bodies are left out: connections bound them well enough, and most requests should
//! not have to count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Up to this many bytes a body does not count.
pub const SMALL_BYTES: usize = 64 * 1024;

/// What is held now.
#[derive(Debug, Default)]
pub struct Bodies(AtomicUsize);

/// A share of it, given back when dropped.
#[derive(Debug)]
pub struct Share {
    bodies: Arc<Bodies>,
    bytes: usize,
}

impl Bodies {
    /// A share of nothing yet.
    pub fn share(self: &Arc<Bodies>) -> Share {
        Share { bodies: Arc::clone(self), bytes: 0 }
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Makes the share hold `bytes`; `false` where all shares together would then hold more than `most`.
    pub fn grow_to(&mut self, bytes: usize, most: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let grown = self.bodies.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(more).filter(|held| *held <= most)
        });
        if grown.is_ok() {
            self.bytes = bytes;
        }
        grown.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.bodies.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_whole_and_are_given_back() {
        let bodies = Arc::new(Bodies::default());
        let (mut one, mut other) = (bodies.share(), bodies.share());
        assert!(one.grow_to(60, 100) && one.grow_to(50, 100), "a share does not shrink");
        assert!(!other.grow_to(41, 100) && other.grow_to(40, 100));
        assert_eq!(bodies.held(), 100);
        drop(one);
        assert!(other.grow_to(100, 100));
        drop(other);
        assert_eq!(bodies.held(), 0);
    }
}
