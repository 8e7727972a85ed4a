//! From what the configuration says to a [`Policy`]; everything that is wrong is told at once.

use super::action::Actions;
use super::cel::{Program, Variable, Variables};
use super::permission::Permission;
use super::policy::{Guard, Policy, Rule, RuleId, RuleInfo, Whom};
use super::roles::{BUILT_IN, Roles};
use super::scopes::Scopes;
use super::spec::{ENTRIES_MAX, Effect, PERMISSIONS_MAX, Place, PolicyFault, PolicySpec, RuleSpec, Undecided};
use http::HeaderName;

/// Header fields that are credentials: no condition reads them.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];

impl Policy {
    /// Compiles what the configuration says.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(spec: &PolicySpec) -> Result<Policy, Vec<PolicyFault>> {
        let mut compiling = Compiling::default();
        compiling.bounds(spec);
        let headers = compiling.headers(&spec.headers);
        let names: Vec<Box<str>> = headers.iter().map(|name| Box::from(name.as_str())).collect();
        compiling.roles(spec);
        for (number, rule) in spec.rules.iter().enumerate() {
            compiling.rule(number, rule, spec, &names);
        }
        let mut permissions = Vec::new();
        for (number, scope) in spec.scopes.iter().enumerate() {
            let path = format!("scopes[{number}].allow");
            permissions.push(compiling.permissions(&path, scope.place.as_ref(), &scope.allow));
        }
        let roles = Roles::compile(&spec.roles, &spec.assignments);
        let scopes = Scopes::compile(&spec.scopes, permissions);
        match (roles, scopes) {
            (Ok(roles), Ok(scopes)) if compiling.faults.is_empty() => {
                Ok(compiling.finish(spec, roles, scopes, headers))
            }
            (roles, scopes) => {
                let found = roles.err().into_iter().chain(scopes.err()).flatten();
                let faults =
                    found.map(|(path, what)| PolicyFault { place: place_of(spec, &path), path, at: None, what });
                compiling.faults.extend(faults);
                Err(compiling.faults)
            }
        }
    }
}

/// Where the part stands that a path names.
fn place_of(spec: &PolicySpec, path: &str) -> Option<Place> {
    let (list, rest) = path.split_once('[')?;
    let number: usize = rest.split_once(']')?.0.parse().ok()?;
    match list {
        "roles" => spec.roles.get(number)?.place.clone(),
        "scopes" => spec.scopes.get(number)?.place.clone(),
        "assignments" => spec.assignments.get(number)?.place.clone(),
        _ => None,
    }
}

#[derive(Default)]
struct Compiling {
    rules: Vec<Rule>,
    infos: Vec<RuleInfo>,
    faults: Vec<PolicyFault>,
}

impl Compiling {
    fn fault(&mut self, path: impl Into<String>, place: Option<&Place>, what: impl Into<String>) {
        self.faults.push(PolicyFault { path: path.into(), place: place.cloned(), at: None, what: what.into() });
    }

    fn bounds(&mut self, spec: &PolicySpec) {
        let counts = [
            ("rules", spec.rules.len()),
            ("roles", spec.roles.len()),
            ("scopes", spec.scopes.len()),
            ("assignments", spec.assignments.len()),
            ("headers", spec.headers.len()),
        ];
        for (path, count) in counts.into_iter().filter(|(_, count)| *count > ENTRIES_MAX) {
            self.fault(path, None, format!("there are {count} {path}, and may be {ENTRIES_MAX}"));
        }
    }

