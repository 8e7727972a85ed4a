//! A byte order mark that would no longer be at its stream's begin.
//!
//! A mark means nothing, but only as the very first bytes (WHATWG HTML section 9.2.5): behind anything else it becomes part
//! of a field's name, and the event is lost. So where the client was told something before the stream's first byte, a
//! keep-alive comment for instance, the mark is left out.

use bytes::Bytes;

/// The mark in UTF-8.
pub const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Takes a byte order mark off the begin of a stream, whatever chunks it comes in.
#[derive(Debug, Default)]
pub struct Unmark {
    /// How much of a mark has come and was held back.
    held: usize,
    /// The begin is past: there was a mark, or there was none.
    past: bool,
}

impl Unmark {
    /// What passes of the next chunk: nothing while all there is may be the begin of a mark.
    pub fn pass(&mut self, chunk: Bytes) -> Bytes {
        if self.past {
            return chunk;
        }
        let expected = &BYTE_ORDER_MARK[self.held..];
        let same = chunk.iter().zip(expected).take_while(|(byte, mark)| byte == mark).count();
        if same == expected.len() {
            self.past = true;
            return chunk.slice(same..);
        }
        if same == chunk.len() {
            self.held += same;
            return Bytes::new();
        }
        self.past = true;
        if self.held == 0 {
            return chunk;
        }
        // It was none: what looked like it belongs to the stream.
        [&BYTE_ORDER_MARK[..self.held], &chunk].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(chunks: &[&'static [u8]]) -> Vec<u8> {
        let mut unmark = Unmark::default();
        chunks.iter().flat_map(|chunk| unmark.pass(Bytes::from_static(chunk))).collect()
    }

    #[test]
    fn a_mark_is_left_out_once_at_the_begin_and_nothing_else_is() {
        assert_eq!(passed(&[b"\xEF\xBB\xBFdata: 1\n"]), b"data: 1\n");
        assert_eq!(passed(&[b"\xEF", b"", b"\xBB", b"\xBF", b"data: 1\n"]), b"data: 1\n");
        assert_eq!(passed(&[b"\xEF\xBB\xBF\xEF\xBB\xBFdata"]), b"\xEF\xBB\xBFdata");
        assert_eq!(passed(&[b"data", b"\xEF\xBB\xBF"]), b"data\xEF\xBB\xBF");
        assert_eq!(passed(&[b"\xEF", b"\xBBx", b"\xEF\xBB\xBF"]), b"\xEF\xBBx\xEF\xBB\xBF");
        assert_eq!(passed(&[b"\xEF\xEF"]), b"\xEF\xEF");
    }
}
