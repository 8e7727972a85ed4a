//! What settings become, without a connection.

use super::*;
use crate::upstream::testing::at;

fn endpoint(url: &str) -> Result<Endpoint, SettingsError> {
    Endpoint::new(&at(url), PoolSettings::default(), &Connector::new())
}

fn prefix_of(url: &str) -> String {
    let endpoint = endpoint(url).expect("a URL");
    String::from_utf8(endpoint.target().0.prefix(Verb::Post).to_vec()).expect("text")
}

#[test]
fn urls_become_request_lines_and_hosts() {
    assert!(
        prefix_of("http://a.example:9000/mcp?x=1").starts_with("POST /mcp?x=1 HTTP/1.1\r\nhost: a.example:9000\r\n")
    );
    assert!(prefix_of("http://a.example:80").starts_with("POST / HTTP/1.1\r\nhost: a.example\r\n"));
    let named = EndpointSettings { authority: Some("gw:80".into()), ..at("http://gw:80/mcp") };
    let target = Target::new(&named.url, &named).unwrap();
    assert!(target.prefix(Verb::Post).starts_with(b"POST /mcp HTTP/1.1\r\nhost: gw:80\r\n"));
    assert!(prefix_of("http://[::1]:9/mcp").starts_with("POST /mcp HTTP/1.1\r\nhost: [::1]:9\r\n"));
    let constant = prefix_of("http://a/mcp");
    assert!(constant.contains("\r\naccept: application/json, text/event-stream\r\naccept-encoding: identity\r\n"));
    assert!(constant.ends_with("content-type: application/json\r\n"));
}

#[test]
fn unusable_urls_are_refused() {
    for url in ["ftp://a/", "http://a/#x"] {
        assert!(endpoint(url).is_err(), "{url}");
    }
    let secret = endpoint("http://user:hunter2@a/").expect_err("credentials");
    assert!(!secret.to_string().contains("hunter2"));
}

#[test]
fn redirects_stay_within_the_origin() {
    let endpoint = endpoint("http://a.example:9000/mcp").expect("a URL");
    let (target, moved) = endpoint.target();
    assert!(!moved);
    let path = |location: &str| endpoint.redirected(&target, location).map(|next| next.path);
    assert_eq!(path("/mcp/"), Some("/mcp/".to_owned()));
    assert_eq!(path("mcp/?a=b"), Some("/mcp/?a=b".to_owned()));
    assert_eq!(path("http://a.example:9000/v2"), Some("/v2".to_owned()));
    for elsewhere in
        ["https://a.example:9000/", "http://a.example/", "//b/", "http://b:9000/", "http://x@a.example:9000/"]
    {
        assert_eq!(path(elsewhere), None, "{elsewhere}");
    }
}

#[test]
fn configured_headers_are_sent_but_cannot_break_the_request() {
    let mut settings = at("http://a/mcp");
    settings.headers = vec![
        (header::AUTHORIZATION, HeaderValue::from_static("Bearer s3cret")),
        (header::USER_AGENT, HeaderValue::from_static("mine")),
        (header::HOST, HeaderValue::from_static("evil")),
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
    ];
    let endpoint = Endpoint::new(&settings, PoolSettings::default(), &Connector::new()).expect("a URL");
    let wire = String::from_utf8(endpoint.target().0.prefix(Verb::Post).to_vec()).expect("text");
    assert!(wire.contains("authorization: Bearer s3cret\r\n") && wire.contains("user-agent: mine\r\n"));
    assert!(!wire.contains("evil") && !wire.contains("text/plain") && !wire.contains("lockgate/"));
    assert!(!format!("{endpoint:?} {settings:?}").contains("s3cret"));
}

#[test]
fn the_user_agent_is_the_gateways_unless_the_clients_is_passed_on() {
    let settings = EndpointSettings { forwards_user_agent: true, ..at("http://a/mcp") };
    let endpoint = Endpoint::new(&settings, PoolSettings::default(), &Connector::new()).expect("a URL");
    let wire = String::from_utf8(endpoint.target().0.prefix(Verb::Post).to_vec()).expect("text");
    assert!(!wire.contains("user-agent"), "{wire}");
    assert!(prefix_of("http://a/mcp").contains(USER_AGENT));
}
