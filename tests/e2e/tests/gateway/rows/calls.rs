//! Calls: what reaches the backend is what the client sent, but for the name.

use super::pair;
use lockgate_e2e::gateway::federation;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::scripted::{tool, tools};
use lockgate_e2e::{Answer, Gateway, Mcp, Scripted, Transport};
use serde_json::{Value, json};

/// Sends these very bytes.
async fn raw(client: &Mcp, body: String, name: Option<&str>) -> Answer {
    let parsed: Value = serde_json::from_str(&body).expect("JSON");
    let mut request = client.post(&parsed);
    if let Some(name) = name {
        request = request.header("mcp-name", name);
    }
    Answer::read(request.body(body).send().await.expect("an answer")).await
}

fn modern_meta() -> &'static str {
    r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#
}

#[tokio::test]
async fn absent_arguments_stay_absent() {
    let pair = pair(tools(&["echo"]), tools(&["echo"]), "").await;
    for client in pair.clients().await {
        let answer = client.send("tools/call", json!({"name": "two__echo"})).await;
        assert_eq!(answer.text(), "absent");
        assert_eq!(client.tool("two__echo", json!({})).await.text(), "{}");
    }
    for call in pair.two.heard_of("tools/call") {
        assert_eq!(call.json()["params"]["name"], "echo");
    }
    assert!(pair.one.heard_of("tools/call").is_empty(), "the other backend hears nothing of it");
}

/// The client's own bytes go on: odd spacing, numbers, escapes, members that nobody knows.
#[tokio::test]
async fn what_nobody_must_read_is_passed_on_to_the_byte() {
    let pair = pair(tools(&["echo"]), tools(&["other"]), "").await;
    for (number, client) in pair.clients().await.into_iter().enumerate() {
        let meta = if client.is_modern() { format!("{},", modern_meta()) } else { String::new() };
        let of = |name: &str| {
            format!(
                "{{ \"future\" : [1.0e+2, \"\\u00fc\\/\"],\n\"jsonrpc\":\"2.0\", \"id\":\"mark-{number}\", \"method\":\"tools/call\",\
                 \"params\":{{\"unknown\":{{\"b\":1,\"a\":2}}, \"_meta\":{{{meta} \"com.example/x\":  null}},\
                 \"name\" : \"{name}\" ,\"arguments\":{{\"big\":12345678901234567890123,\"zero\":-0.0}}}} }}"
            )
        };
        let answer = raw(&client, of("one__echo"), None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let heard = pair.one.only(&format!("mark-{number}"));
        assert_eq!(heard.raw, of("echo"));
        assert_eq!(answer.json()["id"], format!("mark-{number}"));
    }
}

#[tokio::test]
async fn arguments_of_prompts_are_passed_on_to_the_byte() {
    let mut one = tools(&["other"]);
    one["prompts"] = json!([{"name": "p"}]);
    let pair = pair(one, tools(&["other"]), "").await;
    for (number, client) in pair.clients().await.into_iter().enumerate() {
        let meta = if client.is_modern() { format!(", \"_meta\":{{{}}}", modern_meta()) } else { String::new() };
        for (what, arguments) in
            ["\"arguments\" : { \"b\":\"\\u00fc\\/ \",\n\"a\" :\"\", \"a b\":\" 1.0e+2\" } ,", "\"arguments\":{},", ""]
                .into_iter()
                .enumerate()
        {
            let mark = format!("prompt-{number}-{what}");
            let of = |name: &str| {
                format!(
                    "{{\"jsonrpc\":\"2.0\", \"id\":\"{mark}\", \"method\":\"prompts/get\",\
                     \"params\":{{ {arguments} \"name\" : \"{name}\"{meta}}} }}"
                )
            };
            let answer = raw(&client, of("one__p"), None).await;
            assert_eq!(answer.json()["result"]["messages"][0]["content"]["text"], "p", "{answer:?}");
            assert_eq!(pair.one.only(&mark).raw, of("p"));
        }
    }
}

/// What a client says in its messages of the trace that they belong to, its backend is told, by whatever transport.
#[tokio::test(flavor = "multi_thread")]
async fn trace_context_in_messages_is_passed_on() {
    let trace = concat!(
        "\"traceparent\" : \"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\",",
        " \"tracestate\":\"rojo=00f067aa0ba902b7,\\u0063ongo=t61rcWkgMzE\", \"baggage\": \"userId=alice,a=%20b;c=d\"",
    );
    for transport in [Transport::Http, Transport::Stdio, Transport::Sse] {
        for era in ["legacy", "modern"] {
            if (transport, era) == (Transport::Sse, "modern") {
                continue;
            }
            let mut offer = json!({"tools": [tool("echo")], "resources": [{"uri": "note:x", "name": "x"}]});
            offer["eras"] = json!(era);
            let one = Scripted::start(transport, offer).await;
            let server = "    prefix: always\n";
            let gateway = Gateway::start(&federation(&[("one", one.backend("one", ""))], server, "")).await;
            gateway.settled().await;
            let (client, meta) = match era {
                "modern" => (Mcp::modern(&gateway.mcp()), format!("{},", modern_meta())),
                _ => (Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await, String::new()),
            };
            for (method, named) in
                [("tools/call", "\"name\":\"one__echo\""), ("resources/read", "\"uri\":\"one+note:x\"")]
            {
                let body = format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\
                     \"params\":{{{named},\"_meta\":{{{meta}{trace}}}}}}}"
                );
                let answer = raw(&client, body, None).await;
                assert_eq!(answer.code(), (200, 0), "{transport:?}, {era}: {answer:?}");
                let heard = one.heard_of(method).pop().expect("the request");
                assert!(heard.raw.contains(trace), "{transport:?}, {era}: {}", heard.raw);
            }
        }
    }
}

