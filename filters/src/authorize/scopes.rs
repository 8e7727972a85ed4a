//! Scopes: what a token must have been given for what it is used for, and which scopes have others in them.
//!
//! They only limit: a caller with the right scope still needs a role or a rule that allows. A proof that knows no scopes
//! (an API key without any) is limited by none.

use super::action::Action;
use super::bits::{self, Bits};
use super::permission::{Permission, Reach};
use super::spec::ScopeSpec;
use super::wild::Wild;
use std::sync::Arc;

/// The scopes that something needs, and that a caller lacks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MissingScope {
    /// Each of these would do.
    pub sufficient: Box<[Box<str>]>,
    /// What to ask for: of the scopes that the policy knows those that the caller has, and the least one that would do.
    pub complete: Box<[Box<str>]>,
}

/// Which scopes there are.
#[derive(Debug, Default)]
pub struct Scopes {
    /// Those that are defined, then those that are only implied.
    names: Vec<Box<str>>,
    permissions: Vec<Box<[Permission]>>,
    /// For each scope all that it implies, itself counted.
    within: Vec<Bits>,
}

/// What a question is about, for scopes.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What is to be done.
    pub action: Action,
    /// Whose item it is.
    pub backend: &'a str,
    /// What that calls it.
    pub original: &'a str,
    /// The same where it is a template.
    pub template: Option<&'a Wild>,
}

impl Asked<'_> {
    /// How far a permission is about it.
    pub fn reach(&self, permission: &Permission) -> Reach {
        match self.template {
            Some(template) => permission.reaches(self.action, self.backend, template),
            None if permission.matches(self.action, self.backend, self.original) => Reach::Wholly,
            None => Reach::Never,
        }
    }

    /// How far one of these is about it.
    pub fn reach_any(&self, permissions: &[Permission]) -> Reach {
        let mut most = Reach::Never;
        for permission in permissions {
            most = most.max(self.reach(permission));
            if most == Reach::Wholly {
                break;
            }
        }
        most
    }
}

impl Scopes {
    /// These scopes; `permissions` are theirs, in the same order.
    ///
    /// # Errors
    /// Where (`scopes[1].implies`), and what is wrong there.
    pub fn compile(scopes: &[ScopeSpec], permissions: Vec<Box<[Permission]>>) -> Result<Scopes, Vec<(String, String)>> {
        let mut faults = Vec::new();
        let mut names: Vec<Box<str>> = Vec::new();
        for (number, scope) in scopes.iter().enumerate() {
            // RFC 6749 section 3.3: visible ASCII without quotes and backslashes.
            let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
            if scope.name.is_empty() || !scope.name.bytes().all(visible) {
                faults.push((format!("scopes[{number}]"), format!("`{}` cannot be the name of a scope", scope.name)));
            }
            if names.iter().any(|name| **name == *scope.name) {
                faults.push((format!("scopes[{number}]"), format!("`{}` is there twice", scope.name)));
            }
            names.push(scope.name.as_str().into());
        }
        let mut leads = Vec::new();
        for scope in scopes {
            let mut implied = Vec::new();
            for name in &scope.implies {
                let known = names.iter().position(|known| **known == *name);
                implied.push(known.unwrap_or(names.len()));
                if known.is_none() {
                    names.push(name.as_str().into());
                }
            }
            leads.push(implied);
        }
        leads.resize(names.len(), Vec::new());
        let within = bits::closure(&leads).unwrap_or_else(|scope| {
            faults.push((format!("scopes[{scope}].implies"), format!("`{}` implies itself", names[scope])));
            Vec::new()
        });
        let mut permissions = permissions;
        permissions.resize_with(names.len(), Box::default);
        if faults.is_empty() { Ok(Scopes { names, permissions, within }) } else { Err(faults) }
    }

    /// The scopes that are known here, of those that a caller was given and all that these imply.
    pub fn held(&self, given: &[Box<str>]) -> Bits {
        let mut held = Bits::below(self.names.len());
        for (number, name) in self.names.iter().enumerate() {
            if given.contains(name) {
                held.add(&self.within[number]);
            }
        }
        held
    }

    /// Whether a caller who was given these has this scope: as such, or implied by another one.
    pub fn holds(&self, given: &[Box<str>], wanted: &str) -> bool {
        let known = || self.names.iter().position(|name| **name == *wanted);
        given.iter().any(|name| **name == *wanted) || known().is_some_and(|number| self.held(given).contains(number))
    }

