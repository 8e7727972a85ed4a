//! Places in a list, as clients get to hold them: sealed, and good for any later catalog.

use crate::federate::kind::Kind;
use crate::ticket::{Keyring, Purpose, SealFailed};
use aws_lc_rs::digest::{SHA256, digest};

const FINGERPRINT_BYTES: usize = 16;

/// Behind which item a page begins.
///
/// Remembers the item and where it stood: where it stands now counts, and where it is gone, the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    index: u32,
    fingerprint: Fingerprint,
}

/// What an item is known by in cursors: part of a digest of its exposed name, URI or template, which may be long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; FINGERPRINT_BYTES]);

/// A cursor that was not given out here for this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this cursor was not given out for this list")]
pub struct NoCursor;

impl Position {
    /// Behind the item of this exposed name, which stands at `index`.
    pub fn of(index: usize, exposed: &str) -> Position {
        Position::at(index, Fingerprint::of(exposed))
    }

    pub(super) fn at(index: usize, fingerprint: Fingerprint) -> Position {
        Position { index: u32::try_from(index).unwrap_or(u32::MAX), fingerprint }
    }

    /// The index of the first item behind this position, among items with these fingerprints.
    pub(super) fn resume(&self, items: impl ExactSizeIterator<Item = Fingerprint> + Clone) -> usize {
        let index = self.index as usize;
        if items.clone().nth(index) == Some(self.fingerprint) {
            return index + 1;
        }
        let count = items.len();
        items.into_iter().position(|item| item == self.fingerprint).map_or(index.min(count), |at| at + 1)
    }

    /// The text that a client gets.
    ///
    /// # Errors
    /// [`SealFailed`] when the machine gives no randomness.
    pub fn seal(&self, keys: &Keyring, server: &str, kind: Kind) -> Result<String, SealFailed> {
        let mut plain = [0; 1 + 4 + FINGERPRINT_BYTES];
        plain[0] = kind as u8;
        plain[1..5].copy_from_slice(&self.index.to_le_bytes());
        plain[5..].copy_from_slice(&self.fingerprint.0);
        keys.seal_small(Purpose::Cursor, server, &plain)
    }

    /// Opens the text that a client sends for a list of this kind.
    ///
    /// # Errors
    /// [`NoCursor`] for whatever was not given out by this virtual server for this kind; also for the empty text, which
    /// would be a cursor if we had given it out.
    pub fn open(keys: &Keyring, server: &str, kind: Kind, text: &str) -> Result<Position, NoCursor> {
        let plain = keys.open_small(Purpose::Cursor, server, text).map_err(|_| NoCursor)?;
        let (&number, rest) = plain.split_first().ok_or(NoCursor)?;
        let (index, fingerprint) = rest.split_first_chunk().ok_or(NoCursor)?;
        let fingerprint = Fingerprint(fingerprint.try_into().map_err(|_| NoCursor)?);
        if number != kind as u8 {
            return Err(NoCursor);
        }
        Ok(Position { index: u32::from_le_bytes(*index), fingerprint })
    }
}

impl Fingerprint {
    pub(super) fn of(exposed: &str) -> Fingerprint {
        let mut bytes = [0; FINGERPRINT_BYTES];
        bytes.copy_from_slice(&digest(&SHA256, exposed.as_bytes()).as_ref()[..FINGERPRINT_BYTES]);
        Fingerprint(bytes)
    }
}

#[cfg(test)]
mod tests;
