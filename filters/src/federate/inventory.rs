//! What one backend offers: its lists, in its own order and its own bytes.
//!
//! Everything here comes from a backend and is hostile: items, bytes, names and nesting are bounded, and what does not fit
//! is left out and named, so that one bad item costs a backend that item and no other backend anything.

mod builder;

pub use builder::InventoryBuilder;
pub(super) use builder::cut;

use super::kind::Kind;
use crate::exchange::UnixMillis;
use crate::rpc::params::ToolParams;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bounds of what is kept of one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InventoryLimits {
    /// The most items of one kind.
    pub items: usize,
    /// The most bytes of all items together.
    pub bytes: usize,
    /// The most bytes of one item.
    pub item_bytes: usize,
    /// The longest name of a tool or prompt, in bytes.
    pub name_bytes: usize,
    /// The longest URI or URI template, in bytes.
    pub uri_bytes: usize,
    /// How deep an item may nest, the item itself counting as 1.
    pub depth: usize,
    /// The most pages of one list.
    pub pages: usize,
    /// The longest cursor of a backend, in bytes.
    pub cursor_bytes: usize,
    /// The longest instructions that are kept, in bytes; what is longer is cut.
    pub instructions_bytes: usize,
    /// How many offences are named; the others are counted.
    pub offences: usize,
}

impl Default for InventoryLimits {
    fn default() -> InventoryLimits {
        InventoryLimits {
            items: 5_000,
            bytes: 16 << 20,
            item_bytes: 1 << 20,
            name_bytes: 256,
            uri_bytes: 4 << 10,
            depth: 64,
            pages: 500,
            cursor_bytes: 16 << 10,
            instructions_bytes: 16 << 10,
            offences: 32,
        }
    }
}

/// One tool, prompt, resource or template as the backend wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its `name`, `uri` or `uriTemplate`, decoded.
    pub name: Box<str>,
    /// The item: a JSON object on one line, otherwise byte for byte as it came.
    pub json: Bytes,
}

/// How much of a list is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Extent {
    /// The backend does not declare such items, so nobody asked.
    #[default]
    Absent,
    /// All of it.
    Whole,
    /// There was more than the limits allow.
    Cut,
    /// The backend answered with something else; what was known before is kept.
    Failed,
}

impl Extent {
    /// The label in status and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Extent::Absent => "absent",
            Extent::Whole => "whole",
            Extent::Cut => "cut",
            Extent::Failed => "failed",
        }
    }
}

/// The items of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Listing {
    /// In the backend's order.
    pub items: Box<[Item]>,
    /// Whether that is all.
    pub extent: Extent,
}

/// Who may share an answer (MCP 2026-07-28, caching).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scope {
    /// All clients.
    #[default]
    Public,
    /// Only the caller that it was given to.
    Private,
}

impl Scope {
    /// The form used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Public => "public",
            Scope::Private => "private",
        }
    }
}

/// Something that a backend lists and may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// In which list.
    pub kind: Kind,
    /// The item, made harmless and short; empty where it has no readable name.
    pub name: Box<str>,
    /// What is wrong.
    pub what: Wrong,
}

/// What is wrong with an item or a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// The item is no object, or its name no non-empty Unicode string.
    Unnamed,
    /// The name, URI or template is longer than the limit.
    NameTooLong,
    /// The name holds control characters.
    NameIllegal,
    /// An item of that name came before.
    Repeated,
    /// The item, or its `_meta`, names a member twice.
    Ambiguous,
    /// The item nests deeper than the limit.
    TooDeep,
    /// The item is longer than the limit.
    TooBig,
    /// The list has more items than the limit, or all lists more bytes: it was cut here.
    TooMany,
    /// The list has more pages than the limit, or comes back to a page: it was cut here.
    Endless,
    /// The list could not be read to its end.
    Unread,
}

