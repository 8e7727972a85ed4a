//! Counting what is in a text.

use schemars::JsonSchema;
use serde::Serialize;

/// Words a minute of an adult who reads silently.
const READING_WORDS_PER_MINUTE: usize = 240;

/// What is in a text.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct TextStats {
    /// Bytes as UTF-8.
    bytes: usize,
    /// Unicode characters.
    characters: usize,
    /// Stretches without white space.
    words: usize,
    /// Lines; an empty text has none.
    lines: usize,
    /// The longest word; the first, if several are as long.
    longest_word: String,
    /// How long reading it takes, in seconds.
    reading_seconds: usize,
}

impl TextStats {
    pub fn of(text: &str) -> TextStats {
        let mut words = 0;
        let (mut longest, mut longest_chars) = ("", 0);
        for word in text.split_whitespace() {
            words += 1;
            let chars = word.chars().count();
            if chars > longest_chars {
                (longest, longest_chars) = (word, chars);
            }
        }
        TextStats {
            bytes: text.len(),
            characters: text.chars().count(),
            words,
            lines: text.lines().count(),
            longest_word: longest.to_owned(),
            reading_seconds: (words * 60).div_ceil(READING_WORDS_PER_MINUTE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_bytes() {
        let stats = TextStats::of("Grüße aus\nKöln heute\n");
        assert_eq!((stats.bytes, stats.characters, stats.words, stats.lines), (24, 21, 4, 2));
        assert_eq!((stats.longest_word.as_str(), stats.reading_seconds), ("Grüße", 1));
        assert_eq!(TextStats::of("").lines, 0);
    }
}
