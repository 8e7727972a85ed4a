//! Bounds and times.

use crate::config::values::{ByteSize, TimeSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The bodies of all requests in flight, those up to 64 KiB not counted. Beyond it, requests get 503.
    pub body_bytes_total: ByteSize,
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
    /// How long a client may take nothing of what is sent to it.
    pub write_time: TimeSpan,
    /// How much a client that is slower than the gateway must take in a second, measured over each `write_time`.
    pub write_rate: ByteSize,
    /// Sessions held in memory. When they are that many, those unused for `session_idle` make room; if there are none,
    /// `initialize` is refused.
    pub sessions: u32,
    /// After how long without use a session leaves memory. Its client may go on with it.
    pub session_idle: TimeSpan,
    /// Clients of HTTP+SSE at a time, each with its event stream. Beyond it, they get 503.
    pub sse_sessions: u32,
    /// Streams of `subscriptions/listen` (2026-07-28) at a time. Each may hold a stream at every backend of its virtual server
    /// besides. Beyond it, such requests get 503.
    pub listen_streams: u32,
    /// Ended sessions that are remembered until their tickets expire. Beyond it, the one that expires first is forgotten,
    /// and would be a session again.
    pub ended_sessions: u32,
    /// Resource subscriptions of one session that are remembered. The backend has those beyond it all the same, but they
    /// are not made again when it loses the session.
    pub subscriptions: u32,
    /// The URIs of a session's remembered subscriptions, together, and what their backends call them where callers are told
    /// apart.
    pub subscription_bytes: ByteSize,
    /// Log levels and subscriptions of sessions that left memory for `session_idle`, and where these were open, all
    /// together. Beyond it, those in which nothing was set are forgotten first, and of these those whose tickets expire first.
    pub left_bytes: ByteSize,
    /// What is kept of one session's streams for a client that reconnects.
    pub replay_bytes: ByteSize,
    /// How long it is kept, and how long a stream or another exchange goes on without its client.
    pub replay_time: TimeSpan,
    /// Streams of one session that go on without a client. Beyond it, the one that has waited longest ends.
    pub replay_streams: u32,
    /// What is kept of the streams of all sessions. Beyond it, a session that records more gives up its own oldest.
    pub replay_bytes_total: ByteSize,
    /// Streams of all sessions that go on without a client. Beyond it, the newest ends.
    pub replay_streams_total: u32,
    /// Exchanges of one session that go on after their client has left, streams not counted. Beyond it, the oldest are
    /// cancelled.
    pub detached: u32,
    /// Those of all sessions. Beyond it, the newest is cancelled.
    pub detached_total: u32,
    /// The request bodies that those of all sessions hold.
    pub detached_bytes: ByteSize,
    /// HTTP/2 streams at a time on one connection, and how many of them a client may reset in a second.
    pub streams_per_connection: u32,
    /// Items of one kind (tools, prompts, resources, resource templates) that one backend may list. Those beyond it are left
    /// out.
    pub list_items: u32,
    /// The items of all kinds that one backend may list, together. Those beyond it are left out.
    pub list_bytes: ByteSize,
    /// Pages that are read of a backend's list.
    pub list_pages: u32,
    /// How long reading a backend's list may take, all pages together.
    pub list_time: TimeSpan,
    /// After how long a backend's lists are read again, where the backend says nothing else; each time a little earlier or
    /// later, so that not all are read at once.
    pub catalog_refresh: TimeSpan,
    /// Callers whose own lists are kept, of one backend that tells callers apart and of one virtual server. Beyond it, those
    /// are read again who have not called for longest.
    pub caller_lists: u32,
    /// The lists of all such callers, at all backends: half of it for what backends listed, half for what virtual servers show
    /// of it. Beyond it, those are forgotten who have not called for longest, and read or merged again when they call.
    pub caller_list_bytes: ByteSize,
    /// Arguments of one tool that may be mirrored into `Mcp-Param-*` header fields. A tool with more is passed on unchecked.
    pub tool_headers: u32,
    /// How deep the schema of a tool may be nested. A deeper one is passed on unchecked.
    pub tool_depth: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_bytes: ByteSize::kib(64),
            header_fields: 100,
            header_time: TimeSpan::seconds(10),
            body_bytes: ByteSize::mib(4),
            body_bytes_total: ByteSize::mib(512),
            body_time: TimeSpan::seconds(30),
            depth: 64,
            batch: 32,
            sse_event: ByteSize::mib(4),
            answer_bytes: ByteSize::mib(16),
            connections: 10_000,
            connections_per_address: 512,
            keep_alive_idle: TimeSpan::seconds(60),
            write_time: TimeSpan::seconds(30),
            write_rate: ByteSize::kib(1),
            sessions: 100_000,
            session_idle: TimeSpan::seconds(3_600),
            sse_sessions: 1_000,
            listen_streams: 1_000,
            ended_sessions: 100_000,
            subscriptions: 1_000,
            subscription_bytes: ByteSize::kib(64),
            left_bytes: ByteSize::mib(32),
            replay_bytes: ByteSize::mib(1),
            replay_time: TimeSpan::seconds(300),
            replay_streams: 32,
            replay_bytes_total: ByteSize::mib(256),
            replay_streams_total: 1_000,
            detached: 32,
            detached_total: 1_000,
            detached_bytes: ByteSize::mib(64),
            streams_per_connection: 100,
            list_items: 10_000,
            list_bytes: ByteSize::mib(8),
            list_pages: 64,
            list_time: TimeSpan::seconds(30),
            catalog_refresh: TimeSpan::seconds(300),
            caller_lists: 64,
            caller_list_bytes: ByteSize::mib(128),
            tool_headers: 64,
            tool_depth: 64,
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
    /// How long idle connections are kept meanwhile, for requests that are already on their way; never longer than `time`.
    /// An interrupt from a terminal (SIGINT) does not wait for them.
    pub idle: TimeSpan,
}

impl Default for Drain {
    fn default() -> Drain {
        Drain { time: TimeSpan::seconds(30), idle: TimeSpan::seconds(5) }
    }
}