#[tokio::test]
async fn what_nobody_must_read_of_an_answer_comes_back() {
    let result = json!({
        "content": [{"type": "text", "text": "t", "annotations": {"audience": ["user"], "x": 1}, "_meta": {"com.example/a": 1}}],
        "structuredContent": [1, {"deep": [null, 2.5]}],
        "isError": false,
        "_meta": {"com.example/b": {"c": [true]}},
        "aMemberOfTheFuture": {"x": "y"},
    });
    let mut one = tools(&["given"]);
    one["results"] = json!({"given": result, "p": {"messages": [], "future": 1, "_meta": {"com.example/d": 2}}});
    one["prompts"] = json!([{"name": "p"}]);
    let pair = pair(one, tools(&["other"]), "").await;
    for client in pair.clients().await {
        let mut got = client.tool("one__given", json!({})).await.json()["result"].clone();
        got.as_object_mut().unwrap().remove("resultType");
        assert_eq!(got, result);
        let got = client.send("prompts/get", json!({"name": "one__p"})).await.json()["result"].clone();
        assert_eq!((&got["future"], &got["_meta"]["com.example/d"]), (&json!(1), &json!(2)), "{got}");
    }
}

#[tokio::test]
async fn ids_come_back_as_they_were() {
    let pair = pair(tools(&["echo"]), tools(&["echo"]), "").await;
    for client in pair.clients().await {
        for (number, id) in
            ["0", "-7", "9007199254740993", "\"\"", "\"a\\u0000\\\"b\"", "\"0\""].into_iter().enumerate()
        {
            let mark = format!("{}-{number}", client.revision);
            let meta = if client.is_modern() { format!(",\"_meta\":{{{}}}", modern_meta()) } else { String::new() };
            let body = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"one__echo\",\"arguments\":{{\"mark\":\"{mark}\"}}{meta}}}}}"
            );
            let answer = raw(&client, body, None).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(answer.json()["id"], serde_json::from_str::<Value>(id).unwrap(), "{text}");
            assert!(!answer.json()["result"].is_null(), "{id}: {text}");
            // Of the same type at the backend; on one session of one client there is nothing that it could clash with.
            let heard = pair.one.only(&format!("\"{mark}\""));
            assert_eq!(heard.json()["id"].is_string(), id.starts_with('"'), "{}", heard.raw);
        }
        // What the gateway answers itself, too.
        for id in [json!(0), json!(-1), json!("x")] {
            let mut body = client.body("tools/list", json!({}));
            body["id"] = id.clone();
            let answer = Answer::read(client.post(&body).send().await.unwrap()).await;
            assert_eq!(answer.json()["id"], id);
        }
    }
}

