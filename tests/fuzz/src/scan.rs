//! The scanner agrees with serde_json on what is JSON, with a set an object on what is unique, and on every value.

use lockgate_filters::rpc::members::{items, members};
use lockgate_filters::rpc::scan::{Form, Kind, Limits, Message, Span, Value, scan, scan_envelope, skim};
use serde_json::Value as Json;

/// serde_json reads up to 127 levels.
const LIMITS: Limits = Limits { depth: 127, batch: 32 };

/// Checks a request body.
pub fn check(body: &[u8]) {
    let read = serde_json::from_slice::<Json>(body);
    // A number beyond the range of its types is JSON all the same, but there is no value to compare with.
    let out_of_range = read.as_ref().is_err_and(|error| error.to_string().contains("number out of range"));
    let envelope = scan_envelope(body, &LIMITS);
    let skimmed = skim(body, &LIMITS);
    match scan(body, &LIMITS) {
        Ok(found) => {
            assert!(read.is_ok() || out_of_range, "accepted, but no JSON");
            assert_eq!(skimmed, Ok(()), "accepted as a message, but not as a value");
            assert!(!found.messages.is_empty() && found.messages.len() <= LIMITS.batch);
            if !found.batch {
                assert_eq!(envelope.as_ref(), Ok(&found.messages[0]), "strict and lenient reading differ");
            }
            if let Ok(json) = &read {
                let all = json.as_array().map_or(std::slice::from_ref(json), Vec::as_slice);
                assert_eq!(all.len(), found.messages.len());
                found.messages.iter().zip(all).for_each(|(message, json)| same_message(body, message, json));
            }
        }
        Err(fault) => {
            assert!(fault.at <= body.len());
            if let Some(id) = fault.id {
                let id: Json = serde_json::from_slice(id.of(body)).unwrap_or_else(|error| {
                    assert!(error.to_string().contains("number out of range"));
                    Json::from(0)
                });
                assert!(id.is_string() || id.is_number(), "an id of another kind");
            }
        }
    }
    if skimmed.is_ok()
        && let Ok(json) = &read
    {
        let bytes = body.trim_ascii();
        let whole = Span { start: 0, end: bytes.len() as u32 };
        same_value(bytes, &Value { span: whole, form: form(bytes) }, json);
    }
    // Looking into anything at all ends, and does no harm.
    members(body).for_each(drop);
    items(body).for_each(drop);
}

fn same_message(body: &[u8], message: &Message, json: &Json) {
    assert_eq!(json["jsonrpc"], "2.0");
    let at = |value: Option<&Value>| value.map(|value| serde_json::from_slice::<Json>(value.span.of(body)).unwrap());
    let member = |name: &str| json.get(name).cloned();
    assert_eq!(at(message.id.as_ref()), member("id").filter(|id| !id.is_null()));
    assert_eq!(at(message.method.as_ref()), member("method"));
    assert_eq!(at(message.result.as_ref()), member("result"));
    assert_eq!(at(message.error.as_ref()), member("error"));
    let kind = match (json.get("method"), json.get("id")) {
        (Some(_), Some(_)) => Kind::Request,
        (Some(_), None) => Kind::Notification,
        (None, _) => Kind::Response,
    };
    assert_eq!(message.kind, kind);
    if let Some(method) = &message.method {
        assert_eq!(method.text(body).as_deref(), json["method"].as_str());
    }
    let Some(params) = &message.params else {
        assert!(json.get("params").is_none());
        return;
    };
    assert_eq!(at(Some(&params.value)), member("params"));
    for (name, value) in [
        ("name", params.name),
        ("uri", params.uri),
        ("arguments", params.arguments),
        ("taskId", params.task_id),
        ("cursor", params.cursor),
        ("ref", params.reference),
        ("requestState", params.request_state),
        ("_meta", params.meta.as_ref().map(|meta| meta.value).or(params.malformed_meta)),
    ] {
        assert_eq!(at(value.as_ref()).as_ref(), json["params"].get(name), "{name}");
    }
    if let Some(meta) = &params.meta {
        let own = &json["params"]["_meta"];
        assert_eq!(at(meta.progress_token.as_ref()).as_ref(), own.get("progressToken"));
        assert_eq!(at(meta.protocol_version.as_ref()).as_ref(), own.get("io.modelcontextprotocol/protocolVersion"));
    }
}

fn same_value(bytes: &[u8], value: &Value, json: &Json) {
    let own = value.span.of(bytes);
    match json {
        Json::String(text) => assert_eq!(value.text(bytes).as_deref(), Some(text.as_str())),
        Json::Array(list) => {
            assert_eq!(value.form, Form::Array);
            assert_eq!(items(own).count(), list.len());
            items(own).zip(list).for_each(|(item, json)| same_value(own, &item, json));
        }
        Json::Object(map) => {
            assert_eq!(value.form, Form::Object);
            // No name stands twice, so the count is that of the map.
            assert_eq!(members(own).count(), map.len());
            members(own).for_each(|member| same_value(own, &member.value, &map[&*member.name]));
        }
        other => assert_eq!(&serde_json::from_slice::<Json>(own).unwrap(), other),
    }
}

fn form(bytes: &[u8]) -> Form {
    match bytes[0] {
        b'"' => Form::String { escaped: bytes.contains(&b'\\') },
        b'[' => Form::Array,
        b'{' => Form::Object,
        b't' | b'f' => Form::Bool,
        b'n' => Form::Null,
        _ => Form::Number,
    }
}
