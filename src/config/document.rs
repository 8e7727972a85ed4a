//! A configuration as it was read, from whatever it was read: a tree of values, and where each of them stands.
//!
//! YAML files, the clients' JSON files and the command line all become a [`Document`]; from there on there is one way.

use super::diagnostic::{At, Diagnostic, FINDINGS_MAX, Finding, Severity};
use super::gate::{self, Mark};
use super::interpolate::{Dialect, Interpolation};
use super::path::{KeyPath, Step};
use super::sources::Sources;
use super::text::{LineColumn, Place, SourceText};
use super::tree::{self, Node, Unsupported};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_yaml::Value;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A configuration as it was read.
#[derive(Debug)]
pub(super) struct Document {
    /// The texts it came from.
    pub texts: Vec<SourceText>,
    /// The number of the text and the place in it of each entry.
    pub marks: HashMap<KeyPath, (usize, Mark)>,
    /// The values; `None` when the text could not be taken apart.
    pub tree: Option<Node>,
    /// What was wrong with the text.
    pub diagnostics: Vec<Diagnostic>,
    /// What relative paths are relative to.
    pub base: PathBuf,
    /// Files that the text refers to.
    pub files: Vec<PathBuf>,
}

impl Document {
    /// A document without any text.
    pub fn empty(base: &Path) -> Document {
        Document {
            texts: Vec::new(),
            marks: HashMap::new(),
            tree: Some(Node::Null),
            diagnostics: Vec::new(),
            base: base.to_owned(),
            files: Vec::new(),
        }
    }

    /// A document that could not be read at all.
    pub fn unreadable(base: &Path, message: String) -> Document {
        let mut document = Document { tree: None, ..Document::empty(base) };
        document.add(Finding::error(KeyPath::root(), message));
        document
    }

    /// Takes a text apart: through the gate, then with the parser whose values count (`values`).
    pub fn parse(
        text: SourceText,
        base: &Path,
        values: impl FnOnce(&SourceText) -> Result<Value, Complaint>,
    ) -> Document {
        let verdict = gate::examine(&text);
        let refused = !verdict.refusals.is_empty();
        let value = if !refused {
            values(&text).map_err(Some)
        } else if verdict.is_readable() {
            // The text is refused already. These values only serve to find what else is wrong with it.
            serde_saphyr::from_str_with_options(text.text(), gate::options(DuplicateKeyPolicy::FirstWins))
                .map_err(|_| None)
        } else {
            Err(None)
        };
        let mut document = Document {
            texts: vec![text],
            marks: verdict.marks.into_iter().map(|(path, mark)| (path, (0, mark))).collect(),
            tree: None,
            ..Document::empty(base)
        };
        for refusal in verdict.refusals {
            document.diagnostics.push(Diagnostic {
                severity: Severity::Error,
                path: refusal.path,
                place: Some(Place { source: 0, bytes: refusal.bytes }),
                message: refusal.message,
                help: refusal.help.map(str::to_owned),
            });
        }
        match value {
            Ok(value) => document.adopt(value),
            Err(Some(complaint)) => document.complain(complaint),
            Err(None) => {}
        }
        document
    }

    /// Reads a YAML text.
    pub fn yaml(text: SourceText, base: &Path, sources: &dyn Sources) -> Document {
        let mut document = Document::parse(text, base, yaml_values);
        document.interpolate(Dialect::Strict, sources);
        document
    }

