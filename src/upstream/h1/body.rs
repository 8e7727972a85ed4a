//! Taking an HTTP/1.1 body out of its framing (RFC 9112 sections 6 and 7.1): strictly, without copying.

use super::head::Framing;
use crate::upstream::fault::{AttemptFault, FaultKind};
use bytes::{Bytes, BytesMut};

/// The longest line with a chunk's size and extensions, in bytes.
const SIZE_LINE_BYTES: usize = 4 * 1024;
/// The longest trailer section, in bytes. Trailers are read over and dropped.
const TRAILER_BYTES: usize = 16 * 1024;

/// Where in a body the reader stands.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// In a body of known length: so many bytes are missing.
    Length(u64),
    UntilClose,
    /// Before a chunk's size.
    Size,
    /// In a chunk: so many bytes are missing.
    Chunk(u64),
    /// Before the line end behind a chunk.
    ChunkEnd,
    /// In the trailer section: so many bytes of it were seen.
    Trailer(usize),
    Done,
}

/// One step through a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes of the body: never empty.
    Data(Bytes),
    /// The buffer holds nothing more to go on with.
    More,
    /// The body is whole.
    End,
}

/// Reads one body.
#[derive(Debug)]
pub(super) struct Decoder(State);

impl Decoder {
    pub(super) fn new(framing: Framing) -> Decoder {
        Decoder(match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        })
    }

    /// Whether the body is whole.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.0, State::Done | State::Length(0))
    }

    /// How many bytes are missing, where that is known.
    pub(super) fn missing(&self) -> Option<u64> {
        match self.0 {
            State::Length(missing) => Some(missing),
            _ => None,
        }
    }

    /// Takes the next piece of the body off the front of `buffer`.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Step, AttemptFault> {
        loop {
            match self.0 {
                State::Done | State::Length(0) => return Ok(Step::End),
                _ if buffer.is_empty() => return Ok(Step::More),
                State::Length(missing) => {
                    let data = up_to(buffer, missing);
                    self.0 = State::Length(missing - data.len() as u64);
                    return Ok(Step::Data(data));
                }
                State::UntilClose => return Ok(Step::Data(buffer.split().freeze())),
                State::Chunk(missing) => {
                    let data = up_to(buffer, missing);
                    let left = missing - data.len() as u64;
                    self.0 = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    return Ok(Step::Data(data));
                }
                State::ChunkEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        let _ = buffer.split_to(2);
                        self.0 = State::Size;
                    }
                    None if buffer.starts_with(b"\r") => return Ok(Step::More),
                    _ => return Err(AttemptFault::protocol("a chunk of its answer is longer than announced")),
                },
                State::Size => {
                    let Some(line) = take_line(buffer, SIZE_LINE_BYTES)? else { return Ok(Step::More) };
                    self.0 = match chunk_size(&line)? {
                        0 => State::Trailer(0),
                        size => State::Chunk(size),
                    };
                }
                State::Trailer(seen) => {
                    let Some(line) = take_line(buffer, TRAILER_BYTES)? else { return Ok(Step::More) };
                    let seen = seen + line.len() + 2;
                    if line.is_empty() {
                        self.0 = State::Done;
                    } else if seen > TRAILER_BYTES {
                        return Err(AttemptFault::protocol("the trailer of its answer is too long"));
                    } else {
                        self.0 = State::Trailer(seen);
                    }
                }
            }
        }
    }

    /// Takes the end of a chunked body, when nothing else is left in `buffer`.
    ///
    /// Most answers end in the read that brought their last bytes; seeing that at once frees the connection at once.
    pub(super) fn settle(&mut self, buffer: &mut BytesMut) {
        if self.0 == State::ChunkEnd && buffer == &b"\r\n0\r\n\r\n"[..] {
            buffer.clear();
            self.0 = State::Done;
        }
    }

    /// The connection ended.
    pub(super) fn end_of_connection(&mut self) -> Result<(), AttemptFault> {
        match self.0 {
            State::UntilClose | State::Done | State::Length(0) => {
                self.0 = State::Done;
                Ok(())
            }
            _ => Err(AttemptFault::new(FaultKind::Cut)),
        }
    }
}

fn up_to(buffer: &mut BytesMut, missing: u64) -> Bytes {
    let take = usize::try_from(missing).map_or(buffer.len(), |missing| missing.min(buffer.len()));
    if take == buffer.len() { buffer.split().freeze() } else { buffer.split_to(take).freeze() }
}

