//! Metric label values: fixed sets, so that no client decides how many series there are.

use lockgate_filters::fault::Fault;
use lockgate_filters::revision::Era;

macro_rules! labels {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $value_doc:literal])+ $value:ident = $label:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $value_doc])+ $value,)+ }

        impl $name {
            /// Every value, in the order of `docs/metrics.md`.
            pub const ALL: &'static [$name] = &[$($name::$value,)+];

            /// How many values there are.
            pub const COUNT: usize = $name::ALL.len();

            /// The label value: stable, part of the documented interface.
            pub const fn label(self) -> &'static str { match self { $($name::$value => $label,)+ } }

            /// What the value means, for `docs/metrics.md`.
            pub const fn meaning(self) -> &'static str { match self { $($name::$value => concat!($($value_doc),+),)+ } }

            /// The place of this value in [`Self::ALL`].
            pub(super) const fn index(self) -> usize { self as usize }
        }
    };
}

labels! {
    /// What an exchange is about: an MCP method, or one of the HTTP exchanges that carry none.
    Method {
        /// `initialize`
        Initialize = "initialize",
        /// `server/discover`
        Discover = "server/discover",
        /// `ping`
        Ping = "ping",
        /// `tools/list`
        ToolsList = "tools/list",
        /// `tools/call`
        ToolsCall = "tools/call",
        /// `prompts/list`
        PromptsList = "prompts/list",
        /// `prompts/get`
        PromptsGet = "prompts/get",
        /// `resources/list`
        ResourcesList = "resources/list",
        /// `resources/templates/list`
        ResourceTemplatesList = "resources/templates/list",
        /// `resources/read`
        ResourcesRead = "resources/read",
        /// `resources/subscribe`
        ResourcesSubscribe = "resources/subscribe",
        /// `resources/unsubscribe`
        ResourcesUnsubscribe = "resources/unsubscribe",
        /// `completion/complete`
        Complete = "completion/complete",
        /// `logging/setLevel`
        SetLevel = "logging/setLevel",
        /// `subscriptions/listen`
        Listen = "subscriptions/listen",
        /// `tasks/get`
        TasksGet = "tasks/get",
        /// `tasks/result`
        TasksResult = "tasks/result",
        /// `tasks/list`
        TasksList = "tasks/list",
        /// `tasks/update`
        TasksUpdate = "tasks/update",
        /// `tasks/cancel`
        TasksCancel = "tasks/cancel",
        /// `notifications/initialized`
        Initialized = "notifications/initialized",
        /// `notifications/cancelled`
        Cancelled = "notifications/cancelled",
        /// `notifications/progress`
        Progress = "notifications/progress",
        /// `notifications/roots/list_changed`
        RootsListChanged = "notifications/roots/list_changed",
        /// A 2025-03-26 batch of several messages.
        Batch = "batch",
        /// A client's answer to a server's request.
        Response = "response",
        /// A GET: the stream of a legacy session.
        Stream = "GET",
        /// A DELETE: the end of a legacy session.
        Delete = "DELETE",
        /// An OPTIONS: a browser's preflight.
        Preflight = "OPTIONS",
        /// A method that Lockgate does not know.
        Other = "other",
        /// Refused before a message was read.
        None = "none",
    }
}

impl Method {
    /// Those that are methods of JSON-RPC: the others stand behind them.
    const NAMED: &[Method] = Method::ALL.split_at(Method::Batch.index()).0;

    /// The label of a JSON-RPC method; [`Method::Other`] for one that Lockgate does not know.
    pub fn from_name(name: &str) -> Method {
        Method::NAMED.iter().copied().find(|method| method.label() == name).unwrap_or(Method::Other)
    }
}

labels! {
    /// The era of the client's request.
    ClientEra {
        /// Handshake and sessions (revisions up to 2025-11-25).
        Legacy = "legacy",
        /// Stateless (2026-07-28 and later).
        Modern = "modern",
        /// Refused before the era was known.
        Unknown = "unknown",
    }
}

impl From<Option<Era>> for ClientEra {
    fn from(era: Option<Era>) -> ClientEra {
        match era {
            Some(Era::Legacy) => ClientEra::Legacy,
            Some(Era::Modern) => ClientEra::Modern,
            None => ClientEra::Unknown,
        }
    }
}

