use super::*;
use crate::rpc::members;
use proptest::prelude::*;
use serde_json::Value as Json;

const LIMITS: Limits = Limits { depth: 64, batch: 32 };

fn message(body: &str) -> Message {
    let scan = scan(body.as_bytes(), &LIMITS).unwrap_or_else(|fault| panic!("{body}: {fault:?}"));
    assert!(!scan.batch);
    scan.messages[0].clone()
}

fn fault(body: impl AsRef<[u8]>) -> ScanFault {
    let body = body.as_ref();
    scan(body, &LIMITS).expect_err(&String::from_utf8_lossy(body))
}

/// The fault of a body, and the id that goes with it.
fn refused(body: &str) -> (Fault, Option<&str>) {
    let fault = fault(body);
    assert!(fault.at <= body.len());
    (fault.fault, fault.id.map(|id| &body[id.start as usize..id.end as usize]))
}

fn text(value: Option<Value>, body: &str) -> String {
    value.unwrap().text(body.as_bytes()).unwrap().into_owned()
}

mod envelope {
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
        let body =
            r#"{"jsonrpc":"2.\u0030","\u0069d":1,"meth\u006fd":"tools\/call","params":{"\u006eame":"\u0061dd"}}"#;
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
        for broken in [
            format!("[{one}"),
            format!("[{one},]"),
            format!("[,{one}]"),
            format!("[{one}{one}]"),
            format!("[{one}] {one}"),
        ] {
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
}

mod strictness {
    use super::*;

