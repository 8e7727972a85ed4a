//! Items and lists as clients see them: a backend's bytes with a few pieces replaced, and answers put together of pieces
//! that are there already.

use super::catalog::{CLOSE, Catalog, Page};
use super::inventory::{Item, Scope};
use super::kind::Kind;
use super::uris::Uris;
use crate::revision::Era;
use crate::rpc::members::members;
use crate::rpc::scan::{Span, Value};
use crate::splice::{Edit, edited_slice, quoted};
use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt::Write;

/// An item, and how it is shown.
pub(super) struct Shown<'a> {
    pub kind: Kind,
    pub item: &'a Item,
    /// The exposed name, URI or template.
    pub exposed: &'a str,
    /// The description in place of the backend's.
    pub description: Option<&'a str>,
    pub member: usize,
    pub uris: &'a Uris,
}

/// The JSON of an item as clients see it; members that nothing is decided on keep their bytes.
pub(super) fn item<'a>(shown: &Shown<'a>) -> Cow<'a, [u8]> {
    let json: &[u8] = &shown.item.json;
    let mut edits: SmallVec<[Edit; 4]> = SmallVec::new();
    let mut described = false;
    let mut behind_key = None;
    for member in members(json) {
        let span = member.value.span;
        if member.name == shown.kind.key() {
            behind_key = Some(span.end);
            if *shown.item.name != *shown.exposed {
                edits.push(Edit::text(span, shown.exposed));
            }
        } else if member.name == "description" {
            described = true;
            if let Some(description) = shown.description {
                edits.push(Edit::text(span, description));
            }
        } else if member.name == "_meta" {
            let outward = |uri: &str| Some(shown.uris.outward(shown.member, uri).into_owned());
            meta_uris(json, span, &outward, &mut |edit| edits.push(edit));
        }
    }
    if let (false, Some(description), Some(at)) = (described, shown.description, behind_key) {
        let with = [b",\"description\":", &quoted(description)[..]].concat().into();
        edits.push(Edit { span: Span { start: at, end: at }, with });
        // In order, as the members may come in any.
        edits.sort_by_key(|edit| edit.span.start);
    }
    if edits.is_empty() { Cow::Borrowed(json) } else { Cow::Owned(edited_slice(json, &edits).to_vec()) }
}

/// Rewrites the URIs in a `_meta` object: where MCP Apps and its predecessors name a tool's user interface.
pub(super) fn meta_uris(body: &[u8], meta: Span, outward: &dyn Fn(&str) -> Option<String>, take: &mut dyn FnMut(Edit)) {
    for member in members(meta.of(body)) {
        let value = Value { span: member.value.span.within(meta), form: member.value.form };
        match &*member.name {
            "ui" => {
                let of_ui = members(value.span.of(body)).filter(|inner| inner.name == "resourceUri");
                for inner in of_ui {
                    let inner = Value { span: inner.value.span.within(value.span), form: inner.value.form };
                    uri(body, inner, outward, take);
                }
            }
            "ui/resourceUri" | "openai/outputTemplate" => uri(body, value, outward, take),
            _ => {}
        }
    }
}

/// Rewrites a string that is a URI, if it looks different from outside.
pub(super) fn uri(body: &[u8], value: Value, outward: &dyn Fn(&str) -> Option<String>, take: &mut dyn FnMut(Edit)) {
    let Some(own) = value.text(body) else { return };
    if let Some(exposed) = outward(&own).filter(|exposed| *exposed != own) {
        take(Edit::text(value.span, &exposed));
    }
}

/// The response to a list request, in the pieces that it is made of: only the middle one is long, and it is shared with
/// the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAnswer {
    /// Up to the first item.
    pub head: Bytes,
    /// The items, and what is behind them where they are the end of the list.
    pub items: Bytes,
    /// What is behind them elsewhere.
    pub tail: Bytes,
}

impl ListAnswer {
    /// How long the answer is.
    pub fn len(&self) -> usize {
        self.head.len() + self.items.len() + self.tail.len()
    }

    /// Whether there is nothing in it: never.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces, in order.
    pub fn pieces(self) -> [Bytes; 3] {
        [self.head, self.items, self.tail]
    }

    /// The answer in one piece.
    pub fn whole(&self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.len());
        whole.put_slice(&self.head);
        whole.put_slice(&self.items);
        whole.put_slice(&self.tail);
        whole.freeze()
    }
}

/// The response to a list request with this raw JSON id; `cursor` is the sealed text of [`Page::next`].
pub fn list(kind: Kind, era: Era, id: &[u8], page: &Page, cursor: Option<&str>, caching: Caching) -> ListAnswer {
    let mut head = String::with_capacity(192 + cursor.map_or(0, str::len));
    if era == Era::Modern {
        // Writing to a string cannot fail.
        let _ = write!(head, "\"resultType\":\"complete\",{},", caching.members());
    }
    if let Some(cursor) = cursor {
        let _ = write!(head, "\"nextCursor\":\"{cursor}\",");
    }
    let _ = write!(head, "\"{}\":[", kind.member());
    let head = [&b"{\"jsonrpc\":\"2.0\",\"id\":"[..], id, b",\"result\":{", head.as_bytes()].concat().into();
    match &page.closed {
        Some(closed) => ListAnswer { head, items: closed.clone(), tail: Bytes::new() },
        None => ListAnswer { head, items: page.items.clone(), tail: Bytes::from_static(CLOSE) },
    }
}

/// For how long, and by whom, an answer may be kept (MCP 2026-07-28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// Milliseconds.
    pub ttl: u64,
    /// Who may share it.
    pub scope: Scope,
}

impl Caching {
    /// What holds for a catalog's lists.
    pub fn of(catalog: &Catalog, now: crate::exchange::UnixMillis) -> Caching {
        Caching { ttl: catalog.ttl(now), scope: catalog.scope() }
    }

    /// The same, which nobody may share if it is `private`.
    #[must_use]
    pub fn kept(self, private: bool) -> Caching {
        if private { Caching { scope: Scope::Private, ..self } } else { self }
    }

    pub(super) fn members(self) -> String {
        format!("\"ttlMs\":{},\"cacheScope\":\"{}\"", self.ttl, self.scope.as_str())
    }
}

#[cfg(test)]
mod tests;
