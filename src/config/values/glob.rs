//! Patterns over the names and URIs of a backend's items.

use super::{Invalid, read_from_text, write_as_text};
use std::fmt;
use std::str::FromStr;

/// The longest pattern, in bytes.
const GLOB_LENGTH_MAX: usize = 512;

/// The most stars: each may have to be tried at every character.
const STARS_MAX: usize = 16;

/// A pattern: `*` stands for any run of characters, `?` for one, everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Glob {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Glob, Invalid> {
        if text.is_empty() || text.len() > GLOB_LENGTH_MAX || text.contains(char::is_control) {
            let message = format!("a pattern has 1 to {GLOB_LENGTH_MAX} bytes and no control characters");
            return Err(Invalid::new(message));
        }
        if text.matches('*').count() > STARS_MAX {
            return Err(Invalid::new(format!("a pattern has at most {STARS_MAX} `*`")));
        }
        Ok(Glob(text.into()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

write_as_text!(Glob);
read_from_text!(Glob, expecting: "a pattern such as `read_*`", schema: {
    "description": "A pattern: `*` stands for any run of characters, `?` for one.",
    "type": "string",
    "minLength": 1,
    "maxLength": 512
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_short_and_simple() {
        for right in ["*", "read_*", "file:///data/**", "a?c", "é"] {
            assert!(right.parse::<Glob>().is_ok(), "{right:?}");
        }
        for wrong in ["", "a\nb", &"*".repeat(17), &"a".repeat(513)] {
            assert!(wrong.parse::<Glob>().is_err(), "{wrong:?}");
        }
    }
}
