//! API keys: `lgk_<id>_<secret>`, for callers that have no issuer.
//!
//! The configuration holds only the SHA-256 digest of a key. A secret of 256 random bits cannot be guessed from it, so it
//! needs no slow hash. The id says which entry a key is of, and nothing else; the digest is compared in constant time, also
//! where there is no such id.

use super::credentials::API_KEY_PREFIX;
use super::{is_name, sha256};
use crate::exchange::UnixMillis;
use crate::principal::{API_KEYS, Facts, Principal, Proof};
use crate::random::{self, NoRandomness};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The longest id of a key, in bytes.
pub const ID_BYTES_MAX: usize = 32;
/// The most keys.
pub const API_KEYS_MAX: usize = 10_000;
/// 256 bits in base64url without padding.
const SECRET_CHARS: usize = 43;
/// What digests begin with, so that another kind can come.
const HASH_PREFIX: &str = "sha256:";

/// Whether a text can be the id of a key: 1 to 32 of `a-z`, `0-9` and `-`.
pub fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits)
}

/// The digest of a key, as it stands in the configuration: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Of the whole text of a key.
    pub fn of(key: &str) -> KeyHash {
        KeyHash(sha256(key.as_bytes()))
    }

    /// Reads `sha256:<hex>`; `None` where it is anything else.
    pub fn parse(text: &str) -> Option<KeyHash> {
        let digits = text.strip_prefix(HASH_PREFIX)?.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| pair.get(at).and_then(|digit| char::from(*digit).to_digit(16));
            *byte = (digit(0)? << 4 | digit(1)?) as u8;
        }
        Some(KeyHash(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HASH_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// A key that was just made: to be shown once, and kept by nobody but its bearer.
pub struct NewKey {
    /// The key.
    pub text: String,
    /// What the configuration holds of it.
    pub hash: KeyHash,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewKey(..)")
    }
}

/// Why no key could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The id is none, see [`is_id`].
    #[error("the id of an API key is 1 to 32 characters of a-z, 0-9 and -")]
    Id,
    /// There was no randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// Makes a key of this id that nobody can guess.
///
/// # Errors
/// [`NoKey`].
pub fn generate(id: &str) -> Result<NewKey, NoKey> {
    if !is_id(id) {
        return Err(NoKey::Id);
    }
    let secret: [u8; 32] = random::array()?;
    let text = format!("{API_KEY_PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
    Ok(NewKey { hash: KeyHash::of(&text), text })
}

/// One key, as configured.
#[derive(Clone, Debug)]
pub struct ApiKeyEntry {
    /// What it is called: [`is_id`].
    pub id: Box<str>,
    /// Its digest.
    pub hash: KeyHash,
    /// Who bears it: 1 to 255 bytes without control characters.
    pub subject: Box<str>,
    /// On whose behalf.
    pub tenant: Option<Box<str>>,
    /// The bearer's teams.
    pub groups: Vec<Box<str>>,
    /// What it gives leave for; `None` where it is not limited by scopes.
    pub scopes: Option<Vec<Box<str>>>,
    /// The first moment at which it no longer counts.
    pub expires: Option<UnixMillis>,
    /// The virtual servers that it counts at; `None` for all of them.
    pub virtual_servers: Option<Vec<Box<str>>>,
}

/// Why a list of keys is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeysFault {
    /// More than [`API_KEYS_MAX`].
    #[error("more than 10,000 API keys are configured")]
    TooMany,
    /// The id is none.
    #[error("API key {0:?}: an id is 1 to 32 characters of a-z, 0-9 and -")]
    Id(Box<str>),
    /// Two keys have this id.
    #[error("API key {0:?} is there twice")]
    Twice(Box<str>),
    /// Subject or tenant is no name.
    #[error("API key {0:?}: subject and tenant have 1 to 255 bytes and no control characters")]
    Name(Box<str>),
}

/// Why a key proves nothing. Clients are told `invalid_token` and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiKeyFault {
    /// Not in the form of a key.
    Malformed,
    /// There is no key of this id, or it is another one.
    Unknown,
    /// Its time is over.
    Expired,
    /// It does not count at this virtual server.
    Elsewhere,
}

impl ApiKeyFault {
    /// The metric label: lower case, stable.
    pub const fn label(self) -> &'static str {
        match self {
            ApiKeyFault::Malformed => "malformed",
            ApiKeyFault::Unknown => "unknown",
            ApiKeyFault::Expired => "expired",
            ApiKeyFault::Elsewhere => "elsewhere",
        }
    }

    /// What the operator's log says.
    pub const fn text(self) -> &'static str {
        match self {
            ApiKeyFault::Malformed => "the API key is malformed",
            ApiKeyFault::Unknown => "there is no such API key",
            ApiKeyFault::Expired => "the API key has expired",
            ApiKeyFault::Elsewhere => "the API key does not count at this virtual server",
        }
    }
}

