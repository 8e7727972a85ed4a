//! A small arithmetic evaluator: recursive descent over `+ - * / % ^`, brackets, `pi`, `e` and a few functions.

use std::fmt;
use std::iter::Peekable;
use std::str::CharIndices;

/// Characters in an expression.
const EXPRESSION_CHARS_MAX: usize = 1000;

/// Brackets, signs and powers within one another.
const DEPTH_MAX: usize = 32;

/// Why an expression has no value.
#[derive(Debug, PartialEq)]
pub(super) enum CalculationError {
    TooLong,
    TooDeep,
    Unexpected { character: char, position: usize },
    EndsEarly,
    UnknownName(String),
    NotFinite,
}

impl fmt::Display for CalculationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CalculationError::TooLong => write!(f, "the expression has more than {EXPRESSION_CHARS_MAX} characters"),
            CalculationError::TooDeep => write!(f, "the expression nests deeper than {DEPTH_MAX}"),
            CalculationError::Unexpected { character, position } => {
                write!(f, "unexpected `{character}` at character {position}")
            }
            CalculationError::EndsEarly => f.write_str("the expression ends early"),
            CalculationError::UnknownName(name) => {
                write!(f, "`{name}` is not known: there are pi, e, sqrt, abs, round, floor, ceil, ln, sin, cos")
            }
            CalculationError::NotFinite => f.write_str("the result is not a finite number"),
        }
    }
}

/// The value of an expression.
pub(super) fn evaluate(expression: &str) -> Result<f64, CalculationError> {
    if expression.chars().count() > EXPRESSION_CHARS_MAX {
        return Err(CalculationError::TooLong);
    }
    let mut parser = Parser { text: expression, rest: expression.char_indices().peekable(), depth: 0 };
    let value = parser.sum()?;
    if let Some(character) = parser.peek() {
        return Err(parser.unexpected(character));
    }
    if value.is_finite() { Ok(value) } else { Err(CalculationError::NotFinite) }
}

struct Parser<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
    depth: usize,
}

