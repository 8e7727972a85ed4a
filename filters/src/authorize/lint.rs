//! What is wrong with a policy that compiles: rules that never decide anything, and items that no rule is about.
//!
//! Nothing here changes what is decided. What it says is certain as far as it goes: a rule that is not named may still be
//! without effect for reasons that only its condition knows.

use super::action::{Action, Actions};
use super::permission::Permission;
use super::policy::{Guard, Policy, Rule, RuleId, Whom};
use super::query::Item;
use super::spec::{Effect, Place};
use serde::Serialize;
use std::collections::BTreeSet;

/// How much is found at most; what is more is counted.
pub const FINDINGS_MAX: usize = 256;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LintFinding {
    /// The kind of it.
    pub lint: Lint,
    /// Which rule, role, scope or item it is about.
    pub subject: Box<str>,
    /// Where that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What is wrong, for people.
    pub text: String,
}

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lint {
    /// A permission is about a backend that there is not.
    UnknownBackend,
    /// A permission is about no item of the backends whose items are known.
    UnknownItem,
    /// A rule is for a virtual server or an issuer that there is not.
    UnknownName,
    /// Nobody can be all that a rule is for.
    NeverApplies,
    /// Nobody has a role.
    Unassigned,
    /// Whatever a rule allows, another one denies.
    Shadowed,
    /// Another rule does the same for the same callers, and more.
    Duplicate,
    /// No rule is about an item, so only the default decides.
    Unreached,
    /// A condition is about a claim that no issuer gives.
    UnknownClaim,
    /// A scope allows nothing, nor does any that it implies.
    IdleScope,
    /// A subject is named without the issuer that calls it so, and there are several.
    AmbiguousSubject,
}

/// What there is beside the policy. What is not known is `None`, and nothing is said about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The names of the backends.
    pub backends: Option<&'a [Box<str>]>,
    /// The backends whose items are known, and all of these.
    pub items: Option<(&'a [Box<str>], &'a [Item<'a>])>,
    /// The names of the virtual servers.
    pub servers: Option<&'a [Box<str>]>,
    /// The names of the issuers.
    pub issuers: Option<&'a [Box<str>]>,
    /// The claims that tokens may have.
    pub claims: Option<&'a [Box<str>]>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LintReport {
    /// At most [`FINDINGS_MAX`].
    pub findings: Vec<LintFinding>,
    /// How many more there are.
    pub further: usize,
}

impl Policy {
    /// Looks for what is wrong.
    pub fn lint(&self, around: &Surroundings<'_>) -> LintReport {
        let mut linting = Linting { policy: self, around, report: LintReport::default() };
        for id in (0..self.rules.len() as u32).map(RuleId) {
            let Some(rule) = self.get(id).filter(|rule| !self.is_built_in(rule)) else { continue };
            linting.permissions(id, &rule.permissions);
            linting.names(id, rule);
            linting.condition(id, rule);
            linting.overlap(id, rule);
        }
        linting.roles();
        linting.scopes();
        linting.unreached();
        linting.report
    }

    fn is_built_in(&self, rule: &Rule) -> bool {
        matches!(rule.whom, Whom::Role(role) if role < super::roles::BUILT_IN.len())
    }
}

struct Linting<'l> {
    policy: &'l Policy,
    around: &'l Surroundings<'l>,
    report: LintReport,
}

impl<'l> Linting<'l> {
    fn found(&mut self, lint: Lint, id: RuleId, text: String) {
        let info = self.policy.rule(id);
        self.add(LintFinding { lint, subject: info.name.clone(), place: info.place.clone(), text });
    }

