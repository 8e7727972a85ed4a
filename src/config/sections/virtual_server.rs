//! How a virtual server behaves towards its clients.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether the names of items get prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PrefixPolicy {
    /// All of them.
    Always,
    /// Those that two backends share.
    OnConflict,
    /// None: of two items with one name, the first backend's is shown.
    Never,
}

/// What becomes of lists when one backend does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailurePolicy {
    /// Its items stay for the time of `grace`, marked as stale, and are then left out.
    #[default]
    Partial,
    /// Lists fail until it answers.
    Strict,
    /// Its items stay, marked as stale, for as long as the gateway runs.
    Stale,
}

/// A protocol revision, by its date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProtocolRevision {
    /// Sessions; HTTP+SSE.
    #[serde(rename = "2024-11-05")]
    V2024_11_05,
    /// Sessions; Streamable HTTP.
    #[serde(rename = "2025-03-26")]
    V2025_03_26,
    /// Sessions.
    #[serde(rename = "2025-06-18")]
    V2025_06_18,
    /// Sessions; the last revision that has them.
    #[serde(rename = "2025-11-25")]
    V2025_11_25,
    /// Stateless.
    #[serde(rename = "2026-07-28")]
    V2026_07_28,
}

impl ProtocolRevision {
    /// Whether it belongs to the stateless era.
    pub const fn is_modern(self) -> bool {
        matches!(self, ProtocolRevision::V2026_07_28)
    }
}
