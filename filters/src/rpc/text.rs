//! The inside of JSON strings: where a plain run ends, which escapes are legal, what they stand for.
//!
//! Strings are most of what an MCP body is made of, so a plain run is crossed 32 bytes at a time; the loop is written so
//! that the compiler turns it into vector instructions without any unsafe code here.

use std::borrow::Cow;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Flags the high bit of each byte that cannot be part of a plain run: `"`, `\` and control characters.
///
/// Only the lowest flag is exact: a borrow may set flags above it.
#[inline(always)]
pub(super) fn stops(word: u64) -> u64 {
    // Flipping bit 1 swaps `"` (0x22) with the space (0x20) and maps the control characters onto themselves, so that one
    // comparison with 0x21 finds both.
    let folded = word ^ (ONES * 2);
    let below = folded.wrapping_sub(ONES * 0x21) & !folded;
    let slash = word ^ (ONES * b'\\' as u64);
    let slash = slash.wrapping_sub(ONES) & !slash;
    (below | slash) & HIGHS
}

/// The eight bytes at `at`, little endian; `None` when fewer are left.
#[inline(always)]
pub(super) fn word(body: &[u8], at: usize) -> Option<u64> {
    body.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

#[inline(always)]
fn stops_byte(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

#[inline(always)]
fn stops_within(chunk: &[u8; 32]) -> bool {
    chunk.iter().fold(false, |stop, &byte| stop | ((byte ^ 2) < 0x21) | (byte == b'\\'))
}

/// Where the plain run that begins at `from` ends: at a `"`, a `\`, a control character, or the end of the body.
#[inline(always)]
pub(super) fn plain_end(body: &[u8], from: usize) -> usize {
    // Most names and values end within the first word; what is longer is worth a call.
    match word(body, from).map(stops) {
        Some(0) => plain_end_wide(body, from + 8),
        Some(found) => from + (found.trailing_zeros() / 8) as usize,
        None => plain_end_bytewise(body, from),
    }
}

#[inline(never)]
fn plain_end_wide(body: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(chunk) = body.get(at..).and_then(|rest| rest.first_chunk::<32>()) {
        if stops_within(chunk) {
            break;
        }
        at += 32;
    }
    loop {
        match word(body, at).map(stops) {
            Some(0) => at += 8,
            Some(found) => return at + (found.trailing_zeros() / 8) as usize,
            None => return plain_end_bytewise(body, at),
        }
    }
}

#[inline(never)]
fn plain_end_bytewise(body: &[u8], from: usize) -> usize {
    let rest = body.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| stops_byte(byte)).unwrap_or(rest.len())
}

/// One escape sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Escape {
    /// What it stands for: a Unicode scalar value, or a surrogate that has no partner.
    pub code: u32,
    /// How many bytes it takes, the backslash included.
    pub length: usize,
}

impl Escape {
    /// Whether this is half of a surrogate pair without the other half.
    pub(super) fn is_lone_surrogate(self) -> bool {
        (0xD800..0xE000).contains(&self.code)
    }
}

/// Reads the escape whose backslash stands at `at`; `None` when RFC 8259 knows no such escape.
pub(super) fn escape(body: &[u8], at: usize) -> Option<Escape> {
    let code = match body.get(at + 1)? {
        b'"' => 0x22,
        b'\\' => 0x5C,
        b'/' => 0x2F,
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => 0x0A,
        b'r' => 0x0D,
        b't' => 0x09,
        b'u' => return unicode_escape(body, at),
        _ => return None,
    };
    Some(Escape { code, length: 2 })
}

fn unicode_escape(body: &[u8], at: usize) -> Option<Escape> {
    let first = hex4(body, at + 2)?;
    if (0xD800..0xDC00).contains(&first)
        && body.get(at + 6..at + 8) == Some(br"\u")
        && let Some(second) = hex4(body, at + 8)
        && (0xDC00..0xE000).contains(&second)
    {
        return Some(Escape { code: 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00), length: 12 });
    }
    Some(Escape { code: first, length: 6 })
}

