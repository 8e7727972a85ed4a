//! The little of MCP that a load test needs: prepared requests, prepared results, and a skim of a message.

pub mod request;
pub mod results;
pub mod skim;

/// Newest revision of the legacy era: handshake, session, `Mcp-Session-Id`.
pub const LEGACY_REVISION: &str = "2025-11-25";
/// Revision of the modern era: every request carries its own metadata.
pub const MODERN_REVISION: &str = "2026-07-28";

/// Which of the two protocol eras a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Era {
    /// `initialize`, then a session.
    Legacy,
    /// Stateless: headers and `_meta` on every request.
    Modern,
}

impl Era {
    /// The word used in tables and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }

    /// The revision that a client of this era sends.
    pub fn revision(self) -> &'static str {
        match self {
            Self::Legacy => LEGACY_REVISION,
            Self::Modern => MODERN_REVISION,
        }
    }
}
