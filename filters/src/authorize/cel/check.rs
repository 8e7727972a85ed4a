//! What is refused of a parsed condition: names that do not exist, and whatever could take long with hostile arguments.
//!
//! The crate that evaluates has no budget, so the program itself must be bounded. Each of its nodes takes time in proportion
//! to the values it is given, but for a comprehension, which takes its body's time for each element: its body may have no
//! comprehension in it and may not mention `args`, and what `map` collects may mention the element alone. Then all takes time
//! in proportion to the arguments (and the caller's claims), times the size of the condition.

use super::compile::{Fault, Position};
use super::functions::{Constant, IN_NETWORK, MATCHES, OFFERED, TYPES};
use super::operators::{ADD, CONDITIONAL, INDEX, RESULT, is_operator};
use super::variables::{Variable, Variables};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo};

/// How many operators, names and values a condition may have once it is parsed.
pub const NODES_MAX: usize = 500;
/// How deep they may stand within each other.
pub const DEPTH_MAX: usize = 40;
/// How many operands of one part are named.
const OPERANDS_MAX: usize = 8;
/// How many regular expressions and networks a condition may have.
const CONSTANTS_MAX: usize = 32;

/// What a condition is about.
#[derive(Debug, Default)]
pub struct Findings {
    /// The variables it mentions.
    pub variables: Variables,
    /// The claims it mentions by name.
    pub claims: Box<[Box<str>]>,
}

/// Checks a condition, and puts what is compiled beforehand into the place of its text.
pub fn check(
    expression: &mut IdedExpr,
    constants: &mut Vec<Constant>,
    source: &SourceInfo,
    headers: &[Box<str>],
) -> Result<Findings, Fault> {
    let mut check = Check { constants, source, headers, nodes: 0, claims: Vec::new(), element: None };
    check.walk(expression, 0)?;
    let mut claims = check.claims;
    claims.sort_unstable();
    claims.dedup();
    Ok(Findings { variables: variables(expression), claims: claims.into() })
}

/// The variables that an expression mentions. An element of a comprehension cannot have the name of one.
pub fn variables(expression: &IdedExpr) -> Variables {
    let own = match &expression.expr {
        Expr::Ident(name) => Variable::named(name).map_or(Variables::NONE, |it| Variables::NONE.with(it)),
        _ => Variables::NONE,
    };
    children(expression).into_iter().fold(own, |all, child| all.or(variables(child)))
}

/// The variables, and parts of them, that an expression is made on.
pub fn operands(expression: &IdedExpr) -> Vec<IdedExpr> {
    let mut found: Vec<IdedExpr> = Vec::new();
    collect(expression, &mut found);
    found
}

fn collect(expression: &IdedExpr, found: &mut Vec<IdedExpr>) {
    if is_path(expression) {
        if found.len() < OPERANDS_MAX {
            found.push(expression.clone());
        }
        return;
    }
    // Within a comprehension the rest is about its elements.
    let children = match &expression.expr {
        Expr::Comprehension(comprehension) => vec![&comprehension.iter_range],
        _ => children(expression),
    };
    children.into_iter().for_each(|child| collect(child, found));
}

/// Whether an expression is a variable or a named part of one.
fn is_path(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Ident(name) => Variable::named(name).is_some(),
        Expr::Select(select) => !select.test && is_path(&select.operand),
        Expr::Call(CallExpr { func_name, target: None, args }) if func_name == INDEX => {
            matches!(args.as_slice(), [of, IdedExpr { expr: Expr::Literal(_), .. }] if is_path(of))
        }
        _ => false,
    }
}

/// The parts of an expression.
fn children(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(it) => {
            vec![&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => {
            let parts = map.entries.iter().map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => [&entry.key, &entry.value],
                EntryExpr::StructField(field) => [&field.value, &field.value],
            });
            parts.flatten().collect()
        }
        Expr::Select(select) => vec![&select.operand],
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    }
}

