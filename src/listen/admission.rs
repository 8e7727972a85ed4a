//! How many connections there may be: all together, and of one client address.
//!
//! One [`Admission`] is shared by all listeners of the process. What it gave out comes back when the permit is dropped,
//! however the connection ended.

use super::settings::ConnectionLimits;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Locks that the addresses are spread over.
const SHARDS: usize = 16;

type Addresses = Mutex<HashMap<IpAddr, usize, foldhash::fast::RandomState>>;

/// The connections that are open.
#[derive(Debug, Default)]
pub struct Admission {
    open: AtomicUsize,
    addresses: [Addresses; SHARDS],
    spread: foldhash::fast::RandomState,
}

impl Admission {
    /// None is open.
    pub fn new() -> Arc<Admission> {
        Arc::default()
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Admits a connection, or `None` when there are too many. Its address is claimed later, when it is known.
    pub(crate) fn admit(self: &Arc<Self>, limits: &ConnectionLimits) -> Option<Permit> {
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < limits.connections).then_some(open + 1))
            .ok()?;
        Some(Permit { admission: self.clone(), address: None })
    }

    fn shard(&self, address: &IpAddr) -> &Addresses {
        let hash = self.spread.hash_one(address);
        // The low bits choose the bucket within the shard's own map, so the shard takes others.
        &self.addresses[(hash >> 32) as usize % SHARDS]
    }
}

/// A connection's place.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
}

impl Permit {
    /// Counts the connection for a client address; `false` when that address has too many.
    pub(crate) fn claim(&mut self, address: IpAddr, limits: &ConnectionLimits) -> bool {
        if limits.exempts(address) {
            return true;
        }
        let address = counted_as(address);
        let mut addresses = self.admission.shard(&address).lock();
        let open = addresses.entry(address).or_insert(0);
        // An entry exists only while something is open, so a full address is never a new entry.
        if *open >= limits.connections_per_address.max(1) {
            return false;
        }
        *open += 1;
        self.address = Some(address);
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            let mut addresses = self.admission.shard(&address).lock();
            if let Some(open) = addresses.get_mut(&address) {
                *open -= 1;
                if *open == 0 {
                    addresses.remove(&address);
                }
            }
        }
        self.admission.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A whole /64 belongs to one IPv6 client, which may take any address in it.
fn counted_as(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize, connections_per_address: usize) -> ConnectionLimits {
        ConnectionLimits { connections, connections_per_address, ..ConnectionLimits::default() }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_cap_holds_and_places_come_back() {
        let (admission, limits) = (Admission::new(), limits(2, 512));
        let first = admission.admit(&limits).unwrap();
        let _second = admission.admit(&limits).unwrap();
        assert!(admission.admit(&limits).is_none());
        drop(first);
        assert!(admission.admit(&limits).is_some());
        assert_eq!(admission.open(), 1);
    }

    #[test]
    fn an_address_has_its_own_cap() {
        let (admission, limits) = (Admission::new(), limits(100, 2));
        let mut permits: Vec<Permit> = (0..4).map(|_| admission.admit(&limits).unwrap()).collect();
        let one = address("192.0.2.1");
        assert!(permits[0].claim(one, &limits) && permits[1].claim(one, &limits));
        assert!(!permits[2].claim(one, &limits));
        assert!(permits[3].claim(address("192.0.2.2"), &limits), "another address is not concerned");
        permits.remove(0);
        assert!(permits[1].claim(one, &limits));
    }

    #[test]
    fn nothing_is_remembered_of_addresses_that_left() {
        let (admission, limits) = (Admission::new(), limits(100, 2));
        for last in 0..100 {
            let mut permit = admission.admit(&limits).unwrap();
            assert!(permit.claim(IpAddr::from([198, 51, 100, last]), &limits));
        }
        assert!(admission.addresses.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn a_v6_network_counts_as_one_client_and_loopback_not_at_all() {
        let (admission, limits) = (Admission::new(), limits(100, 1));
        let mut permits: Vec<Permit> = (0..5).map(|_| admission.admit(&limits).unwrap()).collect();
        assert!(permits[0].claim(address("2001:db8:0:1::1"), &limits));
        assert!(!permits[1].claim(address("2001:db8:0:1::2"), &limits));
        assert!(permits[1].claim(address("2001:db8:0:2::2"), &limits));
        assert!(permits[2..].iter_mut().all(|permit| permit.claim(address("127.0.0.1"), &limits)));
        assert!(permits[2].claim(address("::1"), &limits));
    }
}
