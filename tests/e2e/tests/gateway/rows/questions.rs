//! What backends ask of the client, and `ping`.

use super::pair;
use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::federation;
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Answer, Gateway, Mcp};
use serde_json::{Value, json};

const ASKING: [&str; 4] = ["ask", "sample", "roots", "ping"];

async fn call(client: &Mcp, tool: &str, arguments: Value) -> Events {
    client.stream("tools/call", json!({"name": tool, "arguments": arguments})).await
}

async fn reply(client: &Mcp, question: &Value, result: Value) -> u16 {
    let body = json!({"jsonrpc": "2.0", "id": question["id"], "result": result});
    client.post(&body).send().await.expect("an answer").status().as_u16()
}

fn named(name: &str) -> Value {
    json!({"action": "accept", "content": {"name": name}})
}

async fn text(stream: &mut Events) -> String {
    stream.answer().await.1["result"]["content"][0]["text"].as_str().unwrap_or("(none)").to_owned()
}

/// Who takes no stream cannot be asked, and says so at once; `ping` is nobody's but the gateway's.
#[tokio::test]
async fn a_backend_that_nobody_hears_is_answered_all_the_same() {
    let pair = pair(tools(&ASKING), tools(&ASKING), "").await;
    let alone = Gateway::start(&federation(&[("one", pair.one.backend("one", ""))], "", "")).await;
    for (gateway, prefix) in [(&pair.gateway, "one__"), (&alone, "")] {
        let client = Mcp::legacy(&gateway.mcp(), "2025-03-26").await;
        let calls: Vec<_> = [("ping", "pong"), ("sample", "(no answer)")]
            .map(|(tool, text)| {
                let params = json!({"name": format!("{prefix}{tool}"), "arguments": {"id": tool}});
                (client.body("tools/call", params), text)
            })
            .to_vec();
        let batch = Value::Array(calls.iter().map(|(call, _)| call.clone()).collect());
        let send = async |body: &Value| {
            let mut request = client.post(body).build().expect("a request");
            request.headers_mut().insert("accept", "application/json".parse().expect("a form"));
            Answer::read(client.http.execute(request).await.expect("an answer")).await
        };
        for (call, text) in &calls {
            assert_eq!(send(call).await.text(), *text, "{call}");
        }
        let answers = send(&batch).await.json();
        let text = |id: &Value| {
            let answers = answers.as_array().into_iter().flatten();
            let mut answers = answers.filter(|answer| answer["id"] == *id);
            answers.next().map(|answer| answer["result"]["content"][0]["text"].clone())
        };
        for (call, expected) in &calls {
            assert_eq!(text(&call["id"]), Some(json!(expected)), "{answers}");
        }
    }
}

/// Both backends ask at the same time, under the same id, whatever that is.
#[tokio::test]
async fn questions_of_two_backends_do_not_mix() {
    let pair = pair(tools(&ASKING), tools(&ASKING), "").await;
    let client = pair.legacy().await;
    for id in [json!(0), json!(-5), json!("x"), json!("0"), json!(""), json!(9_007_199_254_740_993_i64)] {
        let arguments = json!({"id": id});
        let mut one = call(&client, "one__ask", arguments.clone()).await;
        let mut two = call(&client, "two__ask", arguments).await;
        let asked = [one.notification("elicitation/create").await, two.notification("elicitation/create").await];
        assert_ne!(asked[0]["id"], asked[1]["id"]);
        assert!(asked.iter().all(|asked| asked["id"] != id), "{asked:?}");
        assert_eq!(asked[0]["params"]["message"], "What is your name?");
        // The second is answered first.
        assert_eq!(reply(&client, &asked[1], named("Two")).await, 202);
        assert_eq!(text(&mut two).await, "Two", "{id}");
        assert_eq!(reply(&client, &asked[0], named("One")).await, 202);
        assert_eq!(text(&mut one).await, "One", "{id}");
        for backend in [&pair.one, &pair.two] {
            let replies: Vec<_> =
                backend.heard().into_iter().filter(|heard| heard.raw.contains("\"accept\"")).collect();
            assert_eq!(replies.last().expect("a reply").json()["id"], id, "the id that it asked with");
        }
    }
}

