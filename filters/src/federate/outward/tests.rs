use super::*;
use crate::federate::naming::Prefixing;
use crate::federate::testing::{inventory, keys, merge, policy};
use crate::rpc::scan::{Limits, scan_envelope};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn uris(prefixing: Prefixing) -> MemberUris {
    let silent = || inventory(r#"{"capabilities":{"resources":{}}}"#, &[]);
    merge(&policy(prefixing, &["a", "b"]), vec![silent(), silent()]).uris(1)
}

fn rewritten(method: &str, result: &str) -> Option<String> {
    let message = Bytes::from(format!(r#"{{"id":1,"result":{result},"jsonrpc":"2.0"}}"#));
    let made = response(method, &message, &uris(Prefixing::Always)).unwrap()?;
    let made = String::from_utf8(made.to_vec()).unwrap();
    let inner = made.strip_prefix(r#"{"id":1,"result":"#).unwrap().strip_suffix(r#","jsonrpc":"2.0"}"#).unwrap();
    Some(inner.to_owned())
}

#[track_caller]
fn assert_rewritten(method: &str, from: &str, to: &str) {
    assert_eq!(rewritten(method, from).as_deref(), Some(to));
}

#[test]
fn tool_results_name_resources_as_clients_see_them() {
    assert_rewritten(
        "tools/call",
        r#"{"content":[{"type":"text","text":"x:y"},{"type":"resource_link","uri":"x:y" , "name":"n"},{"resource":{"uri":"file:\/\/\/a","text":"t"},"type":"resource"}],"structuredContent":{"uri":"x:y"}}"#,
        r#"{"content":[{"type":"text","text":"x:y"},{"type":"resource_link","uri":"b+x:y" , "name":"n"},{"resource":{"uri":"b+file:///a","text":"t"},"type":"resource"}],"structuredContent":{"uri":"x:y"}}"#,
    );
    assert_rewritten(
        "tools/call",
        r#"{"content":[],"_meta":{"ui":{"resourceUri":"ui://app"},"openai/outputTemplate":"ui://t","uri":"x:y"}}"#,
        r#"{"content":[],"_meta":{"ui":{"resourceUri":"ui://b+app"},"openai/outputTemplate":"ui://b+t","uri":"x:y"}}"#,
    );
    assert_rewritten(
        "tools/call",
        r#"{"content":[],"\u005fmeta":{"openai/outputTemplate":"ui://t"}}"#,
        r#"{"content":[],"\u005fmeta":{"openai/outputTemplate":"ui://b+t"}}"#,
    );
    assert_rewritten(
        "tools/call",
        r#"{"content":[{"type":"resource_link","\u0075ri":"x:y"}]}"#,
        r#"{"content":[{"type":"resource_link","\u0075ri":"b+x:y"}]}"#,
    );
    assert_rewritten(
        "tools/call",
        r#"{"content":[{"uri":"x:1","type":"resource_link","uri":"x:2"}],"content":[{"type":"resource_link","uri":"x:3"}]}"#,
        r#"{"content":[{"uri":"b+x:1","type":"resource_link","uri":"b+x:2"}],"content":[{"type":"resource_link","uri":"b+x:3"}]}"#,
    );
}

#[test]
fn prompts_and_resources_too() {
    assert_rewritten(
        "prompts/get",
        r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"x:1"}}},{"content":[{"type":"resource_link","uri":"x:2"}]}]}"#,
        r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"b+x:1"}}},{"content":[{"type":"resource_link","uri":"b+x:2"}]}]}"#,
    );
    assert_rewritten(
        "resources/read",
        r#"{"contents":[{"uri":"x:1","text":"\"uri\":\"x:9\""},{"blob":"","uri":"https://h"},{"uri":"UI://x"}]}"#,
        r#"{"contents":[{"uri":"b+x:1","text":"\"uri\":\"x:9\""},{"blob":"","uri":"https://h"},{"uri":"UI://b+x"}]}"#,
    );
}

