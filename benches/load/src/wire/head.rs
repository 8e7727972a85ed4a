//! The head of a request or answer, reduced to what the harness acts on.

use super::decoder::WireError;
use crate::mcp::MODERN_REVISION;

/// Longest head that is read.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 100;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(usize),
    /// Chunked transfer coding.
    Chunked,
    /// Everything until the peer closes.
    UntilClose,
}

/// What starts the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A request, by its method.
    Request(Method),
    /// An answer, by its status.
    Answer(u16),
}

/// Methods that MCP uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A message.
    Post,
    /// The legacy stream.
    Get,
    /// The end of a session.
    Delete,
    /// Anything else.
    Other,
}

/// A parsed head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Method or status.
    pub start: Start,
    /// How long the body is.
    pub framing: Framing,
    /// The sender closes after this message.
    pub close: bool,
    /// `Content-Type` is `text/event-stream`.
    pub sse: bool,
    /// `MCP-Protocol-Version` names the modern revision.
    pub modern: bool,
    /// `Mcp-Session-Id`.
    pub session: Option<Box<str>>,
}

/// Which side's messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Requests, as a server reads them.
    Requests,
    /// Answers, as a client reads them.
    Answers,
}

impl Head {
    /// Parses a head at the start of `bytes`; `None` while it is incomplete. Also says how long it is.
    pub fn parse(side: Side, bytes: &[u8]) -> Result<Option<(Self, usize)>, WireError> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let (start, parsed) = match side {
            Side::Requests => {
                let mut request = httparse::Request::new(&mut fields);
                let httparse::Status::Complete(length) = request.parse(bytes)? else { return incomplete(bytes) };
                let method = match request.method {
                    Some("POST") => Method::Post,
                    Some("GET") => Method::Get,
                    Some("DELETE") => Method::Delete,
                    _ => Method::Other,
                };
                (Start::Request(method), (length, request.headers))
            }
            Side::Answers => {
                let mut answer = httparse::Response::new(&mut fields);
                let httparse::Status::Complete(length) = answer.parse(bytes)? else { return incomplete(bytes) };
                (Start::Answer(answer.code.unwrap_or(0)), (length, answer.headers))
            }
        };
        let (length, fields) = parsed;
        Self::from_fields(start, fields).map(|head| Some((head, length)))
    }

    fn from_fields(start: Start, fields: &[httparse::Header<'_>]) -> Result<Self, WireError> {
        let mut head =
            Self { start, framing: Framing::UntilClose, close: false, sse: false, modern: false, session: None };
        let mut length = None;
        for field in fields {
            let value = field.value.trim_ascii();
            let named = |name: &str| field.name.eq_ignore_ascii_case(name);
            // Most fields are none of ours: the length of the name sorts them out without comparing.
            match field.name.len() {
                10 if named("connection") => head.close = value.eq_ignore_ascii_case(b"close"),
                12 if named("content-type") => head.sse = value.starts_with(b"text/event-stream"),
                14 if named("content-length") => length = Some(number(value).ok_or(WireError::Length)?),
                14 if named("mcp-session-id") => {
                    let text = std::str::from_utf8(value).map_err(|_| WireError::Session)?;
                    head.session = Some(text.into());
                }
                17 if named("transfer-encoding") && value.eq_ignore_ascii_case(b"chunked") => {
                    head.framing = Framing::Chunked;
                }
                20 if named("mcp-protocol-version") => head.modern = value == MODERN_REVISION.as_bytes(),
                _ => {}
            }
        }
        let bodiless = match start {
            Start::Request(_) => length.is_none() && head.framing != Framing::Chunked,
            Start::Answer(status) => matches!(status, 100..=199 | 204 | 304),
        };
        if bodiless {
            head.framing = Framing::Length(0);
        } else if let (Some(length), Framing::UntilClose) = (length, head.framing) {
            head.framing = Framing::Length(length);
        }
        Ok(head)
    }
}

fn incomplete(bytes: &[u8]) -> Result<Option<(Head, usize)>, WireError> {
    if bytes.len() > HEAD_BYTES_MAX { Err(WireError::HeadTooLong) } else { Ok(None) }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Head {
        Head::parse(Side::Answers, text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn reads_an_answer() {
        let head = answer(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\nMCP-Session-Id:  abc \r\nConnection: close\r\n\r\n",
        );
        assert_eq!(head.start, Start::Answer(200));
        assert_eq!(head.framing, Framing::Chunked);
        assert!(head.sse && head.close);
        assert_eq!(head.session.as_deref(), Some("abc"));
    }

    #[test]
    fn reads_a_request_and_its_length() {
        let text = "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nMCP-Protocol-Version: 2026-07-28\r\n\r\nabc";
        let (head, length) = Head::parse(Side::Requests, text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.start, Start::Request(Method::Post));
        assert_eq!(head.framing, Framing::Length(3));
        assert!(head.modern);
        assert_eq!(&text[length..], "abc");
    }

    #[test]
    fn finds_bodies_that_are_not_there() {
        assert_eq!(answer("HTTP/1.1 204 No Content\r\n\r\n").framing, Framing::Length(0));
        assert_eq!(answer("HTTP/1.1 200 OK\r\n\r\n").framing, Framing::UntilClose);
        let (get, _) = Head::parse(Side::Requests, b"GET / HTTP/1.1\r\n\r\n").unwrap().unwrap();
        assert_eq!((get.start, get.framing), (Start::Request(Method::Get), Framing::Length(0)));
    }

    #[test]
    fn waits_for_the_rest_but_not_for_ever() {
        assert!(Head::parse(Side::Answers, b"HTTP/1.1 200 OK\r\nA: ").unwrap().is_none());
        let mut endless = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
        endless.resize(HEAD_BYTES_MAX + 30, b'a');
        assert!(matches!(Head::parse(Side::Answers, &endless), Err(WireError::HeadTooLong)));
    }

    #[test]
    fn refuses_a_length_that_is_no_number() {
        for value in ["-1", "x", "99999999999999999999999"] {
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\n");
            assert!(matches!(Head::parse(Side::Answers, text.as_bytes()), Err(WireError::Length)));
        }
    }
}