struct Check<'c> {
    constants: &'c mut Vec<Constant>,
    source: &'c SourceInfo,
    headers: &'c [Box<str>],
    nodes: usize,
    claims: Vec<Box<str>>,
    /// What the element is called in whose comprehension this is.
    element: Option<String>,
}

impl Check<'_> {
    fn fault<T>(&self, id: u64, what: impl Into<String>) -> Result<T, Fault> {
        let start = self.source.offset_for(id).map_or(0, |(start, _)| start as usize);
        Err(Fault { at: Position::of(&self.source.source, start), what: what.into() })
    }

    fn walk(&mut self, node: &mut IdedExpr, depth: usize) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return self.fault(node.id, format!("a condition has more than {NODES_MAX} operators, names and values"));
        }
        if depth > DEPTH_MAX {
            return self.fault(node.id, format!("this nests more than {DEPTH_MAX} deep"));
        }
        let id = node.id;
        match &mut node.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(id, name),
            Expr::Select(select) => {
                if let Expr::Ident(of) = &select.operand.expr {
                    self.member(id, of, &select.field)?;
                }
                self.walk(&mut select.operand, depth + 1)
            }
            Expr::List(list) => list.elements.iter_mut().try_for_each(|it| self.walk(it, depth + 1)),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.walk(&mut entry.key, depth + 1)?;
                    self.walk(&mut entry.value, depth + 1)
                }
                EntryExpr::StructField(_) => self.fault(id, "there are no structures in conditions"),
            }),
            Expr::Call(call) => self.call(id, call, depth),
            Expr::Comprehension(comprehension) => self.comprehension(id, comprehension, depth),
            Expr::Struct(_) | Expr::Unspecified => self.fault(id, "there are no structures in conditions"),
        }
    }

    fn name(&self, id: u64, name: &str) -> Result<(), Fault> {
        if self.element.as_deref() == Some(name) || name == RESULT && self.element.is_some() {
            return Ok(());
        }
        let variable = Variable::named(name);
        if variable.is_none() && !TYPES.contains(&name) {
            let known: Vec<_> = Variable::ALL.iter().map(|variable| variable.name()).collect();
            return self.fault(id, format!("there is no variable `{name}`: there are {}", known.join(", ")));
        }
        if variable == Some(Variable::Args) && self.element.is_some() {
            return self.fault(id, "within all, exists, filter and map, `args` cannot be mentioned once more");
        }
        Ok(())
    }

    /// A member of a variable that is named.
    fn member(&mut self, id: u64, of: &str, member: &str) -> Result<(), Fault> {
        let Some(variable) = Variable::named(of) else { return Ok(()) };
        if let Some(known) = variable.members()
            && !known.contains(&member)
        {
            return self.fault(id, format!("`{of}` has no member `{member}`: it has {}", known.join(", ")));
        }
        match variable {
            Variable::Claims => self.claims.push(member.into()),
            Variable::Headers if !self.headers.iter().any(|name| **name == *member) => {
                return self.fault(id, format!("the header `{member}` is not one of `policy.headers`"));
            }
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, id: u64, call: &mut CallExpr, depth: usize) -> Result<(), Fault> {
        if call.func_name == INDEX
            && let [IdedExpr { expr: Expr::Ident(of), .. }, IdedExpr { expr: Expr::Literal(key), .. }] =
                call.args.as_slice()
            && let LiteralValue::String(key) = key
        {
            let (of, key) = (of.clone(), key.inner().to_owned());
            self.member(id, &of, &key)?;
        }
        if !is_operator(&call.func_name) {
            self.function(id, call)?;
        }
        if let Some(target) = &mut call.target {
            self.walk(target, depth + 1)?;
        }
        call.args.iter_mut().try_for_each(|it| match &it.expr {
            // What was put there for a constant.
            Expr::Ident(name) if name.starts_with("@c") => Ok(()),
            _ => self.walk(it, depth + 1),
        })
    }

    fn function(&mut self, id: u64, call: &mut CallExpr) -> Result<(), Fault> {
        let name = call.func_name.clone();
        let given = call.args.len() + usize::from(call.target.is_some());
        let Some((_, wanted)) = OFFERED.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = OFFERED.iter().map(|(known, _)| *known).collect();
            let known = known.join(", ");
            return self.fault(
                id,
                format!("there is no function `{name}`: there are {known}, has, all, exists, exists_one, filter, map"),
            );
        };
        if given != *wanted {
            return self.fault(id, format!("`{name}` is called with {given} values here, and takes {wanted}"));
        }
        let member = matches!(name.as_str(), "contains" | "startsWith" | "endsWith");
        let either = matches!(name.as_str(), "size" | "matches" | "in_network");
        if !either && member != call.target.is_some() {
            let written = if member { format!("x.{name}(y)") } else { format!("{name}(x)") };
            return self.fault(id, format!("`{name}` is written as `{written}`"));
        }
        match name.as_str() {
            "matches" => self.constant(call, MATCHES, "a regular expression", Constant::pattern),
            "in_network" => self.constant(call, IN_NETWORK, "a network", Constant::network),
            _ => Ok(()),
        }
    }

    /// Compiles the second argument, and has the function called with that.
    fn constant(
        &mut self,
        call: &mut CallExpr,
        function: &str,
        noun: &str,
        compile: impl Fn(&str) -> Result<Constant, String>,
    ) -> Result<(), Fault> {
        if let Some(target) = call.target.take() {
            call.args.insert(0, *target);
        }
        let Some(argument) = call.args.last_mut() else { return Ok(()) };
        let Expr::Literal(LiteralValue::String(text)) = &argument.expr else {
            return self
                .fault(argument.id, format!("{noun} must be a text that stands here: it is compiled beforehand"));
        };
        if self.constants.len() == CONSTANTS_MAX {
            return self.fault(
                argument.id,
                format!("a condition has more than {CONSTANTS_MAX} regular expressions and networks"),
            );
        }
        match compile(text.inner()) {
            Ok(constant) => {
                argument.expr = Expr::Ident(format!("@c{}", self.constants.len()));
                self.constants.push(constant);
                call.func_name = function.to_owned();
                Ok(())
            }
            Err(what) => self.fault(argument.id, what),
        }
    }

    fn comprehension(&mut self, id: u64, it: &mut ComprehensionExpr, depth: usize) -> Result<(), Fault> {
        if self.element.is_some() {
            return self.fault(id, "all, exists, exists_one, filter and map cannot stand within one another");
        }
        if Variable::named(&it.iter_var).is_some() || TYPES.contains(&it.iter_var.as_str()) || it.iter_var2.is_some() {
            return self.fault(id, format!("`{}` is no name for an element: something else is called so", it.iter_var));
        }
        self.walk(&mut it.iter_range, depth + 1)?;
        self.element = Some(it.iter_var.clone());
        self.walk(&mut it.accu_init, depth + 1)?;
        self.walk(&mut it.loop_cond, depth + 1)?;
        if collected(it).is_some_and(|collected| variables(collected) != Variables::NONE) {
            return self.fault(id, "what `map` collects can mention its element alone");
        }
        self.walk(&mut it.loop_step, depth + 1)?;
        self.walk(&mut it.result, depth + 1)?;
        self.element = None;
        Ok(())
    }
}

/// What a comprehension puts into its result for each element: `x` of `@result + [x]`, also where that has a condition.
fn collected(comprehension: &ComprehensionExpr) -> Option<&IdedExpr> {
    let step = match &comprehension.loop_step.expr {
        Expr::Call(call) if call.func_name == CONDITIONAL => call.args.get(1)?,
        _ => &comprehension.loop_step,
    };
    match &step.expr {
        Expr::Call(call) if call.func_name == ADD => match &call.args.get(1)?.expr {
            Expr::List(list) => list.elements.first(),
            _ => None,
        },
        _ => None,
    }
}
