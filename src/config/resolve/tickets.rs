//! Sealing keys.

use super::Resolver;
use crate::config::diagnostic::Finding;
use crate::config::file::TicketsFile;
use crate::config::model::{TicketKey, Tickets};
use crate::config::path::KeyPath;
use crate::config::values::{KeyMaterial, TimeSpan};
use std::collections::HashSet;

/// The most sealing keys: one in use and those of the rotations within a ticket's life.
const KEYS_MAX: usize = 16;

/// The shortest life of a ticket.
const LIFETIME_MIN: TimeSpan = TimeSpan::seconds(60);

impl Resolver<'_> {
    /// The ticket settings of a file.
    pub(super) fn tickets(&mut self, file: TicketsFile) -> Tickets {
        let path = KeyPath::from(["tickets"]);
        if file.lifetime < LIFETIME_MIN {
            self.note(Finding::error(path.key("lifetime"), format!("a ticket lives at least {LIFETIME_MIN}")));
        }
        let path = path.key("keys");
        if file.keys.len() > KEYS_MAX {
            self.note(Finding::error(path.clone(), format!("there are at most {KEYS_MAX} keys")));
        }
        let mut ids = HashSet::with_capacity(file.keys.len());
        let mut keys = Vec::with_capacity(file.keys.len());
        for (index, key) in file.keys.into_iter().enumerate() {
            let path = self.element(&path, index);
            if !ids.insert(key.id.clone()) {
                self.note(Finding::error(path.key("id"), "an earlier key has the same id"));
            }
            match KeyMaterial::decode(&key.secret) {
                Ok(secret) => keys.push(TicketKey { id: key.id, secret }),
                Err(error) => self.note(Finding::error(path.key("secret"), error.to_string())),
            }
        }
        Tickets { keys, lifetime: file.lifetime }
    }
}
