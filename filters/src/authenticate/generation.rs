//! Which settings and keys something was verified with, and whether they still count.
//!
//! An issuer that is removed, or whose settings or keys change, begins a new generation (or ends the last one). Whatever was
//! verified with an earlier one is useless from that moment on, wherever it is kept and whoever verifies with old settings
//! at this moment: what counts is what it was verified with, not when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The generations of one issuer: as long as the process knows it by its name.
#[derive(Debug, Default)]
pub struct Generations(Arc<AtomicU64>);

impl Generations {
    /// Of an issuer that has had none.
    pub fn new() -> Generations {
        Generations::default()
    }

    /// Begins the next one: all earlier ones end.
    #[must_use]
    pub fn begin(&self) -> Generation {
        let number = self.0.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        Generation { current: Arc::clone(&self.0), number }
    }

    /// Ends the last one: nothing of this issuer counts until the next begins.
    pub fn end(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// One generation of an issuer's settings and keys.
#[derive(Clone, Debug)]
pub struct Generation {
    current: Arc<AtomicU64>,
    number: u64,
}

impl Generation {
    /// Whether none has begun since, and this one was not ended.
    pub fn is_current(&self) -> bool {
        self.current.load(Ordering::Acquire) == self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_generation_is_current_at_a_time() {
        let (issuer, other) = (Generations::new(), Generations::new());
        let first = issuer.begin();
        let foreign = other.begin();
        assert!(first.is_current() && first.clone().is_current());
        let second = issuer.begin();
        assert!(!first.is_current() && second.is_current() && foreign.is_current());
        issuer.end();
        assert!(!second.is_current() && foreign.is_current());
        assert!(issuer.begin().is_current() && !second.is_current());
    }
}
