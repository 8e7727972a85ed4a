//! Roles: what they may do, which roles they have in them, and who has them.
//!
//! Built-in ones, from all to little:
//!
//! | role | may |
//! |---|---|
//! | `owner` | everything |
//! | `admin` | everything; `owner` is for whoever may also give roles away, where that can be done |
//! | `developer` | everything with tools, prompts, resources and tasks, and may be asked by backends; nothing of operators |
//! | `service` | the same, but backends may not ask it: behind a service is nobody who could answer |
//! | `read-only` | get prompts, read and subscribe to resources, use tasks, and call the tools whose backend says that they only read (`readOnlyHint: true`): a hint, and as good as its backend |

use super::bits::{self, Bits};
use super::spec::{AssignmentSpec, Effect, RoleSpec};
use super::who::Who;
use crate::principal::Principal;

/// A role that is always there.
#[derive(Debug)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// What it may do.
    pub allow: &'static [&'static str],
    /// The tools that it may call where these say that they only read.
    pub reading: &'static [&'static str],
}

/// The roles that are always there.
pub const BUILT_IN: [BuiltIn; 5] = [
    BuiltIn { name: "owner", allow: &["*"], reading: &[] },
    BuiltIn { name: "admin", allow: &["*"], reading: &[] },
    BuiltIn {
        name: "developer",
        allow: &["tools:*", "prompts:*", "resources:*", "tasks:*", "sampling:*", "elicitation:*", "roots:*"],
        reading: &[],
    },
    BuiltIn { name: "read-only", allow: &["prompts:get:*", "resources:*", "tasks:use:*"], reading: &["tools:call:*"] },
    BuiltIn { name: "service", allow: &["tools:*", "prompts:*", "resources:*", "tasks:*"], reading: &[] },
];

/// Which roles there are, and who has them.
#[derive(Debug)]
pub struct Roles {
    names: Vec<Box<str>>,
    /// For each role all that are in it, itself counted.
    within: Vec<Bits>,
    assignments: Vec<(usize, Who)>,
}

/// Something wrong with roles: where (`roles[1].inherits`), and what.
pub type RoleFault = (String, String);

impl Roles {
    /// The built-in roles and these.
    pub fn compile(roles: &[RoleSpec], assignments: &[AssignmentSpec]) -> Result<Roles, Vec<RoleFault>> {
        let built_in = BUILT_IN.iter().map(|role| Box::from(role.name));
        let names: Vec<Box<str>> = built_in.chain(roles.iter().map(|role| Box::from(role.name.as_str()))).collect();
        let find = |name: &str| names.iter().position(|known| **known == *name);
        let unknown = |name: &str| format!("there is no role `{name}`: there are {}", names.join(", "));
        let mut faults = Vec::new();
        let mut leads = vec![Vec::new(); BUILT_IN.len()];
        for (number, role) in roles.iter().enumerate() {
            let first = find(&role.name);
            if role.name.is_empty() {
                faults.push((format!("roles[{number}].name"), "a role needs a name".to_owned()));
            } else if first != Some(number + BUILT_IN.len()) {
                let kind = if first < Some(BUILT_IN.len()) { "a built-in role" } else { "another role" };
                faults.push((format!("roles[{number}].name"), format!("`{}` is {kind}", role.name)));
            }
            let mut inherited = Vec::new();
            for name in &role.inherits {
                match find(name) {
                    Some(found) => inherited.push(found),
                    None => faults.push((format!("roles[{number}].inherits"), unknown(name))),
                }
            }
            leads.push(inherited);
        }
        let mut assigned = Vec::new();
        for (number, assignment) in assignments.iter().enumerate() {
            match find(&assignment.role) {
                Some(role) => assigned.push((role, assignment.who.clone())),
                None => faults.push((format!("assignments[{number}].role"), unknown(&assignment.role))),
            }
        }
        let within = bits::closure(&leads).unwrap_or_else(|role| {
            let number = role.saturating_sub(BUILT_IN.len());
            faults.push((format!("roles[{number}].inherits"), format!("`{}` inherits from itself", names[role])));
            Vec::new()
        });
        if faults.is_empty() { Ok(Roles { names, within, assignments: assigned }) } else { Err(faults) }
    }

    /// What a role is called.
    pub fn name(&self, role: usize) -> &str {
        self.names.get(role).map_or("", |name| name)
    }

    /// The number of a role.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| **known == *name)
    }

    /// How many roles there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// The roles that have this one in them, itself counted.
    pub fn having(&self, role: usize) -> impl Iterator<Item = usize> {
        (0..self.within.len()).filter(move |it| self.within[*it].contains(role))
    }

    /// Who is given roles: the role and to whom.
    pub fn assignments(&self) -> impl Iterator<Item = (usize, &Who)> {
        self.assignments.iter().map(|(role, who)| (*role, who))
    }

    /// The roles whose permissions (or denials) are a caller's at a virtual server.
    pub fn of(&self, principal: &Principal, server: &str, effect: Effect) -> Bits {
        let mut found = Bits::below(self.names.len());
        for (role, who) in &self.assignments {
            if who.applies(principal, server, effect) {
                found.add(&self.within[*role]);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorize::testing::caller;

    fn role(name: &str, inherits: &[&str]) -> RoleSpec {
        let inherits = inherits.iter().map(|name| (*name).to_owned()).collect();
        RoleSpec { name: name.to_owned(), inherits, ..RoleSpec::default() }
    }

    fn assigned(role: &str, groups: &[&str]) -> AssignmentSpec {
        let groups = groups.iter().map(|group| (*group).into()).collect();
        AssignmentSpec { role: role.to_owned(), who: Who { groups, ..Who::default() }, place: None }
    }

    #[test]
    fn roles_are_had_by_all_to_whom_they_are_given_directly_or_within_another() {
        let specs = [role("analyst", &["read-only"]), role("lead", &["analyst"])];
        let assignments = [assigned("service", &[]), assigned("lead", &["data"])];
        let roles = Roles::compile(&specs, &assignments).expect("good roles");
        let names = |principal: &Principal, effect| {
            roles.of(principal, "main", effect).iter().map(|role| roles.name(role).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&caller("a").groups(&["data"]).principal(), Effect::Allow),
            ["read-only", "service", "analyst", "lead"]
        );
        assert_eq!(names(&caller("a").principal(), Effect::Allow), ["service"]);
        assert_eq!(names(Principal::anonymous(), Effect::Allow), Vec::<String>::new());
        assert_eq!(names(Principal::anonymous(), Effect::Deny), ["service"]);
    }

    #[test]
    fn circles_doubles_and_unknown_names_are_refused() {
        let faults = |specs: &[RoleSpec], assignments: &[AssignmentSpec]| {
            let faults = Roles::compile(specs, assignments).expect_err("a fault");
            faults.into_iter().map(|(path, what)| format!("{path}: {what}")).collect::<Vec<_>>().join("\n")
        };
        assert!(
            faults(&[role("a", &["b"]), role("b", &["a"])], &[])
                .contains("roles[0].inherits: `a` inherits from itself")
        );
        assert!(faults(&[role("a", &[]), role("a", &[])], &[]).contains("roles[1].name: `a` is another role"));
        assert!(faults(&[role("admin", &[])], &[]).contains("`admin` is a built-in role"));
        assert!(faults(&[role("a", &["x"])], &[]).contains("there is no role `x`"));
        assert!(faults(&[], &[assigned("x", &[])]).contains("assignments[0].role: there is no role `x`"));
    }
}
