//! MCP protocol revisions and the two eras they fall into.
//!
//! Source: the specification's revision list and its terms "legacy" (handshake revisions up to 2025-11-25) and "modern"
//! (per-request metadata, from 2026-07-28).

use std::fmt;

/// How a peer speaks: with a handshake and sessions, or statelessly with metadata on each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// `initialize`, sessions, GET streams, server-to-client requests: 2024-11-05 to 2025-11-25.
    Legacy,
    /// Stateless POSTs that carry revision and capabilities in `_meta`: 2026-07-28 and later.
    Modern,
}

/// A protocol revision that Lockgate knows, oldest first, so that they compare by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2024-11-05: HTTP+SSE transport; negotiable over Streamable HTTP too.
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP; the only revision with JSON-RPC batches.
    V2025_03_26,
    /// 2025-06-18: the `MCP-Protocol-Version` header, elicitation, structured content.
    V2025_06_18,
    /// 2025-11-25: SSE polling, URL elicitation, experimental tasks.
    V2025_11_25,
    /// 2026-07-28: stateless.
    V2026_07_28,
}

impl Revision {
    /// Every known revision, oldest first.
    pub const ALL: [Revision; 5] = [
        Revision::V2024_11_05,
        Revision::V2025_03_26,
        Revision::V2025_06_18,
        Revision::V2025_11_25,
        Revision::V2026_07_28,
    ];

    /// Reads the form used on the wire (`2025-11-25`); `None` for a revision that Lockgate does not know.
    pub fn parse(text: &[u8]) -> Option<Revision> {
        Revision::ALL.into_iter().find(|revision| revision.as_str().as_bytes() == text)
    }

    /// The form used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Revision::V2024_11_05 => "2024-11-05",
            Revision::V2025_03_26 => "2025-03-26",
            Revision::V2025_06_18 => "2025-06-18",
            Revision::V2025_11_25 => "2025-11-25",
            Revision::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era this revision belongs to.
    pub const fn era(self) -> Era {
        match self {
            Revision::V2026_07_28 => Era::Modern,
            _ => Era::Legacy,
        }
    }

    /// Whether a POST body may be a JSON-RPC batch (2025-03-26 added it, 2025-06-18 removed it).
    pub const fn allows_batch(self) -> bool {
        matches!(self, Revision::V2025_03_26)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_revision_survives_the_wire_form() {
        for revision in Revision::ALL {
            assert_eq!(Revision::parse(revision.as_str().as_bytes()), Some(revision));
        }
        assert_eq!(Revision::parse(b"2027-01-01"), None);
        assert_eq!(Revision::parse(b""), None);
    }

    #[test]
    fn only_the_newest_is_modern_and_only_one_allows_batches() {
        let modern: Vec<_> = Revision::ALL.into_iter().filter(|r| r.era() == Era::Modern).collect();
        assert_eq!(modern, [Revision::V2026_07_28]);
        let batch: Vec<_> = Revision::ALL.into_iter().filter(|r| r.allows_batch()).collect();
        assert_eq!(batch, [Revision::V2025_03_26]);
    }
}
