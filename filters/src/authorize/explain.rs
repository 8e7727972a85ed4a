//! How a decision came about: what each rule came to, which one decided, and what would change it.
//!
//! It is the decision itself with someone who takes notes, so that the two cannot tell different stories.

use super::cel::Outcomes;
use super::cel::evaluate::Finding;
use super::decide::{Decision, Recorder, Ruling, Seen};
use super::policy::{Caller, Guard, Policy, Rule, RuleId, Whom};
use super::query::{Query, Scene};
use super::spec::{Effect, Place};
use super::who::Who;
use crate::principal::Principal;
use serde::Serialize;

/// How many suggestions are made.
const CHANGES_MAX: usize = 16;

/// How a decision came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `allow`, `deny`, `undecided` or `missing_scope`.
    pub decision: &'static str,
    /// The rule that decided.
    pub rule: Box<str>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Whether a condition could not be evaluated, and was taken against the caller.
    pub failed: bool,
    /// The roles that the caller has, whether assigned or within others.
    pub roles: Vec<Box<str>>,
    /// Of these scopes one is needed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Box<str>>,
    /// The rules that are about the item, in the order in which they are weighed.
    pub rules: Vec<RuleTrace>,
    /// How many other rules there are.
    pub other_rules: usize,
    /// What would make it another decision.
    pub changes: Vec<String>,
}

/// What a rule had to do with a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleTrace {
    /// Its name.
    pub name: Box<str>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What it does where it matches.
    pub effect: Effect,
    /// Whether it is for this caller.
    pub for_caller: bool,
    /// `matches`, `does not match`, `undecided` or `error`; `for others`.
    pub result: &'static str,
    /// The parts of its condition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartTrace>,
}

/// What a part of a condition came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartTrace {
    /// The part, as it would be written.
    pub part: Box<str>,
    /// `true`, `false`, `error` or `undecided`.
    pub result: &'static str,
    /// What it was made on: `args.amount = 2000`. What may be secret is not shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl From<Finding> for PartTrace {
    fn from(finding: Finding) -> PartTrace {
        let values = finding.operands.into_iter().map(|(name, value)| format!("{name} = {value}"));
        PartTrace { part: finding.part, result: finding.outcomes.label(), values: values.collect() }
    }
}

#[derive(Default)]
struct Notes(Vec<(RuleId, Seen)>);

impl Recorder for Notes {
    const THOROUGH: bool = true;

    fn saw(&mut self, rule: RuleId, seen: impl FnOnce() -> Seen) {
        self.0.push((rule, seen()));
    }
}

impl Policy {
    /// Decides, and tells how. It takes longer than deciding: all rules are weighed.
    pub fn explain(&self, principal: &Principal, server: &str, query: &Query<'_>) -> (Decision, Explanation) {
        let caller = self.caller(principal, server);
        let scene = Scene::new(&caller.standing.values, query, &self.headers, false);
        let mut notes = Notes::default();
        let decision = self.decide_in(&caller, &scene, &mut notes);
        let explanation = self.told(&caller, &decision, notes.0);
        (decision, explanation)
    }

    fn told(&self, caller: &Caller<'_>, decision: &Decision, mut notes: Vec<(RuleId, Seen)>) -> Explanation {
        let order = |id: &RuleId| {
            let place = |rules: &[RuleId]| rules.iter().position(|other| other == id);
            place(&self.denies).or_else(|| place(&self.allows).map(|at| at + self.denies.len()))
        };
        notes.sort_by_key(|(id, _)| order(id));
        let about = |(_, seen): &&(RuleId, Seen)| *seen != Seen::NotForItem;
        let scopes = match &decision.ruling {
            Ruling::MissingScope(missing) => missing.sufficient.to_vec(),
            _ => Vec::new(),
        };
        let decided = self.rule(decision.rule);
        Explanation {
            decision: decision.ruling.label(),
            rule: decided.name.clone(),
            place: decided.place.clone(),
            failed: decision.failed,
            roles: (0..self.roles.count())
                .filter(|role| caller.has_role(*role))
                .map(|role| self.roles.name(role).into())
                .collect(),
            scopes,
            changes: self.changes(decision, &notes),
            rules: notes.iter().filter(about).filter_map(|(id, seen)| self.rule_trace(*id, seen)).collect(),
            other_rules: notes.iter().filter(|note| !about(note)).count(),
        }
    }

