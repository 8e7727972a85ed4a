//! The mark on an answer that a new session of the backend gave, because the old one was lost: whoever relies on what the
//! backend remembers can see that it may have forgotten. It is the gateway's word, so no backend's is passed on.

use crate::session::{NodeSession, Sessions};
use bytes::Bytes;
use lockgate_filters::rpc::members::{member, members};
use lockgate_filters::rpc::scan::{Form, Span};
use lockgate_filters::splice::{Edit, edited};
use memchr::memchr2;
use memchr::memmem::Finder;
use std::sync::{Arc, LazyLock};

/// What the names of the gateway's own members of `_meta` begin with.
const OURS: &str = "io.lockgate/";
/// The mark: a member of the result's `_meta`.
pub(super) const MARK: &str = r#""io.lockgate/sessionHealed":true"#;
/// Its name.
const NAME: &str = "io.lockgate/sessionHealed";

/// That the next result from a backend is to be marked.
#[derive(Clone)]
pub(super) struct Mark {
    sessions: Arc<Sessions>,
    node: Arc<NodeSession>,
    place: Arc<str>,
}

impl Mark {
    /// For a request that found the loss itself.
    pub fn new(sessions: &Arc<Sessions>, node: &Arc<NodeSession>, place: &Arc<str>) -> Mark {
        Mark { sessions: Arc::clone(sessions), node: Arc::clone(node), place: Arc::clone(place) }
    }

    /// For any other request, where nobody has been told yet.
    pub fn due(sessions: &Arc<Sessions>, node: &Arc<NodeSession>, place: &Arc<str>) -> Option<Mark> {
        node.is_to_be_marked(place).then(|| Mark::new(sessions, node, place))
    }

    /// The response with the mark. What holds no result leaves it to the next one.
    pub fn put(&self, response: Bytes) -> Bytes {
        match marked(&response) {
            Some(marked) => {
                self.sessions.was_marked(&self.node, &self.place);
                marked
            }
            None => response,
        }
    }
}

/// The response with the mark; nothing where it holds no result.
fn marked(response: &Bytes) -> Option<Bytes> {
    let result = member(response, "result").filter(|result| result.form == Form::Object)?;
    let inside = result.span.of(response);
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
        Some(_) => return None,
        None => insert(result.span.start + 1, inside, format!("\"_meta\":{{{MARK}}}")),
    };
    let whole = Span { start: 0, end: u32::try_from(response.len()).unwrap_or(u32::MAX) };
    Some(edited(response, whole, &[with]))
}

/// The response without what only the gateway may say in the `_meta` of its result.
pub(super) fn unmarked(response: Bytes) -> Bytes {
    static OURS_PLAIN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("io.lockgate"));
    static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u"));
    // Whatever stands in `_meta` comes behind a rare byte, however that name is written.
    let Some(at) = memchr2(b'_', b'\\', &response) else { return response };
    if OURS_PLAIN.find(&response[at..]).is_none() && ESCAPE.find(&response[at..]).is_none() {
        return response;
    }
    let Some(result) = member(&response, "result").filter(|result| result.form == Form::Object) else {
        return response;
    };
    let inside = result.span.of(&response);
    let Some(meta) = member(inside, "_meta").filter(|meta| meta.form == Form::Object) else { return response };
    let object = meta.span.of(inside);
    if !members(object).any(|member| member.name.starts_with(OURS)) {
        return response;
    }
    let mut kept = vec![b'{'];
    for member in members(object).filter(|member| !member.name.starts_with(OURS)) {
        if kept.len() > 1 {
            kept.push(b',');
        }
        kept.extend_from_slice(serde_json::Value::from(&*member.name).to_string().as_bytes());
        kept.push(b':');
        kept.extend_from_slice(member.value.span.of(object));
    }
    kept.push(b'}');
    let edit = Edit { span: meta.span.within(result.span), with: kept.into() };
    let whole = Span { start: 0, end: u32::try_from(response.len()).unwrap_or(u32::MAX) };
    edited(&response, whole, &[edit])
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
        let response = Bytes::from_static(response.as_bytes());
        String::from_utf8(marked(&response).unwrap_or(response).to_vec()).unwrap()
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
        for (response, expected) in [
            (r#"{"result":{"_meta":{"io.lockgate/sessionHealed":true}},"id":1}"#, r#"{"result":{"_meta":{}},"id":1}"#),
            (r#"{"result":{"\u005fmeta":{"io.lockgate/x":1,"a":2}}}"#, r#"{"result":{"\u005fmeta":{"a":2}}}"#),
            (
                r#"{"result":{"a":1,"_meta":{"x\"y":[1, 2],"io.lockgate\/x":{},"\u0069o.lockgate/y":1, "b":{"c":2}}}}"#,
                r#"{"result":{"a":1,"_meta":{"x\"y":[1, 2],"b":{"c":2}}}}"#,
            ),
        ] {
            assert_eq!(unmarked(Bytes::from(response)), expected);
        }
        for same in [
            r#"{"result":{"_meta":{"com.example/io.lockgate/x":1,"io.lockgatex":"\u0041"}}}"#,
            r#"{"result":{"text":"io.lockgate/sessionHealed"}}"#,
            r#"{"error":{"data":{"_meta":{"io.lockgate/x":1}}}}"#,
        ] {
            assert_eq!(unmarked(Bytes::from(same)), same);
        }
        for same in [r#"{"error":{"code":1}}"#, r#"{"result":7}"#, r#"{"result":{"_meta":7}}"#, "", "<html>"] {
            assert_eq!(mark(same), same);
        }
    }
}
