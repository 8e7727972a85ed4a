use crate::backend::Speaks;
use crate::fault::{Fault, Refusal};
use crate::lane::Lane;
use crate::testing::{Bench, Outcome};
use http::Method;

const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

fn bench() -> Bench {
    Bench::new(Speaks::Yes, Speaks::No)
}

fn body(method: &str, params: &str) -> String {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;
    let comma = if params.is_empty() { "" } else { "," };
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{meta}{comma}{params}}}}}"#)
}

fn send(headers: &[(&str, &str)], body: &str) -> Outcome {
    let mut all = vec![VERSION];
    all.extend_from_slice(headers);
    bench().send(Method::POST, &all, body)
}

#[track_caller]
fn refused(headers: &[(&str, &str)], body: &str) -> Refusal {
    send(headers, body).refusal()
}

#[test]
fn mcp_method_mirrors_the_method() {
    let list = body("tools/list", "");
    assert_eq!(send(&[("mcp-method", "tools/list")], &list).lane().0, Lane::Forward);
    for headers in [
        &[][..],
        &[("mcp-method", "tools/call")],
        &[("mcp-method", "Tools/list")],
        &[("mcp-method", "tools/list"), ("mcp-method", "tools/list")],
    ] {
        assert_eq!(refused(headers, &list).fault, Fault::HeaderMismatch, "{headers:?}");
    }
}

#[test]
fn mcp_name_mirrors_name_uri_or_task() {
    for (method, params, name) in [
        ("tools/call", r#""name":"add""#, "add"),
        ("prompts/get", r#""name":"greet""#, "greet"),
        ("resources/read", r#""uri":"demo://a""#, "demo://a"),
        ("tasks/get", r#""taskId":"t1""#, "t1"),
        ("tools/call", r#""name":"grüße""#, "=?base64?Z3LDvMOfZQ==?="),
        ("tools/call", r#""name":"a\u0064d""#, "add"),
    ] {
        let request = body(method, params);
        assert!(
            matches!(send(&[("mcp-method", method), ("mcp-name", name)], &request), Outcome::Lane(Lane::Forward, _)),
            "{method} {name}"
        );
        assert_eq!(refused(&[("mcp-method", method)], &request).fault, Fault::HeaderMismatch, "{method}: missing");
        assert_eq!(refused(&[("mcp-method", method), ("mcp-name", "other")], &request).fault, Fault::HeaderMismatch);
        let broken = [("mcp-method", method), ("mcp-name", "=?base64?!!?=")];
        assert_eq!(refused(&broken, &request).fault, Fault::HeaderMismatch);
    }
    let nameless = [("mcp-method", "tools/call"), ("mcp-name", "add")];
    assert_eq!(refused(&nameless, &body("tools/call", "")).fault, Fault::InvalidParams);
    assert_eq!(refused(&nameless, &body("tools/call", r#""name":7"#)).fault, Fault::InvalidParams);
}

#[test]
fn capabilities_are_required_and_an_object() {
    for meta in [
        r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#,
        r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":null}"#,
    ] {
        let request = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{meta}}}}}"#);
        assert_eq!(refused(&[("mcp-method", "tools/list")], &request).fault, Fault::InvalidParams);
    }
}

#[test]
fn task_methods_need_the_extension() {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let request = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{{{meta},"taskId":"t"}}}}"#);
    let refusal = refused(&[("mcp-method", "tasks/get"), ("mcp-name", "t")], &request);
    assert_eq!(refusal.fault, Fault::MissingCapability);
    assert!(refusal.data.unwrap().contains("io.modelcontextprotocol/tasks"));
}

#[test]
fn methods_of_the_other_era_are_gone() {
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
    ] {
        let refusal = refused(&[("mcp-method", method)], &body(method, ""));
        assert_eq!(
            (refusal.fault, refusal.fault.status(), refusal.fault.code()),
            (Fault::UnknownMethod, 404, -32601),
            "{method}"
        );
    }
    assert_eq!(send(&[("mcp-method", "vendor/anything")], &body("vendor/anything", "")).lane().0, Lane::Forward);
}