impl Parser<'_> {
    fn sum(&mut self) -> Result<f64, CalculationError> {
        let mut value = self.product()?;
        loop {
            if self.take('+') {
                value += self.product()?;
            } else if self.take('-') {
                value -= self.product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<f64, CalculationError> {
        let mut value = self.signed()?;
        loop {
            if self.take('*') {
                value *= self.signed()?;
            } else if self.take('/') {
                value /= self.signed()?;
            } else if self.take('%') {
                value %= self.signed()?;
            } else {
                return Ok(value);
            }
        }
    }

    /// A power with signs before it; every way of nesting comes through here.
    fn signed(&mut self) -> Result<f64, CalculationError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(CalculationError::TooDeep);
        }
        let value = if self.take('-') {
            -self.signed()?
        } else if self.take('+') {
            self.signed()?
        } else {
            let base = self.operand()?;
            // To the right first: 2^3^2 is 2^(3^2), and -2^2 is -(2^2).
            if self.take('^') { base.powf(self.signed()?) } else { base }
        };
        self.depth -= 1;
        Ok(value)
    }

    fn operand(&mut self) -> Result<f64, CalculationError> {
        match self.peek() {
            Some('(') => self.bracket(),
            Some('0'..='9' | '.') => self.number(),
            Some(character) if character.is_ascii_alphabetic() => self.named(),
            Some(character) => Err(self.unexpected(character)),
            None => Err(CalculationError::EndsEarly),
        }
    }

    fn bracket(&mut self) -> Result<f64, CalculationError> {
        self.expect('(')?;
        let value = self.sum()?;
        self.expect(')')?;
        Ok(value)
    }

    fn number(&mut self) -> Result<f64, CalculationError> {
        let start = self.position();
        let mut exponent = false;
        while let Some(&(_, character)) = self.rest.peek() {
            match character {
                '0'..='9' | '.' => exponent = false,
                'e' | 'E' => exponent = true,
                '+' | '-' if exponent => exponent = false,
                _ => break,
            }
            self.rest.next();
        }
        let text = &self.text[start..self.position()];
        let unreadable = || CalculationError::Unexpected {
            character: text.chars().next_back().unwrap_or('.'),
            position: self.text[..start].chars().count() + text.chars().count(),
        };
        text.parse().map_err(|_| unreadable())
    }

    fn named(&mut self) -> Result<f64, CalculationError> {
        let start = self.position();
        while self.rest.next_if(|(_, character)| character.is_ascii_alphanumeric()).is_some() {}
        let function: fn(f64) -> f64 = match &self.text[start..self.position()] {
            "pi" => return Ok(std::f64::consts::PI),
            "e" => return Ok(std::f64::consts::E),
            "sqrt" => f64::sqrt,
            "abs" => f64::abs,
            "round" => f64::round,
            "floor" => f64::floor,
            "ceil" => f64::ceil,
            "ln" => f64::ln,
            "sin" => f64::sin,
            "cos" => f64::cos,
            unknown => return Err(CalculationError::UnknownName(unknown.to_owned())),
        };
        self.bracket().map(function)
    }

    /// The next character that is no white space.
    fn peek(&mut self) -> Option<char> {
        while self.rest.next_if(|(_, character)| character.is_whitespace()).is_some() {}
        self.rest.peek().map(|&(_, character)| character)
    }

    fn take(&mut self, wanted: char) -> bool {
        self.peek() == Some(wanted) && self.rest.next().is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), CalculationError> {
        match self.peek() {
            Some(character) if character == wanted => {
                self.rest.next();
                Ok(())
            }
            Some(character) => Err(self.unexpected(character)),
            None => Err(CalculationError::EndsEarly),
        }
    }

    fn position(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |&(index, _)| index)
    }

    fn unexpected(&mut self, character: char) -> CalculationError {
        let position = self.position();
        CalculationError::Unexpected { character, position: self.text[..position].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn precedence_is_that_of_mathematics() {
        for (expression, expected) in [
            ("2 + 3 * 4", 14.0),
            ("(2 + 3) * 4", 20.0),
            ("2 ^ 3 ^ 2", 512.0),
            ("-2 ^ 2", -4.0),
            ("2 ^ -1", 0.5),
            ("10 - 4 - 3", 3.0),
            ("7 % 4 * 2", 6.0),
            ("1.5e3 / 3", 500.0),
            ("2e", 2.0 * f64::NAN),
            ("sqrt(abs(-16)) + round(2.5)", 7.0),
            ("cos(pi - pi)", 1.0),
            ("--2", 2.0),
        ] {
            match evaluate(expression) {
                Ok(value) => assert!((value - expected).abs() < 1e-12, "{expression} = {value}"),
                Err(error) => assert!(expected.is_nan(), "{expression}: {error}"),
            }
        }
    }

    #[test]
    fn errors_say_what_and_where() {
        let error = |expression: &str| evaluate(expression).unwrap_err().to_string();
        assert_eq!(error("2 + $"), "unexpected `$` at character 5");
        assert_eq!(error("ä"), "unexpected `ä` at character 1");
        assert_eq!(error("2 2"), "unexpected `2` at character 3");
        assert_eq!(error("(1"), "the expression ends early");
        assert_eq!(error(""), "the expression ends early");
        assert!(error("foo(1)").starts_with("`foo` is not known"));
        assert_eq!(evaluate("1/0"), Err(CalculationError::NotFinite));
        assert_eq!(evaluate(&"(".repeat(500)), Err(CalculationError::TooDeep));
        assert_eq!(evaluate(&"-".repeat(500)), Err(CalculationError::TooDeep));
        assert_eq!(evaluate(&"1".repeat(1001)), Err(CalculationError::TooLong));
    }

    proptest! {
        #[test]
        fn any_text_has_a_finite_value_or_an_error(text in "[0-9.eEpi()+*/%^ a-z-]{0,60}|\\PC{0,40}") {
            if let Ok(value) = evaluate(&text) {
                prop_assert!(value.is_finite());
            }
        }

        #[test]
        fn numbers_are_themselves(number in 0.0..1e300f64) {
            prop_assert_eq!(evaluate(&format!("{number:e}")), Ok(number));
        }
    }
}
