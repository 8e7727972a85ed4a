//! Where this node's secrets come from: the configuration, the state directory, or (when asked) nowhere that lasts.
//!
//! No key is built in. Generated keys are 32 random bytes in `ticket-keys`, one `id secret` a line; the first line seals,
//! all open, so a key is rotated by adding a line on top. The admin token is made and kept in the same way.

use super::state_dir::{self, StateDir, StateFault};
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine};
use lockgate_filters::random::{self, NoRandomness};
use lockgate_filters::ticket::{Key, KeyFault, Keyring, NodeId};
use std::path::Path;

const KEYS_FILE: &str = "ticket-keys";
const ADMIN_TOKEN_FILE: &str = "admin-token";
const NODE_FILE: &str = "node-id";

/// A ticket key as it is configured.
#[derive(Clone, Copy)]
pub struct ConfiguredKey<'a> {
    /// What people call it.
    pub id: &'a str,
    /// The secret, at least 32 bytes.
    pub secret: &'a [u8],
}

/// Why there are no keys. No secret is ever shown.
#[derive(Debug, thiserror::Error)]
pub enum KeysFault {
    /// A secret is neither base64 nor hex.
    #[error("ticket key {id:?}: the secret is neither base64 nor hex")]
    Undecodable {
        /// Which key.
        id: Box<str>,
    },
    /// A secret, or the set of them, makes no keyring.
    #[error(transparent)]
    Unfit(#[from] KeyFault),
    /// A stored file is not in its form.
    #[error("{file} in the state directory: line {line} is not of the form `id secret`")]
    Line {
        /// The file's name.
        file: &'static str,
        /// Counted from 1.
        line: usize,
    },
    /// A stored node id is no id.
    #[error("{NODE_FILE} in the state directory does not hold 16 hex digits")]
    Node,
    /// No key is configured, and there is no place to keep one.
    #[error("no ticket key is configured, and there is no usable state directory to keep one in")]
    Nowhere,
    /// The state directory failed.
    #[error(transparent)]
    State(#[from] StateFault),
    /// Nothing unguessable could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The keyring of the configured keys; the first seals.
///
/// # Errors
/// [`KeysFault`] naming the key by its id.
pub fn configured(keys: &[ConfiguredKey<'_>]) -> Result<Keyring, KeysFault> {
    let derived = keys.iter().map(|key| Key::derive(key.id, key.secret)).collect::<Result<Vec<_>, _>>()?;
    Ok(Keyring::new(derived)?)
}

/// The keyring kept in the state directory, generated on the first run.
///
/// # Errors
/// [`KeysFault`], among others when others may read the file.
pub fn stored(dir: &StateDir) -> Result<Keyring, KeysFault> {
    parse(&dir.secret(KEYS_FILE, || Ok(format!("generated {}\n", secret_text()?)))?)
}

/// The keyring that the state directory holds; `None` when it holds none.
///
/// # Errors
/// [`KeysFault`], as [`stored`].
pub fn known(dir: &StateDir) -> Result<Option<Keyring>, KeysFault> {
    dir.known_secret(KEYS_FILE)?.map(|text| parse(&text)).transpose()
}

fn parse(text: &str) -> Result<Keyring, KeysFault> {
    let mut keys = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (None, ..) => {}
            (Some(comment), ..) if comment.starts_with('#') => {}
            (Some(id), Some(secret), None) => keys.push(derive(id, secret)?),
            _ => return Err(KeysFault::Line { file: KEYS_FILE, line: at + 1 }),
        }
    }
    Ok(Keyring::new(keys)?)
}

/// A keyring that dies with this process, and all sessions with it.
///
/// # Errors
/// [`KeysFault::NoRandomness`].
pub fn ephemeral() -> Result<Keyring, KeysFault> {
    Ok(Keyring::new(vec![Key::derive("ephemeral", &random::array::<32>()?)?])?)
}

/// This node's id: kept in the state directory, or new when there is none.
///
/// # Errors
/// [`KeysFault`], among others when the stored id is no id.
pub fn node_id(dir: Option<&StateDir>) -> Result<NodeId, KeysFault> {
    let Some(dir) = dir else { return Ok(NodeId(random::array()?)) };
    let text = dir.secret(NODE_FILE, || Ok(format!("{}\n", NodeId(random::array()?))))?;
    let bytes = hex(text.trim()).and_then(|bytes| bytes.try_into().ok());
    bytes.map(NodeId).ok_or(KeysFault::Node)
}

/// The admin token kept in the state directory, generated on the first run: 32 random bytes in base64url.
///
/// # Errors
/// [`StateFault`], among others when others may read the file.
pub fn admin_token(dir: &StateDir) -> Result<String, StateFault> {
    let text = dir.secret(ADMIN_TOKEN_FILE, || Ok(format!("{}\n", secret_text()?)))?;
    Ok(text.trim().to_owned())
}

/// The admin token as a command-line client reads it: the file must be private, but may be another user's (root reads
/// the service's token). `None` when there is none.
///
/// # Errors
/// [`StateFault`].
pub fn read_admin_token(state_dir: &Path) -> Result<Option<String>, StateFault> {
    let text = state_dir::read_secret(&state_dir.join(ADMIN_TOKEN_FILE), None)?;
    Ok(text.map(|text| text.trim().to_owned()))
}

fn secret_text() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(random::array::<32>()?))
}

