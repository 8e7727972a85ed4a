//! What passes, passes untouched: bytes, ids, unknown members, headers; and what must not cross, does not.

use lockgate_e2e::gateway::{config, config_with};
use lockgate_e2e::mcp::MODERN;
use lockgate_e2e::raw::Raw;
use lockgate_e2e::{Answer, Fixture, Gateway, Mcp};
use serde_json::{Value, json};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn modern(body: &str) -> Raw {
    let method: Value = serde_json::from_str(body).expect("JSON");
    let raw = Raw::new("POST", "/mcp")
        .with("host", "localhost")
        .with("content-type", "application/json; charset=utf-8")
        .with("accept", "application/json, text/event-stream")
        .with("mcp-protocol-version", MODERN)
        .with("mcp-method", method["method"].as_str().expect("a method"))
        .with("connection", "close");
    let raw = match method["params"]["name"].as_str() {
        Some(name) => raw.with("mcp-name", name),
        None => raw,
    };
    raw.body(body)
}

/// The lax backend gets the very bytes that the client sent, and the client's id comes back as it was.
#[tokio::test]
async fn bodies_and_ids_keep_their_bytes() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let ids = ["0", "-1", "\"text\"", "\"\"", "9007199254740993", "1.0", "\"1\"", "\"\\u00e9\\n\"", "-0", "1e2"];
    let odd = r#""arguments" : { "z":1, "a" : [ 1.50, 1e3, -0.0, 12345678901234567890 ], "u":"\u00fc ü \/ 😀" }"#;
    for (index, id) in ids.iter().enumerate() {
        let mark = format!("bytes-{index}-end");
        let body = format!(
            "{{ \"unknown\" : {{\"kept\":true}} ,\"jsonrpc\":\"2.0\",\n\"params\":{{\"name\":\"echo\",{odd},\"extra\":\"{mark}\",{META}}},\
             \"id\":{id},\t\"method\":\"tools/call\" }}"
        );
        let answer = modern(&body).send(&gateway.address()).await.expect("an answer");
        assert_eq!(answer.status, 200, "{id}: {answer:?}");
        let journal = fixture.journal().await;
        let received = journal.iter().find(|request| request.contains(&mark)).expect("the request");
        assert_eq!(String::from_utf8_lossy(&received.body), body, "{id}");
        // The fixture itself rewrites only numbers that are not plain integers.
        if !matches!(*id, "1e2" | "-0" | "\"\\u00e9\\n\"") {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(text.contains(&format!("\"id\":{id},")), "{id} in {text}");
        }
    }
}

#[tokio::test]
async fn absent_arguments_stay_absent() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo",{META}}}}}"#);
    let answer = modern(&body).send(&gateway.address()).await.expect("an answer");
    assert_eq!(answer.json()["result"]["content"][0]["text"], "absent");
}

#[tokio::test]
async fn forms_that_are_allowed_pass() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::modern(&gateway.mcp());
    assert_eq!(client.send("tools/list", json!({})).await.status, 200);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{}},{META}}}}}"#
    );
    let port = gateway.address();
    let passing = [
        ("any type", modern(&body).set("accept", "*/*")),
        ("any application type", modern(&body).set("accept", "application/*")),
        ("weights", modern(&body).set("accept", "text/event-stream;q=0.5, application/json;q=0.9, text/html;q=0")),
        ("JSON only", modern(&body).set("accept", "application/json")),
        ("events only", modern(&body).set("accept", "text/event-stream")),
        ("no Accept", modern(&body).without("accept")),
        ("type in capitals", modern(&body).set("content-type", "APPLICATION/JSON")),
        ("name in base64", modern(&body).set("mcp-name", "=?base64?ZWNobw==?=")),
        ("spaces around a value", modern(&body).set("mcp-name", "  echo  ")),
        ("headers in capitals", modern(&body).without("mcp-method").with("MCP-METHOD", "tools/call")),
        ("a session id that modern requests ignore", modern(&body).with("mcp-session-id", "whatever")),
        ("an unknown Mcp-Param", modern(&body).with("mcp-param-unknown", "x")),
        ("host with port", modern(&body).set("host", &port)),
        ("loopback origin", modern(&body).with("origin", "http://localhost:5173")),
        ("identity coding", modern(&body).with("content-encoding", "identity")),
        ("a query", Raw { line: "POST /mcp?x=1 HTTP/1.1".into(), ..modern(&body) }),
    ];
    for (name, request) in passing {
        let answer = request.send(&port).await.expect("an answer");
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
    }
    let annotated = |arguments: Value| {
        let mut body = client.body("tools/call", json!({"name": "annotated"}));
        body["params"]["arguments"] = arguments;
        client.post(&body)
    };
    let whole = annotated(json!({"region": "eu", "count": 42, "dry": false, "place": {"city": "Zürich"}}))
        .header("mcp-param-region", "eu")
        .header("mcp-param-count", "42.0")
        .header("mcp-param-dry", "false")
        .header("mcp-param-city", "=?base64?WsO8cmljaA==?=")
        .header("mcp-param-other", "kept");
    let answer = Answer::read(whole.send().await.unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let journal = fixture.journal().await;
    let received = journal.last().expect("a request");
    assert_eq!(received.header("mcp-param-region"), Some("eu"));
    assert_eq!(received.header("mcp-param-other"), Some("kept"));
}