    fn rule_trace(&self, id: RuleId, seen: &Seen) -> Option<RuleTrace> {
        let rule = self.get(id)?;
        let info = self.rule(id);
        let (result, findings) = match seen {
            Seen::NotForCaller | Seen::NotForItem => ("for others", &[][..]),
            Seen::Weighed(outcomes, findings) => (told(*outcomes), &**findings),
        };
        Some(RuleTrace {
            name: info.name.clone(),
            place: info.place.clone(),
            effect: rule.effect,
            for_caller: !matches!(seen, Seen::NotForCaller),
            result,
            parts: findings.iter().cloned().map(PartTrace::from).collect(),
        })
    }

    /// What would make it another decision, as far as single rules tell.
    fn changes(&self, decision: &Decision, notes: &[(RuleId, Seen)]) -> Vec<String> {
        let rules = || notes.iter().filter_map(|(id, seen)| Some((*id, self.get(*id)?, seen)));
        let name = |id: RuleId| &self.rule(id).name;
        let mut changes = Vec::new();
        match &decision.ruling {
            Ruling::Allow => {
                let others = rules().filter(|(id, rule, _)| rule.effect == Effect::Deny && *id != decision.rule);
                changes.extend(others.filter_map(|(id, rule, seen)| match seen {
                    Seen::NotForCaller => Some(format!("denied by {} if the caller {}", name(id), self.having(rule))),
                    _ => None,
                }));
            }
            Ruling::MissingScope(missing) => {
                changes.push(format!("a token with one of these scopes: {}", missing.sufficient.join(", ")));
            }
            Ruling::Undecided => {
                let open = rules().filter_map(|(id, _, seen)| match seen {
                    Seen::Weighed(outcomes, findings) if !outcomes.is_certain() => Some((id, findings)),
                    _ => None,
                });
                changes.extend(open.map(|(id, findings)| format!("{} depends on {}", name(id), open_parts(findings))));
            }
            Ruling::Deny => {
                for (id, rule, seen) in rules() {
                    match (rule.effect, seen) {
                        (Effect::Deny, Seen::Weighed(outcomes, findings)) if !outcomes.may_be(Outcomes::FALSE) => {
                            changes.push(format!("{} must not match{}", name(id), because(findings)));
                        }
                        (Effect::Allow, Seen::NotForCaller) => {
                            changes.push(format!("allowed by {} if the caller {}", name(id), self.having(rule)));
                        }
                        (Effect::Allow, Seen::Weighed(outcomes, findings)) if *outcomes != Outcomes::TRUE => {
                            let hint = match rule.guard {
                                Guard::OnlyReads => ": the tool would have to say readOnlyHint".to_owned(),
                                _ => because(findings),
                            };
                            changes.push(format!("{} would have to match{hint}", name(id)));
                        }
                        _ => {}
                    }
                }
            }
        }
        // What stands in the way comes before what could help.
        changes.sort_by_key(|change| !change.contains("must not match"));
        changes.truncate(CHANGES_MAX);
        changes
    }

    /// What makes a rule one for a caller.
    fn having(&self, rule: &Rule) -> String {
        match &rule.whom {
            Whom::Role(role) => {
                let having: Vec<_> =
                    self.roles.having(*role).map(|role| format!("`{}`", self.roles.name(role))).collect();
                format!("had the role {}", having.join(" or "))
            }
            Whom::Named(who) => described(who),
        }
    }
}

fn described(who: &Who) -> String {
    let lists = [
        ("the subject", &who.subjects),
        ("in the group", &who.groups),
        ("of the tenant", &who.tenants),
        ("vouched for by", &who.issuers),
        ("at the virtual server", &who.servers),
    ];
    let parts: Vec<_> = lists
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what} {}", names.join(" or ")))
        .collect();
    if parts.is_empty() { "were authenticated".to_owned() } else { format!("were {}", parts.join(" and ")) }
}

fn told(outcomes: Outcomes) -> &'static str {
    match outcomes {
        Outcomes::TRUE => "matches",
        Outcomes::FALSE => "does not match",
        Outcomes::ERROR => "error",
        _ => "undecided",
    }
}

fn because(findings: &[Finding]) -> String {
    let parts: Vec<_> = findings
        .iter()
        .map(|finding| {
            let values: Vec<_> = finding.operands.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let values = if values.is_empty() { String::new() } else { format!(" ({})", values.join(", ")) };
            format!("`{}` is {}{values}", finding.part, finding.outcomes.label())
        })
        .collect();
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join("; ")) }
}

