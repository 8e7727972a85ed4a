//! Who the client is, when a proxy that we trust stands in between.
//!
//! A forwarding header is a list to which each hop appends the address it saw, so its right end was written by our
//! neighbour and its left end by whoever sent the request. It is therefore read from the right, only as far as the hops
//! are trusted: the first address that is not a trusted proxy is the client. Anything that cannot be read ends the walk
//! at the last hop that is certain.

use http::HeaderMap;
use http::header::FORWARDED;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// The header in which most proxies name the client; it has no specification.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The header in which proxies and clients name a request.
const X_REQUEST_ID: &str = "x-request-id";

/// The most characters that an inbound request id may have.
pub const REQUEST_ID_MAX: usize = 128;

/// Whether an address belongs to a trusted proxy. IPv4-mapped IPv6 addresses count as IPv4.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The client's address: the socket's, or what trusted proxies say in `Forwarded` (RFC 7239) or `X-Forwarded-For`.
///
/// `socket_peer` is the address of the connection (after a PROXY header, if there was one). From an untrusted peer no
/// header is believed. Where both headers are there, they must agree: a proxy that maintains one of them passes on
/// whatever the client put into the other, and which one it maintains cannot be seen from here.
pub fn client_address(socket_peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = socket_peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let forwarded = headers.contains_key(FORWARDED).then(|| walk(peer, forwarded_hops(headers), trusted));
    let forwarded_for = headers.contains_key(X_FORWARDED_FOR).then(|| walk(peer, forwarded_for_hops(headers), trusted));
    match (forwarded, forwarded_for) {
        (Some(address), None) | (None, Some(address)) => address,
        (Some(standard), Some(customary)) if standard == customary => standard,
        _ => peer,
    }
}

/// The request id that came with the request: only from a trusted proxy, given once, 1 to 128 visible ASCII characters.
pub fn inbound_request_id(headers: &HeaderMap, from_trusted_proxy: bool) -> Option<&str> {
    if !from_trusted_proxy {
        return None;
    }
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    let id = values.next()?.to_str().ok()?;
    let usable = (1..=REQUEST_ID_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    (usable && values.next().is_none()).then_some(id)
}

/// Goes from our neighbour towards the client; `hops` come from the right, `None` for one that cannot be read.
fn walk(peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>, trusted: &[IpNet]) -> IpAddr {
    let mut known = peer;
    for hop in hops {
        let Some(address) = hop else { return known };
        known = address;
        if !is_trusted(address, trusted) {
            return known;
        }
    }
    known
}

/// The hops of `X-Forwarded-For`, nearest first.
fn forwarded_for_hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    headers.get_all(X_FORWARDED_FOR).iter().rev().flat_map(|line| {
        let text = line.to_str().unwrap_or("?");
        text.rsplit(',').map(|hop| node_address(hop.trim_matches(OWS)))
    })
}

/// The hops of `Forwarded`, nearest first.
fn forwarded_hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    headers.get_all(FORWARDED).iter().rev().flat_map(|line| {
        let mut hops = line.to_str().map_or_else(|_| vec![None], forwarded_line);
        hops.reverse();
        hops
    })
}

/// Optional white space of RFC 9110.
const OWS: [char; 2] = [' ', '\t'];

/// One `Forwarded` field line, in its own order. What follows an element that breaks the grammar is one unreadable hop:
/// a stray quote could otherwise make a hop out of another hop's text.
fn forwarded_line(line: &str) -> Vec<Option<IpAddr>> {
    let mut hops = Vec::new();
    let mut rest = line;
    loop {
        match forwarded_element(rest) {
            Some((hop, after)) => {
                hops.push(hop);
                match after {
                    Some(after) => rest = after,
                    None => return hops,
                }
            }
            None => {
                hops.push(None);
                return hops;
            }
        }
    }
}

/// Reads one element: its `for` address, and what follows its comma. `None` if it breaks the grammar.
fn forwarded_element(text: &str) -> Option<(Option<IpAddr>, Option<&str>)> {
    let mut rest = text.trim_start_matches(OWS);
    let mut hop = None;
    let mut named = false;
    loop {
        let (name, after) = token(rest)?;
        let (value, after) = value(after.strip_prefix('=')?)?;
        if name.eq_ignore_ascii_case("for") {
            // A parameter may come only once in an element.
            if named {
                return None;
            }
            named = true;
            hop = node_address(value);
        }
        let after = after.trim_start_matches(OWS);
        match after.as_bytes().first() {
            None => return Some((hop, None)),
            Some(b',') => return Some((hop, Some(&after[1..]))),
            Some(b';') => rest = after[1..].trim_start_matches(OWS),
            Some(_) => return None,
        }
    }
}

