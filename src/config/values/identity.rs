//! The words of identity: who issues tokens, where a claim stands, what a scope is called, what a key hashes to.

use super::fetch_url::trusted_url;
use super::{Invalid, read_from_text, write_as_text};
use std::fmt;
use std::str::FromStr;
use url::Url;

/// The longest claim path, scope or audience, in bytes.
const WORD_LENGTH_MAX: usize = 256;

/// The longest issuer, in bytes.
const ISSUER_LENGTH_MAX: usize = 512;

/// An issuer as its tokens name it: compared letter by letter, so it is kept as it was written (RFC 8414 section 2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuerUrl {
    text: Box<str>,
    url: Url,
}

impl IssuerUrl {
    /// What `iss` must be, exactly.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same, taken apart.
    pub const fn url(&self) -> &Url {
        &self.url
    }
}

impl FromStr for IssuerUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<IssuerUrl, Invalid> {
        if text.len() > ISSUER_LENGTH_MAX {
            return Err(Invalid::new(format!("an issuer has at most {ISSUER_LENGTH_MAX} bytes")));
        }
        let url = trusted_url(text)?;
        if url.query().is_some() {
            return Err(Invalid::new("an issuer has no query"));
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Invalid::new("an issuer has no spaces"));
        }
        Ok(IssuerUrl { text: text.into(), url })
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

write_as_text!(IssuerUrl);
read_from_text!(IssuerUrl, expecting: "a URL such as `https://login.example.com`", schema: {
    "description": "An issuer, exactly as its tokens name it in `iss`: https, or http on this machine.",
    "type": "string",
    "format": "uri",
    "examples": ["https://login.example.com/realms/a"]
});

/// Where a claim stands: the name of a member, or a JSON pointer (RFC 6901) that begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimPath(Box<str>);

impl ClaimPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClaimPath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ClaimPath, Invalid> {
        if text.is_empty() || text.len() > WORD_LENGTH_MAX || text.contains(char::is_control) {
            return Err(Invalid::new(format!("a claim has 1 to {WORD_LENGTH_MAX} visible bytes")));
        }
        let escaped = |rest: &str| rest.starts_with(['0', '1']);
        if text.starts_with('/') && !text.split('~').skip(1).all(escaped) {
            return Err(Invalid::new("in a JSON pointer `~` is written `~0`, and `/` within a name `~1`"));
        }
        Ok(ClaimPath(text.into()))
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

write_as_text!(ClaimPath);
read_from_text!(ClaimPath, expecting: "the name of a claim, or a JSON pointer", schema: {
    "description": "The name of a claim, or a JSON pointer to it, which begins with `/`.",
    "type": "string",
    "minLength": 1,
    "maxLength": 256,
    "examples": ["groups", "/realm_access/roles"]
});

/// One scope (RFC 6749 section 3.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Box<str>);

impl Scope {
    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Scope, Invalid> {
        let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if text.is_empty() || text.len() > WORD_LENGTH_MAX || !text.bytes().all(allowed) {
            let message = "a scope is one word of visible ASCII without `\"` and `\\`; several are a list";
            return Err(Invalid::new(message));
        }
        Ok(Scope(text.into()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

write_as_text!(Scope);
read_from_text!(Scope, expecting: "a scope such as `mcp:use`", schema: {
    "description": "A scope: one word of visible ASCII without `\"` and `\\`.",
    "type": "string",
    "pattern": r"^[!#-\[\]-~]{1,256}$",
    "examples": ["mcp:use"]
});

/// What an API key hashes to: SHA-256 over the whole text of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash itself.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for KeyHash {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<KeyHash, Invalid> {
        let wrong = || Invalid::new("a key is given as `sha256:` and 64 hex digits: `lockgate key new` prints it");
        let digits = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        let mut bytes = [0; 32];
        let mut left = digits.as_bytes().chunks_exact(2);
        if digits.len() != 64 {
            return Err(wrong());
        }
        for (byte, pair) in bytes.iter_mut().zip(&mut left) {
            let &[high, low] = pair else { return Err(wrong()) };
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(high).ok_or_else(wrong)? << 4 | digit(low).ok_or_else(wrong)?;
        }
        Ok(KeyHash(bytes))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

write_as_text!(KeyHash);
read_from_text!(KeyHash, expecting: "`sha256:` and 64 hex digits", schema: {
    "description": "What a key hashes to: `sha256:` and 64 hex digits.",
    "type": "string",
    "pattern": "^sha256:[0-9a-fA-F]{64}$"
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_kept_as_they_are_written() {
        for right in ["https://login.example.com", "https://login.example.com/", "https://LOGIN.example.com:443/a"] {
            assert_eq!(right.parse::<IssuerUrl>().map(|issuer| issuer.to_string()).as_deref(), Ok(right));
        }
        assert!("http://localhost:8080/realms/a".parse::<IssuerUrl>().is_ok());
        for wrong in ["", "login.example.com", "http://login.example.com", "https://a/?x", "https://a/#x", " https://a"]
        {
            assert!(wrong.parse::<IssuerUrl>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn claims_are_names_or_pointers() {
        for right in ["groups", "a~b", "https://example.com/groups", "/realm_access/roles", "/a~1b/~0"] {
            assert!(right.parse::<ClaimPath>().is_ok(), "{right}");
        }
        for wrong in ["", "/a~b", "/~", "a\nb"] {
            assert!(wrong.parse::<ClaimPath>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn scopes_are_single_words() {
        for right in ["mcp:use", "a", "!", "https://graph.example/.default", "~["] {
            assert!(right.parse::<Scope>().is_ok(), "{right}");
        }
        for wrong in ["", "a b", "\"", "\\", "é", "a\t"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn hashes_are_sha256() {
        let text = format!("sha256:{}", "0f".repeat(32));
        assert_eq!(
            text.parse::<KeyHash>().map(|hash| (*hash.bytes(), hash.to_string())),
            Ok(([0x0f; 32], text.clone()))
        );
        for wrong in ["", "sha256:", &text[7..], &text[..70], &format!("{text}0"), &text.replace('f', "g")] {
            assert!(wrong.parse::<KeyHash>().is_err(), "{wrong:?}");
        }
    }
}
