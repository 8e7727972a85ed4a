//! Against scripted servers on real sockets.

use super::address::Range;
use super::testing::{Server, allowing_here, answer, here, json, scripted};
use super::*;
use http::{HeaderValue, StatusCode, header};
use std::sync::atomic::Ordering;
use std::time::Duration;
use url::Url;

fn outcome(result: Result<Response, FetchError>) -> Result<String, FetchError> {
    result.and_then(Response::ok).map(|body| String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn ssrf_a_learned_url_is_judged_after_the_lookup() {
    let server = Server::tls(|_| json("{}")).await;
    let url = server.url("https", "idp.example", "/keys");
    let client = server.client(Rules::default(), here());
    let fetched = client.fetch(Request::get(url.clone(), Origin::Learned)).await;
    assert_eq!(outcome(fetched), Err(FetchError::Blocked(Range::Loopback)));
    assert!(server.seen().is_empty(), "no byte went out");
    let fetched = client.fetch(Request::get(url.clone(), Origin::Operator)).await;
    assert_eq!(outcome(fetched).as_deref(), Ok("{}"), "what the operator wrote may lead here");
    let client = server.client(allowing_here(), here());
    let fetched = client.fetch(Request::get(url, Origin::Learned)).await;
    assert_eq!(outcome(fetched).as_deref(), Ok("{}"));
}

#[tokio::test]
async fn dns_rebinding_what_was_judged_is_connected_to_and_every_request_is_judged() {
    let server = Server::tls(|_| json("{}")).await;
    let url = server.url("https", "idp.example", "/keys");
    let (lookup, asked) = scripted(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let client = server.client(allowing_here(), lookup);
    let fetched = client.fetch(Request::get(url.clone(), Origin::Learned)).await;
    assert_eq!(outcome(fetched).as_deref(), Ok("{}"));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one lookup for one request");
    let fetched = client.fetch(Request::get(url.clone(), Origin::Learned)).await;
    assert_eq!(outcome(fetched), Err(FetchError::Blocked(Range::Loopback)));
    let (lookup, _) = scripted(&[&["127.0.0.1", "10.0.0.1"]]);
    let fetched = server.client(allowing_here(), lookup).fetch(Request::get(url, Origin::Learned)).await;
    assert_eq!(outcome(fetched), Err(FetchError::Blocked(Range::Private)), "one bad address is enough");
    assert_eq!(server.seen().len(), 1);
}

/// A server that leads `/` to `target`, and answers everything else.
async fn leading_to(target: &str) -> Server {
    let target = target.to_owned();
    Server::tls(move |request| {
        if request.starts_with("GET / ") {
            answer("302 Found", &format!("location: {target}\r\n"), "elsewhere")
        } else {
            json("\"there\"")
        }
    })
    .await
}

#[tokio::test]
async fn redirects_lead_to_learned_places() {
    for (target, expected) in [
        ("https://169.254.169.254/latest/meta-data", FetchError::Blocked(Range::Metadata)),
        ("https://[64:ff9b::a9fe:a9fe]/", FetchError::Blocked(Range::Translated)),
        ("https://2130706433/", FetchError::Blocked(Range::Loopback)),
        ("http://idp.example/", FetchError::Insecure),
        ("file:///etc/passwd", FetchError::Url),
        ("//u:p@idp.example/", FetchError::Url),
        ("https://[", FetchError::Url),
        // Relative: the same place, but it was not the operator who said so.
        ("/keys", FetchError::Blocked(Range::Loopback)),
    ] {
        let server = leading_to(target).await;
        let client = server.client(Rules::default(), here());
        let url = server.url("https", "idp.example", "/");
        let fetched = client.fetch(Request::get(url, Origin::Operator)).await;
        assert_eq!(outcome(fetched), Err(expected), "{target}");
    }
    let server = leading_to("/keys").await;
    let client = server.client(allowing_here(), here());
    let fetched = client.fetch(Request::get(server.url("https", "idp.example", "/"), Origin::Operator)).await;
    assert_eq!(outcome(fetched).as_deref(), Ok("\"there\""));
}

#[tokio::test]
async fn at_most_three_redirects_are_followed() {
    let server = Server::tls(|request| {
        let left: usize = request.split(' ').nth(1).and_then(|path| path.trim_matches('/').parse().ok()).unwrap_or(0);
        match left {
            0 => json("\"there\""),
            left => answer("307 Temporary Redirect", &format!("location: /{}\r\n", left - 1), ""),
        }
    })
    .await;
    let client = server.client(allowing_here(), here());
    let fetch = async |path: &str| {
        outcome(client.fetch(Request::get(server.url("https", "idp.example", path), Origin::Operator)).await)
    };
    assert_eq!(fetch("/3").await.as_deref(), Ok("\"there\""));
    assert_eq!(fetch("/4").await, Err(FetchError::Redirect));
    assert_eq!(server.seen().len(), 8);
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_place() {
    let server = Server::tls(|request| {
        if request.starts_with("GET /same ") {
            answer("302 Found", "location: /there\r\n", "")
        } else if request.starts_with("GET /other ") || request.starts_with("POST ") {
            let host =
                request.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
            let port = host.as_deref().and_then(|host| host.rsplit(':').next()).unwrap_or_default().to_owned();
            answer("307 Temporary Redirect", &format!("location: https://other.example:{port}/there\r\n"), "")
        } else {
            json("\"there\"")
        }
    })
    .await;
    let client = server.client(allowing_here(), here());
    let secret = || HeaderValue::from_static("Basic c2VjcmV0");
    for (path, shown) in [("/same", true), ("/other", false)] {
        let request = Request::get(server.url("https", "idp.example", path), Origin::Operator);
        let fetched = client.fetch(request.header(header::AUTHORIZATION, secret())).await;
        assert_eq!(outcome(fetched).as_deref(), Ok("\"there\""), "{path}");
        let seen = server.seen();
        assert_eq!(seen[seen.len() - 1].contains("c2VjcmV0"), shown, "{path}");
        assert!(seen[seen.len() - 2].contains("c2VjcmV0"), "{path}");
        assert!(!seen[seen.len() - 1].to_ascii_lowercase().contains("referer"), "{path}");
    }
    let before = server.seen().len();
    let url = server.url("https", "idp.example", "/token");
    let fetched = client.fetch(Request::post(url, Origin::Operator, [("secret", "x")])).await;
    assert_eq!(outcome(fetched), Err(FetchError::Redirect), "a form goes to one place");
    assert_eq!(server.seen().len(), before + 1);
}

#[tokio::test]
async fn answers_are_bounded_whether_or_not_they_say_their_length() {
    let server = Server::plain(|request| {
        let body = "x".repeat(1000);
        if request.starts_with("GET /told ") {
            answer("200 OK", "", &body)
        } else if request.starts_with("GET /untold ") {
            format!("HTTP/1.1 200 OK\r\n\r\n{body}").into_bytes()
        } else if request.starts_with("GET /chunked ") {
            let chunk = format!("3e8\r\n{body}\r\n");
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n").into_bytes()
        } else if request.starts_with("GET /short ") {
            b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nxx".to_vec()
        } else if request.starts_with("GET /header ") {
            answer("200 OK", &format!("x-much: {}\r\n", "x".repeat(33 << 10)), "")
        } else if request.starts_with("GET /fields ") {
            answer("200 OK", &"x-many: 1\r\n".repeat(200), "")
        } else if request.starts_with("GET /packed ") {
            answer("200 OK", "content-encoding: gzip\r\n", "")
        } else {
            b"SSH-2.0-OpenSSH\r\n".to_vec()
        }
    })
    .await;
    let trusting = Server::tls(|_| Vec::new()).await;
    let client = trusting.client(Rules::default(), here());
    let fetch = async |path: &str, bytes: usize| {
        let url = server.url("http", "127.0.0.1", path);
        outcome(client.fetch(Request::get(url, Origin::Operator).body_bytes(bytes)).await).map(|body| body.len())
    };
    for path in ["/told", "/untold", "/chunked"] {
        assert_eq!(fetch(path, 1000).await, Ok(1000), "{path}");
        assert_eq!(fetch(path, 999).await, Err(FetchError::TooLarge), "{path}");
    }
    assert_eq!(fetch("/short", 1000).await, Err(FetchError::Protocol));
    assert_eq!(fetch("/header", 1000).await, Err(FetchError::HeaderTooLarge));
    assert_eq!(fetch("/fields", 1000).await, Err(FetchError::Protocol));
    assert_eq!(fetch("/packed", 1000).await, Err(FetchError::ContentType));
    assert_eq!(fetch("/ssh", 1000).await, Err(FetchError::Protocol));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left() {
    let server = Server::tls(|_| Vec::new()).await;
    let client = server.client(Rules::default(), here());
    let request = Request::get(server.url("https", "idp.example", "/"), Origin::Operator);
    let fetched = client.fetch(request.total_time(Duration::from_millis(50))).await;
    assert_eq!(outcome(fetched), Err(FetchError::Timeout));
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_never_ends_is_left() {
    let trusting = Server::tls(|_| Vec::new()).await;
    let lookup: Lookup = std::sync::Arc::new(|_| Box::pin(std::future::pending()));
    let client = trusting.client(Rules::default(), lookup);
    let begun = tokio::time::Instant::now();
    let url = Url::parse("https://idp.example/").unwrap();
    assert_eq!(outcome(client.fetch(Request::get(url, Origin::Learned)).await), Err(FetchError::Timeout));
    assert_eq!(begun.elapsed(), Bounds::default().connect_time, "before the whole time is over");
}

#[tokio::test]
async fn who_cannot_be_reached_or_believed_is_told_apart() {
    let server = Server::tls(|_| json("{}")).await;
    let other = Server::tls(|_| json("{}")).await;
    let url = server.url("https", "idp.example", "/");
    let client = other.client(Rules::default(), here());
    assert_eq!(outcome(client.fetch(Request::get(url, Origin::Operator)).await), Err(FetchError::Tls));
    let (lookup, _) = scripted(&[&[]]);
    let client = server.client(Rules::default(), lookup);
    let url = server.url("https", "idp.example", "/");
    assert_eq!(outcome(client.fetch(Request::get(url, Origin::Operator)).await), Err(FetchError::Unresolved));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Url::parse(&format!("http://{closed}/")).unwrap();
    assert_eq!(outcome(client.fetch(Request::get(url, Origin::Operator)).await), Err(FetchError::Connect));
}

#[tokio::test]
async fn forms_are_posted_and_failures_have_their_bodies() {
    let server = Server::tls(|request| {
        if request.starts_with("POST /token ") {
            answer("400 Bad Request", "content-type: text/html\r\n", "{\"error\":\"invalid_grant\"}")
        } else {
            answer("200 OK", "content-type: text/html\r\n", "<p>")
        }
    })
    .await;
    let client = server.client(Rules::default(), here());
    let url = server.url("https", "idp.example", "/token");
    let request = Request::post(url, Origin::Operator, [("grant_type", "client_credentials")]).accept(Accept::Json);
    let response = client.fetch(request).await.unwrap();
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    assert_eq!(&response.body[..], b"{\"error\":\"invalid_grant\"}");
    let error = response.ok().unwrap_err();
    assert_eq!(error.to_string(), "the answer has status 400", "nothing of the answer is told");
    let seen = server.seen().remove(0).to_ascii_lowercase();
    assert!(seen.contains("content-type: application/x-www-form-urlencoded"), "{seen}");
    assert!(seen.contains("accept: application/json"), "{seen}");
    assert!(!seen.contains("accept-encoding"), "{seen}");
    assert!(seen.ends_with("\r\n\r\ngrant_type=client_credentials"), "{seen}");
    let url = server.url("https", "idp.example", "/page");
    let fetched = client.fetch(Request::get(url, Origin::Operator).accept(Accept::Json)).await;
    assert_eq!(outcome(fetched), Err(FetchError::ContentType));
}

#[tokio::test]
async fn exemptions_change_while_clients_live() {
    let server = Server::tls(|_| json("{}")).await;
    let egress = Egress::looking_up(allowing_here(), here());
    let trust = Trust { ca: Some(server.ca.clone()), identity: None };
    let client = egress.client(&trust, Bounds::default()).unwrap();
    let url = server.url("https", "idp.example", "/");
    assert!(client.fetch(Request::get(url.clone(), Origin::Learned)).await.is_ok());
    egress.set_rules(Rules::default());
    let fetched = client.fetch(Request::get(url, Origin::Learned)).await;
    assert_eq!(outcome(fetched), Err(FetchError::Blocked(Range::Loopback)));
}

#[test]
fn trust_that_cannot_be_used_is_refused() {
    let egress = Egress::new(Rules::default());
    let refused = |trust: Trust| egress.client(&trust, Bounds::default()).unwrap_err();
    assert_eq!(refused(Trust { ca: Some("hello".into()), identity: None }), TrustError::Ca);
    let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let identity = Identity { certificate: made.cert.pem().into(), key: other.signing_key.serialize_pem().into() };
    assert_eq!(refused(Trust { ca: Some(made.cert.pem().into()), identity: Some(identity) }), TrustError::Identity);
}

#[test]
fn every_error_has_its_label() {
    let errors = [
        FetchError::Url,
        FetchError::Insecure,
        FetchError::Blocked(Range::Private),
        FetchError::Unresolved,
        FetchError::Connect,
        FetchError::Tls,
        FetchError::Timeout,
        FetchError::HeaderTooLarge,
        FetchError::TooLarge,
        FetchError::Redirect,
        FetchError::ContentType,
        FetchError::Status(StatusCode::NOT_FOUND),
        FetchError::Protocol,
    ];
    assert_eq!(errors.map(FetchError::label), FetchError::LABELS);
}
