use super::*;
use crate::exchange::UnixMillis;
use http::HeaderMap;
use std::net::{IpAddr, Ipv4Addr};

fn ask(method: Method, headers: &[(&str, &str)], authority: Option<&str>) -> (Verdict, Exchange) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let guard = Guard::new(vec![HostRule::parse("localhost")], vec![OriginRule::parse("http://localhost:*")]);
    let mut exchange = Exchange::new(UnixMillis(0), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let head = Head { method: &method, path: "/mcp", query: None, authority, headers: &map };
    (guard.request(&head, &mut exchange), exchange)
}

fn fault(verdict: Verdict) -> Option<Fault> {
    match verdict {
        Verdict::Refuse(refusal) => Some(refusal.fault),
        _ => None,
    }
}

#[test]
fn a_foreign_host_is_refused_however_it_is_put() {
    for (headers, authority) in [
        (&[("host", "evil.com")][..], None),
        (&[], None),
        (&[("host", "localhost"), ("host", "evil.com")], None),
        (&[("host", "localhost")], Some("evil.com")),
        (&[("host", "evil.com")], Some("localhost")),
    ] {
        assert_eq!(
            fault(ask(Method::POST, headers, authority).0),
            Some(Fault::HostRefused),
            "{headers:?} {authority:?}"
        );
    }
    assert!(matches!(ask(Method::POST, &[], Some("localhost:8080")).0, Verdict::Continue));
}

#[test]
fn a_foreign_origin_is_refused_and_gets_no_cors_header() {
    for origin in ["https://evil.com", "null", "http://localhost.evil.com"] {
        let (verdict, exchange) = ask(Method::POST, &[("host", "localhost"), ("origin", origin)], None);
        assert_eq!(fault(verdict), Some(Fault::OriginRefused), "{origin}");
        assert!(exchange.response_headers.is_empty());
    }
    let twice = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "https://evil.com")];
    assert_eq!(fault(ask(Method::POST, &twice, None).0), Some(Fault::OriginRefused));
}

#[test]
fn an_admitted_origin_is_named_on_every_response() {
    let (refused, exchange) = ask(Method::POST, &[("host", "evil.com"), ("origin", "http://localhost:6274")], None);
    assert_eq!(fault(refused), Some(Fault::HostRefused));
    assert!(!exchange.response_headers.is_empty(), "the page may read why");
    let (verdict, exchange) = ask(Method::POST, &[("host", "localhost"), ("origin", "http://localhost:6274")], None);
    assert!(matches!(verdict, Verdict::Continue));
    assert!(
        exchange
            .response_headers
            .iter()
            .any(|(n, v)| n == "access-control-allow-origin" && v == "http://localhost:6274")
    );
    assert!(!exchange.response_headers.iter().any(|(n, _)| n == "access-control-allow-credentials"));
}

#[test]
fn a_preflight_is_answered_here_and_echoes_only_mirrored_arguments() {
    let headers = [
        ("host", "localhost"),
        ("origin", "http://localhost:6274"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type, Mcp-Param-Region, x-evil"),
    ];
    let (verdict, _) = ask(Method::OPTIONS, &headers, None);
    let Verdict::Answer(answer) = verdict else { panic!("{verdict:?}") };
    assert_eq!(answer.status, 204);
    let allowed = answer.headers["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("Mcp-Param-Region") && allowed.contains("Mcp-Session-Id") && !allowed.contains("evil"));
}
