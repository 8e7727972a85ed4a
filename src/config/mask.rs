//! Lines of a configuration, fit to be shown: secrets written into them are masked.
//!
//! Where the structure of the text is known, the places of its secrets are. Where it is not (the text is malformed, or a
//! key is misspelt), words that secrets go by are looked for. A mask has a fixed length, so it does not tell how long the
//! secret is; only before the place that is pointed at, on the same line, it keeps the width, so that columns stay true.

use super::text::SourceText;
use super::values::MASK;
use std::ops::Range;

/// Parts of words that secrets go by, in lower case without `_` and `-`.
const SENSITIVE: [&str; 9] =
    ["secret", "token", "tokn", "password", "passwd", "authorization", "apikey", "cookie", "credential"];

/// Keys of maps whose every value is a secret.
const SENSITIVE_MAPS: [&str; 4] = ["headers", "header", "env", "environment"];

/// A text with its secrets masked.
pub(super) struct Masked {
    text: String,
    /// The masked ranges of the original, in order, each with where its mask is.
    masks: Vec<(Range<usize>, Range<usize>)>,
}

impl Masked {
    /// Masks a line of a text (`lines`, in bytes), given the places of its known secrets. Text before `anchor` keeps its
    /// columns.
    pub fn lines(source: &SourceText, lines: Range<usize>, known: &[Range<usize>], anchor: usize) -> Masked {
        let whole = source.text();
        let mut hidden: Vec<Range<usize>> = known
            .iter()
            .map(|range| source.clamp(range.clone()))
            .filter(|range| range.start < lines.end && lines.start < range.end)
            .filter(|range| !is_reference(whole.get(range.clone()).unwrap_or_default()))
            .collect();
        let text = whole.get(lines.clone()).unwrap_or_default();
        hidden.extend(guesses(text).into_iter().map(|range| range.start + lines.start..range.end + lines.start));
        if in_sensitive_block(whole.get(..lines.start).unwrap_or_default(), text) {
            hidden.extend(value_of_line(text).map(|range| range.start + lines.start..range.end + lines.start));
        }
        Masked::with(whole, lines, hidden, anchor)
    }