#[tokio::test]
async fn the_name_in_the_header_is_rewritten_with_that_in_the_body() {
    let one = json!({"tools": [tool("plain"), tool("grüße aus köln")], "prompts": [{"name": " p"}]});
    let pair = pair(one, tools(&["plain"]), "").await;
    let client = pair.modern();
    let names = super::listed(&client, "tools").await;
    let odd = names.iter().find(|name| name.contains("gr")).expect("the sanitised tool").clone();
    let legal =
        |name: &str| name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    assert!(legal(&odd) && odd.starts_with("one__gr"), "{odd}");
    for (number, (name, theirs)) in
        [("one__plain", "plain"), (&*odd, "=?base64?Z3LDvMOfZSBhdXMga8O2bG4=?=")].into_iter().enumerate()
    {
        let answer = client.tool(name, json!({"mark": format!("name-{number}")})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let heard = pair.one.only(&format!("name-{number}"));
        assert_eq!((heard.header("mcp-name"), heard.header("mcp-method")), (Some(theirs), Some("tools/call")));
    }
    let prompt = super::listed(&client, "prompts").await.remove(0);
    assert_eq!(client.send("prompts/get", json!({"name": prompt, "arguments": {"mark": "prompt"}})).await.status, 200);
    assert_eq!(pair.one.only("\"mark\":\"prompt\"").header("mcp-name"), Some("=?base64?IHA=?="));
    // What the client says in the header is compared before it is replaced.
    let body = client.body("tools/call", json!({"name": "one__plain", "arguments": {}}));
    let mut request = client.post(&body).build().unwrap();
    request.headers_mut().insert("mcp-name", "plain".parse().unwrap());
    let answer = Answer::read(client.http.execute(request).await.unwrap()).await;
    assert_eq!(answer.code(), (400, -32020), "{answer:?}");
}

/// Two backends have a tool of one name that mirrors different arguments: each is held to its own schema.
#[tokio::test]
async fn mirrored_arguments_are_checked_with_the_schema_of_the_right_backend() {
    let mirrored = |argument: &str, header: &str| {
        let properties = json!({argument: {"type": "string", "x-mcp-header": header}});
        json!({"tools": [{"name": "find", "inputSchema": {"type": "object", "properties": properties}}]})
    };
    let pair = pair(mirrored("region", "Region"), mirrored("city", "City"), "").await;
    let client = pair.modern();
    let call = async |tool: &str, arguments: Value, headers: &[(&str, &str)]| {
        let body = client.body("tools/call", json!({"name": tool, "arguments": arguments}));
        let mut request = client.post(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(request.send().await.unwrap()).await
    };
    let both = json!({"region": "eu", "city": "Paris"});
    let (region, city) = (("mcp-param-region", "eu"), ("mcp-param-city", "Paris"));
    assert_eq!(call("one__find", both.clone(), &[region, ("mcp-param-other", "kept")]).await.code(), (200, 0));
    assert_eq!(call("two__find", both.clone(), &[city]).await.code(), (200, 0));
    assert_eq!(call("one__find", both.clone(), &[city]).await.code(), (400, -32020));
    assert_eq!(call("two__find", both.clone(), &[region]).await.code(), (400, -32020));
    assert_eq!(call("one__find", both, &[("mcp-param-region", "us")]).await.code(), (400, -32020));
    let heard = pair.one.heard_of("tools/call");
    assert_eq!(heard.len(), 1, "what is refused goes no further");
    assert_eq!((heard[0].header("mcp-param-region"), heard[0].header("mcp-param-other")), (Some("eu"), Some("kept")));
}

#[tokio::test]
async fn headers_of_the_hop_are_the_gateways() {
    let pair = pair(tools(&["echo"]), tools(&["other"]), "").await;
    for client in pair.clients().await {
        let mark = format!("mark-{}", client.revision);
        let body = client.body("tools/call", json!({"name": "one__echo", "arguments": {"mark": mark}}));
        let origin = pair.gateway.url("");
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let request = client.post(&body).header("origin", &origin).header("traceparent", trace);
        let request = request.header("authorization", "Bearer secret").header("cookie", "secret=1");
        assert_eq!(Answer::read(request.send().await.unwrap()).await.status, 200);
        let heard = pair.one.only(&mark);
        assert_ne!(heard.header("host"), Some(&*pair.gateway.address()));
        assert_eq!((heard.header("origin"), heard.header("authorization"), heard.header("cookie")), (None, None, None));
        assert!(heard.header("traceparent").is_some_and(|value| value.contains("0af7651916cd43dd8448eb211c80319c")));
        assert!(heard.header("accept").is_some_and(|accept| accept.contains("text/event-stream")));
        assert_eq!(heard.header("mcp-protocol-version"), Some(&*client.revision));
    }
}

#[tokio::test]
async fn a_modern_call_has_no_session() {
    let pair = pair(tools(&["echo"]), tools(&["other"]), "").await;
    let client = pair.modern();
    let body = client.body("tools/call", json!({"name": "one__echo", "arguments": {"mark": "no-session"}}));
    let answer = Answer::read(client.post(&body).header("mcp-session-id", "made-up").send().await.unwrap()).await;
    assert_eq!((answer.status, answer.header("mcp-session-id")), (200, None), "{answer:?}");
    assert_eq!(pair.one.only("no-session").header("mcp-session-id"), None);
}

#[tokio::test]
async fn unknown_names_are_refused_here() {
    let pair = pair(tools(&["echo"]), tools(&["other"]), "").await;
    for client in pair.clients().await {
        for name in ["echo", "one__nothing", "two__echo", "one_echo", "three__x", ""] {
            let answer = client.tool(name, json!({})).await;
            assert_eq!(answer.json()["error"]["code"], -32602, "{name}: {answer:?}");
        }
        let answer = client.send("no/such", json!({})).await;
        assert_eq!(answer.json()["error"]["code"], -32601, "{answer:?}");
    }
    assert!(pair.one.heard_of("tools/call").is_empty() && pair.two.heard_of("tools/call").is_empty());
}
