//! The keys that seal tickets, and the envelope they seal them in.
//!
//! Several keys may be held: the first seals, all open, so keys rotate without ending a session. From each secret one
//! subkey is derived for each purpose (HKDF-SHA256), so nothing sealed for one purpose opens for another. Purpose,
//! virtual server and format version are associated data: a ticket moved to another server does not open there.
//!
//! The envelope, before base64url without padding: format version (1 byte), key tag (4), nonce (12), ciphertext, tag (16).
//! AES-256-GCM-SIV (RFC 8452) stays safe should a random nonce ever repeat.

use super::{SealFailed, TicketFault};
use crate::random;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smallvec::SmallVec;
use std::fmt;

/// The fewest bytes a secret may have.
pub const SECRET_BYTES_MIN: usize = 32;
/// The longest text of something small that is sealed, in bytes.
pub const SMALL_TEXT_BYTES_MAX: usize = 1024;
/// The opened bytes of something small.
pub type Small = SmallVec<[u8; 128]>;
/// The length of [`Key::node_seed`].
pub const NODE_SEED_BYTES: usize = 32;
/// The most keys a keyring holds: a rotation needs two.
pub const KEYS_MAX: usize = 16;

const FORMAT: u8 = 1;
const TAG_BYTES: usize = 4;
const HEAD_BYTES: usize = 1 + TAG_BYTES + NONCE_LEN;
const AEAD_TAG_BYTES: usize = 16;
const SALT: &[u8] = b"lockgate ticket keys";

/// What something is sealed for. Each purpose has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Session tickets.
    Session,
    /// Places in lists.
    Cursor,
    /// Ids and progress tokens of requests that a backend sends to a client.
    Question,
    /// Ids of events on merged streams.
    Event,
    /// Ids of tasks.
    Task,
}

impl Purpose {
    /// In the order of their numbers, which are the places of their subkeys.
    const ALL: [Purpose; 5] = [Purpose::Session, Purpose::Cursor, Purpose::Question, Purpose::Event, Purpose::Task];

    /// No label is a prefix of another one followed by a space: HKDF and associated data stay unambiguous.
    const fn label(self) -> &'static [u8] {
        match self {
            Purpose::Session => b"purpose session",
            Purpose::Cursor => b"purpose cursor",
            Purpose::Question => b"purpose question",
            Purpose::Event => b"purpose event",
            Purpose::Task => b"purpose task",
        }
    }
}

/// A sealing key: subkeys derived from one secret. The secret itself is not kept.
pub struct Key {
    id: Box<str>,
    tag: [u8; TAG_BYTES],
    subkeys: Box<[LessSafeKey]>,
    /// What nonces are derived with where the same text must be sealed alike.
    nonces: hmac::Key,
    node_seed: [u8; NODE_SEED_BYTES],
}

/// Why a set of secrets makes no keyring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// A secret is shorter than [`SECRET_BYTES_MIN`].
    #[error("ticket key {0:?}: a secret needs at least 32 bytes")]
    Short(Box<str>),
    /// A secret is visibly not random.
    #[error("ticket key {0:?}: the secret repeats a few bytes; use 32 random bytes (openssl rand -base64 32)")]
    Weak(Box<str>),
    /// There is no key at all.
    #[error("no ticket key is configured")]
    Empty,
    /// There are more keys than [`KEYS_MAX`].
    #[error("more than 16 ticket keys are configured")]
    TooMany,
    /// Two keys have the same id or the same secret.
    #[error("ticket key {0:?} is there twice, by its id or by its secret")]
    Duplicate(Box<str>),
    /// The cryptographic library refused the secret.
    #[error("ticket key {0:?}: no key could be derived from the secret")]
    Underivable(Box<str>),
}

