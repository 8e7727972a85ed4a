//! Sealed tickets: our state in the client's hands.
//!
//! The `Mcp-Session-Id` that a client sees is a ticket: everything known when the session began, sealed so that nobody
//! can read, forge or move it to another virtual server. Clients do not initialise again when a session dies, so a ticket
//! outlives reloads, restarts and this process; what changes after minting is kept by the node, under [`SessionId`].

mod capabilities;
mod codec;
mod keyring;
#[cfg(test)]
mod tests;

pub use capabilities::ClientCapabilities;
pub use keyring::{KEYS_MAX, Key, KeyFault, Keyring, Purpose, SECRET_BYTES_MIN, SMALL_TEXT_BYTES_MAX, Small};

use crate::exchange::UnixMillis;
use crate::random::{self, NoRandomness};
use crate::revision::Revision;
use std::fmt;

/// The longest text form of a session ticket, in bytes.
pub const TICKET_BYTES_MAX: usize = 1024;

/// What a session is called inside the gateway: random, never shown to clients or backends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// A new id that nobody can guess.
    ///
    /// # Errors
    /// [`NoRandomness`] when the system's generator fails.
    pub fn random() -> Result<SessionId, NoRandomness> {
        random::array().map(SessionId)
    }
}

/// Who a ticket was given to: a digest of the caller's identity, never of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrincipalDigest(pub [u8; 32]);

impl PrincipalDigest {
    /// The caller of a virtual server that asks nobody who they are. No digest of an identity is all zeros.
    pub const ANONYMOUS: PrincipalDigest = PrincipalDigest([0; 32]);
}

/// Which gateway node minted a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub [u8; 8]);

macro_rules! shown_as_hex {
    ($($name:ident)+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )+};
}

shown_as_hex! { SessionId NodeId }

/// What a client says of itself, made harmless: at most 128 bytes, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ClientText(Box<str>);

impl ClientText {
    /// The most bytes that are kept.
    pub const BYTES_MAX: usize = 128;

    /// Drops control characters, then cuts at the last character that still fits.
    pub fn new(said: &str) -> ClientText {
        let mut kept = String::new();
        for character in said.chars().filter(|character| !character.is_control()) {
            if kept.len() + character.len_utf8() > ClientText::BYTES_MAX {
                break;
            }
            kept.push(character);
        }
        ClientText(kept.into())
    }

    /// The text, if it is harmless as it is.
    fn exactly(text: &str) -> Option<ClientText> {
        let harmless = text.len() <= ClientText::BYTES_MAX && !text.chars().any(char::is_control);
        harmless.then(|| ClientText(text.into()))
    }

    /// The text that was kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An opened session ticket. The virtual server it is for is no member: a ticket does not open at another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Under which the node keeps what changes.
    pub id: SessionId,
    /// Who it was given to.
    pub principal: PrincipalDigest,
    /// The revision negotiated in `initialize`.
    pub revision: Revision,
    /// `clientInfo.name`.
    pub client_name: ClientText,
    /// `clientInfo.version`.
    pub client_version: ClientText,
    /// What the client declared that it can do.
    pub capabilities: ClientCapabilities,
    /// When it was minted.
    pub issued: UnixMillis,
    /// The first moment at which it is no longer valid.
    pub expires: UnixMillis,
    /// The node that minted it.
    pub node: NodeId,
}

/// Why a text is no ticket of ours. Clients are told none of it: to them the session does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketFault {
    /// Too long, not base64url, or not in a form that this version knows.
    Malformed,
    /// Sealed with a key that is not, or no longer, in the keyring.
    UnknownKey,
    /// Changed after sealing, made by somebody else, or sealed for another virtual server.
    Forged,
    /// Its time is over.
    Expired,
}

impl TicketFault {
    /// The metric label: lower case, stable.
    pub const fn label(self) -> &'static str {
        match self {
            TicketFault::Malformed => "malformed",
            TicketFault::UnknownKey => "unknown_key",
            TicketFault::Forged => "forged",
            TicketFault::Expired => "expired",
        }
    }
}

/// Nothing could be sealed: the system gave no randomness, or the cryptographic library failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library could not seal a ticket")]
pub struct SealFailed;

impl Ticket {
    /// Seals the ticket for one virtual server: base64url without padding, at most [`TICKET_BYTES_MAX`] long.
    ///
    /// # Errors
    /// [`SealFailed`] when no nonce can be drawn: a fault of the machine, not of the ticket.
    pub fn seal(&self, keyring: &Keyring, server: &str) -> Result<String, SealFailed> {
        keyring.seal(Purpose::Session, server, &codec::encode(self))
    }

    /// Opens the text form of a ticket that was sealed for this virtual server.
    ///
    /// # Errors
    /// [`TicketFault`]: the size is checked before anything else, the seal before anything is decoded.
    pub fn open(keyring: &Keyring, server: &str, text: &str, now: UnixMillis) -> Result<Ticket, TicketFault> {
        let mut buffer = [0; TICKET_BYTES_MAX / 4 * 3];
        let plain = keyring.open(Purpose::Session, server, text, &mut buffer)?;
        let ticket = codec::decode(plain).ok_or(TicketFault::Malformed)?;
        if now >= ticket.expires {
            return Err(TicketFault::Expired);
        }
        Ok(ticket)
    }

    /// The ticket's bytes before sealing. For fuzzing; requests go through [`Ticket::seal`].
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads what [`Ticket::encode`] wrote, and nothing else. For fuzzing; requests go through [`Ticket::open`].
    pub fn decode(bytes: &[u8]) -> Option<Ticket> {
        codec::decode(bytes)
    }
}