/// `Connection` may name what belongs to the hop, but not strip what was checked against the body.
#[tokio::test]
async fn checked_headers_cannot_be_stripped_behind_the_check() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config_with(fixture.url(), "    forward_headers: [x-tenant]\n", "")).await;
    let client = Mcp::modern(&gateway.mcp());
    let body = client.body("tools/call", json!({"name": "annotated", "arguments": {"region": "eu"}})).to_string();
    let request = modern(&body)
        .with("mcp-param-region", "eu")
        .with("x-tenant", "a")
        .set("connection", "close, Mcp-Name, mcp-method, MCP-Protocol-Version, Mcp-Param-Region, x-tenant");
    let answer = request.send(&gateway.address()).await.expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    let journal = fixture.journal().await;
    let received = journal.last().expect("a request");
    for (name, value) in [
        ("mcp-name", "annotated"),
        ("mcp-method", "tools/call"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-param-region", "eu"),
    ] {
        assert_eq!(received.header(name), Some(value), "{received:?}");
    }
    assert_eq!(received.header("x-tenant"), None, "what belongs to the hop stays there");
}

/// Each hop has its own headers, and nobody's credentials travel on.
#[tokio::test]
async fn headers_are_those_of_the_hop() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config_with(fixture.url(), "    forward_headers: [x-tenant]\n", "")).await;
    let client = Mcp::modern(&gateway.mcp());
    let body = client.body("tools/call", json!({"name": "echo", "arguments": {"mark": "hop"}}));
    let request = client
        .post(&body)
        .header("authorization", "Bearer secret-of-the-caller")
        .header("cookie", "session=secret-of-the-caller")
        .header("proxy-authorization", "Basic secret-of-the-caller")
        .header("origin", "http://localhost:5173")
        .header("accept-encoding", "gzip, br")
        .header("connection", "x-private")
        .header("x-private", "for this hop only")
        .header("te", "trailers")
        .header("x-tenant", "blue")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_eq!(Answer::read(request.send().await.unwrap()).await.status, 200);
    let journal = fixture.journal().await;
    let received = journal.iter().find(|request| request.contains("hop")).expect("the request");
    for name in ["authorization", "cookie", "proxy-authorization", "origin", "x-private", "te", "upgrade"] {
        assert_eq!(received.header(name), None, "{name}: {received:?}");
    }
    assert!(!received.contains("secret-of-the-caller"));
    assert_eq!(received.header("host"), Some(fixture.address()));
    assert_eq!(received.header("x-tenant"), Some("blue"));
    let accept = received.header("accept").expect("Accept");
    assert!(accept.contains("application/json") && accept.contains("text/event-stream"), "{accept}");
    assert!(received.header("accept-encoding").is_none_or(|coding| coding == "identity"), "{received:?}");
    let trace = received.header("traceparent").expect("a trace");
    assert!(trace.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{trace}");
}

/// An event stream crosses byte for byte, whatever its form; the gateway may add comments of its own between events.
#[tokio::test]
async fn event_streams_keep_their_bytes() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let direct = Mcp::modern(fixture.url());
    let through = Mcp::modern(&gateway.mcp());
    let body = direct.body("tools/call", json!({"name": "raw_stream", "arguments": {}}));
    let expected = Answer::read(direct.post(&body).send().await.unwrap()).await;
    let got = Answer::read(through.post(&body).send().await.unwrap()).await;
    assert_eq!(got.header("content-type"), Some("text/event-stream"));
    assert_eq!(String::from_utf8_lossy(&got.body), String::from_utf8_lossy(&expected.body));
    assert_eq!(got.header("content-encoding"), None);
}

/// The client never sees the backend's session id.
#[tokio::test]
async fn the_backends_session_id_stays_behind() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-06-18").await;
    let session = client.session.clone().expect("a session id");
    assert!(!session.starts_with("lax-"), "{session}");
    assert!(session.len() <= 1024 && session.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{session}");
    let answer = client.tool("echo", json!({"mark": "upstream"})).await;
    assert!(answer.headers.values().all(|value| !value.as_bytes().starts_with(b"lax-")));
    let journal = fixture.journal().await;
    let received = journal.iter().find(|request| request.contains("upstream")).expect("the request");
    assert!(received.header("mcp-session-id").is_some_and(|id| id.starts_with("lax-")), "{received:?}");
    assert_eq!(received.header("mcp-protocol-version"), Some("2025-06-18"));
    assert!(!received.contains(&session));
}

/// With prior knowledge, without TLS.
#[tokio::test]
async fn upstream_http_2_is_spoken_when_asked_for() {
    let fixture = Fixture::start_with("lax", &["--h2c"]);
    let gateway = Gateway::start(&config_with(fixture.url(), "    http2: always\n", "")).await;
    let client = Mcp::modern(&gateway.mcp());
    assert_eq!(client.tool("echo", json!({})).await.status, 200);
}
