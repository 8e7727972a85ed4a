use crate::backend::Speaks;
use crate::fault::Fault;
use crate::federate::naming::Prefixing;
use crate::federate::testing::{policy, tools};
use crate::federate::{Catalog, Offer, Standing};
use crate::filter::Ask;
use crate::lane::Lane;
use crate::rpc::params::ToolParams;
use crate::testing::Bench;
use http::{HeaderName, Method};
use std::cell::Cell;
use std::rc::Rc;
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

#[test]
fn what_a_caller_is_offered_says_what_its_calls_must_mirror() {
    let params = |header: &str| {
        let list = format!(
            r#"{{"tools":[{{"name":"run","inputSchema":{{"type":"object","properties":{{"region":{{"type":"string","x-mcp-header":"{header}"}}}}}}}}]}}"#
        );
        let mut tools = ToolParams::default();
        tools.read(list.as_bytes()).unwrap();
        Arc::new(tools)
    };
    let mut policy = policy(Prefixing::Always, &["a"]);
    policy.members[0].identity = Box::new([HeaderName::from_static("x-token")]);
    let own = |params: Arc<ToolParams>| {
        let mut inventory = tools(&["run"]);
        inventory.params = Some(params);
        let offer = Offer { inventory: Some(Arc::new(inventory)), standing: Standing::Fresh };
        Arc::new(Catalog::merge(&policy, &[offer]))
    };
    let mut bench = Bench::federated(policy.clone(), Catalog::default());
    // What the gateway itself is offered mirrors the argument elsewhere.
    bench.server.backends[0].learn(|facts| facts.tools = Some(params("Gateways")));
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    bench.on_ask = Box::new(move |ask| {
        assert!(matches!(ask, Ask::Own { .. } | Ask::OwnTools { member: 0, .. }), "{ask:?}");
        counted.set(counted.get() + 1);
        Ok(())
    });
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let request = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{meta},"name":"a__run","arguments":{{"region":"eu"}}}}}}"#
    );
    let send = |bench: &Bench, mirror: &str| {
        let said = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "a__run")];
        let headers = [&said[..], &[(mirror, "eu"), ("x-token", "alice")]].concat();
        asked.set(0);
        bench.send(Method::POST, &headers, &request)
    };
    bench.on_own = Some(own(params("Hers")));
    bench.on_own_again = bench.on_own.clone();
    assert_eq!((send(&bench, "mcp-param-hers").lane().0, asked.get()), (Lane::Forward, 1));
    assert_eq!((send(&bench, "mcp-param-gateways").refusal().fault, asked.get()), (Fault::HeaderMismatch, 2));
    // Nobody could say whether it has changed since.
    bench.on_own_again = Some(Arc::new(Catalog::merge(
        &policy,
        &[Offer { inventory: Some(Arc::new(tools(&["run"]))), standing: Standing::Fresh }],
    )));
    assert_eq!((send(&bench, "mcp-param-gateways").refusal().fault, asked.get()), (Fault::HeaderMismatch, 2));
    // It has changed since.
    bench.on_own_again = Some(own(params("New")));
    assert_eq!((send(&bench, "mcp-param-new").lane().0, asked.get()), (Lane::Forward, 2));
}