fn open_parts(findings: &[Finding]) -> String {
    let parts: Vec<_> =
        findings.iter().filter(|it| !it.outcomes.is_certain()).map(|it| format!("`{}`", it.part)).collect();
    if parts.is_empty() { "which resource it is".to_owned() } else { parts.join(" and ") }
}

impl Explanation {
    /// The same for people, a line each.
    pub fn lines(&self) -> Vec<String> {
        let place = |place: &Option<Place>| place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        let mut lines = vec![format!("{}: {}{}", self.decision, self.rule, place(&self.place))];
        if self.failed {
            lines.push("a condition could not be evaluated, which counts against the caller".to_owned());
        }
        lines.push(match self.roles.is_empty() {
            true => "roles: none".to_owned(),
            false => format!("roles: {}", self.roles.join(", ")),
        });
        for rule in &self.rules {
            let effect = if rule.effect == Effect::Allow { "allow" } else { "deny" };
            lines.push(format!("rule {} ({effect}){}: {}", rule.name, place(&rule.place), rule.result));
            for part in &rule.parts {
                let values =
                    if part.values.is_empty() { String::new() } else { format!(" ({})", part.values.join(", ")) };
                lines.push(format!("  {} is {}{values}", part.part, part.result));
            }
        }
        lines.push(format!("{} other rules are about other items", self.other_rules));
        lines.extend(self.changes.iter().map(|change| format!("would change it: {change}")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use crate::authorize::testing::{World, caller, tool};
    use crate::authorize::{AssignmentSpec, Effect, Place, Query, RoleSpec, RuleSpec, Who};

    fn world() -> World {
        World::new(|spec| {
            spec.roles = vec![RoleSpec {
                name: "analyst".into(),
                allow: vec!["tools:call:warehouse/*".into()],
                deny: vec!["tools:call:warehouse/drop_*".into()],
                ..RoleSpec::default()
            }];
            spec.assignments = vec![AssignmentSpec {
                role: "analyst".into(),
                who: Who { groups: vec!["data".into()], ..Who::default() },
                place: None,
            }];
            spec.rules = vec![RuleSpec {
                name: "small-transfers".into(),
                effect: Effect::Allow,
                permissions: vec!["tools:call:bank/transfer".into()],
                when: Some("args.amount < 1000 && principal.tenant == 'acme'".into()),
                place: Some(Place { file: "lockgate.yaml".into(), line: 12 }),
                ..RuleSpec::default()
            }];
        })
    }

    fn lines(group: &str, item: (&str, &str), args: Option<&str>) -> String {
        let world = world();
        let principal = caller("alice").groups(&[group]).tenant("acme").principal();
        let item = tool(item.0, item.1, "");
        let query = match args {
            Some(args) => Query::using(item, args.as_bytes(), world.moment()),
            None => Query::listing(item, world.moment()),
        };
        let (decision, explanation) = world.policy.explain(&principal, "main", &query);
        assert_eq!(decision, world.policy.decide(&principal, "main", &query));
        assert!(serde_json::to_string(&explanation).is_ok());
        explanation.lines().join("\n")
    }

    #[test]
    fn a_false_condition_is_shown_with_what_it_was_made_on() {
        let text = lines("ops", ("bank", "transfer"), Some(r#"{"amount":2000}"#));
        assert!(text.starts_with("deny: default"), "{text}");
        assert!(text.contains("rule rules.small-transfers (allow) (lockgate.yaml:12): does not match"), "{text}");
        assert!(text.contains("args.amount < 1000 is false (args.amount = 2000)"), "{text}");
        assert!(text.contains("would change it: rules.small-transfers would have to match"), "{text}");
    }

    #[test]
    fn what_is_undecided_says_on_what_it_depends() {
        let text = lines("ops", ("bank", "transfer"), None);
        assert!(text.starts_with("undecided: rules.small-transfers (lockgate.yaml:12)"), "{text}");
        assert!(text.contains("rules.small-transfers depends on `args.amount < 1000`"), "{text}");
    }

    #[test]
    fn roles_that_would_allow_and_rules_that_deny_are_named() {
        let text = lines("ops", ("warehouse", "query"), Some(""));
        assert!(text.contains("allowed by roles.analyst.allow[0] if the caller had the role `analyst`"), "{text}");
        let text = lines("data", ("warehouse", "drop_all"), Some(""));
        assert!(text.starts_with("deny: roles.analyst.deny[0]") && text.contains("roles: analyst"), "{text}");
        assert!(text.contains("roles.analyst.deny[0] must not match"), "{text}");
    }
}
