//! Places in a list, as clients get to hold them: sealed, and good for any later catalog.

use crate::federate::audience::Audience;
use crate::federate::kind::Kind;
use crate::ticket::{Keyring, Purpose, SealFailed};
use aws_lc_rs::digest::{SHA256, digest};
use smallvec::SmallVec;

const FINGERPRINT_BYTES: usize = 16;
/// Kind, index, fingerprint and the mark of an audience.
const PLAIN_BYTES_MAX: usize = 1 + 4 + FINGERPRINT_BYTES + 8;

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
    pub fn seal(
        &self,
        keys: &Keyring,
        server: &str,
        kind: Kind,
        audience: Option<Audience>,
    ) -> Result<String, SealFailed> {
        let mut plain: SmallVec<[u8; PLAIN_BYTES_MAX]> = SmallVec::new();
        plain.push(kind as u8);
        plain.extend_from_slice(&self.index.to_le_bytes());
        plain.extend_from_slice(&self.fingerprint.0);
        plain.extend_from_slice(&marked(audience));
        keys.seal_small(Purpose::Cursor, server, &plain)
    }

    /// Opens the text that a client sends for a list of this kind.
    ///
    /// # Errors
    /// [`NoCursor`] for whatever was not given out by this virtual server for this kind, to this audience; also for the empty
    /// text, which would be a cursor if we had given it out.
    pub fn open(
        keys: &Keyring,
        server: &str,
        kind: Kind,
        audience: Option<Audience>,
        text: &str,
    ) -> Result<Position, NoCursor> {
        let plain = keys.open_small(Purpose::Cursor, server, text).map_err(|_| NoCursor)?;
        let (&number, rest) = plain.split_first().ok_or(NoCursor)?;
        let (index, fingerprint) = rest.split_first_chunk().ok_or(NoCursor)?;
        let (fingerprint, mark) = fingerprint.split_first_chunk().ok_or(NoCursor)?;
        if number != kind as u8 || *mark != *marked(audience) {
            return Err(NoCursor);
        }
        let fingerprint = Fingerprint(*fingerprint);
        Ok(Position { index: u32::from_le_bytes(*index), fingerprint })
    }
}

/// Another audience has another list, in which the position would mean something else.
fn marked(audience: Option<Audience>) -> SmallVec<[u8; 8]> {
    audience.map(|audience| SmallVec::from(audience.mark())).unwrap_or_default()
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
