//! Who may do what, in the words of the filters.

use crate::config::Objection;
use crate::config::model::Config;
use crate::config::path::KeyPath;
use crate::config::sections::{self, DeniedAnswer, PolicyEffect, UndecidedChoice};
use crate::config::values::Name;
use lockgate_filters::authorize::{
    AssignmentSpec, DeniedAs, Effect, Policy, PolicyFault, PolicySpec, RoleSpec, RuleSpec, ScopeSpec, Undecided, Who,
};

/// The policy, compiled; `None` where there is none.
///
/// # Errors
/// Everything that is wrong with it.
pub fn policy(config: &Config) -> Result<Option<Policy>, Vec<Objection>> {
    let Some(policy) = &config.policy else { return Ok(None) };
    let objection = |fault: PolicyFault| {
        let path = path_of(policy, &fault.path);
        let message = match fault.at {
            Some(at) => format!("line {}, column {} of it: {}", at.line, at.column, fault.what),
            None => fault.what,
        };
        Objection::new(path, message)
    };
    let compiled = Policy::compile(&spec(policy));
    compiled.map(Some).map_err(|faults| faults.into_iter().map(objection).collect())
}

/// What callers are told of what they may not do.
pub fn denied_as(config: &Config) -> DeniedAs {
    match config.policy.as_ref().map(|policy| policy.denied_as) {
        Some(DeniedAnswer::Denied) => DeniedAs::Denied,
        Some(DeniedAnswer::Unknown) | None => DeniedAs::Unknown,
    }
}

fn spec(policy: &sections::Policy) -> PolicySpec {
    PolicySpec {
        default: effect(policy.default),
        place: None,
        undecided: undecided(policy.undecided),
        headers: policy.headers.iter().map(|header| header.name().as_str().to_owned()).collect(),
        scopes: policy
            .scopes
            .iter()
            .map(|(name, scope)| ScopeSpec {
                name: name.as_str().to_owned(),
                implies: scope.implies.iter().map(|scope| scope.as_str().to_owned()).collect(),
                allow: scope.allow.clone(),
                place: None,
            })
            .collect(),
        roles: policy
            .roles
            .iter()
            .map(|(name, role)| RoleSpec {
                name: name.as_str().to_owned(),
                inherits: role.inherits.iter().map(|role| role.as_str().to_owned()).collect(),
                allow: role.allow.clone(),
                deny: role.deny.clone(),
                place: None,
            })
            .collect(),
        assignments: policy
            .assignments
            .iter()
            .map(|it| AssignmentSpec {
                role: it.role.as_str().to_owned(),
                who: who([&it.subjects, &it.groups, &it.tenants, &it.issuers], &it.virtual_servers),
                place: None,
            })
            .collect(),
        rules: policy
            .rules
            .iter()
            .map(|it| RuleSpec {
                name: it.name.as_str().to_owned(),
                effect: effect(it.effect),
                permissions: it.permissions.clone(),
                who: who([&it.subjects, &it.groups, &it.tenants, &it.issuers], &it.virtual_servers),
                when: it.when.clone(),
                undecided: it.undecided.map(undecided),
                reason: it.reason.clone(),
                place: None,
            })
            .collect(),
    }
}

fn who([subjects, groups, tenants, issuers]: [&[String]; 4], servers: &[Name]) -> Who {
    let boxed = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
    Who {
        subjects: boxed(subjects),
        groups: boxed(groups),
        tenants: boxed(tenants),
        issuers: boxed(issuers),
        servers: servers.iter().map(|name| name.as_str().into()).collect(),
    }
}

const fn effect(effect: PolicyEffect) -> Effect {
    match effect {
        PolicyEffect::Allow => Effect::Allow,
        PolicyEffect::Deny => Effect::Deny,
    }
}

const fn undecided(choice: UndecidedChoice) -> Undecided {
    match choice {
        UndecidedChoice::Show => Undecided::Show,
        UndecidedChoice::Hide => Undecided::Hide,
    }
}

/// The path in the configuration of what a fault names: `rules[2].when`, `roles[0].allow[1]`. Roles and scopes are counted
/// there, and have names here.
fn path_of(policy: &sections::Policy, text: &str) -> KeyPath {
    let mut path = KeyPath::from(["policy"]);
    let mut list = "";
    for step in text.split('.') {
        let (key, rest) = step.split_once('[').unwrap_or((step, ""));
        path = path.key(key);
        if list.is_empty() {
            list = key;
        }
        let Some(index) = rest.strip_suffix(']').and_then(|index| index.parse::<usize>().ok()) else { continue };
        let name = match (key, list) {
            ("roles", "roles") => policy.roles.get_index(index).map(|(name, _)| name.as_str()),
            ("scopes", "scopes") => policy.scopes.get_index(index).map(|(name, _)| name.as_str()),
            _ => None,
        };
        path = match name {
            Some(name) => path.key(name),
            None => path.index(index),
        };
    }
    path
}

#[cfg(test)]
mod tests {
    use crate::config;
    use std::path::Path;

    /// What is wrong with a policy, each with its line.
    fn wrong(policy: &str) -> Vec<(String, String)> {
        let text = format!(
            "listeners: {{ main: {{ address: 127.0.0.1:0 }} }}\nbackends: {{ a: {{ endpoints: [{{ url: http://127.0.0.1:1/mcp }}] }} }}\n\
             virtual_servers: {{ default: {{ backends: [a] }} }}\npolicy:\n{policy}"
        );
        let loaded = config::load_str("test.yaml", &text, Path::new("/")).unwrap_or_else(|report| panic!("{report}"));
        let compiled = super::policy(&loaded.config).map(drop);
        compiled.err().into_iter().flatten().map(|it| (it.path.to_string(), it.message)).collect()
    }

    #[test]
    fn a_policy_says_who_may_do_what() {
        let fine = "  scopes: { 'gh:read': { allow: ['tools:call:a/get_*'] }, 'gh:all': { implies: ['gh:read'] } }\n  \
                    roles: { analyst: { inherits: [read-only], deny: ['tools:call:a/drop_*'] } }\n  \
                    assignments: [{ role: analyst, groups: [data] }]\n  \
                    rules: [{ name: small, effect: allow, permissions: ['tools:call:a/pay'], when: 'args.amount < 10' }]\n";
        assert_eq!(wrong(fine), []);
    }

    #[test]
    fn what_is_wrong_with_it_is_said_where_it_stands() {
        let found = wrong(
            "  scopes: { a: { allow: ['x'] } }\n  roles: { x: { allow: ['tools:call'] } }\n  \
             assignments: [{ role: nobody }]\n  \
             rules:\n  - { name: r, effect: deny, permissions: ['tools:call:a/*'], when: 'args.amount <' }\n",
        );
        let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
        for path in [
            "policy.scopes.a.allow[0]",
            "policy.roles.x.allow[0]",
            "policy.assignments[0].role",
            "policy.rules[0].when",
        ] {
            assert!(paths.iter().any(|found| found.starts_with(path)), "{path}: {found:?}");
        }
    }
}