    /// A call whose params hold these members.
    fn with(params: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params}}}}}"#)
    }

    #[test]
    fn duplicates_are_refused_at_any_depth() {
        for body in [
            r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"x"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":1,"method":"x","method":"x"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":1,"method":"x","m\u0065thod":"y"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":1,"method":"x","unknown":1,"unknown":2}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{}}"#.to_owned(),
            with(r#""name":"a","name":"b""#),
            with(r#""name":"a","n\u0061me":"b""#),
            with(r#""_meta":{},"_meta":{}"#),
            with(r#""_meta":{"progressToken":1,"progressToken":1}"#),
            with(r#""arguments":{"a":[{"b":{"c":1,"d":2,"c":3}}]}"#),
            with(r#""arguments":{"":1,"":2}"#),
            with(r#""arguments":{"é":1,"\u00e9":2}"#),
            with(r#""arguments":{"😀":1,"\ud83d\uDE00":2}"#),
        ] {
            assert_eq!(fault(&body).fault, Fault::DuplicateMember, "{body}");
        }
        // The same name in different objects is no duplicate.
        message(&with(r#""name":"a","arguments":{"name":{"name":[{"name":1},{"name":2}]}}"#));
    }

    #[test]
    fn the_place_of_a_duplicate_is_told() {
        let body = with(r#""arguments":{"a":1,"b":2,"a":3}"#);
        assert_eq!(fault(&body).at, body.rfind(r#""a""#).unwrap());
    }

    #[test]
    fn large_objects_are_judged_like_small_ones() {
        let members = |count: usize| (0..count).map(|i| format!(r#""member{i}":{i}"#)).collect::<Vec<_>>().join(",");
        message(&with(&format!(r#""arguments":{{{}}}"#, members(100_000))));
        let body = with(&format!(r#""arguments":{{{},"member77":0}}"#, members(100_000)));
        assert_eq!(refused(&body), (Fault::DuplicateMember, Some("1")));
        // All tags equal, all names different, and each of them escaped: still sorted, not compared pair by pair.
        let hostile: Vec<_> = (0..50_000).map(|i| format!(r#""\u0061ttackattack{i:08}attackattack":0"#)).collect();
        message(&with(&format!(r#""arguments":{{{}}}"#, hostile.join(","))));
    }

    #[test]
    fn case_variants_of_what_is_read_are_refused_at_their_own_level() {
        for name in ["JSONRPC", "Id", "iD", "METHOD", "Params", "Result", "erroR", "param\u{17F}", "re\u{17F}ult"] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","{name}":1}}"#);
            assert_eq!(fault(&body).fault, Fault::DuplicateMember, "{name}");
        }
        for name in [
            "Name",
            "URI",
            "Arguments",
            "argument\u{17F}",
            "_Meta",
            "taskid",
            "ta\u{17F}kId",
            "tas\u{212A}Id",
            "Cursor",
            "REF",
            "protocolversion",
            "requeststate",
            "Level",
            r"\u004eame",
        ] {
            assert_eq!(fault(with(&format!(r#""{name}":1"#))).fault, Fault::DuplicateMember, "{name}");
        }
        // Elsewhere they are ordinary names.
        message(&with(r#""arguments":{"Name":1,"URI":2,"ID":3},"ID":1,"Method":2,"names":1,"nam":2"#));
        message(r#"{"jsonrpc":"2.0","id":1,"method":"x","Name":1,"URI":2,"idd":3}"#);
        message(&with(r#""_meta":{"ProgressToken":1}"#));
    }

    #[test]
    fn depth_is_bounded() {
        let nested =
            |depth: usize| with(&format!(r#""arguments":{}1{}"#, "[".repeat(depth - 2), "]".repeat(depth - 2)));
        message(&nested(64));
        assert_eq!(refused(&nested(65)), (Fault::TooDeep, Some("1")));
        assert_eq!(fault("[".repeat(1_000_000)).fault, Fault::TooDeep);
        assert_eq!(fault(with(&format!(r#""arguments":{}"#, "[".repeat(1_000_000)))).fault, Fault::TooDeep);
        assert_eq!(fault(with(&format!(r#""arguments":{}"#, r#"{"a":"#.repeat(1_000_000)))).fault, Fault::TooDeep);
        let generous = Limits { depth: usize::MAX, batch: 1 };
        assert!(scan(nested(512).as_bytes(), &generous).is_ok());
        assert_eq!(scan(nested(513).as_bytes(), &generous).unwrap_err().fault, Fault::TooDeep);
        let none = Limits { depth: 0, batch: 1 };
        assert_eq!(scan(b"{}", &none).unwrap_err().fault, Fault::TooDeep);
    }

    #[test]
    fn broken_utf8_is_told_apart_from_broken_json() {
        let mut body = with(r#""name":"caf\u00e9 é""#).into_bytes();
        assert!(scan(&body, &LIMITS).is_ok());
        let at = body.iter().position(|byte| *byte == 0xC3).unwrap();
        body[at + 1] = b'x';
        assert_eq!(fault(&body), ScanFault { fault: Fault::NotUtf8, at, id: None });
        assert_eq!(fault(b"\xff").fault, Fault::NotUtf8);
        assert_eq!(fault(b"{\"a\":\"\xed\xa0\x80\"}").fault, Fault::NotUtf8);
    }

    #[test]
    fn half_a_surrogate_pair_is_refused_wherever_it_stands() {
        for part in [r"\ud83d", r"\ude00", r"\ud83dx", r"\ud83d\n", r"\ude00\ud83d", r"\uD83D\uD83D"] {
            assert_eq!(fault(with(&format!(r#""name":"{part}""#))).fault, Fault::NotJson, "{part}");
            assert_eq!(fault(with(&format!(r#""arguments":{{"{part}":1}}"#))).fault, Fault::NotJson, "{part}");
            assert_eq!(fault(with(&format!(r#""{part}":1"#))).fault, Fault::NotJson, "{part}");
        }
        message(&with(r#""name":"\ud83d\ude00""#));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for body in [
            "",
            " ",
            "{",
            "}",
            "[",
            "{]",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            r#"{"a":1 "b":2}"#,
            "{1:2}",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1}",
            r#"{"a":1]"#,
            "tru",
            "nul",
            "True",
            "NaN",
            "Infinity",
            "-",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "0x10",
            "'a'",
            "\"a",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"a\nb\"",
            "\"a\tb\"",
            "\"\0\"",
            "\u{feff}{}",
            "{}{}",
            "// {}",
            "{\"a\":1}//",
            "[1]x",
            "\u{a0}1",
            "\u{c}1",
            "{\"a\":[}",
            "[{]}",
            "[[1,2],[3]",
            "\"\u{1f}\"",
        ] {
            let found = fault(body);
            assert_eq!(found.fault, Fault::NotJson, "{body:?}");
            assert!(found.at <= body.len(), "{body:?}");
            assert!(serde_json::from_str::<Json>(body).is_err(), "{body:?}");
            assert_eq!(skim(body.as_bytes(), &LIMITS).unwrap_err().fault, Fault::NotJson, "{body:?}");
        }
    }

    #[test]
    fn white_space_of_json_is_passed_anywhere() {
        let body = "\r\n\t {\t\"jsonrpc\" \n:\r\"2.0\" , \"id\"\n:\n1\r,\"method\":\"x\" ,\"params\" : { } \n}\n";
        assert_eq!(message(body).span.of(body.as_bytes()), body.trim().as_bytes());
        message(
            "{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"params\":{\"a\" : [ 1 , { } , [ ] , { \"b\" : [ { \"c\" : 1 } ] } ] } }",
        );
    }
}

mod lenient {
    use super::*;

    fn envelope(body: &str) -> Result<Message, Fault> {
        scan_envelope(body.as_bytes(), &LIMITS).map_err(|fault| fault.fault)
    }

    #[test]
    fn what_a_backend_nests_is_its_own_affair() {
        let body = r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2,"content":[{"text":"\ud83d","text":""}],"_meta":{"x":1}}}"#;
        let answer = envelope(body).unwrap();
        assert_eq!(answer.kind, Kind::Response);
        assert!(answer.result.unwrap().span.of(body.as_bytes()).starts_with(br#"{"a":1"#));
        let request = r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"Name":1,"other":1,"other":2,"_meta":{"progressToken":5}}}"#;
        assert!(envelope(request).unwrap().params.unwrap().meta.unwrap().progress_token.is_some());
    }

    #[test]
    fn what_is_read_of_a_backend_must_be_unambiguous() {
        for body in [
            r#"{"jsonrpc":"2.0","id":1,"id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"Result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"a":1,"a":2}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{},"_meta":{}}}"#,
            r#"{"jsonrpc":"2.0","method":"x","params":{"_meta":{"a":1,"\u0061":2}}}"#,
            r#"{"jsonrpc":"2.0","method":"x","params":{"requestId":1,"requestId":2}}"#,
        ] {
            assert_eq!(envelope(body), Err(Fault::DuplicateMember), "{body}");
        }
        assert_eq!(envelope("[]"), Err(Fault::NotJsonRpc));
        assert_eq!(envelope(r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#), Err(Fault::NotJsonRpc));
        assert_eq!(envelope("{"), Err(Fault::NotJson));
    }

    #[test]
    fn a_value_is_skimmed() {
        assert_eq!(skim(br#" {"a":[1,2,{"b":"\ud800"}]} "#, &LIMITS), Ok(()));
        assert_eq!(skim(b"1", &LIMITS), Ok(()));
        assert_eq!(skim(br#"{"a":{"b":1,"b":2}}"#, &LIMITS).unwrap_err().fault, Fault::DuplicateMember);
        assert_eq!(skim(b"1 1", &LIMITS).unwrap_err().fault, Fault::NotJson);
        assert_eq!(skim(b"[[1]]", &Limits { depth: 1, batch: 0 }).unwrap_err().fault, Fault::TooDeep);
    }
}

#[test]
fn text_is_for_strings_only() {
    let body = br#"[1,"a","b\n",null]"#;
    let texts: Vec<_> = members::items(body).map(|value| value.text(body)).collect();
    assert_eq!(texts, [None, Some("a".into()), Some("b\n".into()), None]);
    assert!(matches!(members::items(body).nth(1).unwrap().text(body), Some(Cow::Borrowed("a"))));
    let beyond = Value { span: Span { start: 5, end: 900 }, form: Form::String { escaped: false } };
    assert_eq!(beyond.text(body), None);
}

/// JSON texts of many shapes, written with odd spacing and escapes.
fn json() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "[a-e]{0,3}".prop_map(|text| format!("\"{text}\"")),
        "[ -!#-Z^-~]{0,80}".prop_map(|text| format!("\"{text}\"")),
        Just(r#""\u0061\ud83d\uDE00\/\n""#.to_owned()),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        prop::num::f64::NORMAL.prop_map(|value| serde_json::to_string(&value).unwrap()),
        Just("-0.0e+5".to_owned()),
        string.clone(),
    ];
    let space = prop::sample::select(vec!["", "", "", " ", "\n\t", "\r\n  "]);
    leaf.prop_recursive(6, 80, 20, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..20), space.clone())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},{space}")))),
            (prop::collection::vec((string.clone(), inner), 0..24), space.clone()).prop_map(|(members, space)| {
                let members: Vec<_> =
                    members.into_iter().map(|(name, value)| format!("{name}{space}:{space}{value}")).collect();
                format!("{{{space}{}{space}}}", members.join(&format!("{space},{space}")))
            }),
        ]
    })
}

/// What serde_json says of bytes.
#[derive(Debug, PartialEq)]
enum Judgement {
    NotJson,
    Unique,
    /// JSON, in which some object names a member twice.
    Ambiguous,
    /// It met a number beyond the range of its types, which is JSON all the same, and read no further.
    OutOfRange,
}

fn judged(body: &[u8]) -> Judgement {
    match serde_json::from_slice::<Unique>(body) {
        Ok(Unique(true)) => Judgement::Unique,
        Ok(Unique(false)) => Judgement::Ambiguous,
        Err(error) if error.to_string().contains("number out of range") => Judgement::OutOfRange,
        Err(_) => Judgement::NotJson,
    }
}

/// Whether all objects of a value name each member once, found out with a set an object.
struct Unique(bool);

impl<'de> serde::Deserialize<'de> for Unique {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Unique, D::Error> {
        from.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> serde::de::Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique(true))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique(true))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique(true))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique(true))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique(true))
    }

    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique(true))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        let mut unique = true;
        while let Some(item) = items.next_element::<Unique>()? {
            unique &= item.0;
        }
        Ok(Unique(unique))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Unique, A::Error> {
        let mut names = std::collections::HashSet::new();
        let mut unique = true;
        while let Some((name, value)) = members.next_entry::<String, Unique>()? {
            unique &= names.insert(name) & value.0;
        }
        Ok(Unique(unique))
    }
}

/// Our verdict on a bare value must be the one of serde_json and a set an object.
fn agrees_with_serde(body: &[u8]) -> Result<(), TestCaseError> {
    let deep = Limits { depth: 127, batch: 0 };
    let ours = scan(&[br#"{"jsonrpc":"2.0","method":"x","x":"#, body, b"}"].concat(), &deep);
    let judgement = judged(body);
    match ours.map_err(|fault| fault.fault) {
        // Read without the values, numbers have no range.
        Ok(_) if judgement == Judgement::OutOfRange => {
            prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok());
        }
        Ok(_) => prop_assert_eq!(judgement, Judgement::Unique),
        Err(Fault::TooDeep) => {}
        Err(_) if judgement == Judgement::OutOfRange => {}
        Err(Fault::DuplicateMember) => prop_assert_eq!(judgement, Judgement::Ambiguous),
        Err(_) => prop_assert_eq!(judgement, Judgement::NotJson),
    }
    Ok(())
}

/// What spans name must be what serde_json reads there.
fn same_values(body: &[u8], value: Value, json: &Json) -> Result<(), TestCaseError> {
    let bytes = value.span.of(body);
    prop_assert_eq!(&serde_json::from_slice::<Json>(bytes).unwrap(), json);
    match (value.form, json) {
        (Form::String { .. }, Json::String(text)) => prop_assert_eq!(value.text(body).unwrap(), text.as_str()),
        (Form::Array, Json::Array(items)) => {
            prop_assert_eq!(members::items(bytes).count(), items.len());
            for (item, json) in members::items(bytes).zip(items) {
                same_values(bytes, item, json)?;
            }
        }
        (Form::Object, Json::Object(map)) => {
            prop_assert_eq!(members::members(bytes).count(), map.len());
            for member in members::members(bytes) {
                same_values(bytes, member.value, &map[&*member.name])?;
            }
        }
        (Form::Null, Json::Null) | (Form::Bool, Json::Bool(_)) | (Form::Number, Json::Number(_)) => {}
        (form, json) => prop_assert!(false, "{:?} is not {}", form, json),
    }
    Ok(())
}

proptest! {
    #[test]
    fn valid_json_is_judged_as_serde_json_judges_it(body in json()) {
        agrees_with_serde(body.as_bytes())?;
    }

    #[test]
    fn damaged_json_is_judged_as_serde_json_judges_it(
        body in json(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<Option<u8>>()), 1..4),
    ) {
        let mut body = body.into_bytes();
        for (at, byte) in damage {
            if body.is_empty() {
                break;
            }
            let at = at.index(body.len());
            match byte {
                Some(byte) => body[at] = byte,
                None => { body.remove(at); }
            }
        }
        agrees_with_serde(&body)?;
    }

    #[test]
    fn arbitrary_bytes_are_judged_as_serde_json_judges_them(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "[\\[\\]{}:,\"\\\\u0-9a-fnrtlse+-. \n]{0,40}".prop_map(String::into_bytes),
        ],
    ) {
        agrees_with_serde(&body)?;
        let _ = scan(&body, &LIMITS);
        let _ = scan_envelope(&body, &LIMITS);
    }

    #[test]
    fn spans_hold_what_serde_json_reads(body in json()) {
        let body = body.as_bytes();
        prop_assume!(judged(body) == Judgement::Unique && skim(body, &LIMITS).is_ok());
        let wrapped = [b"[", body, b"]"].concat();
        let value = members::items(&wrapped).next().unwrap();
        same_values(&wrapped, value, &serde_json::from_slice(body).unwrap())?;
    }
}
