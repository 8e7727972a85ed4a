//! Receiving the head of a request before anything is built for it.
//!
//! Pingora reads a head with a timeout for each read, parses it from its beginning after each, and reserves a request's
//! whole state while it waits. Received here first, a head has one deadline and one size, a byte at a time costs the
//! client a byte's worth of work, and a connection without a request costs next to nothing.

use super::alarm::Alarm;
use super::resets::PREFACE;
use super::stream::ClientStream;
use bytes::BytesMut;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

/// How a wait for a request ended.
#[derive(Debug)]
pub(crate) enum Begun {
    /// With its first bytes.
    Bytes(BytesMut),
    /// The client closed the connection.
    Gone,
    /// We should leave, and nothing has come.
    Leave,
    /// Nothing came in time.
    Idle,
}

/// What the bytes of a connection turned out to be.
#[derive(Debug)]
pub(crate) enum Received {
    /// A whole head, and perhaps the beginning of a body.
    Head(BytesMut),
    /// The HTTP/2 connection preface, and perhaps more.
    Preface(BytesMut),
    /// The client closed the connection within the head.
    Gone,
    /// The head did not end in time.
    TooSlow,
    /// The head does not end within its size.
    TooLarge,
}

/// What a head may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// From the first byte to the last.
    pub(crate) time: Duration,
    /// The longest head that is read, in bytes.
    pub(crate) bytes: usize,
    /// Whether an HTTP/2 preface is looked for.
    pub(crate) preface: bool,
}

/// Waits for the first bytes of a request, for as long as `patience`. `leave` ends the wait, unless something has come;
/// it must not be used again then.
pub(crate) async fn begin<L: Future<Output = ()>>(
    stream: &mut ClientStream,
    patience: Duration,
    alarm: &mut Alarm,
    mut leave: Pin<&mut L>,
) -> io::Result<Begun> {
    let mut bytes = BytesMut::new();
    let until = Instant::now() + patience;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(read) = stream.poll_first(cx, &mut bytes) {
            return Poll::Ready(read.map(|read| if read == 0 { Some(Begun::Gone) } else { None }));
        }
        if leave.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(Some(Begun::Leave)));
        }
        alarm.poll_at(cx, until).map(|()| Ok(Some(Begun::Idle)))
    });
    Ok(ended.await?.unwrap_or(Begun::Bytes(bytes)))
}

/// Receives the rest of a head of which `bytes` have come.
pub(crate) async fn finish(
    stream: &mut ClientStream,
    mut bytes: BytesMut,
    limits: HeadLimits,
    alarm: &mut Alarm,
) -> io::Result<Received> {
    let mut scan = Scan::default();
    let mut until = None;
    loop {
        match look(&bytes, limits.preface) {
            Look::Preface => return Ok(Received::Preface(bytes)),
            Look::PrefaceSoFar => {}
            Look::Request if scan.ended(&bytes) => return Ok(Received::Head(bytes)),
            Look::Request => {}
        }
        if bytes.len() >= limits.bytes {
            return Ok(Received::TooLarge);
        }
        if bytes.len() == bytes.capacity() {
            bytes.reserve(bytes.len().min(limits.bytes - bytes.len()));
        }
        // Nearly every head is there at once, and needs no deadline.
        let until = *until.get_or_insert_with(|| Instant::now() + limits.time);
        let more = poll_fn(|cx| {
            if let Poll::Ready(read) = stream.poll_more(cx, &mut bytes) {
                return Poll::Ready(read.map(Some));
            }
            alarm.poll_at(cx, until).map(|()| Ok(None))
        });
        match more.await? {
            Some(0) => return Ok(Received::Gone),
            Some(_) => {}
            None => return Ok(Received::TooSlow),
        }
    }
}

