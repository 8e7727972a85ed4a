//! Replacing a few pieces of a body: one allocation, everything else byte for byte.

use crate::rpc::scan::Span;
use bytes::Bytes;

/// A piece of a body, and what stands there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Which piece. An empty one is a place to put something in.
    pub span: Span,
    /// What stands there instead.
    pub with: Bytes,
}

impl Edit {
    /// Replaces a JSON value by a string.
    pub fn text(span: Span, text: &str) -> Edit {
        Edit { span, with: quoted(text) }
    }
}

/// A text as a JSON string.
pub fn quoted(text: &str) -> Bytes {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    // Writing a text into memory cannot fail.
    let _ = serde_json::to_writer(&mut quoted, text);
    quoted.into()
}

/// The part of `body` that `span` names, with these edits made.
///
/// Edits lie inside of `span`, in order, and do not overlap; one that does not fit is left out. Without edits the bytes
/// are shared.
pub fn edited(body: &Bytes, span: Span, edits: &[Edit]) -> Bytes {
    let (start, end) = (span.start as usize, (span.end as usize).min(body.len()));
    if start > end {
        return Bytes::new();
    }
    if edits.is_empty() {
        return body.slice(start..end);
    }
    edit(body, start, end, edits).into()
}

/// The same for bytes that are not shared.
pub(crate) fn edited_slice(json: &[u8], edits: &[Edit]) -> Bytes {
    edit(json, 0, json.len(), edits).into()
}

fn edit(body: &[u8], start: usize, end: usize, edits: &[Edit]) -> Vec<u8> {
    let length = edits.iter().fold(end - start, |length, edit| {
        (length + edit.with.len()).saturating_sub(edit.span.end.saturating_sub(edit.span.start) as usize)
    });
    // Of the exact size, shared bytes need nothing beside it.
    let mut made = Vec::with_capacity(length);
    let mut at = start;
    for edit in edits {
        let (from, to) = (edit.span.start as usize, edit.span.end as usize);
        if from < at || to < from || to > end {
            continue;
        }
        made.extend_from_slice(&body[at..from]);
        made.extend_from_slice(&edit.with);
        at = to;
    }
    made.extend_from_slice(&body[at..end]);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: u32, end: u32, with: &'static str) -> Edit {
        Edit { span: Span { start, end }, with: Bytes::from_static(with.as_bytes()) }
    }

    #[test]
    fn only_the_named_pieces_change() {
        let body = Bytes::from_static(b"0123456789");
        let whole = Span { start: 0, end: 10 };
        assert_eq!(edited(&body, whole, &[at(0, 1, "ab"), at(1, 1, "-"), at(9, 10, "")]), "ab-12345678");
        assert_eq!(edited(&body, Span { start: 2, end: 6 }, &[at(3, 4, "x")]), "2x45");
        assert_eq!(edited(&body, whole, &[]).as_ptr(), body.as_ptr());
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let body = Bytes::from_static(b"0123456789");
        let inner = Span { start: 2, end: 6 };
        for misfit in [at(0, 3, "x"), at(5, 7, "x"), at(5, 4, "x"), at(20, 21, "x")] {
            assert_eq!(edited(&body, inner, &[misfit]), "2345");
        }
        assert_eq!(edited(&body, Span { start: 2, end: 10 }, &[at(4, 6, "x"), at(5, 7, "y")]), "23x6789");
        assert_eq!(edited(&body, Span { start: 12, end: 14 }, &[]), "");
    }

    #[test]
    fn text_is_quoted() {
        assert_eq!(Edit::text(Span { start: 0, end: 0 }, "a\"\n\u{1f600}").with, "\"a\\\"\\n\u{1f600}\"");
    }
}
