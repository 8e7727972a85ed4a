use crate::backend::Speaks;
use crate::fault::Fault;
use crate::lane::Lane;
use crate::rpc::params::ToolParams;
use crate::testing::Bench;
use http::Method;
use std::sync::Arc;

#[test]
fn mirrored_arguments_are_checked_against_what_the_tool_says_now() {
    let list = r#"{"tools":[{"name":"run","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}"#;
    let mut bench = Bench::new(Speaks::Yes, Speaks::No);
    let backend = Arc::clone(&bench.backend);
    bench.on_ask = Box::new(move |_| {
        let mut tools = ToolParams::default();
        tools.read(list.as_bytes()).unwrap();
        backend.learn(|facts| facts.tools = Some(Arc::new(tools.clone())));
        Ok(())
    });
    bench.backend.learn(|facts| facts.tools = None);
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let request = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{meta},"name":"run","arguments":{{"region":"eu"}}}}}}"#
    );
    let send = |extra: &[(&str, &str)]| {
        let mut headers =
            vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "run")];
        headers.extend_from_slice(extra);
        bench.send(Method::POST, &headers, &request)
    };
    assert_eq!(send(&[("mcp-param-region", "eu")]).lane().0, Lane::Forward);
    assert_eq!(send(&[]).refusal().fault, Fault::HeaderMismatch);
    assert_eq!(send(&[("mcp-param-region", "us")]).refusal().fault, Fault::HeaderMismatch);
    assert_eq!(send(&[("mcp-param-region", "eu"), ("mcp-param-other", "x")]).lane().0, Lane::Forward);
}
