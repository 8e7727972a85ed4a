//! A token as it came: taken apart and bounded, and not believed yet (RFC 7515, RFC 7519).
//!
//! Header and claims are read strictly: what two JSON parsers could read differently is refused, so whoever issued the token
//! meant what is decided on. Of the header only `alg`, `kid` and `typ` are looked at. Where it says that keys are to be found
//! (`jku`, `jwk`, `x5u`, `x5c`), nobody looks.

use super::algorithm::Algorithm;
use super::fault::TokenFault;
use super::keys::KEY_ID_BYTES_MAX;
use crate::fault::Fault;
use crate::rpc::scan::{Limits, skim};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::fmt;

/// The longest header, decoded, in bytes.
pub const HEADER_BYTES_MAX: usize = 4 * 1024;
/// The longest claims, decoded, in bytes.
pub const CLAIMS_BYTES_MAX: usize = 64 * 1024;
/// How deep header and claims may nest.
pub const DEPTH_MAX: usize = 16;

/// What a bearer token looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Three parts, of which the first is an object in base64url: to be verified with keys.
    Signed,
    /// Five such parts: encrypted, and refused.
    Encrypted,
    /// Anything else: only its issuer knows what it means (RFC 7662).
    Opaque,
}

impl Shape {
    /// The shape of a token, by its form alone.
    pub fn of(token: &str) -> Shape {
        // `{` and whatever follows it: six bits of the brace, then its other two.
        let object = match token.as_bytes() {
            [b'e', second, ..] => matches!(second, b'w'..=b'z' | b'0'..=b'9' | b'-' | b'_'),
            _ => false,
        };
        match token.bytes().filter(|byte| *byte == b'.').count() {
            2 if object => Shape::Signed,
            4 if object => Shape::Encrypted,
            _ => Shape::Opaque,
        }
    }
}

/// A signed token that was taken apart and not verified: nothing that it says is true yet.
pub struct Presented<'a> {
    pub(super) text: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) key: Option<Box<str>>,
    pub(super) typ: Option<Box<str>>,
    pub(super) claims: Map<String, Value>,
}

/// Tokens are not printed.
impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl<'a> Presented<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`TokenFault`] where it is no signed token, breaks a bound, or demands what is never done.
    pub fn parse(token: &'a str) -> Result<Presented<'a>, TokenFault> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(TokenFault::Malformed);
        };
        match parts.count() {
            0 => {}
            2 => return Err(TokenFault::Encrypted),
            _ => return Err(TokenFault::Malformed),
        }
        let header = object(header, HEADER_BYTES_MAX)?;
        if header.contains_key("crit") || header.get("b64").is_some_and(|encoded| *encoded != Value::Bool(true)) {
            return Err(TokenFault::Critical);
        }
        if header.contains_key("enc") {
            return Err(TokenFault::Encrypted);
        }
        let algorithm =
            header.get("alg").and_then(Value::as_str).and_then(Algorithm::named).ok_or(TokenFault::Algorithm)?;
        if signature.is_empty() {
            return Err(TokenFault::Signature);
        }
        let key = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= KEY_ID_BYTES_MAX => Some(id.as_str().into()),
            Some(_) => return Err(TokenFault::KeyId),
        };
        let typ = match header.get("typ") {
            None => None,
            Some(Value::String(typ)) => Some(typ.as_str().into()),
            Some(_) => return Err(TokenFault::Type),
        };
        let claims = object(claims, CLAIMS_BYTES_MAX)?;
        Ok(Presented { text: token, algorithm, key, typ, claims })
    }

    /// Who the token says has issued it: to choose whose keys it is verified with, and for nothing else.
    pub fn claimed_issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// The `kid` that it names: for the log of a key that is not there.
    pub fn claimed_key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

