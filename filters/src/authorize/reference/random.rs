//! Random policies, callers and items, of few names, so that they have much to do with each other.

use super::{Arguments, Value};
use crate::authorize::spec::{AssignmentSpec, Effect, PolicySpec, RoleSpec, RuleSpec, ScopeSpec, Undecided};
use crate::authorize::who::Who;

/// Numbers that look random, the same in each run.
pub struct Dice(pub u64);

impl Dice {
    /// A number below this.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound.max(1)
    }

    /// True one time in so many.
    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn some<T: Copy>(&mut self, from: &[T], one_in: usize) -> Vec<T> {
        from.iter().copied().filter(|_| self.one_in(one_in)).collect()
    }
}

/// A condition.
#[derive(Clone, Debug)]
pub enum Term {
    Tenant(&'static str),
    InGroup(&'static str),
    Claim(i64),
    OnlyReads,
    Named(&'static str),
    Before(i64),
    Is(String, i64),
    Below(String, i64),
    Not(Box<Term>),
    And(Box<Term>, Box<Term>),
    Or(Box<Term>, Box<Term>),
    If(Box<Term>, Box<Term>, Box<Term>),
}

impl Term {
    /// As it is written in CEL.
    pub fn text(&self) -> String {
        match self {
            Term::Tenant(tenant) => format!("principal.tenant == '{tenant}'"),
            Term::InGroup(group) => format!("'{group}' in principal.groups"),
            Term::Claim(level) => format!("claims.level == {level}"),
            Term::OnlyReads => "tool.annotations.readOnlyHint".to_owned(),
            Term::Named(name) => format!("tool.original == '{name}'"),
            Term::Before(hour) => format!("time.hour < {hour}"),
            Term::Is(name, value) => format!("args.{name} == {value}"),
            Term::Below(name, value) => format!("args.{name} < {value}"),
            Term::Not(part) => format!("!({})", part.text()),
            Term::And(left, right) => format!("({}) && ({})", left.text(), right.text()),
            Term::Or(left, right) => format!("({}) || ({})", left.text(), right.text()),
            Term::If(which, yes, no) => format!("({}) ? ({}) : ({})", which.text(), yes.text(), no.text()),
        }
    }

    /// The arguments that it mentions.
    pub fn arguments(&self, found: &mut Vec<String>) {
        match self {
            Term::Is(name, _) | Term::Below(name, _) if !found.contains(name) => found.push(name.clone()),
            Term::Not(part) => part.arguments(found),
            Term::And(left, right) | Term::Or(left, right) => {
                [left, right].iter().for_each(|part| part.arguments(found))
            }
            Term::If(which, yes, no) => [which, yes, no].iter().for_each(|part| part.arguments(found)),
            _ => {}
        }
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct SomeCaller {
    pub subject: &'static str,
    pub anonymous: bool,
    pub tenant: Option<&'static str>,
    pub groups: Vec<&'static str>,
    pub scopes: Option<Vec<&'static str>>,
    pub level: Option<i64>,
}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub struct SomeItem {
    pub kind: &'static str,
    pub backend: &'static str,
    pub name: &'static str,
    pub only_reads: Option<bool>,
}

/// All items.
pub const ITEMS: [SomeItem; 7] = [
    SomeItem { kind: "tools:call", backend: "a", name: "get_x", only_reads: Some(true) },
    SomeItem { kind: "tools:call", backend: "a", name: "set_x", only_reads: Some(false) },
    SomeItem { kind: "tools:call", backend: "b", name: "get_x", only_reads: None },
    SomeItem { kind: "tools:call", backend: "b", name: "drop", only_reads: Some(false) },
    SomeItem { kind: "prompts:get", backend: "a", name: "get_x", only_reads: None },
    SomeItem { kind: "resources:read", backend: "a", name: "file:///x/y?z", only_reads: None },
    SomeItem { kind: "resources:read", backend: "b", name: "file:///w", only_reads: None },
];

const PERMISSIONS: [&str; 12] = [
    "*",
    "tools:*",
    "tools:call:a/*",
    "tools:call:*/get_*",
    "tools:call:b/drop",
    "tools:call:*/*_x",
    "*:*:b/*",
    "prompts:get:a/*",
    "resources:read:a/file:///x/*",
    "resources:*:*",
    "tools:call:a/set_x",
    "tools:call:nobody/*",
];
const GROUPS: [&str; 2] = ["g1", "g2"];
const TENANTS: [&str; 2] = ["t1", "t2"];
const SCOPES: [&str; 4] = ["s0", "s1", "s2", "s3"];

/// A policy, who asks it, and about what.
#[derive(Clone, Debug)]
pub struct Case {
    pub spec: PolicySpec,
    /// The conditions of its rules.
    pub terms: Vec<Option<Term>>,
    pub caller: SomeCaller,
    pub item: SomeItem,
    pub hour: i64,
    /// Whether no two conditions mention the same argument.
    pub independent: bool,
}

impl Case {
    /// A random policy, with nobody asking yet.
    pub fn policy(dice: &mut Dice) -> Case {
        let independent = dice.one_in(2);
        let mut terms = Vec::new();
        let mut rules = Vec::new();
        let mut left = 4;
        for number in 0..dice.below(5) {
            let mut names = (0..2).map(|at| if independent { format!("x{number}{at}") } else { format!("x{at}") });
            let mut fresh = || {
                left = std::cmp::Ord::max(left, 1) - 1;
                (left > 0).then(|| names.next()).flatten()
            };
            let term = (!dice.one_in(3)).then(|| term(dice, 2, &mut fresh));
            let about_tools = term.is_some();
            let permissions = (0..1 + dice.below(2)).map(|_| permission(dice, about_tools)).collect();
            rules.push(RuleSpec {
                name: format!("rule{number}"),
                effect: dice.pick(&[Effect::Allow, Effect::Allow, Effect::Deny]),
                permissions,
                who: who(dice),
                when: term.as_ref().map(Term::text),
                undecided: dice.one_in(4).then_some(Undecided::Hide),
                ..RuleSpec::default()
            });
            terms.push(term);
        }
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let roles = ["r0", "r1", "r2"].into_iter().enumerate().map(|(number, name)| RoleSpec {
            name: name.to_owned(),
            inherits: owned(dice.some(&["read-only", "r0", "r1"][..=number], 2))
                .into_iter()
                .filter(|it| it != name)
                .collect(),
            allow: owned(dice.some(&PERMISSIONS, 8)),
            deny: owned(dice.some(&PERMISSIONS, 16)),
            place: None,
        });
        let roles = roles.collect();
        let assignments = (0..dice.below(3)).map(|_| AssignmentSpec {
            role: dice.pick(&["owner", "developer", "read-only", "service", "r0", "r1", "r2", "r2"]).to_owned(),
            who: who(dice),
            place: None,
        });
        let assignments = assignments.collect();
        let scopes = (0..dice.below(5)).map(|number| ScopeSpec {
            name: SCOPES[number.min(3)].to_owned(),
            implies: owned(dice.some(&SCOPES[..number.min(3)], 3)),
            allow: owned(dice.some(&PERMISSIONS, 10)),
            place: None,
        });
        let mut scopes: Vec<ScopeSpec> = scopes.collect();
        scopes.truncate(4);
        let spec = PolicySpec {
            default: if dice.one_in(4) { Effect::Allow } else { Effect::Deny },
            undecided: if dice.one_in(5) { Undecided::Hide } else { Undecided::Show },
            scopes,
            roles,
            assignments,
            rules,
            ..PolicySpec::default()
        };
        let caller = caller(dice);
        Case { spec, terms, caller, item: ITEMS[0], hour: 0, independent }
    }

    /// Somebody else asks it.
    pub fn asked_by_another(&mut self, dice: &mut Dice) {
        self.caller = caller(dice);
        self.hour = dice.pick(&[3, 15]);
    }

    /// All arguments that could make a difference to these rules.
    pub fn all_arguments(&self, rules: &[usize]) -> Vec<Arguments> {
        const VALUES: [Option<Value>; 4] =
            [None, Some(Value::Number(0)), Some(Value::Number(1)), Some(Value::Text("s"))];
        let mut names = Vec::new();
        rules.iter().filter_map(|rule| self.terms[*rule].as_ref()).for_each(|term| term.arguments(&mut names));
        let mut all = vec![Vec::new()];
        for name in names {
            let with = |arguments: &Arguments, value| [&arguments[..], &[(name.clone(), value)]].concat();
            all = all.iter().flat_map(|arguments| VALUES.iter().map(|value| with(arguments, *value))).collect();
        }
        all
    }
}

/// Arguments in JSON.
pub fn json(arguments: &Arguments) -> String {
    let members = arguments.iter().filter_map(|(name, value)| match (*value)? {
        Value::Number(number) => Some(format!("\"{name}\":{number}")),
        Value::Text(text) => Some(format!("\"{name}\":\"{text}\"")),
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn permission(dice: &mut Dice, about_tools: bool) -> String {
    let tools = ["tools:*", "tools:call:a/*", "tools:call:*/get_*", "tools:call:b/drop", "tools:call:*/*_x"];
    if about_tools { dice.pick(&tools).to_owned() } else { dice.pick(&PERMISSIONS).to_owned() }
}

fn who(dice: &mut Dice) -> Who {
    let boxed = |names: Vec<&str>| names.into_iter().map(Box::from).collect();
    Who {
        subjects: boxed(dice.some(&["alice", "bob"], 8)),
        groups: boxed(dice.some(&GROUPS, 4)),
        tenants: boxed(dice.some(&TENANTS, 6)),
        issuers: boxed(dice.some(&["corp", "https://login.example", "lockgate:anonymous", "other"], 12)),
        servers: boxed(dice.some(&["main", "elsewhere"], 8)),
    }
}

fn caller(dice: &mut Dice) -> SomeCaller {
    let anonymous = dice.one_in(8);
    SomeCaller {
        subject: if anonymous { "" } else { dice.pick(&["alice", "bob"]) },
        anonymous,
        tenant: if anonymous || dice.one_in(3) { None } else { Some(dice.pick(&TENANTS)) },
        groups: if anonymous { Vec::new() } else { dice.some(&GROUPS, 2) },
        scopes: if anonymous || dice.one_in(2) {
            None
        } else {
            Some(dice.some(&["s0", "s1", "s2", "s3", "openid"], 2))
        },
        level: if anonymous || dice.one_in(3) { None } else { Some(dice.below(2) as i64) },
    }
}

fn term(dice: &mut Dice, deep: usize, fresh: &mut dyn FnMut() -> Option<String>) -> Term {
    let mut part = |dice: &mut Dice| Box::new(term(dice, deep - 1, fresh));
    match (deep > 0).then(|| dice.below(6)) {
        Some(0) => return Term::Not(part(dice)),
        Some(1) => return Term::And(part(dice), part(dice)),
        Some(2) => return Term::Or(part(dice), part(dice)),
        Some(3) => return Term::If(part(dice), part(dice), part(dice)),
        _ => {}
    }
    let plain = |dice: &mut Dice| match dice.below(6) {
        0 => Term::Tenant(dice.pick(&TENANTS)),
        1 => Term::InGroup(dice.pick(&GROUPS)),
        2 => Term::Claim(1),
        3 => Term::OnlyReads,
        4 => Term::Named("get_x"),
        _ => Term::Before(12),
    };
    match if dice.one_in(2) { fresh() } else { None } {
        Some(name) if dice.one_in(2) => Term::Is(name, 1),
        Some(name) => Term::Below(name, 1),
        None => plain(dice),
    }
}
