//! A slow evaluator, written straight from what the rules are said to mean, and thousands of random policies on which it and
//! the real one must agree.
//!
//! It shares nothing with the real one but the data that policies are written in: its patterns are matched letter by letter,
//! its roles and scopes are followed by recursion, and what "may be allowed with some arguments" means is found out by trying
//! all arguments there are.

mod random;
mod tests;

use super::spec::{Effect, PolicySpec, RuleSpec, Undecided};
use super::who::Who;
use random::{Case, Term};

/// What the slow evaluator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Allow,
    Deny,
    MissingScope,
}

/// Arguments: each member is there with a value, or is not there.
pub type Arguments = Vec<(String, Option<Value>)>;

/// A value of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Number(i64),
    Text(&'static str),
}

/// Whether a caller may use an item with these arguments.
pub fn decide(case: &Case, arguments: &Arguments) -> Said {
    let spec = &case.spec;
    if let Some(held) = &case.caller.scopes {
        let does = |scope: &str| scope_allows(spec, scope, case, 8);
        let needed = spec.scopes.iter().any(|scope| does(&scope.name));
        if needed && !held.iter().any(|scope| does(scope)) {
            return Said::MissingScope;
        }
    }
    let mut allowed = spec.default == Effect::Allow;
    let mut denied = false;
    for assignment in &spec.assignments {
        for effect in [Effect::Allow, Effect::Deny] {
            if applies(case, &assignment.who, effect) && role_says(spec, &assignment.role, effect, case, 8) {
                match effect {
                    Effect::Allow => allowed = true,
                    Effect::Deny => denied = true,
                }
            }
        }
    }
    for (number, rule) in spec.rules.iter().enumerate() {
        let about = rule.permissions.iter().any(|text| is_about(text, case));
        if !about || !applies(case, &rule.who, rule.effect) {
            continue;
        }
        match (rule.effect, condition(case, number, rule, arguments)) {
            (Effect::Allow, Some(true)) => allowed = true,
            (Effect::Deny, Some(true) | None) => denied = true,
            _ => {}
        }
    }
    if allowed && !denied { Said::Allow } else { Said::Deny }
}

/// Whether the condition of a rule holds; `None` is an error.
fn condition(case: &Case, number: usize, rule: &RuleSpec, arguments: &Arguments) -> Option<bool> {
    let Some(term) = &case.terms[number] else { return Some(true) };
    if rule.undecided.unwrap_or(case.spec.undecided) == Undecided::Hide {
        let all: Vec<_> = case.all_arguments(&[number]).iter().map(|it| term.holds(case, it)).collect();
        // Whatever the arguments, or else against the caller.
        return if all.iter().all(|one| *one == all[0]) { all[0] } else { Some(rule.effect == Effect::Deny) };
    }
    term.holds(case, arguments)
}

impl Term {
    fn holds(&self, case: &Case, arguments: &Arguments) -> Option<bool> {
        let argument = |name: &str| arguments.iter().find(|(known, _)| known == name).and_then(|(_, value)| *value);
        match self {
            Term::Tenant(tenant) => Some(case.caller.tenant.unwrap_or_default() == *tenant),
            Term::InGroup(group) => Some(case.caller.groups.contains(group)),
            Term::Claim(value) => case.caller.level.map(|level| level == *value),
            Term::OnlyReads => case.item.only_reads,
            Term::Named(name) => Some(case.item.name == *name),
            Term::Before(hour) => Some(case.hour < *hour),
            Term::Is(name, value) => argument(name).map(|it| it == Value::Number(*value)),
            Term::Below(name, value) => match argument(name) {
                Some(Value::Number(number)) => Some(number < *value),
                Some(Value::Text(_)) | None => None,
            },
            Term::Not(part) => part.holds(case, arguments).map(|holds| !holds),
            Term::And(left, right) => match (left.holds(case, arguments), right.holds(case, arguments)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Term::Or(left, right) => match (left.holds(case, arguments), right.holds(case, arguments)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Term::If(which, yes, no) => match which.holds(case, arguments)? {
                true => yes.holds(case, arguments),
                false => no.holds(case, arguments),
            },
        }
    }
}

fn applies(case: &Case, who: &Who, effect: Effect) -> bool {
    let caller = &case.caller;
    let selective = [&who.subjects, &who.groups, &who.tenants, &who.issuers];
    if caller.anonymous && effect == Effect::Allow && selective.iter().all(|list| list.is_empty()) {
        return false;
    }
    let is = |list: &Vec<Box<str>>, own: &[&str]| list.is_empty() || list.iter().any(|name| own.contains(&&**name));
    let subject: &[&str] = if caller.anonymous { &[] } else { &[caller.subject] };
    let issuers: &[&str] = if caller.anonymous { &["lockgate:anonymous"] } else { &["corp", "https://login.example"] };
    let tenant: Vec<&str> = caller.tenant.iter().copied().collect();
    is(&who.subjects, subject)
        && is(&who.groups, &caller.groups)
        && is(&who.tenants, &tenant)
        && is(&who.issuers, issuers)
        && is(&who.servers, &["main"])
}

fn role_says(spec: &PolicySpec, name: &str, effect: Effect, case: &Case, deep: usize) -> bool {
    let built_in: &[&str] = match (name, effect) {
        ("owner" | "admin", Effect::Allow) => &["*"],
        ("developer" | "service", Effect::Allow) => &["tools:*", "prompts:*", "resources:*"],
        ("read-only", Effect::Allow) if case.item.kind == "tools:call" => {
            return case.item.only_reads == Some(true);
        }
        ("read-only", Effect::Allow) => &["prompts:get:*", "resources:*"],
        _ => &[],
    };
    let Some(role) = spec.roles.iter().find(|role| role.name == name) else {
        return built_in.iter().any(|text| is_about(text, case));
    };
    let own = if effect == Effect::Allow { &role.allow } else { &role.deny };
    own.iter().any(|text| is_about(text, case))
        || deep > 0 && role.inherits.iter().any(|inherited| role_says(spec, inherited, effect, case, deep - 1))
}

fn scope_allows(spec: &PolicySpec, name: &str, case: &Case, deep: usize) -> bool {
    let Some(scope) = spec.scopes.iter().find(|scope| scope.name == name) else { return false };
    scope.allow.iter().any(|text| is_about(text, case))
        || deep > 0 && scope.implies.iter().any(|implied| scope_allows(spec, implied, case, deep - 1))
}

/// Whether a permission is about the item: all of the permissions in these tests are so plain that matching the whole text
/// means the same as matching its parts.
fn is_about(permission: &str, case: &Case) -> bool {
    let name = format!("{}:{}/{}", case.item.kind, case.item.backend, case.item.name);
    matches(permission.as_bytes(), name.as_bytes())
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) if matches(rest, text) => true,
        ([b'*', ..], [_, behind @ ..]) => matches(pattern, behind),
        ([one, rest @ ..], [other, behind @ ..]) => one == other && matches(rest, behind),
        _ => false,
    }
}
