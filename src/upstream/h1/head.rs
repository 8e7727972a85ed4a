//! Reading the header of an HTTP/1.1 response: strictly, once, without copying values.

use crate::upstream::fault::AttemptFault;
use crate::upstream::headers::{HEADER_BYTES, HEADER_FIELDS, inbound, stays_here};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use lockgate_filters::splice::tokens;
use std::mem::MaybeUninit;
use std::time::Duration;

/// How a response body is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Whatever comes until the connection ends.
    UntilClose,
}

/// A response header.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// What may be passed on: see [`stays_here`].
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// Whether the connection outlives the response.
    pub(super) keep_alive: bool,
    /// How long the backend says it keeps the connection (`Keep-Alive: timeout=`).
    pub(super) keep_for: Option<Duration>,
}

/// Takes a response header off the front of `buffer`; `None` when it is not whole yet.
///
/// `searched` is how far earlier calls looked for its end; interim (1xx) responses are taken off as well.
pub(super) fn take(buffer: &mut BytesMut, searched: &mut usize) -> Result<Option<Head>, AttemptFault> {
    loop {
        let Some(end) = end_of_header(buffer, *searched) else {
            *searched = buffer.len();
            if buffer.len() > HEADER_BYTES {
                return Err(AttemptFault::protocol("its response header is too long"));
            }
            return Ok(None);
        };
        if end > HEADER_BYTES {
            return Err(AttemptFault::protocol("its response header is too long"));
        }
        *searched = 0;
        let head = parse(buffer.split_to(end).freeze())?;
        if !head.status.is_informational() {
            return Ok(Some(head));
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(AttemptFault::protocol("it switched protocols unasked"));
        }
    }
}

/// The offset behind the empty line that ends a header, looking from `from` on.
///
/// Looking for the end first keeps a header that arrives byte by byte from being parsed once a byte.
fn end_of_header(buffer: &[u8], from: usize) -> Option<usize> {
    // The end may begin up to three bytes before what is new.
    let mut at = from.saturating_sub(3);
    while let Some(newline) = memchr::memchr(b'\n', buffer.get(at..)?) {
        at += newline + 1;
        match buffer.get(at..) {
            Some([b'\n', ..]) => return Some(at + 1),
            Some([b'\r', b'\n', ..]) => return Some(at + 2),
            _ => {}
        }
    }
    None
}

fn parse(head: Bytes) -> Result<Head, AttemptFault> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADER_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, &head, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(AttemptFault::protocol("its response header is malformed")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(AttemptFault::protocol("its response header has too many fields"));
        }
        Err(error) => return Err(AttemptFault::protocol("its response header is malformed").because(error)),
    }
    let status = response
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .filter(|status| status.as_u16() < 600)
        .ok_or(AttemptFault::protocol("its status code is out of range"))?;
    let http11 = response.version == Some(1);

    let mut headers = HeaderMap::with_capacity(response.headers.len());
    let mut hop = Hop { keep_alive: http11, ..Hop::default() };
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| AttemptFault::protocol("a field name of its response header is malformed"))?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value))
            .map_err(|_| AttemptFault::protocol("a field value of its response header is malformed"))?;
        hop.read(&name, &value)?;
        if !stays_here(&name) {
            headers.append(name, value);
        } else if name == header::CONNECTION {
            // Kept until all fields are known: it may name one that came before it.
            hop.nominates |= tokens(&value).any(|token| !is_option(token));
            headers.append(name, value);
        }
    }
    if hop.nominates {
        headers = inbound(&headers);
    } else {
        headers.remove(header::CONNECTION);
    }
    let framing = hop.framing(status, http11)?;
    let keep_alive = hop.keep_alive && http11 && framing != Framing::UntilClose && !hop.ambiguous();
    if let Framing::Length(length) = framing
        && hop.length.is_some()
        && !bodiless(status)
    {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(Head { status, headers, framing, keep_alive, keep_for: hop.keep_for })
}

