use super::{Age, apparent};
use crate::backend::Speaks;
use crate::exchange::{Exchange, UnixMillis};
use crate::fault::{Fault, Refusal};
use crate::federate::Catalog;
use crate::federate::naming::Prefixing;
use crate::federate::testing::policy;
use crate::filter::Head;
use crate::lane::Lane;
use crate::revision::Revision;
use crate::rpc::scan;
use crate::testing::{Bench, Outcome};
use http::Method;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
const LIST: (&str, &str) = ("mcp-method", "tools/list");
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;

fn modern(method: &str, version: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"{version}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    )
}

fn dual() -> Bench {
    Bench::new(Speaks::Yes, Speaks::Yes)
}

#[track_caller]
fn refused(bench: &Bench, headers: &[(&str, &str)], body: &str) -> Refusal {
    bench.send(Method::POST, headers, body).refusal()
}

#[test]
fn a_modern_request_that_says_so_twice_passes() {
    let (lane, exchange) = dual().send(Method::POST, &[VERSION, LIST], &modern("tools/list", "2026-07-28")).lane();
    assert_eq!((lane, exchange.revision), (Lane::Forward, Some(Revision::V2026_07_28)));
    let discover = [VERSION, ("mcp-method", "server/discover")];
    let (lane, _) = dual().send(Method::POST, &discover, &modern("server/discover", "2026-07-28")).lane();
    assert_eq!(lane, Lane::Discover);
}

#[test]
fn modern_metadata_without_the_header_is_a_mismatch_and_never_legacy() {
    let bench = dual();
    assert_eq!(refused(&bench, &[LIST], &modern("tools/list", "2026-07-28")).fault, Fault::HeaderMismatch);
    let ticket = bench.ticket(Revision::V2025_11_25, [1; 16]);
    let with_session = [("mcp-session-id", ticket.as_str())];
    assert_eq!(refused(&bench, &with_session, &modern("tools/list", "2026-07-28")).fault, Fault::HeaderMismatch);
}

#[test]
fn one_member_of_modern_metadata_makes_a_request_modern() {
    let bench = dual();
    let ticket = bench.ticket(Revision::V2025_11_25, [1; 16]);
    let session = ("mcp-session-id", ticket.as_str());
    for member in ["clientCapabilities", "clientInfo", "logLevel", "protocolVersion"] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{"io.modelcontextprotocol/{member}":{{}}}}}}}}"#
        );
        assert_eq!(refused(&bench, &[session], &body).fault, Fault::HeaderMismatch, "{member}");
    }
    let related = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/related-task":{}}}}"#;
    assert_eq!(bench.send(Method::POST, &[session], related).lane().0, Lane::Forward);
}

#[test]
fn metadata_is_an_object_or_absent() {
    let bench = dual();
    let ticket = bench.ticket(Revision::V2025_11_25, [1; 16]);
    for meta in ["\"x\"", "[]", "null", "1"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{meta}}}}}"#);
        assert_eq!(refused(&bench, &[("mcp-session-id", &ticket)], &body).fault, Fault::InvalidParams, "{meta}");
        assert_eq!(refused(&bench, &[VERSION, LIST], &body).fault, Fault::InvalidParams, "{meta}");
    }
}

#[test]
fn header_and_metadata_must_name_the_same_revision() {
    for (header, meta) in [("2026-07-28", "2025-11-25"), ("2025-11-25", "2026-07-28"), ("2099-01-01", "2026-07-28")] {
        let headers = [("mcp-protocol-version", header), LIST];
        assert_eq!(
            refused(&dual(), &headers, &modern("tools/list", meta)).fault,
            Fault::HeaderMismatch,
            "{header} {meta}"
        );
    }
    let twice = [VERSION, VERSION, LIST];
    assert_eq!(refused(&dual(), &twice, &modern("tools/list", "2026-07-28")).fault, Fault::HeaderMismatch);
}

