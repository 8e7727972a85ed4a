//! Tokens that were verified, and some that were refused, by their hash.
//!
//! A hit costs one hash, one lock of one of many shards and the clone of an `Arc`. An entry counts only where it was made:
//! the accepting context (a virtual server, its audiences and issuers) is part of the key. It ends with the token, with the
//! last moment at which its issuer's keys are believed, and at once with the generation of the issuer's settings and keys.
//!
//! Refused tokens are kept for a short time in a place of their own, so whoever sends forged ones evicts only others of them.
//! When a place is full, what was not looked up lately goes first (CLOCK).

use super::fault::TokenFault;
use super::generation::Generation;
use crate::exchange::UnixMillis;
use crate::principal::Principal;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context as Digest, SHA256};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How long a refused token is remembered, in milliseconds: 10 s.
pub const REFUSED_MILLIS: u64 = 10_000;

const SHARDS: usize = 64;

/// Where a token is accepted: what was verified in one context is unknown in every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context([u8; 32]);

impl Context {
    /// The context of these texts, such as a virtual server's name and the audiences and issuers that it accepts. Two lists
    /// of texts make the same context only where they are equal.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Context {
        let mut digest = Digest::new(&SHA256);
        for text in texts {
            digest.update(&(text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        }
        Context(finished(digest))
    }
}

/// What a token is looked up by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of a token in a context.
    pub fn of(context: &Context, token: &str) -> Key {
        let mut digest = Digest::new(&SHA256);
        digest.update(&context.0);
        digest.update(token.as_bytes());
        Key(finished(digest))
    }
}

fn finished(digest: Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.finish().as_ref());
    bytes
}

/// A token that was verified.
pub struct Entry {
    /// Whose it is.
    pub principal: Arc<Principal>,
    /// The name of the issuer in the configuration.
    pub issuer: Arc<str>,
    /// The accepted audience that it is for.
    pub audience: Box<str>,
    /// The client certificate that it is bound to.
    pub bound: Option<[u8; 32]>,
    /// What it was verified with.
    pub generation: Generation,
    /// The first moment at which the keys that it was verified with are no longer believed.
    pub valid_until: Option<UnixMillis>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// What is known of a token.
#[derive(Debug)]
pub enum Found {
    /// It was verified, and still counts.
    Verified(Arc<Entry>),
    /// It was refused, and nothing has changed since.
    Refused(TokenFault),
    /// Nothing.
    Unknown,
}

/// The tokens that are known.
pub struct TokenCache {
    verified: Place<Arc<Entry>>,
    refused: Place<Refused>,
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").finish_non_exhaustive()
    }
}

impl TokenCache {
    /// Keeps at most so many verified and so many refused tokens, to the next multiple of 64.
    pub fn new(verified: usize, refused: usize) -> TokenCache {
        TokenCache { verified: Place::new(verified), refused: Place::new(refused) }
    }

    /// What is known of a token that comes over a connection with this client certificate.
    pub fn find(&self, key: &Key, certificate: Option<&[u8; 32]>, now: UnixMillis) -> Found {
        if let Some(entry) = self.verified.find(key, now) {
            let shown = |bound| certificate.is_some_and(|shown| verify_slices_are_equal(shown, bound).is_ok());
            return match &entry.bound {
                Some(bound) if !shown(bound) => Found::Refused(TokenFault::NotBound),
                _ => Found::Verified(entry),
            };
        }
        self.refused.find(key, now).map_or(Found::Unknown, |refused| Found::Refused(refused.fault))
    }

    /// Keeps a token that was verified.
    pub fn keep(&self, key: Key, entry: Arc<Entry>, now: UnixMillis) {
        self.verified.keep(key, entry, now);
    }

    /// Remembers that a token was refused with this generation, where it would be again: see [`TokenFault::is_lasting`].
    pub fn refuse(&self, key: Key, fault: TokenFault, generation: Generation, now: UnixMillis) {
        if fault.is_lasting() {
            self.refused.keep(key, Refused { fault, generation, until: now.plus(REFUSED_MILLIS) }, now);
        }
    }

    /// Lets go of everything that no longer counts. Nobody depends on it: it frees memory.
    pub fn sweep(&self, now: UnixMillis) {
        self.verified.sweep(now);
        self.refused.sweep(now);
    }

    /// How many verified and how many refused tokens are kept.
    pub fn len(&self) -> (usize, usize) {
        (self.verified.len(), self.refused.len())
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }
}

