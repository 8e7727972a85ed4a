//! CORS (Fetch standard) for origins that the guard admits, so that clients in a browser work.
//!
//! The admitted origin is named, never `*`, and credentials mode is never allowed: tokens travel in `Authorization`.

use crate::exchange::Exchange;
use crate::filter::{Answer, Head};
use crate::headers::PARAM_PREFIX;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, VARY,
};
use http::{HeaderValue, StatusCode};

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, DELETE");
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, \
                               Mcp-Method, Mcp-Name";
const RESPONSE_HEADERS: HeaderValue =
    HeaderValue::from_static("Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After, X-Request-Id");
/// How long a browser may remember a preflight: two hours, the most that browsers honour.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
/// How many `Mcp-Param-*` names of a preflight are answered; a tool has far fewer mirrored arguments.
const MAX_PARAM_NAMES: usize = 64;

/// Adds what every response to an admitted origin carries, errors included.
pub(super) fn expose(origin: &HeaderValue, exchange: &mut Exchange) {
    exchange.response_headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
    exchange.response_headers.push((ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS));
    exchange.response_headers.push((VARY, HeaderValue::from_static("Origin")));
}

/// Answers a preflight, before anybody asks for credentials.
pub(super) fn preflight(head: &Head<'_>) -> Answer {
    let mut answer = Answer::empty(StatusCode::NO_CONTENT);
    answer.headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    answer.headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    let mut allowed = String::from(REQUEST_HEADERS);
    for name in params_asked_for(head) {
        allowed.push_str(", ");
        allowed.push_str(name);
    }
    let allowed = HeaderValue::from_str(&allowed).unwrap_or(HeaderValue::from_static(REQUEST_HEADERS));
    answer.headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    answer
}

/// The `Mcp-Param-*` names that the browser asks for: their set depends on the tool, so they are echoed.
fn params_asked_for<'a>(head: &Head<'a>) -> impl Iterator<Item = &'a str> {
    head.headers
        .get_all(ACCESS_CONTROL_REQUEST_HEADERS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim_matches([' ', '\t']))
        .filter(|name| {
            http::HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| name.as_str().starts_with(PARAM_PREFIX))
        })
        .take(MAX_PARAM_NAMES)
}
