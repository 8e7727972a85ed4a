//! Reads one HTTP/1.1 message after another from bytes as they arrive; does no I/O itself.
//!
//! Bodies with a length stay where they were read; chunked ones are decoded into a second buffer.

use super::head::{Framing, Head, Side};

/// Longest chunk-size line that is read, extensions included.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// A message that is no HTTP, or not what this harness reads.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The head is malformed.
    #[error("malformed HTTP head: {0}")]
    Head(#[from] httparse::Error),
    /// The head does not end within the bound.
    #[error("HTTP head longer than {max} bytes", max = super::head::HEAD_BYTES_MAX)]
    HeadTooLong,
    /// `Content-Length` is not a number.
    #[error("Content-Length is not a number")]
    Length,
    /// `Mcp-Session-Id` is not text.
    #[error("Mcp-Session-Id is not text")]
    Session,
    /// Chunked coding is broken.
    #[error("malformed chunk")]
    Chunk,
    /// The peer closed in the middle of a message.
    #[error("connection closed in the middle of a message")]
    Truncated,
}

/// How far the current message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head is not complete.
    Head,
    /// The head is there, the body not complete.
    Body,
    /// The message is complete.
    Done,
}

/// Where the chunked decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size,
    Data(usize),
    DataEnd,
    Trailer,
}

/// Decodes the messages of one connection.
pub struct Decoder {
    side: Side,
    /// Bytes as read; the caller appends, [`Decoder::advance`] looks at them.
    pub raw: Vec<u8>,
    head: Option<Head>,
    /// Bytes of `raw` that belong to the head and decoded chunks.
    used: usize,
    chunk: Chunk,
    decoded: Vec<u8>,
    done: bool,
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new(side: Side) -> Self {
        Self { side, raw: Vec::new(), head: None, used: 0, chunk: Chunk::Size, decoded: Vec::new(), done: false }
    }

    /// Forgets the message that was read; bytes after it stay.
    pub fn next(&mut self) {
        let body = match self.head.as_ref().map(|head| head.framing) {
            Some(Framing::Length(length)) => length,
            _ => 0,
        };
        let end = self.used.saturating_add(body).min(self.raw.len());
        if end == self.raw.len() {
            self.raw.clear();
        } else {
            self.raw.drain(..end);
        }
        self.head = None;
        self.used = 0;
        self.chunk = Chunk::Size;
        self.decoded.clear();
        self.done = false;
    }

    /// The head of the current message, once complete.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// What is there of the body.
    pub fn body(&self) -> &[u8] {
        match self.head.as_ref().map(|head| head.framing) {
            Some(Framing::Length(length)) => &self.raw[self.used..self.raw.len().min(self.used.saturating_add(length))],
            Some(Framing::UntilClose) => &self.raw[self.used..],
            Some(Framing::Chunked) => &self.decoded,
            None => &[],
        }
    }

    /// Drops body bytes that a reader of an endless chunked body is done with.
    pub fn consume(&mut self, count: usize) {
        self.decoded.drain(..count.min(self.decoded.len()));
    }

    /// How many bytes are worth making room for.
    pub fn wanted(&self) -> usize {
        const READ: usize = 16 * 1024;
        const READ_MAX: usize = 256 * 1024;
        match self.head.as_ref().map(|head| head.framing) {
            Some(Framing::Length(length)) => {
                self.used.saturating_add(length).saturating_sub(self.raw.len()).clamp(1, READ_MAX)
            }
            _ => READ,
        }
    }

    /// Looks at what was appended to `raw`.
    pub fn advance(&mut self) -> Result<Progress, WireError> {
        if self.head.is_none() {
            let Some((head, length)) = Head::parse(self.side, &self.raw)? else { return Ok(Progress::Head) };
            self.used = length;
            self.head = Some(head);
        }
        match self.head.as_ref().map(|head| head.framing) {
            Some(Framing::Length(length)) => self.done = self.raw.len() - self.used >= length,
            Some(Framing::Chunked) => self.unchunk()?,
            Some(Framing::UntilClose) | None => {}
        }
        Ok(if self.done { Progress::Done } else { Progress::Body })
    }

    /// The peer closed: either that ends the message, or it is cut off.
    pub fn close(&mut self) -> Result<(), WireError> {
        let until_close = self.head.as_ref().is_some_and(|head| head.framing == Framing::UntilClose);
        if self.done || until_close { Ok(()) } else { Err(WireError::Truncated) }
    }

    fn unchunk(&mut self) -> Result<(), WireError> {
        while !self.done {
            let rest = &self.raw[self.used..];
            match self.chunk {
                Chunk::Size => {
                    let Some(end) = line_end(rest)? else { break };
                    let digits = rest[..end].split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                    let size = hexadecimal(digits).ok_or(WireError::Chunk)?;
                    self.used += end + 2;
                    self.chunk = if size == 0 { Chunk::Trailer } else { Chunk::Data(size) };
                }
                Chunk::Data(left) => {
                    let count = left.min(rest.len());
                    self.decoded.extend_from_slice(&rest[..count]);
                    self.used += count;
                    if count < left {
                        self.chunk = Chunk::Data(left - count);
                        break;
                    }
                    self.chunk = Chunk::DataEnd;
                }
                Chunk::DataEnd => {
                    if rest.len() < 2 {
                        break;
                    }
                    if &rest[..2] != b"\r\n" {
                        return Err(WireError::Chunk);
                    }
                    self.used += 2;
                    self.chunk = Chunk::Size;
                }
                Chunk::Trailer => {
                    let Some(end) = line_end(rest)? else { break };
                    self.used += end + 2;
                    self.done = end == 0;
                }
            }
        }
        // A stream may go on for hours: what is decoded need not be kept.
        if self.used == self.raw.len() {
            self.raw.clear();
            self.used = 0;
        }
        Ok(())
    }
}

