//! Where a virtual server is found, its backends' direct views, and the names that a configuration gives.

use lockgate_e2e::gateway::federation;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::scripted::{tool, tools};
use lockgate_e2e::{Gateway, Mcp, Scripted, Transport};
use serde_json::{Value, json};

/// Two backends, `one` in the network and `two` a command; and what else the virtual server `default` says.
async fn start(one: Value, two: Value, server: &str) -> (Scripted, Scripted, Gateway) {
    let (one, two) = (Scripted::http(one).await, Scripted::start(Transport::Stdio, two).await);
    let backends = [("one", one.backend("one", "")), ("two", two.backend("two", ""))];
    let gateway = Gateway::start(&federation(&backends, server, "")).await;
    gateway.settled().await;
    (one, two, gateway)
}

/// A client of each era.
async fn clients(gateway: &Gateway, path: &str) -> [Mcp; 2] {
    let url = gateway.url(path);
    [Mcp::legacy(&url, NEWEST_LEGACY).await, Mcp::modern(&url)]
}

async fn items(client: &Mcp, kind: &str) -> Vec<Value> {
    let answer = client.send(&format!("{kind}/list"), json!({})).await;
    answer.json()["result"][kind].as_array().unwrap_or_else(|| panic!("{kind}: {answer:?}")).clone()
}

async fn names(client: &Mcp, kind: &str) -> Vec<String> {
    items(client, kind).await.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
}