impl Wrong {
    /// The label in metrics and status.
    pub const fn label(self) -> &'static str {
        match self {
            Wrong::Unnamed => "unnamed",
            Wrong::NameTooLong => "name_too_long",
            Wrong::NameIllegal => "name_illegal",
            Wrong::Repeated => "repeated",
            Wrong::Ambiguous => "ambiguous",
            Wrong::TooDeep => "too_deep",
            Wrong::TooBig => "too_big",
            Wrong::TooMany => "too_many",
            Wrong::Endless => "endless",
            Wrong::Unread => "unread",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wrong::Unnamed => "it has no usable name",
            Wrong::NameTooLong => "its name is too long",
            Wrong::NameIllegal => "its name holds control characters",
            Wrong::Repeated => "it is listed more than once",
            Wrong::Ambiguous => "it names a member twice",
            Wrong::TooDeep => "it nests too deeply",
            Wrong::TooBig => "it is too big",
            Wrong::TooMany => "there are too many items, the list was cut",
            Wrong::Endless => "there are too many pages, the list was cut",
            Wrong::Unread => "the list could not be read, what was known before stays",
        })
    }
}

/// Why a page, or what a backend says of itself, cannot be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// It is no JSON, no UTF-8 or nests too deeply.
    #[error("the list is not valid JSON in UTF-8, or nests too deeply")]
    Unreadable,
    /// It is JSON, but no result of this method, or it names a member twice.
    #[error("the answer is not a result of the list method")]
    Malformed,
}

/// Until when something may be believed: shared, so that a later look which brings nothing new can prolong it.
///
/// It is no part of what is believed: any two are equal.
#[derive(Clone, Debug)]
pub struct Freshness(Arc<AtomicU64>);

impl Freshness {
    /// Until this moment.
    pub fn until(moment: UnixMillis) -> Freshness {
        Freshness(Arc::new(AtomicU64::new(moment.0)))
    }

    /// When it ends.
    pub fn end(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed))
    }

    /// Makes it end at another moment, for everybody.
    pub fn renew(&self, end: UnixMillis) {
        self.0.store(end.0, Ordering::Relaxed);
    }
}

impl PartialEq for Freshness {
    fn eq(&self, _: &Freshness) -> bool {
        true
    }
}

impl Eq for Freshness {}

/// What one backend offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    pub(super) lists: [Listing; 4],
    /// `capabilities`: a JSON object; `{}` where the backend said nothing.
    pub capabilities: Bytes,
    /// `instructions`, cut at the limit.
    pub instructions: Option<Box<str>>,
    /// `serverInfo`: a JSON object.
    pub server_info: Option<Bytes>,
    /// Private as soon as one page is.
    pub scope: Scope,
    /// When the first of its lists is no longer to be believed.
    pub freshness: Freshness,
    /// What was left out, and why; at most [`InventoryLimits::offences`].
    pub offences: Box<[Offence]>,
    /// How many offences are not named.
    pub further_offences: usize,
    /// Which arguments its tools mirror into headers, where it was read for one caller (modern era). What everybody is
    /// offered is known with the backend.
    pub params: Option<Arc<ToolParams>>,
}

impl Inventory {
    /// The items of a kind.
    pub fn list(&self, kind: Kind) -> &Listing {
        &self.lists[kind as usize]
    }

    /// Whether the backend declares this capability.
    pub fn declares(&self, capability: &str) -> bool {
        crate::rpc::members::member(&self.capabilities, capability)
            .is_some_and(|value| value.form == crate::rpc::scan::Form::Object)
    }

    /// Whether the backend takes subscriptions to its resources.
    pub fn subscribes(&self) -> bool {
        super::describe::subscribes(self)
    }

    /// Whether every list that the backend declares is known whole.
    pub fn is_whole(&self) -> bool {
        self.lists.iter().all(|list| matches!(list.extent, Extent::Whole | Extent::Absent))
    }

    /// Whether a list that the backend declares could not be read.
    pub fn has_failed(&self) -> bool {
        self.lists.iter().any(|list| list.extent == Extent::Failed)
    }

    /// How many bytes its items take.
    pub fn bytes(&self) -> usize {
        let items = self.lists.iter().flat_map(|list| list.items.iter());
        let params = self.params.as_ref().map_or(0, |params| params.bytes());
        items.map(|item| item.json.len() + item.name.len()).sum::<usize>() + params
    }
}

#[cfg(test)]
mod tests;
