//! Names for exchanges, so that an answer, a log line and a backend's log can be put together.
//!
//! A generated id is 16 bytes from the operating system's random source as 32 lower-case hex digits, which is also the
//! form of a W3C trace id. Each thread draws from a pool of its own, so making one takes no lock and no system call.

use aws_lc_rs::rand;
use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

/// The longest id taken over from a trusted proxy, in bytes.
pub const ADOPTED_BYTES_MAX: usize = 128;

const RANDOM_BYTES: usize = 16;
const GENERATED_BYTES: usize = 2 * RANDOM_BYTES;
const POOL_BYTES: usize = 64 * RANDOM_BYTES;

/// The id of one exchange: visible ASCII, on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CorrelationId {
    bytes: [u8; ADOPTED_BYTES_MAX],
    length: u8,
}

impl CorrelationId {
    /// A fresh id: unique, and not to be guessed from others.
    pub fn generate() -> CorrelationId {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut id = CorrelationId { bytes: [0; ADOPTED_BYTES_MAX], length: GENERATED_BYTES as u8 };
        for (pair, byte) in id.bytes.chunks_exact_mut(2).zip(random()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        id
    }

    /// The id that a trusted proxy sent in `X-Request-Id`, if it is 1 to [`ADOPTED_BYTES_MAX`] visible ASCII characters.
    pub fn adopt(value: &[u8]) -> Option<CorrelationId> {
        if value.is_empty() || value.len() > ADOPTED_BYTES_MAX || !value.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut id = CorrelationId { bytes: [0; ADOPTED_BYTES_MAX], length: value.len() as u8 };
        id.bytes[..value.len()].copy_from_slice(value);
        Some(id)
    }

    /// The id as text: safe in a header, in JSON only when escaped (an adopted id may hold quotes).
    pub fn as_str(&self) -> &str {
        // Both constructors put ASCII there, so the fallback is never seen.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CorrelationId({self})")
    }
}

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

fn random() -> [u8; RANDOM_BYTES] {
    POOL.with_borrow_mut(|pool| {
        if pool.used == POOL_BYTES {
            if rand::fill(&mut pool.bytes).is_err() {
                return random_without_source();
            }
            pool.used = 0;
        }
        let mut bytes = [0; RANDOM_BYTES];
        bytes.copy_from_slice(&pool.bytes[pool.used..pool.used + RANDOM_BYTES]);
        pool.used += RANDOM_BYTES;
        bytes
    })
}

/// Unique, if easier to guess: the standard library keys each hasher anew from what it once got from the system.
#[cold]
fn random_without_source() -> [u8; RANDOM_BYTES] {
    let mut bytes = [0; RANDOM_BYTES];
    for half in bytes.chunks_exact_mut(8) {
        half.copy_from_slice(&RandomState::new().build_hasher().finish().to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn generated_ids_are_hex_and_differ_within_and_across_threads() {
        let ids = || (0..1000).map(|_| CorrelationId::generate()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(ids)).collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        for id in &all {
            assert_eq!(id.as_str().len(), 32);
            assert!(id.as_str().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        }
    }

    #[test]
    fn ids_without_a_random_source_still_differ() {
        assert_ne!(random_without_source(), random_without_source());
    }

    #[test]
    fn only_short_visible_ascii_is_adopted() {
        assert_eq!(CorrelationId::adopt(b"req-42/a").unwrap().to_string(), "req-42/a");
        assert_eq!(CorrelationId::adopt(&[b'x'; 128]).unwrap().as_str().len(), 128);
        for bad in [&b""[..], &[b'x'; 129], b"a b", b"a\tb", b"a\r\nb", "ä".as_bytes(), b"\x7f"] {
            assert!(CorrelationId::adopt(bad).is_none(), "{bad:?}");
        }
    }

    /// Run by hand, in release mode: `cargo test --release -p lockgate cost_of_an_id -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn cost_of_an_id() {
        const ROUNDS: u32 = 5_000_000;
        let start = std::time::Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(CorrelationId::generate());
        }
        println!("{:.1} ns an id", start.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
    }
}
