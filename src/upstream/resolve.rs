//! Where an endpoint is: its addresses, looked up away from the requests that use them.
//!
//! A lookup that fails changes nothing: the last good addresses stay. Only the very first request to a host name, before
//! the background lookup has run, waits for one.

use super::fault::{AttemptFault, FaultKind};
use arc_swap::{ArcSwap, ArcSwapOption};
use pingora_core::protocols::Stream;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};

/// One address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// TCP.
    Inet(SocketAddr),
    /// A unix socket.
    Unix(Arc<PathBuf>),
    /// Within this process.
    Within(Dial),
}

/// Connects to something within this process.
#[derive(Clone)]
pub struct Dial(Arc<dyn Fn() -> io::Result<Stream> + Send + Sync>);

impl Dial {
    /// By calling this, once for each connection.
    pub fn by(connect: impl Fn() -> io::Result<Stream> + Send + Sync + 'static) -> Dial {
        Dial(Arc::new(connect))
    }

    pub(super) fn dial(&self) -> io::Result<Stream> {
        (self.0)()
    }
}

impl PartialEq for Dial {
    fn eq(&self, other: &Dial) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Dial {}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial").finish_non_exhaustive()
    }
}

/// How host names are looked up; tests bring their own.
pub(super) type Lookup =
    Arc<dyn Fn(String, u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync>;

/// The system's resolver, on the runtime's blocking threads.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|host, port| Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }))
}

/// The shortest time between two lookups that failures ask for.
const RETRY_SPACING: Duration = Duration::from_secs(1);

/// The addresses of one endpoint.
pub(super) struct Resolver {
    name: Option<(String, u16)>,
    known: ArcSwap<Vec<Address>>,
    /// The address that connected last: tried first.
    good: ArcSwapOption<Address>,
    lookup: Lookup,
    running: Mutex<()>,
    distrusted: Notify,
}

impl Resolver {
    /// Addresses that never change.
    pub(super) fn fixed(address: Address) -> Resolver {
        Resolver::new(None, vec![address], system_lookup())
    }

    /// The addresses behind a host name.
    pub(super) fn named(host: String, port: u16, lookup: Lookup) -> Resolver {
        Resolver::new(Some((host, port)), Vec::new(), lookup)
    }

    fn new(name: Option<(String, u16)>, known: Vec<Address>, lookup: Lookup) -> Resolver {
        Resolver {
            name,
            known: ArcSwap::from_pointee(known),
            good: ArcSwapOption::empty(),
            lookup,
            running: Mutex::new(()),
            distrusted: Notify::new(),
        }
    }

    /// The addresses to try, in order.
    pub(super) async fn addresses(&self) -> Result<Vec<Address>, AttemptFault> {
        let mut addresses = Vec::clone(&self.known.load());
        if addresses.is_empty() {
            self.refresh(true).await.map_err(|error| AttemptFault::not_run(FaultKind::Unresolved).because(error))?;
            addresses = Vec::clone(&self.known.load());
        }
        if addresses.is_empty() {
            return Err(AttemptFault::not_run(FaultKind::Unresolved));
        }
        if let Some(good) = self.good.load().as_deref()
            && let Some(at) = addresses.iter().position(|address| address == good)
        {
            addresses.swap(0, at);
        }
        Ok(addresses)
    }

    /// Whether an address is still one of this endpoint's.
    pub(super) fn knows(&self, address: &Address) -> bool {
        self.name.is_none() || self.known.load().contains(address)
    }

    /// Remembers the address that a connection was made to.
    pub(super) fn connected(&self, address: &Address) {
        if self.name.is_some() && self.good.load().as_deref() != Some(address) {
            self.good.store(Some(Arc::new(address.clone())));
        }
    }

    /// Asks for a new lookup soon: no address could be connected to.
    pub(super) fn distrust(&self) {
        self.distrusted.notify_one();
    }

    /// Looks the name up; with `only_if_unknown` a lookup that another caller just finished is enough.
    async fn refresh(&self, only_if_unknown: bool) -> io::Result<()> {
        let Some((host, port)) = &self.name else { return Ok(()) };
        let _running = self.running.lock().await;
        if only_if_unknown && !self.known.load().is_empty() {
            return Ok(());
        }
        let found = (self.lookup)(host.clone(), *port).await?;
        if found.is_empty() {
            return Err(io::Error::other("the name has no address"));
        }
        let mut found: Vec<Address> = found.into_iter().map(Address::Inet).collect();
        found.dedup();
        if **self.known.load() != found {
            self.known.store(Arc::new(found));
        }
        Ok(())
    }