    fn add(&mut self, finding: LintFinding) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(finding);
        } else {
            self.report.further += 1;
        }
    }

    fn permissions(&mut self, id: RuleId, permissions: &[Permission]) {
        for permission in permissions {
            if let Some(backends) = self.around.backends
                && !backends.iter().any(|backend| permission.backend().matches(backend))
            {
                self.found(Lint::UnknownBackend, id, format!("`{permission}` is about no backend that there is"));
                continue;
            }
            let Some((known, items)) = self.around.items else { continue };
            // A backend whose items are not known may have one of this name; so may any have what is not listed.
            let all_known = self.around.backends.is_some_and(|backends| {
                backends.iter().filter(|backend| permission.backend().matches(backend)).all(|it| known.contains(it))
            });
            let listed = [Action::CallTool, Action::GetPrompt];
            let about_listed = permission.actions().iter().all(|action| listed.contains(&action));
            let is_about = |item: &Item<'_>| permission.matches(Action::of(item.kind), item.backend, item.original);
            if all_known && about_listed && !permission.actions().is_empty() && !items.iter().any(is_about) {
                self.found(Lint::UnknownItem, id, format!("`{permission}` is about no item that a backend has"));
            }
        }
    }

    fn names(&mut self, id: RuleId, rule: &Rule) {
        let Whom::Named(who) = &rule.whom else { return };
        self.who(who, &mut |this, lint, text| this.found(lint, id, text));
    }

    fn who(&mut self, who: &super::who::Who, found: &mut dyn FnMut(&mut Self, Lint, String)) {
        use crate::principal::{ANONYMOUS, API_KEYS, CERTIFICATES};
        let own = [API_KEYS, CERTIFICATES, ANONYMOUS];
        let unknown = |names: &[Box<str>], known: Option<&[Box<str>]>| -> Vec<String> {
            let Some(known) = known else { return Vec::new() };
            let is_known =
                |name: &str| known.iter().any(|it| **it == *name) || own.contains(&name) || name.contains("://");
            names.iter().filter(|name| !is_known(name)).map(|name| format!("`{name}`")).collect()
        };
        for (what, names, known) in
            [("virtual server", &who.servers, self.around.servers), ("issuer", &who.issuers, self.around.issuers)]
        {
            let unknown = unknown(names, known);
            if !unknown.is_empty() {
                found(self, Lint::UnknownName, format!("there is no {what} {}", unknown.join(", ")));
            }
        }
        let nobody = who.issuers.iter().any(|issuer| **issuer == *ANONYMOUS) && who.issuers.len() == 1;
        if nobody && !(who.subjects.is_empty() && who.groups.is_empty() && who.tenants.is_empty()) {
            let text = "who is anonymous has no subject, no groups and no tenant".to_owned();
            found(self, Lint::NeverApplies, text);
        }
        let several = self.around.issuers.is_some_and(|issuers| issuers.len() > 1);
        if !who.subjects.is_empty() && who.issuers.is_empty() && several {
            let text = "two issuers may call two callers the same: name the issuer of these subjects, too".to_owned();
            found(self, Lint::AmbiguousSubject, text);
        }
    }

    fn condition(&mut self, id: RuleId, rule: &Rule) {
        let (Guard::When(program), Some(known)) = (&rule.guard, self.around.claims) else { return };
        for claim in program.claims().iter().filter(|claim| !known.contains(claim)) {
            self.found(Lint::UnknownClaim, id, format!("no issuer is known to give the claim `{claim}`"));
        }
    }

    /// Whether another rule leaves this one nothing to decide.
    fn overlap(&mut self, id: RuleId, rule: &Rule) {
        if rule.permissions.is_empty() {
            return;
        }
        let policy = self.policy;
        let others = || (0..policy.rules.len() as u32).map(RuleId).filter(|other| *other != id);
        let within = |other: &Rule| {
            rule.permissions.iter().all(|one| other.permissions.iter().any(|wide| wide.covers(one)))
                && matches!(other.guard, Guard::Always)
                && self.meant_for_all_of(other, rule)
        };
        let wider = others().filter_map(|other| Some((other, policy.get(other)?))).filter(|(_, other)| within(other));
        let mut verdict = None;
        for (other, wide) in wider {
            if rule.effect == Effect::Allow && wide.effect == Effect::Deny {
                verdict = Some((Lint::Shadowed, format!("{} denies all that this allows", policy.rule(other).name)));
                break;
            }
            // Of two that are the same, the second is named.
            let same = matches!(rule.guard, Guard::Always)
                && wide.permissions.iter().all(|one| rule.permissions.iter().any(|other| other.covers(one)))
                && self.meant_for_all_of(rule, wide);
            if verdict.is_none() && rule.effect == wide.effect && (!same || other < id) {
                verdict = Some((Lint::Duplicate, format!("{} does the same, or more", policy.rule(other).name)));
            }
        }
        if let Some((lint, text)) = verdict {
            self.found(lint, id, text);
        }
    }

    /// Whether whoever `narrow` is for, `wide` is for, too.
    fn meant_for_all_of(&self, wide: &Rule, narrow: &Rule) -> bool {
        match (&wide.whom, &narrow.whom) {
            (Whom::Role(wide), Whom::Role(narrow)) => {
                let mut having = self.policy.roles.having(*narrow);
                having.all(|role| self.policy.roles.having(*wide).any(|other| other == role))
            }
            (Whom::Named(who), Whom::Role(_)) => *who == super::who::Who::default(),
            (Whom::Named(wide_who), Whom::Named(narrow_who)) => wide_who.covers(narrow_who),
            (Whom::Role(_), Whom::Named(_)) => false,
        }
    }

    fn roles(&mut self) {
        let roles = &self.policy.roles;
        let whos: Vec<_> = roles.assignments().map(|(role, who)| (role, who.clone())).collect();
        for (number, (role, who)) in whos.iter().enumerate() {
            let subject: Box<str> = format!("assignments[{number}]").into();
            let role = roles.name(*role).to_owned();
            self.who(who, &mut |this, lint, text| {
                let text = format!("of `{role}`: {text}");
                this.add(LintFinding { lint, subject: subject.clone(), place: None, text });
            });
        }
        for role in super::roles::BUILT_IN.len()..roles.count() {
            let is_had = roles.having(role).any(|having| whos.iter().any(|(assigned, _)| *assigned == having));
            if !is_had {
                let subject = format!("roles.{}", roles.name(role)).into();
                let text = "nobody has this role, nor any that inherits from it".to_owned();
                self.add(LintFinding { lint: Lint::Unassigned, subject, place: None, text });
            }
        }
    }

    fn scopes(&mut self) {
        let scopes: Vec<_> = self.policy.scopes.iter().map(|(name, own)| (name.to_owned(), own.to_vec())).collect();
        for (name, permissions) in scopes {
            let id = self.policy.by_scope(&name);
            self.permissions(id, &permissions);
            if !self.policy.scopes.allows_anything(&name) {
                let text = "this scope allows nothing, nor does any that it implies".to_owned();
                self.found(Lint::IdleScope, id, text);
            }
        }
    }

    /// Items that only the default decides about. Built-in roles count where somebody has them.
    fn unreached(&mut self) {
        let Some((_, items)) = self.around.items else { return };
        let policy = self.policy;
        let assigned: BTreeSet<usize> = policy.roles.assignments().map(|(role, _)| role).collect();
        let counts = |rule: &&Rule| match rule.whom {
            Whom::Role(role) => policy.roles.having(role).any(|having| assigned.contains(&having)),
            Whom::Named(_) => true,
        };
        let about: Vec<&Permission> = policy.rules.iter().filter(counts).flat_map(|rule| &rule.permissions).collect();
        for item in items {
            let action = Action::of(item.kind);
            let only = Actions::filter(|it| it == action);
            let is_about =
                |it: &&&Permission| it.actions().meets(only) && it.backend().matches(item.backend) && meets(it, item);
            if !about.iter().any(|permission| is_about(&permission)) {
                let subject = format!("{}:{}/{}", action.label(), item.backend, item.original).into();
                let text = "no rule is about this item: the default decides".to_owned();
                self.add(LintFinding { lint: Lint::Unreached, subject, place: None, text });
            }
        }
    }
}

