//! Cancelling: wherever the request is, whoever still waits for it, and nobody else's.

use super::{Pair, config};
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Gateway, Mcp, Scripted, until};
use serde_json::{Value, json};

fn waiting() -> Value {
    let mut offer = tools(&["wait", "echo", "late"]);
    offer["eras"] = json!("legacy");
    offer["delays"] = json!({"tools/call late": 2000});
    offer
}

async fn outcomes(pair: &Pair, token: &str, expected: &[&str]) {
    until(&format!("{token}: {expected:?}"), async || (pair.one.outcomes(token) == expected).then_some(())).await;
}

/// Sends a call that nobody hears of before it is done, and leaves when it is at the backend.
async fn leave_behind(pair: &Pair, client: &Mcp, id: &str) {
    let params = json!({"name": "one__late", "arguments": {"token": id}});
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    let request = tokio::spawn(client.post(&body).send());
    until("the call", async || pair.one.heard().iter().any(|heard| heard.raw.contains(id)).then_some(())).await;
    request.abort();
    until("the gauge", async || (pair.gateway.metric("lockgate_detached").await == Some(1.0)).then_some(())).await;
}

/// What a client tells its backends takes no place of what goes on without it.
#[tokio::test]
async fn a_notification_ends_nobodys_call() {
    let (one, two) = (Scripted::http(waiting()).await, Scripted::http(waiting()).await);
    let gateway = Gateway::start(&config(&one, &two, "", "limits:\n  detached: 1\n")).await;
    gateway.settled().await;
    let pair = Pair { one, two, gateway };
    let client = pair.legacy().await;
    for name in ["one__echo", "two__echo"] {
        assert_eq!(client.tool(name, json!({})).await.status, 200);
    }
    leave_behind(&pair, &client, "left").await;
    let method = "notifications/roots/list_changed";
    assert_eq!(client.notify(method, json!({})).await.status, 202);
    for backend in [&pair.one, &pair.two] {
        until("the notification", async || (backend.heard_of(method).len() == 1).then_some(())).await;
    }
    outcomes(&pair, "left", &["answered"]).await;
    assert_eq!(pair.gateway.metric("lockgate_detached_given_up_total").await, Some(0.0));
}
