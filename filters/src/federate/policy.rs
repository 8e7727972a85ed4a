//! What one virtual server makes of its backends' items: prefixes, selections, renames. Part of the snapshot.

use super::glob::Selection;
use super::kind::Kind;
use super::naming::{self, Prefixing};
use foldhash::fast::RandomState;
use http::HeaderName;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// How the items of several backends become those of one server.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// When names and URIs get a prefix.
    pub prefixing: Prefixing,
    /// What stands between prefix and name: 1 to 4 of `_` and `-`.
    pub separator: Box<str>,
    /// The backends, in the order of the virtual server's `backends`.
    pub members: Box<[Member]>,
    /// The most items on one page of a list; 0 is read as 1.
    pub page_size: usize,
    /// Instructions in place of the merged ones.
    pub instructions: Option<Box<str>>,
}

/// One backend as a member of a virtual server.
#[derive(Clone, Debug)]
pub struct Member {
    /// The backend's name in the configuration.
    pub backend: Arc<str>,
    /// What its names and URIs begin with: `[a-z0-9-]{1,16}`.
    pub prefix: Box<str>,
    /// Which tools are shown, and how.
    pub tools: Rules,
    /// Which prompts are shown, and how.
    pub prompts: Rules,
    /// Which resources and templates are shown, by URI or URI template.
    pub resources: Selection,
    /// Fields of a client's request that this backend gets, and that may say who calls.
    pub identity: Box<[HeaderName]>,
}

/// Which named items are shown, and under which names.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Which are shown.
    pub selection: Selection,
    /// What is shown instead of the original's name and description, by original name.
    pub renames: HashMap<Box<str>, Rename, RandomState>,
}

/// What an operator writes in place of a backend's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rename {
    /// The whole exposed name: it gets no prefix.
    pub name: Option<Box<str>>,
    /// The description.
    pub description: Option<Box<str>>,
}

/// Why a policy cannot be used. Members are given by their index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// The separator is empty, too long, or has other characters.
    #[error("a separator is 1 to 4 of `_` and `-`")]
    Separator,
    /// A prefix is empty, too long, or has other characters.
    #[error("a prefix has 1 to 16 characters out of a-z, 0-9 and `-`")]
    Prefix {
        /// Whose.
        member: usize,
    },
    /// Two members have the same prefix.
    #[error("two backends have the prefix \"{prefix}\"")]
    SamePrefix {
        /// Whose prefix was there first, and whose is the same.
        members: (usize, usize),
        /// The prefix.
        prefix: Box<str>,
    },
    /// A name in a rename is not one that MCP admits.
    #[error("\"{name}\" cannot be a name: 1 to 128 characters out of a-z, A-Z, 0-9, `_`, `-` and `.`")]
    Name {
        /// In whose renames.
        member: usize,
        /// Of which kind.
        kind: Kind,
        /// The original that would be renamed.
        original: Box<str>,
        /// The name.
        name: Box<str>,
    },
    /// Two items are renamed to one name.
    #[error("two {} are renamed to \"{name}\"", kind.member())]
    SameName {
        /// Which member's which original, first and second in the order of members.
        owners: [(usize, Box<str>); 2],
        /// Of which kind.
        kind: Kind,
        /// The name.
        name: Box<str>,
    },
}

impl Member {
    /// A backend of which everything is shown, under its default prefix.
    pub fn new(backend: impl Into<Arc<str>>) -> Member {
        let backend = backend.into();
        let prefix = naming::default_prefix(&backend);
        let (tools, prompts, resources) = (Rules::default(), Rules::default(), Selection::default());
        Member { backend, prefix, tools, prompts, resources, identity: Box::default() }
    }

    /// The rules for a kind of named items; `None` for resources and templates.
    pub fn rules(&self, kind: Kind) -> Option<&Rules> {
        match kind {
            Kind::Tools => Some(&self.tools),
            Kind::Prompts => Some(&self.prompts),
            Kind::Resources | Kind::Templates => None,
        }
    }

    /// Whether an item of this original name, URI or template is shown.
    pub fn shows(&self, kind: Kind, original: &str) -> bool {
        self.rules(kind).map_or(&self.resources, |rules| &rules.selection).admits(original)
    }

    /// Whether this backend may be asked for this URI of its own, listed or not.
    ///
    /// Where only some are shown, a URI with dot segments is none of them: what a pattern sees in it is not what the
    /// backend would read.
    pub fn admits_uri(&self, original: &str) -> bool {
        self.resources.is_open() || (!has_dot_segments(original) && self.resources.admits(original))
    }

    pub(super) fn rename(&self, kind: Kind, original: &str) -> Option<&Rename> {
        self.rules(kind)?.renames.get(original)
    }
}

impl Policy {
    /// Whether clients see any URI otherwise than backends do.
    pub fn maps_uris(&self) -> bool {
        self.prefixing != Prefixing::Never
    }

    /// Checks what must hold before anything is known of the backends.
    ///
    /// # Errors
    /// The first [`PolicyFault`].
    pub fn check(&self) -> Result<(), PolicyFault> {
        if !naming::is_separator(&self.separator) {
            return Err(PolicyFault::Separator);
        }
        let mut prefixes: HashMap<&str, usize> = HashMap::new();
        for (member, policy) in self.members.iter().enumerate() {
            if !naming::is_prefix(&policy.prefix) {
                return Err(PolicyFault::Prefix { member });
            }
            if let Some(first) = prefixes.insert(&policy.prefix, member) {
                return Err(PolicyFault::SamePrefix { members: (first, member), prefix: policy.prefix.clone() });
            }
        }
        [Kind::Tools, Kind::Prompts].into_iter().try_for_each(|kind| self.check_renames(kind))
    }

