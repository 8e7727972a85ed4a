//! An issuer's public keys: a JSON Web Key Set (RFC 7517), read once and then only looked up in.
//!
//! A `kid` is compared byte by byte with those of the set and is nothing else: no path, no URL, no query. Each key knows the
//! algorithms that it can be used with, so a token cannot choose how its key is understood.

use super::algorithm::{Algorithm, Algorithms};
use super::fault::TokenFault;
use super::sha256;
use crate::rpc::scan::{Limits, skim};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};
use smallvec::SmallVec;
use std::fmt;

/// The longest key set, in bytes.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// The most keys of a set, those that are skipped counted in.
pub const KEYS_MAX: usize = 100;
/// The longest `kid`, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 256;
/// How many keys of one `kid` are tried.
pub const CANDIDATES_MAX: usize = 4;

const DEPTH: usize = 16;
/// The sizes of an RSA modulus that the cryptographic library checks signatures with, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why bytes are no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// Longer than [`KEY_SET_BYTES_MAX`].
    #[error("the key set is longer than 256 KiB")]
    TooLong,
    /// No JSON, too deep, or with a member that stands twice.
    #[error("the key set is not strict JSON")]
    NotJson,
    /// No object with a list `keys`.
    #[error("the key set has no list of keys")]
    NoKeys,
    /// More keys than [`KEYS_MAX`].
    #[error("the key set has more than 100 keys")]
    TooMany,
}

/// Why a key of a set is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// No object.
    #[error("it is no object")]
    NoObject,
    /// `kty` or `crv` is none that is supported; shared secrets (`oct`) never are.
    #[error("its kty or crv is not supported")]
    Kind,
    /// `use` is not `sig`, or `key_ops` lacks `verify`.
    #[error("it is not for checking signatures")]
    Use,
    /// `alg` is none that fits its kind.
    #[error("its alg does not fit its kty")]
    Algorithm,
    /// `kid` is no text, or longer than [`KEY_ID_BYTES_MAX`].
    #[error("its kid is no text, or too long")]
    KeyId,
    /// It holds the private key: whoever can read the set can sign.
    #[error("it holds a private key")]
    Private,
    /// Its numbers are missing, malformed, or too small or large.
    #[error("its numbers are malformed, or not within the sizes that are supported")]
    Numbers,
}

/// One public key.
struct Key {
    id: Option<Box<str>>,
    algorithms: Algorithms,
    public: DecodingKey,
    /// Kind and numbers, so that two sets can be compared.
    material: Box<[u8]>,
}

/// The public keys of an issuer.
pub struct KeySet {
    keys: Box<[Key]>,
    skipped: Box<[(usize, Skipped)]>,
    digest: [u8; 32],
}

/// What is said of one key in a few words is enough: how many there are.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys.len()).field("skipped", &self.skipped).finish_non_exhaustive()
    }
}

impl KeySet {
    /// Reads a key set. Keys that cannot be used are skipped, see [`KeySet::skipped`].
    ///
    /// # Errors
    /// [`KeySetFault`] where it is none, or breaks a bound.
    pub fn parse(bytes: &[u8]) -> Result<KeySet, KeySetFault> {
        if bytes.len() > KEY_SET_BYTES_MAX {
            return Err(KeySetFault::TooLong);
        }
        skim(bytes, &Limits { depth: DEPTH, batch: 0 }).map_err(|_| KeySetFault::NotJson)?;
        let document: Value = serde_json::from_slice(bytes).map_err(|_| KeySetFault::NotJson)?;
        let listed = document.get("keys").and_then(Value::as_array).ok_or(KeySetFault::NoKeys)?;
        if listed.len() > KEYS_MAX {
            return Err(KeySetFault::TooMany);
        }
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (at, key) in listed.iter().enumerate() {
            match key.as_object().ok_or(Skipped::NoObject).and_then(Key::read) {
                Ok(key) => keys.push(key),
                Err(why) => skipped.push((at, why)),
            }
        }
        let digest = digest(&keys);
        Ok(KeySet { keys: keys.into(), skipped: skipped.into(), digest })
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used, so that no token is believed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Which keys are not used, by their place in the list, and why: for the log.
    pub fn skipped(&self) -> &[(usize, Skipped)] {
        &self.skipped
    }

    /// Equal for two sets where every token is judged alike by both: what was verified with the one counts with the other.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The keys that may have signed a token with this `kid` and algorithm: at least one, at most [`CANDIDATES_MAX`].
    ///
    /// # Errors
    /// [`TokenFault::UnknownKey`], [`TokenFault::KeyMismatch`], and [`TokenFault::KeyAmbiguous`] where the token has no `kid`
    /// and more than one key fits.
    pub(super) fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Candidates<'_>, TokenFault> {
        let Some(id) = id else {
            let mut fitting = self.keys.iter().filter(|key| key.algorithms.contains(algorithm));
            let only = fitting.next().ok_or(TokenFault::UnknownKey)?;
            return match fitting.next() {
                None => Ok(SmallVec::from_slice(&[&only.public])),
                Some(_) => Err(TokenFault::KeyAmbiguous),
            };
        };
        let mut called = self.keys.iter().filter(|key| key.id.as_deref() == Some(id)).peekable();
        if called.peek().is_none() {
            return Err(TokenFault::UnknownKey);
        }
        let fitting: Candidates<'_> = called
            .filter(|key| key.algorithms.contains(algorithm))
            .map(|key| &key.public)
            .take(CANDIDATES_MAX)
            .collect();
        if fitting.is_empty() { Err(TokenFault::KeyMismatch) } else { Ok(fitting) }
    }
}

