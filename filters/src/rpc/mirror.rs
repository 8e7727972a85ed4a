//! Header mirrors of MCP 2026-07-28: values of `Mcp-Name` and `Mcp-Param-*`, and whether they say what the body says.
//!
//! A value stands plain, or as `=?base64?…?=` where it could not travel in a header as it is (Streamable HTTP, "Value
//! Encoding"). Whoever routes on the header and whoever executes the body must read the same, so decoding is strict.

use super::scan::{Form, Value};
use super::token;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// The largest integer that a mirrored argument may be, and with the sign turned the smallest: 2^53 - 1.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Why a header value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A character that no header value may hold: anything but visible ASCII, space and tab.
    #[error("has characters outside visible ASCII")]
    Characters,
    /// The base64 is broken: alphabet, padding, or bits that are left over.
    #[error("is not valid base64")]
    Base64,
    /// The base64 stands for something that is not UTF-8.
    #[error("is not base64 of UTF-8")]
    Utf8,
}

/// What a header value stands for. White space around it does not count.
///
/// # Errors
///
/// [`Unreadable`], for which MCP wants `-32020`.
pub fn decode(value: &str) -> Result<Cow<'_, str>, Unreadable> {
    let value = value.trim_matches([' ', '\t']);
    if !value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(Unreadable::Characters);
    }
    match sentinel(value) {
        None => Ok(Cow::Borrowed(value)),
        Some(coded) => {
            let bytes = STANDARD.decode(coded).map_err(|_| Unreadable::Base64)?;
            String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Unreadable::Utf8)
        }
    }
}

/// The header value that stands for this text.
pub fn encode(text: &str) -> Cow<'_, str> {
    let travels = text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim_matches(' ').len() == text.len()
        && sentinel(text).is_none();
    if travels { Cow::Borrowed(text) } else { Cow::Owned(format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(text))) }
}

/// What stands between the marks of the base64 form. The marks are case-sensitive.
fn sentinel(value: &str) -> Option<&str> {
    value.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)
}

/// Whether a decoded header value says what this JSON value of `body` says.
///
/// Strings must be equal, booleans be spelt alike, integers have the same value (`42.0` is `42`) within
/// [`MAX_INTEGER`]. Nothing else can be mirrored.
pub fn agrees(decoded: &str, value: &Value, body: &[u8]) -> bool {
    let bytes = value.span.of(body);
    match value.form {
        Form::String { .. } => value.text(body).is_some_and(|text| text == decoded),
        Form::Bool => decoded.as_bytes() == bytes,
        Form::Number => integer(bytes).is_some_and(|number| integer(decoded.as_bytes()) == Some(number)),
        Form::Null | Form::Array | Form::Object => false,
    }
}

