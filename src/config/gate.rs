//! The strict gate in front of the parser: refuses what must not be read, and says where everything stands.
//!
//! Two YAML parsers never quite agree on values, so only one may decide them. This one (serde-saphyr) gives no values: it
//! says no, and where. It refuses duplicate keys, alias bombs, deep nesting and malformed text, and builds the map from
//! paths to positions. Values come from the parser behind it.

use super::diagnostic::FINDINGS_MAX;
use super::path::{KeyPath, Step};
use super::text::{LineColumn, SourceText};
use serde::de::{Deserialize, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Budget, Error, Location, MessageFormatter as _, Options, Spanned, UserMessageFormatter};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

/// Where an entry stands in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The bytes of its key; none for a list element.
    pub key: Option<Range<usize>>,
    /// The bytes of its value; empty for a block map or list, where they are its start.
    pub value: Range<usize>,
}

/// Something the gate refuses.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub path: KeyPath,
    pub bytes: Range<usize>,
    pub message: String,
    pub help: Option<&'static str>,
}

/// What the gate found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Where each entry stands. Empty when the text is not even well-formed.
    pub marks: HashMap<KeyPath, Mark>,
    /// Why the text is refused; empty when it is let through.
    pub refusals: Vec<Refusal>,
}

impl Verdict {
    /// Whether the structure is known, so that more can be said about the text.
    pub fn is_readable(&self) -> bool {
        self.refusals.is_empty() || !self.marks.is_empty()
    }
}

/// Options of the strict pass. The budget is far above any real configuration and far below what hurts.
pub(super) fn options(duplicate_keys: DuplicateKeyPolicy) -> Options {
    let budget: Option<Budget> = serde_saphyr::budget! {
        flow_nesting_limit: 32,
        max_depth: 32,
        max_events: 600_000,
        max_nodes: 250_000,
        max_aliases: 2_000,
        max_anchors: 2_000,
        max_recorded_anchor_events: 100_000,
        max_recorded_anchor_bytes: 8 << 20,
        max_total_scalar_bytes: 16 << 20,
        max_merge_keys: 2_000,
    };
    let alias_limits: AliasLimits = serde_saphyr::alias_limits! {
        max_total_replayed_events: 100_000,
        max_replay_stack_depth: 16,
        max_alias_expansions_per_anchor: 2_000,
    };
    serde_saphyr::options! {
        budget: budget,
        alias_limits: alias_limits,
        duplicate_keys: duplicate_keys,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// Examines a text.
pub(super) fn examine(source: &SourceText) -> Verdict {
    match read(source, DuplicateKeyPolicy::Error) {
        Ok(shape) => {
            let mut verdict = Verdict::default();
            Marker { source, verdict: &mut verdict }.visit(&KeyPath::root(), None, &shape);
            verdict
        }
        Err(error) if matches!(original(&error), Error::DuplicateMappingKey { .. }) => duplicates(source, &error),
        Err(error) => Verdict { marks: HashMap::new(), refusals: vec![refusal(source, &error)] },
    }
}

/// Finds every duplicate key of a text that has one: the strict pass stops at the first.
fn duplicates(source: &SourceText, first: &Error) -> Verdict {
    let mut verdict = Verdict::default();
    match read(source, DuplicateKeyPolicy::LastWins) {
        Ok(shape) => Marker { source, verdict: &mut verdict }.visit(&KeyPath::root(), None, &shape),
        Err(error) => verdict.refusals.push(refusal(source, &error)),
    }
    if verdict.refusals.is_empty() {
        verdict.refusals.push(refusal(source, first));
    }
    verdict
}

fn read(source: &SourceText, policy: DuplicateKeyPolicy) -> Result<Spanned<Shape>, Error> {
    serde_saphyr::from_str_with_options(source.text(), options(policy))
}

/// The error that others only lead to.
fn original(mut error: &Error) -> &Error {
    while let Error::WithSnippet { error: inner, .. } | Error::AliasError { error: inner, .. } = error {
        error = inner;
    }
    error
}

/// An error of the parser in our words.
fn refusal(source: &SourceText, error: &Error) -> Refusal {
    let error = original(error);
    let (message, help) = match error {
        Error::DuplicateMappingKey { .. } => ("this key stands here twice".to_owned(), None),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => (
            "this text is too large, too deep or repeats too much through aliases".to_owned(),
            Some("a configuration is at most 32 levels deep, with at most 2000 aliases that expand to 100000 nodes"),
        ),
        Error::UnknownAnchor { .. } => ("this alias refers to an anchor that does not exist".to_owned(), None),
        Error::RecursiveReferencesRequireWeakTypes { .. } => ("this alias contains itself".to_owned(), None),
        Error::MultipleDocuments { .. } => {
            ("a configuration is one document".to_owned(), Some("remove the `---` and what follows it"))
        }
        Error::NullIntoString { .. } => ("a key must not be empty".to_owned(), None),
        Error::Unexpected { expected: "string scalar", .. } => ("a key is a single text".to_owned(), None),
        other => (UserMessageFormatter.format_message(other).replace(char::is_control, " "), None),
    };
    let bytes = error.location().map_or(0..0, |location| bytes_of(source, &location));
    Refusal { path: KeyPath::root(), bytes, message, help }
}

/// The bytes of a location; where the parser knows only line and column, the character there.
fn bytes_of(source: &SourceText, location: &Location) -> Range<usize> {
    let span = location.span();
    let range = match (span.byte_offset(), span.byte_len()) {
        (Some(start), Some(length)) => {
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            start..start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX))
        }
        _ => {
            let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
            let start = source.byte_at(LineColumn { line: number(location.line()), column: number(location.column()) });
            start..start.saturating_add(1)
        }
    };
    source.clamp(range)
}

