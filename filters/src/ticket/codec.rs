//! The bytes of a ticket before it is sealed.
//!
//! Fixed fields first, then two short texts, each behind a length byte; little-endian. Nothing may follow. Only our own
//! keys make openable tickets, yet decoding trusts nothing: a fault here must not outlive a leaked key.

use super::{ClientCapabilities, ClientText, NodeId, PrincipalDigest, SessionId, Ticket};
use crate::exchange::UnixMillis;
use crate::revision::Revision;

/// Room for the fixed fields and the longest texts.
pub(super) const PLAIN_BYTES_MAX: usize = 16 + 32 + 1 + 4 + 8 + 8 + 8 + 2 * (1 + ClientText::BYTES_MAX);

/// Stable codes: a ticket outlives the program that minted it.
const REVISIONS: [(u8, Revision); 5] = [
    (1, Revision::V2024_11_05),
    (2, Revision::V2025_03_26),
    (3, Revision::V2025_06_18),
    (4, Revision::V2025_11_25),
    (5, Revision::V2026_07_28),
];

pub(super) fn encode(ticket: &Ticket) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PLAIN_BYTES_MAX);
    bytes.extend_from_slice(&ticket.id.0);
    bytes.extend_from_slice(&ticket.principal.0);
    let code = REVISIONS.iter().find(|(_, revision)| *revision == ticket.revision).map_or(0, |(code, _)| *code);
    bytes.push(code);
    bytes.extend_from_slice(&ticket.capabilities.bits().to_le_bytes());
    bytes.extend_from_slice(&ticket.issued.0.to_le_bytes());
    bytes.extend_from_slice(&ticket.expires.0.to_le_bytes());
    bytes.extend_from_slice(&ticket.node.0);
    for text in [&ticket.client_name, &ticket.client_version] {
        // ClientText is at most 128 bytes long, so its length fits.
        bytes.push(text.as_str().len() as u8);
        bytes.extend_from_slice(text.as_str().as_bytes());
    }
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Option<Ticket> {
    let mut reader = Reader(bytes);
    let ticket = Ticket {
        id: SessionId(reader.array()?),
        principal: PrincipalDigest(reader.array()?),
        revision: revision(reader.array()?)?,
        capabilities: ClientCapabilities::from_bits(u32::from_le_bytes(reader.array()?)),
        issued: UnixMillis(u64::from_le_bytes(reader.array()?)),
        expires: UnixMillis(u64::from_le_bytes(reader.array()?)),
        node: NodeId(reader.array()?),
        client_name: reader.text()?,
        client_version: reader.text()?,
    };
    reader.0.is_empty().then_some(ticket)
}

fn revision([code]: [u8; 1]) -> Option<Revision> {
    REVISIONS.iter().find(|(known, _)| *known == code).map(|(_, revision)| *revision)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn text(&mut self) -> Option<ClientText> {
        let [length] = self.array()?;
        let (text, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        ClientText::exactly(std::str::from_utf8(text).ok()?)
    }
}
