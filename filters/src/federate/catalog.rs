//! The items of several backends as those of one server: whose each name is, and lists that are ready to be sent.
//!
//! Merged when an inventory changes, read by every request. The order is that of the members, then the backend's own, so
//! the same inventories always make the same catalog.

mod merge;
mod only;

use super::cursor::{Fingerprint, Position};
use super::describe::Capabilities;
use super::inventory::{Freshness, Inventory, Scope};
use super::kind::Kind;
use super::uris::{MemberUris, Uris};
use crate::backend::Backend;
use crate::exchange::UnixMillis;
use crate::rpc::mirror;
use crate::rpc::params::ToolParams;
use crate::splice::quoted;
use bytes::Bytes;
use foldhash::fast::RandomState;
use http::HeaderValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// How many clashes are named; the others are counted.
pub const CLASHES_MAX: usize = 64;

/// What is known of a member's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Standing {
    /// What it offers now.
    Fresh,
    /// What it offered when it could last be asked.
    Stale,
    /// Nothing: nobody could ask it yet, or its items have been given up.
    #[default]
    Missing,
}

impl Standing {
    /// All of them.
    pub const ALL: [Standing; 3] = [Standing::Fresh, Standing::Stale, Standing::Missing];

    /// The label in status and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Standing::Fresh => "fresh",
            Standing::Stale => "stale",
            Standing::Missing => "missing",
        }
    }
}

/// What a member brings to a merge.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// What it offers, as last known.
    pub inventory: Option<Arc<Inventory>>,
    /// Whether that still counts. The items of a member that is missing are not shown, but it is still believed to be able
    /// to do what it once could: what a session is told of that must not depend on who is up.
    pub standing: Standing,
}

impl Offer {
    /// What is known of the member's items.
    pub fn standing(&self) -> Standing {
        if self.inventory.is_some() { self.standing } else { Standing::Missing }
    }
}

/// Whose an exposed item is.
#[derive(Clone, Debug)]
pub struct Owner<'a> {
    /// Which member of the virtual server.
    pub member: usize,
    /// What that backend calls it.
    pub original: Cow<'a, str>,
    /// The same as it is sent, where that was made beforehand.
    pub sent: Option<&'a Sent>,
}

impl PartialEq for Owner<'_> {
    // How it is sent follows from what it is called.
    fn eq(&self, other: &Self) -> bool {
        self.member == other.member && self.original == other.original
    }
}

/// What a backend calls a tool or prompt, as it is sent to it: made once, for calls are many.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The JSON string that stands in the body.
    pub json: Bytes,
    /// What stands in `Mcp-Name`.
    pub header: Option<HeaderValue>,
}

impl Sent {
    /// How this name is sent.
    pub fn of(name: &str) -> Sent {
        Sent { json: quoted(name), header: Sent::header(name) }
    }

    /// What stands in `Mcp-Name` for this name.
    pub fn header(name: &str) -> Option<HeaderValue> {
        // What `encode` gives is visible ASCII.
        HeaderValue::from_str(&mirror::encode(name)).ok()
    }
}

/// An item that is listed.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// What clients call it.
    pub exposed: &'a str,
    /// Whose it is.
    pub member: usize,
    /// What that backend calls it.
    pub original: &'a str,
    /// The item as clients see it.
    pub json: &'a [u8],
}

/// Two items under one exposed name, of which one is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// Of which kind.
    pub kind: Kind,
    /// The exposed name, URI or template.
    pub exposed: Box<str>,
    /// Who keeps it: which member, and what it calls it.
    pub kept: (usize, Box<str>),
    /// Who does not.
    pub lost: (usize, Box<str>),
}

/// A digest of a list: equal where clients see the same.
pub type Digest = [u8; 32];

