//! Lines of a pipe: what stands between two line feeds, within bounds.
//!
//! A line that is too long is given up as a whole and skipped to its end, so that the next one is read again. White space
//! around a line means nothing; empty lines are none. A last line without its line feed was cut, and is never given out.

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use std::mem;

/// How much room is made for the next read, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// Up to this length a line is copied, so that it does not hold the buffer that it was read into, in bytes.
const COPIED_BYTES: usize = 8 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Line {
    /// A line as it came, without its end.
    Whole(Bytes),
    /// The beginning of a line that is too long; the rest is skipped.
    TooLong(Bytes),
}

/// Takes lines out of a stream, whatever pieces it comes in.
#[derive(Debug)]
pub(in crate::upstream) struct LineFramer {
    limit: usize,
    kept: BytesMut,
    /// How much of `kept` is known to hold no line feed.
    searched: usize,
    /// Whether what comes belongs to a line that was given up.
    skipping: bool,
}

impl LineFramer {
    /// A framer of lines of at most `limit` bytes.
    pub fn new(limit: usize) -> LineFramer {
        LineFramer { limit, kept: BytesMut::new(), searched: 0, skipping: false }
    }

    /// Where the next piece of the stream is read to. It holds at most one line and one read.
    pub fn room(&mut self) -> &mut BytesMut {
        self.kept.reserve(READ_BYTES);
        &mut self.kept
    }

    /// The next line of what was read; call it until there is none.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            let Some(length) = memchr(b'\n', self.kept.get(self.searched..).unwrap_or_default()) else {
                return self.overflow();
            };
            let end = mem::take(&mut self.searched) + length;
            let mut line = self.kept.split_to(end + 1);
            if mem::take(&mut self.skipping) {
                continue;
            }
            line.truncate(end);
            if line.len() > self.limit + 1 || line.trim_ascii().len() > self.limit {
                return Some(Line::TooLong(self.beginning(&line)));
            }
            if !line.trim_ascii().is_empty() {
                return Some(Line::Whole(own(line)));
            }
        }
    }

    /// Gives up a line that is longer than its limit before its end has come.
    fn overflow(&mut self) -> Option<Line> {
        self.searched = self.kept.len();
        // One more: what comes next may show that the last byte is a carriage return, and no part of the line.
        if self.kept.len() <= self.limit + 1 && !self.skipping {
            return None;
        }
        let line = mem::take(&mut self.kept);
        self.searched = 0;
        let first = !mem::replace(&mut self.skipping, true);
        first.then(|| Line::TooLong(self.beginning(&line)))
    }

    fn beginning(&self, line: &[u8]) -> Bytes {
        Bytes::copy_from_slice(line.get(..self.limit).unwrap_or(line))
    }
}

fn own(line: BytesMut) -> Bytes {
    if line.len() <= COPIED_BYTES {
        return Bytes::copy_from_slice(line.trim_ascii());
    }
    let line = line.freeze();
    line.slice_ref(line.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(stream: &[u8], step: usize, limit: usize) -> Vec<Line> {
        let mut framer = LineFramer::new(limit);
        let mut lines = Vec::new();
        for piece in stream.chunks(step.max(1)) {
            framer.room().extend_from_slice(piece);
            lines.extend(std::iter::from_fn(|| framer.next_line()));
            assert!(framer.kept.len() <= limit + 1, "{} bytes are kept", framer.kept.len());
        }
        lines
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_end_with_a_line_feed() {
        assert_eq!(read(b"a\nbc\r\n\n \r\nd", 1000, 10), [whole("a"), whole("bc")]);
    }

    #[test]
    fn a_long_line_costs_itself_alone() {
        let long = Line::TooLong(Bytes::from_static(b"xxxx"));
        for step in [1, 3, 1000] {
            assert_eq!(read(b"xxxxxxxxx\nab\n", step, 4), [long.clone(), whole("ab")], "{step}");
            assert_eq!(read(b"xxxx\r\nab\n", step, 4), [whole("xxxx"), whole("ab")], "{step}");
            assert_eq!(read(b"xxxxx\nab\n", step, 4), [long.clone(), whole("ab")], "{step}");
        }
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_pieces(
            stream in prop::collection::vec(prop::sample::select(b"ab \r\n".to_vec()), 0..200),
            step in 1_usize..9,
            limit in 1_usize..9,
        ) {
            let whole = read(&stream, usize::MAX, limit);
            prop_assert_eq!(&read(&stream, step, limit), &whole);
            for line in whole {
                match line {
                    Line::Whole(line) => prop_assert!(line.len() <= limit && !line.contains(&b'\n')),
                    Line::TooLong(line) => prop_assert_eq!(line.len(), limit),
                }
            }
        }
    }
}
