//! Exposed names: `<prefix><separator><original>`, always legal, always the same for the same backend and item.
//!
//! Hosts and model APIs take names of `[A-Za-z0-9_-]{1,64}` (Claude Desktop, OpenAI): one illegal name can make a whole
//! session unusable there. What does not fit is changed, cut and marked with a hash of what it was. A name is never taken
//! apart again: the catalog's table knows whose it is.

use aws_lc_rs::digest::{SHA256, digest};
use std::borrow::Cow;
use std::fmt::Write;

/// The longest exposed name, where the gateway composes it.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest name that MCP itself admits: what passes untouched where no prefix is wanted.
pub const MCP_NAME_BYTES_MAX: usize = 128;
/// The longest prefix.
pub const PREFIX_BYTES_MAX: usize = 16;
/// The longest separator.
pub const SEPARATOR_BYTES_MAX: usize = 4;

/// How many hexadecimal digits mark a name that was changed.
const MARK_DIGITS: usize = 6;

/// When names get their backend's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Prefixing {
    /// All names.
    #[default]
    Always,
    /// Names that two backends share, of both.
    OnConflict,
    /// None.
    Never,
}

/// Whether a text can be a prefix: `[a-z0-9-]{1,16}`.
pub fn is_prefix(text: &str) -> bool {
    (1..=PREFIX_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether a text can be a separator: `[_-]{1,4}`.
pub fn is_separator(text: &str) -> bool {
    (1..=SEPARATOR_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'_' | b'-'))
}

/// Whether a text can be an exposed name as it is: `[A-Za-z0-9_.-]{1,128}`.
pub fn is_mcp_name(text: &str) -> bool {
    (1..=MCP_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| is_strict(byte) || byte == b'.')
}

fn is_strict(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The prefix of a backend that configures none: its name, cut and marked where it is too long or has other characters.
pub fn default_prefix(backend: &str) -> Box<str> {
    if is_prefix(backend) {
        return backend.into();
    }
    let mark = mark(backend, "");
    let kept = backend.chars().map(|character| match character.to_ascii_lowercase() {
        legal @ ('a'..='z' | '0'..='9' | '-') => legal,
        _ => '-',
    });
    let mut prefix: String = kept.take(PREFIX_BYTES_MAX - MARK_DIGITS - 1).collect();
    prefix.push('-');
    prefix.push_str(&mark);
    prefix.into()
}

/// The exposed name of a backend's item, with its prefix and separator.
pub fn prefixed(prefix: &str, separator: &str, backend: &str, original: &str) -> Box<str> {
    let legal = original.bytes().all(is_strict);
    let plain = format!("{prefix}{separator}{}", sanitised(original));
    if legal && plain.len() <= NAME_BYTES_MAX { plain.into() } else { marked(plain, backend, original) }
}

/// The exposed name of a backend's item where no prefix is wanted: itself, if MCP admits it.
pub fn unprefixed<'a>(backend: &str, original: &'a str) -> Cow<'a, str> {
    if is_mcp_name(original) {
        return Cow::Borrowed(original);
    }
    Cow::Owned(marked(sanitised(original).into_owned(), backend, original).into())
}

/// Every character that is not legal as one `_`.
fn sanitised(original: &str) -> Cow<'_, str> {
    if original.bytes().all(is_strict) {
        return Cow::Borrowed(original);
    }
    let legal = |character: char| if character.is_ascii() && is_strict(character as u8) { character } else { '_' };
    Cow::Owned(original.chars().map(legal).collect())
}

/// The name, cut where it must be, and behind it the mark of what it was.
fn marked(mut plain: String, backend: &str, original: &str) -> Box<str> {
    plain.truncate(NAME_BYTES_MAX - MARK_DIGITS - 1);
    plain.push('_');
    plain.push_str(&mark(backend, original));
    plain.into()
}

/// Six hexadecimal digits of a SHA-256, which differ for different items with near certainty; where they do not, the
/// catalog reports a clash.
fn mark(backend: &str, original: &str) -> String {
    let mut whole = Vec::with_capacity(backend.len() + 1 + original.len());
    whole.extend_from_slice(backend.as_bytes());
    // No backend's name holds this byte.
    whole.push(0);
    whole.extend_from_slice(original.as_bytes());
    let mut digits = String::with_capacity(MARK_DIGITS);
    for byte in digest(&SHA256, &whole).as_ref().iter().take(MARK_DIGITS / 2) {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn legal_names_are_composed_and_others_are_marked() {
        assert_eq!(&*prefixed("gh", "__", "github", "search"), "gh__search");
        assert_eq!(&*prefixed("gh", "-", "github", "a__b"), "gh-a__b");
        let dotted = prefixed("gh", "__", "github", "a.b");
        assert!(dotted.starts_with("gh__a_b_") && dotted.len() == "gh__a_b_".len() + 6, "{dotted}");
        assert_ne!(dotted, prefixed("gh", "__", "github", "a/b"));
        assert_ne!(prefixed("gh", "__", "one", "a.b"), prefixed("gh", "__", "two", "a.b"));
        let long = prefixed("gh", "__", "github", &"x".repeat(61));
        assert_eq!(long.len(), NAME_BYTES_MAX);
        assert_eq!(prefixed("gh", "__", "github", &"x".repeat(60)).len(), NAME_BYTES_MAX);
        assert!(prefixed("gh", "__", "github", &"x".repeat(60)).ends_with("xx"));
    }

    #[test]
    fn without_a_prefix_what_mcp_admits_is_untouched() {
        for name in ["a", "a.b-c_D9", &"x".repeat(128)] {
            assert_eq!(unprefixed("b", name), name);
        }
        for name in ["a b", "a/b", "é", &"x".repeat(129)] {
            let exposed = unprefixed("b", name);
            assert_ne!(exposed, name);
            assert!(is_mcp_name(&exposed) && exposed.len() <= NAME_BYTES_MAX);
        }
    }

    #[test]
    fn names_stay_what_they_are_from_version_to_version() {
        assert_eq!(&*prefixed("gh", "__", "github", "a.b"), "gh__a_b_531a02");
        assert_eq!(unprefixed("github", "a b"), "a_b_200f08");
        assert_eq!(&*default_prefix("a-backend-with-a-long-name"), "a-backend-47c235");
    }

    proptest! {
        #[test]
        fn whatever_a_backend_lists_gets_a_legal_name(original in any::<String>(), backend in "[a-z0-9-]{1,63}") {
            let prefix = default_prefix(&backend);
            prop_assert!(is_prefix(&prefix));
            let exposed = prefixed(&prefix, "____", &backend, &original);
            prop_assert!(exposed.len() <= NAME_BYTES_MAX && exposed.bytes().all(is_strict));
            prop_assert_eq!(&exposed, &prefixed(&prefix, "____", &backend, &original));
            if !original.is_empty() {
                prop_assert!(is_mcp_name(&unprefixed(&backend, &original)));
            }
        }

        #[test]
        fn different_names_do_not_become_one(one in "[a-c./ ]{1,6}", other in "[a-c./ ]{1,6}") {
            prop_assume!(one != other);
            prop_assert_ne!(prefixed("p", "__", "b", &one), prefixed("p", "__", "b", &other));
        }
    }
}
