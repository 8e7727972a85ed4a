//! The names that operators have in a parsed condition, and what people write for them.

pub use cel::common::ast::operators::{ADD, CONDITIONAL, EQUALS, INDEX, LOGICAL_AND, LOGICAL_NOT, LOGICAL_OR, NEGATE};

use cel::common::ast::operators::{
    DIVIDE, GREATER, GREATER_EQUALS, IN, LESS, LESS_EQUALS, MODULO, MULTIPLY, NOT_EQUALS, NOT_STRICTLY_FALSE, SUBSTRACT,
};

/// What the parser calls the result of a comprehension that is not finished.
pub const RESULT: &str = "@result";

const BETWEEN: [(&str, &str); 14] = [
    (LOGICAL_OR, "||"),
    (LOGICAL_AND, "&&"),
    (EQUALS, "=="),
    (NOT_EQUALS, "!="),
    (LESS, "<"),
    (LESS_EQUALS, "<="),
    (GREATER, ">"),
    (GREATER_EQUALS, ">="),
    (IN, "in"),
    (ADD, "+"),
    (SUBSTRACT, "-"),
    (MULTIPLY, "*"),
    (DIVIDE, "/"),
    (MODULO, "%"),
];

/// What is written between the two sides of an operator.
pub fn between(name: &str) -> Option<&'static str> {
    BETWEEN.iter().find(|(known, _)| *known == name).map(|(_, written)| *written)
}

/// Whether it is an operator rather than a function.
pub fn is_operator(name: &str) -> bool {
    between(name).is_some() || [CONDITIONAL, LOGICAL_NOT, NEGATE, INDEX, NOT_STRICTLY_FALSE].contains(&name)
}
