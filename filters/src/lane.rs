//! How an exchange is carried out once nothing was said against it.

use crate::exchange::Exchange;
use crate::federate::Target;
use crate::revision::Era;
use crate::rpc::scan::Kind;
use http::Method;

/// The way a request is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Answer `server/discover` here, from what the backends said.
    Discover,
    /// Answer here, as one message's target says: federated virtual servers.
    Local,
    /// One notification to every backend that the session was opened at: federated virtual servers.
    Spread,
    /// Open a legacy session: forward `initialize`, seal a ticket.
    Open,
    /// One request or notification to one endpoint, its answer streamed back.
    Forward,
    /// The members of a batch, each on its own, their answers merged.
    Gather,
    /// A held stream of a legacy session (GET).
    Hold,
    /// End a legacy session (DELETE).
    Close,
}

impl Lane {
    /// The lane of an exchange that every filter let pass.
    pub fn of(method: &Method, exchange: &Exchange) -> Lane {
        match *method {
            Method::GET => return Lane::Hold,
            Method::DELETE => return Lane::Close,
            _ => {}
        }
        if exchange.scan.batch {
            return Lane::Gather;
        }
        if exchange.server.as_ref().is_some_and(|server| server.federation.is_some()) {
            return match exchange.target(0) {
                Target::Here(_) => Lane::Local,
                Target::All => Lane::Spread,
                // A message alone is refused by its filter, and comes to no lane.
                Target::Member(_) | Target::Owner { .. } | Target::Asker { .. } | Target::Refused(_) => Lane::Forward,
            };
        }
        let modern = exchange.era() == Some(Era::Modern);
        match exchange.scan.messages.first() {
            Some(message)
                if message.kind == Kind::Request && modern && message.is(b"server/discover", &exchange.body) =>
            {
                Lane::Discover
            }
            Some(message) if message.kind == Kind::Request && !modern && message.is(b"initialize", &exchange.body) => {
                Lane::Open
            }
            _ => Lane::Forward,
        }
    }

    /// The lane's name in traces and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Discover => "discover",
            Lane::Local => "local",
            Lane::Spread => "spread",
            Lane::Open => "open",
            Lane::Forward => "forward",
            Lane::Gather => "gather",
            Lane::Hold => "hold",
            Lane::Close => "close",
        }
    }
}