fn line_end(bytes: &[u8]) -> Result<Option<usize>, WireError> {
    match memchr::memmem::find(bytes, b"\r\n") {
        Some(end) => Ok(Some(end)),
        None if bytes.len() > CHUNK_LINE_BYTES_MAX => Err(WireError::Chunk),
        None => Ok(None),
    }
}

fn hexadecimal(digits: &[u8]) -> Option<usize> {
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::head::Start;

    fn read(decoder: &mut Decoder, pieces: &[&[u8]]) -> Result<Progress, WireError> {
        let mut progress = Progress::Head;
        for piece in pieces {
            decoder.raw.extend_from_slice(piece);
            progress = decoder.advance()?;
        }
        Ok(progress)
    }

    #[test]
    fn reads_messages_one_after_another() {
        let mut decoder = Decoder::new(Side::Answers);
        let two =
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx";
        assert_eq!(read(&mut decoder, &[two]).unwrap(), Progress::Done);
        assert_eq!(decoder.body(), b"abc");
        decoder.next();
        assert_eq!(decoder.advance().unwrap(), Progress::Done);
        assert_eq!(decoder.head().unwrap().start, Start::Answer(404));
        assert_eq!(decoder.body(), b"x");
        decoder.next();
        assert!(decoder.raw.is_empty());
        assert_eq!(decoder.advance().unwrap(), Progress::Head);
    }

    #[test]
    fn knows_how_much_is_missing() {
        let mut decoder = Decoder::new(Side::Answers);
        assert_eq!(
            read(&mut decoder, &[b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\nabc"]).unwrap(),
            Progress::Body
        );
        assert_eq!(decoder.wanted(), 69_997);
        assert!(decoder.close().is_err());
    }

    #[test]
    fn a_monstrous_length_is_waited_for_in_small_steps() {
        let mut decoder = Decoder::new(Side::Answers);
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nabc", usize::MAX);
        assert_eq!(read(&mut decoder, &[text.as_bytes()]).unwrap(), Progress::Body);
        assert_eq!(decoder.body(), b"abc");
        assert!(decoder.wanted() <= 256 * 1024);
        decoder.next();
        assert!(decoder.raw.is_empty());
    }

    #[test]
    fn close_ends_only_what_it_may_end() {
        let mut decoder = Decoder::new(Side::Answers);
        read(&mut decoder, &[b"HTTP/1.1 200 OK\r\n\r\nall of it"]).unwrap();
        assert!(decoder.close().is_ok());
        assert_eq!(decoder.body(), b"all of it");
        let mut cut = Decoder::new(Side::Answers);
        read(&mut cut, &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"]).unwrap();
        assert!(matches!(cut.close(), Err(WireError::Truncated)));
    }

    #[test]
    fn chunks_with_extensions_and_trailers() {
        let mut decoder = Decoder::new(Side::Answers);
        let text =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1 \r\n!\r\n0\r\nX: y\r\n\r\nHTTP";
        assert_eq!(read(&mut decoder, &[text]).unwrap(), Progress::Done);
        assert_eq!(decoder.body(), b"hello!");
        decoder.next();
        assert_eq!(decoder.raw, b"HTTP");
    }

    #[test]
    fn broken_chunks_are_refused() {
        for bad in ["x\r\n", "\r\n", "1\r\nabc", "fffffffffffffffffff\r\n", &"1".repeat(300)] {
            let mut decoder = Decoder::new(Side::Answers);
            let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{bad}");
            assert!(matches!(read(&mut decoder, &[text.as_bytes()]), Err(WireError::Chunk)), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_body(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
                                         step in 1usize..50, chunked in any::<bool>()) {
            let body = chunks.concat();
            let mut message = b"HTTP/1.1 200 OK\r\n".to_vec();
            if chunked {
                message.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in &chunks {
                    message.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    message.extend_from_slice(chunk);
                    message.extend_from_slice(b"\r\n");
                }
                message.extend_from_slice(b"0\r\n\r\n");
            } else {
                message.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                message.extend_from_slice(&body);
            }
            let mut decoder = Decoder::new(Side::Answers);
            let pieces: Vec<&[u8]> = message.chunks(step).collect();
            prop_assert_eq!(read(&mut decoder, &pieces)?, Progress::Done);
            prop_assert_eq!(decoder.body(), &body[..]);
        }

        #[test]
        fn rubbish_never_panics(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6)) {
            let mut decoder = Decoder::new(Side::Requests);
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = read(&mut decoder, &pieces);
        }
    }
}
