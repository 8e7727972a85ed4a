use crate::backend::Speaks;
use crate::fault::Fault;
use crate::lane::Lane;
use crate::revision::Revision;
use crate::testing::Bench;
use crate::ticket::PrincipalDigest;
use http::Method;

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn bench() -> Bench {
    Bench::new(Speaks::Yes, Speaks::Yes)
}

#[test]
fn a_ticket_opens_and_brings_its_revision() {
    let bench = bench();
    let ticket = bench.ticket(Revision::V2025_06_18, [1; 16]);
    let session = ("mcp-session-id", ticket.as_str());
    let (lane, exchange) = bench.send(Method::POST, &[session], LIST).lane();
    assert_eq!((lane, exchange.revision), (Lane::Forward, Some(Revision::V2025_06_18)));
    assert_eq!(bench.send(Method::GET, &[session], "").lane().0, Lane::Hold);
    assert_eq!(bench.send(Method::DELETE, &[session], "").lane().0, Lane::Close);
}

#[test]
fn the_named_revision_must_be_the_negotiated_one() {
    let bench = bench();
    let ticket = bench.ticket(Revision::V2025_06_18, [1; 16]);
    let session = ("mcp-session-id", ticket.as_str());
    let same = ("mcp-protocol-version", "2025-06-18");
    assert_eq!(bench.send(Method::POST, &[session, same], LIST).lane().0, Lane::Forward);
    let other = ("mcp-protocol-version", "2025-11-25");
    for (method, body) in [(Method::POST, LIST), (Method::GET, ""), (Method::DELETE, "")] {
        assert_eq!(bench.send(method, &[session, other], body).refusal().fault, Fault::SessionRevision);
    }
    let unknown = ("mcp-protocol-version", "nonsense");
    assert_eq!(bench.send(Method::GET, &[session, unknown], "").refusal().fault, Fault::SessionRevision);
    assert_eq!(bench.send(Method::POST, &[session, unknown], LIST).refusal().fault.status(), 400);
}

#[test]
fn without_a_ticket_only_initialize_passes() {
    let bench = bench();
    assert_eq!(bench.send(Method::POST, &[], LIST).refusal().fault, Fault::SessionRequired);
    assert_eq!(bench.send(Method::GET, &[], "").refusal().fault, Fault::SessionRequired);
    assert_eq!(bench.send(Method::DELETE, &[], "").refusal().fault, Fault::SessionRequired);
    let notification = r#"{"jsonrpc":"2.0","method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    assert_eq!(bench.send(Method::POST, &[], notification).refusal().fault, Fault::NotJsonRpc);
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(bench.send(Method::POST, &[], notification).refusal().fault, Fault::SessionRequired);
}

#[test]
fn forged_foreign_repeated_and_ended_ids_are_all_unknown() {
    let bench = bench();
    let good = bench.ticket(Revision::V2025_11_25, [1; 16]);
    let foreign = bench.ticket_of(PrincipalDigest([1; 32]), Revision::V2025_11_25, [1; 16]);
    let ended = bench.ticket(Revision::V2025_11_25, [0xdd; 16]);
    let mut forged = good.clone().into_bytes();
    let last = forged.len() - 1;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    for id in ["", "1", "upstream-id", forged.as_str(), ended.as_str(), foreign.as_str()] {
        let refusal = bench.send(Method::POST, &[("mcp-session-id", id)], LIST).refusal();
        assert_eq!(refusal.fault, Fault::SessionUnknown, "{id}");
    }
    let twice = [("mcp-session-id", good.as_str()), ("mcp-session-id", good.as_str())];
    assert_eq!(bench.send(Method::POST, &twice, LIST).refusal().fault, Fault::SessionUnreadable);
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    let again = bench.send(Method::POST, &[("mcp-session-id", good.as_str())], initialize).refusal();
    assert_eq!(again.fault, Fault::SessionOpen);
}

#[test]
fn batches_belong_to_one_revision() {
    let bench = bench();
    let batch = format!("[{LIST},{LIST}]");
    let of = |revision| bench.ticket(revision, [1; 16]);
    let old = of(Revision::V2025_03_26);
    assert_eq!(bench.send(Method::POST, &[("mcp-session-id", &old)], &batch).lane().0, Lane::Gather);
    for revision in [Revision::V2024_11_05, Revision::V2025_06_18, Revision::V2025_11_25] {
        let ticket = of(revision);
        let refusal = bench.send(Method::POST, &[("mcp-session-id", &ticket)], &batch).refusal();
        assert_eq!(refusal.fault, Fault::BatchRefused, "{revision}");
    }
}

#[test]
fn a_modern_request_ignores_the_session_header() {
    let headers =
        [("mcp-session-id", "whatever"), ("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let (lane, exchange) = bench().send(Method::POST, &headers, body).lane();
    assert_eq!(lane, Lane::Forward);
    assert!(exchange.ticket.is_none());
}
