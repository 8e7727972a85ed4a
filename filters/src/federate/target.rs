//! Where a client's message goes.

use super::cursor::Position;
use super::kind::Kind;
use super::listen::Wanted;
use super::question::Question;
use crate::fault::Refusal;
use crate::rpc::scan::Value;
use crate::splice::Edit;
use http::HeaderValue;
use smallvec::SmallVec;
use std::sync::LazyLock;

/// Where one message of an exchange goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// It is answered here.
    Here(Local),
    /// To one member.
    Member(Hop),
    /// A notification for every member that the session was opened at.
    All,
    /// `notifications/cancelled`: to the member that the request with this id is at, as it is.
    Owner {
        /// `params.requestId`: a string or a number.
        request: Value,
    },
    /// The client's response to a backend's request, or its progress on one: to the member that asked.
    Asker {
        /// What was asked, and by whom. That it was this session is checked; that it was this process is not.
        question: Box<Question>,
        /// Puts the backend's own id or token in place of the sealed one.
        hop: Hop,
    },
    /// A member of a batch that is answered with an error, while the others go on.
    Refused(Box<Refusal>),
}

/// What is replaced in a message: mostly a name or a URI, and nothing else.
pub type Edits = SmallVec<[Edit; 1]>;

/// A message on its way to one member.
#[derive(Clone, Debug, Default)]
pub struct Hop {
    /// Which member of the virtual server: an index into its backends.
    pub member: usize,
    /// What must be replaced in the message, in order; spans count from the start of the body.
    pub edits: Edits,
    /// What `Mcp-Name` must say instead.
    pub name: Option<HeaderValue>,
}

/// What the gateway answers itself.
#[derive(Clone, Debug)]
pub enum Local {
    /// `initialize`
    Initialize,
    /// `server/discover`
    Discover,
    /// `ping`: an empty result.
    Ping,
    /// A list.
    List {
        /// Of what.
        kind: Kind,
        /// Behind which item it goes on.
        after: Option<Position>,
    },
    /// `logging/setLevel`: for every member with logging, now and when it is opened.
    SetLevel,
    /// `subscriptions/listen`: a stream on which all members' news come together.
    Listen(Box<Wanted>),
    /// `completion/complete` for a member that completes nothing: an empty completion.
    NoCompletion,
    /// A notification that goes no further: 202.
    Absorb,
}

/// What a direct virtual server does with every message.
static DIRECT: LazyLock<Target> = LazyLock::new(|| Target::Member(Hop::default()));

impl Target {
    /// The only backend of a virtual server that is not federated, with nothing replaced.
    pub fn direct() -> &'static Target {
        &DIRECT
    }

    /// The one member that the message goes to, if there is one.
    pub fn hop(&self) -> Option<&Hop> {
        match self {
            Target::Member(hop) | Target::Asker { hop, .. } => Some(hop),
            Target::Here(_) | Target::All | Target::Owner { .. } | Target::Refused(_) => None,
        }
    }
}
