//! URIs: mapped outward wherever they occur, and back.

use super::pair;
use lockgate_e2e::mcp::mirror;
use lockgate_e2e::scripted::{tool, tools};
use lockgate_e2e::{Answer, Mcp, Scripted};
use serde_json::{Value, json};

/// What of a result says where a resource is.
fn offer() -> Value {
    let link = |uri: &str| json!({"type": "resource_link", "uri": uri, "name": "l"});
    let embedded = |uri: &str| json!({"type": "resource", "resource": {"uri": uri, "text": "t"}});
    let meta = json!({"ui": {"resourceUri": "ui://app/main"}, "ui/resourceUri": "ui://app/old", "openai/outputTemplate": "ui://app/tpl"});
    json!({
        "tools": [{"name": "given", "inputSchema": {"type": "object"}, "_meta": meta}],
        "prompts": [{"name": "p"}],
        "resources": [{"uri": "note:a b", "name": "n"}, {"uri": "https://example.com/x", "name": "w"}, {"uri": "ui://app/main", "name": "u"}],
        "templates": [{"uriTemplate": "file:///{path}", "name": "t"}],
        "capabilities": {"completions": {}, "resources": {"subscribe": true}},
        "results": {
            "given": {"content": [link("note:a b"), embedded("ui://app/main"), link("https://example.com/x"), {"type": "text", "text": "note:a b"}], "_meta": meta},
            "p": {"messages": [{"role": "user", "content": embedded("note:a b")}, {"role": "user", "content": link("file:///x")}]},
        },
    })
}

#[tokio::test]
async fn resources_are_read_by_the_uris_that_are_listed() {
    let pair = pair(offer(), offer(), "").await;
    for client in pair.clients().await {
        for (number, (ours, theirs)) in [
            ("two+note:a b", "note:a b"),
            ("ui://two+app/main", "ui://app/main"),
            ("two+file:///some/where", "file:///some/where"),
            ("two+opaque", "opaque"),
        ]
        .into_iter()
        .enumerate()
        {
            let mark = format!("read-{}-{number}", client.revision);
            let answer = client.send("resources/read", json!({"uri": ours, "mark": mark})).await;
            let contents = &answer.json()["result"]["contents"][0];
            assert_eq!((&contents["uri"], &contents["text"]), (&json!(ours), &json!(theirs)), "{answer:?}");
            let heard = pair.two.only(&mark);
            assert_eq!(heard.json()["params"]["uri"], theirs);
            if client.is_modern() {
                assert_eq!(heard.header("mcp-name"), Some(theirs));
            }
        }
        // Of an address on the web nothing says whose it is; the first that lists it is asked.
        let answer = client.send("resources/read", json!({"uri": "https://example.com/x"})).await;
        assert_eq!(answer.json()["result"]["contents"][0]["uri"], "https://example.com/x", "{answer:?}");
        let code = if client.is_modern() { -32602 } else { -32002 };
        for unknown in ["note:a b", "three+note:x", "https://example.com/unknown", ""] {
            let answer = client.send("resources/read", json!({"uri": unknown})).await;
            assert_eq!(answer.json()["error"]["code"], code, "{unknown}: {answer:?}");
        }
    }
}

