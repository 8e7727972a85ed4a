//! A part of a catalog: what one caller may see of it.

use super::{CLOSE, Catalog, Entry, Shelf};
use crate::federate::inventory::Scope;
use crate::federate::kind::Kind;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::{BufMut, BytesMut};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::Arc;

impl Catalog {
    /// This catalog with only the items that are `visible`: said of each by its kind and its place among all of that kind.
    ///
    /// Whose a URI is, and what the members can do, is as before: it is for lists, and nobody is routed by it. It is private,
    /// even if everything is visible, because for another caller it might not be.
    #[must_use]
    pub fn only(&self, visible: impl Fn(Kind, usize) -> bool) -> Catalog {
        Catalog {
            shelves: Kind::ALL.map(|kind| self.shelf(kind).only(|place| visible(kind, place))),
            uris: Arc::clone(&self.uris),
            standings: self.standings.clone(),
            completers: self.completers.clone(),
            subscribers: self.subscribers.clone(),
            params: self.params.clone(),
            clashes: Box::default(),
            further_clashes: 0,
            capabilities: self.capabilities,
            instructions: self.instructions.clone(),
            scope: Scope::Private,
            freshness: self.freshness.clone(),
            page_size: self.page_size,
        }
    }
}

impl Shelf {
    fn only(&self, visible: impl Fn(usize) -> bool) -> Shelf {
        let mut table = HashMap::with_hasher(RandomState::default());
        let mut entries = Vec::new();
        let mut json = BytesMut::new();
        for (_, entry) in self.entries.iter().enumerate().filter(|(place, _)| visible(*place)) {
            if !json.is_empty() {
                json.put_u8(b',');
            }
            let start = json.len();
            json.put_slice(self.json.get(entry.start..entry.end).unwrap_or_default());
            // There are never 2^32 items.
            table.insert(Arc::clone(&entry.exposed), u32::try_from(entries.len()).unwrap_or(u32::MAX));
            entries.push(Entry { start, end: json.len(), ..entry.clone() });
        }
        json.put_slice(CLOSE);
        let mut shelf = Shelf { entries, table, json: json.freeze(), digest: [0; 32] };
        shelf.digest.copy_from_slice(digest(&SHA256, &shelf.json).as_ref());
        shelf
    }
}
