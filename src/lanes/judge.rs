//! What a backend's answer means, by its status and form: judged once for every lane, so that none can disagree.

use crate::upstream::{Form, UpstreamResponse};
use bytes::Bytes;
use http::StatusCode;
use http::header::RETRY_AFTER;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::rpc::id;
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::scan::{self, Kind, Limits};
use std::time::Duration;
use tokio::time::timeout;

const RULE: &str = "judge";

/// How long the body of a 404 may take that says what is missing.
const PATIENCE: Duration = Duration::from_secs(5);

/// JSON-RPC: the method does not exist.
const UNKNOWN_METHOD: &[u8] = b"-32601";

/// What may be done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// One JSON message, or an error that the backend explains in JSON: passed on with its status.
    Json,
    /// An event stream.
    Events,
    /// A notification or response was taken: nothing is owed.
    Taken,
    /// Nothing, where nothing was asked for.
    Nothing,
}

/// Judges an answer to a message of this kind, `None` for a GET.
///
/// # Errors
/// The refusal that the client gets instead of an answer that may not be passed on.
pub(super) fn judge(backend: &str, asked: Option<Kind>, response: &UpstreamResponse) -> Result<Judged, Refusal> {
    by_form(asked, response.status, response.form()).map_err(|fault| {
        let refusal = refusal(backend, fault, response.status);
        match retry_after(response) {
            Some(when) if fault == Fault::Overloaded => refusal.with_header("retry-after", when),
            _ => refusal,
        }
    })
}

/// When the backend wants to be asked again, as it says it (RFC 9110 section 10.2.3).
fn retry_after(response: &UpstreamResponse) -> Option<&str> {
    response.headers.get(RETRY_AFTER)?.to_str().ok()
}

fn by_form(asked: Option<Kind>, status: StatusCode, form: Form) -> Result<Judged, Fault> {
    match status {
        // The caller's own credentials were not sent, so the caller cannot mend this.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            return Err(Fault::BackendProtocol);
        }
        _ if status.is_success() => match asked {
            // Servers answer with every kind of success here, and with bodies that mean nothing.
            Some(Kind::Notification | Kind::Response) => return Ok(Judged::Taken),
            Some(Kind::Request) if matches!(status, StatusCode::NO_CONTENT | StatusCode::ACCEPTED) => {
                return Err(Fault::BackendProtocol);
            }
            None if matches!(status, StatusCode::NO_CONTENT | StatusCode::ACCEPTED) => return Ok(Judged::Nothing),
            _ => {}
        },
        _ => {}
    }
    match form {
        Form::Json => Ok(Judged::Json),
        Form::EventStream if status == StatusCode::OK => Ok(Judged::Events),
        // In no form of the protocol. What a client can act on keeps its meaning.
        Form::EventStream | Form::Other => Err(match status {
            StatusCode::METHOD_NOT_ALLOWED if asked.is_none() => Fault::MethodNotAllowed,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Fault::Overloaded,
            _ => Fault::BackendProtocol,
        }),
    }
}

fn refusal(backend: &str, fault: Fault, status: StatusCode) -> Refusal {
    let code = status.as_u16();
    let refusal = Refusal::new(fault, RULE).saying(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            format!("backend \"{backend}\" refuses the gateway with status {code}")
        }
        StatusCode::NO_CONTENT | StatusCode::ACCEPTED => {
            format!("backend \"{backend}\" answered with status {code} and no response")
        }
        StatusCode::NOT_FOUND => format!("backend \"{backend}\" answered with status 404"),
        _ => format!("backend \"{backend}\" answered with status {code} and no JSON"),
    });
    match fault {
        // The only method that a backend may lack is GET: a session without a stream of its own.
        Fault::MethodNotAllowed => refusal.with_header("allow", "POST, DELETE, OPTIONS"),
        _ => refusal,
    }
}

/// Refuses a request whose answer, with this status, ended without the response.
pub(super) fn no_response(backend: &str, status: StatusCode) -> Refusal {
    match by_form(Some(Kind::Request), status, Form::Other) {
        Err(fault) if !status.is_success() => refusal(backend, fault, status),
        _ => Refusal::new(Fault::BackendProtocol, RULE).saying(format!("backend \"{backend}\" gave no response")),
    }
}

/// Refuses a request to which a backend answered 404 without saying what is missing. The client must not get that status:
/// it would take its own session for lost.
pub(super) fn not_found(backend: &str) -> Refusal {
    refusal(backend, Fault::BackendProtocol, StatusCode::NOT_FOUND)
}

/// What a 404 within a session says is missing.
#[derive(Debug)]
pub(super) enum Missing {
    /// The session (2025-11-25, "Session Management"): the message did not run.
    Session,
    /// Not the session: this JSON-RPC error is the answer. The client must not see the status, or it would take its own
    /// session for lost.
    Something(Bytes),
    /// Nobody can tell.
    Unknown,
}

