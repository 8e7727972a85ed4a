//! Judging JSON as serde_json does, and a set an object.

use super::*;
use proptest::prelude::*;
use serde_json::Value as Json;

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
    // What is only passed over has the same grammar, and its names may repeat.
    match skim_content(body, &deep).map_err(|fault| fault.fault) {
        Err(Fault::TooDeep | Fault::NotUtf8) => {}
        skimmed => prop_assert_eq!(skimmed.is_ok(), serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()),
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