/// A token of RFC 9110 section 5.6.2 and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// A parameter's value, without its quotes, and what follows it. Bare values may hold `:` and brackets although the
/// grammar wants them quoted: several proxies send them so.
fn value(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let end = quoted.find('"')?;
        let inner = &quoted[..end];
        // No address needs an escape, so one that has it is as good as unreadable.
        return (!inner.contains('\\')).then(|| (inner, &quoted[end + 1..]));
    }
    let bare = |byte: u8| is_token(byte) || matches!(byte, b':' | b'[' | b']');
    let end = text.bytes().position(|byte| !bare(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A node's address: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`. Names such as
/// `unknown` and `_hidden` are no address.
fn node_address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn networks(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|network| network.parse().unwrap()).collect()
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn ask(peer: &str, list: &[(&'static str, &str)]) -> String {
        let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
        client_address(peer.parse().unwrap(), &headers(list), &trusted).to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says() {
        let lies = [("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "1.2.3.4")];
        assert_eq!(ask("192.0.2.9", &lies), "192.0.2.9");
        assert_eq!(ask("::ffff:192.0.2.9", &lies), "192.0.2.9", "mapped addresses are IPv4");
    }

    #[test]
    fn the_nearest_untrusted_hop_is_the_client() {
        assert_eq!(ask("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2")]), "192.0.2.7");
        assert_eq!(
            ask("10.0.0.1", &[("forwarded", "for=6.6.6.6, for=192.0.2.7;proto=https, for=10.0.0.2")]),
            "192.0.2.7"
        );
        assert_eq!(ask("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
    }

    #[test]
    fn repeated_lines_are_one_list() {
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "10.1.1.1")];
        assert_eq!(ask("10.0.0.1", &lines), "192.0.2.7");
        let lines = [("forwarded", "for=6.6.6.6"), ("forwarded", "for=192.0.2.7"), ("forwarded", "for=10.1.1.1")];
        assert_eq!(ask("10.0.0.1", &lines), "192.0.2.7");
    }

    #[test]
    fn ports_brackets_and_quotes_are_understood() {
        for (line, address) in [
            ("192.0.2.7:4711", "192.0.2.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(ask("10.0.0.1", &[("x-forwarded-for", line)]), address);
            assert_eq!(ask("fd00::1", &[("forwarded", &format!("by=_edge ; For=\"{line}\";proto=http"))]), address);
        }
    }

    #[test]
    fn an_unreadable_hop_ends_the_walk_at_the_last_certain_one() {
        assert_eq!(ask("10.0.0.1", &[("x-forwarded-for", "192.0.2.7, unknown, 10.0.0.2")]), "10.0.0.2");
        assert_eq!(ask("10.0.0.1", &[("forwarded", "for=192.0.2.7, for=_hidden")]), "10.0.0.1");
        assert_eq!(ask("10.0.0.1", &[("forwarded", "for=192.0.2.7, proto=http")]), "10.0.0.1");
        assert_eq!(ask("10.0.0.1", &[("x-forwarded-for", "")]), "10.0.0.1");
        assert_eq!(ask("10.0.0.1", &[("forwarded", "for=192.0.2.7;for=192.0.2.8")]), "10.0.0.1");
    }

    #[test]
    fn a_stray_quote_cannot_forge_a_hop() {
        // The client sent the first part, the proxy appended the rest to the same line.
        for line in [
            "for=6.6.6.6, for=\"x, for=192.0.2.7",
            "for=6.6.6.6, for=\"x, for=\"192.0.2.7\"",
            "for=6.6.6.6;x=\", for=\"192.0.2.7\"",
            "for=6.6.6.6;x=\"\\\", for=\"192.0.2.7\"",
        ] {
            assert_eq!(ask("10.0.0.1", &[("forwarded", line)]), "10.0.0.1", "{line}");
        }
    }

    #[test]
    fn two_headers_that_disagree_are_not_believed() {
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(ask("10.0.0.1", &both), "10.0.0.1");
        let both = [("forwarded", "for=192.0.2.7"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(ask("10.0.0.1", &both), "192.0.2.7");
    }

    #[test]
    fn request_ids_are_kept_only_from_proxies_and_only_when_harmless() {
        let id =
            |value: &str, trusted| inbound_request_id(&headers(&[("x-request-id", value)]), trusted).map(str::to_owned);
        assert_eq!(id("a-1/b", true).as_deref(), Some("a-1/b"));
        assert_eq!(id("a-1/b", false), None);
        assert_eq!(id("", true), None);
        assert_eq!(id("two words", true), None);
        assert_eq!(id(&"x".repeat(128), true).map(|id| id.len()), Some(128));
        assert_eq!(id(&"x".repeat(129), true), None);
        assert_eq!(inbound_request_id(&headers(&[("x-request-id", "a"), ("x-request-id", "b")]), true), None);
    }

    fn hop() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c])),
            any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([203, a, b, c])),
            any::<u64>().prop_map(|low| std::net::Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(low)).into()),
        ]
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_an_untrusted_peer_never_moves(
            forwarded in "\\PC{0,60}", forwarded_for in "[0-9a-f.:, \"\\[\\]=;for]{0,60}", peer in hop(),
        ) {
            let mut map = HeaderMap::new();
            for (name, text) in [("forwarded", &forwarded), ("x-forwarded-for", &forwarded_for)] {
                if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                    map.append(name, value);
                }
            }
            let trusted = networks(&["10.0.0.0/8"]);
            let client = client_address(peer, &map, &trusted);
            if !is_trusted(peer, &trusted) {
                prop_assert_eq!(client, peer);
            }
        }

        #[test]
        fn both_forms_find_the_rightmost_untrusted_hop(hops in prop::collection::vec(hop(), 0..8)) {
            let trusted = networks(&["10.0.0.0/8"]);
            let peer = IpAddr::from([10, 0, 0, 1]);
            let expected = hops.iter().rev().find(|hop| !is_trusted(**hop, &trusted)).or(hops.first()).copied();
            let list: Vec<String> = hops.iter().map(ToString::to_string).collect();
            let elements: Vec<String> = hops
                .iter()
                .map(|hop| if hop.is_ipv6() { format!("for=\"[{hop}]:9\"") } else { format!("for={hop}") })
                .collect();
            for (name, line) in [("x-forwarded-for", list.join(", ")), ("forwarded", elements.join(","))] {
                if hops.is_empty() {
                    continue;
                }
                let client = client_address(peer, &headers(&[(name, &line)]), &trusted);
                prop_assert_eq!(Some(client), expected, "{}", name);
            }
        }
    }
}
