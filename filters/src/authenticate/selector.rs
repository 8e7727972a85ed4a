//! Where in the claims something stands: the name of a member, or a JSON pointer (RFC 6901).

use serde_json::{Map, Value};
use std::fmt;

/// The longest selector, in bytes.
pub const SELECTOR_BYTES_MAX: usize = 256;

/// A place in the claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    text: Box<str>,
    /// The names and indices on the way; one name where the text is no pointer.
    steps: Box<[Box<str>]>,
}

/// Why a text names no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorFault {
    /// Empty, or longer than [`SELECTOR_BYTES_MAX`].
    #[error("a claim's name or pointer has 1 to 256 bytes")]
    Length,
    /// A `~` that is neither `~0` nor `~1`.
    #[error("in a JSON pointer ~ is written ~0 and a / within a name ~1")]
    Escape,
}

impl Selector {
    /// The member of this name; or, where the text begins with `/`, what this JSON pointer leads to.
    ///
    /// # Errors
    /// [`SelectorFault`].
    pub fn parse(text: &str) -> Result<Selector, SelectorFault> {
        if text.is_empty() || text.len() > SELECTOR_BYTES_MAX {
            return Err(SelectorFault::Length);
        }
        let steps = match text.strip_prefix('/') {
            None => [text.into()].into(),
            Some(pointer) => pointer.split('/').map(unescaped).collect::<Result<_, _>>()?,
        };
        Ok(Selector { text: text.into(), steps })
    }

    /// The member of a name that is known to be one.
    pub(super) fn member(name: &'static str) -> Selector {
        Selector { text: name.into(), steps: [name.into()].into() }
    }

    /// The text that it was made from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of the member of the claims that it leads through.
    pub(super) fn first(&self) -> &str {
        self.steps.first().map_or("", |name| name)
    }

    /// What stands there.
    pub fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.steps.split_first()?;
        rest.iter().try_fold(claims.get(&**first)?, |value, step| match value {
            Value::Object(members) => members.get(&**step),
            Value::Array(items) => items.get(index(step)?),
            _ => None,
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `~1` is a slash and `~0` a tilde; nothing else follows a tilde.
fn unescaped(step: &str) -> Result<Box<str>, SelectorFault> {
    let mut pieces = step.split('~');
    let mut name = String::from(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (escape, rest) = match piece.as_bytes().first() {
            Some(b'0') => ('~', piece.get(1..)),
            Some(b'1') => ('/', piece.get(1..)),
            _ => return Err(SelectorFault::Escape),
        };
        name.push(escape);
        name.push_str(rest.unwrap_or_default());
    }
    Ok(name.into())
}

/// An index has no leading zeros (RFC 6901 section 4).
fn index(step: &str) -> Option<usize> {
    let plain =
        step == "0" || !step.starts_with('0') && !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
    if plain { step.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn find(selector: &str, claims: &Value) -> Option<Value> {
        Selector::parse(selector).unwrap().find(claims.as_object().unwrap()).cloned()
    }

    #[test]
    fn a_name_is_a_member_and_a_pointer_leads_on() {
        let claims =
            json!({"sub": 1, "a.b": 2, "https://x/y": 3, "a": {"b": [10, {"c/d": 4, "e~f": 5, "": 6}]}, "": {"z": 7}});
        for (selector, value) in [
            ("sub", json!(1)),
            ("a.b", json!(2)),
            ("https://x/y", json!(3)),
            ("/sub", json!(1)),
            ("/a/b/0", json!(10)),
            ("/a/b/1/c~1d", json!(4)),
            ("/a/b/1/e~0f", json!(5)),
            ("/a/b/1/", json!(6)),
            ("//z", json!(7)),
            ("/https:~1~1x~1y", json!(3)),
        ] {
            assert_eq!(find(selector, &claims), Some(value), "{selector}");
        }
        for nowhere in
            ["x", "/x", "/a/b/2", "/a/b/00", "/a/b/-", "/a/b/+1", "/a/b/1e0", "/sub/x", "/a/b/99999999999999999999999"]
        {
            assert_eq!(find(nowhere, &claims), None, "{nowhere}");
        }
    }

    #[test]
    fn what_is_no_selector_is_said_to_be_none() {
        assert_eq!(Selector::parse(""), Err(SelectorFault::Length));
        assert_eq!(Selector::parse(&"a".repeat(257)), Err(SelectorFault::Length));
        for wrong in ["/a~", "/a~2", "/~x/b"] {
            assert_eq!(Selector::parse(wrong), Err(SelectorFault::Escape), "{wrong}");
        }
        assert_eq!(Selector::parse("a~2").unwrap().to_string(), "a~2");
    }

    proptest! {
        #[test]
        fn a_pointer_finds_what_the_library_finds(selector in "/[a-c0-2~/]{0,6}") {
            let claims = json!({"a": {"b": [1, {"c": 2}], "a/b": 3}, "b": ["x", ["y"]], "c~": {"0": 4, "": 5}});
            if let Ok(parsed) = Selector::parse(&selector) {
                prop_assert_eq!(parsed.find(claims.as_object().unwrap()), claims.pointer(&selector));
            }
        }
    }
}