    fn headers(&mut self, names: &[String]) -> Box<[HeaderName]> {
        let mut found = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let path = format!("headers[{number}]");
            match HeaderName::try_from(name.as_str()) {
                Ok(header) if CREDENTIALS.contains(&header.as_str()) => {
                    self.fault(path, None, format!("`{header}` is a credential, and nothing for conditions"));
                }
                Ok(header) => found.push(header),
                Err(_) => self.fault(path, None, format!("`{name}` is no name of a header field")),
            }
        }
        found.into()
    }

    fn permissions(&mut self, path: &str, place: Option<&Place>, texts: &[String]) -> Box<[Permission]> {
        if texts.len() > PERMISSIONS_MAX {
            self.fault(path, place, format!("there are {} permissions, and may be {PERMISSIONS_MAX}", texts.len()));
            return Box::default();
        }
        let mut found = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            match Permission::parse(text) {
                Ok(permission) => found.push(permission),
                Err(fault) => self.fault(format!("{path}[{number}]"), place, format!("the permission {fault}")),
            }
        }
        found.into()
    }

    fn add(&mut self, rule: Rule, name: String, place: Option<&Place>, reason: Option<&str>) {
        self.rules.push(rule);
        self.infos.push(RuleInfo { name: name.into(), place: place.cloned(), reason: reason.map(Box::from) });
    }

    fn roles(&mut self, spec: &PolicySpec) {
        for (role, built_in) in BUILT_IN.iter().enumerate() {
            let always = built_in.allow.iter().map(|text| (text, Guard::Always));
            let reading = built_in.reading.iter().map(|text| (text, Guard::OnlyReads));
            for (number, (text, guard)) in always.chain(reading).enumerate() {
                let path = format!("roles.{}.allow[{number}]", built_in.name);
                let permissions = self.permissions(&path, None, &[(*text).to_owned()]);
                let whom = Whom::Role(role);
                self.add(Rule { effect: Effect::Allow, permissions, whom, guard, hides: false }, path, None, None);
            }
        }
        for (role, of) in spec.roles.iter().enumerate() {
            for (effect, verb, texts) in [(Effect::Allow, "allow", &of.allow), (Effect::Deny, "deny", &of.deny)] {
                let permissions = self.permissions(&format!("roles[{role}].{verb}"), of.place.as_ref(), texts);
                for (number, permission) in permissions.into_iter().enumerate() {
                    let whom = Whom::Role(BUILT_IN.len() + role);
                    let guard = Guard::Always;
                    let rule = Rule { effect, permissions: [permission].into(), whom, guard, hides: false };
                    self.add(rule, format!("roles.{}.{verb}[{number}]", of.name), of.place.as_ref(), None);
                }
            }
        }
    }

    fn rule(&mut self, number: usize, of: &RuleSpec, spec: &PolicySpec, headers: &[Box<str>]) {
        let path = format!("rules[{number}]");
        let place = of.place.as_ref();
        if of.name.is_empty() || of.name.chars().any(|character| character.is_control() || character.is_whitespace()) {
            self.fault(format!("{path}.name"), place, "a rule needs a name without spaces");
        } else if spec.rules[..number].iter().any(|other| other.name == of.name) {
            self.fault(format!("{path}.name"), place, format!("`{}` is another rule", of.name));
        }
        if of.permissions.is_empty() {
            self.fault(format!("{path}.permissions"), place, "a rule without permissions is about nothing");
        }
        let permissions = self.permissions(&format!("{path}.permissions"), place, &of.permissions);
        let guard = match of.when.as_deref().map(|text| Program::compile(text, headers)) {
            None => Guard::Always,
            Some(Ok(program)) => {
                self.fits(&path, place, &program, &permissions);
                Guard::When(program)
            }
            Some(Err(fault)) => {
                let (place, path) = (place.cloned(), format!("{path}.when"));
                self.faults.push(PolicyFault { path, place, at: Some(fault.at), what: fault.what });
                Guard::Always
            }
        };
        let whom = Whom::Named(of.who.clone());
        let hides = of.undecided.unwrap_or(spec.undecided) == Undecided::Hide;
        let rule = Rule { effect: of.effect, permissions, whom, guard, hides };
        self.add(rule, format!("rules.{}", of.name), place, of.reason.as_deref());
    }

    /// A condition on something that not all of the rule's actions have would be an error for the others, and an error
    /// denies: that is refused rather than done.
    fn fits(&mut self, path: &str, place: Option<&Place>, program: &Program, permissions: &[Permission]) {
        let reached = permissions.iter().fold(Actions::default(), |all, it| all.or(it.actions()));
        for variable in program.variables().iter() {
            let having: &[&str] = match variable {
                Variable::Tool => &["tools"],
                Variable::Prompt => &["prompts"],
                Variable::Resource => &["resources"],
                Variable::Args => &["tools", "prompts"],
                _ => continue,
            };
            let stranger = reached.iter().find(|action| !having.contains(&action.kind()));
            if let Some(stranger) = stranger {
                let (name, having) = (variable.name(), having.join(" and "));
                let what = format!(
                    "`{name}` is there only for {having}, and the rule's permissions are also about `{}`",
                    stranger.label()
                );
                self.fault(format!("{path}.when"), place, what);
            }
        }
    }

    fn finish(self, spec: &PolicySpec, roles: Roles, scopes: Scopes, headers: Box<[HeaderName]>) -> Policy {
        let Compiling { rules, mut infos, .. } = self;
        let in_order = |effect: Effect| {
            let mut ids: Vec<u32> = (0..rules.len() as u32).collect();
            ids.retain(|id| rules[*id as usize].effect == effect);
            ids.sort_by_key(|id| rules[*id as usize].class());
            ids.into_iter().map(RuleId).collect()
        };
        let (denies, allows) = (in_order(Effect::Deny), in_order(Effect::Allow));
        for (name, _) in scopes.iter() {
            let place = spec.scopes.iter().find(|scope| scope.name == name).and_then(|scope| scope.place.clone());
            infos.push(RuleInfo { name: format!("scopes.{name}").into(), place, reason: None });
        }
        infos.push(RuleInfo { name: "default".into(), place: spec.place.clone(), reason: None });
        Policy {
            default: spec.default,
            variables: rules.iter().fold(Variables::NONE, |all, rule| all.or(rule.variables())),
            rules: rules.into(),
            infos: infos.into(),
            denies,
            allows,
            roles,
            scopes,
            headers,
        }
    }
}