/// Answers a head that cannot be handed on, as far as the client lets us.
pub(crate) async fn refuse(stream: &mut ClientStream, status: &str, message: &str) {
    let body = format!(r#"{{"jsonrpc":"2.0","error":{{"code":-32600,"message":"{message}"}}}}"#);
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // Who cannot be told is closed all the same.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

enum Look {
    Preface,
    PrefaceSoFar,
    Request,
}

fn look(bytes: &[u8], preface: bool) -> Look {
    let both = bytes.len().min(PREFACE.len());
    if !preface || bytes[..both] != PREFACE[..both] {
        Look::Request
    } else if both == PREFACE.len() {
        Look::Preface
    } else {
        Look::PrefaceSoFar
    }
}

/// Finds the end of a head while it grows: an empty line after the request line (RFC 9112 section 2.1), where a line may
/// end in CRLF or in LF alone.
#[derive(Debug, Default)]
struct Scan {
    /// Where the current line begins.
    line: usize,
    /// Where to look for its end.
    at: usize,
    /// Whether the request line has begun: empty lines before it are skipped (section 2.2).
    begun: bool,
}

impl Scan {
    /// Whether the head has ended. `bytes` is all that came, and only ever grows.
    fn ended(&mut self, bytes: &[u8]) -> bool {
        if !self.begun {
            let blank = bytes[self.at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.at += blank;
            self.line = self.at;
            let Some(first) = bytes.get(self.at) else { return false };
            // What cannot begin a method is no request, and will not become one: the parser may say so at once.
            if !first.is_ascii_graphic() {
                return true;
            }
            self.begun = true;
        }
        while let Some(end) = memchr::memchr(b'\n', &bytes[self.at..]).map(|offset| self.at + offset) {
            let line = &bytes[self.line..end];
            if line.is_empty() || line == b"\r" {
                return true;
            }
            self.line = end + 1;
            self.at = end + 1;
        }
        self.at = bytes.len();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends(bytes: &[u8]) -> bool {
        Scan::default().ended(bytes)
    }

    #[test]
    fn heads_end_at_an_empty_line() {
        assert!(ends(b"GET / HTTP/1.1\r\n\r\n"));
        assert!(ends(b"GET / HTTP/1.1\nHost: x\n\n"));
        assert!(ends(b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\n\r\nbody"));
        assert!(!ends(b"GET / HTTP/1.1\r\n"));
        assert!(!ends(b"GET / HTTP/1.1\r\nHost: x\r\n"));
        assert!(!ends(b"GET / HTTP/1.1\r\nHost: x\r\n\r"));
        assert!(!ends(b"\r\n\r\n\r\n"));
        assert!(!ends(b""));
    }

    #[test]
    fn what_is_no_request_is_not_waited_for() {
        assert!(ends(b"\x16\x03\x01\x02"), "a TLS handshake on a plain port");
        assert!(ends(b"\r\n\r\n\0"));
    }

    #[test]
    fn the_preface_is_seen_before_the_empty_line_in_it() {
        assert!(matches!(look(PREFACE, true), Look::Preface));
        assert!(matches!(look(&PREFACE[..20], true), Look::PrefaceSoFar));
        assert!(matches!(look(b"PROPFIND / HTTP/1.1", true), Look::Request));
        assert!(matches!(look(PREFACE, false), Look::Request));
    }

    proptest! {
        #[test]
        fn the_end_is_where_the_parser_finds_it(
            lines in prop::collection::vec("[A-Za-z: /.0-9]{0,12}(\r\n|\n|\r)", 0..8), cut in 1..40_usize,
        ) {
            let bytes = ["GET / HTTP/1.1\r\n".to_owned(), lines.concat()].concat().into_bytes();
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let parsed = httparse::Request::new(&mut fields).parse(&bytes);
            if let Ok(status) = parsed {
                prop_assert_eq!(ends(&bytes), status.is_complete());
            }
            // In pieces it is found as well, at the same time.
            let mut scan = Scan::default();
            let mut found = false;
            for end in (cut..bytes.len()).step_by(cut).chain([bytes.len()]) {
                found = found || scan.ended(&bytes[..end]);
            }
            prop_assert_eq!(found, ends(&bytes));
        }
    }
}
