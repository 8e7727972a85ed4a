//! Where frames end in a stream that passes through, whatever chunks it comes in.

use super::mark::BYTE_ORDER_MARK;
use super::{Frame, TooLong};
use bytes::{Bytes, BytesMut};
use memchr::memchr2;
use std::collections::VecDeque;
use std::mem;

/// A piece of a chunk: all pieces together are the stream, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// A slice of the chunk.
    pub bytes: Bytes,
    /// Whether a frame ends with this piece; otherwise the frame is still open.
    pub end: Option<End>,
}

/// What is known of a frame at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Whether it has a `data` field, if an empty one; otherwise it only holds comments or other fields.
    pub has_data: bool,
    /// Whether it has an `id` field: [`Framer::last_id`] is now this frame's.
    pub has_id: bool,
    /// How long it is, each end of a line counting as one byte.
    pub length: usize,
    /// How many bytes before its first line belong to no line.
    lead: usize,
}

/// Follows a stream from chunk to chunk.
#[derive(Debug)]
pub struct Framer {
    limit: usize,
    keep: bool,
    line: Line,
    has_data: bool,
    /// The id that the open frame sets.
    id: Option<Vec<u8>>,
    last_id: Vec<u8>,
    /// How long the open frame is, each end of a line counting as one byte.
    open: usize,
    lead: usize,
    /// The last byte was a CR: an LF now belongs to it.
    after_cr: bool,
    /// How much of a byte order mark has come; all of it once the stream's first line has begun.
    mark: usize,
    /// The open frame's bytes from earlier chunks; only when frames are kept.
    kept: BytesMut,
    frames: VecDeque<Frame>,
}

impl Framer {
    /// A framer that only watches: it holds no bytes but those of ids.
    pub fn watching(limit: usize) -> Framer {
        Framer {
            limit,
            keep: false,
            line: Line::default(),
            has_data: false,
            id: None,
            last_id: Vec::new(),
            open: 0,
            lead: 0,
            after_cr: false,
            mark: 0,
            kept: BytesMut::new(),
            frames: VecDeque::new(),
        }
    }

    /// A framer that also hands out frames ([`Framer::next_frame`]).
    pub fn keeping(limit: usize) -> Framer {
        Framer { keep: true, ..Framer::watching(limit) }
    }

    /// Whether the stream stands between two frames: only here may something be inserted.
    ///
    /// That holds before the first byte too: a stream that has nothing to say yet must be kept alive as well. What is
    /// inserted there stands before a byte order mark, which must then be left out ([`super::Unmark`]).
    pub fn at_boundary(&self) -> bool {
        self.open == 0 && !matches!(self.mark, 1..3)
    }

    /// Whether anything of the stream has come.
    pub fn has_begun(&self) -> bool {
        self.mark > 0
    }

    /// How many bytes of the open frame are kept; always none where frames are not.
    pub fn kept_length(&self) -> usize {
        self.kept.len()
    }

    /// How long the open frame is so far, each end of a line counting as one byte.
    pub fn open_length(&self) -> usize {
        self.open
    }

    /// The id that a client would come back with: that of the last frame that had one. Empty means none.
    pub fn last_id(&self) -> &[u8] {
        &self.last_id
    }

    /// Whether a client could come back to this place of the stream.
    pub fn has_ids(&self) -> bool {
        !self.last_id.is_empty()
    }

    /// Takes the next chunk of the stream.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when a frame exceeds the limit; the framer is of no further use then.
    pub fn feed(&mut self, chunk: &Bytes) -> Result<(), TooLong> {
        let mut rest = chunk.clone();
        while let Some(Piece { bytes, end }) = self.split(&mut rest)? {
            match end {
                _ if !self.keep => {}
                None => self.kept.extend_from_slice(&bytes),
                Some(end) if self.kept.is_empty() => self.frames.push_back(Frame::read(bytes, end.lead)),
                Some(end) => {
                    self.kept.extend_from_slice(&bytes);
                    self.frames.push_back(Frame::read(self.kept.split().freeze(), end.lead));
                }
            }
        }
        Ok(())
    }

