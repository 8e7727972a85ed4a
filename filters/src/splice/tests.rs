use super::*;
use crate::backend::Speaks;
use crate::testing::Bench;
use http::{HeaderName, Method};

const TICKET: [u8; 16] = [1; 16];

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap())).collect()
}

fn names(fields: &Outbound) -> Vec<&str> {
    fields.iter().map(|(name, _)| name.as_str()).collect()
}

/// The fields and the replay rule of a request whose client says all of this.
fn spliced(headers: &[(&str, &str)], body: &str, session: Option<&'static str>) -> (Outbound, Replay) {
    let bench = Bench::new(Speaks::Yes, Speaks::Yes);
    let (_, exchange) = bench.send(Method::POST, headers, body).lane();
    let map = map(headers);
    let session = session.map(HeaderValue::from_static);
    post(&Forwarding::default(), &map, &exchange, &exchange.scan.messages[0], Onward::within(session))
}

fn modern(method: &str, mirrors: &[(&'static str, &'static str)], params: &str) -> (Outbound, Replay) {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method), ("last-event-id", "7")];
    headers.extend(mirrors);
    spliced(&headers, &body, Some("never for the modern era"))
}

#[test]
fn mirrors_pass_unless_the_method_gives_them_no_meaning() {
    let (call, replay) = modern("tools/call", &[("mcp-name", "t")], r#""name":"t","#);
    assert_eq!(names(&call), ["mcp-protocol-version", "mcp-method", "mcp-name"]);
    assert_eq!(replay, Replay::IfNotRun, "a call may have run");
    let (read, replay) = modern("resources/read", &[("mcp-name", "a:b"), ("mcp-param-x", "1")], r#""uri":"a:b","#);
    assert_eq!(names(&read), ["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-param-x"]);
    assert_eq!(replay, Replay::IfUnanswered);
    let (list, _) = modern("tools/list", &[("mcp-name", "unchecked"), ("mcp-param-x", "1")], "");
    assert_eq!(names(&list), ["mcp-protocol-version", "mcp-method", "mcp-param-x"]);
    let (unknown, replay) = modern("example/extension", &[("mcp-name", "a"), ("mcp-param-x", "1")], "");
    assert_eq!(names(&unknown), ["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-param-x"]);
    assert_eq!(replay, Replay::IfNotRun, "nobody knows what it does");
}

#[test]
fn each_hop_has_its_own_name_and_revision() {
    let bench = Bench::new(Speaks::Yes, Speaks::Yes);
    let ticket = bench.ticket(Revision::V2025_11_25, TICKET);
    let client = [("mcp-session-id", ticket.as_str())];
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__t"}}"#;
    let (_, exchange) = bench.send(Method::POST, &client, body).lane();
    let told = |onward: Onward| {
        let (fields, _) = post(&Forwarding::default(), &map(&client), &exchange, &exchange.scan.messages[0], onward);
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect::<Vec<_>>()
    };
    let name = Some(HeaderValue::from_static("t"));
    let older = Onward { revision: Some(Revision::V2025_06_18), name: name.clone(), ..Onward::default() };
    assert_eq!(told(older), ["mcp-protocol-version: 2025-06-18"], "the legacy era mirrors nothing");
    assert!(told(Onward { revision: Some(Revision::V2025_03_26), ..Onward::default() }).is_empty());

    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let client = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "a__t")];
    let (_, exchange) = bench.send(Method::POST, &client, body).lane();
    let onward = Onward { name, ..Onward::default() };
    let (fields, _) = post(&Forwarding::default(), &map(&client), &exchange, &exchange.scan.messages[0], onward);
    let names: Vec<_> = fields.iter().filter(|(name, _)| name == headers::NAME).map(|(_, value)| value).collect();
    assert_eq!(names, ["t"]);
}

#[test]
fn a_legacy_session_is_named_as_the_backend_knows_it() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
    let bench = Bench::new(Speaks::Yes, Speaks::Yes);
    for (revision, version) in [
        (Revision::V2025_03_26, None),
        (Revision::V2025_06_18, Some("2025-06-18")),
        (Revision::V2025_11_25, Some("2025-11-25")),
    ] {
        let ticket = bench.ticket(revision, TICKET);
        let client = [("mcp-session-id", ticket.as_str()), ("mcp-name", "unchecked"), ("mcp-param-x", "unchecked")];
        let map = map(&client);
        let (_, exchange) = bench.send(Method::POST, &client, body).lane();
        let own = Onward::within(Some(HeaderValue::from_static("the backend's own")));
        let (fields, _) = post(&Forwarding::default(), &map, &exchange, &exchange.scan.messages[0], own.clone());
        let get = get(&Forwarding::default(), &map, &exchange, own);
        for fields in [fields, get] {
            let told = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_bytes());
            assert_eq!(told("mcp-session-id"), Some(&b"the backend's own"[..]));
            assert_eq!(told("mcp-protocol-version"), version.map(str::as_bytes));
            assert_eq!(fields.iter().count(), 1 + usize::from(version.is_some()));
        }
    }
}
