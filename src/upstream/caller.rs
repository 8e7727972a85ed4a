//! For whom a backend is asked.

use lockgate_filters::ticket::{PrincipalDigest, SessionId};

/// On whose behalf a request goes to a backend.
///
/// An HTTP server is told by header fields and does not see this. A backend that is a process, or a connection of its own
/// for each session, is chosen by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who calls.
    pub principal: PrincipalDigest,
    /// The gateway's own name for the caller's session, where there is one.
    pub session: Option<SessionId>,
}

impl Default for Caller {
    /// The gateway itself, which asks like somebody whom nobody asked who they are.
    fn default() -> Caller {
        Caller { principal: PrincipalDigest::ANONYMOUS, session: None }
    }
}
