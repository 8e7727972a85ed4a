//! The demo server over real sockets: as raw HTTP, and with the official client, in both eras.

use super::*;
use reqwest::{Client, Response, StatusCode};
use rmcp::model::{
    ArgumentInfo, CallToolRequestParams, CallToolResult, ClientConfig, CompleteRequestParams, GetPromptRequestParams,
    ProtocolVersion, ReadResourceRequestParams, Reference, ResourceUpdatedNotificationParam, ServerNotification,
    SubscribeRequestParams, SubscriptionFilter,
};
use rmcp::service::{NotificationContext, RunningService, SubscriptionEnd};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

async fn demo() -> Demo {
    // The HTTP client wants a TLS provider even where there is no TLS. A second test finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    start_ephemeral().await.unwrap()
}

/// The one JSON-RPC message of an answer, whether it came as JSON or as an event stream.
async fn message(response: Response) -> Value {
    let text = response.text().await.unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data:")).rfind(|data| data.contains("jsonrpc"));
    serde_json::from_str(data.unwrap_or(&text)).unwrap_or_else(|error| panic!("{error}: {text}"))
}

struct Raw {
    http: Client,
    url: String,
}

impl Raw {
    fn new(demo: &Demo) -> Raw {
        Raw { http: Client::new(), url: demo.url.clone() }
    }

    async fn legacy(&self, session: Option<&str>, body: Value) -> Response {
        let mut request = self.http.post(&self.url).header("accept", "application/json, text/event-stream").json(&body);
        if let Some(session) = session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        request.send().await.unwrap()
    }

    /// Opens a session; gives its id.
    async fn initialize(&self) -> String {
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" }
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let response = self.legacy(None, body).await;
        assert_eq!(response.status(), StatusCode::OK);
        let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let result = message(response).await;
        assert_eq!(result["result"]["protocolVersion"], "2025-11-25");
        assert_eq!(result["result"]["serverInfo"]["name"], "lockgate-demo");
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(self.legacy(Some(&session), initialized).await.status(), StatusCode::ACCEPTED);
        session
    }

    /// A modern request with every header that it needs.
    fn modern(&self, method: &str, name: Option<&str>, mut params: Value) -> reqwest::RequestBuilder {
        let meta = params.as_object_mut().unwrap().entry("_meta").or_insert_with(|| json!({}));
        meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
        meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "test", "version": "1" });
        let mut request = self
            .http
            .post(&self.url)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method)
            .json(&json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }));
        if let Some(name) = name {
            request = request.header("mcp-name", name);
        }
        request
    }

    async fn modern_answer(&self, method: &str, name: Option<&str>, params: Value) -> (StatusCode, Value) {
        let response = self.modern(method, name, params).send().await.unwrap();
        (response.status(), message(response).await)
    }
}

#[tokio::test]
async fn a_legacy_session_lists_calls_and_ends() {
    let demo = demo().await;
    let raw = Raw::new(&demo);
    let session = raw.initialize().await;
    let call = async |method: &str, params: Value| {
        let body = json!({ "jsonrpc": "2.0", "id": 2, "method": method, "params": params });
        message(raw.legacy(Some(&session), body).await).await
    };
    let tools = call("tools/list", json!({})).await;
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 8);
    assert!(tools["result"].get("ttlMs").is_none() && tools["result"].get("resultType").is_none());
    let sum = call("tools/call", json!({ "name": "calculate", "arguments": { "expression": "6*7" } })).await;
    assert_eq!(sum["result"]["structuredContent"]["value"], 42.0);
    let unknown = call("tools/call", json!({ "name": "nothing", "arguments": {} })).await;
    assert_eq!(unknown["error"]["code"], -32602);
    let missing = call("resources/read", json!({ "uri": "demo://nothing" })).await;
    assert_eq!(missing["error"]["code"], -32002);

    let delete = raw.http.delete(&raw.url).header("mcp-session-id", &session).send().await.unwrap();
    assert!(delete.status().is_success(), "{}", delete.status());
    let ping = json!({ "jsonrpc": "2.0", "id": 3, "method": "ping" });
    assert_eq!(raw.legacy(Some(&session), ping).await.status(), StatusCode::NOT_FOUND);
}

/// What `format` may say (JSON Schema 2020-12, validation, section 7.3).
const FORMATS: [&str; 19] = [
    "date-time",
    "date",
    "time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "iri",
    "iri-reference",
    "uuid",
    "uri-template",
    "json-pointer",
    "relative-json-pointer",
    "regex",
];

