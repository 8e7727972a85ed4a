//! From an untyped tree to a typed configuration, without stopping at the first mistake.
//!
//! Serde stops where it fails. So a value that does not fit is noted, taken out of the tree and the tree decoded again,
//! until the rest fits: what is missing then takes its default, and an entry that cannot do without it goes too. Each
//! mistake costs one round, so their number is bounded.

mod deserializer;
mod fault;

use super::diagnostic::{FINDINGS_MAX, Finding};
use super::path::{KeyPath, Step};
use super::suggest::closest;
use super::tree::Node;
use deserializer::{Decoder, Unknown};
use fault::FaultKind;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// What became of a tree.
pub(super) struct Decoded<T> {
    /// What is left when everything wrong is taken out; `None` when nothing is.
    pub value: Option<T>,
    /// Every mistake.
    pub findings: Vec<Finding>,
    /// What was taken out: nothing is known about it, so nothing more is said about it.
    pub pruned: BTreeSet<KeyPath>,
}

/// Decodes a tree, taking out what does not fit.
pub(super) fn decode<T: DeserializeOwned>(tree: &mut Node) -> Decoded<T> {
    let unknown = Unknown::default();
    let mut findings = Vec::new();
    let mut pruned = BTreeSet::new();
    note_pruned(tree, &mut KeyPath::root(), &mut pruned);
    let value = loop {
        match T::deserialize(Decoder::new(tree, &unknown)) {
            Ok(value) => break Some(value),
            Err(fault) => {
                let path = fault.path.unwrap_or_default();
                let follows = match &fault.kind {
                    FaultKind::Missing(field) => matches!(tree.at(&path.key(field)), Some(Node::Pruned)),
                    _ => false,
                };
                if !follows {
                    findings.push(finding(path.clone(), fault.kind));
                }
                let at_root = path.steps().is_empty();
                prune(tree, path, &mut pruned);
                if at_root || findings.len() >= FINDINGS_MAX {
                    break None;
                }
            }
        }
    };
    for fault in unknown.into_faults() {
        if findings.len() >= FINDINGS_MAX {
            break;
        }
        findings.push(finding(fault.path.unwrap_or_default(), fault.kind));
    }
    Decoded { value, findings, pruned }
}

/// Takes the value at a path out.
fn prune(tree: &mut Node, path: KeyPath, pruned: &mut BTreeSet<KeyPath>) {
    if let Some(node) = tree.at_mut(&path) {
        *node = Node::Pruned;
    }
    pruned.insert(path);
}

/// Notes what was taken out before decoding began.
fn note_pruned(node: &Node, path: &mut KeyPath, pruned: &mut BTreeSet<KeyPath>) {
    match node {
        Node::Pruned => {
            pruned.insert(path.clone());
        }
        Node::List(elements) => {
            for (index, element) in elements.iter().enumerate() {
                path.push(Step::Index(index));
                note_pruned(element, path, pruned);
                path.pop();
            }
        }
        Node::Map(entries) => {
            for (key, entry) in entries {
                path.push(Step::Key(key.clone()));
                note_pruned(entry, path, pruned);
                path.pop();
            }
        }
        _ => {}
    }
}

/// A fault in words.
fn finding(path: KeyPath, kind: FaultKind) -> Finding {
    match kind {
        FaultKind::Unknown { known } => {
            let key = match path.last() {
                Some(Step::Key(key)) => key.clone(),
                _ => String::new(),
            };
            let guess = closest(&key, known.iter().copied());
            let finding = Finding::error(path, "this key is not known here").at_key().did_you_mean(guess);
            match guess {
                Some(_) => finding,
                None => finding.help(format!("known keys: {}", list(known))),
            }
        }
        FaultKind::Variant { found, known } => {
            let guess = found.as_deref().and_then(|found| closest(found, known.iter().copied()));
            let message = format!("expected one of {}", list(known));
            Finding::error(path, message).did_you_mean(guess)
        }
        FaultKind::Missing(field) => Finding::error(path, format!("`{field}` is missing here")).at_key(),
        FaultKind::Key(message) => Finding::error(path, message).at_key(),
        FaultKind::Wrong(message) => Finding::error(path, message),
    }
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
