//! The fields that a client of Streamable HTTP sends with a modern message, which repeat what the message says (MCP
//! 2026-07-28): what the filter `envelope` checks, from the other side. For clients that the gateway speaks for.

use super::Outbound;
use crate::envelope;
use crate::headers::{METHOD, NAME, PROTOCOL_VERSION};
use crate::rpc::mirror;
use crate::rpc::params::ToolParams;
use crate::rpc::scan::Message;
use http::HeaderValue;

/// Sets the fields that mirror a message of `body`, as far as the message has what they mirror: what is missing is for the
/// server to miss. `tools` says which arguments are mirrored.
///
/// False where that is a call of a tool of which nothing is known.
pub fn mirror(fields: &mut Outbound, message: &Message, body: &[u8], tools: &ToolParams) -> bool {
    let mut set = |name, text: &str| {
        // Encoded, every text travels.
        if let Ok(value) = HeaderValue::from_str(text) {
            fields.set(name, value);
        }
    };
    let params = message.params.as_ref();
    let text = |value: Option<crate::rpc::scan::Value>| value.and_then(|value| value.text(body));
    if let Some(revision) = text(params.and_then(|params| params.meta.as_ref()).and_then(|meta| meta.protocol_version))
    {
        set(PROTOCOL_VERSION, &revision);
    }
    if let Some(method) = text(message.method) {
        set(METHOD, &method);
    }
    let name = envelope::mirrored(message, body).and_then(|(_, value)| text(value));
    if let Some(name) = &name {
        set(NAME, &mirror::encode(name));
    }
    let Some(tool) = name.filter(|_| message.is(b"tools/call", body)) else { return true };
    let arguments = params.and_then(|params| params.arguments).map(|value| value.span.of(body));
    let Some(mirrors) = tools.headers(&tool, arguments) else { return false };
    for (name, value) in mirrors {
        fields.set(name, value);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::scan::{Limits, scan};

    fn mirrored(body: &str, tools: &ToolParams) -> (Vec<String>, bool) {
        let scan = scan(body.as_bytes(), &Limits { depth: 16, batch: 1 }).unwrap();
        let mut fields = Outbound::new();
        let known = mirror(&mut fields, &scan.messages[0], body.as_bytes(), tools);
        let text = |(name, value): &(http::HeaderName, HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        (fields.iter().map(text).collect(), known)
    }

    #[test]
    fn a_message_is_mirrored_as_far_as_it_goes() {
        let mut tools = ToolParams::default();
        let page =
            r#"{"tools":[{"name":"té","inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}}]}"#;
        tools.read(page.as_bytes()).unwrap();
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        let call = |name: &str| {
            let arguments = r#"{"a":"b"}"#;
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{meta},"name":"{name}","arguments":{arguments}}}}}"#
            )
        };
        let (fields, known) = mirrored(&call("té"), &tools);
        let expected = [
            "mcp-protocol-version: 2026-07-28",
            "mcp-method: tools/call",
            "mcp-name: =?base64?dMOp?=",
            "mcp-param-a: b",
        ];
        assert_eq!(fields, expected);
        assert!(known);
        assert!(!mirrored(&call("other"), &tools).1);

        let bare = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":7}}"#;
        assert_eq!(mirrored(bare, &tools), (vec!["mcp-method: resources/read".to_owned()], true));
        let odd = r#"{"jsonrpc":"2.0","method":"a\nb"}"#;
        assert_eq!(mirrored(odd, &tools), (Vec::new(), true));
    }
}
