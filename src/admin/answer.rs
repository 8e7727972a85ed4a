//! Answers of the admin listener: small JSON objects, never stored by anybody.

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    ForeignHost,
    Origin,
    Token,
    NotFound,
    MethodNotAllowed,
    BodyTooLong,
    BodyUnreadable,
    TooSlow,
    Failed,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, message) = match self {
            Refusal::ForeignHost => (
                StatusCode::FORBIDDEN,
                "foreign_host",
                "the admin listener is not served under this Host: see admin.allowed_hosts",
            ),
            Refusal::Origin => (StatusCode::FORBIDDEN, "origin", "the admin listener does not answer web pages"),
            Refusal::Token => (
                StatusCode::UNAUTHORIZED,
                "token",
                "the admin token is missing or wrong: Authorization: Bearer <token>",
            ),
            Refusal::NotFound => (StatusCode::NOT_FOUND, "not_found", "there is nothing at this path"),
            Refusal::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
            }
            Refusal::BodyTooLong => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_long", "the request body is too long"),
            Refusal::BodyUnreadable => (StatusCode::BAD_REQUEST, "body_unreadable", "the request body broke off"),
            Refusal::TooSlow => (StatusCode::GATEWAY_TIMEOUT, "too_slow", "the request took too long"),
            Refusal::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "failed", "the gateway failed: see its log"),
        };
        let mut response = (status, Json(json!({ "error": error, "message": message }))).into_response();
        if self == Refusal::Token {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"lockgate admin\""));
        }
        response
    }
}
