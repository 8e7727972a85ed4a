//! Everything that can be refused or go wrong, written once: HTTP status, JSON-RPC code, metric label.
//!
//! `docs/errors.md` is generated from [`Fault::ALL`]; a test keeps the two equal. Codes follow the 2026-07-28 policy:
//! `-32020..-32099` only as the specification defines them, Lockgate's own codes outside the reserved range.

use std::borrow::Cow;

/// How loudly a fault is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// A client's mistake: seen in metrics, logged at debug level.
    Quiet,
    /// Something an operator should know: logged as a warning.
    Warning,
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal, $status:literal, $code:expr, $loudness:ident, $text:literal;)+) => {
        /// A kind of refusal or failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault { $($(#[doc = $doc])+ $name,)+ }

        impl Fault {
            /// Every fault, in the order of the table in `docs/errors.md`.
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)+];

            /// The metric label: lower case, stable, bounded.
            pub const fn label(self) -> &'static str { match self { $(Fault::$name => $label,)+ } }

            /// The HTTP status of the answer.
            pub const fn status(self) -> u16 { match self { $(Fault::$name => $status,)+ } }

            /// The JSON-RPC error code of the answer.
            pub const fn code(self) -> i32 { match self { $(Fault::$name => $code,)+ } }

            /// How loudly it is logged.
            pub const fn loudness(self) -> Loudness { match self { $(Fault::$name => Loudness::$loudness,)+ } }

            /// The message shown when nothing more precise is known.
            pub const fn text(self) -> &'static str { match self { $(Fault::$name => $text,)+ } }

            /// What it means, for `docs/errors.md`.
            pub const fn meaning(self) -> &'static str { match self { $(Fault::$name => concat!($($doc),+),)+ } }
        }
    };
}

