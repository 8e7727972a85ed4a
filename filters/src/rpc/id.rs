//! Whether two JSON-RPC ids are one.
//!
//! An id comes back as another writer writes it: Node and Python answer `1.0` with `1`, `1e2` with `100`, `"\u00e9"` with
//! `"é"`. So ids are compared by what they mean, not by their bytes.

use super::text;
use smallvec::SmallVec;
use std::ops::Deref;

/// An id or a progress token as raw JSON, kept for as long as its request is under way: most are a number or a UUID, and take no
/// memory of their own.
#[derive(Debug, PartialEq, Eq)]
pub struct RawId(SmallVec<[u8; 40]>);

impl RawId {
    /// Keeps these bytes.
    pub fn new(raw: &[u8]) -> RawId {
        RawId(SmallVec::from_slice(raw))
    }
}

impl Clone for RawId {
    // What is derived copies byte by byte.
    fn clone(&self) -> RawId {
        RawId::new(self)
    }
}

impl Deref for RawId {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Whether two ids, each as raw JSON, mean the same: equal as text, or equal as numbers in double precision, which is all
/// that JavaScript keeps of them. A string and a number are never the same, nor is anything else an id.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one == other || matches!((read(one), read(other)), (Some(one), Some(other)) if one.is(&other))
}

enum Id<'a> {
    Text(std::borrow::Cow<'a, str>),
    Number(f64),
}

impl Id<'_> {
    fn is(&self, other: &Id<'_>) -> bool {
        match (self, other) {
            (Id::Text(one), Id::Text(other)) => one == other,
            (Id::Number(one), Id::Number(other)) => one == other,
            _ => false,
        }
    }
}

fn read(raw: &[u8]) -> Option<Id<'_>> {
    if let Some(inside) = raw.strip_prefix(b"\"") {
        let inside = inside.strip_suffix(b"\"")?;
        return text::decode(inside, inside.contains(&b'\\')).map(Id::Text);
    }
    // What Rust calls a number and JSON does not begins with another character.
    raw.first().filter(|first| first.is_ascii_digit() || **first == b'-')?;
    std::str::from_utf8(raw).ok()?.parse().ok().filter(|number: &f64| number.is_finite()).map(Id::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_however_they_are_written() {
        for (one, other) in [
            ("1", "1"),
            ("1.0", "1"),
            ("1e2", "100"),
            ("-0", "0"),
            ("9007199254740993", "9007199254740992"),
            (r#""a\/b""#, r#""a/b""#),
            (r#""\u00e9""#, r#""é""#),
            (r#""\ud83d\ude00""#, r#""😀""#),
            (r#""""#, r#""""#),
            // No number that a double holds: only its own bytes are it.
            ("1e999", "1e999"),
        ] {
            assert!(same(one.as_bytes(), other.as_bytes()), "{one} {other}");
            assert!(same(other.as_bytes(), one.as_bytes()), "{other} {one}");
        }
    }

    #[test]
    fn other_ids_are_others() {
        for (one, other) in [
            ("1", "2"),
            ("1", r#""1""#),
            (r#""a""#, r#""A""#),
            (r#""a""#, r#""a "#),
            ("1e999", "2e999"),
            ("-1", "1"),
            ("null", "0"),
            ("-inf", "-1e999"),
            ("", r#""""#),
        ] {
            assert!(!same(one.as_bytes(), other.as_bytes()), "{one} {other}");
        }
    }
}
