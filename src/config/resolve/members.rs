//! The backends of a virtual server: what is taken of each, and under which names.

use super::Resolver;
use crate::config::diagnostic::Finding;
use crate::config::path::KeyPath;
use crate::config::sections::{Backend, Member, PrefixPolicy, Rename, Selection};
use crate::config::values::{Glob, ItemName, ItemPrefix, Name};
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};

/// The most backends of one virtual server.
const MEMBERS_MAX: usize = 256;

/// The most patterns of one list: each is tried on every item.
const GLOBS_MAX: usize = 1_000;

/// The most other names of one backend's items of one kind.
const RENAMES_MAX: usize = 10_000;

/// The longest name that a backend may have for an item and that can be given another, in bytes.
const ORIGINAL_BYTES_MAX: usize = 256;

/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 16 << 10;

/// Whose item got a name: the backend and its own name for it.
type Owner<'a> = (&'a Name, &'a str);

impl Resolver<'_> {
    /// Checks the backends of a virtual server; `path` is that of their list.
    pub(super) fn check_members(
        &mut self,
        path: &KeyPath,
        members: &[Member],
        policy: PrefixPolicy,
        backends: &IndexMap<Name, Backend>,
    ) {
        if members.is_empty() {
            self.missing(&path.parent().unwrap_or_default(), "backends", "name the backends that it exposes");
        }
        if members.len() > MEMBERS_MAX {
            let message = format!("a virtual server has at most {MEMBERS_MAX} backends");
            self.note(Finding::error(path.clone(), message).at_key());
            return;
        }
        let mut seen = HashSet::new();
        for (index, member) in members.iter().enumerate() {
            let place = self.element(path, index);
            if !seen.insert(&member.backend) {
                self.note(Finding::error(place.clone(), "this backend stands here twice"));
            }
            let name = place.key("backend");
            let named = if self.is_interpolated(&name) { &name } else { &place };
            self.check_reference(named, "backend", "backends", &member.backend, backends);
            for (kind, selection) in [("tools", &member.tools), ("prompts", &member.prompts)] {
                self.check_selection(&place.key(kind), selection);
            }
            let resources = place.key("resources");
            self.check_globs(&resources, &member.resources.allow, &member.resources.deny);
            if member.prefix.is_some() && policy == PrefixPolicy::Never {
                let message = "this prefix is not used: the names of this virtual server get none";
                let help = "one backend alone gets a prefix with `prefix: always` beside `backends`";
                self.note(Finding::warning(place.key("prefix"), message).help(help));
            }
        }
        if policy != PrefixPolicy::Never {
            self.check_prefixes(path, members, backends);
        }
        self.check_names(path, "tools", members, |member| &member.tools);
        self.check_names(path, "prompts", members, |member| &member.prompts);
    }

    /// A view of one backend alone shows all of it: nothing may be left out beside it.
    pub(super) fn check_views(&mut self, path: &KeyPath, members: &[Member]) {
        let selects = |member: &&Member| {
            let named = [&member.tools, &member.prompts];
            named.iter().any(|selection| !selection.allow.is_empty() || !selection.deny.is_empty())
                || !member.resources.allow.is_empty()
                || !member.resources.deny.is_empty()
        };
        if let Some(member) = members.iter().find(selects) {
            let backend = &member.backend;
            let message = format!("the direct view of backend `{backend}` would show what is left out of it here");
            let help =
                "remove `allow` and `deny`, or give the backends that are found alone virtual servers of their own";
            self.note(Finding::error(path.clone(), message).help(help));
        }
    }

    /// Two backends with one prefix would not be told apart.
    fn check_prefixes(&mut self, path: &KeyPath, members: &[Member], backends: &IndexMap<Name, Backend>) {
        let mut owners: HashMap<ItemPrefix, &Name> = HashMap::new();
        for (index, member) in members.iter().enumerate() {
            let own = || backends.get(&member.backend)?.prefix.clone();
            let Some(prefix) = member.prefix.clone().or_else(own) else { continue };
            let Some(earlier) = owners.insert(prefix, &member.backend) else { continue };
            if *earlier == member.backend {
                continue;
            }
            let place = self.element(path, index);
            let place = if member.prefix.is_some() { place.key("prefix") } else { place };
            let message = format!("backends `{earlier}` and `{}` have the same prefix here", member.backend);
            let help = format!("give one another, such as `- {{ backend: {}, prefix: other }}`", member.backend);
            self.note(Finding::error(place, message).help(help));
        }
    }

    fn check_selection(&mut self, path: &KeyPath, selection: &Selection) {
        self.check_globs(path, &selection.allow, &selection.deny);
        let path = path.key("rename");
        self.check_count(&path, selection.rename.len(), RENAMES_MAX);
        for (original, Rename { name, description }) in &selection.rename {
            let place = path.key(original);
            if original.is_empty() || original.len() > ORIGINAL_BYTES_MAX || original.contains(char::is_control) {
                let message = format!("this is no item's name: it has 1 to {ORIGINAL_BYTES_MAX} visible bytes");
                self.note(Finding::error(place.clone(), message).at_key());
            }
            if name.is_none() && description.is_none() && !self.is_pruned(&place) {
                self.note(Finding::error(place.clone(), "give it a `name`, a `description`, or both").at_key());
            }
            if description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
                let message = format!("a description has at most {} KiB", DESCRIPTION_BYTES_MAX >> 10);
                self.note(Finding::error(place.key("description"), message));
            }
        }
    }

    fn check_globs(&mut self, path: &KeyPath, allow: &[Glob], deny: &[Glob]) {
        self.check_count(&path.key("allow"), allow.len(), GLOBS_MAX);
        self.check_count(&path.key("deny"), deny.len(), GLOBS_MAX);
    }

    /// No two items are given one name.
    fn check_names(&mut self, path: &KeyPath, kind: &str, members: &[Member], of: fn(&Member) -> &Selection) {
        let mut owners: HashMap<&ItemName, Owner<'_>> = HashMap::new();
        for (index, member) in members.iter().enumerate() {
            for (original, rename) in &of(member).rename {
                let Some(name) = &rename.name else { continue };
                let Some((backend, earlier)) = owners.insert(name, (&member.backend, original)) else { continue };
                let place = self.element(path, index).key(kind).key("rename").key(original);
                let inner = place.key("name");
                let given = if self.is_interpolated(&inner) { &inner } else { &place };
                let name = self.quoted(given, name);
                let message = format!(
                    "`{original}` of backend `{}` and `{earlier}` of backend `{backend}` cannot both be called {name}",
                    member.backend
                );
                self.note(Finding::error(place, message));
            }
        }
    }
}