faults! {
    /// The body is not JSON.
    NotJson = "not_json", 400, -32700, Quiet, "the body is not valid JSON";
    /// The body is not UTF-8.
    NotUtf8 = "not_utf8", 400, -32700, Quiet, "the body is not valid UTF-8";
    /// The body nests deeper than `limits.depth`.
    TooDeep = "too_deep", 400, -32700, Quiet, "the body nests too deeply";
    /// An object holds the same member twice, or a case variant of a member that decisions are made on.
    DuplicateMember = "duplicate_member", 400, -32600, Quiet, "an object names a member twice";
    /// The body is JSON but no JSON-RPC 2.0 message.
    NotJsonRpc = "not_json_rpc", 400, -32600, Quiet, "the body is not a JSON-RPC 2.0 message";
    /// A batch outside revision 2025-03-26, an empty batch, or `initialize` within one.
    BatchRefused = "batch_refused", 400, -32600, Quiet, "batches exist only in revision 2025-03-26";
    /// A batch with more members than `limits.batch`.
    BatchTooLong = "batch_too_long", 400, -32600, Quiet, "the batch has too many members";
    /// The body is longer than `limits.body_bytes`.
    BodyTooLong = "body_too_long", 413, -32600, Quiet, "the body is too long";
    /// The body did not arrive within `limits.body_time`.
    BodyTooSlow = "body_too_slow", 408, -32600, Quiet, "the body took too long to arrive";
    /// The body ended before its announced length.
    BodyCut = "body_cut", 400, -32600, Quiet, "the body ended early";
    /// The request headers exceed `limits.header_bytes` or `limits.header_fields`.
    HeadersTooLarge = "headers_too_large", 431, -32600, Quiet, "the request headers are too large";
    /// The request headers did not arrive within `limits.header_time`.
    HeadersTooSlow = "headers_too_slow", 408, -32600, Quiet, "the request headers took too long to arrive";
    /// What came is no HTTP/1.1 request, or names its host or its length in two ways.
    MalformedHead = "malformed_head", 400, -32600, Quiet, "this is not a valid HTTP request";
    /// The `Content-Type` of a POST is not `application/json`.
    ContentType = "content_type", 415, -32600, Quiet, "Content-Type must be application/json";
    /// The request body carries a `Content-Encoding`.
    ContentEncoding = "content_encoding", 415, -32600, Quiet, "request bodies must not be content-coded";
    /// `Accept` admits neither `application/json` nor `text/event-stream`.
    NotAcceptable = "not_acceptable", 406, -32600, Quiet, "Accept must admit application/json or text/event-stream";
    /// The HTTP method does not exist at this path.
    MethodNotAllowed = "method_not_allowed", 405, -32600, Quiet, "this HTTP method is not allowed here";
    /// `Host` names none of the listener's hosts (DNS rebinding defence).
    HostRefused = "host_refused", 403, -32600, Warning, "this Host is not served here";
    /// `Origin` is not one of the listener's allowed origins.
    OriginRefused = "origin_refused", 403, -32600, Warning, "this Origin is not allowed here";
    /// No virtual server lives at this path.
    UnknownPath = "unknown_path", 404, -32600, Quiet, "no virtual server lives at this path";
    /// A mirrored header is missing, malformed or differs from the body (MCP 2026-07-28).
    HeaderMismatch = "header_mismatch", 400, -32020, Quiet, "headers and body disagree";
    /// The request needs a client capability that was not declared (MCP 2026-07-28).
    MissingCapability = "missing_capability", 400, -32021, Quiet, "a required client capability was not declared";
    /// The protocol revision is not offered here (MCP 2026-07-28).
    UnsupportedRevision = "unsupported_revision", 400, -32022, Quiet, "this protocol revision is not supported";
    /// Required `_meta` members or parameters are missing or malformed.
    InvalidParams = "invalid_params", 400, -32602, Quiet, "required parameters are missing or malformed";
    /// The method does not exist in the modern era.
    UnknownMethod = "unknown_method", 404, -32601, Quiet, "this method does not exist in this protocol revision";
    /// The method does not exist on this virtual server (legacy era).
    MethodNotFound = "method_not_found", 200, -32601, Quiet, "this method does not exist here";
    /// There is no tool, prompt, resource or template of this name or URI.
    UnknownItem = "unknown_item", 200, -32602, Quiet, "there is no such item";
    /// There is no resource of this URI (legacy era).
    UnknownResource = "unknown_resource", 200, -32002, Quiet, "there is no such resource";
    /// The cursor of a list was not given out by this virtual server, or for another list.
    InvalidCursor = "invalid_cursor", 200, -32602, Quiet, "this cursor was not given out for this list";
    /// A response to a request that was not put to this session, or no longer waits for one.
    NotAsked = "not_asked", 400, -32600, Quiet, "no request of this id waits for a response";
    /// The virtual server does not offer the era of the request; the body is deliberately no modern error.
    EraNotOffered = "era_not_offered", 400, -32600, Quiet, "this server speaks another protocol era";
    /// A legacy request other than `initialize` came without `Mcp-Session-Id`.
    SessionRequired = "session_required", 400, -32600, Quiet, "Mcp-Session-Id is required: send initialize first";
    /// `Mcp-Session-Id` was given more than once, or in other than visible ASCII.
    SessionUnreadable = "session_unreadable", 400, -32600, Quiet, "Mcp-Session-Id must be given once, in visible ASCII";
    /// `initialize` came with an `Mcp-Session-Id`: it opens a session and cannot be sent within one.
    SessionOpen = "session_open", 400, -32600, Quiet, "initialize opens a session: send it without Mcp-Session-Id";
    /// The session id was not issued here, has expired, was ended, or belongs to somebody else.
    SessionUnknown = "session_unknown", 404, -32600, Quiet, "this session does not exist";
    /// `MCP-Protocol-Version` is not the revision that the session negotiated.
    SessionRevision = "session_revision", 400, -32600, Quiet, "MCP-Protocol-Version is not what the session negotiated";
    /// `limits.sessions` is reached.
    TooManySessions = "too_many_sessions", 503, -31003, Warning, "too many sessions";
    /// `limits.listen_streams` is reached.
    TooManyStreams = "too_many_streams", 503, -31003, Warning, "too many clients listen already";
    /// The backend could not be reached or broke the connection.
    BackendUnreachable = "backend_unreachable", 502, -31001, Warning, "the backend could not be reached";
    /// The backend answered, but not in a form that may be passed on.
    BackendProtocol = "backend_protocol", 502, -31001, Warning, "the backend gave an answer that cannot be passed on";
    /// The backend did not connect, answer or finish in time.
    BackendTimeout = "backend_timeout", 504, -31002, Warning, "the backend did not answer in time";
    /// The backend has lost the state of this session, and `on_session_loss: fail` wants the client to know.
    BackendSessionLost = "backend_session_lost", 502, -31006, Warning, "the backend has lost this session";
    /// What the request is about is held by another process of the gateway, which cannot be reached.
    PeerUnreachable = "peer_unreachable", 502, -31007, Warning, "the gateway node that holds this cannot be reached";
    /// The gateway or the backend has no room for more.
    Overloaded = "overloaded", 503, -31003, Warning, "there is no room for this request now";
    /// The gateway is stopping.
    Draining = "draining", 503, -31003, Quiet, "the gateway is stopping";
    /// A rate limit refused the request.
    RateLimited = "rate_limited", 429, -31004, Quiet, "too many requests";
    /// A policy refused the request.
    PolicyDenied = "policy_denied", 200, -31005, Quiet, "refused by policy";
    /// The virtual server wants to know who calls, and the request does not say (RFC 6750 section 3.1).
    Unauthenticated = "unauthenticated", 401, -31008, Quiet, "authentication is required";
    /// What the request shows proves nothing: it is malformed, expired, revoked, for somebody else, or of nobody who is believed.
    InvalidToken = "invalid_token", 401, -31008, Quiet, "the credentials are not valid";
    /// A credential came where none may come: in the query, or in several header fields.
    MisplacedCredential = "misplaced_credential", 400, -32600, Quiet, "credentials belong into one header field";
    /// The token does not hold a scope that this operation needs (RFC 6750 section 3.1).
    InsufficientScope = "insufficient_scope", 403, -31009, Quiet, "the token does not hold the scope that this needs";
    /// Who calls cannot be told now: keys, an introspection endpoint or a revocation list are out of reach for too long.
    AuthorityUnavailable = "authority_unavailable", 503, -31010, Warning, "credentials cannot be checked now";
    /// A fault inside the gateway.
    Internal = "internal", 500, -32603, Warning, "the gateway failed";
}