/// What one virtual server shows.
#[derive(Debug, Default)]
pub struct Catalog {
    shelves: [Shelf; 4],
    uris: Arc<Uris>,
    standings: Box<[Standing]>,
    completers: Box<[bool]>,
    subscribers: Box<[bool]>,
    /// What the tools of members mirror that were asked for one caller.
    params: Box<[Option<Arc<ToolParams>>]>,
    clashes: Box<[Clash]>,
    further_clashes: usize,
    capabilities: Capabilities,
    instructions: Option<Box<str>>,
    scope: Scope,
    /// Of each member that is shown; empty unless all are there, and fresh.
    freshness: Box<[Freshness]>,
    page_size: usize,
}

/// The items of one kind.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    entries: Vec<Entry>,
    /// Places of entries by exposed name; also by other names that an item had, or might get, in another catalog.
    table: HashMap<Arc<str>, u32, RandomState>,
    /// The items as clients see them, with commas between them, and [`CLOSE`].
    json: Bytes,
    digest: Digest,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The exposed name, URI or template.
    exposed: Arc<str>,
    member: usize,
    /// What its owner calls it, where that differs.
    original: Option<Box<str>>,
    /// Boxed, for most kinds of items have none.
    sent: Option<Box<Sent>>,
    fingerprint: Fingerprint,
    /// Where its JSON begins and ends.
    start: usize,
    end: usize,
}

impl Entry {
    fn owner(&self) -> Owner<'_> {
        let original = Cow::Borrowed(self.original.as_deref().unwrap_or(&self.exposed));
        Owner { member: self.member, original, sent: self.sent.as_deref() }
    }
}

/// What ends the answer to a list request behind its last item, where nothing but the items comes last.
pub const CLOSE: &[u8] = b"]}}";

/// A part of a list: as many items as fit on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The items, with commas between them: shared with the catalog.
    pub items: Bytes,
    /// The same with [`CLOSE`] behind them, where they are the end of the list.
    pub closed: Option<Bytes>,
    /// Where the next page begins, if there is one.
    pub next: Option<Position>,
    /// How many items there are.
    pub count: usize,
}

