//! The mark on an answer that a new session of the backend gave, because the old one was lost: whoever relies on what the
//! backend remembers can see that it may have forgotten.

use bytes::Bytes;
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::scan::{Form, Span};
use lockgate_filters::splice::{Edit, edited};

/// The mark: a member of the result's `_meta`.
pub(super) const MARK: &str = r#""io.lockgate/sessionHealed":true"#;
/// Its name.
const NAME: &str = "io.lockgate/sessionHealed";

/// The response with the mark; as it is where it holds no result.
pub(super) fn marked(response: Bytes) -> Bytes {
    let Some(result) = member(&response, "result").filter(|result| result.form == Form::Object) else {
        return response;
    };
    let inside = result.span.of(&response);
    let with = match member(inside, "_meta") {
        Some(meta) if meta.form == Form::Object => {
            let (meta, object) = (meta.span.within(result.span), meta.span.of(inside));
            match member(object, NAME) {
                // The backend has no say in it.
                Some(said) => Edit { span: said.span.within(meta), with: Bytes::from_static(b"true") },
                None => insert(meta.start + 1, object, MARK.to_owned()),
            }
        }
        // What it is instead is for the client to judge.
        Some(_) => return response,
        None => insert(result.span.start + 1, inside, format!("\"_meta\":{{{MARK}}}")),
    };
    let whole = Span { start: 0, end: u32::try_from(response.len()).unwrap_or(u32::MAX) };
    edited(&response, whole, &[with])
}

/// Puts a member first into an object.
fn insert(at: u32, object: &[u8], member: String) -> Edit {
    let empty = object.get(1..).is_none_or(|rest| rest.trim_ascii_start().starts_with(b"}"));
    let with = if empty { member } else { format!("{member},") };
    Edit { span: Span { start: at, end: at }, with: with.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(response: &'static str) -> String {
        String::from_utf8(marked(Bytes::from_static(response.as_bytes())).to_vec()).unwrap()
    }

    #[test]
    fn results_are_marked_and_nothing_else_changes() {
        for (response, expected) in [
            (r#"{"id":1,"result":{}}"#, r#"{"id":1,"result":{"_meta":{"io.lockgate/sessionHealed":true}}}"#),
            (r#"{"result":{ "a":1}}"#, r#"{"result":{"_meta":{"io.lockgate/sessionHealed":true}, "a":1}}"#),
            (
                r#"{"result":{"a":1,"_meta":{"b":2}},"id":1}"#,
                r#"{"result":{"a":1,"_meta":{"io.lockgate/sessionHealed":true,"b":2}},"id":1}"#,
            ),
            (
                r#"{"result":{"_meta":{"b":2,"io.lockgate/sessionHealed":[false]}}}"#,
                r#"{"result":{"_meta":{"b":2,"io.lockgate/sessionHealed":true}}}"#,
            ),
            (r#"{"result":{"_meta":{ }}}"#, r#"{"result":{"_meta":{"io.lockgate/sessionHealed":true }}}"#),
        ] {
            assert_eq!(mark(response), expected);
            assert!(serde_json::from_str::<serde_json::Value>(expected).is_ok());
        }
        for same in [r#"{"error":{"code":1}}"#, r#"{"result":7}"#, r#"{"result":{"_meta":7}}"#, "", "<html>"] {
            assert_eq!(mark(same), same);
        }
    }
}