/// A URI that no header can hold is written in base64 there, on both hops each its own.
#[tokio::test]
async fn the_uri_in_the_header_is_rewritten_with_that_in_the_body() {
    let mut two = offer();
    two["resources"] = json!([{"uri": "note:gr\u{fc}\u{df}e", "name": "n"}, {"uri": "note:x", "name": "x"}]);
    let pair = pair(tools(&["other"]), two, "").await;
    let client = pair.modern();
    for (ours, theirs) in [
        ("two+note:gr\u{fc}\u{df}e", "note:gr\u{fc}\u{df}e"),
        ("two+file:///k\u{f6}ln", "file:///k\u{f6}ln"),
        ("two+note:x", "note:x"),
    ] {
        let answer = client.send("resources/read", json!({"uri": ours, "mark": ours})).await;
        assert_eq!(answer.json()["result"]["contents"][0]["uri"], ours, "{answer:?}");
        let heard = pair.two.only(&format!("\"mark\":\"{ours}\""));
        assert_eq!(heard.json()["params"]["uri"], theirs);
        assert_eq!(heard.header("mcp-name"), Some(&*mirror(theirs)), "{heard:?}");
    }
    assert_eq!(mirror("note:gr\u{fc}\u{df}e"), "=?base64?bm90ZTpncsO8w59l?=");
    // What the client says in the header is compared before it is replaced.
    let body = client.body("resources/read", json!({"uri": "two+note:gr\u{fc}\u{df}e", "mark": "refused"}));
    for other in ["note:gr\u{fc}\u{df}e", "two+note:x"].map(mirror).into_iter().chain(["=?base64?bm90?".to_owned()]) {
        let mut request = client.post(&body).build().unwrap();
        request.headers_mut().insert("mcp-name", other.parse().unwrap());
        let answer = Answer::read(client.http.execute(request).await.unwrap()).await;
        assert_eq!(answer.code(), (400, -32020), "{other}: {answer:?}");
    }
    assert!(pair.two.heard().iter().all(|heard| !heard.raw.contains("\"refused\"")));
}

#[tokio::test]
async fn uris_in_answers_are_those_that_can_be_read() {
    let pair = pair(tools(&["other"]), offer(), "").await;
    let meta = json!({"ui": {"resourceUri": "ui://two+app/main"}, "ui/resourceUri": "ui://two+app/old", "openai/outputTemplate": "ui://two+app/tpl"});
    for client in pair.clients().await {
        let listed = client.send("tools/list", json!({})).await.json()["result"]["tools"][1].clone();
        assert_eq!(listed["_meta"], meta);
        let result = client.tool("two__given", json!({})).await.json()["result"].clone();
        let content = &result["content"];
        assert_eq!(content[0]["uri"], "two+note:a b");
        assert_eq!(content[1]["resource"]["uri"], "ui://two+app/main");
        assert_eq!(content[2]["uri"], "https://example.com/x");
        assert_eq!(content[3]["text"], "note:a b", "a text is a text");
        assert_eq!(result["_meta"], meta);
        let result = client.send("prompts/get", json!({"name": "two__p"})).await.json()["result"].clone();
        assert_eq!(result["messages"][0]["content"]["resource"]["uri"], "two+note:a b");
        assert_eq!(result["messages"][1]["content"]["uri"], "two+file:///x");
    }
}

#[tokio::test]
async fn completions_go_to_whom_the_reference_names() {
    let mut plain = json!({"tools": [tool("x")], "prompts": [{"name": "p"}]});
    plain["capabilities"] = json!({});
    let pair = pair(plain, offer(), "").await;
    let complete = async |client: &Mcp, reference: Value| {
        let argument = json!({"name": "a", "value": "v"});
        client.send("completion/complete", json!({"ref": reference, "argument": argument})).await
    };
    for client in pair.clients().await {
        for (reference, theirs) in [
            (json!({"type": "ref/prompt", "name": "two__p"}), "p"),
            (json!({"type": "ref/resource", "uri": "two+file:///{path}"}), "file:///{path}"),
            (json!({"type": "ref/resource", "uri": "two+note:a b"}), "note:a b"),
        ] {
            let answer = complete(&client, reference).await;
            assert_eq!(answer.json()["result"]["completion"]["values"], json!([theirs]), "{answer:?}");
        }
        // A backend without completions is not asked.
        let answer = complete(&client, json!({"type": "ref/prompt", "name": "one__p"})).await;
        assert_eq!(answer.json()["result"]["completion"]["values"], json!([]), "{answer:?}");
        let answer = complete(&client, json!({"type": "ref/prompt", "name": "p"})).await;
        assert_eq!(answer.json()["error"]["code"], -32602, "{answer:?}");
    }
    assert!(pair.one.heard_of("completion/complete").is_empty());
}

