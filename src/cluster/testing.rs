//! What tests of this room share.

use lockgate_filters::ticket::{Key, Keyring};

/// A keyring of these keys, the first of which is shown.
pub(super) fn ring(seeds: &[u8]) -> Keyring {
    let key = |seed: &u8| {
        let secret: Vec<u8> = (0..32).map(|i: u8| seed.wrapping_mul(31).wrapping_add(i)).collect();
        Key::derive(&format!("k{seed}"), &secret).unwrap()
    };
    Keyring::new(seeds.iter().map(key).collect()).unwrap()
}