labels! {
    /// How an exchange ended for the client.
    Outcome {
        /// A result, or a notification that was taken.
        Ok = "ok",
        /// An error that the backend answered, passed on.
        Error = "error",
        /// Refused by a rule of the gateway: `lockgate_refusals_total` says which.
        Refused = "refused",
        /// The backend or the gateway failed.
        Failed = "failed",
        /// The client went away before the answer was complete.
        Cancelled = "cancelled",
    }
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Outcome {
        match fault {
            Fault::BackendUnreachable
            | Fault::BackendProtocol
            | Fault::BackendTimeout
            | Fault::PeerUnreachable
            | Fault::Internal => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }
}

labels! {
    /// How one attempt at a backend ended.
    UpstreamOutcome {
        /// An answer with a status below 400.
        Ok = "ok",
        /// An answer with a status of 400 to 499.
        ClientError = "client_error",
        /// An answer with a status of 500 or more.
        ServerError = "server_error",
        /// No connection, or a connection that broke.
        Unreachable = "unreachable",
        /// No connection, answer or end within the backend's timeouts.
        Timeout = "timeout",
        /// An answer that could not be passed on.
        Protocol = "protocol",
        /// The client went away first.
        Cancelled = "cancelled",
    }
}

impl UpstreamOutcome {
    /// The outcome of an answer with this HTTP status.
    pub const fn from_status(status: u16) -> UpstreamOutcome {
        match status {
            0..400 => UpstreamOutcome::Ok,
            400..500 => UpstreamOutcome::ClientError,
            _ => UpstreamOutcome::ServerError,
        }
    }
}

impl From<Fault> for UpstreamOutcome {
    fn from(fault: Fault) -> UpstreamOutcome {
        match fault {
            Fault::BackendTimeout => UpstreamOutcome::Timeout,
            Fault::BackendProtocol => UpstreamOutcome::Protocol,
            _ => UpstreamOutcome::Unreachable,
        }
    }
}

labels! {
    /// What an open event stream carries.
    StreamKind {
        /// The answer to one POST.
        Answer = "answer",
        /// The GET stream of a legacy session.
        Session = "session",
        /// `subscriptions/listen`.
        Listen = "listen",
        /// All that a client of HTTP+SSE is told.
        Sse = "sse",
    }
}

labels! {
    /// Why a connection was not taken, or was closed by the gateway.
    ConnectionRefusal {
        /// `limits.connections` is reached.
        Limit = "limit",
        /// `limits.connections_per_address` is reached.
        AddressLimit = "address_limit",
        /// The TLS handshake failed or took too long.
        TlsHandshake = "tls_handshake",
        /// The PROXY protocol header is missing, malformed, late or from somebody who is not trusted.
        ProxyProtocol = "proxy_protocol",
        /// The system did not hand it over: no file descriptors, no memory, or it was gone already.
        AcceptFailed = "accept_failed",
        /// No request came within `limits.header_time`.
        Silent = "silent",
        /// A request header took longer than `limits.header_time`.
        HeaderSlow = "header_slow",
        /// A request header was longer than twice `limits.header_bytes`.
        HeaderLarge = "header_large",
        /// The client did not take what was sent to it.
        WriteSlow = "write_slow",
        /// An HTTP/2 client reset its streams too fast.
        ResetFlood = "reset_flood",
        /// HTTP/1.1: no further request came within `limits.keep_alive_idle`.
        Idle = "idle",
    }
}

labels! {
    /// What another node is to do.
    NodeRequest {
        /// To take a client's answer to what a backend has asked there.
        Answer = "answer",
        /// To go on with a stream.
        Stream = "stream",
        /// To cancel a request, if it is under way there.
        Cancel = "cancel",
        /// To end a session.
        End = "end",
        /// To carry out whatever a client asks in a session that belongs there.
        Session = "session",
    }
}

labels! {
    /// What became of a request to another node.
    NodeOutcome {
        /// It was taken.
        Ok = "ok",
        /// No node that can be reached is the process that it is for.
        Unknown = "unknown",
        /// The node cannot be spoken to, or stopped speaking before it answered.
        Unreachable = "unreachable",
        /// The node did not take it.
        Refused = "refused",
        /// `cluster.exchanges` is reached.
        Full = "full",
    }
}

labels! {
    /// How a reload ended.
    Reload {
        /// The configuration changed and is in use.
        Applied = "applied",
        /// The configuration is what was already in use.
        Unchanged = "unchanged",
        /// The configuration is wrong; the last good one stays in use.
        Rejected = "rejected",
    }
}

labels! {
    /// An era that a backend may speak.
    BackendEra {
        /// Handshake and sessions.
        Legacy = "legacy",
        /// Stateless.
        Modern = "modern",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_is_found_by_its_own_label() {
        let wordless = [
            Method::Batch,
            Method::Response,
            Method::Stream,
            Method::Delete,
            Method::Preflight,
            Method::Other,
            Method::None,
        ];
        for method in Method::ALL {
            let expected = if wordless.contains(method) { Method::Other } else { *method };
            assert_eq!(Method::from_name(method.label()), expected);
            assert_eq!(Method::ALL[method.index()], *method);
        }
        assert_eq!(Method::from_name("tools/call "), Method::Other);
    }

    #[test]
    fn faults_fall_on_the_side_that_caused_them() {
        assert_eq!(Outcome::from(Fault::HeaderMismatch), Outcome::Refused);
        assert_eq!(Outcome::from(Fault::Overloaded), Outcome::Refused);
        assert_eq!(Outcome::from(Fault::BackendTimeout), Outcome::Failed);
        assert_eq!(UpstreamOutcome::from(Fault::BackendTimeout), UpstreamOutcome::Timeout);
        assert_eq!(UpstreamOutcome::from_status(202), UpstreamOutcome::Ok);
        assert_eq!(UpstreamOutcome::from_status(404), UpstreamOutcome::ClientError);
        assert_eq!(UpstreamOutcome::from_status(503), UpstreamOutcome::ServerError);
    }
}
