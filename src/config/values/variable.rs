//! Environment variables as a child process gets them.

use super::secret::Secret;
use super::{Invalid, read_from_text, write_as_text};
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The longest name of a variable, in bytes.
const NAME_LENGTH_MAX: usize = 256;

/// The longest value, in bytes: what Linux takes in one string (`MAX_ARG_STRLEN`) holds name, `=`, value and an end mark.
const VALUE_LENGTH_MAX: usize = 128 * 1024 - NAME_LENGTH_MAX - 2;

/// The name of an environment variable: visible ASCII without `=`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariableName(Box<str>);

impl VariableName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VariableName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<VariableName, Invalid> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=');
        if text.is_empty() || text.len() > NAME_LENGTH_MAX || !visible {
            let message =
                format!("the name of a variable is 1 to {NAME_LENGTH_MAX} visible ASCII characters without `=`");
            return Err(Invalid::new(message));
        }
        Ok(VariableName(text.into()))
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

write_as_text!(VariableName);
read_from_text!(VariableName, expecting: "the name of an environment variable", schema: {
    "description": "The name of an environment variable: visible ASCII without `=`.",
    "type": "string",
    "pattern": "^[!-<>-~]{1,256}$"
});

/// The value of an environment variable: a secret, unlike others allowed to be empty.
#[derive(Clone, PartialEq, Eq)]
pub struct VariableValue(Secret);

impl VariableValue {
    /// The value itself. Named so that every use can be found.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The value as the secret that it is.
    pub const fn secret(&self) -> &Secret {
        &self.0
    }
}

impl FromStr for VariableValue {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<VariableValue, Invalid> {
        if text.contains('\0') || text.len() > VALUE_LENGTH_MAX {
            return Err(Invalid::new("the value of a variable is at most 127 KiB without zero bytes"));
        }
        Ok(VariableValue(Secret::from(text.to_owned())))
    }
}

impl fmt::Debug for VariableValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for VariableValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

read_from_text!(VariableValue, expecting: "a text (put it in quotes)", schema: {
    "description": "A secret that may be empty: best written as `${env:NAME}` or `${file:path}`.",
    "type": "string",
    "writeOnly": true
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_equals_sign() {
        for right in ["PATH", "a", "npm_config_//registry.npmjs.org/:_authToken", "ProgramFiles(x86)"] {
            assert!(right.parse::<VariableName>().is_ok(), "{right:?}");
        }
        for wrong in ["", "A=B", "a b", "ä", "a\0", &"A".repeat(257)] {
            assert!(wrong.parse::<VariableName>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn values_may_be_empty_and_are_not_printed() {
        let value = |text: &str| text.parse::<VariableValue>();
        assert!(value("").is_ok_and(|value| value.expose().is_empty()));
        assert!(value("a\0b").is_err());
        assert!(value(&"x".repeat(128 * 1024)).is_err());
        let hidden = value("hunter2").unwrap();
        assert_eq!(format!("{hidden:?} {}", serde_json::to_string(&hidden).unwrap()), "******** \"********\"");
    }
}
