//! Permissions: `<kind>:<verb>:<backend>/<name>`, each part with `*` for any run within it.
//!
//! Names are those that backends use, with the backend's name before them: what a virtual server calls an item can be
//! changed by whoever configures that server, and must not change what a rule means.

use super::action::{Action, Actions};
use super::wild::Wild;
use std::fmt;
use thiserror::Error;

/// The longest permission, in bytes.
pub const PERMISSION_BYTES_MAX: usize = 512;

/// The kind of what operators do. No action has it yet; rules may name it.
const ADMIN: &str = "admin";

/// A pattern of permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    text: Box<str>,
    actions: Actions,
    backend: Wild,
    name: Wild,
}

/// Why a text is no permission.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PermissionFault {
    /// Nothing at all.
    #[error("is empty: write <kind>:<verb>:<backend>/<name>, such as `tools:call:github/*`")]
    Empty,
    /// Longer than [`PERMISSION_BYTES_MAX`].
    #[error("is longer than {PERMISSION_BYTES_MAX} bytes")]
    TooLong,
    /// A control character or white space at an end.
    #[error("has white space or control characters around or in it")]
    Blank,
    /// Nothing stands where a part must.
    #[error("has no {0}: write <kind>:<verb>:<backend>/<name>, or end it with `*`")]
    Missing(&'static str),
    /// No kind matches the first part.
    #[error("`{0}` is no kind of permission: there are {kinds}", kinds = kinds())]
    UnknownKind(Box<str>),
    /// The kind is known, and has no such verb.
    #[error("`{kind}` has no verb `{verb}`: there is {known}")]
    UnknownVerb {
        /// The first part.
        kind: Box<str>,
        /// The second part.
        verb: Box<str>,
        /// Those that would match.
        known: Box<str>,
    },
    /// The third part is neither `*` nor has a `/`.
    #[error("`{0}` is not <backend>/<name>: to name all of the backend's items, write `{0}/*`")]
    NoName(Box<str>),
}

fn kinds() -> String {
    let mut kinds: Vec<_> = Action::ALL.iter().map(|action| action.kind()).chain([ADMIN]).collect();
    kinds.dedup();
    kinds.join(", ")
}

/// How far a pattern reaches what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reach {
    /// Not at all.
    Never,
    /// Some of it: what is asked about is a template, and only some of its expansions match.
    Partly,
    /// Wholly.
    Wholly,
}

