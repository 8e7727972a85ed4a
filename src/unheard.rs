//! Requests that are refused before the gateway's hooks hear of them: worded, counted and logged like any other.
//!
//! They have no virtual server, no method and no era, and their id was never read.

use crate::listen::{Connection, Refuse, Worded};
use crate::snapshot::Current;
use crate::telemetry::CorrelationId;
use crate::telemetry::access::{self, Refused};
use crate::telemetry::labels::{ClientEra, Method, Outcome};
use lockgate_filters::fault::Refusal;
use lockgate_filters::rpc::reply;
use std::time::Duration;

/// Answers for the gateway where it was not asked.
pub struct Unheard {
    /// Where the series of requests without a virtual server are found.
    pub current: Current,
}

impl Refuse for Unheard {
    fn refuse(&self, connection: &Connection, refusal: &Refusal) -> Worded {
        let id = CorrelationId::generate();
        let metrics = &self.current.load().unrouted;
        // There is no moment at which such a request began: it never was one.
        metrics.finished(Method::None, ClientEra::Unknown, Outcome::from(refusal.fault), Duration::ZERO);
        metrics.refused(refusal.fault);
        access::refused(&Refused {
            id: &id,
            client: connection.client().ip(),
            method: Method::None,
            lane: None,
            fault: refusal.fault,
            rule: refusal.rule,
            reason: "",
        });
        let body = reply::error_body(None, refusal, id.as_str());
        Worded { correlation: id.as_str().to_owned(), body }
    }
}
