//! What of a client's request goes with what its bridge sends in its place.

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, header};
use lockgate_filters::principal::Principal;
use lockgate_filters::splice::{self, Outbound};

/// The fields of a request on a client's behalf: what says who it is, where it comes from and what it belongs to. What MCP
/// says in fields, the bridge says itself, and where a stream goes on is not what a message is about.
pub(super) fn carried(client: &HeaderMap) -> Outbound {
    let mut fields = splice::carried(client);
    fields.retain(|name| *name != "last-event-id" && !name.as_str().starts_with("mcp-"));
    fields
}

/// Whose a request is: who calls, where that is known, whatever it is proven with this time; else whoever shows these
/// credentials. A digest, so that no credentials are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner([u8; 32]);

impl Owner {
    /// Of a request with these fields, by this caller. No credentials are some, too.
    pub(super) fn of(headers: &HeaderMap, caller: &Principal) -> Owner {
        if !caller.is_anonymous() {
            return Owner(caller.digest().0);
        }
        let mut all = Vec::new();
        for value in headers.get_all(header::AUTHORIZATION) {
            all.extend_from_slice(value.as_bytes());
            all.push(b'\n');
        }
        let mut own = [0; 32];
        own.copy_from_slice(digest(&SHA256, &all).as_ref());
        Owner(own)
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn what_says_who_a_client_is_goes_along() {
        let sent = map(&[
            ("host", "gw"),
            ("authorization", "Bearer x"),
            ("origin", "http://localhost"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-for", "192.0.2.2"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("content-type", "application/json"),
            ("content-length", "7"),
            ("accept", "*/*"),
            ("mcp-protocol-version", "2024-11-05"),
            ("last-event-id", "1"),
            ("traceparent", "00-1-2-03"),
        ]);
        let fields = carried(&sent);
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["authorization", "origin", "x-forwarded-for", "x-forwarded-for", "traceparent"]);
    }

    #[test]
    fn credentials_are_told_apart() {
        let of = |fields: &[_]| Owner::of(&map(fields), Principal::anonymous());
        let (none, one) = (of(&[]), of(&[("authorization", "Bearer a")]));
        assert!(one == of(&[("authorization", "Bearer a"), ("origin", "x")]) && one != none);
        assert!(one != of(&[("authorization", "Bearer b")]));
    }
}
