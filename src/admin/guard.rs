//! Who may ask: the token, and defence against web pages that make a browser ask.

use super::answer::Refusal;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// Refuses requests that a web page may have caused: any `Origin`, and a `Host` that is not ours (DNS rebinding).
pub(super) fn not_from_a_page(parts: &Parts, loopback: bool, allowed_hosts: &[String]) -> Result<(), Refusal> {
    no_origin(parts)?;
    match authority(parts) {
        Some(authority) if loopback && is_loopback_name(authority.host()) => Ok(()),
        Some(authority) if allowed_hosts.iter().any(|allowed| names(allowed, &authority)) => Ok(()),
        _ => Err(Refusal::ForeignHost),
    }
}

/// Refuses requests with an `Origin`: the admin listener has no page of its own.
pub(super) fn no_origin(parts: &Parts) -> Result<(), Refusal> {
    if parts.headers.contains_key(ORIGIN) { Err(Refusal::Origin) } else { Ok(()) }
}

/// Whether the request tries to prove anything.
pub(super) fn has_credentials(parts: &Parts) -> bool {
    parts.headers.contains_key(AUTHORIZATION)
}

/// Refuses requests without exactly one `Authorization: Bearer` that holds the token.
///
/// An empty token lets nobody in.
pub(super) fn token(parts: &Parts, expected: &str) -> Result<(), Refusal> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(Refusal::Token) };
    let (scheme, given) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(Refusal::Token)?;
    // Only the length of the token can be told from the time this takes.
    let equal = bool::from(given.trim_matches(' ').as_bytes().ct_eq(expected.as_bytes()));
    if scheme.eq_ignore_ascii_case("bearer") && equal && !expected.is_empty() { Ok(()) } else { Err(Refusal::Token) }
}

/// The authority of an absolute-form target, else of the one `Host` header (RFC 9112 section 3.2.2).
fn authority(parts: &Parts) -> Option<Authority> {
    if let Some(authority) = parts.uri.authority() {
        return Some(authority.clone());
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    if authority.as_str().contains('@') { None } else { Some(authority) }
}

fn is_loopback_name(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn names(allowed: &str, authority: &Authority) -> bool {
    allowed.eq_ignore_ascii_case(authority.host()) || allowed.eq_ignore_ascii_case(authority.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn host(host: &str, loopback: bool, allowed: &[&str]) -> bool {
        let allowed: Vec<String> = allowed.iter().map(|&allowed| allowed.into()).collect();
        not_from_a_page(&parts("/config", &[("host", host)]), loopback, &allowed).is_ok()
    }

    #[test]
    fn a_loopback_listener_is_served_under_loopback_names_only() {
        for name in ["localhost", "LOCALHOST:9901", "127.0.0.1:9901", "127.0.0.2", "[::1]:9901", "[::1]"] {
            assert!(host(name, true, &[]), "{name}");
            assert!(!host(name, false, &[]), "{name}");
        }
        for name in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "a b", "x@localhost"]
        {
            assert!(!host(name, true, &[]), "{name}");
        }
    }

    #[test]
    fn configured_hosts_count_with_any_port_or_with_theirs() {
        assert!(host("gw.example:9901", false, &["gw.example"]));
        assert!(host("GW.example", false, &["gw.example"]));
        assert!(host("gw.example:9901", false, &["gw.example:9901"]));
        assert!(!host("gw.example:9902", false, &["gw.example:9901"]));
        assert!(!host("gw.example", false, &["gw.example:9901"]));
    }

    #[test]
    fn the_target_wins_over_host_and_host_comes_once() {
        let allowed = |target, headers: &[(&str, &str)]| not_from_a_page(&parts(target, headers), true, &[]).is_ok();
        assert!(!allowed("http://evil.example/config", &[("host", "localhost")]));
        assert!(!allowed("/config", &[("host", "localhost"), ("host", "localhost")]));
        assert!(!allowed("/config", &[]));
        assert!(!allowed("/config", &[("host", "localhost"), ("origin", "http://localhost")]));
    }

    #[test]
    fn only_the_whole_token_in_one_bearer_header_is_the_token() {
        let with = |values: &[&str], expected| {
            let headers: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
            token(&parts("/", &headers), expected).is_ok()
        };
        assert!(with(&["Bearer s3cret"], "s3cret"));
        assert!(with(&["bearer  s3cret"], "s3cret"));
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Bearer ", "Bearer", "Basic s3cret", "s3cret", ""] {
            assert!(!with(&[wrong], "s3cret"), "{wrong}");
        }
        assert!(!with(&[], "s3cret"));
        assert!(!with(&["Bearer s3cret", "Bearer s3cret"], "s3cret"));
        assert!(!with(&["Bearer "], ""));
    }
}