    /// Keeps the addresses fresh until dropped, looking them up at an interval that may change.
    pub(super) async fn keep_fresh(&self, interval: impl Fn() -> Duration) {
        if self.name.is_none() {
            return std::future::pending().await;
        }
        loop {
            if let Err(error) = self.refresh(false).await {
                let host = self.name.as_ref().map(|(host, _)| host.as_str());
                tracing::warn!(?host, %error, "the host name of a backend could not be looked up; its last addresses stay");
            }
            let interval = interval();
            tokio::time::sleep(RETRY_SPACING.min(interval)).await;
            let rest = interval.saturating_sub(RETRY_SPACING);
            let _ = tokio::time::timeout(rest, self.distrusted.notified()).await;
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn address(text: &str) -> Address {
        Address::Inet(text.parse().expect("an address"))
    }

    /// A resolver whose lookups give these answers, one after the other, the last one for ever.
    fn scripted(answers: Vec<io::Result<Vec<&'static str>>>) -> (Resolver, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let lookup: Lookup = Arc::new(move |_, _| {
            let at = counted.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            let answer = match &answers[at] {
                Ok(found) => Ok(found.iter().map(|text| text.parse().expect("an address")).collect()),
                Err(error) => Err(io::Error::from(error.kind())),
            };
            Box::pin(async move { answer })
        });
        (Resolver::named("backend.example".into(), 80, lookup), count)
    }

    #[tokio::test]
    async fn the_first_request_waits_and_the_next_ones_do_not() {
        let (resolver, count) = scripted(vec![Ok(vec!["10.0.0.1:80", "10.0.0.2:80"])]);
        for _ in 0..3 {
            let found = resolver.addresses().await.expect("resolved");
            assert_eq!(found, [address("10.0.0.1:80"), address("10.0.0.2:80")]);
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_last_good_addresses_outlive_a_failing_lookup() {
        let (resolver, _) = scripted(vec![Ok(vec!["10.0.0.1:80"]), Err(io::ErrorKind::TimedOut.into())]);
        assert!(resolver.addresses().await.is_ok());
        assert!(resolver.refresh(false).await.is_err());
        assert_eq!(resolver.addresses().await.expect("kept"), [address("10.0.0.1:80")]);
    }

    #[tokio::test]
    async fn an_unknown_name_is_a_fault_before_anything_ran() {
        let (resolver, _) = scripted(vec![Err(io::ErrorKind::NotFound.into())]);
        let fault = resolver.addresses().await.expect_err("unresolved");
        assert_eq!(fault.kind, FaultKind::Unresolved);
        assert!(fault.provably_not_run);
    }

    #[tokio::test]
    async fn the_address_that_connected_is_tried_first() {
        let (resolver, _) = scripted(vec![Ok(vec!["10.0.0.1:80", "10.0.0.2:80"]), Ok(vec!["10.0.0.3:80"])]);
        resolver.addresses().await.expect("resolved");
        resolver.connected(&address("10.0.0.2:80"));
        assert_eq!(resolver.addresses().await.expect("resolved")[0], address("10.0.0.2:80"));
        assert!(resolver.knows(&address("10.0.0.1:80")));
        resolver.refresh(false).await.expect("resolved");
        assert!(!resolver.knows(&address("10.0.0.2:80")));
        assert_eq!(resolver.addresses().await.expect("resolved"), [address("10.0.0.3:80")]);
    }

    #[tokio::test(start_paused = true)]
    async fn distrust_brings_a_lookup_before_its_time() {
        let (resolver, count) = scripted(vec![Ok(vec!["10.0.0.1:80"])]);
        let hour = Duration::from_secs(3600);
        let wait_for = |wanted: usize| {
            let count = count.clone();
            async move {
                while count.load(Ordering::SeqCst) < wanted {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        tokio::select! {
            () = resolver.keep_fresh(|| hour) => {}
            () = async { wait_for(1).await; resolver.distrust(); wait_for(2).await } => {}
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