struct Stored {
    hash: KeyHash,
    principal: Arc<Principal>,
    virtual_servers: Option<Vec<Box<str>>>,
}

/// All keys that are configured.
#[derive(Default)]
pub struct ApiKeys(HashMap<Box<str>, Stored, RandomState>);

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKeys").field(&self.0.len()).finish()
    }
}

impl ApiKeys {
    /// These keys.
    ///
    /// # Errors
    /// [`ApiKeysFault`].
    pub fn new(entries: Vec<ApiKeyEntry>) -> Result<ApiKeys, ApiKeysFault> {
        if entries.len() > API_KEYS_MAX {
            return Err(ApiKeysFault::TooMany);
        }
        let mut keys = HashMap::default();
        for entry in entries {
            if !is_id(&entry.id) {
                return Err(ApiKeysFault::Id(entry.id));
            }
            let named = |name: &str| is_name(name, super::claims::NAME_BYTES_MAX);
            if !named(&entry.subject) || !entry.tenant.as_deref().is_none_or(named) {
                return Err(ApiKeysFault::Name(entry.id));
            }
            let id = entry.id.clone();
            if keys.insert(id.clone(), Stored::new(entry)).is_some() {
                return Err(ApiKeysFault::Twice(id));
            }
        }
        Ok(ApiKeys(keys))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who bears this key, at this virtual server.
    ///
    /// # Errors
    /// [`ApiKeyFault`]. Whether a key is right is compared before anything else of it is looked at.
    pub fn verify(&self, key: &str, server: &str, now: UnixMillis) -> Result<Arc<Principal>, ApiKeyFault> {
        let id = id_of(key).ok_or(ApiKeyFault::Malformed)?;
        let shown = sha256(key.as_bytes());
        let stored = self.0.get(id);
        // The same work is done for an id that nobody has.
        let expected = stored.map_or([0; 32], |stored| stored.hash.0);
        let equal = verify_slices_are_equal(&shown, &expected).is_ok();
        let stored = stored.filter(|_| equal).ok_or(ApiKeyFault::Unknown)?;
        if !stored.principal.is_current(now) {
            return Err(ApiKeyFault::Expired);
        }
        match stored.is_for(server) {
            true => Ok(Arc::clone(&stored.principal)),
            false => Err(ApiKeyFault::Elsewhere),
        }
    }

    /// Whether somebody who bore the key of this id may still: it is there, and makes the same caller at this virtual server.
    pub fn still_has(&self, id: &str, principal: &Principal, server: &str, now: UnixMillis) -> bool {
        self.0.get(id).is_some_and(|stored| {
            let same = stored.principal.identity() == principal.identity();
            same && stored.principal.is_current(now) && stored.is_for(server)
        })
    }
}

impl Stored {
    fn new(entry: ApiKeyEntry) -> Stored {
        let sorted = |mut texts: Vec<Box<str>>| {
            texts.sort_unstable();
            texts.dedup();
            texts.into_boxed_slice()
        };
        let principal = Principal::new(Facts {
            issuer: API_KEYS.into(),
            subject: entry.subject.into(),
            tenant: entry.tenant.map(Into::into),
            groups: sorted(entry.groups),
            scopes: entry.scopes.map(sorted),
            proof: Proof::ApiKey,
            claims: Arc::default(),
            expires: entry.expires,
            credential: Some(entry.id),
        });
        Stored { hash: entry.hash, principal: Arc::new(principal), virtual_servers: entry.virtual_servers }
    }

    fn is_for(&self, server: &str) -> bool {
        self.virtual_servers.as_ref().is_none_or(|servers| servers.iter().any(|name| **name == *server))
    }
}

/// The id of a key that has the form of one. An id holds no `_`, so it ends at the first.
fn id_of(key: &str) -> Option<&str> {
    let (id, secret) = key.strip_prefix(API_KEY_PREFIX)?.split_once('_')?;
    let mut bytes = [0; 33];
    let whole = secret.len() == SECRET_CHARS && URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes) == Ok(32);
    (whole && is_id(id)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, hash: KeyHash) -> ApiKeyEntry {
        ApiKeyEntry {
            id: id.into(),
            hash,
            subject: "ci".into(),
            tenant: Some("acme".into()),
            groups: vec!["ops".into(), "ops".into()],
            scopes: None,
            expires: Some(UnixMillis(1_000)),
            virtual_servers: None,
        }
    }

    #[test]
    fn a_key_that_was_made_is_known() {
        let made = generate("ci-bot").unwrap();
        assert_eq!(made.text.len(), "lgk_ci-bot_".len() + SECRET_CHARS);
        assert!(made.text.starts_with("lgk_ci-bot_") && !format!("{made:?}").contains(&made.text));
        assert_ne!(made.text, generate("ci-bot").unwrap().text);
        let hash = KeyHash::parse(&made.hash.to_string()).unwrap();
        let keys = ApiKeys::new(vec![entry("ci-bot", hash)]).unwrap();
        let principal = keys.verify(&made.text, "default", UnixMillis(999)).unwrap();
        let facts = principal.facts();
        assert_eq!((&*facts.issuer, &*facts.subject, facts.credential.as_deref()), (API_KEYS, "ci", Some("ci-bot")));
        assert_eq!((facts.tenant.as_deref(), facts.groups.len(), facts.scopes.is_none()), (Some("acme"), 1, true));
        assert_eq!(facts.proof, Proof::ApiKey);
    }