/// The exact value of a JSON number, if it is an integer within [`MAX_INTEGER`], however it is written.
pub fn integer(number: &[u8]) -> Option<i64> {
    if token::number(number, 0) != Ok(number.len()) {
        return None;
    }
    let (negative, number) = match number.strip_prefix(b"-") {
        Some(number) => (true, number),
        None => (false, number),
    };
    let exponent_at = number.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = match exponent_at {
        Some(at) => (&number[..at], exponent(&number[at + 1..])),
        None => (number, 0),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let fraction = point.map_or(0, |point| mantissa.len() - point - 1);

    // Zeroes are held back until a digit follows them, so that those at the end never make the number large.
    let mut digits: i64 = 0;
    let mut zeroes: i64 = 0;
    for digit in mantissa.iter().filter(|byte| **byte != b'.').map(|byte| (byte - b'0') as i64) {
        if digit == 0 {
            zeroes += i64::from(digits != 0);
        } else {
            digits = shifted(digits, zeroes + 1)?.checked_add(digit)?;
            zeroes = 0;
        }
    }
    let value = shifted(digits, exponent.saturating_add(zeroes).saturating_sub(fraction as i64))?;
    (value <= MAX_INTEGER).then_some(if negative { -value } else { value })
}

/// This many tens; `None` when that is no integer, or larger than any that is wanted.
fn shifted(digits: i64, tens: i64) -> Option<i64> {
    if digits == 0 {
        return Some(0);
    }
    digits.checked_mul(10_i64.checked_pow(u32::try_from(tens).ok()?)?)
}

/// A signed exponent; beyond the range of any use it stays at the end of the range.
fn exponent(text: &[u8]) -> i64 {
    let (sign, digits) = match text.split_first() {
        Some((b'-', digits)) => (-1, digits),
        Some((b'+', digits)) => (1, digits),
        _ => (1, text),
    };
    let size = digits.iter().fold(0_i64, |size, byte| size.saturating_mul(10).saturating_add((byte - b'0') as i64));
    sign * size
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::members::items;
    use proptest::prelude::*;

    #[test]
    fn the_specifications_examples() {
        for (text, header) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", ""),
            ("a b", "a b"),
        ] {
            assert_eq!(encode(text), header);
            assert_eq!(decode(header).unwrap(), text);
        }
    }

    #[test]
    fn only_the_exact_marks_make_base64() {
        for plain in ["=?BASE64?SGVsbG8=?=", "=?base64?SGVsbG8=", "SGVsbG8=?=", "=?base64?=", "=?base64", "?="] {
            assert_eq!(decode(plain).unwrap(), plain);
        }
        assert_eq!(decode("=?base64??=").unwrap(), "");
        assert_eq!(decode(" \t=?base64?SGVsbG8=?= ").unwrap(), "Hello");
        assert_eq!(decode("\ta\tb ").unwrap(), "a\tb");
    }

    #[test]
    fn broken_values_are_refused() {
        for coded in
            ["SGVsbG8", "SGVs!!!bG8=", "SGVsbG8==", "SGVsbG9=", "SGVs bG8=", "-_8=", "SGVsbG8=SGVsbG8=", "=", "A"]
        {
            assert_eq!(decode(&format!("=?base64?{coded}?=")), Err(Unreadable::Base64), "{coded}");
        }
        assert_eq!(decode("=?base64?/w==?="), Err(Unreadable::Utf8));
        for text in ["é", "a\u{7f}", "a\nb", "a\0b", "=?base64?é?="] {
            assert_eq!(decode(text), Err(Unreadable::Characters), "{text:?}");
        }
    }

    #[test]
    fn integers_are_read_by_value() {
        for (text, value) in [
            ("42", 42),
            ("42.0", 42),
            ("42.000", 42),
            ("4.2e1", 42),
            ("420E-1", 42),
            ("0.42e+2", 42),
            ("-42", -42),
            ("0", 0),
            ("-0", 0),
            ("0.0e999999999999999999999", 0),
            ("9007199254740991", MAX_INTEGER),
            ("-9007199254740991", -MAX_INTEGER),
            ("9.007199254740991e15", MAX_INTEGER),
            ("90071992547409910000000000000000000e-19", MAX_INTEGER),
        ] {
            assert_eq!(integer(text.as_bytes()), Some(value), "{text}");
        }
        let long = format!("1{}e-{}", "0".repeat(5000), 5000);
        assert_eq!(integer(long.as_bytes()), Some(1));
        for text in [
            "",
            "a",
            "+1",
            "01",
            "1.",
            ".5",
            " 1",
            "1 ",
            "0x1",
            "1.5",
            "1e-1",
            "42.00000000000000000000000000001",
            "9007199254740992",
            "-9007199254740992",
            "9007199254740990.9999999999",
            "1e16",
            "1e999999999999999999999",
            "1e-999999999999999999999",
            "123456789012345678901234567890",
            "1_000",
            "NaN",
            "true",
        ] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_mirror_agrees_with_what_it_mirrors() {
        let body = r#"["us\u002dwest",42,4.2e1,true,false,null,[1],{},9007199254740992,1.5,""]"#.as_bytes();
        let values: Vec<Value> = items(body).collect();
        let agreeing = |header: &str| -> Vec<usize> {
            (0..values.len()).filter(|&index| agrees(header, &values[index], body)).collect()
        };
        assert_eq!(agreeing("us-west"), [0]);
        assert_eq!(agreeing("42"), [1, 2]);
        assert_eq!(agreeing("42.0"), [1, 2]);
        assert_eq!(agreeing("true"), [3]);
        assert_eq!(agreeing("false"), [4]);
        assert_eq!(agreeing(""), [10]);
        for header in ["True", "null", "[1]", "{}", "9007199254740992", "1.5", "042", "US-WEST"] {
            assert!(agreeing(header).is_empty(), "{header}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in prop_oneof![any::<String>(), "[ -~\t]{0,20}", "=\\?base64\\?[ -~]{0,8}\\?="]) {
            let header = encode(&text);
            prop_assert!(http::HeaderValue::from_str(&header).is_ok());
            prop_assert_eq!(header.trim(), &*header);
            prop_assert_eq!(decode(&header).unwrap(), text.as_str());
        }

        #[test]
        fn any_header_is_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = http::HeaderValue::from_bytes(&bytes) && let Ok(text) = value.to_str() {
                let _ = decode(text);
            }
            let _ = integer(&bytes);
        }

        #[test]
        fn integers_survive_any_spelling(value in -MAX_INTEGER..=MAX_INTEGER, zeroes in 0usize..30) {
            let spelt = [
                value.to_string(),
                format!("{value}.{}", "0".repeat(zeroes + 1)),
                format!("{value}{}e-{zeroes}", "0".repeat(zeroes)),
                format!("{value}.0E+0"),
            ];
            for text in spelt {
                prop_assert_eq!(integer(text.as_bytes()), Some(value), "{}", text);
            }
        }
    }
}