/// Reads an object that nobody could read in another way.
///
/// # Errors
/// [`TokenFault::TooDeep`], [`TokenFault::DuplicateMember`], [`TokenFault::Malformed`].
pub fn strict_object(json: &[u8]) -> Result<Map<String, Value>, TokenFault> {
    skim(json, &Limits { depth: DEPTH_MAX, batch: 0 }).map_err(|found| match found.fault {
        Fault::TooDeep => TokenFault::TooDeep,
        Fault::DuplicateMember => TokenFault::DuplicateMember,
        _ => TokenFault::Malformed,
    })?;
    serde_json::from_slice(json).map_err(|_| TokenFault::Malformed)
}

fn object(encoded: &str, most: usize) -> Result<Map<String, Value>, TokenFault> {
    if encoded.len() > most.div_ceil(3) * 4 {
        return Err(TokenFault::TooLong);
    }
    let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenFault::Malformed)?;
    if json.len() > most {
        return Err(TokenFault::TooLong);
    }
    strict_object(&json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::testing::encoded;
    use proptest::prelude::*;

    fn parse(header: &str, claims: &str) -> Result<(), TokenFault> {
        Presented::parse(&format!("{}.{}.AA", encoded(header), encoded(claims))).map(drop)
    }

    const HEADER: &str = r#"{"alg":"RS256"}"#;

    #[test]
    fn a_signed_token_is_taken_apart() {
        let header = r#"{"alg":"ES256","kid":"k","typ":"at+jwt","jku":"http://evil.example","x5c":["AA"],"jwk":{}}"#;
        let text = format!("{}.{}.AA", encoded(header), encoded(r#"{"iss":"https://i","n":1}"#));
        let token = Presented::parse(&text).unwrap();
        assert_eq!((token.claimed_issuer(), token.claimed_key()), (Some("https://i"), Some("k")));
        assert_eq!((token.algorithm, token.typ.as_deref()), (Algorithm::Es256, Some("at+jwt")));
        assert_eq!(format!("{token:?}"), "Presented { algorithm: Es256, .. }");
    }

    #[test]
    fn alg_none_is_refused_in_all_spellings() {
        for alg in [
            r#""none""#,
            r#""None""#,
            r#""NONE""#,
            r#""nOnE""#,
            r#""no\u006ee""#,
            r#""""#,
            "null",
            "0",
            r#"["RS256"]"#,
            "{}",
        ] {
            assert_eq!(parse(&format!(r#"{{"alg":{alg}}}"#), "{}"), Err(TokenFault::Algorithm), "{alg}");
        }
        assert_eq!(parse("{}", "{}"), Err(TokenFault::Algorithm));
        // With no signature either.
        let unsigned = format!("{}.{}.", encoded(r#"{"alg":"none"}"#), encoded("{}"));
        assert_eq!(Presented::parse(&unsigned).unwrap_err(), TokenFault::Algorithm);
        let unsigned = format!("{}.{}.", encoded(HEADER), encoded("{}"));
        assert_eq!(Presented::parse(&unsigned).unwrap_err(), TokenFault::Signature);
    }

    #[test]
    fn shared_secret_algorithms_are_refused() {
        for alg in ["HS256", "HS384", "HS512", "hs256", "dir", "A256GCMKW", "RSA1_5"] {
            assert_eq!(parse(&format!(r#"{{"alg":"{alg}"}}"#), "{}"), Err(TokenFault::Algorithm), "{alg}");
        }
    }

    #[test]
    fn what_changes_the_meaning_of_a_signature_is_refused() {
        for (member, fault) in [
            (r#""crit":["exp"]"#, TokenFault::Critical),
            (r#""crit":[]"#, TokenFault::Critical),
            (r#""crit":null"#, TokenFault::Critical),
            (r#""b64":false"#, TokenFault::Critical),
            (r#""b64":"false""#, TokenFault::Critical),
            (r#""enc":"A256GCM""#, TokenFault::Encrypted),
            (r#""kid":1"#, TokenFault::KeyId),
            (r#""typ":1"#, TokenFault::Type),
            (r#""alg":"RS256""#, TokenFault::DuplicateMember),
            (r#""\u0061lg":"none""#, TokenFault::DuplicateMember),
            (r#""x":{"y":1,"y":2}"#, TokenFault::DuplicateMember),
        ] {
            assert_eq!(parse(&format!(r#"{{"alg":"RS256",{member}}}"#), "{}"), Err(fault), "{member}");
        }
        assert_eq!(parse(r#"{"alg":"RS256","b64":true}"#, "{}"), Ok(()));
        assert_eq!(parse(HEADER, r#"{"sub":"a","sub":"b"}"#), Err(TokenFault::DuplicateMember));
        assert_eq!(parse(HEADER, r#"{"a":[{"b":{"c":1,"c":1}}]}"#), Err(TokenFault::DuplicateMember));
        assert_eq!(parse(HEADER, r#"{"sub":"a","Sub":"b"}"#), Ok(()));
    }

    #[test]
    fn what_is_no_signed_token_is_malformed() {
        for text in ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.e30=", "e30.e30.", "e30=.e30.AA", "e30 .e30.AA"] {
            assert!(Presented::parse(text).is_err(), "{text}");
        }
        assert_eq!(Presented::parse("a.b.c.d.e").unwrap_err(), TokenFault::Encrypted);
        for json in [
            "[]",
            "1",
            "null",
            "\"x\"",
            "{",
            "{}{}",
            "{\"a\":1e999}",
            "{\"a\":\"\\ud800\"}",
            "{a:1}",
            "{} x",
            "\u{feff}{}",
        ] {
            assert_eq!(parse(json, "{}"), Err(TokenFault::Malformed), "{json}");
            assert_eq!(parse(HEADER, json), Err(TokenFault::Malformed), "{json}");
        }
    }

    #[test]
    fn a_token_is_bounded() {
        let padded = |length: usize, json: &str| format!("{json}{}", " ".repeat(length - json.len()));
        assert_eq!(parse(&padded(HEADER_BYTES_MAX, HEADER), "{}"), Ok(()));
        assert_eq!(parse(&padded(HEADER_BYTES_MAX + 1, HEADER), "{}"), Err(TokenFault::TooLong));
        assert_eq!(parse(&padded(HEADER_BYTES_MAX * 2, HEADER), "{}"), Err(TokenFault::TooLong));
        assert_eq!(parse(HEADER, &padded(CLAIMS_BYTES_MAX, "{}")), Ok(()));
        assert_eq!(parse(HEADER, &padded(CLAIMS_BYTES_MAX + 1, "{}")), Err(TokenFault::TooLong));
        let deep = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert_eq!(parse(HEADER, &deep(DEPTH_MAX)), Ok(()));
        assert_eq!(parse(HEADER, &deep(DEPTH_MAX + 1)), Err(TokenFault::TooDeep));
        let kid = |length: usize| format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(length));
        assert_eq!(parse(&kid(KEY_ID_BYTES_MAX), "{}"), Ok(()));
        assert_eq!(parse(&kid(KEY_ID_BYTES_MAX + 1), "{}"), Err(TokenFault::KeyId));
    }

    #[test]
    fn a_shape_is_known_by_its_form() {
        assert_eq!(Shape::of(&format!("{}.e30.AA", encoded(HEADER))), Shape::Signed);
        assert_eq!(Shape::of(&format!("{}.e30.AA", encoded("{ \"alg\": 1}"))), Shape::Signed);
        assert_eq!(Shape::of(&format!("{}...", encoded(HEADER))), Shape::Opaque);
        assert_eq!(Shape::of(&format!("{}....", encoded(HEADER))), Shape::Encrypted);
        for opaque in ["", "2YotnFZFEjr1zCsicMWpAA", "ya29.a0.b", "e.x.y", "eA.b.c"] {
            assert_eq!(Shape::of(opaque), Shape::Opaque, "{opaque}");
        }
    }

    proptest! {
        #[test]
        fn every_object_begins_like_a_signed_token(rest in "\\PC{0,20}") {
            prop_assert_eq!(Shape::of(&format!("{}..", encoded(format!("{{{rest}")))), Shape::Signed);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}", header in "\\PC{0,60}", claims in "\\PC{0,60}") {
            let _ = Presented::parse(&text);
            let _ = parse(&header, &claims);
        }
    }
}
