//! What only those can tell who will use a configuration: that a certificate is not that of its key, that a sealing key is
//! no key. They are asked before anything is said, so that every mistake is shown at its line, whoever finds it.

use super::model::Config;
use super::path::KeyPath;

/// A value that keeps a configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// The value.
    pub path: KeyPath,
    /// What is wrong with it. Never repeats the value: it may be a secret.
    pub message: String,
}

impl Objection {
    /// An objection to the value at a path.
    pub fn new(path: KeyPath, message: impl Into<String>) -> Objection {
        Objection { path, message: message.into() }
    }
}

/// Says everything that keeps a configuration, right by itself, from being used. May read the files that it names.
pub type Judge<'a> = &'a dyn Fn(&Config) -> Vec<Objection>;

/// A judge who lets everything pass: for configurations that are only looked at.
pub(super) fn nobody(_: &Config) -> Vec<Objection> {
    Vec::new()
}
