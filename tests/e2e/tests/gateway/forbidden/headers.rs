//! Refused because headers and body of a modern request disagree, or because either lacks what it must have.

use super::{Case, call, case, echo, meta, modern};
use lockgate_e2e::mcp::MODERN;
use serde_json::{Value, json};

pub fn cases() -> Vec<Case> {
    let annotated = |arguments: Value| modern(&call("annotated", arguments));
    let eu = || annotated(json!({"region": "eu"}));
    let bent = |path: &str, value: Value| {
        let mut body = call("echo", json!({}));
        *body.pointer_mut(path).expect("a place") = value;
        modern(&body)
    };
    let with = |method: &str| {
        modern(
            &json!({"jsonrpc": "2.0", "id": "MARKER", "method": method, "params": {"uri": "note:plain", "level": "info", "_meta": meta()}}),
        )
    };
    let task =
        json!({"jsonrpc": "2.0", "id": "MARKER", "method": "tasks/get", "params": {"taskId": "t", "_meta": meta()}});
    let mut declared = task.clone();
    declared["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    vec![
        case("no Mcp-Method", echo().without("mcp-method"), &[400], -32020),
        case("another Mcp-Method", echo().set("mcp-method", "tools/list"), &[400], -32020),
        case("Mcp-Method in capitals", echo().set("mcp-method", "TOOLS/CALL"), &[400], -32020),
        case("two Mcp-Methods", echo().with("mcp-method", "tools/list"), &[400], -32020),
        case("no Mcp-Name", echo().without("mcp-name"), &[400], -32020),
        case("another Mcp-Name", echo().set("mcp-name", "annotated"), &[400], -32020),
        case("Mcp-Name in capitals", echo().set("mcp-name", "ECHO"), &[400], -32020),
        case("two Mcp-Names", echo().with("mcp-name", "annotated"), &[400], -32020),
        case("Mcp-Name in broken base64", echo().set("mcp-name", "=?base64?ZWNob?="), &[400], -32020),
        case("Mcp-Name in base64 of another name", echo().set("mcp-name", "=?base64?YW5ub3RhdGVk?="), &[400], -32020),
        case("Mcp-Name of another task", modern(&declared).set("mcp-name", "other"), &[400], -32020),
        case("no version header", echo().without("mcp-protocol-version"), &[400], -32020),
        case("version header of another revision", echo().set("mcp-protocol-version", "2025-11-25"), &[400], -32020),
        case("two version headers", echo().with("mcp-protocol-version", "2025-11-25"), &[400], -32020),
        case("no Mcp-Param", eu(), &[400], -32020),
        case("another Mcp-Param", eu().with("mcp-param-region", "us"), &[400], -32020),
        case("Mcp-Param in broken base64", eu().with("mcp-param-region", "=?base64?Z?="), &[400], -32020),
        case("two Mcp-Params", eu().with("mcp-param-region", "eu").with("mcp-param-region", "us"), &[400], -32020),
        case(
            "Mcp-Param of an absent argument",
            eu().with("mcp-param-region", "eu").with("mcp-param-count", "1"),
            &[400],
            -32020,
        ),
        case(
            "Mcp-Param of a null argument",
            annotated(json!({"region": "eu", "count": null}))
                .with("mcp-param-region", "eu")
                .with("mcp-param-count", "1"),
            &[400],
            -32020,
        ),
        case(
            "Mcp-Param of another number",
            annotated(json!({"region": "eu", "count": 41}))
                .with("mcp-param-region", "eu")
                .with("mcp-param-count", "42"),
            &[400],
            -32020,
        ),
        case(
            "no Mcp-Param of a nested argument",
            annotated(json!({"region": "eu", "place": {"city": "Rome"}})).with("mcp-param-region", "eu"),
            &[400],
            -32020,
        ),
        case(
            "unknown revision",
            bent("/params/_meta/io.modelcontextprotocol~1protocolVersion", json!("2099-01-01"))
                .set("mcp-protocol-version", "2099-01-01"),
            &[400],
            -32022,
        ),
        case("no _meta", bent("/params/_meta", Value::Null), &[400], -32602),
        case(
            "no revision in _meta",
            bent("/params/_meta", json!({"io.modelcontextprotocol/clientCapabilities": {}})),
            &[400],
            -32602,
        ),
        case(
            "no capabilities in _meta",
            bent("/params/_meta", json!({"io.modelcontextprotocol/protocolVersion": MODERN})),
            &[400],
            -32602,
        ),
        case("task method without the extension", modern(&task), &[400], -32021),
        case("ping", with("ping"), &[404], -32601),
        case("initialize", with("initialize"), &[404], -32601),
        case("logging/setLevel", with("logging/setLevel"), &[404], -32601),
        case("resources/subscribe", with("resources/subscribe"), &[404], -32601),
        case("resources/unsubscribe", with("resources/unsubscribe"), &[404], -32601),
    ]
}