/// Takes a line off the front, without its CRLF; `None` when it is not whole yet.
fn take_line(buffer: &mut BytesMut, limit: usize) -> Result<Option<BytesMut>, AttemptFault> {
    let Some(newline) = memchr::memchr(b'\n', buffer) else {
        if buffer.len() > limit {
            return Err(AttemptFault::protocol("a line of its chunked answer is too long"));
        }
        return Ok(None);
    };
    let mut line = buffer.split_to(newline + 1);
    if line.len() > limit || !line.ends_with(b"\r\n") {
        return Err(AttemptFault::protocol("a line of its chunked answer is malformed"));
    }
    line.truncate(newline - 1);
    if memchr::memchr(b'\r', &line).is_some() {
        return Err(AttemptFault::protocol("a line of its chunked answer is malformed"));
    }
    Ok(Some(line))
}

/// The size that a chunk's first line announces; extensions are ignored (RFC 9112 section 7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, AttemptFault> {
    let malformed = AttemptFault::protocol("a chunk size of its answer is malformed");
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = line.get(digits..).unwrap_or_default().trim_ascii_start();
    if digits == 0 || digits > 15 || !(rest.is_empty() || rest.starts_with(b";")) {
        return Err(malformed);
    }
    let text = line.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a body decodes to when it arrives in these pieces; the second value tells whether it was whole.
    fn decode(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, Vec<u8>), AttemptFault> {
        let (mut decoder, mut buffer, mut body) = (Decoder::new(framing), BytesMut::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Step::Data(data) = decoder.next(&mut buffer)? {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
        }
        Ok((body, decoder.is_done(), buffer.to_vec()))
    }

    #[test]
    fn a_known_length_leaves_the_rest_alone() {
        let (body, done, rest) = decode(Framing::Length(3), &[b"ab", b"cHTTP"]).expect("well-formed");
        assert_eq!((body.as_slice(), done, rest.as_slice()), (&b"abc"[..], true, &b"HTTP"[..]));
        let (_, done, rest) = decode(Framing::Length(0), &[b"x"]).expect("well-formed");
        assert!(done && rest == b"x");
    }

    #[test]
    fn only_a_body_without_length_may_end_with_the_connection() {
        assert!(Decoder::new(Framing::UntilClose).end_of_connection().is_ok());
        assert!(Decoder::new(Framing::Length(0)).end_of_connection().is_ok());
        for framing in [Framing::Length(1), Framing::Chunked] {
            let cut = Decoder::new(framing).end_of_connection().expect_err("cut");
            assert_eq!(cut.kind, FaultKind::Cut);
        }
    }

    #[test]
    fn extensions_and_trailers_are_read_over() {
        let (body, done, rest) =
            decode(Framing::Chunked, &[b"3 ;a=\"b\"\r\nabc\r\n0\r\nx: y\r\n\r\nrest"]).expect("well-formed");
        assert_eq!((body.as_slice(), done, rest.as_slice()), (&b"abc"[..], true, &b"rest"[..]));
    }

    #[test]
    fn the_end_is_seen_with_the_last_chunk() {
        let (mut decoder, mut buffer) = (Decoder::new(Framing::Chunked), BytesMut::from("2\r\n{}\r\n0\r\n\r\n"));
        assert_eq!(decoder.next(&mut buffer).expect("well-formed"), Step::Data(Bytes::from("{}")));
        decoder.settle(&mut buffer);
        assert!(decoder.is_done() && buffer.is_empty());
    }

    #[test]
    fn broken_chunks_are_refused() {
        let broken: [&[u8]; 10] = [
            b"g\r\n",
            b"\r\n",
            b"-1\r\n",
            b"0x3\r\nabc\r\n",
            b"3\nabc\r\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n",
            b"3 4\r\n",
            b"1111111111111111\r\n",
            b"3;\r x\r\n",
        ];
        for pieces in broken {
            assert!(decode(Framing::Chunked, &[pieces]).is_err(), "{}", pieces.escape_ascii());
        }
        let endless = [b"1;".to_vec(), vec![b'a'; SIZE_LINE_BYTES]].concat();
        assert!(decode(Framing::Chunked, &[&endless]).is_err());
        let trailers = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(TRAILER_BYTES)].concat();
        assert!(decode(Framing::Chunked, &[&trailers]).is_err());
    }

    proptest! {
        #[test]
        fn any_cut_of_a_chunked_body_gives_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            at.extend([0, wire.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
            let (body, done, rest) = decode(Framing::Chunked, &pieces).expect("well-formed");
            prop_assert_eq!(body, chunks.concat());
            prop_assert!(done && rest.is_empty());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(wire in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(Framing::Chunked, &[&wire]);
        }
    }
}
