//! What a condition may come to, with what is known.
//!
//! A part that mentions a variable whose value is not known yet may come to anything: true, false or an error. The others
//! are evaluated, and the results joined as CEL joins them: `false && x` is false whatever `x` is, an error included.

use super::compile::{Leaf, Logic, Operand, Program};
use super::functions::{Constant, ENVIRONMENT};
use super::print;
use super::variables::{Variable, Variables};
use cel::common::types::CelBool;
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Value};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a condition may come to: a set of true, false and error. One alone is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcomes(u8);

impl Outcomes {
    /// It holds.
    pub const TRUE: Outcomes = Outcomes(1);
    /// It does not.
    pub const FALSE: Outcomes = Outcomes(2);
    /// It cannot be said: a member is not there, or of another type.
    pub const ERROR: Outcomes = Outcomes(4);
    /// Anything.
    pub const ANY: Outcomes = Outcomes(7);

    /// True or false.
    pub const fn of(holds: bool) -> Outcomes {
        if holds { Outcomes::TRUE } else { Outcomes::FALSE }
    }

    /// Whether it may be that.
    pub const fn may_be(self, outcome: Outcomes) -> bool {
        self.0 & outcome.0 != 0
    }

    /// Whether it can be one thing only.
    pub const fn is_certain(self) -> bool {
        self.0.count_ones() == 1
    }

    /// Either of both.
    #[must_use]
    pub const fn or_else(self, other: Outcomes) -> Outcomes {
        Outcomes(self.0 | other.0)
    }

    const fn when(self, possible: bool) -> Outcomes {
        if possible { self } else { Outcomes(0) }
    }

    const fn not(self) -> Outcomes {
        let (holds, fails) = (self.may_be(Outcomes::TRUE), self.may_be(Outcomes::FALSE));
        let swapped = Outcomes::FALSE.when(holds).or_else(Outcomes::TRUE.when(fails));
        swapped.or_else(Outcomes::ERROR.when(self.may_be(Outcomes::ERROR)))
    }

    const fn and(self, other: Outcomes) -> Outcomes {
        let holds = self.may_be(Outcomes::TRUE) && other.may_be(Outcomes::TRUE);
        let fails = self.may_be(Outcomes::FALSE) || other.may_be(Outcomes::FALSE);
        let not_false = Outcomes::TRUE.or_else(Outcomes::ERROR);
        let errs = self.may_be(Outcomes::ERROR) && other.may_be(not_false)
            || other.may_be(Outcomes::ERROR) && self.may_be(not_false);
        Outcomes::TRUE.when(holds).or_else(Outcomes::FALSE.when(fails)).or_else(Outcomes::ERROR.when(errs))
    }

    /// The word for it in explanations.
    pub const fn label(self) -> &'static str {
        match self {
            Outcomes::TRUE => "true",
            Outcomes::FALSE => "false",
            Outcomes::ERROR => "error",
            _ => "undecided",
        }
    }
}

/// Where conditions find what their variables stand for.
pub trait Values: Send + Sync {
    /// The value of a variable; `None` where it cannot be had, which makes whatever mentions it an error.
    fn value(&self, variable: Variable) -> Option<&dyn Val>;
}

/// A part of a condition, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The part, as it would be written.
    pub part: Box<str>,
    /// What it came to.
    pub outcomes: Outcomes,
    /// What it was made on, and the values of that, where these may be shown.
    pub operands: Vec<(Box<str>, String)>,
}

impl Program {
    /// What the condition may come to where the values of these variables are not known yet.
    pub fn evaluate(&self, values: &dyn Values, unknown: Variables) -> Outcomes {
        self.run(values, unknown, &mut |_, _| {})
    }