#[test]
fn a_revision_nobody_serves_is_named_with_those_that_are() {
    for version in ["2099-01-01", "2025-11-25"] {
        let refusal = refused(&dual(), &[("mcp-protocol-version", version), LIST], &modern("tools/list", version));
        assert_eq!(refusal.fault, Fault::UnsupportedRevision);
        let data: serde_json::Value = serde_json::from_str(&format!("{{{}}}", refusal.data.unwrap())).unwrap();
        assert_eq!(data["requested"], version);
        assert_eq!(data["supported"][0], "2026-07-28");
    }
    let refusal = refused(&dual(), &[("mcp-protocol-version", "nonsense")], INITIALIZE);
    assert_eq!(refusal.fault, Fault::UnsupportedRevision);
}

#[test]
fn the_modern_header_needs_the_metadata() {
    let bare = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert_eq!(refused(&dual(), &[VERSION, LIST], bare).fault, Fault::InvalidParams);
    let number = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":20260728}}}"#;
    assert_eq!(refused(&dual(), &[VERSION, LIST], number).fault, Fault::HeaderMismatch);
}

#[test]
fn initialize_and_modern_do_not_mix() {
    assert_eq!(refused(&dual(), &[VERSION, ("mcp-method", "initialize")], INITIALIZE).fault, Fault::HeaderMismatch);
    let refusal = refused(&Bench::new(Speaks::Yes, Speaks::No), &[], INITIALIZE);
    assert_eq!(refusal.fault, Fault::HeaderMismatch);
    assert!(refusal.message.contains("2026-07-28"), "{}", refusal.message);
    let (lane, _) = dual().send(Method::POST, &[], INITIALIZE).lane();
    assert_eq!(lane, Lane::Open);
}

#[test]
fn in_front_of_a_legacy_only_backend_no_modern_error_is_seen() {
    let bench = Bench::new(Speaks::No, Speaks::Yes);
    let cases: [(&[(&str, &str)], String); 4] = [
        (&[VERSION, LIST], modern("tools/list", "2026-07-28")),
        (&[VERSION, ("mcp-method", "server/discover")], modern("server/discover", "2026-07-28")),
        (&[LIST], modern("tools/list", "2026-07-28")),
        (&[("mcp-protocol-version", "2099-01-01")], modern("tools/list", "2099-01-01")),
    ];
    for (headers, body) in cases {
        let refusal = refused(&bench, headers, &body);
        assert_eq!(refusal.fault, Fault::EraNotOffered);
        assert_eq!(refusal.fault.status(), 400);
        assert!(![-32020, -32021, -32022].contains(&refusal.fault.code()));
    }
    assert_eq!(bench.send(Method::POST, &[], INITIALIZE).lane().0, Lane::Open);
}

#[test]
fn an_unknown_backend_is_asked_once_and_its_silence_is_the_answer() {
    let mut bench = Bench::new(Speaks::Unknown, Speaks::Unknown);
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    bench.on_ask = Box::new(move |_| {
        count.set(count.get() + 1);
        Err(Refusal::new(Fault::BackendTimeout, "probe"))
    });
    assert_eq!(refused(&bench, &[VERSION, LIST], &modern("tools/list", "2026-07-28")).fault, Fault::BackendTimeout);
    assert_eq!(refused(&bench, &[], INITIALIZE).fault, Fault::BackendTimeout);
    assert_eq!(asked.get(), 2);

    let legacy = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let unknown = ("mcp-protocol-version", "2099-01-01");
    assert_eq!(refused(&bench, &[unknown], legacy).fault, Fault::BackendTimeout, "which error depends on the eras");
    assert_eq!(asked.get(), 3);

    let backend = Arc::clone(&bench.backend);
    bench.on_ask = Box::new(move |_| {
        backend.learn(|facts| facts.modern = Speaks::Yes);
        Ok(())
    });
    assert!(matches!(
        bench.send(Method::POST, &[VERSION, LIST], &modern("tools/list", "2026-07-28")),
        Outcome::Lane(..)
    ));
}

