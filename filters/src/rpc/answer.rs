//! What a backend's response answers: its id, read without keeping anything else of it.
//!
//! Every answer of a backend among several is held against the request that it is to answer, so this walks it once and
//! remembers two things. What else may have to be known of a message, [`super::scan::scan_envelope`] reads.
//!
//! Most servers write their answers alike, and then only the result is left to walk. A search for a second id in it would be
//! faster still, and no proof: some clients read names without quotes, or in single ones.

use super::envelope::is_ambiguous;
use super::scan::{Form, Limits, ScanFault, Value};
use super::walk::{Rules, Walker};
use crate::fault::Fault;
use memchr::memchr;
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// A response, as far as it says what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The id of the request; an error may have none (`null` in JSON-RPC, absent in MCP).
    pub id: Option<Value>,
    /// Whether it is an error.
    pub is_error: bool,
}

/// Reads one response of a backend.
///
/// Whatever is read here as the response to a request, [`super::scan::scan_envelope`] reads as that too, unless names
/// repeat in the `_meta` of its result.
///
/// # Errors
///
/// As [`super::scan::scan_envelope`]; a message that is no response is [`Fault::NotJsonRpc`]. Nothing is said of its id.
pub fn answer(body: &[u8], limits: &Limits) -> Result<Answer, ScanFault> {
    let rules = Rules { depth: limits.depth, unique: false, paired: false };
    let walker = &mut Walker::new(body, rules)?;
    let refused = |at: usize| ScanFault { fault: Fault::NotJsonRpc, at, id: None };
    if walker.peek() != Some(b'{') {
        return Err(refused(walker.at()));
    }
    walker.enter_object(true)?;
    let (mut version, mut id, mut error, mut has_result, mut asks) = (None, None, None, false, false);
    let mut first = true;
    while let Some(key) = walker.member(&mut first)? {
        let value = walker.value()?;
        match &*key.text {
            b"jsonrpc" => version = Some(value),
            b"id" => id = Some(value),
            b"result" => has_result = true,
            b"error" => error = Some(value.form),
            b"method" | b"params" => asks = true,
            other if is_ambiguous(other) => walker.raise(Fault::DuplicateMember, key.span.start as usize),
            _ => {}
        }
    }
    walker.end()?;
    if let Some(flaw) = walker.objection {
        return Err(flaw.into());
    }
    let speaks = version.and_then(|version| version.text(body)).is_some_and(|version| version == "2.0");
    let names = id.is_some_and(|id| matches!(id.form, Form::String { .. } | Form::Number));
    let nothing = id.is_none_or(|id| id.form == Form::Null);
    let is_error = match (has_result, error) {
        _ if asks || !speaks => return Err(refused(0)),
        (true, None) if names => false,
        (false, Some(Form::Object)) if names || nothing => true,
        _ => return Err(refused(0)),
    };
    Ok(Answer { id: id.filter(|_| names), is_error })
}