fn bodiless(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Whether a token of `Connection` is an option rather than the name of a field.
fn is_option(token: &[u8]) -> bool {
    token.eq_ignore_ascii_case(b"close") || token.eq_ignore_ascii_case(b"keep-alive")
}

/// What the fields of a header say about this connection.
#[derive(Default)]
struct Hop {
    keep_alive: bool,
    keep_for: Option<Duration>,
    nominates: bool,
    length: Option<u64>,
    coded: bool,
    chunked: bool,
}

impl Hop {
    fn read(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), AttemptFault> {
        if *name == header::CONTENT_LENGTH {
            for piece in tokens(value) {
                let length = decimal(piece).ok_or(AttemptFault::protocol("its Content-Length is no number"))?;
                if self.length.is_some_and(|known| known != length) {
                    return Err(AttemptFault::protocol("it gives several Content-Lengths"));
                }
                self.length = Some(length);
            }
            if self.length.is_none() {
                return Err(AttemptFault::protocol("its Content-Length is no number"));
            }
        } else if *name == header::TRANSFER_ENCODING {
            for coding in tokens(value) {
                if self.coded || !coding.eq_ignore_ascii_case(b"chunked") {
                    return Err(AttemptFault::protocol("its Transfer-Encoding is not just chunked"));
                }
                self.coded = true;
                self.chunked = true;
            }
        } else if *name == header::CONNECTION {
            if tokens(value).any(|token| token.eq_ignore_ascii_case(b"close")) {
                self.keep_alive = false;
            }
        } else if name.as_str() == "keep-alive" {
            self.keep_for = tokens(value)
                .filter_map(|token| token.strip_prefix(b"timeout="))
                .find_map(decimal)
                .map(Duration::from_secs);
        }
        Ok(())
    }

    /// Both a length and a transfer coding: the coding counts, but the connection is not trusted any further.
    fn ambiguous(&self) -> bool {
        self.chunked && self.length.is_some()
    }

    fn framing(&self, status: StatusCode, http11: bool) -> Result<Framing, AttemptFault> {
        if bodiless(status) {
            return Ok(Framing::Length(0));
        }
        match (self.chunked, self.length) {
            (true, _) if !http11 => Err(AttemptFault::protocol("it uses Transfer-Encoding in HTTP/1.0")),
            (true, _) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::UntilClose),
        }
    }
}

/// A number of digits only.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, AttemptFault> {
        take(&mut BytesMut::from(text), &mut 0)
    }

    fn whole(text: &str) -> Head {
        read(text).expect("well-formed").expect("whole")
    }

    fn refused(text: &str) -> String {
        read(text).expect_err("must be refused").to_string()
    }

    #[test]
    fn framing_follows_rfc_9112() {
        assert_eq!(whole("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").framing, Framing::Length(5));
        assert_eq!(
            whole("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n").framing,
            Framing::Length(5)
        );
        assert_eq!(whole("HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\n").framing, Framing::Length(5));
        assert_eq!(whole("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n").framing, Framing::Chunked);
        assert_eq!(whole("HTTP/1.1 200 OK\r\n\r\n").framing, Framing::UntilClose);
        assert_eq!(whole("HTTP/1.1 204 No Content\r\n\r\n").framing, Framing::Length(0));
        let bodiless = whole("HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n");
        assert_eq!((bodiless.framing, bodiless.headers.len()), (Framing::Length(0), 0));
        let both = whole("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!((both.framing, both.keep_alive), (Framing::Chunked, false));
        assert!(!both.headers.contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn broken_framing_is_refused() {
        for lengths in ["-1", "+5", "5 5", "0x5", "", "99999999999999999999", "5, 6"] {
            refused(&format!("HTTP/1.1 200 OK\r\ncontent-length: {lengths}\r\n\r\n"));
        }
        refused("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n");
        refused("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n");
        refused("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n");
        refused("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        refused("HTTP/1.1 101 Switching Protocols\r\n\r\n");
        refused("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n");
        refused("ICY 200 OK\r\n\r\n");
        refused("HTTP/1.1 999 What\r\n\r\n");
    }

    #[test]
    fn interim_responses_are_skipped() {
        let head = whole("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 202 A\r\n\r\n");
        assert_eq!(head.status, 202);
        assert!(head.headers.is_empty());
    }

    #[test]
    fn keep_alive_follows_version_and_connection() {
        assert!(whole("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").keep_alive);
        assert!(!whole("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: Close\r\n\r\n").keep_alive);
        assert!(!whole("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n").keep_alive);
        assert!(!whole("HTTP/1.1 200 OK\r\n\r\n").keep_alive);
        let kept = whole("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nkeep-alive: timeout=5, max=9\r\n\r\n");
        assert_eq!(kept.keep_for, Some(Duration::from_secs(5)));
    }

    #[test]
    fn nominated_fields_are_dropped_wherever_they_stand() {
        let head =
            whole("HTTP/1.1 200 OK\r\nx-a: 1\r\nconnection: x-a, x-b\r\nx-b: 2\r\nx-c: 3\r\ncontent-length: 0\r\n\r\n");
        let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "x-c"]);
    }

    #[test]
    fn a_header_may_arrive_in_any_pieces() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        for cut in 1..text.len() {
            let (mut buffer, mut searched) = (BytesMut::from(&text[..cut]), 0);
            let early = take(&mut buffer, &mut searched).expect("well-formed");
            buffer.extend_from_slice(&text[cut..]);
            let head = early.or_else(|| take(&mut buffer, &mut searched).expect("well-formed")).expect("whole");
            assert_eq!((head.framing, &buffer[..]), (Framing::Length(2), &b"{}"[..]));
        }
    }

    #[test]
    fn endless_headers_are_refused() {
        let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\n");
        let mut searched = 0;
        let outcome = loop {
            buffer.extend_from_slice(b"x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
            match take(&mut buffer, &mut searched) {
                Ok(None) => {}
                other => break other,
            }
        };
        assert_eq!(outcome.expect_err("too long").to_string(), "its response header is too long");
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200));
        assert_eq!(refused(&many), "its response header has too many fields");
    }
}