    #[test]
    fn constant_time_compares_refuse_other_keys_and_unknown_ids_alike() {
        let (made, other) = (generate("ci").unwrap(), generate("ci").unwrap());
        let keys = ApiKeys::new(vec![entry("ci", made.hash)]).unwrap();
        let unknown = generate("nobody").unwrap();
        for key in [&other.text, &unknown.text, &made.text.replace("lgk_ci_", "lgk_c1_")] {
            assert_eq!(keys.verify(key, "default", UnixMillis(0)).unwrap_err(), ApiKeyFault::Unknown);
        }
        assert_eq!(ApiKeys::default().verify(&made.text, "x", UnixMillis(0)).unwrap_err(), ApiKeyFault::Unknown);
    }

    #[test]
    fn an_api_key_ends_at_its_millisecond() {
        let made = generate("ci").unwrap();
        let keys = ApiKeys::new(vec![entry("ci", made.hash)]).unwrap();
        let at = |now| keys.verify(&made.text, "default", UnixMillis(now)).err();
        assert_eq!((at(999), at(1_000), at(1_001)), (None, Some(ApiKeyFault::Expired), Some(ApiKeyFault::Expired)));
    }

    #[test]
    fn an_api_key_counts_where_it_may() {
        let made = generate("ci").unwrap();
        for (servers, fault) in [
            (None, None),
            (Some(vec!["other".into(), "default".into()]), None),
            (Some(vec!["other".into()]), Some(ApiKeyFault::Elsewhere)),
            (Some(vec![]), Some(ApiKeyFault::Elsewhere)),
        ] {
            let keys = ApiKeys::new(vec![ApiKeyEntry { virtual_servers: servers, ..entry("ci", made.hash) }]).unwrap();
            assert_eq!(keys.verify(&made.text, "default", UnixMillis(0)).err(), fault);
        }
    }

    #[test]
    fn what_has_not_the_form_of_a_key_is_none() {
        let made = generate("ci").unwrap();
        let keys = ApiKeys::new(vec![entry("ci", made.hash)]).unwrap();
        let secret = "A".repeat(SECRET_CHARS);
        for key in [
            String::new(),
            "lgk_".into(),
            "lgk_ci".into(),
            "lgk_ci_".into(),
            format!("lgk__{secret}"),
            format!("lgk_CI_{secret}"),
            format!("lgk_c.i_{secret}"),
            format!("lgk_{}_{secret}", "a".repeat(33)),
            format!("LGK_ci_{secret}"),
            format!("{}A", made.text),
            made.text[..made.text.len() - 1].to_owned(),
            format!("{}=", &made.text[..made.text.len() - 1]),
            // The last character has bits that no byte holds.
            format!("lgk_ci_{}B", "A".repeat(SECRET_CHARS - 1)),
        ] {
            assert_eq!(keys.verify(&key, "default", UnixMillis(0)).unwrap_err(), ApiKeyFault::Malformed, "{key}");
        }
    }

    #[test]
    fn a_digest_is_written_in_one_way() {
        let hash = KeyHash::of("x");
        assert_eq!(KeyHash::parse(&hash.to_string()), Some(hash));
        let digits = "0".repeat(64);
        assert!(KeyHash::parse(&format!("sha256:{digits}")).is_some());
        for wrong in [
            "",
            "sha256:",
            &digits,
            &format!("sha256:{digits}0"),
            &format!("sha256:{}+0", &digits[2..]),
            &format!("sha1:{digits}"),
        ] {
            assert_eq!(KeyHash::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_list_of_keys_is_checked() {
        let hash = KeyHash::of("x");
        assert_eq!(
            ApiKeys::new(vec![entry("a", hash), entry("a", hash)]).unwrap_err(),
            ApiKeysFault::Twice("a".into())
        );
        assert_eq!(ApiKeys::new(vec![entry("a_b", hash)]).unwrap_err(), ApiKeysFault::Id("a_b".into()));
        let nameless = ApiKeyEntry { subject: "".into(), ..entry("a", hash) };
        assert_eq!(ApiKeys::new(vec![nameless]).unwrap_err(), ApiKeysFault::Name("a".into()));
        assert_eq!(ApiKeys::new(vec![entry("a", hash); API_KEYS_MAX + 1]).unwrap_err(), ApiKeysFault::TooMany);
        assert_eq!(generate("A").unwrap_err(), NoKey::Id);
    }
}