    /// Turns parsed values into the tree of this document.
    fn adopt(&mut self, value: Value) {
        let mut findings = Vec::new();
        self.tree = Some(tree::from_value(value, &KeyPath::root(), &mut |path, unsupported| {
            findings.push(match unsupported {
                Unsupported::Key => Finding::error(path, "a key is a text: put it in quotes").at_key(),
                Unsupported::Tag => Finding::error(path, "tags (`!…`) are not used here"),
            });
        }));
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    /// Notes what a parser says of the whole text.
    pub fn complain(&mut self, Complaint { message, bytes }: Complaint) {
        self.diagnostics.push(Diagnostic {
            severity: Severity::Error,
            path: KeyPath::root(),
            place: bytes.map(|bytes| Place { source: 0, bytes }),
            message,
            help: None,
        });
    }

    /// Puts values from the environment and from files in the place of the references to them.
    pub fn interpolate(&mut self, dialect: Dialect, sources: &dyn Sources) {
        let Some(mut tree) = self.tree.take() else { return };
        let mut interpolation =
            Interpolation { sources, base: &self.base, dialect, findings: Vec::new(), files: Vec::new() };
        interpolation.apply(&mut tree, &mut KeyPath::root());
        let Interpolation { findings, files, .. } = interpolation;
        self.files.extend(files);
        self.tree = Some(tree);
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    /// Notes a finding at its place: that of its entry, or of the closest entry around it that has one.
    pub fn add(&mut self, finding: Finding) {
        // Counted by kind: no number of warnings crowds an error out.
        let same = self.diagnostics.iter().filter(|known| known.severity == finding.severity);
        if same.count() >= FINDINGS_MAX {
            return;
        }
        let place = self.place(&finding.path, finding.at);
        let Finding { severity, path, message, help, .. } = finding;
        // File names and the like may hold anything; a terminal gets no control characters from here.
        let message = message.replace(char::is_control, " ");
        self.diagnostics.push(Diagnostic { severity, path, place, message, help });
    }

    /// Whether anything was found that refuses the whole.
    pub fn is_refused(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    fn place(&self, path: &KeyPath, at: At) -> Option<Place> {
        let bytes = |mark: &Mark, at: At| -> Range<usize> {
            match (&mark.key, at) {
                (Some(key), At::Key) => key.clone(),
                // A map or list has no extent of its own: its key is what a reader looks for.
                (Some(key), At::Value) if mark.value.len() <= 1 && self.is_inner(path) => key.clone(),
                _ => mark.value.clone(),
            }
        };
        if let Some((source, mark)) = self.marks.get(path).or_else(|| self.other_spelling(path)) {
            return Some(Place { source: *source, bytes: bytes(mark, at) });
        }
        let mut around = path.parent();
        while let Some(path) = around {
            if let Some((source, mark)) = self.marks.get(&path) {
                let bytes = mark.key.clone().unwrap_or_else(|| mark.value.clone());
                return Some(Place { source: *source, bytes });
            }
            around = path.parent();
        }
        // On the command line only some entries stand anywhere: what is missing beside one is told at that one.
        let beside = path.parent()?;
        let (source, mark) =
            self.marks.iter().find(|(path, _)| !beside.steps().is_empty() && path.is_within(&beside))?.1;
        Some(Place { source: *source, bytes: mark.value.clone() })
    }

    /// The mark of an entry whose key is written in other letters: header fields have one name in any case.
    fn other_spelling(&self, path: &KeyPath) -> Option<&(usize, Mark)> {
        let parent = path.parent()?;
        let Some(Step::Key(key)) = path.last() else { return None };
        let same = |other: &KeyPath| {
            let same_key = matches!(other.last(), Some(Step::Key(other)) if other.eq_ignore_ascii_case(key));
            same_key && other.parent().as_ref() == Some(&parent)
        };
        self.marks.iter().find(|(other, _)| same(other)).map(|(_, mark)| mark)
    }

    /// Whether the value at a path holds other values.
    fn is_inner(&self, path: &KeyPath) -> bool {
        let node = self.tree.as_ref().and_then(|tree| tree.at(path));
        matches!(node, Some(Node::Map(_) | Node::List(_)))
    }

    /// The values that came from the environment or a file.
    pub fn interpolated(&self) -> BTreeSet<KeyPath> {
        fn walk(node: &Node, path: &mut KeyPath, found: &mut BTreeSet<KeyPath>) {
            match node {
                Node::Text(text) if text.interpolated => {
                    found.insert(path.clone());
                }
                Node::List(elements) => {
                    for (index, element) in elements.iter().enumerate() {
                        path.push(Step::Index(index));
                        walk(element, path, found);
                        path.pop();
                    }
                }
                Node::Map(entries) => {
                    for (key, entry) in entries {
                        path.push(Step::Key(key.clone()));
                        walk(entry, path, found);
                        path.pop();
                    }
                }
                _ => {}
            }
        }
        let mut found = BTreeSet::new();
        if let Some(tree) = &self.tree {
            walk(tree, &mut KeyPath::root(), &mut found);
        }
        found
    }
}

/// What a parser says of a whole text.
#[derive(Debug)]
pub(super) struct Complaint {
    pub message: String,
    /// Where it stopped.
    pub bytes: Option<Range<usize>>,
}

/// What the parser of record reads, with merges carried out; else its complaint, which the gate did not have.
fn yaml_values(text: &SourceText) -> Result<Value, Complaint> {
    let mut value: Value = serde_yaml::from_str(text.text()).map_err(|error| {
        let bytes = error.location().map(|location| {
            let start = text.byte_at(LineColumn { line: location.line(), column: location.column() });
            text.clamp(start..start + 1)
        });
        Complaint { message: "this value is not understood".to_owned(), bytes }
    })?;
    value
        .apply_merge()
        .map_err(|_| Complaint { message: "a merge (`<<`) takes a map or a list of maps".to_owned(), bytes: None })?;
    Ok(value)
}
