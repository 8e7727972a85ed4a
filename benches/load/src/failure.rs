//! The one error type of the harness: what was being done, and why it did not work.
//!
//! A bench stops at the first setup error with a sentence for a person; errors of single requests are
//! counted instead (see [`crate::wire::client::ExchangeError`]).

use std::io;

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Anything else, in words.
    #[error("{0}")]
    Said(String),
}

/// Result of a step of the harness.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure described in words.
    pub fn said(words: impl Into<String>) -> Self {
        Self::Said(words.into())
    }
}

/// Names the step that a system error interrupted.
pub trait During<T> {
    /// Turns the error into a [`Failure`] that says what was being done.
    fn during(self, what: impl Into<String>) -> Outcome<T>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: impl Into<String>) -> Outcome<T> {
        self.map_err(|source| Failure::Io { what: what.into(), source: source.into() })
    }
}
