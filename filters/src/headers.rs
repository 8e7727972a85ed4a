//! Names of the header fields that MCP adds to HTTP.

use http::HeaderName;

/// The revision of a request (2025-06-18 and later).
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The session of a legacy request.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Mirror of `method` (2026-07-28).
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// Mirror of `params.name`, `params.uri` or `params.taskId` (2026-07-28).
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// What the names of mirrored arguments start with (2026-07-28).
pub const PARAM_PREFIX: &str = "mcp-param-";
/// Where a legacy client's stream broke off (WHATWG HTML section 9.2).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The correlation id of an exchange.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