    fn with(whole: &str, lines: Range<usize>, mut hidden: Vec<Range<usize>>, anchor: usize) -> Masked {
        hidden.sort_by_key(|range| (range.start, range.end));
        let mut merged: Vec<Range<usize>> = Vec::new();
        for range in hidden {
            let range = range.start.max(lines.start)..range.end.min(lines.end);
            match merged.last_mut() {
                _ if range.is_empty() => {}
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        let mut text = String::new();
        let mut masks = Vec::with_capacity(merged.len());
        let mut at = lines.start;
        for range in merged {
            text.push_str(whole.get(at..range.start).unwrap_or_default());
            let start = text.len();
            if range.end <= anchor {
                let width = whole.get(range.clone()).unwrap_or_default().chars().count();
                text.extend(std::iter::repeat_n('*', width));
            } else {
                text.push_str(MASK);
            }
            at = range.end;
            masks.push((range.start - lines.start..range.end - lines.start, start..text.len()));
        }
        text.push_str(whole.get(at..lines.end).unwrap_or_default());
        Masked { text, masks }
    }

    /// The text to show.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where a range of the original lines is in the shown text; it grows to hold every mask it touches.
    pub fn translate(&self, range: Range<usize>) -> Range<usize> {
        let start = self.offset(range.start, false);
        let end = self.offset(range.end, true);
        start..end.max(start)
    }

    fn offset(&self, at: usize, is_end: bool) -> usize {
        let mut shown = at;
        for (range, mask) in &self.masks {
            if at >= range.end {
                shown = mask.end + (at - range.end);
            } else if at > range.start {
                return if is_end { mask.end } else { mask.start };
            } else if at == range.start {
                return mask.start;
            } else {
                break;
            }
        }
        shown.min(self.text.len())
    }
}

/// Whether a value only refers to a secret: that may be shown, unless it holds a default.
fn is_reference(value: &str) -> bool {
    let value = value.trim().trim_matches(['"', '\'']);
    value.starts_with("${") && value.ends_with('}') && value.matches('}').count() == 1 && !value.contains(":-")
}

/// The ranges of a text that look like secrets.
fn guesses(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        for (colon, _) in content.match_indices([':', '=']) {
            let before = content.get(..colon).unwrap_or_default();
            let word = before.trim_end().trim_end_matches(['"', '\'']);
            let word_start =
                word.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').map_or(0, |at| at + 1);
            let Some(value) = value_after(content, colon + 1) else { continue };
            let shown = content.get(value.clone()).unwrap_or_default();
            let word = word.get(word_start..).unwrap_or_default();
            let opens_map = shown.starts_with('{') && SENSITIVE_MAPS.contains(&word.to_ascii_lowercase().as_str());
            if (is_sensitive(word) || opens_map) && !is_reference(shown) {
                found.push(start + value.start..start + value.end);
            }
        }
        found.extend(url_secrets(content).into_iter().map(|range| start + range.start..start + range.end));
        start += line.len();
    }
    found
}

fn is_sensitive(word: &str) -> bool {
    let word: String =
        word.chars().filter(|c| !matches!(c, '_' | '-')).take(100).map(|c| c.to_ascii_lowercase()).collect();
    SENSITIVE.iter().any(|part| word.contains(part))
}

/// The scalar that follows a colon: to its closing quote, to what ends it in a `{…}` or `[…]` that opened before it, or to
/// the end of the line.
fn value_after(line: &str, at: usize) -> Option<Range<usize>> {
    let rest = line.get(at..)?;
    let start = at + (rest.len() - rest.trim_start().len());
    let value = line.get(start..)?;
    let quote = value.chars().next()?;
    let length = match quote {
        '"' | '\'' => value.get(1..)?.find(quote).map_or(value.len(), |end| end + 2),
        '{' | '[' => value.len(),
        _ if line.get(..at)?.contains(['{', '[']) => {
            let end = value.find([',', '}', ']']).unwrap_or(value.len());
            value.get(..end)?.trim_end().len()
        }
        _ => value.len(),
    };
    Some(start..start + length)
}

/// The value of a line of the form `key: value`, or all of it.
fn value_of_line(text: &str) -> Option<Range<usize>> {
    let line = text.lines().next()?.trim_end();
    let value = line.find(": ").or_else(|| line.find(":\"")).and_then(|colon| value_after(line, colon + 1));
    let range = value.unwrap_or(line.len() - line.trim_start().len()..line.len());
    let shown = line.get(range.clone())?;
    (!shown.is_empty() && !is_reference(shown)).then_some(range)
}

/// Whether a line stands inside a block under a key whose values are secrets, told by its indentation.
fn in_sensitive_block(before: &str, line: &str) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut inner = indent(line);
    // Text further up than this belongs to something else.
    for above in before.lines().rev().take(200) {
        let trimmed = above.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') || indent(above) >= inner {
            continue;
        }
        inner = indent(above);
        let opens = trimmed.trim_end_matches(['{', '|', '>', '-', '+', ' ']);
        if let Some(key) = opens.strip_suffix(':') {
            let key = key.trim_start_matches(['-', ' ']).trim_matches(['"', '\'']).to_ascii_lowercase();
            if SENSITIVE_MAPS.contains(&key.as_str()) || is_sensitive(&key) {
                return true;
            }
        }
        if inner == 0 {
            return false;
        }
    }
    false
}

