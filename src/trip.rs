//! One client request on its way through this process: the exchange that filters see, and what only the gateway knows.

use crate::bodies::Share;
use crate::snapshot::{Listener, Server, Snapshot};
use crate::telemetry::{CorrelationId, Held, ServerMetrics};
use lockgate_filters::exchange::Exchange;
use lockgate_filters::fault::Fault;
use lockgate_filters::filter::Head;
use lockgate_filters::lane::Lane;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Instant;

/// A request on its way.
pub struct Trip {
    /// The configuration that holds for this request, whatever is reloaded meanwhile.
    pub snapshot: Arc<Snapshot>,
    /// The listener it came in on.
    pub listener: Arc<Listener>,
    /// The virtual server it goes to, once routed.
    pub server: Option<Arc<Server>>,
    /// What answers, errors and logs call this request.
    pub correlation: CorrelationId,
    /// What filters share.
    pub exchange: Exchange,
    /// What is known of it for metrics and logs.
    pub record: Record,
    /// Counts this request as in flight at its virtual server.
    pub in_flight: Option<Held>,
    /// What its body holds of all that bodies may hold.
    pub body: Option<Share>,
}

/// What metrics and the access log say about a request.
#[derive(Debug)]
pub struct Record {
    /// When its header was read.
    pub started: Instant,
    /// How it was carried out.
    pub lane: Option<Lane>,
    /// Why it was refused or failed.
    pub fault: Option<Fault>,
    /// Which filter or lane refused it.
    pub rule: &'static str,
    /// Why, where clients are told less.
    pub reason: &'static str,
    /// Whether the client left before the end.
    pub client_gone: bool,
    /// Whether what was in it was taken on to another request, which counts in its place.
    pub brought: bool,
}

impl Record {
    /// The record of a request that begins now.
    pub fn begin() -> Record {
        Record {
            started: Instant::now(),
            lane: None,
            fault: None,
            rule: "",
            reason: "",
            client_gone: false,
            brought: false,
        }
    }

    /// The request was refused, or its answer could not be finished.
    pub fn failed(&mut self, fault: Fault, rule: &'static str) {
        self.fault = Some(fault);
        self.rule = rule;
    }
}

impl Trip {
    /// The raw JSON of the request's id: what its errors must repeat.
    ///
    /// A batch has no id of its own.
    pub fn request_id(&self) -> Option<&[u8]> {
        if self.exchange.scan.batch {
            return None;
        }
        let seen = self.exchange.scan.messages.first().and_then(|message| message.id).map(|id| id.span);
        Some(seen.or(self.exchange.refused_id)?.of(&self.exchange.body))
    }
}

impl Trip {
    /// The series that this request counts in.
    pub fn metrics(&self) -> &ServerMetrics {
        self.server.as_ref().map_or(&self.snapshot.unrouted, |server| &server.metrics)
    }
}

/// The request line and header as filters see them.
pub fn head(session: &Session) -> Head<'_> {
    let header = session.req_header();
    Head {
        method: &header.method,
        path: header.uri.path(),
        query: header.uri.query(),
        authority: header.uri.authority().map(|authority| authority.as_str()),
        headers: &header.headers,
    }
}
