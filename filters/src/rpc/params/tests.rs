use super::*;
use http::HeaderValue;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn page(tools: Json) -> Vec<u8> {
    json!({ "tools": tools, "ttlMs": 1, "resultType": "complete" }).to_string().into_bytes()
}

fn read(tools: Json) -> ToolParams {
    let mut params = ToolParams::default();
    params.read(&page(tools)).unwrap();
    params
}

/// The tool `run` with these properties.
fn run(properties: Json) -> ToolParams {
    read(json!([{ "name": "run", "inputSchema": { "type": "object", "properties": properties } }]))
}

/// Why the schema of `run` is invalid, if it is.
fn invalid(schema: Json) -> Option<&'static str> {
    let params = read(json!([{ "name": "run", "inputSchema": schema }]));
    params.invalid().map(|(name, reason)| (name == "run").then_some(reason).unwrap()).next()
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

/// What is wrong with a call of `run`; nothing when it agrees.
fn fault(params: &ToolParams, arguments: Json, fields: &[(&'static str, &str)]) -> Option<String> {
    let arguments = arguments.to_string();
    match params.check("run", Some(arguments.as_bytes()), &headers(fields)) {
        ParamCheck::Agrees => None,
        ParamCheck::Disagrees(text) => Some(text),
        ParamCheck::Unknown => panic!("the tool is known"),
    }
}

#[test]
fn a_known_tool_is_checked_fully() {
    let params = run(json!({
        "region": { "type": "string", "x-mcp-header": "Region" },
        "count": { "type": "integer", "x-mcp-header": "count" },
        "dry": { "x-mcp-header": "Dry-Run", "type": "boolean" },
        "free": { "type": "string" },
    }));
    let all = json!({ "region": "eu", "count": 42, "dry": true, "free": "x" });
    let good = [("mcp-param-region", "eu"), ("mcp-param-count", "42.0"), ("mcp-param-dry-run", "true")];
    assert_eq!(fault(&params, all.clone(), &good), None);
    assert_eq!(fault(&params, json!({}), &[]), None);
    assert_eq!(fault(&params, json!({ "region": null, "count": null }), &[]), None);
    // What the schema does not ask for is none of our business.
    assert_eq!(fault(&params, json!({ "free": "x" }), &[("mcp-param-free", "y"), ("mcp-param-else", "z")]), None);

    let missing = fault(&params, all.clone(), &good[..2]).unwrap();
    assert_eq!(missing, "Mcp-Param-Dry-Run is missing");
    let differs = fault(&params, json!({ "region": "eu" }), &[("mcp-param-region", "us")]).unwrap();
    assert_eq!(differs, "Mcp-Param-Region differs from its argument");
    let unasked = fault(&params, json!({}), &[("mcp-param-region", "eu")]).unwrap();
    assert_eq!(unasked, "Mcp-Param-Region is given, but its argument is absent or null");
    assert!(fault(&params, json!({ "region": null }), &[("mcp-param-region", "null")]).is_some());
    let repeated = fault(&params, json!({ "region": "eu" }), &[("mcp-param-region", "eu"), ("mcp-param-region", "eu")]);
    assert_eq!(repeated.unwrap(), "Mcp-Param-Region is given more than once");
    assert!(fault(&params, json!({ "count": 42 }), &[("mcp-param-count", "43")]).is_some());
    assert!(
        fault(&params, json!({ "count": 9007199254740992_i64 }), &[("mcp-param-count", "9007199254740992")]).is_some()
    );
    assert!(fault(&params, json!({ "dry": true }), &[("mcp-param-dry-run", "True")]).is_some());
}

#[test]
fn values_are_decoded_before_they_are_compared() {
    let params = run(json!({ "region": { "type": "string", "x-mcp-header": "Region" } }));
    let check =
        |argument: &str, header: &str| fault(&params, json!({ "region": argument }), &[("mcp-param-region", header)]);
    assert_eq!(check("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="), None);
    assert_eq!(check("", ""), None);
    assert_eq!(check("Hello", "=?base64?SGVsbG8=?="), None);
    assert_eq!(check("x", "=?base64?SGVsbG8?=").unwrap(), "Mcp-Param-Region is not valid base64");
    assert_eq!(check("x", "=?base64?/w==?=").unwrap(), "Mcp-Param-Region is not base64 of UTF-8");
    assert_eq!(check("é", "é").unwrap(), "Mcp-Param-Region has characters outside visible ASCII");
    assert!(fault(&params, json!({ "region": "" }), &[]).is_some());
}

#[test]
fn arguments_that_cannot_be_mirrored_have_no_header() {
    let params = run(json!({ "region": { "type": "string", "x-mcp-header": "Region" } }));
    for argument in [json!([]), json!({}), json!({ "region": "eu" })] {
        assert_eq!(fault(&params, json!({ "region": argument }), &[]), None);
        assert!(fault(&params, json!({ "region": argument }), &[("mcp-param-region", "eu")]).is_some());
    }
    // Arguments that are absent, or no object at all.
    assert_eq!(params.check("run", None, &HeaderMap::new()), ParamCheck::Agrees);
    assert_eq!(fault(&params, json!([1]), &[]), None);
    assert!(matches!(params.check("run", None, &headers(&[("mcp-param-region", "eu")])), ParamCheck::Disagrees(_)));
}

#[test]
fn nested_properties_are_found_at_their_exact_path() {
    let params = run(json!({
        "target": { "type": "object", "properties": {
            "place": { "type": "object", "properties": { "region": { "type": "string", "x-mcp-header": "Region" } } },
            "other": { "type": "object", "properties": { "x": { "type": "string" } } },
        } },
    }));
    let at_path = json!({ "other": { "region": "no" }, "target": { "region": "no", "place": { "region": "eu" } } });
    assert_eq!(fault(&params, at_path, &[("mcp-param-region", "eu")]), None);
    for elsewhere in [json!({ "region": "eu" }), json!({ "target": { "region": "eu" } }), json!({ "target": "eu" })] {
        assert_eq!(fault(&params, elsewhere, &[]), None);
    }
    let escaped = br#"{"t\u0061rget":{"place":{"regio\u006e":"eu"}}}"#;
    assert_eq!(params.check("run", Some(escaped), &headers(&[("mcp-param-region", "eu")])), ParamCheck::Agrees);
}

#[test]
fn invalid_annotations_are_told_with_a_reason() {
    let on = |property: Json| json!({ "properties": { "a": property } });
    for (schema, reason) in [
        (on(json!({ "type": "string", "x-mcp-header": "" })), "no name"),
        (on(json!({ "type": "string", "x-mcp-header": 5 })), "no name"),
        (on(json!({ "type": "string", "x-mcp-header": null })), "no name"),
        (on(json!({ "type": "string", "x-mcp-header": "a b" })), "no token"),
        (on(json!({ "type": "string", "x-mcp-header": "a\r\nb" })), "no token"),
        (on(json!({ "type": "string", "x-mcp-header": "é" })), "no token"),
        (on(json!({ "type": "number", "x-mcp-header": "A" })), "string, integer or boolean"),
        (on(json!({ "type": "object", "x-mcp-header": "A" })), "string, integer or boolean"),
        (on(json!({ "type": ["string", "null"], "x-mcp-header": "A" })), "string, integer or boolean"),
        (on(json!({ "x-mcp-header": "A" })), "string, integer or boolean"),
        (json!({ "type": "string", "x-mcp-header": "A" }), "no chain of properties"),
        (on(json!({ "items": { "type": "string", "x-mcp-header": "A" } })), "no chain of properties"),
        (on(json!({ "items": { "properties": { "b": { "type": "string", "x-mcp-header": "A" } } } })), "no chain"),
        (on(json!({ "oneOf": [{ "type": "string", "x-mcp-header": "A" }] })), "no chain of properties"),
        (
            json!({ "if": { "properties": { "a": { "type": "string", "x-mcp-header": "A" } } } }),
            "no chain of properties",
        ),
        (json!({ "$defs": { "d": { "type": "string", "x-mcp-header": "A" } } }), "no chain of properties"),
        (json!({ "patternProperties": { "^a": { "type": "string", "x-mcp-header": "A" } } }), "no chain of properties"),
        (json!({ "additionalProperties": { "type": "string", "x-mcp-header": "A" } }), "no chain of properties"),
        (
            json!({ "properties": { "a": { "type": "string", "x-mcp-header": "Region" }, "b": { "type": "object",
                "properties": { "c": { "type": "integer", "x-mcp-header": "REGION" } } } } }),
            "twice",
        ),
    ] {
        let found = invalid(schema.clone()).unwrap_or_else(|| panic!("{schema} is valid"));
        assert!(found.contains(reason), "{schema}: {found}");
    }
}

#[test]
fn what_only_looks_like_an_annotation_is_none() {
    for schema in [
        json!({}),
        json!(true),
        json!({ "properties": { "x-mcp-header": { "type": "string" } } }),
        json!({ "properties": { "a": { "type": "object", "default": { "x-mcp-header": "A" } } } }),
        json!({ "properties": { "a": { "enum": [{ "x-mcp-header": "A" }], "const": { "x-mcp-header": 1 } } } }),
        json!({ "$defs": { "x-mcp-header": { "type": "string" } } }),
        json!({ "required": ["x-mcp-header"], "description": "x-mcp-header" }),
        json!({ "properties": { "a": { "type": "string", "x-mcp-header": "!#$%&'*+-.^_`|~09azAZ" } } }),
    ] {
        assert_eq!(invalid(schema.clone()), None, "{schema}");
    }
}

#[test]
fn header_names_are_tokens_of_rfc_9110() {
    for byte in 0..=127u8 {
        let name = format!("a{}", byte as char);
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let schema = json!({ "properties": { "a": { "type": "string", "x-mcp-header": name } } });
        assert_eq!(invalid(schema).is_none(), token, "{byte:#x}");
    }
}

#[test]
fn pages_add_up() {
    let mut params = ToolParams::default();
    params.read(&page(json!([{ "name": "a" }, { "name": "b", "inputSchema": {} }]))).unwrap();
    params.read(&page(json!([{ "name": "run", "inputSchema": { "properties": { "r": { "type": "string", "x-mcp-header": "R" } } } }]))).unwrap();
    params.read(&page(json!([]))).unwrap();
    assert_eq!((params.len(), params.is_empty(), params.invalid().count()), (3, false, 0));
    assert_eq!(params.check("a", None, &headers(&[("mcp-param-r", "x")])), ParamCheck::Agrees);
    assert!(matches!(params.check("run", None, &headers(&[("mcp-param-r", "x")])), ParamCheck::Disagrees(_)));
    assert_eq!(params.check("unknown", None, &headers(&[("mcp-param-r", "x")])), ParamCheck::Unknown);
    // Listed again as it was: fine. Listed again as something else: nobody can say which counts.
    params.read(&page(json!([{ "name": "a" }, { "name": "run" }]))).unwrap();
    assert_eq!(params.invalid().collect::<Vec<_>>(), [("run", "it is listed more than once")]);
    assert_eq!(params.check("run", None, &headers(&[("mcp-param-r", "x")])), ParamCheck::Unknown);
}

#[test]
fn one_bad_tool_leaves_the_others_alone() {
    let params = read(json!([
        { "name": "bad", "inputSchema": { "x-mcp-header": "A" } },
        { "name": "run", "inputSchema": { "properties": { "r": { "type": "string", "x-mcp-header": "R" } } } },
    ]));
    assert_eq!(params.check("bad", None, &HeaderMap::new()), ParamCheck::Unknown);
    assert_eq!(fault(&params, json!({ "r": "x" }), &[("mcp-param-r", "x")]), None);
}

#[test]
fn what_is_no_tool_list_is_refused() {
    for bytes in [
        &b""[..],
        b"{}",
        b"[]",
        b"null",
        br#"{"tools":{}}"#,
        br#"{"tools":[1]}"#,
        br#"{"tools":[{}]}"#,
        br#"{"tools":[{"name":1}]}"#,
        br#"{"tools":[],"tools":[]}"#,
        br#"{"tools":[]"#,
        br#"{"tools":[]} x"#,
        b"{\"tools\":[{\"name\":\"\xff\"}]}",
    ] {
        assert_eq!(
            ToolParams::default().read(bytes),
            Err(PageFault::Malformed),
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    let twice = br#"{"tools":[{"name":"a","name":"b"},{"name":"c","inputSchema":{},"inputSchema":{}}]}"#;
    let mut params = ToolParams::default();
    params.read(twice).unwrap();
    assert_eq!(params.invalid().count(), 2);
    let twice = br#"{"tools":[{"name":"a","inputSchema":{"properties":{"p":{"type":"string","type":"number","x-mcp-header":"P"}}}},
        {"name":"b","inputSchema":{"properties":{"p":{"type":"string","x-mcp-header":"P"},"p":{"type":"string","x-mcp-header":"Q"}}}}]}"#;
    let mut params = ToolParams::default();
    params.read(twice).unwrap();
    assert_eq!(params.invalid().count(), 2);
}

#[test]
fn everything_is_bounded() {
    let limits = ParamLimits::default();
    let many: Vec<Json> = (0..limits.tools).map(|i| json!({ "name": format!("t{i}") })).collect();
    let mut params = read(json!(many));
    assert_eq!(params.read(&page(json!([{ "name": "one more" }]))), Err(PageFault::TooMany(10_000)));
    assert_eq!(params.read(&page(json!([{ "name": "t0" }]))), Ok(()));

    let properties = |count: usize| -> Json {
        (0..count)
            .map(|i| (format!("p{i}"), json!({ "type": "string", "x-mcp-header": format!("H{i}") })))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    assert_eq!(invalid(json!({ "properties": properties(limits.mirrors) })), None);
    assert!(invalid(json!({ "properties": properties(limits.mirrors + 1) })).unwrap().contains("too many"));

    let nested = |depth: usize| {
        (1..depth)
            .fold(json!({ "type": "string", "x-mcp-header": "A" }), |inner, _| json!({ "properties": { "a": inner } }))
    };
    assert_eq!(invalid(nested(limits.depth)), None);
    assert!(invalid(nested(limits.depth + 1)).unwrap().contains("too deeply"));
    let deep =
        format!(r#"{{"tools":[{{"name":"a","inputSchema":{}}}]}}"#, r#"{"not":"#.repeat(400) + "1" + &"}".repeat(400));
    assert_eq!(ToolParams::default().read(deep.as_bytes()), Ok(()));
    let deeper = format!(r#"{{"tools":{}"#, "[".repeat(1_000_000));
    assert_eq!(ToolParams::default().read(deeper.as_bytes()), Err(PageFault::Malformed));
}

#[test]
fn bounds_are_those_that_are_given() {
    let mut few = ToolParams::within(ParamLimits { tools: 1, mirrors: 0, depth: 64 });
    let schema = json!({ "properties": { "a": { "type": "string", "x-mcp-header": "A" } } });
    assert_eq!(few.read(&page(json!([{ "name": "a", "inputSchema": schema }]))), Ok(()));
    assert_eq!(few.invalid().collect::<Vec<_>>(), [("a", "it mirrors too many arguments")]);
    assert_eq!(few.read(&page(json!([{ "name": "b" }]))), Err(PageFault::TooMany(1)));
    let mut flat = ToolParams::within(ParamLimits { depth: 1, ..ParamLimits::default() });
    flat.read(&page(json!([{ "name": "a", "inputSchema": schema }]))).unwrap();
    assert_eq!(flat.invalid().collect::<Vec<_>>(), [("a", "its schema nests too deeply")]);
}

proptest! {
    #[test]
    fn what_a_client_mirrors_agrees(region in any::<String>(), count in -mirror::MAX_INTEGER..=mirror::MAX_INTEGER, dry: bool) {
        let params = run(json!({
            "region": { "type": "string", "x-mcp-header": "Region" },
            "more": { "type": "object", "properties": {
                "count": { "type": "integer", "x-mcp-header": "Count" },
                "dry": { "type": "boolean", "x-mcp-header": "Dry" },
            } },
        }));
        let arguments = json!({ "region": region, "more": { "count": count, "dry": dry } });
        let header = mirror::encode(&region);
        let fields = [("mcp-param-region", &*header), ("mcp-param-count", &count.to_string()), ("mcp-param-dry", &dry.to_string())];
        prop_assert_eq!(fault(&params, arguments.clone(), &fields), None);
        prop_assert!(fault(&params, arguments, &fields[1..]).is_some());
    }

    #[test]
    fn no_page_and_no_arguments_do_harm(page in "[\\[\\]{}:,\"a-z1 ]{0,60}", arguments in "[\\[\\]{}:,\"a-z1 ]{0,60}") {
        let _ = ToolParams::default().read(page.as_bytes());
        let _ = ToolParams::default().read(format!(r#"{{"tools":[{page}]}}"#).as_bytes());
        let params = run(json!({ "a": { "type": "string", "x-mcp-header": "A" } }));
        let _ = params.check("run", Some(arguments.as_bytes()), &HeaderMap::new());
    }
}

#[test]
fn what_a_client_is_told_to_send_agrees() {
    let params = run(json!({
        "region": { "type": "string", "x-mcp-header": "Region" },
        "count": { "type": "integer", "x-mcp-header": "Count" },
        "where": { "type": "object", "properties": { "dry": { "type": "boolean", "x-mcp-header": "Dry" } } },
        "odd": { "type": "string", "x-mcp-header": "Odd" },
        "free": { "type": "string" },
    }));
    for arguments in [
        json!({ "region": " ü\n", "count": 42.0, "where": { "dry": true }, "odd": [1], "free": "x" }),
        json!({ "region": "=?base64?x?=", "count": -1, "odd": null }),
        json!({ "region": "", "where": null }),
        json!({}),
    ] {
        let text = arguments.to_string();
        let sent = params.headers("run", Some(text.as_bytes())).unwrap();
        let map: HeaderMap = sent.iter().cloned().collect();
        assert_eq!(map.len(), sent.len());
        assert_eq!(params.check("run", Some(text.as_bytes()), &map), ParamCheck::Agrees, "{text}");
        assert!(!map.contains_key("mcp-param-odd") && !map.contains_key("mcp-param-free"));
    }
    assert_eq!(params.headers("run", None), Some(Vec::new()));
    assert_eq!(params.headers("walk", None), None);
}
