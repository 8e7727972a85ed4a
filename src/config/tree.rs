//! The values of a configuration before they have types: what the parser gave, merged and interpolated.

use super::path::{KeyPath, Step};
use indexmap::IndexMap;
use serde_yaml::Value;
use zeroize::Zeroizing;

/// A value that has no type yet.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Nothing: the default is meant.
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Text),
    List(Vec<Node>),
    Map(IndexMap<String, Node>),
    /// A value that was found wrong and taken out, so that the rest can be looked at.
    Pruned,
}

/// A text scalar.
#[derive(Clone)]
pub(super) struct Text {
    pub value: Zeroizing<String>,
    /// Whether it came from the environment or a file: then it may stand for a number or a switch too, and is a secret.
    pub interpolated: bool,
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Text(..)")
    }
}

impl Node {
    /// A text that stands as it is.
    pub fn text(value: impl Into<String>) -> Node {
        Node::Text(Text { value: Zeroizing::new(value.into()), interpolated: false })
    }

    /// A map of these entries.
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Node)>) -> Node {
        Node::Map(entries.into_iter().map(|(key, node)| (key.into(), node)).collect())
    }

    /// The value at a path.
    pub fn at(&self, path: &KeyPath) -> Option<&Node> {
        path.steps().iter().try_fold(self, |node, step| match (node, step) {
            (Node::Map(entries), Step::Key(key)) => entries.get(key),
            (Node::List(elements), Step::Index(index)) => elements.get(*index),
            _ => None,
        })
    }

    /// The value at a path, to change it.
    pub fn at_mut(&mut self, path: &KeyPath) -> Option<&mut Node> {
        path.steps().iter().try_fold(self, |node, step| match (node, step) {
            (Node::Map(entries), Step::Key(key)) => entries.get_mut(key),
            (Node::List(elements), Step::Index(index)) => elements.get_mut(*index),
            _ => None,
        })
    }

    /// Puts a value under nested keys and makes the maps on the way where nothing is; what is no map stays as it is.
    pub fn set(&mut self, path: &KeyPath, value: Node) {
        let Some((Step::Key(last), way)) = path.steps().split_last() else { return };
        let mut node = self;
        for step in way {
            let Step::Key(key) = step else { return };
            if matches!(node, Node::Null) {
                *node = Node::Map(IndexMap::new());
            }
            let Node::Map(entries) = node else { return };
            node = entries.entry(key.clone()).or_insert(Node::Null);
        }
        if matches!(node, Node::Null) {
            *node = Node::Map(IndexMap::new());
        }
        if let Node::Map(entries) = node {
            entries.insert(last.clone(), value);
        }
    }
}

/// What a parsed value may not contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsupported {
    /// A key that is a number, a truth value, nothing, or no scalar at all.
    Key,
    /// A `!tag`.
    Tag,
}

/// Turns a parsed value into a tree and reports what has no place in a configuration.
pub(super) fn from_value(value: Value, path: &KeyPath, report: &mut dyn FnMut(KeyPath, Unsupported)) -> Node {
    match value {
        Value::Null => Node::Null,
        Value::Bool(value) => Node::Bool(value),
        Value::Number(number) => {
            if let Some(value) = number.as_u64() {
                Node::Unsigned(value)
            } else if let Some(value) = number.as_i64() {
                Node::Signed(value)
            } else {
                Node::Float(number.as_f64().unwrap_or(f64::NAN))
            }
        }
        Value::String(text) => Node::text(text),
        Value::Sequence(elements) => Node::List(
            elements
                .into_iter()
                .enumerate()
                .map(|(index, element)| from_value(element, &path.index(index), report))
                .collect(),
        ),
        Value::Mapping(entries) => {
            let mut map = IndexMap::with_capacity(entries.len());
            for (key, value) in entries {
                match key {
                    Value::String(key) => {
                        let node = from_value(value, &path.key(&key), report);
                        map.insert(key, node);
                    }
                    Value::Number(number) => report(path.key(number.to_string()), Unsupported::Key),
                    Value::Bool(value) => report(path.key(value.to_string()), Unsupported::Key),
                    _ => report(path.clone(), Unsupported::Key),
                }
            }
            Node::Map(map)
        }
        Value::Tagged(_) => {
            report(path.clone(), Unsupported::Tag);
            Node::Pruned
        }
    }
}
