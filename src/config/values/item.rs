//! How the items of backends are named towards clients: prefixes, what joins them to names, and whole names.

use super::{Invalid, Name, read_from_text, write_as_text};
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt;
use std::str::FromStr;

/// The most characters of a prefix.
const PREFIX_LENGTH_MAX: usize = 16;

/// How much of a long backend name is kept in its prefix; a `-` and six digits of a hash follow.
const PREFIX_KEPT: usize = 9;

/// The most characters of a name that every client takes.
const ITEM_LENGTH_MAX: usize = 64;

/// The most characters between a prefix and a name.
const SEPARATOR_LENGTH_MAX: usize = 4;

/// What stands before the names of one backend's items: `[a-z0-9-]{1,16}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemPrefix(Box<str>);

impl ItemPrefix {
    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefix of a backend that is given none: its name, where that is short enough; else its first nine characters,
    /// a `-` and six hex digits of its SHA-256, so that it stays the same for ever.
    pub fn of_name(name: &Name) -> ItemPrefix {
        let name = name.as_str();
        if name.len() <= PREFIX_LENGTH_MAX {
            return ItemPrefix(name.into());
        }
        let hash = digest(&SHA256, name.as_bytes());
        let digits: String = hash.as_ref().iter().take(3).map(|byte| format!("{byte:02x}")).collect();
        let kept: String = name.chars().take(PREFIX_KEPT).collect();
        ItemPrefix(format!("{kept}-{digits}").into())
    }
}

impl FromStr for ItemPrefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ItemPrefix, Invalid> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > PREFIX_LENGTH_MAX || !text.bytes().all(allowed) {
            let message = format!("a prefix has 1 to {PREFIX_LENGTH_MAX} characters out of a-z, 0-9 and `-`");
            return Err(Invalid::new(message));
        }
        Ok(ItemPrefix(text.into()))
    }
}

impl fmt::Display for ItemPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

write_as_text!(ItemPrefix);
read_from_text!(ItemPrefix, expecting: "a prefix such as `gh`", schema: {
    "description": "What stands before the names of one backend's items: 1 to 16 characters out of a-z, 0-9 and `-`.",
    "type": "string",
    "pattern": "^[a-z0-9-]{1,16}$"
});

/// What stands between a prefix and a name: `[_-]{1,4}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Separator(Box<str>);

impl Separator {
    /// The separator as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Separator {
    fn default() -> Separator {
        Separator("__".into())
    }
}

impl FromStr for Separator {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Separator, Invalid> {
        if text.is_empty() || text.len() > SEPARATOR_LENGTH_MAX || !text.bytes().all(|byte| b"_-".contains(&byte)) {
            let message = format!("a separator has 1 to {SEPARATOR_LENGTH_MAX} characters out of `_` and `-`");
            return Err(Invalid::new(message));
        }
        Ok(Separator(text.into()))
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

write_as_text!(Separator);
read_from_text!(Separator, expecting: "a separator such as `__`", schema: {
    "description": "What stands between a prefix and a name: 1 to 4 characters out of `_` and `-`.",
    "type": "string",
    "pattern": "^[_-]{1,4}$"
});

/// A whole name of an item as clients see it: `[A-Za-z0-9_-]{1,64}`, which every client takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemName(Box<str>);

impl ItemName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ItemName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ItemName, Invalid> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > ITEM_LENGTH_MAX || !text.bytes().all(allowed) {
            let message =
                format!("clients take names of 1 to {ITEM_LENGTH_MAX} characters out of A-Z, a-z, 0-9, `_` and `-`");
            return Err(Invalid::new(message));
        }
        Ok(ItemName(text.into()))
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

write_as_text!(ItemName);
read_from_text!(ItemName, expecting: "a name such as `read_file`", schema: {
    "description": "A name that every client takes: 1 to 64 characters out of A-Z, a-z, 0-9, `_` and `-`.",
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]{1,64}$"
});

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_name(name: &str) -> String {
        ItemPrefix::of_name(&name.parse().unwrap()).to_string()
    }

    #[test]
    fn long_backend_names_have_short_prefixes_of_their_own() {
        assert_eq!(of_name("github"), "github");
        assert_eq!(of_name("exactly-sixteen-"), "exactly-sixteen-");
        let long = of_name("exactly-seventeen");
        assert_eq!(long, "exactly-s-1ace28", "first nine characters and the first six digits of the name's SHA-256");
        assert_ne!(long, of_name("exactly-seventeer"));
    }

    #[test]
    fn prefixes_separators_and_names_are_what_clients_take() {
        for right in ["a", "gh", "-", "0-9", &"a".repeat(16)] {
            assert!(right.parse::<ItemPrefix>().is_ok(), "{right:?}");
        }
        for wrong in ["", "A", "a_b", "ä", "a b", &"a".repeat(17)] {
            assert!(wrong.parse::<ItemPrefix>().is_err(), "{wrong:?}");
        }
        for right in ["_", "__", "-", "_-_-"] {
            assert!(right.parse::<Separator>().is_ok(), "{right:?}");
        }
        for wrong in ["", ".", "/", "_____", "a"] {
            assert!(wrong.parse::<Separator>().is_err(), "{wrong:?}");
        }
        for right in ["a", "Read_file-2", &"a".repeat(64)] {
            assert!(right.parse::<ItemName>().is_ok(), "{right:?}");
        }
        for wrong in ["", "a.b", "a/b", "a b", "ä", &"a".repeat(65)] {
            assert!(wrong.parse::<ItemName>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn every_backend_has_a_prefix(name in "[a-z0-9][a-z0-9-]{0,62}") {
            prop_assert!(of_name(&name).parse::<ItemPrefix>().is_ok());
        }
    }
}
