//! The Rust SDK as a client, at any revision: the exercise of the other SDKs, in short.

#![allow(
    deprecated,
    reason = "logging, sampling and roots are deprecated in 2026-07-28 and still served to older ones"
)]

use crate::mcp::install_crypto;
use crate::until;
use rmcp::model::*;
use rmcp::service::{NotificationContext, RequestContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient};
use serde_json::json;
use std::sync::{Arc, Mutex};

const WATCHED: &str = "test://watched-resource";

/// What the server sent unasked.
#[derive(Default)]
struct Seen {
    logs: usize,
    progress: Vec<f64>,
    updates: Vec<String>,
    tool_changes: usize,
}

struct Handler {
    revision: ProtocolVersion,
    seen: Arc<Mutex<Seen>>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let capabilities = serde_json::from_value(json!({"elicitation": {}, "sampling": {}, "roots": {}}));
        let capabilities: ClientCapabilities = capabilities.expect("capabilities");
        let mut info = ClientConfig::new(capabilities, Implementation::new("rmcp", "1"));
        info.protocol_version = self.revision.clone();
        info
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let result = json!({"role": "assistant", "model": "none", "content": {"type": "text", "text": "sampled"}});
        Ok(serde_json::from_value(result).expect("a result"))
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let content = json!({"username": "ada", "email": "ada@example.com", "name": "Ada", "color": "green"});
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(content))
    }

    async fn on_logging_message(&self, _: LoggingMessageNotificationParam, _: NotificationContext<RoleClient>) {
        self.seen.lock().expect("seen").logs += 1;
    }

    async fn on_progress(&self, report: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.seen.lock().expect("seen").progress.push(report.progress);
    }

    async fn on_resource_updated(&self, update: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        self.seen.lock().expect("seen").updates.push(update.uri);
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.seen.lock().expect("seen").tool_changes += 1;
    }
}

type Connected = RunningService<RoleClient, Handler>;

async fn connect(url: &str, revision: &str) -> (Connected, Arc<Mutex<Seen>>) {
    install_crypto();
    let revision: ProtocolVersion = serde_json::from_value(json!(revision)).expect("a revision");
    let seen = Arc::new(Mutex::new(Seen::default()));
    let handler = Handler { revision: revision.clone(), seen: seen.clone() };
    let transport = StreamableHttpClientTransport::from_uri(url.to_owned());
    let lifecycle = match revision == ProtocolVersion::V_2026_07_28 {
        true => ClientLifecycleMode::Discover { preferred_versions: vec![revision] },
        false => ClientLifecycleMode::Initialize,
    };
    (handler.serve_with_lifecycle(transport, lifecycle).await.expect("a connection"), seen)
}

async fn call(client: &Connected, name: &'static str, arguments: serde_json::Value) -> CallToolResult {
    let mut request = CallToolRequestParams::new(name);
    request.arguments = arguments.as_object().cloned();
    client.call_tool(request).await.unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text(result: &CallToolResult) -> String {
    result.content[0].as_text().map(|block| block.text.clone()).expect("a text")
}

/// Runs the exercise against the conformant fixture, or against a gateway in front of it; panics at the first surprise.
pub async fn exercise(url: &str, revision: &str) {
    let (client, seen) = connect(url, revision).await;
    let modern = revision == crate::mcp::MODERN;
    let peer = client.peer();

    let tools = peer.list_all_tools().await.expect("tools");
    assert!(tools.iter().any(|tool| tool.name == "test_simple_text"));
    let simple = call(&client, "test_simple_text", json!(null)).await;
    assert_eq!(text(&simple), "This is a simple text response for testing.");
    assert_eq!(text(&call(&client, "test_arguments", json!(null)).await), "absent");
    let large = "x".repeat(256 << 10);
    assert_eq!(text(&call(&client, "test_echo", json!({"text": large})).await), large);
    assert_eq!(text(&call(&client, "test_custom_header", json!({"value": " ü "})).await), " ü ");
    assert_eq!(call(&client, "test_error_handling", json!(null)).await.is_error, Some(true));

    call(&client, "test_tool_with_progress", json!(null)).await;
    until("three progress reports", async || (seen.lock().expect("seen").progress == [0.0, 50.0, 100.0]).then_some(()))
        .await;

    assert_eq!(peer.list_all_prompts().await.expect("prompts").len(), 5);
    let mut prompt = GetPromptRequestParams::new("test_prompt_with_arguments");
    prompt.arguments = json!({"arg1": "a", "arg2": "b"}).as_object().cloned();
    peer.get_prompt(prompt).await.expect("a prompt");
    assert_eq!(peer.list_all_resources().await.expect("resources").len(), 3);
    peer.read_resource(ReadResourceRequestParams::new("test://static-text")).await.expect("a resource");
    let values = peer.complete_prompt_simple("test_prompt_with_arguments", "arg1", "x-").await.expect("completion");
    assert_eq!(values.len(), 3);

    if modern {
        for name in ["test_input_required_result_elicitation", "test_input_required_result_multi_round"] {
            call(&client, name, json!(null)).await;
        }
        let filter = SubscriptionFilter::builder().tools_list_changed().resource_subscriptions([WATCHED]).build();
        let mut subscription = peer.listen(filter).await.expect("a subscription");
        call(&client, "test_trigger_resource_change", json!(null)).await;
        let first = subscription.next().await.expect("a notification");
        assert!(matches!(first, Some(ServerNotification::ResourceUpdatedNotification(_))), "{first:?}");
        call(&client, "test_trigger_tool_change", json!(null)).await;
        let second = subscription.next().await.expect("a notification");
        assert!(matches!(second, Some(ServerNotification::ToolListChangedNotification(_))), "{second:?}");
        subscription.cancel().await.expect("an end");
    } else {
        peer.set_level(SetLevelRequestParams::new(LoggingLevel::Info)).await.expect("a level");
        call(&client, "test_tool_with_logging", json!(null)).await;
        until("three log lines", async || (seen.lock().expect("seen").logs == 3).then_some(())).await;
        // Elicitation came with 2025-06-18.
        if revision >= "2025-06-18" {
            let said = text(&call(&client, "test_elicitation", json!({"message": "Who?"})).await);
            assert!(said.contains("action=accept"), "{said}");
        }
        assert_eq!(text(&call(&client, "test_sampling", json!({"prompt": "?"})).await), "LLM response: sampled");
        peer.subscribe(SubscribeRequestParams::new(WATCHED)).await.expect("a subscription");
        call(&client, "test_trigger_resource_change", json!(null)).await;
        until("an update", async || seen.lock().expect("seen").updates.first().map(|_| ())).await;
        call(&client, "test_trigger_tool_change", json!(null)).await;
        until("a changed tool list", async || (seen.lock().expect("seen").tool_changes > 0).then_some(())).await;
    }
    client.cancel().await.expect("a clean end");
}
