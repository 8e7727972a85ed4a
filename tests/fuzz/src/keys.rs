//! The key that seals what targets make. The corpora hold what it sealed for another virtual server, never for [`SERVER`].

use lockgate_filters::ticket::{Key, Keyring};
use std::sync::LazyLock;

/// The virtual server that targets seal for.
pub const SERVER: &str = "default";

/// The one key.
pub static KEYS: LazyLock<Keyring> = LazyLock::new(|| {
    let key = Key::derive("k1", b"a secret that only fuzz targets know").expect("a good secret");
    Keyring::new(vec![key]).expect("a keyring")
});
