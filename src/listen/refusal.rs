//! What a client is told whose request never becomes one for the application: a head that is no HTTP, comes too slowly or
//! does not end, or that Pingora refuses before its first hook.
//!
//! How a refusal is worded, counted and logged is not this room's business: [`Refuse`] is handed in. Only HTTP/1.1 is
//! answered here; over HTTP/2 Pingora answers or resets such a stream within its own accept loop.

use super::connection::Connection;
use super::scan::Head;
use bytes::Bytes;
use http::StatusCode;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::headers::REQUEST_ID;
use std::fmt::Write;

/// The most fields that Pingora's parser takes.
const FIELDS_MAX: usize = 256;

const RULE: &str = "head";

/// Words refusals, counts and logs them.
pub trait Refuse: Send + Sync {
    /// The body of the answer, and the id by which the refusal is found in the log.
    fn refuse(&self, connection: &Connection, refusal: &Refusal) -> Worded;
}

/// The body of a refusal.
#[derive(Clone, Debug)]
pub struct Worded {
    /// What `X-Request-Id` says.
    pub correlation: String,
    /// A JSON-RPC error.
    pub body: Bytes,
}

/// The refusal of a head that took too long.
pub(crate) fn too_slow() -> Refusal {
    Refusal::new(Fault::HeadersTooSlow, RULE)
}

/// The refusal of a head that does not end.
pub(crate) fn too_large() -> Refusal {
    Refusal::new(Fault::HeadersTooLarge, RULE)
}

/// Why Pingora refused a head, which it answered with `status`.
pub(crate) fn explain(head: &Head, status: StatusCode) -> Refusal {
    if status == StatusCode::METHOD_NOT_ALLOWED {
        return Refusal::new(Fault::MethodNotAllowed, RULE).with_header("Allow", "POST, GET, DELETE, OPTIONS");
    }
    if head.fields > FIELDS_MAX {
        return too_large();
    }
    if head.hosts > 1 {
        return Refusal::new(Fault::MalformedHead, RULE).saying("Host must be given once");
    }
    if head.absolute {
        // It names two hosts, and so at least one that is not the other.
        return Refusal::new(Fault::HostRefused, RULE);
    }
    Refusal::new(Fault::MalformedHead, RULE)
}

/// The status of an HTTP/1.1 answer that begins with these bytes.
pub(crate) fn status(answer: &[u8]) -> StatusCode {
    answer.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok()).unwrap_or(StatusCode::BAD_REQUEST)
}

/// A refusal as HTTP/1.1 has it. The connection ends with it.
pub(crate) fn answer(refuse: &dyn Refuse, connection: &Connection, refusal: &Refusal) -> Bytes {
    let Worded { correlation, body } = refuse.refuse(connection, refusal);
    let status = StatusCode::from_u16(refusal.fault.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = format!(
        "HTTP/1.1 {status}\r\n{REQUEST_ID}: {correlation}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in &refusal.headers {
        // Writing to a string cannot fail.
        let _ = write!(answer, "{name}: {value}\r\n");
    }
    answer.push_str("Connection: close\r\n\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(&body);
    answer.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::framing::Framing;

    fn fault(fields: usize, hosts: usize, absolute: bool, answer: &[u8]) -> Fault {
        let head = Head { length: 0, framing: Framing::NONE, fields, hosts, absolute };
        explain(&head, status(answer)).fault
    }

    #[test]
    fn a_refusal_says_why() {
        const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\n";
        assert_eq!(fault(0, 0, false, BAD), Fault::MalformedHead);
        assert_eq!(fault(2, 2, false, BAD), Fault::MalformedHead);
        assert_eq!(fault(2, 2, true, BAD), Fault::MalformedHead, "two hosts are two, whatever the target says");
        assert_eq!(fault(2, 1, true, BAD), Fault::HostRefused);
        assert_eq!(fault(257, 1, false, BAD), Fault::HeadersTooLarge);
        assert_eq!(fault(1, 1, false, b"HTTP/1.1 405 Method Not Allowed\r\n"), Fault::MethodNotAllowed);
        assert_eq!(fault(1, 1, false, b"HTTP"), Fault::MalformedHead);
    }
}
