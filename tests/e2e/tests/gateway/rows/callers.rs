//! Backends that tell callers apart by fields of their requests: each is shown its own lists, and reaches what it is shown.

use lockgate_e2e::gateway::federation;
use lockgate_e2e::mcp::{Answer, NEWEST_LEGACY};
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Gateway, Mcp, Scripted, until};
use serde_json::{Value, json};

/// A backend that shows everybody another tool, and one that does not ask who calls.
async fn start(eras: &str) -> (Scripted, Scripted, Gateway) {
    let mut offer = tools(&["common"]);
    offer["eras"] = json!(eras);
    offer["cacheScope"] = json!("private");
    offer["callers"] = json!({"alice": tools(&["hers", "more"]), "bob": tools(&["his"])});
    let mut other = tools(&["b"]);
    other["eras"] = json!(eras);
    let (one, two) = (Scripted::http(offer).await, Scripted::http(other).await);
    let backends = [("one", one.backend("one", "    forward_headers: [x-token]\n")), ("two", two.backend("two", ""))];
    let gateway = Gateway::start(&federation(&backends, "    page_size: 2\n", "")).await;
    gateway.settled().await;
    (one, two, gateway)
}

async fn ask(client: &Mcp, token: Option<&str>, method: &str, params: Value) -> Answer {
    let mut request = client.post(&client.body(method, params));
    if let Some(token) = token {
        request = request.header("x-token", token);
    }
    Answer::read(request.send().await.expect("an answer")).await
}

async fn listed(client: &Mcp, token: Option<&str>) -> Vec<String> {
    let answer = ask(client, token, "tools/list", json!({})).await.json();
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn each_caller_is_shown_its_own_and_calls_what_it_is_shown() {
    for eras in ["modern", "legacy"] {
        let (mut one, _two, gateway) = start(eras).await;
        let client = match eras {
            "modern" => Mcp::modern(&gateway.mcp()),
            _ => Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await,
        };
        let (alice, bob) = (Some("alice"), Some("bob"));
        assert_eq!(listed(&client, None).await, ["one__common", "two__b"], "{eras}");
        assert_eq!(listed(&client, bob).await, ["one__his", "two__b"], "{eras}");
        assert_eq!(listed(&client, alice).await, ["one__hers", "one__more"], "{eras}");
        let call =
            async |token, name: &str| ask(&client, token, "tools/call", json!({"name": name, "arguments": {}})).await;
        assert_eq!(call(alice, "one__hers").await.text(), "{}", "{eras}");
        assert_eq!(call(alice, "two__b").await.text(), "{}", "{eras}");
        for (token, name) in [(alice, "one__his"), (bob, "one__hers"), (None, "one__hers"), (alice, "one__common")] {
            assert_eq!(call(token, name).await.code().1, -32602, "{eras}: {token:?} {name}");
        }
        // A place in one list is none in another.
        let page = ask(&client, alice, "tools/list", json!({})).await.json();
        let cursor = json!({"cursor": page["result"]["nextCursor"]});
        assert_eq!(
            ask(&client, alice, "tools/list", cursor.clone()).await.json()["result"]["tools"][0]["name"],
            "two__b"
        );
        assert_eq!(ask(&client, bob, "tools/list", cursor).await.code().1, -32602, "{eras}");
        // What the backend says has changed is read again for each of them.
        one.change(|offer| offer["callers"]["alice"] = tools(&["new"]));
        one.say("notifications/tools/list_changed", json!({}));
        until("her new list", async || (listed(&client, alice).await == ["one__new", "two__b"]).then_some(())).await;
        assert_eq!(listed(&client, bob).await, ["one__his", "two__b"], "{eras}");
        assert_eq!(listed(&client, None).await, ["one__common", "two__b"], "{eras}");
    }
}