impl Key {
    /// Derives the subkeys of a secret. The id names the key to people; it is no part of what is sealed.
    ///
    /// # Errors
    /// [`KeyFault`] for a secret that is short or visibly not random.
    pub fn derive(id: &str, secret: &[u8]) -> Result<Key, KeyFault> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyFault::Short(id.into()));
        }
        if distinct_bytes(secret) < 8 {
            return Err(KeyFault::Weak(id.into()));
        }
        let prk = Salt::new(HKDF_SHA256, SALT).extract(secret);
        let underivable = |_| KeyFault::Underivable(id.into());
        let mut tag = [0; TAG_BYTES];
        prk.expand(&[b"key tag"], TagLen).and_then(|okm| okm.fill(&mut tag)).map_err(underivable)?;
        let subkeys = Purpose::ALL.iter().map(|purpose| subkey(&prk, *purpose)).collect::<Result<_, _>>();
        let mut nonces = [0; 32];
        prk.expand(&[b"derived nonces"], KeyOf32).and_then(|okm| okm.fill(&mut nonces)).map_err(underivable)?;
        let nonces = hmac::Key::new(hmac::HMAC_SHA256, &nonces);
        let mut node_seed = [0; NODE_SEED_BYTES];
        prk.expand(&[b"node identity"], KeyOf32).and_then(|okm| okm.fill(&mut node_seed)).map_err(underivable)?;
        Ok(Key { id: id.into(), tag, subkeys: subkeys.map_err(underivable)?, nonces, node_seed })
    }

    /// What the key pair is made of by which nodes that hold this key know each other: a secret of its own, from which
    /// nothing that is sealed can be opened.
    pub fn node_seed(&self) -> &[u8; NODE_SEED_BYTES] {
        &self.node_seed
    }

    /// What people call this key.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn seal(&self, purpose: Purpose, server: &str, plain: &[u8], nonce: [u8; NONCE_LEN]) -> Result<String, SealFailed> {
        let mut envelope = Vec::with_capacity(HEAD_BYTES + plain.len() + AEAD_TAG_BYTES);
        envelope.push(FORMAT);
        envelope.extend_from_slice(&self.tag);
        envelope.extend_from_slice(&nonce);
        envelope.extend_from_slice(plain);
        let tag = self.subkeys[purpose as usize]
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(purpose, server)),
                &mut envelope[HEAD_BYTES..],
            )
            .map_err(|_| SealFailed)?;
        envelope.extend_from_slice(tag.as_ref());
        Ok(URL_SAFE_NO_PAD.encode(&envelope))
    }
}

