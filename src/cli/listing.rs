//! Rows of cells: a table for people, tab-separated lines for programs.

use crate::config::Style;
use comfy_table::{ContentArrangement, Table, presets};

/// What stands where nothing is known.
pub(super) const NOTHING: &str = "-";

/// Writes rows; the header is for people only. Cells come from servers too: control characters become spaces, so that
/// they can neither break a line nor speak to a terminal.
pub(super) fn rows<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    style: Style,
) -> String {
    let rows = rows.into_iter().map(|row| row.map(|cell| harmless(&cell)));
    match style {
        Style::Plain => rows.map(|row| row.join("\t") + "\n").collect(),
        Style::Coloured => {
            let mut table = Table::new();
            table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header);
            // In a narrow terminal cells get several lines, not the table's borders.
            table.set_content_arrangement(ContentArrangement::Dynamic);
            rows.for_each(|row| {
                table.add_row(row);
            });
            table.to_string()
        }
    }
}

/// A text on one line, in characters that do nothing but show.
pub(super) fn harmless(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Words with commas between them, or the mark for none.
pub(super) fn list<T: AsRef<str>>(words: &[T]) -> String {
    if words.is_empty() {
        return NOTHING.to_owned();
    }
    words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// A number, or the mark for none.
pub(super) fn count(number: Option<usize>) -> String {
    number.map_or_else(|| NOTHING.to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_lines_and_people_a_table() {
        let cells = || [["a".to_owned(), "b\tc\u{1b}[31m\nd".to_owned()]];
        assert_eq!(rows(["x", "y"], cells(), Style::Plain), "a\tb c [31m d\n");
        let table = rows(["x", "y"], cells(), Style::Coloured);
        assert!(table.contains("x") && !table.contains('\u{1b}'), "{table}");
        assert_eq!(
            (list::<&str>(&[]), list(&["a", "b"]), count(Some(3)), count(None)),
            ("-".into(), "a, b".into(), "3".into(), "-".into())
        );
    }
}