fn meets(permission: &Permission, item: &Item<'_>) -> bool {
    match item.kind {
        crate::federate::Kind::Templates => permission.name().meets(&super::wild::Wild::of_template(item.original)),
        _ => permission.name().matches(item.original),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorize::testing::{World, tool};
    use crate::authorize::{AssignmentSpec, PolicySpec, RoleSpec, RuleSpec, ScopeSpec, Who};

    fn rule(name: &str, effect: Effect, permission: &str) -> RuleSpec {
        RuleSpec { name: name.into(), effect, permissions: vec![permission.into()], ..RuleSpec::default() }
    }

    fn lint(make: impl FnOnce(&mut PolicySpec)) -> String {
        let world = World::new(make);
        let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Vec<Box<str>>>();
        let (backends, servers, issuers) = (names(&["github", "bank"]), names(&["main"]), names(&["corp", "other"]));
        let claims = names(&["department"]);
        let items = [tool("github", "get_issue", ""), tool("bank", "transfer", "")];
        let around = Surroundings {
            backends: Some(&backends),
            items: Some((&backends, &items)),
            servers: Some(&servers),
            issuers: Some(&issuers),
            claims: Some(&claims),
        };
        let report = world.policy.lint(&around);
        let lines = report.findings.iter().map(|it| format!("{:?} {}: {}", it.lint, it.subject, it.text));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_policy_about_everything_is_clean() {
        let found =
            lint(|spec| spec.assignments = vec![AssignmentSpec { role: "developer".into(), ..Default::default() }]);
        assert_eq!(found, "");
    }

    #[test]
    fn each_kind_of_finding_is_found_where_it_is() {
        let found = lint(|spec| {
            spec.roles = vec![RoleSpec { name: "lonely".into(), ..RoleSpec::default() }];
            spec.scopes = vec![
                ScopeSpec { name: "idle".into(), implies: vec!["nothing".into()], ..ScopeSpec::default() },
                ScopeSpec { name: "fine".into(), allow: vec!["tools:call:bank/*".into()], ..ScopeSpec::default() },
            ];
            let mut claims = rule("claims", Effect::Allow, "tools:call:bank/*");
            claims.when = Some("claims.departement == 'x' || claims.department == 'y'".into());
            let mut narrow = rule("narrow", Effect::Allow, "tools:call:bank/transfer");
            narrow.who = Who { groups: vec!["a".into()], ..Who::default() };
            let mut ambiguous = rule("ambiguous", Effect::Deny, "tools:call:bank/transfer");
            ambiguous.who = Who { subjects: vec!["alice".into()], servers: vec!["none".into()], ..Who::default() };
            ambiguous.when = Some("args.a == 1".into());
            spec.rules = vec![
                rule("typo", Effect::Allow, "tools:call:githup/*"),
                rule("gone", Effect::Allow, "tools:call:bank/withdraw"),
                rule("allowed", Effect::Allow, "tools:call:bank/*"),
                narrow,
                rule("again", Effect::Allow, "tools:call:bank/*"),
                claims,
                ambiguous,
            ];
        });
        for line in [
            "UnknownBackend rules.typo",
            "UnknownItem rules.gone",
            "Duplicate rules.narrow: rules.allowed does the same, or more",
            "Duplicate rules.again: rules.allowed",
            "UnknownClaim rules.claims: no issuer is known to give the claim `departement`",
            "UnknownName rules.ambiguous: there is no virtual server `none`",
            "AmbiguousSubject rules.ambiguous",
            "Unassigned roles.lonely",
            "IdleScope scopes.idle",
            "IdleScope scopes.nothing",
            "Unreached tools:call:github/get_issue",
        ] {
            assert!(found.contains(line), "{line}\n{found}");
        }
        for line in ["Duplicate rules.allowed", "UnknownItem rules.allowed", "IdleScope scopes.fine", "`department`"] {
            assert!(!found.contains(line), "{line}\n{found}");
        }
    }

    #[test]
    fn what_is_denied_anyhow_is_shadowed() {
        let found = lint(|spec| {
            spec.rules = vec![
                rule("no", Effect::Deny, "tools:call:bank/*"),
                rule("yes", Effect::Allow, "tools:call:bank/transfer"),
                rule("rest", Effect::Allow, "tools:call:*"),
            ];
        });
        assert!(found.contains("Shadowed rules.yes: rules.no denies all that this allows"), "{found}");
        assert!(!found.contains("rules.rest:"), "{found}");
    }
}
