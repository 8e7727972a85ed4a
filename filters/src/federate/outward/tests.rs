use super::*;
use crate::federate::naming::Prefixing;
use crate::federate::testing::{inventory, keys, merge, policy};
use crate::rpc::scan::{Limits, scan_envelope};
use proptest::prelude::*;

fn uris(prefixing: Prefixing) -> MemberUris {
    let silent = || inventory(r#"{"capabilities":{"resources":{}}}"#, &[]);
    merge(&policy(prefixing, &["a", "b"]), vec![silent(), silent()]).uris(1)
}

fn rewritten(method: &str, result: &str) -> Option<String> {
    let message = Bytes::from(format!(r#"{{"id":1,"result":{result},"jsonrpc":"2.0"}}"#));
    let made = response(method, &message, &uris(Prefixing::Always))?;
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
    assert_eq!(response("resources/read", &error, &uris(Prefixing::Always)), None);
    let link = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{"contents":[{"uri":"x:y"}]}}"#);
    assert_eq!(response("resources/read", &link, &uris(Prefixing::Never)), None);
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

#[test]
fn a_backends_question_and_its_cancellation_have_one_sealed_id() {
    let keys = keys();
    let asking = Asking {
        keys: &keys,
        server: "s",
        node: NodeId([1; 8]),
        boot: [2; 8],
        backend: "b",
        session: SessionId([3; 16]),
        source: Source::of("b", b""),
    };
    let body = Bytes::from_static(
        br#"{"jsonrpc":"2.0","method":"sampling/createMessage","params":{"_meta":{"progressToken":0},"x":[ ]},"id":"\u0061"}"#,
    );
    let made = asking.request(&scanned(&body), &body).unwrap();
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
    assert_eq!(asking.request(&scanned(&long), &long), Err(QuestionFault::TooLong));
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
        if let Some(made) = response(&method, &body, &uris) {
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
    }
}
