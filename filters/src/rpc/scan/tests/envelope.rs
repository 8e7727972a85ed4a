//! What is found in a message, and what is none.

use super::*;

#[test]
fn a_call_is_taken_apart() {
    let body = concat!(
        r#" {"jsonrpc":"2.0", "id" : 7, "method":"tools/call","params":{"name":"add","arguments":{"a":1},"other":[1],"#,
        r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{},"#,
        r#""io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"info","#,
        r#""progressToken":"p","traceparent":"00-1","tracestate":"s","baggage":"b","mine":1}}} "#,
    );
    let call = message(body);
    assert_eq!(call.kind, Kind::Request);
    assert_eq!(call.span.of(body.as_bytes()), body.trim().as_bytes());
    assert_eq!(call.id.unwrap().span.of(body.as_bytes()), b"7");
    assert_eq!(text(call.method, body), "tools/call");
    assert!(call.is(b"tools/call", body.as_bytes()) && !call.is(b"tools/list", body.as_bytes()));
    let params = call.params.unwrap();
    assert!(params.value.span.of(body.as_bytes()).starts_with(br#"{"name":"add""#));
    assert!(params.value.span.of(body.as_bytes()).ends_with(br#""mine":1}}"#));
    assert_eq!(text(params.name, body), "add");
    assert_eq!(params.arguments.unwrap().span.of(body.as_bytes()), br#"{"a":1}"#);
    assert_eq!((params.uri, params.malformed_meta), (None, None));
    let meta = params.meta.unwrap();
    assert!(meta.value.span.of(body.as_bytes()).ends_with(br#""mine":1}"#));
    assert_eq!(text(meta.protocol_version, body), "2026-07-28");
    assert_eq!(meta.client_info.unwrap().form, Form::Object);
    assert_eq!(meta.client_capabilities.unwrap().form, Form::Object);
    assert_eq!(text(meta.log_level, body), "info");
    assert_eq!(text(meta.progress_token, body), "p");
    assert_eq!(text(meta.traceparent, body), "00-1");
    assert_eq!(text(meta.tracestate, body), "s");
    assert_eq!(text(meta.baggage, body), "b");
    assert_eq!(meta.subscription_id, None);
}

#[test]
fn every_member_of_params_that_is_read_has_its_place() {
    let body = concat!(
        r#"{"jsonrpc":"2.0","id":"x","method":"m","params":{"name":0,"uri":1,"arguments":2,"taskId":3,"cursor":4,"#,
        r#""ref":5,"protocolVersion":6,"capabilities":7,"clientInfo":8,"requestState":9,"inputResponses":10,"#,
        r#""level":11,"requestId":12,"progressToken":13,"notifications":14,"_meta":15}}"#,
    );
    let p = message(body).params.unwrap();
    let found = [
        p.name,
        p.uri,
        p.arguments,
        p.task_id,
        p.cursor,
        p.reference,
        p.protocol_version,
        p.capabilities,
        p.client_info,
        p.request_state,
        p.input_responses,
        p.level,
        p.request_id,
        p.progress_token,
        p.notifications,
        p.malformed_meta,
    ];
    for (expected, value) in found.into_iter().enumerate() {
        assert_eq!(value.unwrap().span.of(body.as_bytes()), expected.to_string().as_bytes());
    }
    assert_eq!(p.meta, None);
}

#[test]
fn escaped_names_are_the_names_they_stand_for() {
    let body = r#"{"jsonrpc":"2.\u0030","\u0069d":1,"meth\u006fd":"tools\/call","params":{"\u006eame":"\u0061dd"}}"#;
    let call = message(body);
    assert_eq!(text(call.method, body), "tools/call");
    assert_eq!(text(call.params.unwrap().name, body), "add");
    assert_eq!(call.id.unwrap().span.of(body.as_bytes()), b"1");
}

#[test]
fn ids_keep_their_bytes() {
    for id in ["0", "-1", "1.0", "1e3", "123456789012345678901234567890", r#""""#, r#""a\u0062""#, r#""é""#] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        assert_eq!(message(&body).id.unwrap().span.of(body.as_bytes()), id.as_bytes());
    }
    for id in ["null", "true", "[]", "{}", "[1]"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        assert_eq!(refused(&body), (Fault::NotJsonRpc, None), "{body}");
    }
}

#[test]
fn kinds() {
    let kind = |members: &str| message(&format!(r#"{{"jsonrpc":"2.0",{members}}}"#)).kind;
    assert_eq!(kind(r#""id":1,"method":"x""#), Kind::Request);
    assert_eq!(kind(r#""method":"x","params":{}"#), Kind::Notification);
    assert_eq!(kind(r#""id":1,"result":{}"#), Kind::Response);
    assert_eq!(kind(r#""id":1,"result":null"#), Kind::Response);
    assert_eq!(kind(r#""id":1,"error":{"code":1,"message":""}"#), Kind::Response);
    assert_eq!(kind(r#""id":null,"error":{}"#), Kind::Response);
    assert_eq!(kind(r#""error":{}"#), Kind::Response);
    assert_eq!(message(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#).id, None);
}

#[test]
fn what_is_no_message_is_refused() {
    for body in [
        "1",
        r#""text""#,
        "null",
        "true",
        r#"{}"#,
        r#"{"id":1,"method":"x"}"#,
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#,
        r#"{"jsonrpc":2.0,"id":1,"method":"x"}"#,
        r#"{"jsonrpc":"2.0 ","id":1,"method":"x"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":"y"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","error":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":true,"error":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":"broken"}"#,
    ] {
        let id = body.contains(r#""id":1"#).then_some("1");
        assert_eq!(refused(body), (Fault::NotJsonRpc, id), "{body}");
    }
}

#[test]
fn batches() {
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#;
    let body = format!(r#"[{one}, {{"jsonrpc":"2.0","method":"y"}} ,{one}]"#);
    let found = scan(body.as_bytes(), &LIMITS).unwrap();
    assert!(found.batch);
    let kinds: Vec<_> = found.messages.iter().map(|message| message.kind).collect();
    assert_eq!(kinds, [Kind::Request, Kind::Notification, Kind::Request]);
    assert_eq!(found.messages[2].span.of(body.as_bytes()), one.as_bytes());
    let single = scan(format!("[{one}]").as_bytes(), &LIMITS).unwrap();
    assert!(single.batch && single.messages.len() == 1);

    assert_eq!(refused("[]"), (Fault::BatchRefused, None));
    assert_eq!(refused(" [ ] "), (Fault::BatchRefused, None));
    let initialize = r#"{"jsonrpc":"2.0","id":5,"method":"in\u0069tialize","params":{}}"#;
    assert_eq!(refused(&format!("[{one},{initialize}]")), (Fault::BatchRefused, Some("5")));
    let full = |count: usize| format!("[{}]", vec![one; count].join(","));
    assert_eq!(scan(full(32).as_bytes(), &LIMITS).unwrap().messages.len(), 32);
    assert_eq!(refused(&full(33)), (Fault::BatchTooLong, None));
    assert_eq!(refused(&format!("[{one},[{one}]]")), (Fault::NotJsonRpc, None));
    assert_eq!(refused(&format!("[{one},1]")), (Fault::NotJsonRpc, None));
    for broken in
        [format!("[{one}"), format!("[{one},]"), format!("[,{one}]"), format!("[{one}{one}]"), format!("[{one}] {one}")]
    {
        assert_eq!(refused(&broken).0, Fault::NotJson, "{broken}");
    }
}

#[test]
fn the_id_is_found_before_and_behind_the_fault() {
    let duplicate = r#"{"jsonrpc":"2.0","method":"x","params":{"a":1,"a":2},"id":"later"}"#;
    assert_eq!(refused(duplicate), (Fault::DuplicateMember, Some(r#""later""#)));
    // Syntax comes first, however late it is.
    assert_eq!(refused(&duplicate[..duplicate.len() - 1]), (Fault::NotJson, Some(r#""later""#)));
    assert_eq!(refused(&duplicate[..50]), (Fault::NotJson, None));
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":3,"method":"x","params":{"#), (Fault::NotJson, Some("3")));
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":3,"method":"x"} trailing"#), (Fault::NotJson, Some("3")));
    // Which of two ids is meant cannot be said.
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":1,"method":"x","id":2}"#), (Fault::DuplicateMember, None));
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":1,"method":"x","ID":1}"#), (Fault::DuplicateMember, None));
    let batch =
        r#"[{"jsonrpc":"2.0","id":1,"method":"x"},{"jsonrpc":"2.0","id":2,"method":"x","params":{"a":1,"a":1}}]"#;
    assert_eq!(refused(batch), (Fault::DuplicateMember, Some("2")));
}