impl Permission {
    /// Reads a permission.
    ///
    /// # Errors
    /// Says what is wrong with it, in words that go behind its name.
    pub fn parse(text: &str) -> Result<Permission, PermissionFault> {
        if text.is_empty() {
            return Err(PermissionFault::Empty);
        }
        if text.len() > PERMISSION_BYTES_MAX {
            return Err(PermissionFault::TooLong);
        }
        if text.trim() != text || text.chars().any(char::is_control) {
            return Err(PermissionFault::Blank);
        }
        let mut parts = text.splitn(3, ':');
        let kind = parts.next().unwrap_or_default();
        let verb = part(parts.next(), kind, "verb")?;
        let item = part(parts.next(), verb, "item")?;
        let actions = actions(kind, verb)?;
        let (backend, name) = match item.split_once('/') {
            Some((backend, name)) => (backend, name),
            None if Wild::new(item).is_any() => ("*", "*"),
            None => return Err(PermissionFault::NoName(item.into())),
        };
        for (value, what) in [(backend, "backend"), (name, "name")] {
            if value.is_empty() {
                return Err(PermissionFault::Missing(what));
            }
        }
        Ok(Permission { text: text.into(), actions, backend: Wild::new(backend), name: Wild::new(name) })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The actions that it is about.
    pub fn actions(&self) -> Actions {
        self.actions
    }

    /// Which backends it is about.
    pub fn backend(&self) -> &Wild {
        &self.backend
    }

    /// Which of their items it is about.
    pub fn name(&self) -> &Wild {
        &self.name
    }

    /// Whether it is about this item of this backend.
    pub fn matches(&self, action: Action, backend: &str, name: &str) -> bool {
        self.actions.contains(action) && self.backend.matches(backend) && self.name.matches(name)
    }

    /// How far it is about what a template of this backend expands to.
    pub fn reaches(&self, action: Action, backend: &str, template: &Wild) -> Reach {
        if !self.actions.contains(action) || !self.backend.matches(backend) {
            Reach::Never
        } else if self.name.covers(template) {
            Reach::Wholly
        } else if self.name.meets(template) {
            Reach::Partly
        } else {
            Reach::Never
        }
    }

    /// Whether it is about all that the other is about.
    pub fn covers(&self, other: &Permission) -> bool {
        self.actions.covers(other.actions) && self.backend.covers(&other.backend) && self.name.covers(&other.name)
    }

    /// Whether something is about both.
    pub fn meets(&self, other: &Permission) -> bool {
        self.actions.meets(other.actions) && self.backend.meets(&other.backend) && self.name.meets(&other.name)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A part of a permission: `*` as the last one stands for all that could follow.
fn part<'t>(part: Option<&'t str>, before: &'t str, what: &'static str) -> Result<&'t str, PermissionFault> {
    match part {
        Some("") => Err(PermissionFault::Missing(what)),
        Some(part) => Ok(part),
        None if before == "*" => Ok("*"),
        None => Err(PermissionFault::Missing(what)),
    }
}

fn actions(kind: &str, verb: &str) -> Result<Actions, PermissionFault> {
    let (kinds, verbs) = (Wild::new(kind), Wild::new(verb));
    let found = Actions::filter(|action| kinds.matches(action.kind()) && verbs.matches(action.verb()));
    if !found.is_empty() || kinds.matches(ADMIN) {
        return Ok(found);
    }
    let of_kind = Actions::filter(|action| kinds.matches(action.kind()));
    if of_kind.is_empty() {
        return Err(PermissionFault::UnknownKind(kind.into()));
    }
    let known: Vec<_> = of_kind.iter().map(|action| format!("`{}`", action.verb())).collect();
    Err(PermissionFault::UnknownVerb { kind: kind.into(), verb: verb.into(), known: known.join(", ").into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(text: &str) -> Permission {
        Permission::parse(text).unwrap_or_else(|fault| panic!("{text} {fault}"))
    }

    #[test]
    fn parts_match_what_they_name() {
        for (text, action, backend, name, fits) in [
            ("tools:call:github/*", Action::CallTool, "github", "get_issue", true),
            ("tools:call:github/*", Action::GetPrompt, "github", "get_issue", false),
            ("tools:call:github/get_*", Action::CallTool, "github", "set_issue", false),
            ("tools:call:git*/get_*", Action::CallTool, "gitlab", "get_issue", true),
            ("tools:call:*/delete_*", Action::CallTool, "x", "delete_it", true),
            ("tools:call:*", Action::CallTool, "x", "y", true),
            ("tools:*", Action::CallTool, "x", "y", true),
            ("*", Action::ListRoots, "x", "", true),
            ("*:create:*", Action::Elicit, "x", "", true),
            ("resources:read:files/file:///a/*", Action::ReadResource, "files", "file:///a/b/c:d?e", true),
            ("resources:*:files/file:///a/*", Action::Subscribe, "files", "file:///a/b", true),
            ("resources:read:files/file:///a/*", Action::Subscribe, "files", "file:///a/b", false),
            ("admin:*", Action::CallTool, "x", "y", false),
            ("sampling:create:github/*", Action::Sample, "github", "", true),
            ("tools:call:a/b", Action::CallTool, "a", "B", false),
        ] {
            assert_eq!(permission(text).matches(action, backend, name), fits, "{text} {backend}/{name}");
        }
    }

    #[test]
    fn faults_say_what_to_write() {
        for (text, part) in [
            ("", "is empty"),
            ("tools", "no verb"),
            ("tools:", "no verb"),
            ("tools:call", "no item"),
            ("tools:call:", "no item"),
            ("tools:call:github", "write `github/*`"),
            ("tools:call:/x", "no backend"),
            ("tools:call:x/", "no name"),
            ("tool:call:a/b", "there are tools, prompts, resources, tasks, sampling, elicitation, roots, admin"),
            ("tools:get:a/b", "`tools` has no verb `get`: there is `call`"),
            (" tools:call:a/b", "white space"),
            ("tools:call:a/b\n", "white space"),
        ] {
            let fault = Permission::parse(text).expect_err(text).to_string();
            assert!(fault.contains(part), "{text}: {fault}");
        }
        assert_eq!(
            Permission::parse(&format!("tools:call:a/{}", "b".repeat(PERMISSION_BYTES_MAX))),
            Err(PermissionFault::TooLong)
        );
    }

    #[test]
    fn a_template_may_be_reached_in_part() {
        let template = Wild::of_template("file:///{+path}");
        for (text, reach) in [
            ("resources:read:files/*", Reach::Wholly),
            ("resources:read:files/file:///*", Reach::Wholly),
            ("resources:read:files/file:///public/*", Reach::Partly),
            ("resources:read:files/http:*", Reach::Never),
            ("resources:read:other/*", Reach::Never),
            ("resources:subscribe:files/*", Reach::Never),
        ] {
            assert_eq!(permission(text).reaches(Action::ReadResource, "files", &template), reach, "{text}");
        }
    }

    #[test]
    fn one_covers_another_where_all_of_its_parts_do() {
        let narrow = permission("tools:call:github/get_*");
        assert!(permission("*").covers(&narrow) && permission("tools:call:git*/*").covers(&narrow));
        assert!(!narrow.covers(&permission("*")) && !permission("prompts:*").covers(&narrow));
        assert!(narrow.meets(&permission("*:*:*/*_issue")) && !narrow.meets(&permission("tools:call:github/set_*")));
    }
}