#[test]
fn backends_that_no_era_fits_are_named_in_either() {
    let bench = Bench::federated(policy(Prefixing::Always, &["new", "old"]), Catalog::default());
    for (backend, modern) in bench.server.backends.iter().zip([Speaks::Yes, Speaks::No]) {
        backend.learn(|facts| {
            facts.modern = modern;
            facts.legacy = if modern == Speaks::Yes { Speaks::No } else { Speaks::Yes };
        });
    }
    let unknown = ("mcp-protocol-version", "2099-01-01");
    let legacy = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    for refusal in [
        refused(&bench, &[], INITIALIZE),
        refused(&bench, &[VERSION, LIST], &modern("tools/list", "2026-07-28")),
        refused(&bench, &[unknown], legacy),
    ] {
        assert_eq!(refusal.fault, Fault::BackendProtocol, "{}", refusal.message);
        assert!(
            refusal.message.ends_with("without sessions only: new; with sessions only: old"),
            "{}",
            refusal.message
        );
    }
}

#[test]
fn the_modern_era_has_posts_of_one_request_or_notification_only() {
    let bench = dual();
    assert_eq!(bench.send(Method::GET, &[VERSION], "").refusal().fault, Fault::MethodNotAllowed);
    assert_eq!(bench.send(Method::DELETE, &[VERSION], "").refusal().fault, Fault::MethodNotAllowed);
    let only_modern = Bench::new(Speaks::Yes, Speaks::No);
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(only_modern.send(method, &[], "").refusal().fault, Fault::MethodNotAllowed);
    }
    let batch = format!("[{}]", modern("tools/list", "2026-07-28"));
    assert_eq!(refused(&bench, &[VERSION, LIST], &batch).fault, Fault::BatchRefused);
    assert_eq!(refused(&bench, &[VERSION], r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).fault, Fault::NotJsonRpc);
}

#[test]
fn the_era_of_a_request_that_was_refused_early_is_told_by_its_head() {
    let seen = |method: Method, headers: &[(&str, &str)]| {
        let mut map = http::HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let exchange = Exchange::new(UnixMillis(0), std::net::Ipv4Addr::LOCALHOST.into());
        apparent(&Head { method: &method, path: "/", query: None, authority: None, headers: &map }, &exchange)
    };
    assert_eq!(seen(Method::POST, &[VERSION]), Some(Age::Modern));
    assert_eq!(seen(Method::GET, &[VERSION]), Some(Age::Modern));
    assert_eq!(seen(Method::POST, &[LIST]), Some(Age::Modern));
    assert_eq!(seen(Method::POST, &[("mcp-protocol-version", "2025-06-18")]), Some(Age::Legacy));
    assert_eq!(seen(Method::POST, &[("mcp-protocol-version", "2099-01-01")]), None);
    assert_eq!(seen(Method::DELETE, &[("mcp-session-id", "x")]), Some(Age::Legacy));
    assert_eq!(seen(Method::POST, &[]), None);
    assert_eq!(seen(Method::GET, &[]), None, "a path that nobody has");
}

#[test]
fn a_handshake_is_legacy_and_metadata_is_modern() {
    let seen = |body: &str| {
        let headers = http::HeaderMap::new();
        let mut exchange = Exchange::new(UnixMillis(0), std::net::Ipv4Addr::LOCALHOST.into());
        exchange.body = body.to_owned().into();
        exchange.scan = scan::scan(body.as_bytes(), &scan::Limits { depth: 64, batch: 1 }).unwrap();
        apparent(&Head { method: &Method::POST, path: "/", query: None, authority: None, headers: &headers }, &exchange)
    };
    assert_eq!(seen(INITIALIZE), Some(Age::Legacy));
    assert_eq!(seen(&modern("tools/list", "2099-01-01")), Some(Age::Modern));
    assert_eq!(seen(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#), None);
}
