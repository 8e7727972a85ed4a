//! Requests to the endpoint, and the JSON-RPC messages that are made here.

use super::settings::{Limits, Server};
use crate::upstream::{AttemptFault, Caller, UpstreamRequest, UpstreamResponse, Verb};
use bytes::Bytes;
use http::StatusCode;
use lockgate_filters::fault::Fault;
use lockgate_filters::rpc::reply;
use lockgate_filters::splice::{Outbound, Replay};

/// Sends a request and reads the header of its response.
pub(super) async fn send(
    server: &Server,
    limits: &Limits,
    verb: Verb,
    fields: Outbound,
    body: Bytes,
) -> Result<UpstreamResponse, AttemptFault> {
    // The client decides whether to ask again: it knows what its tools do.
    let request = UpstreamRequest { verb, fields, body, replay: Replay::IfNotRun, caller: Caller::default() };
    server.connector.send(&server.endpoint, &request, &server.timeouts, limits.answer_bytes).await
}

/// Why a request has no answer of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    code: i32,
    message: String,
    status: Option<StatusCode>,
}

impl Failure {
    pub(super) fn new(fault: Fault, message: impl Into<String>) -> Failure {
        Failure { code: fault.code(), message: message.into(), status: None }
    }

    /// An HTTP response that says no without a word of JSON-RPC.
    pub(super) fn of_status(status: StatusCode) -> Failure {
        let (fault, text) = match status {
            StatusCode::UNAUTHORIZED => (Fault::PolicyDenied, "the server asks for credentials, or for others"),
            StatusCode::FORBIDDEN => (Fault::PolicyDenied, "the server refuses this"),
            StatusCode::NOT_FOUND => (Fault::BackendProtocol, "the server knows no such endpoint or session"),
            StatusCode::TOO_MANY_REQUESTS => (Fault::RateLimited, "the server is asked too often"),
            StatusCode::SERVICE_UNAVAILABLE => (Fault::Overloaded, "the server has no room for this"),
            StatusCode::GATEWAY_TIMEOUT => (Fault::BackendTimeout, "the server's own server did not answer in time"),
            status if status.is_success() => {
                (Fault::BackendProtocol, "the server answered without a JSON-RPC response")
            }
            _ => (Fault::BackendProtocol, "the server answered without a JSON-RPC message"),
        };
        let message = format!("{text} (HTTP {})", status.as_u16());
        Failure { status: Some(status), ..Failure::new(fault, message) }
    }

    /// The answer to the request with this raw id.
    pub(super) fn answer(&self, id: &[u8]) -> Bytes {
        reply::error_again(id, self.error().as_bytes())
    }

    /// The answer to something whose id is not known.
    pub(super) fn orphan(&self) -> Bytes {
        format!(r#"{{"jsonrpc":"2.0","error":{}}}"#, self.error()).into()
    }

    /// For logs.
    pub(super) fn text(&self) -> &str {
        &self.message
    }

    fn error(&self) -> String {
        let mut error = serde_json::json!({ "code": self.code, "message": self.message });
        if let Some(status) = self.status {
            error["data"] = serde_json::json!({ "httpStatus": status.as_u16() });
        }
        error.to_string()
    }
}

impl From<&AttemptFault> for Failure {
    fn from(fault: &AttemptFault) -> Failure {
        tracing::warn!(cause = fault.cause.as_deref().unwrap_or_default(), "the server: {fault}");
        Failure::new(fault.fault(), format!("the server: {fault}"))
    }
}