/// The text, unless it is too long to be opened again.
fn bounded(text: String) -> Result<String, SealFailed> {
    if text.len() <= SMALL_TEXT_BYTES_MAX { Ok(text) } else { Err(SealFailed) }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

fn subkey(prk: &Prk, purpose: Purpose) -> Result<LessSafeKey, aws_lc_rs::error::Unspecified> {
    let mut bytes = [0; 32];
    prk.expand(&[purpose.label()], &AES_256_GCM_SIV)?.fill(&mut bytes)?;
    UnboundKey::new(&AES_256_GCM_SIV, &bytes).map(LessSafeKey::new)
}

/// 32 random bytes practically always hold more than 20 different values; a placeholder such as `changeme…` or zeros few.
fn distinct_bytes(secret: &[u8]) -> usize {
    let mut seen = [false; 256];
    for &byte in secret {
        seen[usize::from(byte)] = true;
    }
    seen.into_iter().filter(|&seen| seen).count()
}

struct TagLen;

impl KeyType for TagLen {
    fn len(&self) -> usize {
        TAG_BYTES
    }
}

struct KeyOf32;

impl KeyType for KeyOf32 {
    fn len(&self) -> usize {
        32
    }
}

/// The keys in use: the first seals, all open.
#[derive(Debug)]
pub struct Keyring {
    keys: Box<[Key]>,
}

impl Keyring {
    /// A keyring of these keys.
    ///
    /// # Errors
    /// [`KeyFault`] when there is none, too many, or one twice.
    pub fn new(keys: Vec<Key>) -> Result<Keyring, KeyFault> {
        match keys.len() {
            0 => return Err(KeyFault::Empty),
            1..=KEYS_MAX => {}
            _ => return Err(KeyFault::TooMany),
        }
        for (at, key) in keys.iter().enumerate() {
            if keys[..at].iter().any(|other| other.tag == key.tag || other.id == key.id) {
                return Err(KeyFault::Duplicate(key.id.clone()));
            }
        }
        Ok(Keyring { keys: keys.into() })
    }

    /// The keys, the sealing one first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Seals a few bytes for one purpose at one virtual server: base64url without padding.
    ///
    /// # Errors
    /// [`SealFailed`] when no nonce can be drawn, or when the text would be longer than [`SMALL_TEXT_BYTES_MAX`].
    pub fn seal_small(&self, purpose: Purpose, server: &str, plain: &[u8]) -> Result<String, SealFailed> {
        bounded(self.seal(purpose, server, plain)?)
    }

    /// The same, but equal bytes become equal texts, for as long as the first key stays the first.
    ///
    /// The nonce is derived from what is sealed, with a key of its own. AES-GCM-SIV allows that: a nonce that comes again
    /// tells no more than that the same was sealed again (RFC 8452 section 1), which is what is wanted here.
    ///
    /// # Errors
    /// As [`Keyring::seal_small`], but no randomness is needed.
    pub fn seal_alike(&self, purpose: Purpose, server: &str, plain: &[u8]) -> Result<String, SealFailed> {
        let key = self.keys.first().ok_or(SealFailed)?;
        let mut context = hmac::Context::with_key(&key.nonces);
        let associated = associated(purpose, server);
        context.update(&(associated.len() as u64).to_le_bytes());
        context.update(&associated);
        context.update(plain);
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&context.sign().as_ref()[..NONCE_LEN]);
        bounded(key.seal(purpose, server, plain, nonce)?)
    }

    /// Opens what [`Keyring::seal_small`] or [`Keyring::seal_alike`] made for the same purpose and virtual server.
    ///
    /// # Errors
    /// [`TicketFault`]: the size is checked before anything else.
    pub fn open_small(&self, purpose: Purpose, server: &str, text: &str) -> Result<Small, TicketFault> {
        let mut buffer = [0; SMALL_TEXT_BYTES_MAX / 4 * 3];
        self.open(purpose, server, text, &mut buffer).map(Small::from_slice)
    }

    /// Seals with the first key, for one purpose at one virtual server.
    pub(super) fn seal(&self, purpose: Purpose, server: &str, plain: &[u8]) -> Result<String, SealFailed> {
        let key = self.keys.first().ok_or(SealFailed)?;
        let nonce = random::array::<NONCE_LEN>().map_err(|_| SealFailed)?;
        key.seal(purpose, server, plain, nonce)
    }
    /// Opens what [`Keyring::seal`] made for the same purpose and virtual server.
    ///
    /// `buffer` bounds the size: what does not fit is malformed, and nothing else is looked at.
    pub(super) fn open<'b>(
        &self,
        purpose: Purpose,
        server: &str,
        text: &str,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], TicketFault> {
        if text.len() > buffer.len() / 3 * 4 {
            return Err(TicketFault::Malformed);
        }
        let length = URL_SAFE_NO_PAD.decode_slice(text, buffer).map_err(|_| TicketFault::Malformed)?;
        let (head, sealed) = buffer[..length].split_at_mut_checked(HEAD_BYTES).ok_or(TicketFault::Malformed)?;
        if head[0] != FORMAT || sealed.len() < AEAD_TAG_BYTES {
            return Err(TicketFault::Malformed);
        }
        let (tag, nonce) = head[1..].split_at(TAG_BYTES);
        let key = self.keys.iter().find(|key| key.tag == tag).ok_or(TicketFault::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| TicketFault::Malformed)?;
        let plain = key.subkeys[purpose as usize]
            .open_in_place(nonce, Aad::from(associated(purpose, server)), sealed)
            .map_err(|_| TicketFault::Forged)?;
        Ok(plain)
    }
}

/// Format version, purpose and virtual server, unambiguous because only the last has no fixed form.
fn associated(purpose: Purpose, server: &str) -> SmallVec<[u8; 96]> {
    let mut bytes = SmallVec::new();
    bytes.push(FORMAT);
    bytes.extend_from_slice(purpose.label());
    bytes.push(0);
    bytes.extend_from_slice(server.as_bytes());
    bytes
}

#[cfg(test)]
mod tests;
