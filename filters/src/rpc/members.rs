//! Looking into an object or array that was checked before, one level at a time and without building anything.

use super::scan::{Span, Value};
use super::text;
use super::walk::Walker;
use std::borrow::Cow;

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name, decoded; borrowed unless it holds escapes.
    pub name: Cow<'a, str>,
    /// Its value; spans count from the first byte that was given to [`members`].
    pub value: Value,
}

/// The members of an object, in order. Nothing where `object` is anything else.
///
/// For JSON that was scanned or skimmed before. Other bytes do no harm: the members end where the JSON does.
pub fn members(object: &[u8]) -> Members<'_> {
    let mut walker = Walker::again(object);
    let open = walker.enter_object(false).is_ok();
    Members { walker, open, first: true }
}

/// The value of the first member of that name.
pub fn member(object: &[u8], name: &str) -> Option<Value> {
    members(object).find(|member| member.name == name).map(|member| member.value)
}

/// The items of an array, in order. Nothing where `array` is anything else.
///
/// For JSON that was scanned or skimmed before, as [`members`].
pub fn items(array: &[u8]) -> Items<'_> {
    let mut walker = Walker::again(array);
    let open = walker.enter_array().is_ok();
    Items { walker, open, first: true }
}

/// The iterator of [`members`].
#[derive(Debug)]
pub struct Members<'a> {
    walker: Walker<'a>,
    open: bool,
    first: bool,
}

impl<'a> Members<'a> {
    fn advance(&mut self) -> Option<Member<'a>> {
        let key = self.walker.member(&mut self.first).ok()??;
        let value = self.walker.value().ok()?;
        let name = match key.text {
            Cow::Borrowed(plain) => text::decode(plain, false)?,
            Cow::Owned(decoded) => Cow::Owned(String::from_utf8(decoded).unwrap_or_else(|error| {
                // Half of a surrogate pair: no known name holds one, so how it is shown does not matter.
                String::from_utf8_lossy(error.as_bytes()).into_owned()
            })),
        };
        Some(Member { name, value })
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let next = if self.open { self.advance() } else { None };
        self.open = next.is_some();
        next
    }
}

/// The iterator of [`items`].
#[derive(Debug)]
pub struct Items<'a> {
    walker: Walker<'a>,
    open: bool,
    first: bool,
}

impl Iterator for Items<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let more = self.open && self.walker.item(&mut self.first).unwrap_or(false);
        let next = if more { self.walker.value().ok() } else { None };
        self.open = next.is_some();
        next
    }
}

impl Span {
    /// This span, found in a piece of a body, as a span of that body.
    #[must_use]
    pub const fn within(self, outer: Span) -> Span {
        Span { start: self.start.saturating_add(outer.start), end: self.end.saturating_add(outer.start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::scan::Form;

    #[test]
    fn members_are_read_one_level_deep() {
        let object = br#" { "a" : [1,{"b":2}] , "\u0062":"x\n", "c":{} } "#;
        let read: Vec<_> =
            members(object).map(|m| (m.name.into_owned(), m.value.span.of(object).to_vec(), m.value.form)).collect();
        assert_eq!(
            read,
            [
                ("a".to_owned(), br#"[1,{"b":2}]"#.to_vec(), Form::Array),
                ("b".to_owned(), br#""x\n""#.to_vec(), Form::String { escaped: true }),
                ("c".to_owned(), b"{}".to_vec(), Form::Object),
            ]
        );
        assert_eq!(member(object, "b").unwrap().text(object).unwrap(), "x\n");
        assert_eq!(member(object, "d"), None);
    }

    #[test]
    fn items_are_read_one_level_deep() {
        let array = b"[1, [2, 3], null]";
        let read: Vec<_> = items(array).map(|value| value.span.of(array)).collect();
        assert_eq!(read, [&b"1"[..], b"[2, 3]", b"null"]);
        assert_eq!(items(b"[]").count(), 0);
    }

    #[test]
    fn what_is_no_object_or_array_has_nothing_in_it() {
        for bytes in [&b""[..], b"1", b"\"x\"", b"null", b"{", b"[", b"{1:2}", b"nonsense", b"\xff"] {
            assert_eq!(members(bytes).count(), 0, "{bytes:?}");
            let expected = 0;
            assert_eq!(items(bytes).count(), expected, "{bytes:?}");
        }
        assert_eq!(members(br#"{"a":1,"b":}"#).count(), 1);
        assert_eq!(items(b"[1,2,").count(), 2);
        assert_eq!(members(br#"{"\ud800":1,"b":2}"#).count(), 2);
    }

    #[test]
    fn a_span_can_be_carried_to_the_outer_body() {
        let body = br#"{"params":{"name":"x"}}"#;
        let params = member(body, "params").unwrap();
        let name = member(params.span.of(body), "name").unwrap();
        assert_eq!(name.span.within(params.span).of(body), br#""x""#);
    }
}