/// Two calls of one session are open at one backend, and each asks: on its own stream, and on no other.
#[tokio::test]
async fn a_question_comes_on_the_stream_of_the_call_that_caused_it() {
    let mut pair = pair(tools(&ASKING), tools(&["other"]), "").await;
    let client = pair.legacy().await;
    let mut listening = client.listen(None).await;
    let mut streams = Vec::new();
    for name in ["first", "second", "third"] {
        let arguments = json!({"id": name, "message": name});
        streams.push((name, call(&client, "one__ask", arguments).await));
    }
    let mut questions = Vec::new();
    for (name, stream) in &mut streams {
        let asked = stream.notification("elicitation/create").await;
        assert_eq!(asked["params"]["message"], *name);
        questions.push(asked);
    }
    for ((name, stream), asked) in streams.iter_mut().zip(&questions).rev() {
        assert_eq!(reply(&client, asked, named(name)).await, 202);
        let (before, answer) = stream.answer().await;
        assert!(before.is_empty(), "{name}: {before:?}");
        assert_eq!(answer["result"]["content"][0]["text"], *name);
    }
    // Nothing of it came where the backend speaks of its own accord.
    pair.one.offer_tools(&["ask", "new"]);
    let first = listening.next().await.expect("an event").json();
    assert_eq!(first["method"], "notifications/tools/list_changed", "{first}");
}

#[tokio::test]
async fn sampling_and_roots_come_back_to_who_asked() {
    let pair = pair(tools(&ASKING), tools(&ASKING), "").await;
    let client = pair.legacy().await;
    let mut stream = call(&client, "one__sample", json!({})).await;
    let asked = stream.notification("sampling/createMessage").await;
    let content = json!({"type": "text", "text": "sampled"});
    let result = json!({"role": "assistant", "model": "none", "content": content});
    assert_eq!(reply(&client, &asked, result).await, 202);
    assert_eq!(text(&mut stream).await, "sampled");
    let mut stream = call(&client, "two__roots", json!({})).await;
    let asked = stream.notification("roots/list").await;
    let roots = json!({"roots": [{"uri": "file:///work", "name": "work"}]});
    assert_eq!(reply(&client, &asked, roots.clone()).await, 202);
    assert_eq!(serde_json::from_str::<Value>(&text(&mut stream).await).unwrap(), roots);
}

/// Said on the backend's own stream instead of that of the call.
#[tokio::test]
async fn a_question_asked_aside_comes_on_the_get_stream() {
    let pair = pair(tools(&ASKING), tools(&ASKING), "").await;
    let client = pair.legacy().await;
    let mut listening = client.listen(None).await;
    // The session at the backend is opened by the first call; its stream by that.
    assert_eq!(client.tool("one__nothing", json!({})).await.json()["error"]["code"], -32602);
    let mut first = call(&client, "one__ping", json!({})).await;
    assert_eq!(text(&mut first).await, "pong");
    lockgate_e2e::until("the backend's stream", async || {
        pair.one.heard().iter().any(|heard| heard.method == "GET" && heard.session.is_some()).then_some(())
    })
    .await;
    let mut stream = call(&client, "one__ask", json!({"aside": true})).await;
    let asked = listening.notification("elicitation/create").await;
    assert_eq!(reply(&client, &asked, named("Aside")).await, 202);
    assert_eq!(text(&mut stream).await, "Aside");
}

#[tokio::test]
async fn only_the_session_that_was_asked_may_answer_and_only_once() {
    let pair = pair(tools(&ASKING), tools(&ASKING), "").await;
    let (client, other) = (pair.legacy().await, pair.legacy().await);
    let mut stream = call(&client, "one__ask", json!({})).await;
    let asked = stream.notification("elicitation/create").await;
    for made_up in [json!(0), json!("question"), json!("x".repeat(500)), Value::Null] {
        let mut question = asked.clone();
        question["id"] = made_up;
        let status = reply(&client, &question, named("Nobody")).await;
        assert!((400..500).contains(&status), "{question}: {status}");
    }
    let status = reply(&other, &asked, named("Mallory")).await;
    assert!((400..500).contains(&status), "{status}");
    assert_eq!(reply(&client, &asked, named("Ada")).await, 202);
    assert_eq!(text(&mut stream).await, "Ada");
    assert!(pair.two.heard().iter().all(|heard| !heard.raw.contains("\"action\"")), "the other backend hears nothing");
}

/// `ping` is a matter of each hop.
#[tokio::test]
async fn ping_is_answered_on_both_sides() {
    let pair = pair(tools(&ASKING), tools(&ASKING), "").await;
    let client = pair.legacy().await;
    assert_eq!(client.send("ping", json!({})).await.json()["result"], json!({}));
    assert!(pair.one.heard_of("ping").is_empty() && pair.two.heard_of("ping").is_empty());
    for id in [json!(0), json!("ping")] {
        let mut stream = call(&client, "one__ping", json!({"id": id})).await;
        let (before, answer) = stream.answer().await;
        assert_eq!(answer["result"]["content"][0]["text"], "pong");
        assert!(before.is_empty(), "the client hears nothing of it: {before:?}");
    }
    let answer = pair.modern().send("ping", json!({})).await;
    assert_eq!(answer.code(), (404, -32601), "{answer:?}");
}