    /// The next whole frame; always `None` where frames are not kept.
    pub fn next_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// Takes the next piece off the front of a chunk: up to the end of a frame, or all that is left. `None` when nothing
    /// is left.
    ///
    /// # Errors
    ///
    /// [`TooLong`], as [`Framer::feed`].
    pub fn split(&mut self, chunk: &mut Bytes) -> Result<Option<Piece>, TooLong> {
        if chunk.is_empty() {
            return Ok(None);
        }
        let mut at = 0;
        if mem::take(&mut self.after_cr) && chunk[0] == b'\n' {
            at = 1;
            self.lead += usize::from(self.open == 0);
        }
        at += self.pass_mark(&chunk[at..]);
        while at < chunk.len() {
            let rest = &chunk[at..];
            let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            self.line.extend(&rest[..length]);
            self.open += length;
            at += length;
            let Some(end) = chunk.get(at) else { break };
            self.open += 1;
            at += 1;
            if *end == b'\r' {
                match chunk.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if self.ends_frame() {
                self.check()?;
                let end = Some(self.end_frame());
                return Ok(Some(Piece { bytes: chunk.split_to(at), end }));
            }
        }
        self.check()?;
        Ok(Some(Piece { bytes: mem::take(chunk), end: None }))
    }

    /// Passes a byte order mark at the stream's begin; gives how many of these bytes it takes.
    fn pass_mark(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while self.mark < BYTE_ORDER_MARK.len() {
            let Some(byte) = bytes.get(passed) else { break };
            if *byte != BYTE_ORDER_MARK[self.mark] {
                // It was none: what looked like it is the begin of the first line.
                self.line.extend(&BYTE_ORDER_MARK[..self.mark]);
                self.open += self.mark;
                self.mark = BYTE_ORDER_MARK.len();
                break;
            }
            passed += 1;
            self.mark += 1;
            if self.mark == BYTE_ORDER_MARK.len() {
                self.lead = BYTE_ORDER_MARK.len();
            }
        }
        passed
    }

    /// Ends the open line; whether it is empty and so ends the frame.
    fn ends_frame(&mut self) -> bool {
        let line = mem::take(&mut self.line);
        self.has_data |= line.is_data();
        if let Some(id) = line.id() {
            self.id = Some(id.to_vec());
        }
        line.length == 0
    }

    fn end_frame(&mut self) -> End {
        let id = self.id.take();
        let has_id = id.is_some();
        if let Some(id) = id {
            self.last_id = id;
        }
        End {
            has_data: mem::take(&mut self.has_data),
            has_id,
            length: mem::take(&mut self.open),
            lead: mem::take(&mut self.lead),
        }
    }

    fn check(&self) -> Result<(), TooLong> {
        if self.open > self.limit { Err(TooLong { limit: self.limit }) } else { Ok(()) }
    }
}

/// What must be known of a line while it comes in.
#[derive(Debug, Default)]
struct Line {
    length: usize,
    /// Its first bytes.
    head: [u8; 5],
    /// All of it, as long as it may be an `id` field.
    id: Vec<u8>,
}

impl Line {
    fn extend(&mut self, bytes: &[u8]) {
        if let Some(room) = self.head.get_mut(self.length..) {
            let length = room.len().min(bytes.len());
            room[..length].copy_from_slice(&bytes[..length]);
        }
        let whole = self.id.len() == self.length;
        self.length += bytes.len();
        let known = self.length.min(3);
        if whole && self.head[..known] == b"id:"[..known] {
            self.id.extend_from_slice(bytes);
        }
    }

    fn is_data(&self) -> bool {
        match self.length {
            0..4 => false,
            4 => self.head.starts_with(b"data"),
            _ => self.head == *b"data:",
        }
    }

    /// The value of an `id` field, unless it holds NUL.
    fn id(&self) -> Option<&[u8]> {
        if self.id.len() != self.length {
            return None;
        }
        let value = match self.id.strip_prefix(b"id")? {
            [] => &[],
            [b':', b' ', value @ ..] | [b':', value @ ..] => value,
            _ => return None,
        };
        (!value.contains(&0)).then_some(value)
    }
}