/// Walks the shape of a text and notes where everything stands, and which keys stand twice.
struct Marker<'a> {
    source: &'a SourceText,
    verdict: &'a mut Verdict,
}

impl Marker<'_> {
    fn visit(&mut self, path: &KeyPath, key: Option<Range<usize>>, node: &Spanned<Shape>) {
        let value = bytes_of(self.source, &node.defined);
        self.verdict.marks.entry(path.clone()).or_insert(Mark { key, value });
        match &node.value {
            Shape::Scalar => {}
            Shape::List(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    self.visit(&path.then(Step::Index(index)), None, element);
                }
            }
            Shape::Map(entries) => {
                let mut seen = HashSet::with_capacity(entries.len());
                for (key, value) in entries {
                    let path = path.key(&key.value);
                    let bytes = bytes_of(self.source, &key.defined);
                    // What a merge (`<<`) brings in under a key that is there already is overridden, not doubled.
                    if !seen.insert(key.value.as_str()) {
                        let merged = value.referenced != value.defined;
                        if !merged {
                            self.duplicate(path, bytes);
                        }
                        continue;
                    }
                    self.visit(&path, Some(bytes), value);
                }
            }
        }
    }

    fn duplicate(&mut self, path: KeyPath, bytes: Range<usize>) {
        let first = self.verdict.marks.get(&path).and_then(|mark| mark.key.clone());
        // An anchor that is used twice brings the same slip of the same line twice.
        let known = self.verdict.refusals.iter().any(|known| known.bytes == bytes);
        if known || self.verdict.refusals.len() >= FINDINGS_MAX {
            return;
        }
        let message = match first.map(|first| self.source.line_column(first.start).line) {
            Some(line) => format!("this key stands here twice; the first is on line {line}"),
            None => "this key stands here twice".to_owned(),
        };
        self.verdict.refusals.push(Refusal { path, bytes, message, help: None });
    }
}

/// The structure of a text without its values.
enum Shape {
    Scalar,
    List(Vec<Spanned<Shape>>),
    Map(Vec<(Spanned<String>, Spanned<Shape>)>),
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(AnyShape)
    }
}

/// Accepts whatever there is.
struct AnyShape;

/// Every scalar has the same shape.
macro_rules! scalars {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E>(self, _: $type) -> Result<Shape, E> {
            Ok(Shape::Scalar)
        })*
    };
}

impl<'de> Visitor<'de> for AnyShape {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64,
        visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Shape::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Shape::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Shape, A::Error> {
        Err(A::Error::custom("tags are not used here"))
    }
}
