//! The session that a backend gave us, on behalf of one client session.

use http::HeaderValue;
use lockgate_filters::federate::event_id::Source;
use lockgate_filters::revision::Revision;

/// A backend's session id: a secret between the gateway and the backend, never shown to clients or in logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamId(HeaderValue);

impl UpstreamId {
    /// The longest id that is accepted from a backend, in bytes.
    pub const BYTES_MAX: usize = 1024;

    /// Takes the value of a backend's `Mcp-Session-Id`: visible ASCII (0x21 to 0x7E) as the specification demands, not
    /// empty, at most [`UpstreamId::BYTES_MAX`] long. `None` for anything else.
    pub fn new(value: &[u8]) -> Option<UpstreamId> {
        let fits = (1..=UpstreamId::BYTES_MAX).contains(&value.len());
        if !fits || !value.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut value = HeaderValue::from_bytes(value).ok()?;
        // Debug then hides the value, and HTTP/2 keeps it out of compression tables.
        value.set_sensitive(true);
        Some(UpstreamId(value))
    }

    /// The header value to send; cloning it copies no bytes.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

/// What a backend answered to `initialize`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSession {
    /// The id it gave; `None` when it keeps no session.
    pub id: Option<UpstreamId>,
    /// The revision negotiated with it.
    pub revision: Revision,
}

impl UpstreamSession {
    /// What it is called in ids of events; `place` is where the backend is.
    pub fn source(&self, place: &str) -> Source {
        Source::of(place, self.id.as_ref().map(|id| id.header().as_bytes()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_visible_ascii_is_an_id() {
        assert!(UpstreamId::new(b"!~aZ09").is_some());
        assert!(UpstreamId::new(&[b'x'; 1024]).is_some());
        for bad in [&b""[..], b"a b", b"a\tb", b"a\r\nb", "ä".as_bytes(), b"\x7f", &[b'x'; 1025]] {
            assert_eq!(UpstreamId::new(bad), None);
        }
    }

    #[test]
    fn an_id_stays_out_of_debug() {
        let id = UpstreamId::new(b"secret-id");
        assert!(!format!("{id:?}").contains("secret"));
    }
}
