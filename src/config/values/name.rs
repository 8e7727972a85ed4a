//! The names of listeners, backends, virtual servers and keys: they become metric labels and path segments.

use super::{Invalid, read_from_text, write_as_text};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The most characters of a name (a DNS label's length).
pub const NAME_LENGTH_MAX: usize = 63;

/// A name: `[a-z0-9][a-z0-9-]{0,62}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for Name {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Name, Invalid> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid =
            !text.is_empty() && text.len() <= NAME_LENGTH_MAX && !text.starts_with('-') && text.bytes().all(allowed);
        if valid {
            Ok(Name(text.into()))
        } else {
            Err(Invalid::new("a name has 1 to 63 characters out of a-z, 0-9 and `-`, and does not start with `-`"))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

write_as_text!(Name);
read_from_text!(Name, expecting: "a name", schema: {
    "description": "A name: 1 to 63 characters out of a-z, 0-9 and `-`, not starting with `-`.",
    "type": "string",
    "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_a_dns_label() {
        for right in ["a", "demo", "k2", "0", "a-b", "a-", &"a".repeat(63)] {
            assert!(right.parse::<Name>().is_ok(), "{right:?} is a name");
        }
        for wrong in ["", "-a", "A", "a_b", "a.b", "ä", "a b", &"a".repeat(64)] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong:?} is no name");
        }
    }
}
