//! Which header fields of a backend's response pass through the gateway; `lockgate_filters::splice` has the other way.
//!
//! By a deny-list: what belongs to one hop, to the browser's view of an origin, or to somebody else's cookie jar is
//! dropped.

use http::{HeaderMap, HeaderName, header};
use lockgate_filters::splice::Nominated;

/// The longest response header that is read, in bytes.
pub(super) const HEADER_BYTES: usize = 64 * 1024;
/// The most fields a response header may have.
pub(super) const HEADER_FIELDS: usize = 128;

/// Whether a response field stays at this hop, unless `Connection` names it anyway.
///
/// Beside hop-by-hop fields: `Content-Length` (put back by whoever knows the body's), cookies, what would tell a browser
/// about the backend's origin instead of ours, and who the backend is.
pub(super) fn stays_here(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::CONTENT_LENGTH
        || *name == header::SET_COOKIE
        || *name == header::SERVER
        || *name == header::TE
        || *name == header::TRAILER
        || *name == header::UPGRADE
        || *name == header::PROXY_AUTHENTICATE
        || *name == header::PROXY_AUTHORIZATION
        || *name == header::ALT_SVC
        || *name == header::STRICT_TRANSPORT_SECURITY
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "set-cookie2" | "x-powered-by")
        || name.as_str().starts_with("access-control-")
}

/// A response's fields without those that stay here.
pub(super) fn inbound(received: &HeaderMap) -> HeaderMap {
    let nominated = Nominated::of(received);
    let mut kept = HeaderMap::with_capacity(received.len());
    for (name, value) in received {
        if !stays_here(name) && !nominated.names(name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn responses_lose_what_belongs_to_the_hop_or_the_origin() {
        let received = map(&[
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("set-cookie", "a=b"),
            ("access-control-allow-origin", "*"),
            ("alt-svc", "h3=\":443\""),
            ("server", "uvicorn"),
            ("content-length", "3"),
            ("content-type", "application/json"),
            ("mcp-session-id", "s"),
            ("www-authenticate", "Bearer"),
        ]);
        let kept = inbound(&received);
        let mut left: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "mcp-session-id", "www-authenticate"]);
    }
}