/// Whether a body is the response to the request with this raw id, and written as most are: `result` last behind `id`, or
/// first before it, and nothing else. Of any other, [`answer`] tells.
pub fn plainly_answers(body: &[u8], asked: &[u8], limits: &Limits) -> bool {
    let rules = Rules { depth: limits.depth.saturating_sub(1), unique: false, paired: false };
    let named = |rest: &'_ [u8]| rest.strip_prefix(br#""jsonrpc":"2.0","id":"#)?.strip_prefix(asked).map(<[u8]>::len);
    let Some(inside) = body.strip_prefix(b"{") else { return false };
    let Ok(mut walker) = Walker::new(body, rules) else { return false };
    match named(inside) {
        Some(left) => {
            let behind = body.len() - left;
            body[behind..].starts_with(br#","result":"#)
                && walker.value_at(behind + br#","result":"#.len()).is_ok_and(|end| body[end..] == *b"}")
        }
        None => {
            inside.starts_with(br#""result":"#)
                && walker.value_at(br#"{"result":"#.len()).is_ok_and(|end| {
                    body[end..]
                        .strip_prefix(b",")
                        .and_then(named)
                        .is_some_and(|left| body[body.len() - left..] == *b"}")
                })
        }
    }
}

/// Whether a message may be a request or a notification: a member may be named `method`, however that is written.
pub fn may_ask(message: &[u8]) -> bool {
    static METHOD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"method\""));
    static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u"));
    METHOD.find(message).is_some() || memchr(b'\\', message).is_some_and(|at| ESCAPE.find(&message[at..]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::scan::{Kind, scan_envelope};
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { depth: 8, batch: 1 };

    fn read(body: &str) -> Option<(Option<&str>, bool)> {
        let answer = answer(body.as_bytes(), &LIMITS).ok()?;
        let id = answer.id.map(|id| std::str::from_utf8(id.span.of(body.as_bytes())).unwrap());
        Some((id, answer.is_error))
    }

    #[test]
    fn responses_say_what_they_answer() {
        for (body, is) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, (Some("1"), false)),
            (r#" {"result":[1],"jsonrpc":"2.0","id":"a","more":{"id":3}} "#, (Some(r#""a""#), false)),
            (r#"{"jsonrpc":"2.0","\u0069d":1,"result":null}"#, (Some("1"), false)),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"id":2}}"#, (Some("1"), true)),
            (r#"{"jsonrpc":"2.0","id":null,"error":{}}"#, (None, true)),
            (r#"{"jsonrpc":"2.0","error":{}}"#, (None, true)),
        ] {
            assert_eq!(read(body), Some(is), "{body}");
        }
    }

    #[test]
    fn what_may_ask_is_told_from_what_cannot() {
        for asks in [r#"{"method":"x"}"#, r#"{"a\n":1,"\u006dethod":"x"}"#] {
            assert!(may_ask(asks.as_bytes()), "{asks}");
        }
        for does_not in [r#"{"result":{"method ":1}}"#, r#"{"result":"\n\\"}"#] {
            assert!(!may_ask(does_not.as_bytes()), "{does_not}");
        }
    }

    #[test]
    fn what_else_is_said_answers_nothing() {
        for body in [
            "",
            "{}",
            r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}} {}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"id":2}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"\u0069d":2}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"ID":2}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},id:2}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},'id':2}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"\id":2}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#,
            r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":[1],"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#,
            r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
            r#"{"id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":[[[[[[[[[]]]]]]]]]}"#,
        ] {
            assert_eq!(read(body), None, "{body}");
        }
    }

    #[test]
    fn plain_answers_are_written_as_most_are() {
        for (body, asked) in [
            (r#"{"jsonrpc":"2.0","id":17,"result":{"content":[{"type":"text","id":6,"text":"a"}]}}"#, "17"),
            (r#"{"result":{"content":[]},"jsonrpc":"2.0","id":"a-1"}"#, r#""a-1""#),
            (r#"{"jsonrpc":"2.0","id":17,"result":"é\n"}"#, "17"),
        ] {
            assert!(plainly_answers(body.as_bytes(), asked.as_bytes(), &LIMITS), "{body}");
        }
        for body in [
            r#"{"jsonrpc":"2.0","id":1,"result":{},"id":6}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},id:6}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},'id':6}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"\id":6}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}{}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":[[[[[[[[]]]]]]]]}"#,
            r#"{"jsonrpc":"2.0","id":11,"result":{}}"#,
            r#"{"result":{},"id":6,"jsonrpc":"2.0","id":1}"#,
            r#"{"result":{},"jsonrpc":"2.0","id":11}"#,
            r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":"#,
            "",
            "1",
        ] {
            assert!(!plainly_answers(body.as_bytes(), b"1", &LIMITS), "{body}");
        }
        assert!(!plainly_answers(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xff\"}", b"1", &LIMITS));
    }

    /// Answers as servers write them, with something more in a place that matters.
    fn plain() -> impl Strategy<Value = String> {
        let more = [
            "",
            r#","id":2"#,
            r#",id:2"#,
            r#",'id':2"#,
            r#","result":1"#,
            r#","error":{}"#,
            r#","a":1"#,
            "}",
            ",",
            " ",
        ];
        let more = prop::sample::select(more.to_vec());
        let result = prop::sample::select(vec!["{}", r#"{"id":1}"#, r#""\"id\":""#, "[", r#"{"a":{"b":"c"}}"#, "x"]);
        (more.clone(), result, more, any::<bool>()).prop_map(|(one, result, two, first)| match first {
            true => format!(r#"{{"jsonrpc":"2.0","id":1{one},"result":{result}{two}}}"#),
            false => format!(r#"{{"result":{result}{one},"jsonrpc":"2.0","id":1{two}}}"#),
        })
    }

    fn bodies() -> impl Strategy<Value = String> {
        let value = prop::sample::select(vec![
            "1",
            "-0.5e3",
            r#""a""#,
            r#""\u0031""#,
            "null",
            "true",
            "{}",
            "[]",
            r#"{"id":1,"_meta":{"a":1}}"#,
            r#""2.0""#,
            "x",
        ]);
        let name = prop::sample::select(vec![
            "jsonrpc", "id", "result", "error", "method", "ID", "other", r"\u0069d", "Result",
        ]);
        prop::collection::vec((name, value), 0..5).prop_map(|members| {
            let members: Vec<String> =
                members.into_iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
            format!(r#"{{"jsonrpc":"2.0",{}}}"#, members.join(","))
        })
    }

    proptest! {
        #[test]
        fn what_is_plain_is_an_answer(body in plain()) {
            if plainly_answers(body.as_bytes(), b"1", &LIMITS) {
                prop_assert_eq!(read(&body), Some((Some("1"), false)));
            }
        }

        #[test]
        fn agrees_with_the_envelope(body in bodies()) {
            let whole = scan_envelope(body.as_bytes(), &LIMITS).ok().filter(|message| message.kind == Kind::Response);
            let whole = whole.map(|message| Answer { id: message.id, is_error: message.error.is_some() });
            prop_assert_eq!(answer(body.as_bytes(), &LIMITS).ok(), whole);
        }
    }
}