/// Reads what a 404 says is missing, to a message with this raw id that was sent within a session, or in none
/// (`in_session`).
pub(super) async fn missing(
    mut response: UpstreamResponse,
    asked: Option<&[u8]>,
    in_session: bool,
    most: usize,
) -> Missing {
    let body = match response.form() {
        Form::Json => timeout(PATIENCE, response.collect(most)).await.ok().and_then(Result::ok),
        Form::EventStream | Form::Other => None,
    };
    match body {
        Some(body) if asked.is_some_and(|asked| explains(&body, asked, in_session)) => Missing::Something(body),
        _ if in_session => Missing::Session,
        _ => Missing::Unknown,
    }
}

/// Whether this is an error about the request with this raw id. Within a session, only an unknown method certainly is: servers of both
/// eras answer 404 to it.
fn explains(body: &[u8], asked: &[u8], in_session: bool) -> bool {
    let limits = Limits { depth: scan::MAX_DEPTH, batch: 1 };
    let Ok(message) = scan::scan_envelope(body, &limits) else { return false };
    let Some(error) = message.error.filter(|_| message.id.is_some_and(|own| id::same(own.span.of(body), asked))) else {
        return false;
    };
    let error = error.span.of(body);
    !in_session || member(error, "code").is_some_and(|code| code.span.of(error) == UNKNOWN_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Option<Kind> = Some(Kind::Request);
    const TOLD: [Option<Kind>; 2] = [Some(Kind::Notification), Some(Kind::Response)];

    fn judged(asked: Option<Kind>, status: u16, form: Form) -> Result<Judged, Fault> {
        by_form(asked, StatusCode::from_u16(status).unwrap(), form)
    }

    #[test]
    fn a_request_needs_a_response() {
        assert_eq!(judged(REQUEST, 200, Form::Json), Ok(Judged::Json));
        assert_eq!(judged(REQUEST, 200, Form::EventStream), Ok(Judged::Events));
        for status in [200, 202, 204] {
            assert_eq!(judged(REQUEST, status, Form::Other), Err(Fault::BackendProtocol), "{status}");
        }
        for (status, form) in [(202, Form::Json), (204, Form::Json), (202, Form::EventStream)] {
            assert_eq!(judged(REQUEST, status, form), Err(Fault::BackendProtocol), "{status} {form:?}");
        }
    }

    #[test]
    fn what_was_told_is_taken_with_any_success() {
        for asked in TOLD {
            for form in [Form::Json, Form::EventStream, Form::Other] {
                for status in [200, 201, 202, 204] {
                    assert_eq!(judged(asked, status, form), Ok(Judged::Taken), "{status} {form:?}");
                }
            }
            assert_eq!(judged(asked, 400, Form::Json), Ok(Judged::Json));
            assert_eq!(judged(asked, 500, Form::Other), Err(Fault::BackendProtocol));
        }
    }

    #[test]
    fn credentials_are_the_gateways_affair_in_any_form() {
        for asked in [REQUEST, TOLD[0], TOLD[1], None] {
            for status in [401, 403, 407] {
                for form in [Form::Json, Form::EventStream, Form::Other] {
                    assert_eq!(judged(asked, status, form), Err(Fault::BackendProtocol));
                }
            }
        }
        let refusal = refusal("b", Fault::BackendProtocol, StatusCode::UNAUTHORIZED);
        assert_eq!(refusal.message, "backend \"b\" refuses the gateway with status 401");
    }

    #[test]
    fn pages_of_intermediaries_keep_their_meaning_only() {
        for (status, fault) in [
            (502, Fault::BackendProtocol),
            (404, Fault::BackendProtocol),
            (429, Fault::Overloaded),
            (503, Fault::Overloaded),
            (405, Fault::BackendProtocol),
        ] {
            assert_eq!(judged(REQUEST, status, Form::Other), Err(fault), "{status}");
            assert_eq!(judged(REQUEST, status, Form::EventStream), Err(fault), "{status}");
            assert_eq!(judged(REQUEST, status, Form::Json), Ok(Judged::Json), "{status}");
        }
        assert_eq!(judged(None, 405, Form::Other), Err(Fault::MethodNotAllowed));
        assert_eq!(judged(None, 204, Form::Other), Ok(Judged::Nothing));
        let refusal = refusal("b", Fault::MethodNotAllowed, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refusal.headers[0].0, "allow");
    }

    #[test]
    fn only_an_unknown_method_is_certainly_not_an_unknown_session() {
        let method = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#;
        let session = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"Session not found"}}"#;
        assert!(explains(method, b"1", true) && explains(method, b"1.0", false));
        assert!(!explains(method, b"2", true) && !explains(method, b"\"1\"", false), "about another request");
        assert!(!explains(session, b"1", true) && explains(session, b"1", false));
        for nameless in [
            &br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":""}}"#[..],
            br#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            br#"{"message":"Not Found"}"#,
            b"",
        ] {
            assert!(!explains(nameless, b"1", true) && !explains(nameless, b"1", false));
        }
    }
}
