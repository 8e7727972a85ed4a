//! The addresses of the other nodes: as they are configured, and what names stand for, looked up away from requests.

use super::settings::{Peer, Settings};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The most addresses.
pub const PLACES_MAX: usize = 64;
/// How long a lookup may take.
const LOOK_UP: Duration = Duration::from_secs(5);
/// The shortest time between two lookups.
const SPACING: Duration = Duration::from_secs(1);

/// The addresses that are known.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: ArcSwap<Vec<SocketAddr>>,
    /// Whose addresses these are: what a lookup finds for others, that were configured before, comes too late.
    wanted: Mutex<Vec<Peer>>,
    doubted: Notify,
}

/// What names stood for when they were last looked up.
pub(super) type Named = HashMap<(String, u16), Vec<SocketAddr>>;

impl Places {
    /// Where the other nodes may be.
    pub fn all(&self) -> Arc<Vec<SocketAddr>> {
        self.known.load_full()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.load().is_empty()
    }

    /// Looks names up again soon: somebody who should be there was not.
    pub fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Takes over addresses that need no lookup; those of names come with the next one, or stay where there are any.
    pub fn set(&self, settings: &Settings) {
        let mut wanted = self.wanted.lock();
        wanted.clone_from(&settings.peers);
        let fixed = of(settings, &Named::new());
        let only_fixed = settings.peers.iter().all(|peer| matches!(peer, Peer::At(_)));
        if only_fixed || self.known.load().is_empty() {
            self.known.store(Arc::new(fixed));
        }
        drop(wanted);
        self.doubt();
    }

    /// Looks all names up now. What is found counts if these are the peers that were taken over last.
    pub async fn refresh(&self, settings: &Settings, named: &mut Named) {
        look_up(settings, named).await;
        let wanted = self.wanted.lock();
        if *wanted == settings.peers {
            self.known.store(Arc::new(of(settings, named)));
        }
    }

    /// Waits until names should be looked up again.
    pub async fn rest(&self, settings: &Settings) {
        sleep(SPACING).await;
        let rest = settings.resolve_interval.saturating_sub(SPACING);
        // Whether they were doubted or the time has come.
        let _ = timeout(rest, self.doubted.notified()).await;
    }
}

/// The addresses of all peers, none twice.
fn of(settings: &Settings, named: &Named) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for peer in &settings.peers {
        let here = match peer {
            Peer::At(address) => std::slice::from_ref(address),
            Peer::Named(host, port) => named.get(&(host.clone(), *port)).map_or(&[][..], Vec::as_slice),
        };
        for address in here {
            if all.len() < PLACES_MAX && !all.contains(address) {
                all.push(*address);
            }
        }
    }
    all
}

/// Looks all names up. One that cannot be looked up stands for what it stood for.
async fn look_up(settings: &Settings, named: &mut Named) {
    let names: Vec<(String, u16)> = settings
        .peers
        .iter()
        .filter_map(|peer| match peer {
            Peer::Named(host, port) => Some((host.clone(), *port)),
            Peer::At(_) => None,
        })
        .collect();
    named.retain(|name, _| names.contains(name));
    let mut looking = JoinSet::new();
    for name in names {
        looking.spawn(async move {
            let found = match timeout(LOOK_UP, lookup_host((name.0.as_str(), name.1))).await {
                Ok(Ok(found)) => Ok(found.take(PLACES_MAX).collect::<Vec<_>>()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("it took too long".to_owned()),
            };
            (name, found)
        });
    }
    while let Some(looked) = looking.join_next().await {
        match looked {
            Ok((name, Ok(found))) => drop(named.insert(name, found)),
            Ok(((host, _), Err(error))) => {
                tracing::warn!(host, error, "the name of other nodes cannot be looked up; its last addresses stay");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn settings(peers: Vec<Peer>) -> Arc<Settings> {
        Arc::new(Settings { peers, ..Settings::default() })
    }

    #[test]
    fn addresses_need_no_lookup_and_none_is_there_twice() {
        let places = Places::default();
        places.set(&settings(vec![Peer::At(at("10.0.0.1:1")), Peer::At(at("10.0.0.2:1")), Peer::At(at("10.0.0.1:1"))]));
        assert_eq!(**places.all(), [at("10.0.0.1:1"), at("10.0.0.2:1")]);
        let many = (0..=255).map(|n| Peer::At(SocketAddr::from(([10, 0, 1, n], 1)))).collect();
        places.set(&settings(many));
        assert_eq!(places.all().len(), PLACES_MAX);
        places.set(&settings(Vec::new()));
        assert!(places.all().is_empty());
    }

    #[tokio::test]
    async fn names_stand_for_their_addresses() {
        let places = Places::default();
        let wanted = settings(vec![Peer::Named("localhost".into(), 7)]);
        places.set(&wanted);
        places.refresh(&wanted, &mut Named::new()).await;
        assert!(!places.all().is_empty());
        assert!(places.all().iter().all(|place| place.ip().is_loopback() && place.port() == 7));
    }

    #[tokio::test]
    async fn a_lookup_for_peers_that_are_none_any_more_changes_nothing() {
        let places = Places::default();
        let before = settings(vec![Peer::Named("localhost".into(), 7)]);
        places.set(&before);
        let mut named = Named::new();
        let looking = places.refresh(&before, &mut named);
        // Others were configured while it was under way.
        places.set(&settings(vec![Peer::At(at("10.0.0.1:1"))]));
        looking.await;
        assert_eq!(**places.all(), [at("10.0.0.1:1")]);
    }

    #[tokio::test]
    async fn what_a_name_stood_for_stays_while_it_cannot_be_looked_up() {
        let name = ("no.such.name.invalid".to_owned(), 7);
        let wanted = settings(vec![Peer::Named(name.0.clone(), name.1)]);
        let mut named = Named::from([(name, vec![at("10.0.0.1:7")]), (("gone".to_owned(), 1), vec![at("10.0.0.2:1")])]);
        look_up(&wanted, &mut named).await;
        assert_eq!(of(&wanted, &named), [at("10.0.0.1:7")]);
        assert_eq!(named.len(), 1);
    }
}