trait Counts: Clone {
    fn counts(&self, now: UnixMillis) -> bool;
}

impl Counts for Arc<Entry> {
    fn counts(&self, now: UnixMillis) -> bool {
        self.generation.is_current()
            && self.principal.is_current(now)
            && self.valid_until.is_none_or(|until| now < until)
    }
}

#[derive(Clone)]
struct Refused {
    fault: TokenFault,
    generation: Generation,
    until: UnixMillis,
}

impl Counts for Refused {
    fn counts(&self, now: UnixMillis) -> bool {
        now < self.until && self.generation.is_current()
    }
}

/// A bounded map in shards.
struct Place<V> {
    shards: Box<[Mutex<Shard<V>>]>,
}

impl<V: Counts> Place<V> {
    fn new(entries: usize) -> Place<V> {
        let room = entries.div_ceil(SHARDS);
        Place { shards: (0..SHARDS).map(|_| Mutex::new(Shard::new(room))).collect() }
    }

    /// Nothing is done under a lock that could panic half way, so a poisoned one is as good.
    fn shard(&self, key: &Key) -> Option<MutexGuard<'_, Shard<V>>> {
        let at = usize::from(key.0[0]) % SHARDS;
        self.shards.get(at).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, key: &Key, now: UnixMillis) -> Option<V> {
        self.shard(key)?.find(key, now)
    }

    fn keep(&self, key: Key, value: V, now: UnixMillis) {
        if let Some(mut shard) = self.shard(&key) {
            shard.keep(key, value, now);
        }
    }

    fn sweep(&self, now: UnixMillis) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).sweep(now);
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).slots.len()).sum()
    }
}

struct Slot<V> {
    key: [u8; 32],
    value: V,
    /// Looked up since the hand came by.
    used: bool,
}

struct Shard<V> {
    places: HashMap<[u8; 32], usize, RandomState>,
    slots: Vec<Slot<V>>,
    room: usize,
    hand: usize,
}

impl<V: Counts> Shard<V> {
    fn new(room: usize) -> Shard<V> {
        Shard { places: HashMap::default(), slots: Vec::new(), room, hand: 0 }
    }

    fn find(&mut self, key: &Key, now: UnixMillis) -> Option<V> {
        let at = *self.places.get(&key.0)?;
        let slot = self.slots.get_mut(at)?;
        if slot.value.counts(now) {
            slot.used = true;
            return Some(slot.value.clone());
        }
        self.remove(at);
        None
    }

    fn keep(&mut self, Key(key): Key, value: V, now: UnixMillis) {
        let new = Slot { key, value, used: false };
        if let Some(slot) = self.places.get(&key).and_then(|at| self.slots.get_mut(*at)) {
            *slot = new;
            return;
        }
        if self.slots.len() < self.room {
            self.places.insert(key, self.slots.len());
            self.slots.push(new);
            return;
        }
        // At the latest in the second round somebody has not been used.
        for _ in 0..2 * self.slots.len() {
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            let Some(slot) = self.slots.get_mut(at) else { return };
            if slot.used && slot.value.counts(now) {
                slot.used = false;
                continue;
            }
            self.places.remove(&slot.key);
            self.places.insert(key, at);
            *slot = new;
            return;
        }
    }

    fn remove(&mut self, at: usize) {
        let removed = self.slots.swap_remove(at);
        self.places.remove(&removed.key);
        if let Some(moved) = self.slots.get(at) {
            self.places.insert(moved.key, at);
        }
    }

