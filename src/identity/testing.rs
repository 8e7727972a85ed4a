//! Keys and clocks for the tests of this room.

use super::{Clock, Keys};
use lockgate_filters::exchange::UnixMillis;
use std::sync::Arc;
use tokio::time::Instant;

/// A key set that is a text: `keys:` and anything.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl Keys for Text {
    fn parse(set: &[u8]) -> Result<Text, String> {
        let text = std::str::from_utf8(set).map_err(|_| "no text".to_owned())?;
        text.strip_prefix("keys:").map(|keys| Text(keys.to_owned())).ok_or_else(|| "no keys".to_owned())
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        for (at, byte) in self.0.bytes().enumerate() {
            digest[at % 32] ^= byte;
        }
        digest
    }
}

/// The time of the test's runtime, which may stand still.
pub(super) fn clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || UnixMillis(1_000_000 + start.elapsed().as_millis() as u64))
}
