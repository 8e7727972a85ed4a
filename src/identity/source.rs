//! The task that keeps an issuer's keys fresh.

use super::Clock;
use super::discovery::{self, DOCUMENT_BYTES_MAX};
use super::issuer::{Held, Issuer, KeyFault, Keys, Published, SPACING};
use super::settings::{KeySettings, KeysFrom};
use crate::egress::{Accept, Client, FetchError, Origin, Request};
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::random;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The largest key set, in bytes.
const KEY_SET_BYTES_MAX: usize = 256 << 10;

/// How long is waited after the first failure; twice as long after each further one.
const RETRY: Duration = Duration::from_secs(1);

/// How long is waited after many failures at most.
const RETRY_MOST: Duration = Duration::from_secs(60);

/// Keeps the keys fresh, for ever. `changes` counts up when what is believed changes.
pub(super) async fn keep<K: Keys>(issuer: Arc<Issuer<K>>, client: Client, clock: Clock, changes: watch::Sender<u64>) {
    let settings = issuer.key_settings();
    let mut failures = 0_u32;
    loop {
        let begun = Instant::now();
        issuer.progress.send_modify(|progress| {
            progress.begun += 1;
            progress.begun_at = Some(begun);
        });
        // Believed from the moment at which the issuer was asked: what it said may be that old.
        let asked_at = clock();
        let fetched = fetch::<K>(settings, &client).await;
        failures = if fetched.is_ok() { 0 } else { failures.saturating_add(1) };
        if publish(&issuer, fetched, asked_at) {
            changes.send_modify(|changes| *changes += 1);
        }
        issuer.progress.send_modify(|progress| progress.ended = progress.begun);
        let next = begun + wait(settings.refresh, failures);
        let wanted = async {
            loop {
                issuer.wanted.notified().await;
                // Somebody who asked while it was being fetched has been served.
                if begun.elapsed() >= SPACING {
                    return;
                }
            }
        };
        tokio::select! {
            () = sleep_until(next) => {}
            () = wanted => {}
        }
    }
}

/// How long to wait: the interval, or less after failures; give or take a tenth, so that not all nodes come at once.
fn wait(refresh: Duration, failures: u32) -> Duration {
    let plain = match failures.checked_sub(1) {
        None => refresh,
        Some(doublings) => (RETRY * 2_u32.pow(doublings.min(6))).min(RETRY_MOST).min(refresh),
    };
    let [byte] = random::array::<1>().unwrap_or([128]);
    plain * (922 + u32::from(byte) * 156 / 255) / 1000
}

/// Publishes what a fetch brought; true where what is believed has changed.
fn publish<K: Keys>(issuer: &Issuer<K>, fetched: Result<K, KeyFault>, asked_at: UnixMillis) -> bool {
    let before = issuer.published.load_full();
    if before.ended {
        return false;
    }
    let settings = issuer.key_settings();
    match fetched {
        Err(fault) => {
            issuer.counts.failed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(issuer = %issuer.name(), error = %fault, "the keys of an issuer could not be fetched");
            let fault = Some(Arc::new(fault));
            let published = Published {
                keys: before.keys.clone(),
                generation: before.generation,
                verified_with: before.verified_with.clone(),
                ended: false,
                fault,
            };
            replace(issuer, &before, published);
            false
        }
        Ok(keys) => {
            issuer.counts.fetched.fetch_add(1, Ordering::Relaxed);
            let digest = keys.digest();
            let same = before.keys.as_ref().filter(|held| held.digest == digest);
            let changed = same.is_none();
            // The same keys stay where they are: what refers to them finds itself again.
            let keys = same.map_or_else(|| Arc::new(keys), |held| Arc::clone(&held.keys));
            let max_stale = u64::try_from(settings.max_stale.as_millis()).unwrap_or(u64::MAX);
            let until = Some(asked_at.plus(max_stale));
            let held = Held { keys, digest, at: Some(asked_at), until };
            let generation = before.generation + u64::from(changed);
            let verified_with = if changed { issuer.generations.begin() } else { before.verified_with.clone() };
            replace(
                issuer,
                &before,
                Published { keys: Some(held), generation, verified_with, ended: false, fault: None },
            );
            changed
        }
    }
}

/// Puts what is published in the place of what was, unless the issuer has ended in between.
fn replace<K>(issuer: &Issuer<K>, before: &Arc<Published<K>>, published: Published<K>) {
    issuer.published.compare_and_swap(before, Arc::new(published));
}

async fn fetch<K: Keys>(settings: &KeySettings, client: &Client) -> Result<K, KeyFault> {
    let (url, origin) = match &settings.from {
        KeysFrom::Given(set) => return K::parse(set).map_err(KeyFault::Parse),
        KeysFrom::Url(url) => (url.clone(), Origin::Operator),
        KeysFrom::Discovery(issuer) => discover(&settings.issuer, issuer, client).await?,
    };
    let request = Request::get(url, origin).body_bytes(KEY_SET_BYTES_MAX);
    let set = client.fetch(request).await.and_then(|response| response.ok()).map_err(KeyFault::Fetch)?;
    K::parse(&set).map_err(KeyFault::Parse)
}

/// Asks the well-known places of an issuer, one after the other. Of two failures the one that says more is told: that a place
/// does not exist says least.
async fn discover(issuer: &str, written: &url::Url, client: &Client) -> Result<(url::Url, Origin), KeyFault> {
    let mut told = None;
    for place in discovery::well_known(written) {
        let request = Request::get(place, Origin::Operator).accept(Accept::Json).body_bytes(DOCUMENT_BYTES_MAX);
        let document = client.fetch(request).await.and_then(|response| response.ok());
        let fault = match document {
            Err(error) => KeyFault::Fetch(error),
            Ok(document) => match discovery::read(&document, issuer, written) {
                Ok(found) => return Ok(found),
                Err(fault) => KeyFault::Discovery(fault),
            },
        };
        let says_little = matches!(told, None | Some(KeyFault::Fetch(FetchError::Status(_))));
        if says_little {
            told = Some(fault);
        }
    }
    Err(told.unwrap_or(KeyFault::Discovery(super::DiscoveryFault::NoKeys)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded_and_scattered() {
        let refresh = Duration::from_secs(900);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            let waited = wait(refresh, 0);
            assert!(waited >= refresh * 9 / 10 && waited <= refresh * 11 / 10, "{waited:?}");
            seen.insert(waited);
        }
        assert!(seen.len() > 20);
        for (failures, plain) in [(1, 1), (2, 2), (6, 32), (7, 60), (u32::MAX, 60)] {
            let waited = wait(refresh, failures).as_millis();
            assert!(waited >= plain * 900 && waited <= plain * 1_100, "{failures}: {waited}");
        }
        assert!(wait(Duration::from_secs(10), 50) <= Duration::from_secs(11));
    }
}
