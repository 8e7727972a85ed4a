//! How many may come who have not said yet who they are.

use crate::seats::{Seat, Seats};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// How many who have not said who they are may be there at a time: proving it takes a node milliseconds.
pub(super) const STRANGERS_MAX: usize = 512;
/// How many of them from one address, so that one that says nothing leaves room for others.
pub(super) const STRANGERS_OF_ONE_MAX: usize = 128;

/// Those who have come and have not said yet who they are.
#[derive(Debug, Default)]
pub(super) struct Porch {
    all: Seats,
    from: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    from: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
    _seat: Seat,
}

impl Porch {
    /// A place for whoever comes from this address, where there is one.
    pub fn enter(&self, address: IpAddr) -> Option<Stranger> {
        let seat = self.all.take(STRANGERS_MAX)?;
        let mut from = self.from.lock();
        let count = from.entry(address).or_default();
        if *count >= STRANGERS_OF_ONE_MAX {
            return None;
        }
        *count += 1;
        Some(Stranger { from: Arc::clone(&self.from), address, _seat: seat })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut from = self.from.lock();
        if let Some(count) = from.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                from.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_room_for_others() {
        let porch = Porch::default();
        let address = |number: u8| IpAddr::from([10, 0, 0, number]);
        let many =
            |number: u8| -> Vec<Stranger> { (0..STRANGERS_MAX).map_while(|_| porch.enter(address(number))).collect() };
        let mut held: Vec<Vec<Stranger>> = (0..8).map(many).collect();
        let counts: Vec<usize> = held.iter().map(Vec::len).collect();
        assert_eq!(counts, [128, 128, 128, 128, 0, 0, 0, 0]);
        held[0].pop();
        assert!(porch.enter(address(9)).is_some(), "a place was given back");
        drop(held);
        assert_eq!(porch.from.lock().len(), 0);
    }
}
