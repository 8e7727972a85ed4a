//! A look at the text of a condition before it is parsed: the parser's own bound on depth comes too late for its stack.

use super::compile::{Fault, Position};

/// The longest condition, in bytes.
pub const TEXT_BYTES_MAX: usize = 4 << 10;

/// How many brackets and `? :` may stand within each other.
pub const NESTING_MAX: usize = 8;

/// How many words, numbers, texts and signs a condition may have.
pub const TOKENS_MAX: usize = 600;

/// Refuses what is too long, has too many parts or nests too deeply.
pub fn prescan(text: &str) -> Result<(), Fault> {
    let whole = |what: String| Err(Fault { at: Position::START, what });
    if text.trim().is_empty() {
        return whole("a condition is empty".to_owned());
    }
    if text.len() > TEXT_BYTES_MAX {
        return whole(format!("a condition is longer than {TEXT_BYTES_MAX} bytes"));
    }
    let bytes = text.as_bytes();
    // How many `?` stand within each open bracket, and in all of them.
    let mut open: Vec<usize> = vec![0];
    let (mut depth, mut tokens, mut at) = (0, 0, 0);
    while let Some(byte) = bytes.get(at) {
        let from = at;
        at += 1;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c => continue,
            b'/' if bytes.get(at) == Some(&b'/') => {
                at += memchr::memchr(b'\n', &bytes[at..]).unwrap_or(bytes.len() - at);
                continue;
            }
            b'"' | b'\'' => {
                let raw = matches!(from.checked_sub(1).and_then(|before| bytes.get(before)), Some(b'r' | b'R'));
                at = behind_text(bytes, from, raw);
            }
            b'(' | b'[' | b'{' => {
                open.push(0);
                depth += 1;
            }
            b'?' => {
                if let Some(last) = open.last_mut() {
                    *last += 1;
                }
                depth += 1;
            }
            b')' | b']' | b'}' => {
                let closed = if open.len() > 1 { open.pop().map_or(0, |marks| marks + 1) } else { 0 };
                depth -= closed;
            }
            byte if is_word(*byte) => at += bytes[at..].iter().take_while(|byte| is_word(**byte)).count(),
            _ => {}
        }
        tokens += 1;
        let position = || Position::of(text, text[..from].chars().count());
        if depth > NESTING_MAX {
            return Err(Fault { at: position(), what: format!("this nests more than {NESTING_MAX} deep") });
        }
        if tokens > TOKENS_MAX {
            return Err(Fault { at: position(), what: format!("a condition has more than {TOKENS_MAX} parts") });
        }
    }
    Ok(())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Where the text literal ends that begins here.
fn behind_text(bytes: &[u8], from: usize, raw: bool) -> usize {
    let quote = bytes[from];
    let triple = bytes[from..].starts_with(&[quote; 3]);
    let mut at = from + if triple { 3 } else { 1 };
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if !raw => at += 2,
            byte if *byte == quote && !triple => return at + 1,
            byte if *byte == quote && bytes[at..].starts_with(&[quote; 3]) => return at + 3,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_and_choices_and_nothing_in_texts() {
        for (text, fine) in [
            ("((((((((1))))))))", true),
            ("(((((((((1)))))))))", false),
            ("[[[[[[[[[1]]]]]]]]]", false),
            ("a?b:a?b:a?b:a?b:a?b:a?b:a?b:a?b:c", true),
            ("a?b:a?b:a?b:a?b:a?b:a?b:a?b:a?b:a?b:c", false),
            ("(a?b:c) && (a?b:c) && (a?b:c) && (a?b:c) && (a?b:c) && (a?b:c)", true),
            (r#""(((((((((((" == '[[[[[[[[[[[['"#, true),
            (r#""\"((((((((((" == r'\' && x"#, true),
            (r#"'''((((((' ((((((''' == a"#, true),
            ("true // (((((((((((((((", true),
            ("))))", true),
        ] {
            assert_eq!(prescan(text).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn length_and_number_of_parts_are_bounded() {
        assert!(prescan(&format!("'{}'", "a".repeat(TEXT_BYTES_MAX - 2))).is_ok());
        assert!(prescan(&format!("'{}'", "a".repeat(TEXT_BYTES_MAX - 1))).is_err());
        assert!(prescan(&format!("1{}", "+1".repeat(TOKENS_MAX / 2 - 1))).is_ok());
        assert!(prescan(&format!("1{}", "+1".repeat(TOKENS_MAX / 2))).is_err());
        assert!(prescan(" \n").is_err());
    }
}
