//! A request as HTTP/1.1 writes it.

use super::Outbound;
use bytes::{BufMut, Bytes, BytesMut};

/// Bodies up to this size are copied behind the header, so that both leave in one plain write.
pub const COPIED_BODY_BYTES: usize = 16 * 1024;

/// The bytes of a request, in the two pieces that are written: both at once where the transport can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// The header, and a small body behind it.
    pub front: BytesMut,
    /// A large body: the client's own bytes, shared. Empty where the body is in `front`.
    pub rest: Bytes,
}

/// Writes a request: `prefix` is everything that is the same for all requests to an endpoint.
///
/// The buffer has room for at least `room` bytes, for whoever uses it again.
pub fn encode(prefix: &[u8], fields: &Outbound, body: Option<&Bytes>, room: usize) -> Wire {
    let copied = body.filter(|body| body.len() <= COPIED_BODY_BYTES);
    let size = prefix.len() + fields.wire_len() + copied.map_or(0, Bytes::len) + 32;
    let mut front = BytesMut::with_capacity(size.max(room));
    front.put_slice(prefix);
    for (name, value) in fields.iter() {
        front.put_slice(name.as_str().as_bytes());
        front.put_slice(b": ");
        front.put_slice(value.as_bytes());
        front.put_slice(b"\r\n");
    }
    if let Some(body) = body {
        front.put_slice(b"content-length: ");
        put_decimal(&mut front, body.len());
        front.put_slice(b"\r\n");
    }
    front.put_slice(b"\r\n");
    let rest = match (copied, body) {
        (Some(small), _) => {
            front.put_slice(small);
            Bytes::new()
        }
        (None, large) => large.cloned().unwrap_or_default(),
    };
    Wire { front, rest }
}

fn put_decimal(wire: &mut BytesMut, mut number: usize) {
    let start = wire.len();
    loop {
        wire.put_u8(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = wire.get_mut(start..) {
        digits.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn a_request_is_prefix_fields_length_and_body() {
        let mut fields = Outbound::new();
        fields.set(HeaderName::from_static("mcp-method"), HeaderValue::from_static("ping"));
        let wire = encode(b"POST / HTTP/1.1\r\n", &fields, Some(&Bytes::from("{}")), 0);
        assert_eq!(wire.front, &b"POST / HTTP/1.1\r\nmcp-method: ping\r\ncontent-length: 2\r\n\r\n{}"[..]);
        assert!(wire.rest.is_empty());
        let none = encode(b"GET / HTTP/1.1\r\n", &Outbound::new(), None, 4096);
        assert_eq!(none.front, &b"GET / HTTP/1.1\r\n\r\n"[..]);
        assert!(none.front.capacity() >= 4096);
        let empty = encode(b"", &Outbound::new(), Some(&Bytes::new()), 0);
        assert_eq!(empty.front, &b"content-length: 0\r\n\r\n"[..]);
    }

    #[test]
    fn a_large_body_is_shared_and_not_copied() {
        for (length, shared) in [(COPIED_BODY_BYTES, false), (COPIED_BODY_BYTES + 1, true), (1_234_567, true)] {
            let body = Bytes::from(vec![b'x'; length]);
            let wire = encode(b"", &Outbound::new(), Some(&body), 0);
            assert!(wire.front.starts_with(format!("content-length: {length}\r\n\r\n").as_bytes()));
            assert_eq!(wire.rest.as_ptr() == body.as_ptr(), shared);
            assert_eq!(wire.rest.len(), if shared { length } else { 0 });
        }
    }
}
