//! Server-sent events, framed without being re-written (WHATWG HTML, section 9.2).
//!
//! [`Framer`] watches a stream that passes through and knows where events end; [`EventReader`] takes events out of a
//! stream that is read here; [`write_event`] makes one.
//!
//! A **frame** is what stands between two empty lines: an event, or only comments and other fields. Lines end with LF, CR
//! or CR LF. A chunk may end between a CR and its LF, so a frame ends with the CR: it is given out at once, and an LF that
//! comes later leads the next frame, where it means nothing.

mod framer;
mod mark;
mod reader;
mod rewrite;

pub use framer::{End, Framer, Piece};
pub use mark::{BYTE_ORDER_MARK, Unmark};
pub use reader::EventReader;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2, memchr3};

/// An event is longer than the limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is longer than {limit} bytes")]
pub struct TooLong {
    /// The limit, in bytes.
    pub limit: usize,
}

/// One frame, and what its fields say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The frame as it came, the empty line included.
    pub bytes: Bytes,
    /// The value of its `id` field; empty where the field is there and empty. Ids with NUL count as none (section 9.2.6).
    pub id: Option<Bytes>,
    /// The value of its `event` field.
    pub event: Option<Bytes>,
    /// The value of its `retry` field, in milliseconds; anything but digits counts as none.
    pub retry: Option<u64>,
    /// Whether it has a `data` field, if an empty one: only then is it an event.
    pub has_data: bool,
    /// Its data: the `data` fields joined with line feeds.
    pub data: Bytes,
}

impl Frame {
    /// Reads a frame, whose first `lead` bytes belong to no line.
    fn read(bytes: Bytes, lead: usize) -> Frame {
        let mut frame = Frame { id: None, event: None, retry: None, has_data: false, data: Bytes::new(), bytes };
        let bytes = frame.bytes.clone();
        let mut joined = BytesMut::new();
        let mut start = lead;
        while let Some(length) = bytes.get(start..).and_then(|rest| memchr2(b'\n', b'\r', rest)) {
            let end = start + length;
            let (name, value) = field(&bytes, start, end);
            match name {
                b"data" if !frame.has_data => {
                    frame.has_data = true;
                    frame.data = value;
                }
                b"data" => {
                    if joined.is_empty() {
                        joined.extend_from_slice(&frame.data);
                    }
                    joined.extend_from_slice(b"\n");
                    joined.extend_from_slice(&value);
                }
                b"id" if !value.contains(&0) => frame.id = Some(value),
                b"event" => frame.event = Some(value),
                b"retry" => frame.retry = milliseconds(&value).or(frame.retry),
                _ => {}
            }
            let pair = bytes[end] == b'\r' && bytes.get(end + 1) == Some(&b'\n');
            start = end + if pair { 2 } else { 1 };
        }
        if !joined.is_empty() {
            frame.data = joined.freeze();
        }
        frame
    }
}

/// A field's name and value; one space behind the colon is no part of the value. A comment has an empty name.
fn field(bytes: &Bytes, start: usize, end: usize) -> (&[u8], Bytes) {
    let line = &bytes[start..end];
    let Some(colon) = memchr(b':', line) else { return (line, Bytes::new()) };
    let value = colon + 1 + usize::from(line.get(colon + 1) == Some(&b' '));
    (&line[..colon], bytes.slice(start + value..end))
}

fn milliseconds(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// An event with this id and data.
///
/// Line breaks in the data become lines of their own; an id that no field can hold (NUL, CR, LF) is left out.
pub fn write_event(id: Option<&[u8]>, data: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(data.len() + 16 + id.map_or(0, |id| id.len() + 5));
    if let Some(id) = id.filter(|id| memchr3(b'\n', b'\r', 0, id).is_none()) {
        event.extend_from_slice(b"id: ");
        event.extend_from_slice(id);
        event.extend_from_slice(b"\n");
    }
    let mut rest = data;
    loop {
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(&rest[..end]);
        event.extend_from_slice(b"\n");
        if end == rest.len() {
            break;
        }
        let pair = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + if pair { 2 } else { 1 }..];
    }
    event.extend_from_slice(b"\n");
    event.freeze()
}

#[cfg(test)]
mod tests;
