//! Looking host names up: what was judged is what is connected to, as the connector gets its addresses from here and from
//! nowhere else.

use super::error::FetchError;
use super::rules::{Origin, Rules};
use arc_swap::ArcSwap;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

/// A lookup under way.
pub type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// How host names are looked up; tests bring their own.
pub type Lookup = Arc<dyn Fn(String) -> Looking + Send + Sync>;

/// The system's resolver, on the runtime's blocking threads.
pub fn system_lookup() -> Lookup {
    Arc::new(|host| {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    })
}

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Looks up, judges, and hands over what it has judged.
pub(super) struct Guarded {
    pub(super) lookup: Lookup,
    pub(super) rules: Arc<ArcSwap<Rules>>,
    pub(super) origin: Origin,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let looking = (self.lookup)(name.as_str().to_owned());
        let (rules, origin) = (Arc::clone(&self.rules), self.origin);
        Box::pin(async move {
            let mut found = looking.await.map_err(|_| FetchError::Unresolved)?;
            rules.load().check_host(name.as_str(), &found, origin)?;
            found.truncate(ADDRESSES_MAX);
            // With port 0 the connector takes that of the URL.
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