    fn check_renames(&self, kind: Kind) -> Result<(), PolicyFault> {
        let mut names: HashMap<&str, (usize, &str)> = HashMap::new();
        for (member, policy) in self.members.iter().enumerate() {
            let Some(rules) = policy.rules(kind) else { continue };
            // In order, so that the same configuration always gets the same answer.
            let mut renames: Vec<_> = rules.renames.iter().collect();
            renames.sort_unstable_by_key(|(original, _)| *original);
            for (original, rename) in renames {
                let Some(name) = &rename.name else { continue };
                if !naming::is_mcp_name(name) {
                    let (original, name) = (original.clone(), name.clone());
                    return Err(PolicyFault::Name { member, kind, original, name });
                }
                match names.entry(name) {
                    Entry::Occupied(first) => {
                        let (other, theirs) = *first.get();
                        let owners = [(other, theirs.into()), (member, original.clone())];
                        return Err(PolicyFault::SameName { owners, kind, name: name.clone() });
                    }
                    Entry::Vacant(free) => {
                        free.insert((member, original));
                    }
                }
            }
        }
        Ok(())
    }

    /// The member that has an item which is renamed to this name, or whose prefix and separator it begins with: a guess for
    /// messages, never a decision.
    pub fn seems_of(&self, kind: Kind, exposed: &str) -> Option<usize> {
        let renames = |member: &Member| {
            let mut renames = member.rules(kind).into_iter().flat_map(|rules| rules.renames.values());
            renames.any(|rename| rename.name.as_deref() == Some(exposed))
        };
        self.members.iter().position(renames).or_else(|| {
            self.members.iter().position(|member| {
                exposed.strip_prefix(&*member.prefix).is_some_and(|rest| rest.starts_with(&*self.separator))
            })
        })
    }

    /// Whether an item of this member may be shown under this name, where all have prefixes.
    pub(super) fn may_name(&self, member: usize, exposed: &str) -> bool {
        let Some(member) = self.members.get(member) else { return false };
        let prefixed = exposed.strip_prefix(&*member.prefix).is_some_and(|rest| rest.starts_with(&*self.separator));
        let chosen = |rules: &Rules| rules.renames.values().any(|rename| rename.name.as_deref() == Some(exposed));
        prefixed || chosen(&member.tools) || chosen(&member.prompts)
    }

    /// The member that is this backend.
    pub fn member(&self, backend: &str) -> Option<usize> {
        self.members.iter().position(|member| *member.backend == *backend)
    }
}

/// Whether a path has a segment `.` or `..`, also percent-encoded, also with the other slash.
fn has_dot_segments(uri: &str) -> bool {
    let decoded = uri.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    decoded.split(['/', '\\', '?', '#']).any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(members: Vec<Member>) -> Policy {
        Policy { separator: "__".into(), members: members.into(), ..Policy::default() }
    }

    fn renaming(backend: &str, renames: &[(&str, &str)]) -> Member {
        let mut member = Member::new(backend);
        for (original, name) in renames {
            let rename = Rename { name: Some((*name).into()), description: None };
            member.tools.renames.insert((*original).into(), rename);
        }
        member
    }

    #[test]
    fn what_cannot_work_is_refused_with_both_owners() {
        assert_eq!(policy(vec![Member::new("a"), Member::new("b")]).check(), Ok(()));
        let twice = policy(vec![Member::new("a"), Member { prefix: "a".into(), ..Member::new("b") }]);
        assert_eq!(twice.check(), Err(PolicyFault::SamePrefix { members: (0, 1), prefix: "a".into() }));
        let bad = policy(vec![Member { prefix: "A_".into(), ..Member::new("b") }]);
        assert_eq!(bad.check(), Err(PolicyFault::Prefix { member: 0 }));
        let separator = Policy { separator: ".".into(), ..policy(vec![]) };
        assert_eq!(separator.check(), Err(PolicyFault::Separator));
        let clash = policy(vec![renaming("a", &[("x", "open")]), renaming("b", &[("y", "open")])]);
        let owners = [(0, "x".into()), (1, "y".into())];
        assert_eq!(clash.check(), Err(PolicyFault::SameName { owners, kind: Kind::Tools, name: "open".into() }));
        assert!(matches!(policy(vec![renaming("a", &[("x", "a b")])]).check(), Err(PolicyFault::Name { .. })));
    }

    #[test]
    fn a_selected_folder_cannot_be_left_by_dots() {
        let member = Member { resources: Selection::new(&["file:///data/**"], &[]), ..Member::new("files") };
        assert!(member.admits_uri("file:///data/a/b.txt"));
        assert!(member.admits_uri("file:///data/a..b/.c"));
        for uri in [
            "file:///etc/passwd",
            "file:///data/../etc/passwd",
            "file:///data/%2e%2E/etc/passwd",
            "file:///data/x%2f..%2fy",
            "file:///data/..\\etc",
            "file:///data/..",
            "file:///data/./x",
        ] {
            assert!(!member.admits_uri(uri), "{uri}");
        }
        assert!(Member::new("files").admits_uri("file:///data/../etc/passwd"), "nothing was selected");
    }
}
