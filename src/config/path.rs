//! Where a value stands in a configuration: `backends.demo.endpoints[0].url`.
//!
//! Every diagnostic, every position and every mask is keyed by such a path, so the parsers, the decoder and the checks can
//! speak of the same place without sharing a tree.

use serde::{Serialize, Serializer};
use std::fmt;

/// One step from a value to a value inside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The entry of a map.
    Key(String),
    /// The element of a list, counted from zero.
    Index(usize),
}

/// The steps from the top of a configuration to one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    /// The path of the whole configuration.
    pub const fn root() -> KeyPath {
        KeyPath(Vec::new())
    }

    /// The path of a map entry below this one.
    #[must_use]
    pub fn key(&self, key: impl AsRef<str>) -> KeyPath {
        self.then(Step::Key(key.as_ref().to_owned()))
    }

    /// The path of a list element below this one.
    #[must_use]
    pub fn index(&self, index: usize) -> KeyPath {
        self.then(Step::Index(index))
    }

    /// This path and one step more.
    #[must_use]
    pub fn then(&self, step: Step) -> KeyPath {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        KeyPath(steps)
    }

    /// The path of the value that holds this one; `None` at the top.
    pub fn parent(&self) -> Option<KeyPath> {
        let (_, rest) = self.0.split_last()?;
        Some(KeyPath(rest.to_vec()))
    }

    /// The last step; `None` at the top.
    pub fn last(&self) -> Option<&Step> {
        self.0.last()
    }

    /// The steps from the top.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this path is the other or lies below it.
    pub fn is_within(&self, other: &KeyPath) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Adds a step at the end.
    pub fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// Takes the last step away.
    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// Turns steps collected from the inside outwards into a path.
    pub(super) fn from_reversed(mut steps: Vec<Step>) -> KeyPath {
        steps.reverse();
        KeyPath(steps)
    }
}

/// The path of nested map keys.
impl<const N: usize> From<[&str; N]> for KeyPath {
    fn from(keys: [&str; N]) -> KeyPath {
        KeyPath(keys.into_iter().map(|key| Step::Key(key.to_owned())).collect())
    }
}

/// Whether a key can stand in a path without quotes.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if is_plain(key) && position == 0 => f.write_str(key)?,
                Step::Key(key) if is_plain(key) => write!(f, ".{key}")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

impl Serialize for KeyPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_people_write_it() {
        let path = KeyPath::from(["backends", "demo", "endpoints"]).index(0).key("url");
        assert_eq!(path.to_string(), "backends.demo.endpoints[0].url");
        assert_eq!(KeyPath::root().to_string(), "");
        assert_eq!(KeyPath::from(["backends", "a.b \"c\""]).to_string(), r#"backends["a.b \"c\""]"#);
    }

    #[test]
    fn a_path_lies_within_its_ancestors_only() {
        let list = KeyPath::from(["tickets", "keys"]);
        let secret = list.index(1).key("secret");
        assert!(secret.is_within(&list));
        assert!(secret.is_within(&KeyPath::root()));
        assert!(!list.is_within(&secret));
        assert!(!secret.is_within(&list.index(0)));
        assert_eq!(secret.parent(), Some(list.index(1)));
        assert_eq!(KeyPath::root().parent(), None);
    }
}