#[test]
fn what_holds_nothing_to_replace_is_not_touched() {
    for (method, result) in [
        ("tools/call", r#"{"content":[{"type":"text","text":"security"}]}"#),
        ("tools/call", r#"{"content":[{"type":"text","uri":"x:y"}]}"#),
        ("tools/call", r#"{"content":[{"type":"resource_link","uri":"https://h"}]}"#),
        ("tools/call", r#"{"content":[{"type":"resource_link","uri":7}]}"#),
        ("tools/call", r#"{"content":{"type":"resource_link","uri":"x:y"}}"#),
        ("resources/read", r#"[{"contents":[{"uri":"x:y"}]}]"#),
        ("tools/list", r#"{"content":[{"type":"resource_link","uri":"x:y"}]}"#),
    ] {
        assert_eq!(rewritten(method, result), None, "{result}");
    }
    assert!(!may_name_uris(br#"{"result":{"content":[{"type":"text","text":"security"}]}}"#));
    let error = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","data":{"uri":"x:y"}}}"#);
    assert_eq!(response("resources/read", &error, &uris(Prefixing::Always)), Ok(None));
    let link = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{"contents":[{"uri":"x:y"}]}}"#);
    assert_eq!(response("resources/read", &link, &uris(Prefixing::Never)), Ok(None));
}

fn scanned(body: &Bytes) -> Message {
    scan_envelope(body, &Limits { depth: 64, batch: 0 }).unwrap()
}

#[test]
fn an_updated_resource_is_named_as_clients_know_it() {
    let body =
        Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x:y"}}"#);
    let made = notification(&scanned(&body), &body, &uris(Prefixing::Always)).unwrap();
    assert_eq!(made, r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"b+x:y"}}"#);
    let other = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"vendor/x","params":{"uri":"x:y"}}"#);
    assert_eq!(notification(&scanned(&other), &other, &uris(Prefixing::Always)), None);
}

fn asking(keys: &Keyring) -> Asking<'_> {
    Asking {
        keys,
        server: "s",
        node: NodeId([1; 8]),
        boot: [2; 8],
        backend: "b",
        session: SessionId([3; 16]),
        source: Source::of("b", b""),
    }
}

/// A request of the backend's with these params as the client gets it, but for its id, which is `I`.
fn asked(method: &str, params: &str, prefixing: Prefixing) -> String {
    let body = Bytes::from(format!(r#"{{"id":1,"params":{params},"jsonrpc":"2.0","method":"{method}"}}"#));
    let made = asking(&keys()).request(&scanned(&body), &body, &uris(prefixing)).unwrap();
    let id = scanned(&made).id.unwrap().text(&made).unwrap().into_owned();
    String::from_utf8(made.to_vec()).unwrap().replace(&format!("\"{id}\""), "1")
}

#[test]
fn what_is_to_be_sampled_names_resources_as_clients_see_them() {
    let params = |uri: &str, app: &str| {
        let link = format!(r#"{{"type":"resource_link","uri":"{uri}"}}"#);
        let whole = format!(r#"{{"type":"resource","resource":{{"uri":"{uri}","text":"x:y"}}}}"#);
        let result = format!(
            r#"{{"type":"tool_result","toolUseId":"t","content":[{{"type":"text","text":"x:y"}},{link},{whole}],"_meta":{{"ui":{{"resourceUri":"{app}"}}}},"uri":"x:y"}}"#
        );
        format!(
            r#"{{"messages":[{{"role":"user","content":{whole}}},{{"role":"user","content":[{link} ,{result},{{"type":"tool_use","input":{{"uri":"x:y"}}}}]}},{{"role":"assistant","content":{{"type":"text","text":"x:y"}}}}],"maxTokens":1}}"#
        )
    };
    let (own, shown) = (params("x:y", "ui://a"), params("b+x:y", "ui://b+a"));
    let whole =
        |method: &str, params: &str| format!(r#"{{"id":1,"params":{params},"jsonrpc":"2.0","method":"{method}"}}"#);
    let sampling = "sampling/createMessage";
    assert_eq!(asked(sampling, &own, Prefixing::Always), whole(sampling, &shown));
    assert_eq!(asked(sampling, &own, Prefixing::Never), whole(sampling, &own));
    assert_eq!(asked("vendor/ask", &own, Prefixing::Always), whole("vendor/ask", &own));
    assert_eq!(asked(sampling, r#"{"messages":{}}"#, Prefixing::Always), whole(sampling, r#"{"messages":{}}"#));
    // The modern era asks in answers.
    let answer = |params: &str, method: &str| {
        format!(
            r#"{{"resultType":"input_required","inputRequests":{{"s":{{"method":"{method}","params":{params}}}}},"requestState":"x:y"}}"#
        )
    };
    for method in ["tools/call", "prompts/get", "resources/read"] {
        assert_rewritten(method, &answer(&own, sampling), &answer(&shown, sampling));
        assert_eq!(rewritten(method, &answer(&own, "elicitation/create")), None);
    }
}

#[test]
fn what_names_too_many_resources_is_not_passed_on_by_halves() {
    let links = |number: usize| vec![r#"{"type":"resource_link","uri":"x:y"}"#; number].join(",");
    let answer =
        |number| Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{}]}}}}"#, links(number)));
    let uris = uris(Prefixing::Always);
    let most = response("tools/call", &answer(EDITS_MAX), &uris).unwrap().unwrap();
    assert_eq!(memmem::find_iter(&most, b"b+x:y").count(), EDITS_MAX);
    assert_eq!(response("tools/call", &answer(EDITS_MAX + 1), &uris), Err(TooManyUris));
    let body = Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{{"messages":[{{"content":[{}]}}]}}}}"#,
        links(EDITS_MAX + 1)
    ));
    let asked = asking(&keys()).request(&scanned(&body), &body, &uris);
    assert_eq!(asked, Err(QuestionFault::TooManyUris));
}

#[test]
fn a_backends_question_and_its_cancellation_have_one_sealed_id() {
    let keys = keys();
    let asking = asking(&keys);
    let none = uris(Prefixing::Never);
    let body = Bytes::from_static(
        br#"{"jsonrpc":"2.0","method":"sampling/createMessage","params":{"_meta":{"progressToken":0},"x":[ ]},"id":"\u0061"}"#,
    );
    let made = asking.request(&scanned(&body), &body, &none).unwrap();
    let asked = scanned(&made);
    let id = asked.id.unwrap().text(&made).unwrap();
    let opened = Question::open(&keys, "s", Subject::Id, &id).unwrap();
    assert_eq!((&opened.raw[..], &*opened.backend), (&br#""\u0061""#[..], "b"));
    let token = asked.params.as_ref().unwrap().meta.as_ref().unwrap().progress_token.unwrap();
    assert_eq!(Question::open(&keys, "s", Subject::Token, &token.text(&made).unwrap()).unwrap().raw, "0");
    let untouched =
        String::from_utf8(made.to_vec()).unwrap().replace(&*id, "I").replace(&*token.text(&made).unwrap(), "T");
    assert_eq!(
        untouched,
        r#"{"jsonrpc":"2.0","method":"sampling/createMessage","params":{"_meta":{"progressToken":"T"},"x":[ ]},"id":"I"}"#
    );

    let body =
        Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"\u0061"}}"#);
    let made = asking.cancellation(&scanned(&body), &body).unwrap();
    let cancelled = scanned(&made).params.unwrap().request_id.unwrap();
    assert_eq!(cancelled.text(&made).unwrap(), id);
    let long = Bytes::from(format!(r#"{{"jsonrpc":"2.0","method":"ping","id":"{}"}}"#, "x".repeat(300)));
    assert_eq!(asking.request(&scanned(&long), &long, &none), Err(QuestionFault::TooLong));
}

proptest! {
    #[test]
    fn any_answer_is_left_alone_or_stays_json(
        blocks in prop::collection::vec(("resource_link|resource|text", any::<String>(), any::<String>()), 0..5),
        method in "tools/call|prompts/get|resources/read",
    ) {
        let blocks: Vec<_> = blocks
            .iter()
            .map(|(sort, uri, text)| serde_json::json!({"type": sort, "uri": uri, "text": text, "resource": {"uri": uri}}))
            .collect();
        let messages: Vec<_> = blocks.iter().map(|block| serde_json::json!({"content": block})).collect();
        let whole = serde_json::json!({"jsonrpc": "2.0", "id": 1, "result": {"content": blocks, "messages": messages, "contents": blocks}});
        let body = Bytes::from(whole.to_string());
        let uris = uris(Prefixing::Always);
        if let Some(made) = response(&method, &body, &uris).unwrap() {
            let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
            for (place, block) in blocks.iter().enumerate() {
                let uri = block["uri"].as_str().unwrap();
                let shown = uris.outward(uri);
                match (&*method, block["type"].as_str().unwrap()) {
                    ("tools/call", "resource_link") => prop_assert_eq!(&made["result"]["content"][place]["uri"], &*shown),
                    ("tools/call", "resource") => prop_assert_eq!(&made["result"]["content"][place]["resource"]["uri"], &*shown),
                    ("tools/call", _) => prop_assert_eq!(&made["result"]["content"][place]["uri"], uri),
                    ("resources/read", _) => prop_assert_eq!(&made["result"]["contents"][place]["uri"], &*shown),
                    _ => {}
                }
                prop_assert_eq!(&made["result"]["content"][place]["text"], &block["text"]);
            }
        }
    }

    #[test]
    fn no_bytes_break_anything(body in prop::collection::vec(any::<u8>(), 0..80)) {
        let body = Bytes::from(body);
        for method in ["tools/call", "prompts/get", "resources/read"] {
            let _ = response(method, &body, &uris(Prefixing::Always));
        }
        let sampling = [&br#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"messages":["#[..], &body[..]].concat();
        if let Ok(message) = scan_envelope(&sampling, &Limits { depth: 64, batch: 0 }) {
            asking(&keys()).request(&message, &Bytes::from(sampling), &uris(Prefixing::Always)).unwrap();
        }
    }

    #[test]
    fn any_conversation_names_what_clients_see_and_stays_the_same_otherwise(
        blocks in prop::collection::vec(("resource_link|resource|text|tool_result", any::<String>(), any::<bool>()), 0..5),
    ) {
        let uris = uris(Prefixing::Always);
        let inner = |sort: &str, uri: &str| json!({"type": sort, "uri": uri, "resource": {"uri": uri}, "text": uri});
        // What it must become: the same with the URIs that count replaced.
        let block = |(sort, uri, array): &(String, String, bool), shown: &dyn Fn(&str) -> String| {
            let shown = shown(uri);
            let link = |sort: &str| {
                let mut block = inner(sort, uri);
                match sort {
                    "resource_link" => block["uri"] = json!(shown),
                    "resource" => block["resource"]["uri"] = json!(shown),
                    _ => {}
                }
                block
            };
            let block = match &**sort {
                "tool_result" => json!({"type": sort, "uri": uri, "content": [link("resource"), link("resource_link"), link("text")]}),
                sort => link(sort),
            };
            json!({"role": "user", "content": if *array { json!([block]) } else { block }})
        };
        let conversation = |shown: &dyn Fn(&str) -> String| -> Json { blocks.iter().map(|it| block(it, shown)).collect() };
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {"messages": conversation(&str::to_owned)}});
        let body = Bytes::from(body.to_string());
        let made = asking(&keys()).request(&scanned(&body), &body, &uris).unwrap();
        let made: Json = serde_json::from_slice(&made).unwrap();
        prop_assert_eq!(&made["params"]["messages"], &conversation(&|uri| uris.outward(uri).into_owned()));
    }
}

#[test]
fn what_one_caller_has_read_nobody_else_may_keep() {
    let private = |text: &str| super::private(&Bytes::copy_from_slice(text.as_bytes()));
    let changed = private(
        r#"{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"public","ttlMs":1,"contents":[{"cacheScope":"public"}]}}"#,
    );
    assert_eq!(
        changed.as_deref(),
        Some(&br#"{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"private","ttlMs":1,"contents":[{"cacheScope":"public"}]}}"#[..])
    );
    let escaped = private(r#"{"result":{"cache\u0053cope":"publi\u0063"}}"#);
    assert_eq!(escaped.as_deref(), Some(&br#"{"result":{"cache\u0053cope":"private"}}"#[..]));
    for same in
        [r#"{"result":{"cacheScope":"private"}}"#, r#"{"result":{}}"#, r#"{"error":{"cacheScope":"public"}}"#, "", "[]"]
    {
        assert_eq!(private(same), None, "{same}");
    }
}
