//! What is wrong with a configuration, and where.

use super::path::KeyPath;
use super::text::Place;
use serde::Serialize;

/// After so many findings nobody reads on, and looking for more takes longer than it is worth.
pub(super) const FINDINGS_MAX: usize = 100;

/// Whether a finding stops the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration works, but probably not as it is meant.
    Warning,
}

/// Which part of an entry a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The key, or where the entry would have to be.
    Key,
    /// The value.
    Value,
}

/// One finding, placed in the text.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Whether it is fatal.
    pub severity: Severity,
    /// The entry that it is about; the root when it is about the whole text.
    pub path: KeyPath,
    /// The place in the text; `None` when there is no text to point at.
    pub place: Option<Place>,
    /// What is wrong. Never repeats a secret or an interpolated value.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// One finding, before it is placed in a text.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub severity: Severity,
    pub path: KeyPath,
    pub at: At,
    pub message: String,
    pub help: Option<String>,
}

impl Finding {
    /// An error about the value at a path.
    pub fn error(path: KeyPath, message: impl Into<String>) -> Finding {
        Finding { severity: Severity::Error, path, at: At::Value, message: message.into(), help: None }
    }

    /// A warning about the entry at a path.
    pub fn warning(path: KeyPath, message: impl Into<String>) -> Finding {
        Finding { severity: Severity::Warning, path, at: At::Key, message: message.into(), help: None }
    }

    /// The same finding, about the key.
    #[must_use]
    pub fn at_key(mut self) -> Finding {
        self.at = At::Key;
        self
    }

    /// The same finding with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Finding {
        self.help = Some(help.into());
        self
    }

    /// The same finding with a guess at what was meant, where there is one.
    #[must_use]
    pub fn did_you_mean(mut self, guess: Option<&str>) -> Finding {
        if let Some(guess) = guess {
            self.help = Some(format!("did you mean `{guess}`?"));
        }
        self
    }
}
