//! `initialize`, `server/discover` and instructions: the gateway speaks for its backends.

use super::pair;
use lockgate_e2e::mcp::{LEGACY, MODERN};
use lockgate_e2e::scripted::{tool, tools};
use lockgate_e2e::{Answer, Mcp};
use serde_json::{Value, json};

async fn initialize(url: &str, revision: &str) -> Answer {
    let mut client = Mcp::modern(url);
    client.revision = "2025-03-26".to_owned();
    let info = json!({"name": "e2e", "version": "1"});
    let params = json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": info});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    Answer::read(client.post(&body).send().await.expect("an answer")).await
}

#[tokio::test]
async fn initialize_is_answered_here_in_any_revision() {
    let one = json!({"tools": [tool("a")], "capabilities": {"logging": {}, "experimental": {"x": {}}}});
    let two = json!({
        "prompts": [{"name": "p"}],
        "resources": [{"uri": "note:r", "name": "r"}],
        "capabilities": {"completions": {}, "resources": {"subscribe": true}},
    });
    let pair = pair(one, two, "").await;
    let before = pair.one.heard_of("initialize").len() + pair.two.heard_of("initialize").len();
    for (asked, given) in LEGACY.map(|revision| (revision, revision)).into_iter().chain([("1999-01-01", LEGACY[2])]) {
        let answer = initialize(&pair.gateway.mcp(), asked).await;
        let result = &answer.json()["result"];
        assert_eq!(result["protocolVersion"], given, "{answer:?}");
        assert_eq!(result["serverInfo"]["name"], "lockgate", "{answer:?}");
        let expected = json!({
            "tools": {"listChanged": true},
            "prompts": {"listChanged": true},
            "resources": {"listChanged": true, "subscribe": true},
            "completions": {},
            "logging": {},
        });
        assert_eq!(result["capabilities"], expected, "{answer:?}");
        assert!(answer.header("mcp-session-id").is_some(), "{answer:?}");
    }
    let after = pair.one.heard_of("initialize").len() + pair.two.heard_of("initialize").len();
    assert_eq!(before, after, "no backend is asked before there is something to say to it");
}

#[tokio::test]
async fn discover_is_answered_here_with_the_least_time_and_the_narrowest_scope() {
    let one = json!({"tools": [tool("a")], "ttlMs": 40_000});
    let two = json!({"prompts": [{"name": "p"}], "ttlMs": 300_000});
    let pair = pair(one, two, "").await;
    let answer = pair.modern().send("server/discover", json!({})).await;
    let result = &answer.json()["result"];
    let versions: Vec<&str> =
        result["supportedVersions"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(versions.contains(&MODERN), "{answer:?}");
    let expected = json!({"tools": {"listChanged": true}, "prompts": {"listChanged": true}});
    assert_eq!(result["capabilities"], expected, "{answer:?}");
    assert_eq!((&result["resultType"], &result["cacheScope"]), (&json!("complete"), &json!("public")), "{answer:?}");
    assert!((1..=40_000).contains(&result["ttlMs"].as_i64().unwrap()), "{answer:?}");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "lockgate", "{answer:?}");
    assert!(answer.header("mcp-session-id").is_none(), "{answer:?}");
}

#[tokio::test]
async fn instructions_are_put_together_under_the_backends_names() {
    let with = |name: &str, text: &str| {
        let mut offer = tools(&[name]);
        offer["instructions"] = json!(text);
        offer
    };
    let pair = pair(with("a", "Use a.\n"), with("b", "Use b."), "").await;
    let expected = "## one\n\nUse a.\n\n## two\n\nUse b.";
    let answer = initialize(&pair.gateway.mcp(), LEGACY[2]).await;
    assert_eq!(answer.json()["result"]["instructions"], expected, "{answer:?}");
    let answer = pair.modern().send("server/discover", json!({})).await;
    assert_eq!(answer.json()["result"]["instructions"], expected, "{answer:?}");
}

#[tokio::test]
async fn instructions_may_be_configured() {
    let mut one = tools(&["a"]);
    one["instructions"] = json!("Use a.");
    let pair = pair(one, tools(&["b"]), "    instructions: Ask before you act.\n").await;
    let answer = pair.modern().send("server/discover", json!({})).await;
    assert_eq!(answer.json()["result"]["instructions"], "Ask before you act.", "{answer:?}");
}