/// Keys to try.
pub(super) type Candidates<'a> = SmallVec<[&'a DecodingKey; CANDIDATES_MAX]>;

impl Key {
    fn read(key: &Map<String, Value>) -> Result<Key, Skipped> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let kind = text("kty").ok_or(Skipped::Kind)?;
        if !matches!(kind, "RSA" | "EC" | "OKP") {
            return Err(Skipped::Kind);
        }
        if key.contains_key("d") {
            return Err(Skipped::Private);
        }
        if key.get("use").is_some_and(|used| used != "sig") {
            return Err(Skipped::Use);
        }
        let verifies = |operations: &Value| {
            operations.as_array().is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
        };
        if key.get("key_ops").is_some_and(|operations| !verifies(operations)) {
            return Err(Skipped::Use);
        }
        let id = match key.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= KEY_ID_BYTES_MAX => Some(id.as_str().into()),
            Some(_) => return Err(Skipped::KeyId),
        };
        let (possible, public, material) = public(kind, text("crv"), &|name| number(key, name))?;
        let algorithms = match key.get("alg") {
            None => possible,
            Some(name) => {
                let named = name.as_str().and_then(Algorithm::named).ok_or(Skipped::Algorithm)?;
                possible.and([named].into_iter().collect())
            }
        };
        if algorithms.is_empty() {
            return Err(Skipped::Algorithm);
        }
        Ok(Key { id, algorithms, public, material })
    }
}

type Public = (Algorithms, DecodingKey, Box<[u8]>);

/// The key itself, and what can be done with one of its kind.
fn public(kind: &str, curve: Option<&str>, number: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Public, Skipped> {
    let read = |name: &str| number(name).ok_or(Skipped::Numbers);
    let exactly = |name: &str, bytes: usize| {
        read(name).and_then(|number| if number.len() == bytes { Ok(number) } else { Err(Skipped::Numbers) })
    };
    let material = |kind: u8, parts: &[&[u8]]| [&[kind][..]].iter().chain(parts).copied().flatten().copied().collect();
    use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    match (kind, curve) {
        ("RSA", _) => {
            let (modulus, exponent) = (read("n")?, read("e")?);
            let (modulus, exponent) = (stripped(&modulus), stripped(&exponent));
            let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
            // An exponent of 1 would make every message its own signature.
            let sound = |exponent: &[u8]| {
                (1..=4).contains(&exponent.len())
                    && exponent != [1]
                    && exponent.last().is_some_and(|last| last % 2 == 1)
            };
            if !RSA_BITS.contains(&bits) || !sound(exponent) {
                return Err(Skipped::Numbers);
            }
            let algorithms = [Rs256, Rs384, Rs512, Ps256, Ps384, Ps512].into_iter().collect();
            let public = DecodingKey::from_rsa_raw_components(modulus, exponent);
            Ok((algorithms, public, material(0, &[modulus, &[0], exponent])))
        }
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let (bytes, algorithm) = if curve == "P-256" { (32, Es256) } else { (48, Es384) };
            let point = [vec![4], exactly("x", bytes)?, exactly("y", bytes)?].concat();
            let material = material(1, &[&point]);
            Ok(([algorithm].into_iter().collect(), DecodingKey::from_ec_der(&point), material))
        }
        ("OKP", Some("Ed25519")) => {
            let point = exactly("x", 32)?;
            let material = material(2, &[&point]);
            Ok(([EdDsa].into_iter().collect(), DecodingKey::from_ed_der(&point), material))
        }
        _ => Err(Skipped::Kind),
    }
}

