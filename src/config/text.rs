//! The text that a configuration was read from, and places in it.

use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// A text with the name that its reader knows it by: a file, or the command line.
#[derive(Clone)]
pub struct SourceText {
    name: String,
    text: String,
    /// Where each line starts, in bytes.
    lines: Vec<usize>,
}

/// A line and a column, both counted from one; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LineColumn {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// A range of bytes in one of the texts of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the text.
    pub source: usize,
    /// The bytes; they start and end between characters.
    pub bytes: Range<usize>,
}

impl SourceText {
    /// A text and its name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> SourceText {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        SourceText { name: name.into(), text, lines }
    }

    /// The name of the text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text, secrets included: whoever shows it masks it first.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The line and column of a byte; beyond the end, those of the end.
    pub fn line_column(&self, byte: usize) -> LineColumn {
        let byte = byte.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= byte).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let column =
            self.text.get(start..byte).map_or(1, |before| before.chars().filter(|c| *c != '\u{feff}').count() + 1);
        LineColumn { line, column }
    }

    /// The byte at a line and column; the end of the line, or of the text, where they lie beyond it.
    pub fn byte_at(&self, position: LineColumn) -> usize {
        let Some(start) = self.lines.get(position.line.saturating_sub(1)).copied() else {
            return self.text.len();
        };
        let rest = self.text.get(start..).unwrap_or_default();
        let line = rest.split(['\n', '\r']).next().unwrap_or_default();
        let offset = line.char_indices().nth(position.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
        start + offset
    }

    /// The range cut back to the text and to whole characters.
    pub(super) fn clamp(&self, bytes: Range<usize>) -> Range<usize> {
        let floor = |at: usize| self.text.floor_char_boundary(at.min(self.text.len()));
        let start = floor(bytes.start);
        start..floor(bytes.end).max(start)
    }
}

/// Shows the name and the size only: the text may hold secrets.
impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceText").field("name", &self.name).field("bytes", &self.text.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let source = SourceText::new("x", "a: é\r\nbé: 1\n");
        assert_eq!(source.line_column(0), LineColumn { line: 1, column: 1 });
        assert_eq!(source.line_column(7), LineColumn { line: 2, column: 1 });
        assert_eq!(source.line_column(10), LineColumn { line: 2, column: 3 });
        assert_eq!(source.line_column(999), LineColumn { line: 3, column: 1 });
        assert_eq!(source.byte_at(LineColumn { line: 2, column: 3 }), 10);
        assert_eq!(source.byte_at(LineColumn { line: 1, column: 99 }), 5, "the end of the line");
        assert_eq!(source.byte_at(LineColumn { line: 9, column: 1 }), 14, "the end of the text");
    }

    #[test]
    fn a_text_is_not_printed() {
        assert!(!format!("{:?}", SourceText::new("x", "token: hunter2")).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn places_survive_the_way_there_and_back(text in "[aé\u{1f600}\n ]{0,40}", byte in 0usize..80) {
            let source = SourceText::new("x", text.clone());
            let byte = text.floor_char_boundary(byte.min(text.len()));
            prop_assert_eq!(source.byte_at(source.line_column(byte)), byte);
        }

        #[test]
        fn ranges_are_cut_to_characters(text in "\\PC*", start in 0usize..50, length in 0usize..50) {
            let source = SourceText::new("x", text.clone());
            let range = source.clamp(start..start + length);
            prop_assert!(text.get(range).is_some());
        }
    }
}