fn derive(id: &str, secret: &str) -> Result<Key, KeysFault> {
    let bytes = decode(secret.trim()).ok_or_else(|| KeysFault::Undecodable { id: id.into() })?;
    Ok(Key::derive(id, &bytes)?)
}

/// Hex when it can be hex: 64 hex digits are far likelier meant as 32 bytes than as 48 bytes of base64.
fn decode(text: &str) -> Option<Vec<u8>> {
    hex(text).or_else(|| base64(text).ok())
}

fn base64(text: &str) -> Result<Vec<u8>, DecodeError> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, config).decode(text)
}

/// Bytes written as pairs of hex digits, in either case; `None` for anything else.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_filters::exchange::UnixMillis;
    use lockgate_filters::revision::Revision;
    use lockgate_filters::ticket::{ClientCapabilities, ClientText, PrincipalDigest, SessionId, Ticket};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

    fn state() -> (tempfile::TempDir, StateDir) {
        let base = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&base.path().join("s")).unwrap();
        (base, dir)
    }

    #[test]
    fn a_secret_is_read_in_each_of_its_forms() {
        let bytes: Vec<u8> = (0..32).collect();
        assert_eq!(decode(HEX), Some(bytes.clone()));
        let dashes: Vec<u8> = (0..32).map(|i| if i % 3 == 0 { 0xff } else { i }).collect();
        for engine in [URL_SAFE_NO_PAD, base64::engine::general_purpose::STANDARD] {
            assert_eq!(decode(&engine.encode(&dashes)), Some(dashes.clone()));
        }
        assert_eq!(decode("not a secret"), None);
        assert_eq!(decode("+f"), base64("+f").ok());
    }

    #[test]
    fn configured_keys_are_checked_and_named() {
        let key = |id, secret: &'static str| ConfiguredKey { id, secret: secret.as_bytes() };
        let ring = configured(&[key("k2", HEX), key("k1", "another secret of more than 32 bytes")]).unwrap();
        assert_eq!(ring.keys().iter().map(Key::id).collect::<Vec<_>>(), ["k2", "k1"]);
        let fault = |secret: &[u8]| configured(&[ConfiguredKey { id: "k1", secret }]).unwrap_err().to_string();
        assert!(fault(b"short").contains("at least 32 bytes"));
        assert!(fault(&[b'x'; 33]).contains("repeats"));
        assert!(configured(&[]).is_err());
    }

    #[test]
    fn generated_keys_are_kept_and_rotated_by_hand() {
        let (_base, dir) = state();
        stored(&dir).unwrap();
        let path = dir.path().join(KEYS_FILE);
        let first = fs::read_to_string(&path).unwrap();
        stored(&dir).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        fs::write(&path, format!("# newest first\nnew {HEX}\n\n{first}")).unwrap();
        let ids: Vec<_> = stored(&dir).unwrap().keys().iter().map(|key| key.id().to_owned()).collect();
        assert_eq!(ids, ["new", "generated"]);
        fs::write(&path, "only-an-id\n").unwrap();
        assert!(matches!(stored(&dir), Err(KeysFault::Line { line: 1, .. })));
        fs::write(&path, "").unwrap();
        assert!(matches!(stored(&dir), Err(KeysFault::Unfit(KeyFault::Empty))));
    }

    #[test]
    fn the_node_keeps_its_id() {
        let (_base, dir) = state();
        let id = node_id(Some(&dir)).unwrap();
        assert_eq!(node_id(Some(&dir)).unwrap(), id);
        assert_ne!(node_id(None).unwrap(), id);
        fs::write(dir.path().join(NODE_FILE), "12").unwrap();
        assert!(matches!(node_id(Some(&dir)), Err(KeysFault::Node)));
    }

    #[test]
    fn the_admin_token_is_long_kept_and_private() {
        let (_base, dir) = state();
        assert_eq!(read_admin_token(dir.path()).unwrap(), None);
        let token = admin_token(&dir).unwrap();
        assert_eq!(token.len(), 43);
        assert_eq!(admin_token(&dir).unwrap(), token);
        assert_eq!(read_admin_token(dir.path()).unwrap(), Some(token));
        fs::set_permissions(dir.path().join(ADMIN_TOKEN_FILE), Permissions::from_mode(0o644)).unwrap();
        assert!(admin_token(&dir).is_err());
        assert!(read_admin_token(dir.path()).is_err());
    }

    #[test]
    fn racing_processes_get_the_same_key() {
        let (_base, dir) = state();
        let start = std::sync::Barrier::new(8);
        let rings: Vec<Keyring> = std::thread::scope(|scope| {
            let race = |_| {
                scope.spawn(|| {
                    start.wait();
                    stored(&dir).unwrap()
                })
            };
            let racers: Vec<_> = (0..8).map(race).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let ticket = ticket();
        let sealed = ticket.seal(&rings[0], "default").unwrap();
        for ring in rings {
            assert_eq!(Ticket::open(&ring, "default", &sealed, UnixMillis(0)), Ok(ticket.clone()));
        }
    }

    fn ticket() -> Ticket {
        Ticket {
            id: SessionId([1; 16]),
            principal: PrincipalDigest::ANONYMOUS,
            revision: Revision::V2025_11_25,
            client_name: ClientText::default(),
            client_version: ClientText::default(),
            capabilities: ClientCapabilities::NONE,
            issued: UnixMillis(0),
            expires: UnixMillis(1),
            node: NodeId([0; 8]),
        }
    }
}