fn number(key: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok()
}

/// Some issuers write a zero byte in front of a modulus.
fn stripped(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn digest(keys: &[Key]) -> [u8; 32] {
    let mut described = Vec::new();
    let mut part = |bytes: &[u8]| {
        described.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        described.extend_from_slice(bytes);
    };
    for key in keys {
        part(&[u8::from(key.id.is_some())]);
        part(key.id.as_deref().unwrap_or_default().as_bytes());
        part(&key.algorithms.bits().to_le_bytes());
        part(&key.material);
    }
    sha256(&described)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::testing::{Signer, ed25519, p256, p384, rsa};
    use serde_json::json;

    fn set(keys: Value) -> KeySet {
        KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn why(key: Value) -> Option<Skipped> {
        set(json!([key])).skipped().first().map(|(_, why)| *why)
    }

    #[test]
    fn keys_that_check_signatures_are_taken_and_others_skipped() {
        let signers: [&Signer; 4] = [rsa(), p256(), p384(), ed25519()];
        for signer in signers {
            assert_eq!(why(signer.jwk("k")), None);
            assert_eq!(why(with(signer.jwk("k"), "use", json!("sig"))), None);
            assert_eq!(why(with(signer.jwk("k"), "key_ops", json!(["sign", "verify"]))), None);
            assert_eq!(why(with(signer.jwk("k"), "use", json!("enc"))), Some(Skipped::Use));
            assert_eq!(why(with(signer.jwk("k"), "use", json!(1))), Some(Skipped::Use));
            assert_eq!(why(with(signer.jwk("k"), "key_ops", json!(["encrypt"]))), Some(Skipped::Use));
            assert_eq!(why(with(signer.jwk("k"), "kid", json!(7))), Some(Skipped::KeyId));
            assert_eq!(why(with(signer.jwk("k"), "kid", json!("k".repeat(257)))), Some(Skipped::KeyId));
            assert_eq!(why(with(signer.jwk("k"), "d", json!("AAAA"))), Some(Skipped::Private));
            assert_eq!(why(with(signer.jwk("k"), "alg", json!("none"))), Some(Skipped::Algorithm));
            assert_eq!(why(with(signer.jwk("k"), "alg", json!("HS256"))), Some(Skipped::Algorithm));
            assert_eq!(why(with(signer.jwk("k"), "alg", json!("RSA-OAEP"))), Some(Skipped::Algorithm));
            assert_eq!(why(with(signer.jwk("k"), "kty", json!("oct"))), Some(Skipped::Kind));
            assert_eq!(why(with(signer.jwk("k"), "kty", json!("AKP"))), Some(Skipped::Kind));
        }
        assert_eq!(why(json!({"kty": "oct", "k": "AAAA", "alg": "HS256", "kid": "k"})), Some(Skipped::Kind));
        assert_eq!(why(with(p256().jwk("k"), "alg", json!("ES384"))), Some(Skipped::Algorithm));
        assert_eq!(why(with(p256().jwk("k"), "crv", json!("P-521"))), Some(Skipped::Kind));
        assert_eq!(why(with(p256().jwk("k"), "crv", json!("P-384"))), Some(Skipped::Numbers));
        assert_eq!(why(with(ed25519().jwk("k"), "crv", json!("X25519"))), Some(Skipped::Kind));
        assert_eq!(why(with(ed25519().jwk("k"), "x", json!("AAAA"))), Some(Skipped::Numbers));
        assert_eq!(why(json!("key")), Some(Skipped::NoObject));
    }

    #[test]
    fn weak_rsa_keys_are_skipped() {
        let modulus = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
        let sized = |bytes: usize| why(with(rsa().jwk("k"), "n", json!(modulus(bytes))));
        assert_eq!(sized(255), Some(Skipped::Numbers));
        assert_eq!(sized(256), None);
        assert_eq!(sized(1024), None);
        assert_eq!(sized(1025), Some(Skipped::Numbers));
        assert_eq!(why(with(rsa().jwk("k"), "n", json!(""))), Some(Skipped::Numbers));
        let mut padded = vec![0];
        padded.extend([0xff; 256]);
        assert_eq!(why(with(rsa().jwk("k"), "n", json!(URL_SAFE_NO_PAD.encode(&padded)))), None);
        padded.truncate(256);
        assert_eq!(why(with(rsa().jwk("k"), "n", json!(URL_SAFE_NO_PAD.encode(&padded)))), Some(Skipped::Numbers));
        for (exponent, skipped) in
            [("AQ", true), ("AA", true), ("", true), ("BA", true), ("Aw", false), ("AQAB", false)]
        {
            assert_eq!(why(with(rsa().jwk("k"), "e", json!(exponent))).is_some(), skipped, "{exponent}");
        }
    }

    #[test]
    fn bounded_jwks_and_strict_ones() {
        let parse = |text: &str| KeySet::parse(text.as_bytes()).map(|set| set.len());
        assert_eq!(parse(r#"{"keys":[]}"#), Ok(0));
        assert_eq!(parse(r#"{"keys":{}}"#), Err(KeySetFault::NoKeys));
        assert_eq!(parse(r"[]"), Err(KeySetFault::NoKeys));
        assert_eq!(parse(r#"{"keys":[],"keys":[]}"#), Err(KeySetFault::NotJson));
        assert_eq!(parse(r#"{"keys":[{"kty":"RSA","kty":"EC"}]}"#), Err(KeySetFault::NotJson));
        assert_eq!(parse(""), Err(KeySetFault::NotJson));
        assert_eq!(parse(&format!(r#"{{"keys":{}{}}}"#, "[".repeat(64), "]".repeat(64))), Err(KeySetFault::NotJson));
        let keys = |count: usize| format!(r#"{{"keys":[{}]}}"#, vec!["{}"; count].join(","));
        assert_eq!(parse(&keys(KEYS_MAX)), Ok(0));
        assert_eq!(parse(&keys(KEYS_MAX + 1)), Err(KeySetFault::TooMany));
        assert_eq!(parse(&" ".repeat(KEY_SET_BYTES_MAX + 1)), Err(KeySetFault::TooLong));
    }

    #[test]
    fn a_key_is_found_by_the_bytes_of_its_kid() {
        let set = set(json!([p256().jwk("a"), ed25519().jwk("b")]));
        let found = |id: Option<&str>, algorithm| set.candidates(id, algorithm).map(|keys| keys.len());
        assert_eq!(found(Some("a"), Algorithm::Es256), Ok(1));
        assert_eq!(found(Some("a"), Algorithm::EdDsa), Err(TokenFault::KeyMismatch));
        assert_eq!(found(None, Algorithm::EdDsa), Ok(1));
        assert_eq!(found(None, Algorithm::Rs256), Err(TokenFault::UnknownKey));
    }

    #[test]
    fn kid_path_tricks_find_no_key() {
        let set = set(json!([p256().jwk("a"), with(ed25519().jwk("x"), "kid", json!(null))]));
        for id in [
            "../a",
            "./a",
            "/a",
            "a/",
            "a\0",
            "A",
            "",
            " a",
            "%61",
            "file:///dev/null",
            "http://a",
            "a' OR '1'='1",
            "*",
            "a*",
        ] {
            assert_eq!(set.candidates(Some(id), Algorithm::Es256).err(), Some(TokenFault::UnknownKey), "{id:?}");
        }
    }

    #[test]
    fn several_keys_of_one_kid_are_tried_up_to_a_bound() {
        let twice = set(json!([p256().jwk("a"), ed25519().jwk("a"), p256().jwk("a")]));
        assert_eq!(twice.candidates(Some("a"), Algorithm::Es256).unwrap().len(), 2);
        assert_eq!(twice.candidates(None, Algorithm::Es256).err(), Some(TokenFault::KeyAmbiguous));
        let many = set(Value::Array(vec![p256().jwk("a"); 9]));
        assert_eq!(many.candidates(Some("a"), Algorithm::Es256).unwrap().len(), CANDIDATES_MAX);
    }

    #[test]
    fn sets_that_judge_alike_have_one_digest() {
        let one = set(json!([p256().jwk("a"), {"kty": "oct"}]));
        let same =
            KeySet::parse(format!(r#" {{"x":1,"keys":[{}]}}"#, with(p256().jwk("a"), "x5t", json!("y"))).as_bytes());
        assert_eq!(one.digest(), same.unwrap().digest());
        for other in [p256().jwk("b"), p384().jwk("a"), ed25519().jwk("a")] {
            assert_ne!(one.digest(), set(json!([other])).digest());
        }
        let narrower = |name: &str| *set(json!([with(rsa().jwk("a"), "alg", json!(name))])).digest();
        assert_ne!(narrower("RS256"), narrower("PS256"));
    }
}
