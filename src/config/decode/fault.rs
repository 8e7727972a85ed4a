//! Why a value does not fit its type, kept apart so that it can be told well.

use super::super::path::{KeyPath, Step};
use serde::de::{self, Expected, Unexpected};
use std::fmt;

/// One misfit and where it is.
#[derive(Debug)]
pub(super) struct Fault {
    /// The entry; `None` until the fault has come up to one.
    pub path: Option<KeyPath>,
    pub kind: FaultKind,
}

/// The kinds of misfits. None repeats the value, which may be a secret.
#[derive(Debug)]
pub(super) enum FaultKind {
    /// A key that its map does not have.
    Unknown { known: &'static [&'static str] },
    /// A word that is none of the known ones.
    Variant { found: Option<String>, known: &'static [&'static str] },
    /// A key that must be there.
    Missing(&'static str),
    /// A key of the wrong form.
    Key(String),
    /// Anything else.
    Wrong(String),
}

/// The way from the top to the value that is being decoded, kept on the stack.
#[derive(Clone, Copy)]
pub(super) struct Trail<'a> {
    pub parent: Option<&'a Trail<'a>>,
    pub step: Option<StepRef<'a>>,
}

/// A borrowed [`Step`].
#[derive(Clone, Copy)]
pub(super) enum StepRef<'a> {
    Key(&'a str),
    Index(usize),
}

impl Trail<'_> {
    /// The trail as a path.
    pub fn path(&self) -> KeyPath {
        let mut steps = Vec::new();
        let mut here = Some(self);
        while let Some(trail) = here {
            match trail.step {
                Some(StepRef::Key(key)) => steps.push(Step::Key(key.to_owned())),
                Some(StepRef::Index(index)) => steps.push(Step::Index(index)),
                None => {}
            }
            here = trail.parent;
        }
        KeyPath::from_reversed(steps)
    }
}

impl Fault {
    /// A fault of the value itself.
    pub fn wrong(message: impl Into<String>) -> Fault {
        Fault { path: None, kind: FaultKind::Wrong(message.into()) }
    }

    /// The same fault, found here unless it was found further in.
    #[must_use]
    pub fn at(mut self, trail: &Trail<'_>) -> Fault {
        self.path.get_or_insert_with(|| trail.path());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault::wrong(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::wrong(format!("expected {}, found {}", in_words(expected), kind_of(unexpected)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::wrong(format!("expected {}", in_words(expected)))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Fault {
        Fault::wrong(format!("expected {}", in_words(expected)))
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Fault {
        Fault { path: None, kind: FaultKind::Variant { found: None, known } }
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Fault {
        Fault { path: None, kind: FaultKind::Unknown { known } }
    }

    fn missing_field(field: &'static str) -> Fault {
        Fault { path: None, kind: FaultKind::Missing(field) }
    }

    fn duplicate_field(field: &'static str) -> Fault {
        Fault::wrong(format!("`{field}` stands here twice"))
    }
}

/// What a type expects, in the words of somebody who writes a configuration.
pub(super) fn in_words(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative and not too large".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "path string" => "a path".to_owned(),
        other if other.starts_with("struct ") || other == "a map" => "a map of keys and values".to_owned(),
        _ => text,
    }
}

/// What stands there, without its content.
fn kind_of(unexpected: Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "a truth value",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "a text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a map",
        _ => "something else",
    }
}
