//! `session`: a legacy request belongs to a session that was opened here, for this virtual server, by this principal.
//!
//! The session id that clients see is a sealed ticket ([`crate::ticket`]): it proves itself, so a gateway that restarts
//! does not have to remember having issued it. Ids that were never issued, were changed, have expired, or were ended are
//! all one and the same to the client: 404.

use crate::door::Door;
use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::filter::{Filter, Head, Verdict};
use crate::headers::SESSION_ID;
use crate::revision::{Era, Revision};
use crate::rpc::scan::{Kind, Message};
use crate::ticket::{Keyring, SessionId, Ticket};
use http::Method;
use std::fmt;
use std::sync::Arc;

/// What the gateway knows about sessions beside their tickets.
pub trait Sessions: Send + Sync {
    /// Whether the session was ended, or cannot be served here any more.
    fn is_gone(&self, id: &SessionId) -> bool;
}

/// Opens session tickets.
pub struct Session {
    server: Arc<str>,
    keys: Arc<Keyring>,
    sessions: Arc<dyn Sessions>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Session {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "session";

    /// Opens tickets that were sealed with `keys` for the virtual server of this name.
    pub fn new(server: Arc<str>, keys: Arc<Keyring>, sessions: Arc<dyn Sessions>) -> Session {
        Session { server, keys, sessions }
    }

    /// Opens the request's ticket; whatever revision the request names must be the ticket's.
    fn open(&self, head: &Head<'_>, exchange: &mut Exchange) -> Result<(), Refusal> {
        let unknown = || Refusal::new(Fault::SessionUnknown, Session::NAME);
        let unreadable = |_| Refusal::new(Fault::SessionUnreadable, Session::NAME);
        let Some(text) = head.single(SESSION_ID.as_str()).map_err(unreadable)? else {
            return Err(Refusal::new(Fault::SessionRequired, Session::NAME));
        };
        let ticket = Ticket::open(&self.keys, &self.server, text, exchange.now).map_err(|_| unknown())?;
        if ticket.principal != exchange.principal().digest() || self.sessions.is_gone(&ticket.id) {
            return Err(unknown());
        }
        if exchange.revision.is_some_and(|named| named != ticket.revision) {
            let text = format!("this session negotiated {}", ticket.revision);
            return Err(Refusal::new(Fault::SessionRevision, Session::NAME).saying(text));
        }
        exchange.revision = Some(ticket.revision);
        exchange.ticket = Some(Arc::new(ticket));
        Ok(())
    }
}

impl Filter for Session {
    fn name(&self) -> &'static str {
        Session::NAME
    }

    fn request(&self, head: &Head<'_>, exchange: &mut Exchange) -> Verdict {
        // The sessions of another door are not those of tickets.
        if head.method == Method::POST || exchange.door != Door::Mcp {
            return Verdict::Continue;
        }
        self.open(head, exchange).map_or_else(Verdict::from, |()| Verdict::Continue)
    }

    fn message(&self, head: &Head<'_>, message: &Message, exchange: &mut Exchange) -> Verdict {
        if exchange.era() == Some(Era::Modern) || exchange.ticket.is_some() {
            return Verdict::Continue;
        }
        if message.is(b"initialize", &exchange.body) {
            if message.kind != Kind::Request {
                let text = "initialize is a request: it needs an id";
                return Refusal::new(Fault::NotJsonRpc, Session::NAME).saying(text).into();
            }
            return match head.headers.contains_key(SESSION_ID) {
                true => Refusal::new(Fault::SessionOpen, Session::NAME).into(),
                false => Verdict::Continue,
            };
        }
        if let Err(refusal) = self.open(head, exchange) {
            return refusal.into();
        }
        if exchange.scan.batch && !exchange.revision.is_some_and(Revision::allows_batch) {
            return Refusal::new(Fault::BatchRefused, Session::NAME).into();
        }
        Verdict::Continue
    }
}

#[cfg(test)]
mod tests;
