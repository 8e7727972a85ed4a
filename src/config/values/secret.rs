//! Values that nobody may see: printed as a mask, compared in constant time, wiped when dropped.

use super::{Invalid, read_from_text};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use zeroize::{Zeroize as _, Zeroizing};

/// What stands in place of a secret.
pub const MASK: &str = "********";

/// The least number of bytes of a sealing key (256 bits).
const KEY_BYTES_MIN: usize = 32;

/// The most bytes of a sealing key; more is a file given by mistake.
const KEY_BYTES_MAX: usize = 1024;

/// A text that is never printed: tokens, header values, keys as written.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret itself. Named so that every use can be found.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }
}

impl FromStr for Secret {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Secret, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("a secret must not be empty"));
        }
        Ok(Secret::from(text.to_owned()))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl Eq for Secret {}

read_from_text!(Secret, expecting: "a secret text (put it in quotes)", schema: {
    "description": "A secret: best written as `${env:NAME}` or `${file:path}`.",
    "type": "string",
    "minLength": 1,
    "writeOnly": true
});

/// The bytes of a sealing key: 32 to 1024 of them, decoded from hex or base64.
#[derive(Clone)]
pub struct KeyMaterial(Zeroizing<Vec<u8>>);

impl KeyMaterial {
    /// The key's bytes. Named so that every use can be found.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Decodes a key as it is written: hex when it consists of hex digits only, else base64 (either alphabet, padded or
    /// not).
    ///
    /// # Errors
    /// When it is neither, or decodes to fewer than 32 or more than 1024 bytes.
    pub fn decode(secret: &Secret) -> Result<KeyMaterial, Invalid> {
        let text = secret.expose().trim();
        let bytes = decode_hex(text).or_else(|| decode_base64(text));
        let Some(bytes) = bytes else {
            return Err(Invalid::new("a sealing key is written as hex or base64"));
        };
        if bytes.len() < KEY_BYTES_MIN {
            return Err(Invalid::new(format!(
                "a sealing key has at least {KEY_BYTES_MIN} bytes, this one has {}; make one with `openssl rand -base64 32`",
                bytes.len()
            )));
        }
        if bytes.len() > KEY_BYTES_MAX {
            return Err(Invalid::new(format!("a sealing key has at most {KEY_BYTES_MAX} bytes")));
        }
        Ok(KeyMaterial(bytes))
    }
}

impl PartialEq for KeyMaterial {
    fn eq(&self, other: &KeyMaterial) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for KeyMaterial {}

/// The bytes of a text of hex digits; `None` when it is anything else.
fn decode_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || text.len() > 2 * KEY_BYTES_MAX + 2 {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.as_bytes().chunks_exact(2) {
        let &[high, low] = pair else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(high)? << 4 | digit(low)?);
    }
    Some(bytes)
}

/// The bytes of a base64 text in either alphabet, padded or not.
fn decode_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    for alphabet in [&base64::alphabet::STANDARD, &base64::alphabet::URL_SAFE] {
        let mut bytes = Vec::with_capacity(text.len());
        match GeneralPurpose::new(alphabet, config).decode_vec(text, &mut bytes) {
            Ok(()) => return Some(Zeroizing::new(bytes)),
            Err(_) => bytes.zeroize(),
        }
    }
    None
}

/// Prints and writes a type as the mask.
macro_rules! masked {
    ($type:ident) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(MASK)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(MASK)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(MASK)
            }
        }
    };
}

masked!(Secret);
masked!(KeyMaterial);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<Vec<u8>, String> {
        KeyMaterial::decode(&Secret::from(text.to_owned()))
            .map(|key| key.expose().to_vec())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn no_form_of_printing_shows_a_secret() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(format!("{secret} {secret:?}"), "******** ********");
        assert_eq!(serde_json::to_string(&secret).ok().as_deref(), Some("\"********\""));
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn keys_are_hex_or_base64() {
        assert_eq!(key(&"0f".repeat(32)), Ok(vec![0x0f; 32]));
        assert_eq!(key(&"0F".repeat(33)), Ok(vec![0x0f; 33]));
        assert_eq!(key("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), Ok(vec![0; 32]));
        assert_eq!(key("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Ok(vec![0; 32]));
        assert_eq!(key("__________________________________________8="), Ok(vec![0xff; 32]));
        assert_eq!(key("//////////////////////////////////////////8="), Ok(vec![0xff; 32]));
    }

    #[test]
    fn short_and_malformed_keys_are_refused() {
        assert!(key(&"0f".repeat(31)).is_err_and(|message| message.contains("this one has 31")));
        assert!(key("not a key!").is_err_and(|message| message.contains("hex or base64")));
        assert!(key(&"0f".repeat(2000)).is_err());
        assert!(key("").is_err());
    }

    #[test]
    fn secrets_compare_by_content() {
        assert_eq!(Secret::from("a".to_owned()), Secret::from("a".to_owned()));
        assert_ne!(Secret::from("a".to_owned()), Secret::from("ab".to_owned()));
    }
}