/// Every `format` in a schema.
fn formats(schema: &Value) -> Vec<&str> {
    match schema {
        Value::Object(members) => {
            let own = members.get("format").and_then(Value::as_str);
            own.into_iter().chain(members.values().flat_map(formats)).collect()
        }
        Value::Array(items) => items.iter().flat_map(formats).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn a_modern_request_stands_alone() {
    let demo = demo().await;
    let raw = Raw::new(&demo);
    let (status, discovered) = raw.modern_answer("server/discover", None, json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let versions = discovered["result"]["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!("2026-07-28")) && versions.contains(&json!("2025-06-18")));

    let (_, tools) = raw.modern_answer("tools/list", None, json!({})).await;
    assert_eq!(tools["result"]["resultType"], "complete");
    assert_eq!((&tools["result"]["ttlMs"], &tools["result"]["cacheScope"]), (&json!(300_000), &json!("public")));
    for tool in tools["result"]["tools"].as_array().unwrap() {
        assert!(tool["title"].is_string() && tool["description"].is_string(), "{tool}");
        assert!(tool["annotations"]["readOnlyHint"].is_boolean(), "{tool}");
        assert_eq!(tool["inputSchema"]["type"], "object");
        for schema in ["inputSchema", "outputSchema"] {
            let foreign: Vec<_> = formats(&tool[schema]).into_iter().filter(|name| !FORMATS.contains(name)).collect();
            assert!(foreign.is_empty(), "{schema} of {}: {foreign:?}", tool["name"]);
        }
    }

    let response = raw
        .modern("tools/call", Some("echo"), json!({ "name": "echo", "arguments": { "text": "hi" } }))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(!response.headers().contains_key("mcp-session-id"));
    assert_eq!(message(response).await["result"]["content"][0]["text"], "hi");
}

#[tokio::test]
async fn modern_mistakes_get_the_errors_of_the_specification() {
    let demo = demo().await;
    let raw = Raw::new(&demo);
    let code = async |method: &str, name: Option<&str>, params: Value| {
        let (status, answer) = raw.modern_answer(method, name, params).await;
        (status.as_u16(), answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("{answer}")))
    };
    let echo = || json!({ "name": "echo", "arguments": { "text": "hi" } });
    assert_eq!(code("tools/call", Some("nothing"), json!({ "name": "nothing" })).await, (200, -32602));
    assert_eq!(code("tools/call", Some("wait"), echo()).await, (400, -32020));
    assert_eq!(code("tools/call", None, echo()).await, (400, -32020));
    assert_eq!(code("ping", None, json!({})).await, (404, -32601));
    let missing = json!({ "uri": "demo://nothing" });
    assert_eq!(code("resources/read", Some("demo://nothing"), missing).await, (200, -32602));
    // What the caller can mend comes as a result that the model sees.
    let wrong = json!({ "name": "calculate", "arguments": { "expression": "1/0" } });
    let (status, answer) = raw.modern_answer("tools/call", Some("calculate"), wrong).await;
    assert_eq!((status, &answer["result"]["isError"]), (StatusCode::OK, &json!(true)));
}

#[tokio::test]
async fn progress_comes_before_the_result() {
    let demo = demo().await;
    let raw = Raw::new(&demo);
    let params = json!({
        "name": "wait", "arguments": { "seconds": 0, "steps": 3 }, "_meta": { "progressToken": "p1" }
    });
    let response = raw.modern("tools/call", Some("wait"), params).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let events = response.text().await.unwrap();
    let messages: Vec<Value> =
        events.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()).collect();
    let progress: Vec<_> = messages.iter().filter_map(|message| message["params"]["progress"].as_f64()).collect();
    assert_eq!(progress, [1.0, 2.0, 3.0]);
    assert_eq!(messages.last().unwrap()["result"]["content"][0]["text"], "waited 0 seconds");
}

#[tokio::test]
async fn foreign_hosts_origins_and_paths_are_refused() {
    let demo = demo().await;
    let raw = Raw::new(&demo);
    let tools = || raw.modern("tools/list", None, json!({}));
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(status(tools().header("host", "evil.example")).await, 403);
    assert_eq!(status(tools().header("origin", "https://evil.example")).await, 403);
    assert_eq!(status(tools().header("origin", "http://localhost:6274")).await, 200);
    assert_eq!(status(raw.http.get(demo.url.replace(PATH, "/"))).await, 404);
}

#[tokio::test]
async fn it_serves_this_machine_only() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = serve(listener, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, DemoError::NotLoopback(_)));
}

/// A client that keeps what it is told.
struct Listening(mpsc::UnboundedSender<String>);

impl ClientHandler for Listening {
    async fn on_resource_updated(&self, params: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        let _ = self.0.send(params.uri);
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.0.send("list".to_owned());
    }
}

async fn modern_client(demo: &Demo) -> RunningService<RoleClient, ClientConfig> {
    let lifecycle = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    let transport = StreamableHttpClientTransport::from_uri(demo.url.clone());
    ClientConfig::default().serve_with_lifecycle(transport, lifecycle).await.unwrap()
}

fn arguments(name: &'static str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(name).with_arguments(arguments.as_object().unwrap().clone())
}

