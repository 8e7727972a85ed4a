//! Refused for what its body is: no JSON, no JSON-RPC, ambiguous, too deep.

use super::{Case, call, case, echo, text};
use lockgate_e2e::raw::Raw;
use serde_json::json;

pub fn cases() -> Vec<Case> {
    let deep = |depth: usize| {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        text(&call("echo", json!("NESTED")).to_string().replace("\"NESTED\"", &nested))
    };
    let with_member = |member: &str| {
        let whole = call("echo", json!({})).to_string();
        text(&format!("{{{member},{}", &whole[1..]))
    };
    let with_argument = |arguments: &str| text(&call("echo", json!("ARGS")).to_string().replace("\"ARGS\"", arguments));
    vec![
        case("empty body", text(""), &[400], -32700),
        case("no JSON", text("MARKER is not JSON"), &[400], -32700),
        case("cut JSON", text("{\"jsonrpc\":\"2.0\",\"id\":\"MARKER\""), &[400], -32700),
        case("two JSON values", text(&format!("{} {{}}", call("echo", json!({})))), &[400], -32700),
        case("NaN", with_argument("{\"a\":NaN}"), &[400], -32700),
        case("trailing comma", with_argument("{\"a\":1,}"), &[400], -32700),
        case("comment", with_argument("{/*a*/}"), &[400], -32700),
        case("lone surrogate", with_argument("{\"a\":\"\\ud800\"}"), &[400], -32700),
        case("control character in a string", with_argument("{\"a\":\"\u{1}\"}"), &[400], -32700),
        case(
            "not UTF-8",
            {
                let mut raw = echo();
                let at = raw.body.len() / 2;
                raw.body[at] = 0xff;
                raw
            },
            &[400],
            -32700,
        ),
        case("byte order mark", text(&format!("\u{feff}{}", call("echo", json!({})))), &[400], -32700),
        case("too deep", deep(100), &[400], -32700),
        case("far too deep", deep(100_000), &[400], -32700),
        case("method twice", with_member("\"method\":\"tools/list\""), &[400], -32600),
        case("id twice", with_member("\"id\":\"other\""), &[400], -32600),
        case("params twice", with_member("\"params\":{\"name\":\"annotated\"}"), &[400], -32600),
        case("escaped duplicate", with_member("\"\\u006dethod\":\"tools/list\""), &[400], -32600),
        case("duplicate in arguments", with_argument("{\"a\":1,\"a\":2}"), &[400], -32600),
        case("duplicate deep in arguments", with_argument("{\"a\":[{\"b\":{\"c\":1,\"c\":2}}]}"), &[400], -32600),
        case("name twice", with_argument("{},\"name\":\"annotated\""), &[400], -32600),
        case("Method beside method", with_member("\"Method\":\"tools/list\""), &[400], -32600),
        case("Name beside name", with_argument("{},\"Name\":\"annotated\""), &[400], -32600),
        case("_META beside _meta", with_argument("{},\"_META\":{}"), &[400], -32600),
        case("batch", text(&format!("[{}]", call("echo", json!({})))), &[400], -32600),
        case("empty batch", text("[]"), &[400], -32600),
        case("a string", text("\"MARKER\""), &[400], -32600),
        case("no JSON-RPC", text("{\"marker\":\"MARKER\"}"), &[400], -32600),
        case("JSON-RPC 1.0", text(&call("echo", json!({})).to_string().replace("\"2.0\"", "\"1.0\"")), &[400], -32600),
        case(
            "no version of JSON-RPC",
            text(&call("echo", json!({})).to_string().replace("\"jsonrpc\":\"2.0\",", "")),
            &[400],
            -32600,
        ),
        case(
            "id null",
            text(&call("echo", json!({"m": "MARKER"})).to_string().replacen("\"MARKER\"", "null", 1)),
            &[400],
            -32600,
        ),
        case("id an object", with_id("{\"m\":\"MARKER\"}"), &[400], -32600),
        case("id a boolean", with_id("true"), &[400], -32600),
        case(
            "method a number",
            text(&call("echo", json!({})).to_string().replace("\"tools/call\"", "5")),
            &[400],
            -32600,
        ),
        case(
            "params a string",
            text("{\"jsonrpc\":\"2.0\",\"id\":\"MARKER\",\"method\":\"tools/call\",\"params\":\"x\"}"),
            &[400],
            -32600,
        ),
    ]
}

/// A call whose id is this JSON text; the marker moves into the arguments.
fn with_id(id: &str) -> Raw {
    let mut body = call("echo", json!({"m": "MARKER"}));
    body["id"] = json!("ID");
    text(&body.to_string().replace("\"ID\"", id))
}