/// User info and queries of URLs.
fn url_secrets(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (scheme, mark) in line.match_indices("://") {
        let start = scheme + mark.len();
        let rest = line.get(start..).unwrap_or_default();
        let length =
            rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '>' | ',' | '}')).unwrap_or(rest.len());
        let url = rest.get(..length).unwrap_or_default();
        let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
        if let Some(at) = url.get(..authority).and_then(|authority| authority.rfind('@')) {
            found.push(start..start + at);
        }
        if let Some(query) = url.find('?').filter(|query| query + 1 < url.len()) {
            found.push(start + query + 1..start + url.len());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The last line of a text, masked by guessing.
    fn shown(text: &str) -> String {
        let source = SourceText::new("x", text);
        let start = text.trim_end_matches('\n').rfind('\n').map_or(0, |at| at + 1);
        Masked::lines(&source, start..text.len(), &[], start).text().to_owned()
    }

    #[test]
    fn words_that_secrets_go_by_hide_their_values() {
        assert_eq!(shown("token: hunter2"), "token: ********");
        assert_eq!(shown("  - { id: k1, secret: \"hunter2\", x: 1 }"), "  - { id: k1, secret: ********, x: 1 }");
        assert_eq!(
            shown("[{ secret: hunter2, id: a }, { secret: hunter2 }]"),
            "[{ secret: ********, id: a }, { secret: ******** }]"
        );
        assert_eq!(shown("tokn: hunter2"), "tokn: ********");
        assert_eq!(shown("\"Authorization\": \"Bearer hunter2\","), "\"Authorization\": ********,");
        assert_eq!(shown("X-API-Key: hunter2"), "X-API-Key: ********");
        assert_eq!(shown("headers: { x: hunter2 }"), "headers: ********");
        assert_eq!(shown("url: http://me:hunter2@host/mcp?k=hunter2"), "url: http://********@host/mcp?********");
    }

    #[test]
    fn blocks_of_secrets_are_hidden() {
        assert_eq!(shown("headers:\n  x-thing: hunter2"), "  x-thing: ********");
        assert_eq!(shown("a:\n  secret: |\n    hunter2"), "    ********");
        assert_eq!(shown("headers:\n  x-thing: y\nurl: z"), "url: z");
        assert_eq!(shown("      \"env\": {\n        \"A\": \"hunter2\""), "        \"A\": ********");
    }

    #[test]
    fn other_values_and_references_stay() {
        assert_eq!(shown("address: 127.0.0.1:8080"), "address: 127.0.0.1:8080");
        assert_eq!(shown("token: ${env:TOKEN}"), "token: ${env:TOKEN}");
        assert_eq!(shown("token: ${env:TOKEN:-hunter2}"), "token: ********");
        assert_eq!(shown("key: ./key.pem"), "key: ./key.pem");
    }

    #[test]
    fn known_places_are_hidden_whatever_they_are_called() {
        let source = SourceText::new("x", "a: hunter2, b: 3\n");
        let secret = 3..10;
        let masked = Masked::lines(&source, 0..17, &[secret], 0);
        assert_eq!(masked.text(), "a: ********, b: 3\n");
        assert_eq!(masked.translate(12..13), 13..14);
        assert_eq!(masked.translate(0..1), 0..1);
        assert_eq!(masked.translate(3..10), 3..11);
        assert_eq!(masked.translate(5..6), 3..11);
        assert_eq!(masked.translate(15..16), 16..17);
    }

    #[test]
    fn columns_before_the_anchor_stay_true() {
        let source = SourceText::new("x", "{ secret: \"é2\", id: 3 }");
        let masked = Masked::lines(&source, 0..24, &[], 21);
        assert_eq!(masked.text(), "{ secret: ****, id: 3 }");
    }

    proptest! {
        #[test]
        fn any_text_can_be_masked(text in "(secret|token|:|=| |\"|é|http://|@|\\?|\n|x|\\{){0,30}", a in 0usize..40, b in 0usize..40) {
            let source = SourceText::new("x", text.clone());
            let masked = Masked::lines(&source, 0..text.len(), &[source.clamp(a..b)], b);
            let range = masked.translate(source.clamp(a..a + b));
            prop_assert!(masked.text().get(range).is_some());
        }
    }
}