fn hex4(body: &[u8], at: usize) -> Option<u32> {
    body.get(at..at + 4)?.iter().try_fold(0, |code, &digit| Some(code << 4 | (digit as char).to_digit(16)?))
}

/// Appends what the inside of a string stands for; `None` when an escape is not legal.
///
/// A surrogate without its partner is written as the three bytes that UTF-8 forbids for it, so names that hold different
/// ones stay different, and so that the result is no UTF-8.
pub(super) fn decode_into(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut at = 0;
    while at < raw.len() {
        match memchr::memchr(b'\\', &raw[at..]) {
            None => {
                out.extend_from_slice(&raw[at..]);
                break;
            }
            Some(plain) => {
                out.extend_from_slice(&raw[at..at + plain]);
                let escape = escape(raw, at + plain)?;
                push(escape.code, out);
                at += plain + escape.length;
            }
        }
    }
    Some(())
}

fn push(code: u32, out: &mut Vec<u8>) {
    match char::from_u32(code) {
        Some(decoded) => out.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend_from_slice(&[0xED, 0x80 | (code >> 6 & 0x3F) as u8, 0x80 | (code & 0x3F) as u8]),
    }
}

/// What the inside of a string stands for; `None` when it is no Unicode text.
pub(super) fn decode(raw: &[u8], escaped: bool) -> Option<Cow<'_, str>> {
    if !escaped {
        return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    let mut out = Vec::with_capacity(raw.len());
    decode_into(raw, &mut out)?;
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_byte_is_judged_alike_at_every_place_of_a_word() {
        for byte in 0..=255u8 {
            for place in 0..8 {
                let mut bytes = [b'a'; 8];
                bytes[place] = byte;
                let found = stops(u64::from_le_bytes(bytes));
                let first = (found != 0).then(|| found.trailing_zeros() as usize / 8);
                assert_eq!(first, stops_byte(byte).then_some(place), "byte {byte:#x} at {place}");
                let mut chunk = [b'a'; 32];
                chunk[place * 4 + 3] = byte;
                assert_eq!(stops_within(&chunk), stops_byte(byte), "byte {byte:#x} in a chunk");
            }
        }
    }

    #[test]
    fn escapes_decode() {
        let decoded = |raw: &str| decode(raw.as_bytes(), true).map(Cow::into_owned);
        assert_eq!(decoded(r#"\"\\\/\b\f\n\r\t"#).unwrap(), "\"\\/\u{8}\u{c}\n\r\t");
        assert_eq!(decoded(r"a\u00e9\u4E16\ud83d\ude00b").unwrap(), "aé世😀b");
        for bad in [r"\x", r"\u12", r"\u12g4", r"\u+123", "\\", r"\ud83d", r"\ude00", r"\ud83d\n", r"\ud83d\ud83d"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }

    #[test]
    fn lone_surrogates_stay_apart() {
        let bytes = |raw: &[u8]| {
            let mut out = Vec::new();
            decode_into(raw, &mut out).unwrap();
            out
        };
        assert_ne!(bytes(br"\ud800"), bytes(br"\ud801"));
        assert_eq!(bytes(br"\uD83Dx"), [0xED, 0xA0, 0xBD, b'x']);
    }

    proptest! {
        #[test]
        fn the_end_of_a_run_is_where_a_plain_search_finds_it(
            mut body in proptest::collection::vec(0x20u8..0x7f, 0..200),
            marks in proptest::collection::vec((0usize..200, prop::sample::select(vec![b'"', b'\\', 0x1f, 0x00, b'\n', 0x80, 0xff])), 0..3),
            from in 0usize..200,
        ) {
            for (at, mark) in marks {
                if let Some(byte) = body.get_mut(at) {
                    *byte = mark;
                }
            }
            prop_assume!(from <= body.len());
            prop_assert_eq!(plain_end(&body, from), plain_end_bytewise(&body, from));
        }

        #[test]
        fn what_serde_json_writes_is_read_back(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let inside = &json.as_bytes()[1..json.len() - 1];
            prop_assert_eq!(decode(inside, true).unwrap(), text);
        }
    }
}
