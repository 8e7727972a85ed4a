//! The tokens of JSON (RFC 8259), each a function from where it begins to where it ends.
//!
//! `Ok` is the offset behind the token, `Err` the offset of the byte that does not belong. The functions take offsets and
//! give offsets, so that a loop over them keeps its place in a register.

use super::names;
use super::text;

/// Where a token ends, or where it goes wrong.
pub(super) type End = Result<usize, usize>;

/// Passes white space: the offset of the next byte that is none.
#[inline(always)]
pub(super) fn space(body: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = body.get(at) {
        at += 1;
    }
    at
}

/// Passes one byte that must be this one.
#[inline(always)]
pub(super) fn byte(body: &[u8], at: usize, expected: u8) -> End {
    if body.get(at) == Some(&expected) { Ok(at + 1) } else { Err(at) }
}

/// Passes the colon behind a name.
#[inline(always)]
pub(super) fn colon(body: &[u8], at: usize) -> End {
    byte(body, at, b':').or_else(|at| byte(body, space(body, at), b':'))
}

/// Passes `true`, `false` or `null`.
#[inline(always)]
pub(super) fn literal(body: &[u8], at: usize, word: &[u8]) -> End {
    let end = at + word.len();
    if body.get(at..end) == Some(word) { Ok(end) } else { Err(at) }
}

/// Passes a number.
#[inline(always)]
pub(super) fn number(body: &[u8], mut at: usize) -> End {
    if body.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match body.get(at) {
        Some(b'0') => at + 1,
        _ => digits(body, at)?,
    };
    if body.get(at) == Some(&b'.') {
        at = digits(body, at + 1)?;
    }
    if let Some(b'e' | b'E') = body.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = body.get(at) {
            at += 1;
        }
        at = digits(body, at)?;
    }
    Ok(at)
}

/// Passes one digit or more.
#[inline(always)]
fn digits(body: &[u8], start: usize) -> End {
    let mut at = start;
    while let Some(b'0'..=b'9') = body.get(at) {
        at += 1;
    }
    if at == start { Err(at) } else { Ok(at) }
}

/// Passes a string whose opening quote stands at `start`; also says whether it holds escapes.
///
/// `paired` refuses half of a surrogate pair.
#[inline(always)]
pub(super) fn string(body: &[u8], start: usize, paired: bool) -> Result<(usize, bool), usize> {
    let end = text::plain_end(body, start + 1);
    if body.get(end) == Some(&b'"') {
        return Ok((end + 1, false));
    }
    string_with_escapes(body, end, paired).map(|end| (end, true))
}

#[inline(never)]
fn string_with_escapes(body: &[u8], mut at: usize, paired: bool) -> End {
    while body.get(at) == Some(&b'\\') {
        at = match body.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at + 2,
            _ => match text::escape(body, at) {
                Some(escape) if !(paired && escape.is_lone_surrogate()) => at + escape.length,
                _ => return Err(at),
            },
        };
        at = text::plain_end(body, at);
    }
    byte(body, at, b'"')
}

/// Passes a string of at most seven plain bytes: it lies in one machine word, together with the quote that ends it.
///
/// Gives the offset behind it, and its tag. `None` is not a verdict, the string may be of any other kind.
#[inline(always)]
pub(super) fn short_name(body: &[u8], start: usize) -> Option<(usize, u32)> {
    if body.get(start) != Some(&b'"') {
        return None;
    }
    let word = text::word(body, start + 1)?;
    let stops = text::stops(word);
    let length = (stops.trailing_zeros() / 8) as usize;
    let end = start + 1 + length;
    if stops == 0 || body.get(end) != Some(&b'"') {
        return None;
    }
    Some((end + 1, names::tag_of_word(word & !(u64::MAX << (8 * length)), length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_grammar() {
        for good in ["0", "-0", "1", "10", "-12.5", "0.0", "1e5", "1E+05", "1.5e-300", "123456789012345678901234567890"]
        {
            assert_eq!(number(good.as_bytes(), 0), Ok(good.len()), "{good}");
        }
        for (bad, at) in
            [("", 0), ("-", 1), (".5", 0), ("1.", 2), ("1.e5", 2), ("1e", 2), ("1e+", 3), ("+1", 0), ("-a", 1)]
        {
            assert_eq!(number(bad.as_bytes(), 0), Err(at), "{bad}");
        }
        // What follows is for the caller to refuse.
        assert_eq!(number(b"012", 0), Ok(1));
        assert_eq!(number(b"1.2.3", 0), Ok(3));
    }

    #[test]
    fn strings_end_where_they_end() {
        for (json, escaped) in [(r#""""#, false), (r#""plain""#, false), (r#""a\"b""#, true), (r#""\\""#, true)] {
            let body = format!("{json} behind");
            assert_eq!(string(body.as_bytes(), 0, true), Ok((json.len(), escaped)), "{json}");
        }
        for bad in ["\"", "\"open", "\"line\nbreak\"", "\"\\", "\"\\\"", "\"\\x\"", "\"\\u00\"", "\"nul\0\""] {
            assert!(string(bad.as_bytes(), 0, true).is_err(), "{bad:?}");
        }
        assert!(string(br#""\ud800""#, 0, true).is_err());
        assert_eq!(string(br#""\ud800""#, 0, false), Ok((8, true)));
    }

    #[test]
    fn a_name_in_one_word_has_the_tag_of_any_other_name() {
        for text in ["", "a", "seven77"] {
            let body = format!("\"{text}\":1        ");
            assert_eq!(short_name(body.as_bytes(), 0), Some((text.len() + 2, names::tag(text.as_bytes()))), "{text}");
        }
        for other in ["\"eight888\":1", "\"es\\u0061\":1  ", "\"a\":1", "name", "\"a\nb\":1   ", ""] {
            assert_eq!(short_name(other.as_bytes(), 0), None, "{other}");
        }
    }
}
