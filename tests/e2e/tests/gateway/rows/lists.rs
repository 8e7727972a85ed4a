//! Lists and their cursors.

use super::{config, listed, pair};
use lockgate_e2e::gateway::federation;
use lockgate_e2e::scripted::{tool, tools};
use lockgate_e2e::{Gateway, Mcp, Scripted, Transport};
use serde_json::{Value, json};

#[tokio::test]
async fn items_come_in_the_order_of_the_configuration_with_prefixes() {
    let one = json!({
        "tools": [tool("b"), tool("a")],
        "prompts": [{"name": "p"}],
        "resources": [{"uri": "note:x", "name": "x"}, {"uri": "https://example.com/x", "name": "w"}, {"uri": "ui://app/x", "name": "u"}],
        "templates": [{"uriTemplate": "note:{id}", "name": "t"}],
    });
    let two = json!({"tools": [tool("a")], "prompts": [{"name": "p"}], "resources": [{"uri": "note:x", "name": "x"}]});
    let pair = pair(one, two, "").await;
    for client in pair.clients().await {
        assert_eq!(listed(&client, "tools").await, ["one__b", "one__a", "two__a"]);
        assert_eq!(listed(&client, "prompts").await, ["one__p", "two__p"]);
        let resources = ["one+note:x", "https://example.com/x", "ui://one+app/x", "two+note:x"];
        assert_eq!(listed(&client, "resources").await, resources);
        assert_eq!(listed(&client, "templates").await, ["one+note:{id}"]);
    }
}

/// Nothing of an item changes but its name.
#[tokio::test]
async fn items_keep_everything_that_is_not_their_name() {
    let whole = json!({
        "name": "a",
        "title": "A title",
        "description": "What it does, \u{fc}nicode \"quoted\"",
        "inputSchema": {"type": "object", "properties": {"n": {"type": "number", "maximum": 1e300}}, "$defs": {}},
        "outputSchema": {"type": "array", "items": {"type": "integer"}},
        "annotations": {"readOnlyHint": true, "x-unknown": [1, 2.50, null]},
        "icons": [{"src": "data:image/png;base64,AAAA", "sizes": ["48x48"]}],
        "_meta": {"com.example/key": {"deep": true}},
        "execution": {"taskSupport": "optional"},
        "aMemberOfTheFuture": 0,
    });
    let pair = pair(json!({"tools": [whole.clone()]}), tools(&["b"]), "").await;
    for client in pair.clients().await {
        let answer = client.send("tools/list", json!({})).await;
        let mut got = answer.json()["result"]["tools"][0].clone();
        assert_eq!(got["name"], "one__a");
        got["name"] = json!("a");
        assert_eq!(got, whole);
    }
}

#[tokio::test]
async fn lists_are_kept_no_longer_and_no_wider_than_any_backend_allows() {
    let with = |name: &str, ttl: u64, scope: &str| {
        let mut offer = tools(&[name]);
        (offer["ttlMs"], offer["cacheScope"]) = (json!(ttl), json!(scope));
        offer
    };
    for (scope, expected) in [("public", "public"), ("private", "private")] {
        let pair = pair(with("a", 30_000, scope), with("b", 200_000, "public"), "").await;
        let result = pair.modern().send("tools/list", json!({})).await.json()["result"].clone();
        assert_eq!((&result["resultType"], &result["cacheScope"]), (&json!("complete"), &json!(expected)), "{result}");
        assert!((1..=30_000).contains(&result["ttlMs"].as_i64().unwrap()), "{result}");
        // The legacy era knows nothing of this.
        let result = pair.legacy().await.send("tools/list", json!({})).await.json()["result"].clone();
        assert!(result.get("resultType").is_none(), "{result}");
    }
}