#[tokio::test]
async fn updates_name_the_uri_that_was_subscribed_to() {
    let mut pair = pair(offer(), offer(), "").await;
    let uri = "two+note:a b";
    let legacy = pair.legacy().await;
    let mut stream = legacy.listen(None).await;
    assert_eq!(legacy.send("resources/subscribe", json!({"uri": uri})).await.code(), (200, 0));
    let heard = pair.two.heard_of("resources/subscribe");
    assert_eq!((heard.len(), &heard[0].json()["params"]["uri"]), (1, &json!("note:a b")));
    let modern = pair.modern();
    let wanted = json!({"notifications": {"resourceSubscriptions": [uri, "one+note:a b"]}});
    let body = modern.body("subscriptions/listen", wanted);
    let response = modern.post(&body).send().await.unwrap();
    let mut listening = lockgate_e2e::events::Events::new(response);
    listening.notification("notifications/subscriptions/acknowledged").await;
    lockgate_e2e::until("the backends' streams", async || {
        let listens = |backend: &Scripted| {
            backend.heard_of("subscriptions/listen").iter().any(|heard| heard.raw.contains("\"note:a b\""))
        };
        let gets = pair.two.heard().iter().any(|heard| heard.method == "GET");
        (gets && listens(&pair.one) && listens(&pair.two)).then_some(())
    })
    .await;
    pair.two.say("notifications/resources/updated", json!({"uri": "note:a b"}));
    let update = stream.notification("notifications/resources/updated").await;
    assert_eq!(update["params"]["uri"], uri);
    let update = listening.notification("notifications/resources/updated").await;
    assert_eq!(update["params"]["uri"], uri);
    assert_eq!(update["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], body["id"]);
    // The same resource of the other backend is another resource.
    pair.one.say("notifications/resources/updated", json!({"uri": "note:a b"}));
    let update = listening.notification("notifications/resources/updated").await;
    assert_eq!(update["params"]["uri"], "one+note:a b");
    assert_eq!(legacy.send("resources/unsubscribe", json!({"uri": uri})).await.code(), (200, 0));
    assert_eq!(pair.two.heard_of("resources/unsubscribe")[0].json()["params"]["uri"], "note:a b");
    assert_eq!(pair.one.heard_of("resources/subscribe").len(), 0);
    let bad = Answer::read(
        legacy.post(&legacy.body("resources/subscribe", json!({"uri": "note:a b"}))).send().await.unwrap(),
    )
    .await;
    assert_eq!(bad.json()["error"]["code"], -32002, "{bad:?}");
}

/// What a backend wants to be asked for again (2025-11-25) is its answer all the same.
#[tokio::test]
async fn uris_in_answers_that_are_taken_up_again_are_those_that_can_be_read() {
    let mut polling = offer();
    polling["eras"] = json!("legacy");
    polling["polled"] = json!(["prompts/get", "resources/read", "tools/call"]);
    let pair = pair(tools(&["other"]), polling, "").await;
    let client = pair.legacy().await;
    let result = async |method: &str, params: Value| {
        let mut polled = client.stream(method, params).await;
        while polled.next().await.is_some() {}
        let last = polled.last_id.clone().expect("an id to go on behind");
        client.listen(Some(&last)).await.answer().await.1["result"].clone()
    };
    let prompt = result("prompts/get", json!({"name": "two__p"})).await;
    assert_eq!(prompt["messages"][0]["content"]["resource"]["uri"], "two+note:a b", "{prompt}");
    let read = result("resources/read", json!({"uri": "two+note:a b"})).await;
    assert_eq!(read["contents"][0]["uri"], "two+note:a b", "{read}");
    let called = result("tools/call", json!({"name": "two__given", "arguments": {}})).await;
    assert_eq!(called["content"][0]["uri"], "two+note:a b", "{called}");
}
