//! Messages one a line (MCP, stdio transport), bounded.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr2};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// What is read at a time.
const READ: usize = 64 << 10;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// What stood on it, without its end and the white space around it; never empty.
    Whole(Bytes),
    /// It was longer than the limit, and is passed over.
    TooLong,
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    from: R,
    buffer: BytesMut,
    /// How much of the buffer has been looked through.
    seen: usize,
    limit: usize,
    /// The rest of a line that is too long is still to come.
    passing: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of at most `limit` bytes.
    pub(super) fn of(from: R, limit: usize) -> Lines<R> {
        Lines { from, buffer: BytesMut::new(), seen: 0, limit, passing: false }
    }

    /// The next line; `None` at the end. A last line without an end counts. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            self.buffer.reserve(READ);
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(self.last());
            }
        }
    }

    fn take(&mut self) -> Option<Line> {
        while let Some(at) = memchr(b'\n', &self.buffer[self.seen..]) {
            let line = self.buffer.split_to(self.seen + at);
            self.buffer.advance(1);
            self.seen = 0;
            if std::mem::take(&mut self.passing) {
                continue;
            }
            if line.len() > self.limit {
                return Some(Line::TooLong);
            }
            if let Some(line) = trimmed(line) {
                return Some(line);
            }
        }
        self.seen = self.buffer.len();
        if self.passing || self.seen > self.limit {
            self.buffer.clear();
            self.seen = 0;
            return (!std::mem::replace(&mut self.passing, true)).then_some(Line::TooLong);
        }
        None
    }

    fn last(&mut self) -> Option<Line> {
        self.seen = 0;
        let rest = self.buffer.split();
        if self.passing { None } else { trimmed(rest) }
    }
}

fn trimmed(line: BytesMut) -> Option<Line> {
    let line = line.freeze();
    let inside = line.trim_ascii();
    (!inside.is_empty()).then(|| Line::Whole(line.slice_ref(inside)))
}

/// Writes messages, one a line, until there are no more.
///
/// # Errors
/// When nobody reads them.
pub(super) async fn write<W: AsyncWrite + Unpin>(mut to: W, mut messages: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(message) = messages.recv().await {
        to.write_all(&on_one_line(message)).await?;
        to.write_all(b"\n").await?;
        if messages.is_empty() {
            to.flush().await?;
        }
    }
    to.flush().await
}

/// A message without line breaks: in JSON they stand only where white space may stand.
fn on_one_line(message: Bytes) -> Bytes {
    if memchr2(b'\n', b'\r', &message).is_none() {
        return message;
    }
    message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(pieces: &[&str], limit: usize) -> Vec<Line> {
        let (mut to, from) = tokio::io::duplex(4);
        let all = pieces.concat();
        let writer = tokio::spawn(async move { to.write_all(all.as_bytes()).await });
        let mut lines = Lines::of(from, limit);
        let mut read = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            read.push(line);
        }
        writer.await.unwrap().unwrap();
        read
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn lines_are_read_whatever_ends_them() {
        assert_eq!(lines(&["{}\n\n \r\n{1}\r\n", "last"], 8).await, [whole("{}"), whole("{1}"), whole("last")]);
        assert_eq!(lines(&[], 8).await, []);
        assert_eq!(lines(&["\n\n"], 8).await, []);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over_once() {
        let long = "x".repeat(200_000);
        assert_eq!(lines(&["a\n", &long, "\nb\n"], 8).await, [whole("a"), Line::TooLong, whole("b")]);
        assert_eq!(lines(&["123456789\n12345678\n"], 8).await, [Line::TooLong, whole("12345678")]);
        assert_eq!(lines(&[&long], 8).await, [Line::TooLong]);
    }

    #[tokio::test]
    async fn a_message_takes_one_line() {
        let (out, messages) = mpsc::channel(4);
        for message in ["{\n \"a\":\r\n1}", "{}"] {
            out.send(Bytes::from(message)).await.unwrap();
        }
        drop(out);
        let mut written = Vec::new();
        write(&mut written, messages).await.unwrap();
        assert_eq!(written, b"{  \"a\":  1}\n{}\n");
    }
}
