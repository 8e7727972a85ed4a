//! What the configuration says of policy, as it is written: plain data, from which a [`Policy`](super::Policy) is compiled.

use super::cel::compile::Position;
use super::who::Who;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// The most rules, roles, scopes and assignments, of each.
pub const ENTRIES_MAX: usize = 1_024;
/// The most permissions of one rule, role or scope.
pub const PERMISSIONS_MAX: usize = 256;

/// Where something stands in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, counted from one.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a rule does where it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It allows, unless something denies.
    Allow,
    /// It denies, whatever allows.
    #[default]
    Deny,
}

/// What becomes of a rule whose condition needs arguments that are not there yet, which is so whenever items are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Undecided {
    /// What it may allow is listed; each call is decided by its arguments.
    #[default]
    Show,
    /// It counts against the caller: one that allows does not, one that denies does. So what it would decide is not listed,
    /// and calls are refused, too.
    Hide,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct PolicySpec {
    /// What is decided where no rule matches.
    pub default: Effect,
    /// Where it stands.
    pub place: Option<Place>,
    /// For the rules that do not say.
    pub undecided: Undecided,
    /// Header fields that conditions may read, in lower case.
    pub headers: Vec<String>,
    /// What tokens may be limited to.
    pub scopes: Vec<ScopeSpec>,
    /// Roles beside the built-in ones.
    pub roles: Vec<RoleSpec>,
    /// Who has which role.
    pub assignments: Vec<AssignmentSpec>,
    /// Rules, in the order in which they are named where several decide.
    pub rules: Vec<RuleSpec>,
}

/// A scope.
#[derive(Clone, Debug, Default)]
pub struct ScopeSpec {
    /// As tokens say it.
    pub name: String,
    /// Scopes that whoever has this one has, too.
    pub implies: Vec<String>,
    /// What can be done only with this scope, or another one that has it here.
    pub allow: Vec<String>,
    /// Where it stands.
    pub place: Option<Place>,
}

/// A role.
#[derive(Clone, Debug, Default)]
pub struct RoleSpec {
    /// Its name.
    pub name: String,
    /// Roles all of whose permissions and denials it has, too.
    pub inherits: Vec<String>,
    /// What it may do.
    pub allow: Vec<String>,
    /// What it may not do, whatever else allows it.
    pub deny: Vec<String>,
    /// Where it stands.
    pub place: Option<Place>,
}

/// Who has a role.
#[derive(Clone, Debug, Default)]
pub struct AssignmentSpec {
    /// The role.
    pub role: String,
    /// Who has it.
    pub who: Who,
    /// Where it stands.
    pub place: Option<Place>,
}

/// A rule.
#[derive(Clone, Debug, Default)]
pub struct RuleSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub effect: Effect,
    /// What it is about.
    pub permissions: Vec<String>,
    /// Whom it is for.
    pub who: Who,
    /// Its condition.
    pub when: Option<String>,
    /// What becomes of it while the arguments are not there.
    pub undecided: Option<Undecided>,
    /// What the denied client is told.
    pub reason: Option<String>,
    /// Where it stands.
    pub place: Option<Place>,
}

/// Something that is wrong with a [`PolicySpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFault {
    /// Which part, such as `rules[2].when`; numbers count from zero.
    pub path: String,
    /// Where the rule, role, scope or assignment stands.
    pub place: Option<Place>,
    /// Where in the text of a condition.
    pub at: Option<Position>,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy.{}: ", self.path)?;
        if let Some(at) = self.at {
            write!(f, "line {}, column {}: ", at.line, at.column)?;
        }
        f.write_str(&self.what)
    }
}
