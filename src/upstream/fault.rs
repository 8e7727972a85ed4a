//! What can go wrong with one attempt at a backend, and whether the backend can have acted on it.

use lockgate_filters::fault::{Fault, Refusal};
use std::borrow::Cow;
use std::fmt;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Its host name has no address.
    Unresolved,
    /// No connection could be made.
    Unreachable,
    /// Its process does not run.
    NotRunning,
    /// It has as much to do as it may have.
    Busy,
    /// No connection could be made in time.
    ConnectTimeout,
    /// The TLS handshake failed, certificate verification included.
    Tls,
    /// The connection ended before the answer began.
    Closed,
    /// The response header was not complete in time.
    FirstByteTimeout,
    /// Nothing came for too long in the middle of an answer.
    IdleTimeout,
    /// The exchange took too long as a whole.
    TotalTimeout,
    /// The connection ended in the middle of the answer.
    Cut,
    /// The answer breaks HTTP, or may not be passed on.
    Protocol,
    /// The answer is longer than what is buffered.
    TooLong,
}

impl FaultKind {
    const fn text(self) -> &'static str {
        match self {
            FaultKind::Unresolved => "its host name cannot be resolved",
            FaultKind::Unreachable => "no connection could be made",
            FaultKind::NotRunning => "its process does not run",
            FaultKind::Busy => "it has too much to do",
            FaultKind::ConnectTimeout => "no connection could be made in time",
            FaultKind::Tls => "the TLS handshake failed",
            FaultKind::Closed => "it closed the connection before answering",
            FaultKind::FirstByteTimeout => "it did not answer in time",
            FaultKind::IdleTimeout => "its answer stopped arriving",
            FaultKind::TotalTimeout => "the exchange took too long",
            FaultKind::Cut => "it cut its answer short",
            FaultKind::Protocol => "its answer breaks HTTP",
            FaultKind::TooLong => "its answer is too long",
        }
    }
}

/// Why an attempt failed.
///
/// [`fmt::Display`] gives the text for clients: it holds no address. [`AttemptFault::cause`] is for the operator.
#[derive(Clone, Debug)]
pub struct AttemptFault {
    /// What went wrong.
    pub kind: FaultKind,
    /// Whether the backend cannot have acted on the request, so that any request may be sent again.
    ///
    /// True where no connection came about, where the request was not handed over whole (a JSON-RPC message that is not
    /// whole cannot be run), or where HTTP/2 says so (`REFUSED_STREAM`, `GOAWAY` below the stream, RFC 9113 section 8.7).
    /// A connection that ends after a whole request was written proves nothing: the backend may have run it and died.
    pub provably_not_run: bool,
    /// Whether the attempt was made on a kept-alive connection.
    pub reused: bool,
    /// Text for clients, where it says more than the kind does.
    pub text: Option<Cow<'static, str>>,
    /// What the system or a library said: for logs only, it may hold addresses.
    pub cause: Option<Box<str>>,
}

impl AttemptFault {
    /// A fault after which the backend may have acted on the request.
    pub(super) fn new(kind: FaultKind) -> AttemptFault {
        AttemptFault { kind, provably_not_run: false, reused: false, text: None, cause: None }
    }

    /// A fault before the backend can have acted on the request.
    pub(super) fn not_run(kind: FaultKind) -> AttemptFault {
        AttemptFault { provably_not_run: true, ..AttemptFault::new(kind) }
    }

    /// An answer that may not be passed on, and why.
    pub(crate) fn protocol(text: &'static str) -> AttemptFault {
        AttemptFault::new(FaultKind::Protocol).saying(text)
    }

    /// With text for clients that says more than the kind does.
    #[must_use]
    pub(super) fn saying(self, text: impl Into<Cow<'static, str>>) -> AttemptFault {
        AttemptFault { text: Some(text.into()), ..self }
    }

    #[must_use]
    pub(super) fn because(mut self, cause: impl fmt::Display) -> AttemptFault {
        self.cause = Some(cause.to_string().into());
        self
    }

    #[must_use]
    pub(super) fn on_reused(mut self, reused: bool) -> AttemptFault {
        self.reused = reused;
        self
    }

    /// The kind of error the client is shown.
    pub const fn fault(&self) -> Fault {
        match self.kind {
            FaultKind::Unresolved
            | FaultKind::Unreachable
            | FaultKind::NotRunning
            | FaultKind::Tls
            | FaultKind::Closed
            | FaultKind::Cut => Fault::BackendUnreachable,
            FaultKind::Busy => Fault::Overloaded,
            FaultKind::ConnectTimeout
            | FaultKind::FirstByteTimeout
            | FaultKind::IdleTimeout
            | FaultKind::TotalTimeout => Fault::BackendTimeout,
            FaultKind::Protocol | FaultKind::TooLong => Fault::BackendProtocol,
        }
    }

    /// The refusal for the client: it names the backend, never its address.
    pub fn refusal(&self, backend: &str, rule: &'static str) -> Refusal {
        Refusal::new(self.fault(), rule).saying(format!("backend \"{backend}\": {self}"))
    }
}

impl fmt::Display for AttemptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.as_deref().unwrap_or(self.kind.text()))
    }
}

impl std::error::Error for AttemptFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_see_names_the_backend_and_never_the_cause() {
        let fault = AttemptFault::not_run(FaultKind::Unreachable).because("connect to 10.1.2.3:9000 refused");
        let refusal = fault.refusal("demo", "forward");
        assert_eq!(refusal.fault, Fault::BackendUnreachable);
        assert_eq!(refusal.message, "backend \"demo\": no connection could be made");
        assert!(fault.provably_not_run);
    }

    #[test]
    fn each_kind_maps_to_unreachable_timeout_or_protocol() {
        assert_eq!(AttemptFault::new(FaultKind::Cut).fault(), Fault::BackendUnreachable);
        assert_eq!(AttemptFault::new(FaultKind::FirstByteTimeout).fault(), Fault::BackendTimeout);
        assert_eq!(AttemptFault::protocol("it redirects elsewhere").fault(), Fault::BackendProtocol);
    }
}
