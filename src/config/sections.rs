//! The sections of a configuration that mean the same in the file and at run time.
//!
//! Doc comments here are the descriptions of the published JSON Schema: they speak to whoever writes a configuration.

use super::values::{ByteSize, EndpointUrl, HeaderKey, Secret, TimeSpan};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::PathBuf;

/// TLS towards clients: PEM files, reloaded when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// The certificate chain, leaf first (PEM). Relative to the configuration file.
    pub certificate: PathBuf,
    /// The private key (PEM). Relative to the configuration file.
    pub key: PathBuf,
}

/// Whether connections start with a PROXY protocol header. Believed only from `trusted_proxies`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// No header is expected.
    #[default]
    Off,
    /// Version 1 (text) is required from trusted proxies.
    V1,
    /// Version 2 (binary) is required from trusted proxies.
    V2,
    /// Version 1 or 2 is required from trusted proxies.
    Any,
}

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

/// An MCP server behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["endpoints"]))]
pub struct Backend {
    /// Where the server is reached. One endpoint for now.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Which protocol eras the server speaks.
    #[serde(default)]
    pub protocol: BackendProtocol,
    /// Whether HTTP/2 is spoken to the server.
    #[serde(default)]
    pub http2: BackendHttp2,
    /// TLS towards the server, where the endpoint is `https`. The certificate is always verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// How long the gateway waits for the server.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Header fields of the client that are passed on, beyond those of MCP and tracing and `accept-language`. Everything
    /// else stays at the gateway, `authorization` and `cookie` included, unless it is listed here.
    #[serde(default)]
    pub forward_headers: Vec<HeaderKey>,
    /// Header fields set on every request to the server, such as `authorization`. Values are secrets.
    #[serde(default, deserialize_with = "distinct")]
    pub headers: IndexMap<HeaderKey, Secret>,
}

impl Backend {
    /// A backend with one endpoint and every default.
    pub fn of(url: EndpointUrl) -> Backend {
        Backend {
            endpoints: vec![Endpoint { url }],
            protocol: BackendProtocol::default(),
            http2: BackendHttp2::default(),
            tls: None,
            timeouts: Timeouts::default(),
            forward_headers: Vec::new(),
            headers: IndexMap::new(),
        }
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

/// Bounds on what clients and backends may send and hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The head of a request: request line and header fields.
    pub header_bytes: ByteSize,
    /// The number of header fields of a request.
    pub header_fields: u32,
    /// How long a client may take for the PROXY header and TLS handshake, for the first byte of its first request, and
    /// for each head.
    pub header_time: TimeSpan,
    /// The body of a request.
    pub body_bytes: ByteSize,
    /// How long a client may take to send a body.
    pub body_time: TimeSpan,
    /// How deep JSON may be nested.
    pub depth: u32,
    /// The messages of one batch (protocol revision 2025-03-26).
    pub batch: u32,
    /// One event of a backend's stream.
    pub sse_event: ByteSize,
    /// A backend's answer, where it must be held whole, or read although nobody gets it.
    pub answer_bytes: ByteSize,
    /// Client connections at a time, over all listeners.
    pub connections: u32,
    /// Client connections at a time from one address (IPv6: from one /64); loopback is exempt.
    pub connections_per_address: u32,
    /// How long an idle client connection is kept.
    pub keep_alive_idle: TimeSpan,
    /// Sessions held in memory. When they are that many, those unused for `session_idle` make room; if there are none,
    /// `initialize` is refused.
    pub sessions: u32,
    /// After how long without use a session leaves memory. Its client may go on with it.
    pub session_idle: TimeSpan,
    /// What is kept of one session's streams for a client that reconnects.
    pub replay_bytes: ByteSize,
    /// How long it is kept, and how long a stream or another exchange goes on without its client.
    pub replay_time: TimeSpan,
    /// Exchanges of one session that go on after their client has left, streams not counted. Beyond it, the oldest are
    /// cancelled.
    pub detached: u32,
    /// Those of all sessions. Beyond it, the newest is cancelled.
    pub detached_total: u32,
    /// The request bodies that those of all sessions hold.
    pub detached_bytes: ByteSize,
    /// HTTP/2 streams at a time on one connection, and how many of them a client may reset in a second.
    pub streams_per_connection: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_bytes: ByteSize::kib(64),
            header_fields: 100,
            header_time: TimeSpan::seconds(10),
            body_bytes: ByteSize::mib(4),
            body_time: TimeSpan::seconds(30),
            depth: 64,
            batch: 32,
            sse_event: ByteSize::mib(4),
            answer_bytes: ByteSize::mib(16),
            connections: 10_000,
            connections_per_address: 512,
            keep_alive_idle: TimeSpan::seconds(60),
            sessions: 100_000,
            session_idle: TimeSpan::seconds(3_600),
            replay_bytes: ByteSize::mib(1),
            replay_time: TimeSpan::seconds(300),
            detached: 32,
            detached_total: 1_000,
            detached_bytes: ByteSize::mib(64),
            streams_per_connection: 100,
        }
    }
}

/// Streams held open towards clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Streams {
    /// After how long without an event a comment is sent, so that nothing between takes the stream for dead.
    pub keep_alive: TimeSpan,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams { keep_alive: TimeSpan::seconds(15) }
    }
}

/// Stopping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// How long exchanges in flight may take to finish once the gateway stops.
    pub time: TimeSpan,
}

impl Default for Drain {
    fn default() -> Drain {
        Drain { time: TimeSpan::seconds(30) }
    }
}

/// What the gateway writes about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The form of log lines.
    pub format: LogFormat,
    /// The least important lines to write.
    pub level: LogLevel,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// `pretty` on a terminal, else `json`.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something may be wrong.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level as it is written in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}