/// Each backend alone, under its own names, beside all of them under theirs.
#[tokio::test(flavor = "multi_thread")]
async fn direct_views_show_one_backend_under_its_own_names() {
    let (one, two, gateway) = start(tools(&["echo", "mine"]), tools(&["echo"]), "    direct_views: true\n").await;
    for client in clients(&gateway, "/mcp").await {
        assert_eq!(names(&client, "tools").await, ["one__echo", "one__mine", "two__echo"]);
    }
    for (name, backend, other, listed) in
        [("one", &one, &two, &["echo", "mine"][..]), ("two", &two, &one, &["echo"][..])]
    {
        for client in clients(&gateway, &format!("/mcp/{name}")).await {
            assert_eq!(names(&client, "tools").await, listed, "{name}, {}", client.revision);
            let mark = format!("{name}-{}", client.revision);
            assert_eq!(client.tool("echo", json!({"mark": mark})).await.status, 200, "{mark}");
            assert_eq!(backend.only(&mark).json()["params"]["name"], "echo");
            assert!(other.heard().iter().all(|heard| !heard.raw.contains(&mark)), "{mark}");
        }
    }
    // Each is a server of its own: a session of one is none of another.
    let [client, _] = clients(&gateway, "/mcp/one").await;
    for path in ["/mcp/two", "/mcp"] {
        let elsewhere = Mcp { url: gateway.url(path), ..client.clone() };
        assert_eq!(elsewhere.tool("echo", json!({})).await.status, 404, "{path}");
    }
    for path in ["/mcp/three", "/mcp/one/two"] {
        assert_eq!(Mcp::modern(&gateway.url(path)).tool("echo", json!({})).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_views_are_there_only_on_request() {
    let (one, _two, gateway) = start(tools(&["echo"]), tools(&["echo"]), "").await;
    let answer = Mcp::modern(&gateway.url("/mcp/one")).tool("echo", json!({"mark": "view"})).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(one.heard().iter().all(|heard| !heard.raw.contains("\"view\"")));
}

/// The new name is the whole name; the old ones are nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn renamed_items_are_found_by_their_new_names_alone() {
    let described = |name: &str| {
        let mut tool = tool(name);
        (tool["description"], tool["title"]) = (json!("Its own words"), json!("Its title"));
        tool
    };
    let offer = json!({
        "tools": [described("search"), described("read_file"), described("plain"), described("kept")],
        "prompts": [{"name": "p", "description": "Its own words"}],
    });
    let server = concat!(
        "    backends:\n      - backend: one\n        tools:\n          rename:\n            search: find_file\n",
        "            read_file: { name: open, description: \"Shows \\\"a file\\\".\" }\n            plain: { description: Otherwise. }\n",
        "        prompts: { rename: { p: greet } }\n      - two\n",
    );
    let (one, _two, gateway) = start(offer, tools(&["search"]), server).await;
    for client in clients(&gateway, "/mcp").await {
        let era = &client.revision;
        let listed = items(&client, "tools").await;
        let told = listed.iter().map(|tool| (tool["name"].clone(), tool["description"].clone(), tool["title"].clone()));
        let own = |name: &str| (json!(name), json!("Its own words"), json!("Its title"));
        let expected = [
            own("find_file"),
            (json!("open"), json!("Shows \"a file\"."), json!("Its title")),
            (json!("one__plain"), json!("Otherwise."), json!("Its title")),
            own("one__kept"),
            (json!("two__search"), Value::Null, Value::Null),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected, "{era}");
        for (name, theirs) in [("find_file", "search"), ("open", "read_file"), ("one__plain", "plain")] {
            let mark = format!("{name}-{era}");
            assert_eq!(client.tool(name, json!({"mark": mark})).await.status, 200, "{mark}");
            let heard = one.only(&mark);
            assert_eq!(heard.json()["params"]["name"], theirs, "{mark}");
            assert_eq!(heard.header("mcp-name"), client.is_modern().then_some(theirs), "{mark}");
        }
        assert_eq!(names(&client, "prompts").await, ["greet"], "{era}");
        let mark = format!("prompt-{era}");
        let answer = client.send("prompts/get", json!({"name": "greet", "arguments": {"mark": mark}})).await;
        assert_eq!(answer.json()["result"]["messages"][0]["content"]["text"], "p", "{answer:?}");
        assert_eq!(one.only(&mark).json()["params"]["name"], "p");
        for old in ["search", "one__search", "one__find_file", "read_file", "one__read_file", "one__open", "plain"] {
            let answer = client.tool(old, json!({"mark": "refused"})).await;
            assert_eq!(answer.json()["error"]["code"], -32602, "{old}, {era}: {answer:?}");
        }
        for old in ["p", "one__p", "one__greet"] {
            let answer = client.send("prompts/get", json!({"name": old, "mark": "refused"})).await;
            assert_eq!(answer.json()["error"]["code"], -32602, "{old}, {era}: {answer:?}");
        }
    }
    assert!(one.heard().iter().all(|heard| !heard.raw.contains("\"refused\"")), "what is refused goes no further");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_separator_is_the_only_one() {
    let offer = |name: &str| json!({"tools": [tool(name)], "prompts": [{"name": "p"}]});
    let (one, two, gateway) = start(offer("a-b"), offer("echo"), "    separator: \"-\"\n").await;
    for client in clients(&gateway, "/mcp").await {
        let era = &client.revision;
        assert_eq!(names(&client, "tools").await, ["one-a-b", "two-echo"], "{era}");
        assert_eq!(names(&client, "prompts").await, ["one-p", "two-p"], "{era}");
        for (name, theirs, backend) in [("one-a-b", "a-b", &one), ("two-echo", "echo", &two)] {
            let mark = format!("{name}.{era}");
            assert_eq!(client.tool(name, json!({"mark": mark})).await.status, 200, "{mark}");
            assert_eq!(backend.only(&mark).json()["params"]["name"], theirs, "{mark}");
        }
        for other in ["one__a-b", "two__echo", "one-a", "one-echo"] {
            let answer = client.tool(other, json!({})).await;
            assert_eq!(answer.json()["error"]["code"], -32602, "{other}, {era}: {answer:?}");
        }
    }
}

/// Each at `/servers/NAME/mcp`, whether it has a path of its own or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_server_is_found_by_its_name() {
    let (one, two) = (Scripted::http(tools(&["a"])).await, Scripted::http(tools(&["b"])).await);
    let backends = [("one", one.backend("one", "")), ("two", two.backend("two", ""))];
    let nowhere = "  nowhere:\n    prefix: never\n    backends: [two, one]\n";
    let gateway = Gateway::start(&federation(&backends, "", nowhere)).await;
    gateway.settled().await;
    for (path, listed) in [
        ("/mcp", ["one__a", "two__b"]),
        ("/servers/default/mcp", ["one__a", "two__b"]),
        ("/servers/nowhere/mcp", ["b", "a"]),
    ] {
        for client in clients(&gateway, path).await {
            let era = &client.revision;
            assert_eq!(names(&client, "tools").await, listed, "{path}, {era}");
            assert_eq!(client.tool(listed[0], json!({})).await.text(), "{}", "{path}, {era}");
            if !client.is_modern() {
                assert_eq!(client.listen(None).await.status, 200, "{path}");
                // By whichever of its paths, it is one server; by those of another, it is another.
                let at = |path: &str| Mcp { url: gateway.url(path), ..client.clone() };
                for (other, status) in [
                    ("/mcp", if path.contains("nowhere") { 404 } else { 200 }),
                    ("/servers/default/mcp", if path.contains("nowhere") { 404 } else { 200 }),
                    ("/servers/nowhere/mcp", if path.contains("nowhere") { 200 } else { 404 }),
                ] {
                    assert_eq!(at(other).send("tools/list", json!({})).await.status, status, "{path}, {other}");
                }
                assert!(matches!(client.delete().await.status, 200 | 204), "{path}");
            }
        }
    }
    for path in ["/servers/other/mcp", "/servers/default", "/servers//mcp", "/nowhere"] {
        assert_eq!(Mcp::modern(&gateway.url(path)).send("tools/list", json!({})).await.status, 404, "{path}");
    }
}
