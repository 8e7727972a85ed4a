//! What differs between two configurations in effect, by path; secrets only as "changed".

use super::path::KeyPath;
use super::show::Effective;
use serde::Serialize;
use serde_yaml::Value;
use std::collections::BTreeMap;

/// One difference. Values are scalars, or empty maps and lists, as they may be shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Only the second configuration has it.
    Added {
        /// The entry.
        path: KeyPath,
        /// Its value.
        value: Value,
    },
    /// Only the first configuration has it.
    Removed {
        /// The entry.
        path: KeyPath,
        /// Its value.
        value: Value,
    },
    /// Both have it, with different values.
    Changed {
        /// The entry.
        path: KeyPath,
        /// The value in the first.
        from: Value,
        /// The value in the second.
        to: Value,
        /// Whether either value is masked.
        masked: bool,
    },
}

impl Change {
    /// The entry that differs.
    pub const fn path(&self) -> &KeyPath {
        match self {
            Change::Added { path, .. } | Change::Removed { path, .. } | Change::Changed { path, .. } => path,
        }
    }
}

/// The differences from one configuration to another, in the order of their paths.
pub fn diff(from: &Effective, to: &Effective) -> Vec<Change> {
    let (before, after) = (leaves(from.tree()), leaves(to.tree()));
    let mut changes = Vec::new();
    for (path, value) in &before {
        let Some(other) = after.get(path) else {
            changes.push(Change::Removed { path: path.clone(), value: Value::clone(value) });
            continue;
        };
        let (hidden, other_hidden) = (from.hidden().get(path), to.hidden().get(path));
        // A value that is masked on one side only has changed where it comes from, if nothing else.
        if value != other || hidden != other_hidden {
            changes.push(Change::Changed {
                path: path.clone(),
                from: Value::clone(value),
                to: Value::clone(other),
                masked: hidden.is_some() || other_hidden.is_some(),
            });
        }
    }
    for (path, value) in after {
        if !before.contains_key(&path) {
            changes.push(Change::Added { path, value: value.clone() });
        }
    }
    changes.sort_by(|one, two| one.path().cmp(two.path()));
    changes
}

/// The scalars of a tree, and its empty maps and lists, by path.
fn leaves(tree: &Value) -> BTreeMap<KeyPath, &Value> {
    fn walk<'a>(value: &'a Value, path: KeyPath, found: &mut BTreeMap<KeyPath, &'a Value>) {
        match value {
            Value::Mapping(entries) if !entries.is_empty() => {
                for (key, entry) in entries {
                    walk(entry, path.key(key.as_str().unwrap_or_default()), found);
                }
            }
            Value::Sequence(elements) if !elements.is_empty() => {
                for (index, element) in elements.iter().enumerate() {
                    walk(element, path.index(index), found);
                }
            }
            _ => {
                found.insert(path, value);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(tree, KeyPath::root(), &mut found);
    found
}
