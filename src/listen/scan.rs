//! What must be known of a request's head before it is handed on: where it ends, how its body is framed, and what explains
//! a refusal.
//!
//! Nothing is decided here but the end. Pingora parses the head and is the stricter of the two.

use super::framing::Framing;
use memchr::{memchr, memmem};

/// A head, seen to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// How many bytes it has, empty lines before it included.
    pub(crate) length: usize,
    /// How the body behind it is framed.
    pub(crate) framing: Framing,
    /// How many fields it has.
    pub(crate) fields: usize,
    /// How many of them are `Host`.
    pub(crate) hosts: usize,
    /// Whether the request target names a host itself (RFC 9112 section 3.2.2).
    pub(crate) absolute: bool,
}

/// Finds the end of a head while it grows: an empty line after the request line (RFC 9112 section 2.1), where a line may
/// end in CRLF or in LF alone.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Where the current line begins.
    line: usize,
    /// Where to look for its end.
    at: usize,
    /// Whether the request line has begun: empty lines before it are skipped (section 2.2).
    begun: bool,
    /// Whether the request line has ended.
    named: bool,
    framing: Option<Framing>,
    fields: usize,
    hosts: usize,
    absolute: bool,
}

impl Scan {
    /// The head, if it has ended. `bytes` is all that came, and only ever grows.
    pub(crate) fn ended(&mut self, bytes: &[u8]) -> Option<Head> {
        if !self.begun {
            let blank = bytes[self.at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.at += blank;
            self.line = self.at;
            let first = bytes.get(self.at)?;
            // What cannot begin a method is no request, and will not become one: the parser may say so at once.
            if !first.is_ascii_graphic() {
                return Some(Head { framing: Framing::Unknown, ..self.head(bytes.len()) });
            }
            self.begun = true;
        }
        while let Some(end) = memchr(b'\n', &bytes[self.at..]).map(|offset| self.at + offset) {
            let line = &bytes[self.line..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            (self.line, self.at) = (end + 1, end + 1);
            if line.is_empty() {
                return Some(self.head(self.line));
            }
            if self.named {
                self.field(line);
            } else {
                self.named = true;
                self.absolute = memmem::find(line, b"://").is_some();
            }
        }
        self.at = bytes.len();
        None
    }

    fn field(&mut self, line: &[u8]) {
        self.fields += 1;
        // Most fields are told apart by their first letter.
        if !matches!(line[0], b'H' | b'h' | b'C' | b'c' | b'T' | b't') {
            return;
        }
        let Some(colon) = memchr(b':', line) else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.frame(length(value));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.frame(if value.eq_ignore_ascii_case(b"chunked") { Framing::CHUNKED } else { Framing::Unknown });
        }
    }

    /// One field frames the body; what two of them mean is for the parser to say.
    fn frame(&mut self, framing: Framing) {
        self.framing = Some(if self.framing.is_none() { framing } else { Framing::Unknown });
    }

    fn head(&self, length: usize) -> Head {
        let Scan { fields, hosts, absolute, .. } = *self;
        Head { length, framing: self.framing.unwrap_or(Framing::NONE), fields, hosts, absolute }
    }
}

/// A `Content-Length`: digits and nothing else (RFC 9110 section 8.6).
fn length(value: &[u8]) -> Framing {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).map_or(Framing::Unknown, Framing::Left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends(bytes: &[u8]) -> bool {
        Scan::default().ended(bytes).is_some()
    }

    fn head(text: &str) -> Head {
        Scan::default().ended(text.as_bytes()).expect("a whole head")
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
    fn a_head_says_how_its_body_is_framed() {
        let framed = |fields: &str| head(&format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n")).framing;
        assert_eq!(framed(""), Framing::NONE);
        assert_eq!(framed("CONTENT-length:\t12 \r\n"), Framing::Left(12));
        assert_eq!(framed("Content-Length: 0\r\n"), Framing::NONE);
        assert_eq!(framed("Content-Lengths: 5\r\nX-Content-Length: 5\r\n"), Framing::NONE);
        assert_eq!(framed("transfer-encoding: Chunked\n"), Framing::CHUNKED);
        for odd in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
        ] {
            assert_eq!(framed(odd), Framing::Unknown, "{odd:?}");
        }
    }

    #[test]
    fn a_head_says_what_explains_a_refusal() {
        let plain = head("GET /mcp HTTP/1.1\r\nhost: a\r\nReferer: http://b/\r\n\r\nmore");
        assert_eq!((plain.fields, plain.hosts, plain.absolute), (2, 1, false));
        assert_eq!(plain.length, "GET /mcp HTTP/1.1\r\nhost: a\r\nReferer: http://b/\r\n\r\n".len());
        let odd = head("\r\nGET http://b/mcp HTTP/1.1\r\nHost: a\r\nHOST: b\r\n\r\n");
        assert_eq!((odd.fields, odd.hosts, odd.absolute), (2, 2, true));
    }

    proptest! {
        #[test]
        fn the_end_is_where_the_parser_finds_it(
            lines in prop::collection::vec("[A-Za-z: /.0-9]{0,12}(\r\n|\n|\r)", 0..8), cut in 1..40_usize,
        ) {
            let bytes = ["GET / HTTP/1.1\r\n".to_owned(), lines.concat()].concat().into_bytes();
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let parsed = httparse::Request::new(&mut fields).parse(&bytes);
            let whole = Scan::default().ended(&bytes);
            if let Ok(status) = parsed {
                let end = match status {
                    httparse::Status::Complete(end) => Some(end),
                    httparse::Status::Partial => None,
                };
                prop_assert_eq!(whole.map(|head| head.length), end);
            }
            // In pieces it is found as well, at the same place.
            let mut scan = Scan::default();
            let mut found = None;
            for end in (cut..bytes.len()).step_by(cut).chain([bytes.len()]) {
                found = found.or_else(|| scan.ended(&bytes[..end]));
            }
            prop_assert_eq!(found, whole);
        }
    }
}