/// A [`Fault`] with what is known about this one occurrence.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What kind of refusal it is.
    pub fault: Fault,
    /// The message for the client: never an address, a secret or a token.
    pub message: Cow<'static, str>,
    /// Members for `error.data`, written as JSON members without braces (`"supported":["2026-07-28"]`).
    pub data: Option<Box<str>>,
    /// Extra response headers, such as `Allow` or `Retry-After`.
    pub headers: Vec<(&'static str, Box<str>)>,
    /// Which filter or lane decided.
    pub rule: &'static str,
    /// Why, for logs and metrics, where clients are told less; empty where the fault says it all.
    pub reason: &'static str,
}

impl Refusal {
    /// A refusal with the fault's own text.
    pub fn new(fault: Fault, rule: &'static str) -> Refusal {
        Refusal { fault, message: Cow::Borrowed(fault.text()), data: None, headers: Vec::new(), rule, reason: "" }
    }

    /// The same with a reason that clients are not told: a label, stable and bounded.
    #[must_use]
    pub fn because(mut self, reason: &'static str) -> Refusal {
        self.reason = reason;
        self
    }

    /// The same with a more precise message.
    #[must_use]
    pub fn saying(mut self, message: impl Into<Cow<'static, str>>) -> Refusal {
        self.message = message.into();
        self
    }

    /// The same with members for `error.data`.
    #[must_use]
    pub fn with_data(mut self, members: impl Into<Box<str>>) -> Refusal {
        self.data = Some(members.into());
        self
    }

    /// The same with a response header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Box<str>>) -> Refusal {
        self.headers.push((name, value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_are_unique_and_codes_obey_the_policy() {
        let labels: HashSet<_> = Fault::ALL.iter().map(|f| f.label()).collect();
        assert_eq!(labels.len(), Fault::ALL.len());
        for fault in Fault::ALL {
            let code = fault.code();
            let reserved = (-32768..=-32000).contains(&code);
            let known = [-32700, -32600, -32601, -32602, -32603, -32002, -32020, -32021, -32022];
            assert!(!reserved || known.contains(&code), "{} invents {code}", fault.label());
        }
    }
}
