//! Why something could not be fetched. Nothing of an answer is ever in an error's text: it came from elsewhere, and logs and
//! clients read errors.

use super::address::Range;
use http::StatusCode;
use thiserror::Error;

/// Why something could not be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    /// The URL cannot be requested: another scheme, no host, or a user in it.
    #[error("the URL is none that is fetched")]
    Url,
    /// Plain HTTP where TLS is required.
    #[error("the URL is not https")]
    Insecure,
    /// The URL was learned, and leads to an address that is not public.
    #[error("the address is not public ({}): `egress.allow` lists exemptions", .0.label())]
    Blocked(Range),
    /// The host name has no address, or could not be looked up.
    #[error("the host name could not be looked up")]
    Unresolved,
    /// No connection could be made.
    #[error("no connection could be made")]
    Connect,
    /// The server could not prove who it is, or no protocol was agreed on.
    #[error("TLS could not be agreed on, or the server's certificate is not trusted")]
    Tls,
    /// It took longer than it may.
    #[error("it took too long")]
    Timeout,
    /// The header of the answer is larger than it may be.
    #[error("the header of the answer is too large")]
    HeaderTooLarge,
    /// The body of the answer is larger than it may be.
    #[error("the answer is too large")]
    TooLarge,
    /// More redirects than are followed, or one that is not followed at all.
    #[error("the redirect is not followed")]
    Redirect,
    /// The answer is of another type than was asked for, or compressed.
    #[error("the answer is of another type than was asked for")]
    ContentType,
    /// The answer has another status than success.
    #[error("the answer has status {}", .0.as_u16())]
    Status(StatusCode),
    /// The answer is no HTTP, or broke off.
    #[error("the answer broke off, or is no HTTP")]
    Protocol,
}

impl FetchError {
    /// The label in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            FetchError::Url => "url",
            FetchError::Insecure => "insecure",
            FetchError::Blocked(_) => "blocked",
            FetchError::Unresolved => "unresolved",
            FetchError::Connect => "connect",
            FetchError::Tls => "tls",
            FetchError::Timeout => "timeout",
            FetchError::HeaderTooLarge => "header_too_large",
            FetchError::TooLarge => "too_large",
            FetchError::Redirect => "redirect",
            FetchError::ContentType => "content_type",
            FetchError::Status(_) => "status",
            FetchError::Protocol => "protocol",
        }
    }

    /// Every label.
    pub const LABELS: [&'static str; 13] = [
        "url",
        "insecure",
        "blocked",
        "unresolved",
        "connect",
        "tls",
        "timeout",
        "header_too_large",
        "too_large",
        "redirect",
        "content_type",
        "status",
        "protocol",
    ];
}
