//! Reading a journal back, also one that was cut short or damaged.
//!
//! Records count up to the first that is damaged. If nothing readable follows it, it is the torn end of an interrupted
//! write: cut, and no harm done. If something does, the file was damaged in its middle: changes behind the damage would be
//! applied to a state that lacks some, so they are left out, except for ends. An ended session must not come back to
//! life, and an end is true whatever came before it.

use super::record::{self, Change, HEAD_BYTES, MARKER, PAYLOAD_BYTES_MAX};
use memchr::memmem;
use std::io::{self, Read};

/// The first bytes of a journal: its kind and format.
pub(super) const HEADER: &[u8; 16] = b"lockgate-journ1\n";

/// What reading found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Changes that were applied.
    pub changes: usize,
    /// Whole records that this version cannot read; they were skipped.
    pub unreadable: usize,
    /// Bytes of a torn last record; they are cut off.
    pub torn_bytes: usize,
    /// Bytes at and behind damage within the file; only ends were taken from them.
    pub damaged_bytes: usize,
    /// Ends that were found behind the damage.
    pub salvaged_ends: usize,
    /// How long the intact beginning is, in bytes.
    pub intact_bytes: u64,
}

/// Applies every change that may be trusted, in order. An empty source is an empty journal.
///
/// # Errors
/// What reading gave; [`io::ErrorKind::InvalidData`] when the source is no journal of this format.
pub(super) fn replay(mut source: impl Read, mut apply: impl FnMut(Change)) -> io::Result<ReplayReport> {
    let mut report = ReplayReport::default();
    let mut rest = Vec::new();
    read_up_to(&mut source, HEADER.len(), &mut rest)?;
    if !HEADER.starts_with(&rest) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a journal of a format that this version knows"));
    }
    if rest.len() < HEADER.len() {
        report.torn_bytes = rest.len();
        return Ok(report);
    }
    report.intact_bytes = HEADER.len() as u64;
    let mut payload = Vec::new();
    loop {
        rest.clear();
        if !read_up_to(&mut source, HEAD_BYTES, &mut rest)? {
            break;
        }
        let Some((length, crc)) = parse_head(&rest) else { break };
        payload.clear();
        let whole = read_up_to(&mut source, length as usize, &mut payload)?;
        if !whole || record::checksum(length.to_le_bytes(), &payload) != crc {
            rest.extend_from_slice(&payload);
            break;
        }
        match record::decode(&payload) {
            Some(change) => {
                report.changes += 1;
                apply(change);
            }
            None => report.unreadable += 1,
        }
        report.intact_bytes += (HEAD_BYTES + payload.len()) as u64;
    }
    source.read_to_end(&mut rest)?;
    salvage(&rest, &mut report, apply);
    Ok(report)
}

fn salvage(rest: &[u8], report: &mut ReplayReport, mut apply: impl FnMut(Change)) {
    let mut readable = 0;
    let mut from = 0;
    while let Some(found) = memmem::find(&rest[from..], &MARKER) {
        from += found;
        let Some(payload) = whole_record(&rest[from..]) else {
            from += 1;
            continue;
        };
        readable += 1;
        if let Some(change @ Change::Ended { .. }) = record::decode(payload) {
            report.salvaged_ends += 1;
            apply(change);
        }
        from += HEAD_BYTES + payload.len();
    }
    if readable > 0 {
        report.damaged_bytes = rest.len();
    } else {
        report.torn_bytes = rest.len();
    }
}

fn whole_record(bytes: &[u8]) -> Option<&[u8]> {
    let (head, behind) = bytes.split_at_checked(HEAD_BYTES)?;
    let (length, crc) = parse_head(head)?;
    let payload = behind.get(..length as usize)?;
    (record::checksum(length.to_le_bytes(), payload) == crc).then_some(payload)
}

/// Length and checksum, if this is the head of a record.
fn parse_head(head: &[u8]) -> Option<(u32, u32)> {
    let (words, []) = head.as_chunks::<4>() else { return None };
    let &[marker, length, crc] = words else { return None };
    let length = u32::from_le_bytes(length);
    let plausible = marker == MARKER && (1..=PAYLOAD_BYTES_MAX).contains(&(length as usize));
    plausible.then_some((length, u32::from_le_bytes(crc)))
}

/// Appends up to `length` bytes; whether there were that many.
fn read_up_to(source: &mut impl Read, length: usize, into: &mut Vec<u8>) -> io::Result<bool> {
    let read = source.by_ref().take(length as u64).read_to_end(into)?;
    Ok(read == length)
}