    /// The same, and what came of each part that was looked at.
    pub fn trace(&self, values: &dyn Values, unknown: Variables) -> (Outcomes, Vec<Finding>) {
        let mut findings = Vec::new();
        let resolver = Resolver { values, constants: &self.constants };
        let outcomes = self.run(values, unknown, &mut |leaf, outcomes| {
            let known = leaf.operands.iter().filter(|operand| !operand.variables.meets(unknown));
            let operands = known.map(|operand| (operand.text.clone(), shown(operand, &resolver))).collect();
            findings.push(Finding { part: leaf.text.clone(), outcomes, operands });
        });
        (outcomes, findings)
    }

    fn run(&self, values: &dyn Values, unknown: Variables, seen: &mut dyn FnMut(&Leaf, Outcomes)) -> Outcomes {
        let resolver = Resolver { values, constants: &self.constants };
        Run { resolver: &resolver, unknown, seen }.logic(&self.logic)
    }
}

struct Run<'r> {
    resolver: &'r Resolver<'r>,
    unknown: Variables,
    seen: &'r mut dyn FnMut(&Leaf, Outcomes),
}

impl Run<'_> {
    fn logic(&mut self, logic: &Logic) -> Outcomes {
        match logic {
            Logic::Leaf(leaf) => {
                let outcomes = self.leaf(leaf);
                (self.seen)(leaf, outcomes);
                outcomes
            }
            Logic::Not(part) => self.logic(part).not(),
            Logic::And(sides) => match self.logic(&sides[0]) {
                Outcomes::FALSE => Outcomes::FALSE,
                left => left.and(self.logic(&sides[1])),
            },
            Logic::Or(sides) => match self.logic(&sides[0]) {
                Outcomes::TRUE => Outcomes::TRUE,
                left => left.not().and(self.logic(&sides[1]).not()).not(),
            },
            Logic::If(parts) => {
                let condition = self.logic(&parts[0]);
                let mut outcomes = Outcomes::ERROR.when(condition.may_be(Outcomes::ERROR));
                for (outcome, part) in [(Outcomes::TRUE, &parts[1]), (Outcomes::FALSE, &parts[2])] {
                    if condition.may_be(outcome) {
                        outcomes = outcomes.or_else(self.logic(part));
                    }
                }
                outcomes
            }
        }
    }

    fn leaf(&self, leaf: &Leaf) -> Outcomes {
        if leaf.variables.meets(self.unknown) {
            return Outcomes::ANY;
        }
        if leaf.variables.iter().any(|variable| self.resolver.values.value(variable).is_none()) {
            return Outcomes::ERROR;
        }
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(self.resolver);
        // What the evaluator does with values that it does not expect must not end the exchange, and is no reason to allow.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let value = Value::resolve_val(&leaf.expression, &context).ok()?;
            value.downcast_ref::<CelBool>().map(|bool| *bool.inner())
        }));
        result.ok().flatten().map_or(Outcomes::ERROR, Outcomes::of)
    }
}

/// Header fields may be credentials, and members that are named as such are.
fn shown(operand: &Operand, resolver: &Resolver<'_>) -> String {
    const SECRET: [&str; 9] = ["auth", "cookie", "credential", "key", "pass", "private", "secret", "session", "token"];
    let text = operand.text.to_ascii_lowercase();
    if operand.variables.contains(Variable::Headers) || SECRET.iter().any(|word| text.contains(word)) {
        return "(not shown)".to_owned();
    }
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.set_variable_resolver(resolver);
    let value = catch_unwind(AssertUnwindSafe(|| Value::resolve(&operand.expression, &context)));
    value.ok().and_then(Result::ok).map_or_else(|| "(not there)".to_owned(), |value| print::value(&value))
}

struct Resolver<'r> {
    values: &'r dyn Values,
    constants: &'r [Constant],
}

impl VariableResolver for Resolver<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(number) = name.strip_prefix("@c") {
            return self.constants.get(number.parse::<usize>().ok()?).map(|constant| CowVal::Borrowed(constant));
        }
        self.values.value(Variable::named(name)?).map(CowVal::Borrowed)
    }
}
