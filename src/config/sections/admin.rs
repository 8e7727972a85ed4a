//! What belongs to the operator's listener.

use crate::config::values::{ByteSize, TimeSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may read `/metrics` on the admin listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricsAccess {
    /// Everybody while the admin listener is bound to loopback, else holders of the admin token.
    #[default]
    Loopback,
    /// Everybody who reaches the admin listener.
    Open,
    /// Holders of the admin token.
    Token,
}

/// Bounds on what operators' connections may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminLimits {
    /// Connections at a time; those beyond are closed at once.
    pub connections: u32,
    /// From the start of a connection, or the end of an answer, to the end of the next request's head.
    pub header_time: TimeSpan,
    /// The head of a request.
    pub header_bytes: ByteSize,
    /// The body of a request.
    pub body_bytes: ByteSize,
    /// From the end of a request's head to the end of its answer; a reload counts too.
    pub request_time: TimeSpan,
    /// The life of a connection.
    pub connection_time: TimeSpan,
}

impl Default for AdminLimits {
    fn default() -> AdminLimits {
        AdminLimits {
            connections: 64,
            header_time: TimeSpan::seconds(10),
            header_bytes: ByteSize::kib(64),
            body_bytes: ByteSize::kib(64),
            request_time: TimeSpan::seconds(30),
            connection_time: TimeSpan::seconds(600),
        }
    }
}