    /// What a caller lacks who was given these, and so has those, where what is asked about needs a scope.
    pub fn lacking(&self, given: &[Box<str>], held: &Bits, asked: &Asked<'_>) -> Option<Arc<MissingScope>> {
        let (mut wholly, mut partly) = (Bits::below(self.names.len()), Bits::below(self.names.len()));
        for (number, permissions) in self.permissions.iter().enumerate() {
            match asked.reach_any(permissions) {
                Reach::Never => {}
                Reach::Partly => drop(partly.insert(number)),
                Reach::Wholly => drop(wholly.insert(number)),
            }
        }
        if wholly.is_empty() || held.meets(&wholly) || held.meets(&partly) {
            return None;
        }
        let numbers = 0..self.names.len();
        let sufficient = numbers.clone().filter(|number| self.within[*number].meets(&wholly));
        let least = wholly.iter().find(|number| {
            let others = self.within[*number].iter().filter(|other| other != number);
            !others.into_iter().any(|other| wholly.contains(other))
        });
        let complete = numbers.filter(|number| given.contains(&self.names[*number]) || Some(*number) == least);
        Some(Arc::new(MissingScope {
            sufficient: sufficient.map(|number| self.names[number].clone()).collect(),
            complete: complete.map(|number| self.names[number].clone()).collect(),
        }))
    }

    /// What a scope is called.
    pub fn name(&self, scope: usize) -> &str {
        self.names.get(scope).map_or("", |name| name)
    }

    /// The number of a scope.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| **known == *name)
    }

    /// Whether a scope, or one that it implies, is about anything.
    pub fn allows_anything(&self, name: &str) -> bool {
        let within = self.number(name).and_then(|number| self.within.get(number));
        within.is_some_and(|within| within.iter().any(|number| !self.permissions[number].is_empty()))
    }

    /// The scopes and what each allows by itself.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Permission])> {
        self.names.iter().zip(&self.permissions).map(|(name, permissions)| (&**name, &**permissions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(scopes: &[(&str, &[&str], &[&str])]) -> Result<Scopes, Vec<(String, String)>> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let spec = |(name, implies, allow): &(&str, &[&str], &[&str])| ScopeSpec {
            name: (*name).to_owned(),
            implies: owned(implies),
            allow: owned(allow),
            place: None,
        };
        let specs: Vec<_> = scopes.iter().map(spec).collect();
        let parse = |text: &String| Permission::parse(text).expect("a permission");
        let permissions = specs.iter().map(|scope| scope.allow.iter().map(parse).collect()).collect();
        Scopes::compile(&specs, permissions)
    }

    fn boxed(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn one_scope_that_does_is_enough_and_the_least_is_asked_for() {
        let scopes = scopes(&[
            ("github:admin", &["github:read"], &["tools:call:github/*"]),
            ("github:read", &["mcp:use"], &["tools:call:github/get_*"]),
            ("files", &[], &["resources:read:files/*"]),
        ])
        .expect("good scopes");
        let lacking = |given: &[&str], name: &str| {
            let asked = Asked { action: Action::CallTool, backend: "github", original: name, template: None };
            scopes.lacking(&boxed(given), &scopes.held(&boxed(given)), &asked)
        };
        assert_eq!(lacking(&["github:read"], "get_issue"), None);
        assert_eq!(lacking(&["github:admin"], "get_issue"), None);
        let missing = lacking(&["files", "openid"], "get_issue").expect("a scope is missing");
        assert_eq!(*missing.sufficient, boxed(&["github:admin", "github:read"]));
        assert_eq!(*missing.complete, boxed(&["github:read", "files"]));
        let missing = lacking(&["github:read"], "set_issue").expect("a scope is missing");
        assert_eq!(*missing.complete, boxed(&["github:admin", "github:read"]));
        let asked = Asked { action: Action::CallTool, backend: "other", original: "x", template: None };
        assert_eq!(scopes.lacking(&[], &scopes.held(&[]), &asked), None);
        assert!(scopes.holds(&boxed(&["github:admin"]), "mcp:use") && !scopes.holds(&boxed(&["files"]), "mcp:use"));
        assert!(scopes.holds(&boxed(&["unheard-of"]), "unheard-of"));
    }

    #[test]
    fn a_template_lacks_a_scope_only_where_all_of_it_does() {
        let scopes = scopes(&[("public", &[], &["resources:read:files/file:///public/*"])]).expect("good scopes");
        let template = Wild::of_template("file:///{+path}");
        let asked = Asked { action: Action::ReadResource, backend: "files", original: "", template: Some(&template) };
        assert_eq!(scopes.lacking(&[], &scopes.held(&[]), &asked), None);
        let template = Wild::of_template("file:///public/{+path}");
        let asked = Asked { template: Some(&template), ..asked };
        assert!(scopes.lacking(&[], &scopes.held(&[]), &asked).is_some());
    }

    #[test]
    fn circles_and_names_that_no_token_can_carry_are_refused() {
        let fault = |it: &[(&str, &[&str], &[&str])]| format!("{:?}", scopes(it).expect_err("a fault"));
        assert!(fault(&[("a", &["b"], &[]), ("b", &["a"], &[])]).contains("implies itself"));
        assert!(fault(&[("a b", &[], &[])]).contains("cannot be the name"));
        assert!(fault(&[("a", &[], &[]), ("a", &[], &[])]).contains("twice"));
    }
}
