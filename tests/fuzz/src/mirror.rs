//! Header values decode to what was encoded, numbers compare by value, and whatever agrees is really alike.
//!
//! The input is a header value, a line feed, and the arguments of a call.

use http::{HeaderMap, HeaderValue};
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::mirror::{MAX_INTEGER, agrees, decode, encode, integer};
use lockgate_filters::rpc::params::{ParamCheck, ToolParams};
use lockgate_filters::rpc::scan::{Form, Limits, skim};

const TOOLS: &[u8] = br#"{"tools":[{"name":"run","inputSchema":{"type":"object","properties":{
    "a":{"type":"string","x-mcp-header":"A"},
    "b":{"type":"object","properties":{"a":{"type":"integer","x-mcp-header":"B"}}}}}}]}"#;

/// Checks a header value and the arguments behind it.
pub fn check(data: &[u8]) {
    let cut = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, arguments) = (&data[..cut], data.get(cut + 1..).unwrap_or_default());
    number(header);
    if let Ok(text) = std::str::from_utf8(header) {
        let encoded = encode(text);
        assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')), "encoded, but no header value");
        assert_eq!(decode(&encoded).as_deref(), Ok(text), "does not decode to what was encoded");
    }
    // Whatever is taken for a page of tools, and whatever for arguments, does no harm.
    let _ = ToolParams::default().read(arguments);
    let mut tools = ToolParams::default();
    assert_eq!(tools.read(TOOLS), Ok(()));
    let Ok(value) = HeaderValue::from_bytes(header) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("mcp-param-a", value.clone());
    let verdict = tools.check("run", Some(arguments), &headers);
    if skim(arguments, &Limits { depth: 64, batch: 0 }).is_err() {
        return;
    }
    let argument = member(arguments, "a").filter(|argument| argument.form != Form::Null);
    let count = member(arguments, "b")
        .and_then(|b| member(b.span.of(arguments), "a"))
        .is_some_and(|count| !matches!(count.form, Form::Null | Form::Array | Form::Object));
    let alike = argument.is_some_and(|argument| {
        value.to_str().is_ok_and(|text| decode(text).is_ok_and(|text| agrees(&text, &argument, arguments)))
    });
    // `b.a` has no header here, so it must not be there.
    let expected = alike && !count;
    assert_eq!(verdict == ParamCheck::Agrees, expected, "{verdict:?}");
}

fn number(text: &[u8]) {
    let value = integer(text);
    assert!(value.is_none_or(|value| value.abs() <= MAX_INTEGER));
    let is_json = serde_json::from_slice::<serde_json::Value>(text).is_ok_and(|json| json.is_number())
        && !text[0].is_ascii_whitespace()
        && !text[text.len() - 1].is_ascii_whitespace();
    let float = std::str::from_utf8(text).ok().filter(|_| is_json).and_then(|text| text.parse::<f64>().ok());
    match (value, float) {
        (Some(value), Some(float)) => assert_eq!(value as f64, float),
        // Few digits and no exponent: the floating-point value is exact enough to say whether it is an integer.
        (None, Some(float)) if text.len() < 15 && !text.iter().any(|byte| matches!(byte, b'e' | b'E')) => {
            assert_ne!(float.fract(), 0.0);
        }
        _ => {}
    }
}
