//! What filters share about one client request on its way through the gateway.

use crate::authenticate::certificate::ClientCertificate;
use crate::authenticate::challenge::Challenges;
use crate::door::Door;
use crate::fault::Refusal;
use crate::federate::{Audience, Callers, Catalog, Target};
use crate::filter::{Ask, IDENTITY, OWN, OWN_TOOLS};
use crate::principal::Principal;
use crate::revision::{Era, Revision};
use crate::rpc::scan::{Scan, Span};
use crate::ticket::Ticket;
use crate::virtual_server::VirtualServer;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::Arc;

/// Milliseconds since the Unix epoch, passed in: filters have no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This moment plus a number of milliseconds, saturating.
    #[must_use]
    pub const fn plus(self, millis: u64) -> UnixMillis {
        UnixMillis(self.0.saturating_add(millis))
    }
}

/// Which answer forms the client admits (RFC 9110 section 12.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// `application/json` has a weight above zero.
    pub json: bool,
    /// `text/event-stream` has a weight above zero.
    pub sse: bool,
}

/// One client request on its way.
#[derive(Debug)]
pub struct Exchange {
    /// When the request's header was read.
    pub now: UnixMillis,
    /// The client's address: the socket's, or what a trusted proxy says.
    pub client: IpAddr,
    /// Who calls, where that is known; set by `authenticate`. See [`Exchange::principal`].
    pub caller: Option<Arc<Principal>>,
    /// The certificate that the client has shown on its connection.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// What callers are told who are not let in where the request goes; set by `route`.
    pub challenges: Option<Arc<Challenges>>,
    /// Which answer forms the client admits; set by `negotiate`.
    pub accepts: Accepts,
    /// Where the request goes; set by `route`.
    pub server: Option<Arc<VirtualServer>>,
    /// How it comes in there; set by `route`.
    pub door: Door,
    /// The revision the client speaks on this request; set by `era` (modern) or `session` (legacy).
    pub revision: Option<Revision>,
    /// The opened session ticket of a legacy request; set by `session`.
    pub ticket: Option<Arc<Ticket>>,
    /// The whole body, exactly as it will be forwarded.
    pub body: Bytes,
    /// What one strict pass found in the body.
    pub scan: Scan,
    /// The id of a message that the scan refused, where it was seen before the fault.
    pub refused_id: Option<Span>,
    /// Which message of the scan the filters are looking at.
    pub at: usize,
    /// What the virtual server shows, the same for the whole exchange; set by `federate`, on federated servers only.
    pub catalog: Option<Arc<Catalog>>,
    /// What of it the caller is shown, where that is not all; set by `authorize`.
    pub shown: Option<Arc<Catalog>>,
    /// Who calls, where some backends of a federated server show each caller other lists; set by `federate`.
    pub callers: Option<Arc<Callers>>,
    /// Where each message goes; set by `federate`. See [`Exchange::target`].
    pub targets: SmallVec<[Target; 1]>,
    /// Headers for whatever response this exchange ends in (CORS), set by `guard`.
    pub response_headers: SmallVec<[(HeaderName, HeaderValue); 4]>,
    /// Whether a backend was left out of the catalog because too many callers wait to be told apart by it.
    pub crowded: bool,
    /// Why the last lookup that a filter asked for gave nothing.
    pub ask_failure: Option<Refusal>,
    asked: u8,
}

impl Exchange {
    /// A fresh exchange for a request of `client`, read at `now`.
    pub fn new(now: UnixMillis, client: IpAddr) -> Exchange {
        Exchange {
            now,
            client,
            caller: None,
            certificate: None,
            challenges: None,
            accepts: Accepts { json: true, sse: true },
            server: None,
            door: Door::Mcp,
            revision: None,
            ticket: None,
            body: Bytes::new(),
            scan: Scan::default(),
            refused_id: None,
            at: 0,
            catalog: None,
            shown: None,
            callers: None,
            targets: SmallVec::new(),
            response_headers: SmallVec::new(),
            crowded: false,
            ask_failure: None,
            asked: 0,
        }
    }

    /// Who calls.
    pub fn principal(&self) -> &Principal {
        self.caller.as_deref().unwrap_or_else(|| Principal::anonymous())
    }

    /// The era of this request, once its revision is known.
    pub fn era(&self) -> Option<Era> {
        self.revision.map(Revision::era)
    }

    /// For whom lists are, where that matters.
    pub fn audience(&self) -> Option<Audience> {
        self.callers.as_ref().map(|callers| callers.all())
    }

    /// Where the message at `index` of the scan goes: to the only backend, where nothing else was decided.
    pub fn target(&self, index: usize) -> &Target {
        self.targets.get(index).unwrap_or_else(|| Target::direct())
    }

    /// Decides where the message goes that the filters are looking at.
    pub fn send_to(&mut self, target: Target) {
        while self.targets.len() < self.at {
            self.targets.push(Target::direct().clone());
        }
        match self.targets.get_mut(self.at) {
            Some(place) => *place = target,
            None => self.targets.push(target),
        }
    }

    /// Whether this question was put, and answered as well as it can be, during this exchange.
    pub fn has_asked(&self, ask: &Ask) -> bool {
        self.asked & ask.bit() != 0
    }

    /// Whether the catalog is that of these callers alone.
    pub fn is_own(&self) -> bool {
        self.callers.is_some() && self.asked & OWN != 0
    }

    /// Whether it was asked once more what these callers are shown.
    pub(crate) fn has_asked_again(&self) -> bool {
        self.asked & OWN_TOOLS != 0
    }

    /// Whether what the caller shows was asked about.
    pub(crate) fn has_asked_for_identity(&self) -> bool {
        self.asked & IDENTITY != 0
    }

    /// Records that a question was answered, or why it could not be.
    pub fn answered(&mut self, ask: &Ask, outcome: Result<(), Refusal>) {
        self.asked |= ask.bit();
        self.ask_failure = outcome.err();
    }
}
