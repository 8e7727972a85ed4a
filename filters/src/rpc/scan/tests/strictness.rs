//! What is refused though it may be JSON.

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
    let nested = |depth: usize| with(&format!(r#""arguments":{}1{}"#, "[".repeat(depth - 2), "]".repeat(depth - 2)));
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
        assert!(serde_json::from_str::<serde_json::Value>(body).is_err(), "{body:?}");
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