impl Catalog {
    /// Whose tool this is.
    pub fn tool(&self, name: &str) -> Option<Owner<'_>> {
        self.item(Kind::Tools, name)
    }

    /// Whose prompt this is.
    pub fn prompt(&self, name: &str) -> Option<Owner<'_>> {
        self.item(Kind::Prompts, name)
    }

    /// Whose resource this is, listed or not.
    ///
    /// That its owner's policy admits it is for the caller to ask.
    pub fn resource<'a>(&self, uri: &'a str) -> Option<Owner<'a>> {
        self.uris.inward(uri).map(|(member, original)| Owner { member, original, sent: None })
    }

    /// Whose template this is.
    pub fn template(&self, template: &str) -> Option<Owner<'_>> {
        self.item(Kind::Templates, template)
    }

    /// Whose listed item this is.
    pub fn item(&self, kind: Kind, exposed: &str) -> Option<Owner<'_>> {
        let shelf = self.shelf(kind);
        shelf.table.get(exposed).and_then(|&at| shelf.entries.get(at as usize)).map(Entry::owner)
    }

    /// The place of an item among those of its kind that are listed.
    pub fn place(&self, kind: Kind, exposed: &str) -> Option<usize> {
        self.shelf(kind).table.get(exposed).map(|&at| at as usize)
    }

    /// The item that is listed at a place among those of its kind.
    pub fn listed(&self, kind: Kind, place: usize) -> Option<Listed<'_>> {
        let shelf = self.shelf(kind);
        let entry = shelf.entries.get(place)?;
        Some(Listed {
            exposed: &entry.exposed,
            member: entry.member,
            original: entry.original.as_deref().unwrap_or(&entry.exposed),
            json: shelf.json.get(entry.start..entry.end).unwrap_or_default(),
        })
    }

    /// How many items of a kind are shown.
    pub fn count(&self, kind: Kind) -> usize {
        self.shelf(kind).entries.len()
    }

    /// All items of a kind: exposed name, URI or template, and whose it is.
    pub fn items(&self, kind: Kind) -> impl Iterator<Item = (&str, Owner<'_>)> {
        self.shelf(kind).entries.iter().map(|entry| (&*entry.exposed, entry.owner()))
    }

    /// The page behind this position; the first one where there is none.
    ///
    /// A position outlives its catalog: the page goes on behind the same item, wherever that stands now.
    pub fn page(&self, kind: Kind, after: Option<&Position>) -> Page {
        let shelf = self.shelf(kind);
        let from = after.map_or(0, |position| position.resume(shelf.entries.iter().map(|entry| entry.fingerprint)));
        let to = from.saturating_add(self.page_size.max(1)).min(shelf.entries.len());
        let entries = shelf.entries.get(from..to).unwrap_or_default();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Page { items: Bytes::new(), closed: None, next: None, count: 0 };
        };
        let next = (to < shelf.entries.len()).then(|| Position::at(to - 1, last.fingerprint));
        // It stands behind the last of all items.
        let closed = next.is_none().then(|| shelf.json.slice(first.start..));
        Page { items: shelf.json.slice(first.start..last.end), closed, next, count: entries.len() }
    }

    /// Differs from another catalog's where clients see another list.
    pub fn digest(&self, kind: Kind) -> Digest {
        self.shelf(kind).digest
    }

    /// Which lists clients see differently than in another catalog.
    pub fn changes<'a>(&'a self, since: &'a Catalog) -> impl Iterator<Item = Kind> + 'a {
        Kind::ALL.into_iter().filter(move |kind| self.digest(*kind) != since.digest(*kind))
    }

    /// How a member's URIs look to clients.
    pub fn uris(&self, member: usize) -> MemberUris {
        MemberUris::new(Arc::clone(&self.uris), member)
    }

    /// What is known of each member, in their order.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// Whether anything is known of any member.
    pub fn is_filled(&self) -> bool {
        self.standings.iter().any(|standing| *standing != Standing::Missing)
    }

    /// Whether something is known of every member.
    pub fn is_complete(&self) -> bool {
        self.standings.iter().all(|standing| *standing != Standing::Missing)
    }

    /// Whether something is known of a member by now that this catalog was made without.
    pub fn is_behind(&self, members: &[Arc<Backend>]) -> bool {
        let mut members = members.iter().zip(&self.standings);
        members.any(|(backend, standing)| *standing == Standing::Missing && !backend.is_unasked() && !backend.is_lost())
    }

    /// Whether a member completes arguments.
    pub fn completes(&self, member: usize) -> bool {
        self.completers.get(member).copied().unwrap_or_default()
    }

    /// Whether a member takes subscriptions to its resources.
    pub fn subscribes(&self, member: usize) -> bool {
        self.subscribers.get(member).copied().unwrap_or_default()
    }

    /// Which arguments a member's tools mirror into headers, where it was asked for one caller.
    pub fn params(&self, member: usize) -> Option<&Arc<ToolParams>> {
        self.params.get(member)?.as_ref()
    }

    /// The items that are left out because another one has their name; at most [`CLASHES_MAX`].
    pub fn clashes(&self) -> &[Clash] {
        &self.clashes
    }

    /// How many clashes are not named.
    pub fn further_clashes(&self) -> usize {
        self.further_clashes
    }

    /// What the server declares that it can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What the server tells models about itself.
    pub fn instructions(&self) -> Option<&str> {
        self.instructions.as_deref()
    }

    /// Who may share what is listed: private as soon as one member's lists are.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// When the first member's lists are no longer to be believed: at once, unless all members are there and fresh.
    pub fn fresh_until(&self) -> UnixMillis {
        self.freshness.iter().map(Freshness::end).min().unwrap_or_default()
    }

    /// For how many more milliseconds clients may believe it.
    pub fn ttl(&self, now: UnixMillis) -> u64 {
        self.fresh_until().0.saturating_sub(now.0)
    }

    /// How many bytes its lists take.
    pub fn bytes(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.json.len()).sum()
    }

    fn shelf(&self, kind: Kind) -> &Shelf {
        &self.shelves[kind as usize]
    }
}

#[cfg(test)]
mod tests;
