//! What belongs to a backend.

use super::Command;
use crate::config::values::{EndpointUrl, HeaderKey, ItemPrefix, Secret, TimeSpan};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::PathBuf;

/// An MCP server behind the gateway: reached at `endpoints`, or started by `command`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Where the server is reached. One endpoint for now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// How the server is started, where it is reached on its standard input and output (stdio).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// Which protocol eras and which transport the server speaks.
    #[serde(default)]
    pub protocol: BackendProtocol,
    /// What stands before the names of its items where a virtual server gives prefixes. Default: the backend's name; where
    /// that is longer than 16 characters, its first nine, a `-` and six digits of its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<ItemPrefix>,
    /// What happens when the server has lost a client's session.
    #[serde(default)]
    pub on_session_loss: SessionLoss,
    /// Whether HTTP/2 is spoken to the server.
    #[serde(default)]
    pub http2: BackendHttp2,
    /// TLS towards the server, where the endpoint is `https`. The certificate is always verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// How long the gateway waits for the server.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How connections to the server are kept for the next requests.
    #[serde(default)]
    pub pool: Pool,
    /// Header fields of the client that are passed on, beyond those of MCP and tracing and `accept-language`. Everything
    /// else stays at the gateway, `authorization`, `cookie` and `user-agent` included, unless it is listed here.
    #[serde(default)]
    pub forward_headers: Vec<HeaderKey>,
    /// Header fields set on every request to the server, such as `authorization`. Values are secrets.
    #[serde(default, deserialize_with = "distinct")]
    pub headers: IndexMap<HeaderKey, Secret>,
}

impl Backend {
    /// Whether it speaks Streamable HTTP, as opposed to HTTP+SSE or standard input and output.
    pub fn is_streamable_http(&self) -> bool {
        self.command.is_none() && self.protocol != BackendProtocol::Sse
    }
}

/// Reads header fields; two spellings of one name are the same field.
fn distinct<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IndexMap<HeaderKey, Secret>, D::Error> {
    struct Fields;
    impl<'de> Visitor<'de> for Fields {
        type Value = IndexMap<HeaderKey, Secret>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = IndexMap::new();
            while let Some((key, value)) = map.next_entry()? {
                if fields.insert(key, value).is_some() {
                    return Err(A::Error::custom(
                        "one of these header fields stands here twice, in different spellings",
                    ));
                }
            }
            Ok(fields)
        }
    }
    deserializer.deserialize_map(Fields)
}

/// One replica of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Its URL: http, https, `unix:///run/server.sock:/mcp`, or `demo:`.
    pub url: EndpointUrl,
}

/// Which protocol eras a backend speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackendProtocol {
    /// The gateway finds out.
    #[default]
    Auto,
    /// The stateless era only (2026-07-28 and later).
    Modern,
    /// The session era only (up to 2025-11-25).
    Legacy,
    /// The session era over HTTP+SSE, the transport of revision 2024-11-05: the endpoint is the URL of its event stream.
    Sse,
}

impl BackendProtocol {
    /// Whether the session era is excluded.
    pub const fn is_modern_only(self) -> bool {
        matches!(self, BackendProtocol::Modern)
    }

    /// Whether the stateless era is excluded.
    pub const fn is_legacy_only(self) -> bool {
        matches!(self, BackendProtocol::Legacy | BackendProtocol::Sse)
    }
}

/// What happens when a backend has lost a client's session: it answers 404, its command ended, its stream broke off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionLoss {
    /// Another session is opened in its place: log level and subscriptions are set again, and a call that provably did not
    /// run is made again. Everything else that the server remembered of the session is gone.
    #[default]
    Heal,
    /// The request that relied on the lost session fails (-31006). The client's own session stays, and what is sent
    /// afterwards begins anew in another one.
    Fail,
}

/// Whether HTTP/2 is spoken to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackendHttp2 {
    /// Negotiated on https, HTTP/1.1 on http.
    #[default]
    Auto,
    /// Always; on http without negotiation (prior knowledge).
    Always,
    /// HTTP/1.1 only.
    Never,
}

/// TLS towards a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendTls {
    /// Certificate authorities to trust instead of the system's (PEM). Relative to the configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The name to verify and to ask for (SNI) instead of the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The gateway's own certificate chain (PEM), where the server asks for one. Needs `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The private key of `certificate` (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// How long the gateway waits for a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: TimeSpan,
    /// From the first byte of the request to the end of the answer's header.
    pub first_byte: TimeSpan,
    /// Between two pieces of an answer; a backend's own keep-alive comments count. Held streams (GET, `subscriptions/listen`)
    /// may be silent.
    pub idle_stream: TimeSpan,
    /// From the start of the request to the end of the answer; held streams live for a day.
    pub total: TimeSpan,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: TimeSpan::seconds(5),
            first_byte: TimeSpan::seconds(120),
            idle_stream: TimeSpan::seconds(300),
            total: TimeSpan::seconds(3_600),
        }
    }
}

/// How connections to each endpoint of a backend are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// Idle HTTP/1.1 connections that are kept.
    pub idle_connections: u32,
    /// How long an HTTP/1.1 connection is kept idle. The default is below the 5 s after which many servers close theirs:
    /// a request that meets the close on its way is lost, and a tool call must not be sent twice.
    pub idle_time: TimeSpan,
    /// How long an HTTP/2 connection without streams is kept.
    pub idle_time_http2: TimeSpan,
    /// Requests that share one HTTP/2 connection before another one is opened.
    pub streams_per_connection: u32,
    /// How often the addresses behind a host name are looked up again.
    pub resolve_interval: TimeSpan,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool {
            idle_connections: 1024,
            idle_time: TimeSpan::seconds(4),
            idle_time_http2: TimeSpan::seconds(60),
            streams_per_connection: 100,
            resolve_interval: TimeSpan::seconds(30),
        }
    }
}