/// Everything a client of either era can ask.
async fn exercise<H: rmcp::Service<RoleClient>>(client: &RunningService<RoleClient, H>) {
    let call = async |name, values| -> CallToolResult { client.call_tool(arguments(name, values)).await.unwrap() };
    let structured = async |name, values| call(name, values).await.structured_content.unwrap();
    assert_eq!(client.list_all_tools().await.unwrap().len(), 8);
    let time = structured("current_time", json!({ "utc_offset": "-02:30" })).await;
    assert!(time["time"].as_str().unwrap().ends_with("-02:30"), "{time}");
    let ids = structured("random_id", json!({ "count": 3 })).await;
    assert_eq!(ids["ids"].as_array().unwrap().len(), 3);
    assert_eq!(ids["ids"][0].as_str().unwrap().as_bytes()[14], b'4');
    assert_eq!(structured("text_stats", json!({ "text": "one two" })).await["words"], 2);
    assert_eq!(call("random_id", json!({ "count": 0 })).await.is_error, Some(true));
    assert_eq!(call("wait", json!({ "seconds": 61 })).await.is_error, Some(true));
    assert_eq!(call("write_note", json!({ "name": "milk", "text": "two bottles" })).await.is_error, Some(false));

    let resources: Vec<_> = client.list_all_resources().await.unwrap().into_iter().map(|it| it.uri).collect();
    assert_eq!(resources, ["demo://about", "demo://clock", "demo://notes", "demo://notes/milk"]);
    assert_eq!(client.list_all_resource_templates().await.unwrap().len(), 1);
    for (uri, expected) in [("demo://notes/milk", "two bottles"), ("demo://notes", "milk"), ("demo://clock", "unix")] {
        let read = client.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
        assert!(serde_json::to_string(&read).unwrap().contains(expected), "{uri}");
    }

    assert_eq!(client.list_all_prompts().await.unwrap().len(), 2);
    let values = json!({ "text": "long", "audience": "a child" });
    let prompt = GetPromptRequestParams::new("summarize").with_arguments(values.as_object().unwrap().clone());
    let prompt = client.get_prompt(prompt).await.unwrap();
    assert!(serde_json::to_string(&prompt).unwrap().contains("for a child"));
    let complete = async |reference, name: &str, typed: &str| {
        let argument = ArgumentInfo::new(name, typed);
        client.complete(CompleteRequestParams::new(reference, argument)).await.unwrap().completion.values
    };
    assert_eq!(complete(Reference::for_prompt("summarize"), "audience", "a c").await, ["a child", "a colleague"]);
    assert_eq!(complete(Reference::for_resource("demo://notes/{name}"), "name", "m").await, ["milk"]);
}

#[tokio::test]
async fn the_official_client_can_use_all_of_it_in_both_eras() {
    let demo = demo().await;
    let modern = modern_client(&demo).await;
    exercise(&modern).await;
    modern.cancel().await.unwrap();
    let transport = StreamableHttpClientTransport::from_uri(demo.url.clone());
    let legacy = rmcp::ServiceExt::serve(ClientConfig::default(), transport).await.unwrap();
    exercise(&legacy).await;
    legacy.cancel().await.unwrap();
}

#[tokio::test]
#[expect(deprecated, reason = "legacy clients subscribe in the legacy way")]
async fn a_legacy_subscriber_hears_of_changes() {
    let demo = demo().await;
    let (heard, mut news) = mpsc::unbounded_channel();
    let transport = StreamableHttpClientTransport::from_uri(demo.url.clone());
    let client = rmcp::ServiceExt::serve(Listening(heard), transport).await.unwrap();
    client.subscribe(SubscribeRequestParams::new("demo://notes")).await.unwrap();
    assert!(client.subscribe(SubscribeRequestParams::new("demo://about")).await.is_err());
    client.call_tool(arguments("write_note", json!({ "name": "a", "text": "b" }))).await.unwrap();
    let mut told = vec![timeout(SOON, news.recv()).await.unwrap(), timeout(SOON, news.recv()).await.unwrap()];
    told.sort();
    assert_eq!(told, [Some("demo://notes".to_owned()), Some("list".to_owned())]);
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn a_modern_subscriber_hears_of_changes_and_of_the_end() {
    let demo = demo().await;
    let client = modern_client(&demo).await;
    let filter = SubscriptionFilter::builder()
        .resources_list_changed()
        .resource_subscriptions(["demo://notes/a", "demo://about"])
        .build();
    let mut subscription = client.listen(filter).await.unwrap();
    client.call_tool(arguments("write_note", json!({ "name": "a", "text": "b" }))).await.unwrap();
    let first = timeout(SOON, subscription.next()).await.unwrap().unwrap();
    assert!(matches!(first, Some(ServerNotification::ResourceListChangedNotification(_))), "{first:?}");
    let second = timeout(SOON, subscription.next()).await.unwrap().unwrap();
    let Some(ServerNotification::ResourceUpdatedNotification(update)) = second else { panic!("{second:?}") };
    assert_eq!(update.params.uri, "demo://notes/a");

    timeout(SOON, demo.stop()).await.unwrap();
    assert!(timeout(SOON, subscription.next()).await.unwrap().unwrap().is_none());
    assert!(matches!(subscription.end(), Some(SubscriptionEnd::Graceful(_))), "{:?}", subscription.end());
}
