//! Where the body of a request ends in what its connection brings, so that what follows it is kept for the next request.
//!
//! Pingora frames bodies itself, and reads ahead. It is handed nothing behind the end that is found here, so a request that
//! was sent early (pipelining, RFC 9112 section 9.3.2) waits in the connection until the answer before it is complete.
//! Where the two ends should ever differ, the connection closes: bytes that Pingora still waits for never come, and bytes
//! that it has too many of make it give the connection up. Nothing is read twice, nothing is skipped.

/// What is known of a body's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// This many bytes are still to come (RFC 9112 section 6.2); none where the body is over.
    Left(u64),
    /// Chunks are still to come (section 7.1).
    Chunks(Chunk),
    /// Not framed in a way that is followed here: everything is handed on, and nothing may follow it.
    Unknown,
}

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// In a chunk's size, of which this many digits have come.
    Size { digits: u8, size: u64 },
    /// At the line feed behind a size.
    SizeEnd { size: u64 },
    /// In a chunk's data, of which this much is still to come.
    Data { left: u64 },
    /// At the carriage return behind data, or behind the last chunk.
    Return { last: bool },
    /// At the line feed behind that.
    Feed { last: bool },
}

/// As many digits as a size of 64 bits has.
const DIGITS_MAX: u8 = 16;

const FIRST: Chunk = Chunk::Size { digits: 0, size: 0 };

impl Framing {
    /// No body.
    pub(crate) const NONE: Framing = Framing::Left(0);

    /// A body in chunks of which nothing has come.
    pub(crate) const CHUNKED: Framing = Framing::Chunks(FIRST);

    /// Whether the body has ended; never known of [`Framing::Unknown`].
    pub(crate) fn is_over(&self) -> bool {
        *self == Framing::NONE
    }

    /// Takes what belongs to the body off the front of `bytes`: how many bytes that are.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Framing::Unknown => bytes.len(),
            Framing::Left(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                taken
            }
            Framing::Chunks(chunk) => {
                let mut at = 0;
                let mut chunk = *chunk;
                while at < bytes.len() {
                    match chunk.step(&bytes[at..]) {
                        Step::On(next, taken) => {
                            chunk = next;
                            at += taken;
                        }
                        Step::End => {
                            *self = Framing::NONE;
                            return at + 1;
                        }
                        Step::Lost => {
                            *self = Framing::Unknown;
                            return bytes.len();
                        }
                    }
                }
                *self = Framing::Chunks(chunk);
                at
            }
        }
    }
}

enum Step {
    On(Chunk, usize),
    End,
    /// Extensions, trailers, other line ends, or no chunks at all.
    Lost,
}

impl Chunk {
    /// What the next byte means; several bytes of data at once.
    fn step(self, bytes: &[u8]) -> Step {
        let Some(&byte) = bytes.first() else { return Step::Lost };
        match (self, byte) {
            (Chunk::Size { digits, size }, b'\r') if digits > 0 => Step::On(Chunk::SizeEnd { size }, 1),
            (Chunk::Size { digits, size }, byte) if digits < DIGITS_MAX => match char::from(byte).to_digit(16) {
                Some(digit) => Step::On(Chunk::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }, 1),
                None => Step::Lost,
            },
            (Chunk::SizeEnd { size: 0 }, b'\n') => Step::On(Chunk::Return { last: true }, 1),
            (Chunk::SizeEnd { size }, b'\n') => Step::On(Chunk::Data { left: size }, 1),
            (Chunk::Data { left }, _) => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                match left - taken as u64 {
                    0 => Step::On(Chunk::Return { last: false }, taken),
                    left => Step::On(Chunk::Data { left }, taken),
                }
            }
            (Chunk::Return { last }, b'\r') => Step::On(Chunk::Feed { last }, 1),
            (Chunk::Feed { last: true }, b'\n') => Step::End,
            (Chunk::Feed { last: false }, b'\n') => Step::On(FIRST, 1),
            _ => Step::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end(mut framing: Framing, bytes: &[u8], cut: usize) -> (usize, Framing) {
        let mut taken = 0;
        for piece in bytes.chunks(cut) {
            let own = framing.take(piece);
            taken += own;
            if own < piece.len() {
                break;
            }
        }
        (taken, framing)
    }

    #[test]
    fn a_length_is_counted_down() {
        assert!(Framing::NONE.is_over());
        for cut in 1..8 {
            assert_eq!(end(Framing::Left(5), b"12345GET /", cut), (5, Framing::NONE));
            assert_eq!(end(Framing::Left(5), b"123", cut), (3, Framing::Left(2)));
        }
    }

    #[test]
    fn what_is_no_plain_chunk_is_not_followed() {
        for odd in [
            "5;a=b\r\nhello\r\n0\r\n\r\n",
            "5\nhello\n0\n\n",
            "5\r\nhello0\r\n\r\n",
            "0\r\nTrailer: 1\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "\r\n",
            "x",
            "00000000000000000\r\n\r\n",
        ] {
            for cut in 1..odd.len() {
                let (taken, framing) = end(Framing::CHUNKED, odd.as_bytes(), cut);
                assert_eq!((taken, framing), (odd.len(), Framing::Unknown), "{odd:?} by {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn chunks_end_where_they_end_however_they_come(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            next in prop::collection::vec(any::<u8>(), 0..20), cut in 1..30_usize,
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:X}\r\n", chunk.len()).into_bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let length = body.len();
            body.extend(next);
            prop_assert_eq!(end(Framing::CHUNKED, &body, cut), (length, Framing::NONE));
        }
    }
}
