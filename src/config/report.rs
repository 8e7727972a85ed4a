//! Everything that is wrong with a configuration, told to people and to programs.

use super::diagnostic::{Diagnostic, Severity};
use super::mask::Masked;
use super::path::KeyPath;
use super::text::{LineColumn, Place, SourceText};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// The longest line that is shown; a longer one is named only.
const LINE_BYTES_MAX: usize = 1_000;

/// Findings about a configuration, in the order of its text.
#[derive(Clone)]
pub struct Report {
    sources: Vec<SourceText>,
    diagnostics: Vec<Diagnostic>,
    secrets: Vec<Place>,
    watched: Vec<PathBuf>,
}

/// Whether text may be coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// No escape sequences.
    Plain,
    /// ANSI colours.
    Coloured,
}

/// One finding as programs read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Whether it is fatal.
    pub severity: Severity,
    /// The file, or `command line`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The line and column where it starts.
    #[serde(flatten)]
    pub position: Option<LineColumn>,
    /// The entry, such as `backends.demo.endpoints[0].url`; empty for the whole.
    pub path: KeyPath,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Report {
    pub(super) fn new(
        sources: Vec<SourceText>,
        diagnostics: Vec<Diagnostic>,
        secrets: Vec<Place>,
        watched: Vec<PathBuf>,
    ) -> Report {
        Report { sources, diagnostics, secrets, watched }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// The files that the configuration refers to, as far as it could be read: when one changes, so may this report.
    pub fn watched(&self) -> &[PathBuf] {
        &self.watched
    }

    /// The findings for programs.
    pub fn entries(&self) -> Vec<Entry> {
        self.diagnostics.iter().map(|diagnostic| self.entry(diagnostic)).collect()
    }

    fn entry(&self, diagnostic: &Diagnostic) -> Entry {
        let source = diagnostic.place.as_ref().and_then(|place| self.sources.get(place.source));
        let position =
            diagnostic.place.as_ref().zip(source).map(|(place, source)| source.line_column(place.bytes.start));
        Entry {
            severity: diagnostic.severity,
            source: source.map(|source| source.name().to_owned()),
            position,
            path: diagnostic.path.clone(),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
        }
    }

    /// The number of errors, warnings left out.
    pub fn error_count(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    /// The first error on one line, and how many there are beside it: for logs and status pages.
    pub fn summary(&self) -> String {
        let mut errors = self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        let Some(first) = errors.next() else {
            return "no errors".to_owned();
        };
        let entry = self.entry(first);
        let mut line = String::new();
        if let Some((source, at)) = entry.source.zip(entry.position) {
            line.push_str(&format!("{source}:{}:{}: ", at.line, at.column));
        }
        if !entry.path.steps().is_empty() {
            line.push_str(&format!("{}: ", entry.path));
        }
        line.push_str(&entry.message);
        match errors.count() {
            0 => {}
            1 => line.push_str(" (and 1 more error)"),
            more => line.push_str(&format!(" (and {more} more errors)")),
        }
        line
    }

    /// The findings for people: each with its line, a caret under the place, and advice.
    pub fn render(&self, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        let mut text = String::new();
        for diagnostic in &self.diagnostics {
            text.push_str(&self.render_one(diagnostic, &renderer));
            text.push_str("\n\n");
        }
        text
    }

    fn render_one(&self, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let path = diagnostic.path.to_string();
        let place = diagnostic.place.as_ref();
        let shown = place.and_then(|place| Some((place, self.sources.get(place.source)?)));
        let mut group = Group::with_title(level.clone().primary_title(diagnostic.message.as_str()));
        let line = shown.map(|(place, source)| self.line_of(source, place));
        if let (Some((place, source)), Some(line)) = (shown, &line) {
            let at = source.line_column(place.bytes.start);
            group = match line {
                None => group.element(Origin::path(source.name()).line(at.line).char_column(at.column)),
                Some((masked, range)) => group.element(
                    Snippet::source(masked.text())
                        .path(source.name())
                        .line_start(at.line)
                        .annotation(AnnotationKind::Primary.span(range.clone()).label(path.as_str())),
                ),
            };
        } else if !path.is_empty() {
            group = group.element(Origin::path(path.as_str()));
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }

    /// The line of a place, masked, and the place in it; `None` when the line is too long to show.
    fn line_of(&self, source: &SourceText, place: &Place) -> Option<(Masked, Range<usize>)> {
        let text = source.text();
        let bytes = source.clamp(place.bytes.clone());
        let start = text.get(..bytes.start)?.rfind('\n').map_or(0, |at| at + 1);
        let length = text.get(start..)?.find(['\n', '\r']).unwrap_or(text.len() - start);
        if length > LINE_BYTES_MAX {
            return None;
        }
        let end = start + length;
        let secrets: Vec<Range<usize>> = self
            .secrets
            .iter()
            .filter(|secret| self.sources.get(secret.source).is_some_and(|of| std::ptr::eq(of, source)))
            .map(|secret| secret.bytes.clone())
            .collect();
        let masked = Masked::lines(source, start..end, &secrets, bytes.start);
        let range =
            masked.translate(bytes.start.min(end) - start..bytes.end.min(end).max(bytes.start.min(end)) - start);
        Some((masked, range))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(Style::Plain).trim_end())
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries()).finish()
    }
}

impl std::error::Error for Report {}
