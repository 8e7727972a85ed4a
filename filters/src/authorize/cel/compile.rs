//! From the text of a condition to what is evaluated.

use super::check::{self, Findings};
use super::functions::{Constant, ENVIRONMENT};
use super::operators::{CONDITIONAL, LOGICAL_AND, LOGICAL_NOT, LOGICAL_OR};
use super::prescan::prescan;
use super::print;
use super::variables::Variables;
use cel::common::ast::{Expr, IdedExpr, SourceInfo};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A place in the text of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Counted from one.
    pub line: usize,
    /// In characters, counted from one.
    pub column: usize,
}

impl Position {
    /// The first character.
    pub const START: Position = Position { line: 1, column: 1 };

    /// Where the character of this number stands, counted from zero.
    pub fn of(text: &str, character: usize) -> Position {
        let before = text.chars().take(character);
        before.fold(Position::START, |at, character| match character {
            '\n' => Position { line: at.line + 1, column: 1 },
            _ => Position { column: at.column + 1, ..at },
        })
    }
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: Position,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.at.line, self.at.column, self.what)
    }
}

impl std::error::Error for Fault {}

/// A condition that can be evaluated.
#[derive(Debug)]
pub struct Program {
    pub(super) logic: Logic,
    pub(super) constants: Box<[Constant]>,
    text: Box<str>,
    findings: Findings,
}

/// The parts of a condition that are joined by `&& || !` and `? :`, so that a part of which nothing is known yet does not
/// hide what the others say.
#[derive(Debug)]
pub(super) enum Logic {
    And(Box<[Logic; 2]>),
    Or(Box<[Logic; 2]>),
    Not(Box<Logic>),
    If(Box<[Logic; 3]>),
    Leaf(Box<Leaf>),
}

/// A part that is evaluated as a whole.
#[derive(Debug)]
pub struct Leaf {
    pub(super) expression: IdedExpr,
    /// The variables it mentions.
    pub variables: Variables,
    /// As it would be written.
    pub text: Box<str>,
    /// What it is made on, such as `args.amount`; no more than a few.
    pub operands: Box<[Operand]>,
}

/// A variable of a condition, or a part of one.
#[derive(Debug)]
pub struct Operand {
    pub(super) expression: IdedExpr,
    /// The variable.
    pub variables: Variables,
    /// As it would be written.
    pub text: Box<str>,
}

impl Program {
    /// Compiles a condition. `headers` are the names of the fields that it may read.
    ///
    /// # Errors
    /// Says where and why it cannot be evaluated, or not in bounded time.
    pub fn compile(text: &str, headers: &[Box<str>]) -> Result<Program, Fault> {
        prescan(text)?;
        let (mut expression, source) = parse(text)?;
        let mut constants = Vec::new();
        let findings = check::check(&mut expression, &mut constants, &source, headers)?;
        let logic = Logic::of(expression, &constants);
        Ok(Program { logic, constants: constants.into(), text: text.into(), findings })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All that it mentions.
    pub fn variables(&self) -> Variables {
        self.findings.variables
    }

    /// The claims that it mentions by name.
    pub fn claims(&self) -> &[Box<str>] {
        &self.findings.claims
    }
}

fn parse(text: &str) -> Result<(IdedExpr, SourceInfo), Fault> {
    // What the parser does with a text that it does not expect must not end the process.
    let parsed = catch_unwind(AssertUnwindSafe(|| ENVIRONMENT.parser().parse_with_source_info(text)));
    let unreadable = || Fault { at: Position::START, what: "this is no condition".to_owned() };
    parsed.map_err(|_| unreadable())?.map_err(|faults| {
        let Some(fault) = faults.errors.first() else { return unreadable() };
        let place = |number: isize| usize::try_from(number).unwrap_or_default().max(1);
        let what = fault.msg.lines().next().unwrap_or_default().chars().take(200).collect();
        Fault { at: Position { line: place(fault.pos.0), column: place(fault.pos.1) }, what }
    })
}

impl Logic {
    fn of(expression: IdedExpr, constants: &[Constant]) -> Logic {
        let IdedExpr { id, expr } = expression;
        match expr {
            Expr::Call(call) if call.target.is_none() => {
                let joins = matches!(call.func_name.as_str(), LOGICAL_AND | LOGICAL_OR | LOGICAL_NOT | CONDITIONAL);
                if !joins {
                    return Logic::leaf(IdedExpr { id, expr: Expr::Call(call) }, constants);
                }
                let function = call.func_name;
                let parts: Vec<Logic> = call.args.into_iter().map(|part| Logic::of(part, constants)).collect();
                Logic::join(&function, parts, constants)
            }
            expr => Logic::leaf(IdedExpr { id, expr }, constants),
        }
    }

    // The parser gives each of these operators as many sides as it has.
    fn join(function: &str, parts: Vec<Logic>, constants: &[Constant]) -> Logic {
        let parts = match <[Logic; 2]>::try_from(parts) {
            Ok(sides) if function == LOGICAL_AND => return Logic::And(Box::new(sides)),
            Ok(sides) => return Logic::Or(Box::new(sides)),
            Err(parts) => parts,
        };
        match <[Logic; 3]>::try_from(parts) {
            Ok(parts) => Logic::If(Box::new(parts)),
            Err(parts) => match parts.into_iter().next() {
                Some(part) => Logic::Not(Box::new(part)),
                None => Logic::leaf(IdedExpr::default(), constants),
            },
        }
    }

    fn leaf(expression: IdedExpr, constants: &[Constant]) -> Logic {
        let operands = check::operands(&expression).into_iter().map(|path| Operand {
            variables: check::variables(&path),
            text: print::expression(&path, constants).into(),
            expression: path,
        });
        Logic::Leaf(Box::new(Leaf {
            variables: check::variables(&expression),
            operands: operands.collect(),
            text: print::expression(&expression, constants).into(),
            expression,
        }))
    }
}
