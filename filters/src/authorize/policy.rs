//! The rules of a configuration, compiled.

use super::bits::Bits;
use super::cel::{Program, Variable, Variables};
use super::permission::Permission;
use super::query::CallerValues;
use super::roles::Roles;
use super::scopes::Scopes;
use super::spec::{Effect, Place};
use super::who::Who;
use crate::principal::Principal;
use http::HeaderName;
use std::fmt;

/// A rule, a permission of a role, a scope, or the default, as the policy numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub(super) u32);

/// What people know of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Such as `rules.small-transfers`, `roles.analyst.deny[0]`, `scopes.github:read` or `default`.
    pub name: Box<str>,
    /// Where it stands, if that is known.
    pub place: Option<Place>,
    /// What the denied client is told.
    pub reason: Option<Box<str>>,
}

/// Everything that decides who may do what. Immutable: made when a configuration is loaded.
pub struct Policy {
    pub(super) default: Effect,
    /// Rules of roles first, then those that have names.
    pub(super) rules: Box<[Rule]>,
    /// Of the rules, then of the scopes, then of the default.
    pub(super) infos: Box<[RuleInfo]>,
    /// The rules that deny, in the order in which they are weighed: those without conditions first.
    pub(super) denies: Box<[RuleId]>,
    /// The rules that allow, in that order.
    pub(super) allows: Box<[RuleId]>,
    pub(super) roles: Roles,
    pub(super) scopes: Scopes,
    pub(super) headers: Box<[HeaderName]>,
    /// All variables that some condition mentions.
    pub(super) variables: Variables,
}

/// A rule, or a permission of a role.
#[derive(Debug)]
pub(super) struct Rule {
    pub effect: Effect,
    pub permissions: Box<[Permission]>,
    pub whom: Whom,
    pub guard: Guard,
    /// Whether it counts against the caller while its condition is not decided.
    pub hides: bool,
}

/// Whom a rule is for.
#[derive(Debug)]
pub(super) enum Whom {
    /// Whoever has this role.
    Role(usize),
    /// These.
    Named(Who),
}

/// On what a rule depends beside caller and item.
#[derive(Debug)]
pub(super) enum Guard {
    /// Nothing.
    Always,
    /// That its backend says of a tool that it only reads.
    OnlyReads,
    /// A condition.
    When(Program),
}

impl Rule {
    /// The variables that its condition mentions.
    pub fn variables(&self) -> Variables {
        match &self.guard {
            Guard::When(program) => program.variables(),
            Guard::Always | Guard::OnlyReads => Variables::NONE,
        }
    }

    /// Whether what it decides may be another thing with each request.
    pub fn is_volatile(&self) -> bool {
        self.variables().meets(Variables::VOLATILE)
    }

    /// Whether what it decides depends on more than caller and item.
    pub fn is_open(&self) -> bool {
        self.is_volatile() || self.variables().contains(Variable::Args) && !self.hides
    }

    /// Which rules are weighed first: those that are decided by table, then those that need not be decided again.
    pub fn class(&self) -> u8 {
        match &self.guard {
            Guard::Always => 0,
            _ if !self.is_open() => 1,
            _ => 2,
        }
    }
}

/// A caller at a virtual server, as far as all decisions about it have in common.
pub struct Caller<'p> {
    pub(super) principal: &'p Principal,
    pub(super) server: &'p str,
    pub(super) standing: Standing,
}

/// What a policy makes of a caller.
pub(super) struct Standing {
    /// The roles whose permissions it has.
    allowed: Bits,
    /// The roles whose denials it has.
    denied: Bits,
    /// The scopes that it has, where its proof knows any.
    pub scopes: Option<Bits>,
    pub values: CallerValues,
}

impl Policy {
    /// What is known of a rule.
    pub fn rule(&self, id: RuleId) -> &RuleInfo {
        // Only this policy gives ids out; of another policy's, the default is nearest to the truth.
        self.infos.get(id.0 as usize).unwrap_or(&self.infos[self.infos.len() - 1])
    }

    /// The scopes.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// A caller, for several decisions.
    pub fn caller<'p>(&self, principal: &'p Principal, server: &'p str) -> Caller<'p> {
        let scopes = principal.facts().scopes.as_deref().map(|given| self.scopes.held(given));
        let standing = Standing {
            allowed: self.roles.of(principal, server, Effect::Allow),
            denied: self.roles.of(principal, server, Effect::Deny),
            scopes,
            values: CallerValues::new(principal, server, self.variables),
        };
        Caller { principal, server, standing }
    }

    pub(super) fn get(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(id.0 as usize)
    }

    /// The id of the default.
    pub(super) fn by_default(&self) -> RuleId {
        RuleId((self.infos.len() - 1) as u32)
    }

    /// The id of a scope.
    pub(super) fn by_scope(&self, name: &str) -> RuleId {
        let number = self.scopes.number(name).unwrap_or_default();
        RuleId((self.rules.len() + number) as u32)
    }
}

impl Caller<'_> {
    /// Whether this caller has a role, for what the role allows.
    pub(super) fn has_role(&self, role: usize) -> bool {
        self.standing.allowed.contains(role)
    }

    /// Whether a rule is for this caller.
    pub(super) fn is_meant(&self, rule: &Rule) -> bool {
        match (&rule.whom, rule.effect) {
            (Whom::Role(role), Effect::Allow) => self.standing.allowed.contains(*role),
            (Whom::Role(role), Effect::Deny) => self.standing.denied.contains(*role),
            (Whom::Named(who), effect) => who.applies(self.principal, self.server, effect),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("rules", &self.rules.len()).finish_non_exhaustive()
    }
}