/// Each page may be kept as long as the list, by the same.
#[tokio::test(flavor = "multi_thread")]
async fn hints_are_on_every_page() {
    let with = |names: &[&str], ttl: u64, scope: &str| {
        let mut offer = tools(names);
        (offer["ttlMs"], offer["cacheScope"]) = (json!(ttl), json!(scope));
        offer
    };
    let one = Scripted::http(with(&["a", "b"], 200_000, "public")).await;
    for scope in ["public", "private"] {
        let two = Scripted::start(Transport::Stdio, with(&["c"], 30_000, scope)).await;
        let backends = [("one", one.backend("one", "")), ("two", two.backend("two", ""))];
        let gateway = Gateway::start(&federation(&backends, "    page_size: 1\n", "")).await;
        gateway.settled().await;
        for client in [Mcp::modern(&gateway.mcp()), Mcp::legacy(&gateway.mcp(), "2025-11-25").await] {
            let mut params = json!({});
            for number in 1..=3 {
                let result = client.send("tools/list", params).await.json()["result"].clone();
                assert_eq!(result["nextCursor"].is_string(), number < 3, "{result}");
                params = json!({"cursor": result["nextCursor"]});
                if client.is_modern() {
                    assert_eq!((&result["resultType"], &result["cacheScope"]), (&json!("complete"), &json!(scope)));
                    assert!((1..=30_000).contains(&result["ttlMs"].as_i64().unwrap()), "page {number}: {result}");
                } else {
                    let hints = ["resultType", "cacheScope", "ttlMs"].map(|hint| result.get(hint));
                    assert_eq!(hints, [None; 3], "page {number}: {result}");
                }
            }
        }
    }
}

#[tokio::test]
async fn pages_of_all_backends_make_one_list() {
    let mut one = tools(&["a", "b", "c", "d", "e"]);
    one["page"] = json!(2);
    let pair = pair(one, tools(&["f", "g"]), "    page_size: 3\n").await;
    for client in pair.clients().await {
        let (mut names, mut sizes, mut params) = (Vec::new(), Vec::new(), json!({}));
        loop {
            let result = client.send("tools/list", params).await.json()["result"].clone();
            let page = result["tools"].as_array().expect("a page").clone();
            sizes.push(page.len());
            names.extend(page.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
            match result["nextCursor"].as_str() {
                Some(cursor) => params = json!({"cursor": cursor}),
                None => break,
            }
        }
        assert_eq!(sizes, [3, 3, 1]);
        assert_eq!(names, ["one__a", "one__b", "one__c", "one__d", "one__e", "two__f", "two__g"]);
    }
}

#[tokio::test]
async fn only_cursors_that_were_given_out_for_this_list_here_are_taken() {
    let offer = |names: &[&str]| {
        let mut offer = tools(names);
        offer["prompts"] = json!([{"name": "p"}, {"name": "q"}]);
        offer
    };
    let (one, two) = (Scripted::http(offer(&["a", "b"])).await, Scripted::http(offer(&["c"])).await);
    let other = "  other:\n    path: /other\n    page_size: 1\n    backends: [one, two]\n";
    let gateway = Gateway::start(&config(&one, &two, "    page_size: 1\n", other)).await;
    gateway.settled().await;
    let clients = |path: &str| {
        let url = gateway.url(path);
        async move { [Mcp::legacy(&url, "2025-11-25").await, Mcp::modern(&url)] }
    };
    for (here, there) in clients("/mcp").await.into_iter().zip(clients("/other").await) {
        let cursor = async |client: &Mcp, method: &str| {
            client.send(method, json!({})).await.json()["result"]["nextCursor"].clone()
        };
        let good = cursor(&here, "tools/list").await;
        assert_eq!(here.send("tools/list", json!({"cursor": good})).await.code(), (200, 0));
        let elsewhere = cursor(&there, "tools/list").await;
        let otherwise = cursor(&here, "prompts/list").await;
        let cut: Value = good.as_str().unwrap().split_at(20).0.into();
        for bad in [json!(""), json!("1"), json!(7), elsewhere, otherwise, cut] {
            let answer = here.send("tools/list", json!({"cursor": bad})).await;
            assert_eq!(answer.json()["error"]["code"], -32602, "{bad}: {answer:?}");
        }
    }
}