    fn sweep(&mut self, now: UnixMillis) {
        for at in (0..self.slots.len()).rev() {
            if self.slots.get(at).is_some_and(|slot| !slot.value.counts(now)) {
                self.remove(at);
            }
        }
        self.slots.shrink_to(self.slots.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::generation::Generations;
    use crate::principal::{Facts, Proof};
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_000);

    fn principal(expires: u64) -> Arc<Principal> {
        Arc::new(Principal::new(Facts {
            issuer: "https://i".into(),
            subject: "s".into(),
            tenant: None,
            groups: Box::default(),
            scopes: None,
            proof: Proof::Token { issuer: "corp".into() },
            claims: Arc::default(),
            expires: Some(UnixMillis(expires)),
            credential: None,
        }))
    }

    fn entry(generation: Generation) -> Entry {
        let valid_until = Some(UnixMillis(5_000));
        Entry {
            principal: principal(9_000),
            issuer: "corp".into(),
            audience: "a".into(),
            bound: None,
            generation,
            valid_until,
        }
    }

    fn key(token: &str) -> Key {
        Key::of(&Context::of(["one"]), token)
    }

    fn is_verified(cache: &TokenCache, key: &Key, now: UnixMillis) -> bool {
        matches!(cache.find(key, None, now), Found::Verified(_))
    }

    #[test]
    fn a_token_is_known_until_its_end_or_that_of_its_keys() {
        let (cache, issuer) = (TokenCache::new(64, 64), Generations::new());
        let generation = issuer.begin();
        cache.keep(key("t"), Arc::new(entry(generation.clone())), NOW);
        assert!(is_verified(&cache, &key("t"), NOW));
        assert!(is_verified(&cache, &key("t"), UnixMillis(4_999)));
        assert!(!is_verified(&cache, &key("t"), UnixMillis(5_000)));
        assert!(cache.is_empty());
        cache.keep(key("t"), Arc::new(Entry { valid_until: None, ..entry(generation) }), NOW);
        assert!(is_verified(&cache, &key("t"), UnixMillis(8_999)));
        assert!(!is_verified(&cache, &key("t"), UnixMillis(9_000)));
    }

    #[test]
    fn a_token_verified_for_one_virtual_server_is_unknown_at_another() {
        let (cache, issuer) = (TokenCache::new(64, 64), Generations::new());
        cache.keep(key("t"), Arc::new(entry(issuer.begin())), NOW);
        for other in [Context::of(["two"]), Context::of(["on", "e"]), Context::of(["one", ""]), Context::of([])] {
            assert!(!is_verified(&cache, &Key::of(&other, "t"), NOW));
        }
        assert!(Key::of(&Context::of(["a"]), "bt") != Key::of(&Context::of(["ab"]), "t"));
    }

    #[test]
    fn removing_an_issuer_or_changing_it_ends_its_entries_at_once_and_no_others() {
        let (cache, issuer, other) = (TokenCache::new(64, 64), Generations::new(), Generations::new());
        let old = issuer.begin();
        cache.keep(key("t"), Arc::new(entry(old.clone())), NOW);
        cache.keep(key("u"), Arc::new(entry(other.begin())), NOW);
        cache.refuse(key("v"), TokenFault::Signature, old.clone(), NOW);
        assert!(matches!(cache.find(&key("v"), None, NOW), Found::Refused(TokenFault::Signature)));
        let new = issuer.begin();
        assert!(!is_verified(&cache, &key("t"), NOW) && is_verified(&cache, &key("u"), NOW));
        assert!(matches!(cache.find(&key("v"), None, NOW), Found::Unknown));
        // Whoever was still verifying with the old settings keeps nothing that counts.
        cache.keep(key("t"), Arc::new(entry(old)), NOW);
        assert!(!is_verified(&cache, &key("t"), NOW));
        cache.keep(key("t"), Arc::new(entry(new)), NOW);
        assert!(is_verified(&cache, &key("t"), NOW));
        issuer.end();
        assert!(!is_verified(&cache, &key("t"), NOW));
    }

    #[test]
    fn a_bound_token_is_known_with_its_certificate_only() {
        let (cache, issuer) = (TokenCache::new(64, 64), Generations::new());
        cache.keep(key("t"), Arc::new(Entry { bound: Some([7; 32]), ..entry(issuer.begin()) }), NOW);
        assert!(matches!(cache.find(&key("t"), Some(&[7; 32]), NOW), Found::Verified(_)));
        assert!(matches!(cache.find(&key("t"), Some(&[8; 32]), NOW), Found::Refused(TokenFault::NotBound)));
        assert!(matches!(cache.find(&key("t"), None, NOW), Found::Refused(TokenFault::NotBound)));
    }

    #[test]
    fn forged_tokens_are_remembered_for_a_short_time_and_evict_no_good_one() {
        let (cache, issuer) = (TokenCache::new(64, 64), Generations::new());
        let generation = issuer.begin();
        cache.keep(key("good"), Arc::new(entry(generation.clone())), NOW);
        for n in 0..10_000 {
            cache.refuse(key(&n.to_string()), TokenFault::Signature, generation.clone(), NOW);
        }
        assert!(is_verified(&cache, &key("good"), NOW));
        assert_eq!(cache.len(), (1, 64));
        assert!(matches!(cache.find(&key("9999"), None, UnixMillis(NOW.0 + REFUSED_MILLIS - 1)), Found::Refused(_)));
        assert!(matches!(cache.find(&key("9999"), None, NOW.plus(REFUSED_MILLIS)), Found::Unknown));
        // What may be different the next time is not remembered.
        for fault in TokenFault::ALL.into_iter().filter(|fault| !fault.is_lasting()) {
            cache.refuse(key("later"), fault, generation.clone(), NOW);
            assert!(matches!(cache.find(&key("later"), None, NOW), Found::Unknown), "{fault:?}");
        }
    }

    #[test]
    fn what_is_used_stays_when_there_is_no_room() {
        let (cache, issuer) = (TokenCache::new(64 * 4, 64), Generations::new());
        let generation = issuer.begin();
        cache.keep(key("used"), Arc::new(entry(generation.clone())), NOW);
        for n in 0..20_000 {
            assert!(is_verified(&cache, &key("used"), NOW), "{n}");
            cache.keep(key(&n.to_string()), Arc::new(entry(generation.clone())), NOW);
        }
        assert_eq!(cache.len().0, 64 * 4);
    }

    #[test]
    fn sweeping_frees_what_no_longer_counts() {
        let (cache, issuer, other) = (TokenCache::new(6_400, 6_400), Generations::new(), Generations::new());
        let (generation, kept) = (issuer.begin(), other.begin());
        for n in 0..1_000 {
            let generation = if n % 2 == 0 { &generation } else { &kept };
            cache.keep(key(&n.to_string()), Arc::new(entry(generation.clone())), NOW);
            cache.refuse(key(&format!("x{n}")), TokenFault::Signature, generation.clone(), NOW);
        }
        assert_eq!(cache.len(), (1_000, 1_000));
        issuer.end();
        cache.sweep(NOW);
        assert_eq!(cache.len(), (500, 500));
        assert!((0..1_000).all(|n| is_verified(&cache, &key(&n.to_string()), NOW) == (n % 2 == 1)));
        cache.sweep(UnixMillis(1_000_000));
        assert!(cache.is_empty());
    }

    #[test]
    fn a_cache_without_room_keeps_nothing() {
        let cache = TokenCache::new(0, 0);
        cache.keep(key("t"), Arc::new(entry(Generations::new().begin())), NOW);
        assert!(cache.is_empty());
    }

    /// `cargo test --release -p lockgate-filters --lib cost_of_a_hit -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn cost_of_a_hit() {
        let (cache, issuer, context) = (TokenCache::new(10_000, 64), Generations::new(), Context::of(["one"]));
        let generation = issuer.begin();
        let tokens: Vec<String> = (0..1_000).map(|n| format!("{n:0900}")).collect();
        for token in &tokens {
            cache.keep(Key::of(&context, token), Arc::new(entry(generation.clone())), NOW);
        }
        let began = std::time::Instant::now();
        let rounds = 200;
        let mut found = 0;
        for token in (0..rounds).flat_map(|_| &tokens) {
            found += usize::from(is_verified(&cache, &Key::of(&context, token), NOW));
        }
        assert_eq!(found, tokens.len() * rounds);
        println!("{} ns a hit of a token of 900 bytes", began.elapsed().as_nanos() / found as u128);
    }

    proptest! {
        #[test]
        fn a_place_is_a_bounded_map(steps in prop::collection::vec((0..40_u8, any::<bool>(), 0..3_u64), 0..200)) {
            let issuer = Generations::new();
            let generation = issuer.begin();
            let mut shard: Shard<Refused> = Shard::new(8);
            let mut now = 0;
            for (name, keep, passes) in steps {
                now += passes;
                let key = Key([name; 32]);
                if keep {
                    let until = UnixMillis(now + 10);
                    shard.keep(key, Refused { fault: TokenFault::Signature, generation: generation.clone(), until }, UnixMillis(now));
                    prop_assert!(shard.find(&key, UnixMillis(now)).is_some());
                } else if let Some(found) = shard.find(&key, UnixMillis(now)) {
                    prop_assert!(UnixMillis(now) < found.until);
                }
                prop_assert!(shard.slots.len() <= 8);
                prop_assert_eq!(shard.slots.len(), shard.places.len());
                prop_assert!(shard.slots.iter().enumerate().all(|(at, slot)| shard.places.get(&slot.key) == Some(&at)));
            }
        }
    }
}
