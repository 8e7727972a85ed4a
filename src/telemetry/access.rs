//! What is said about a request when it is over: counted, and logged if an operator should know.

use super::correlation::CorrelationId;
use super::labels::{ClientEra, Method, Outcome};
use crate::trip::{self, Trip};
use lockgate_filters::era;
use lockgate_filters::fault::{Fault, Loudness};
use lockgate_filters::lane::Lane;
use lockgate_filters::rpc::scan::Kind;
use pingora_proxy::Session;
use std::net::IpAddr;

/// Counts and logs a request that is over.
pub fn record(session: &Session, trip: &Trip) {
    let elapsed = trip.record.started.elapsed();
    let outcome = outcome(session, trip);
    let method = method(session, trip);
    let era = trip.exchange.era().or_else(|| era::apparent(&trip::head(session), &trip.exchange));
    let metrics = trip.metrics();
    metrics.request_bytes(trip.exchange.body.len() as u64);
    metrics.response_bytes(session.body_bytes_sent() as u64);
    if !trip.record.brought {
        metrics.finished(method, ClientEra::from(era), outcome, elapsed);
    }
    let lane = trip.record.lane;
    let Some(fault) = trip.record.fault else {
        tracing::debug!(
            id = %trip.correlation, method = method.label(), lane = name(lane), outcome = outcome.label(), ?elapsed,
            "request"
        );
        return;
    };
    metrics.refused(fault);
    let (id, client) = (&trip.correlation, trip.exchange.client);
    let (rule, reason) = (trip.record.rule, trip.record.reason);
    refused(&Refused { id, client, method, lane, fault, rule, reason });
}

/// What the log says of a request that was refused or failed.
#[derive(Debug)]
pub struct Refused<'a> {
    /// What its answer called it.
    pub id: &'a CorrelationId,
    /// Who sent it.
    pub client: IpAddr,
    /// What it was about.
    pub method: Method,
    /// How it was being carried out, if it got that far.
    pub lane: Option<Lane>,
    /// Why it was refused or failed.
    pub fault: Fault,
    /// Which filter or lane said so.
    pub rule: &'static str,
    /// Why, where clients are told less; else empty.
    pub reason: &'static str,
}

/// Logs a request that was refused or failed, as loudly as its fault deserves.
pub fn refused(refused: &Refused<'_>) {
    let Refused { id, client, method, lane, fault, rule, reason } = refused;
    let (method, lane, label) = (method.label(), name(*lane), fault.label());
    match fault.loudness() {
        Loudness::Warning => tracing::warn!(%id, %client, method, lane, fault = label, rule, reason, "request"),
        Loudness::Quiet => tracing::debug!(%id, %client, method, lane, fault = label, rule, reason, "request"),
    }
}

/// `-` where a request did not get as far as a lane.
fn name(lane: Option<Lane>) -> &'static str {
    lane.map_or("-", Lane::name)
}

fn outcome(session: &Session, trip: &Trip) -> Outcome {
    if let Some(fault) = trip.record.fault {
        return Outcome::from(fault);
    }
    if trip.record.client_gone {
        return Outcome::Cancelled;
    }
    match session.response_written() {
        Some(header) if header.status.as_u16() < 400 => Outcome::Ok,
        Some(_) => Outcome::Error,
        None => Outcome::Cancelled,
    }
}

/// The label of what the request was about.
pub fn method(session: &Session, trip: &Trip) -> Method {
    match session.req_header().method.as_str() {
        "GET" => return Method::Stream,
        "DELETE" => return Method::Delete,
        "OPTIONS" => return Method::Preflight,
        _ => {}
    }
    let exchange = &trip.exchange;
    if exchange.scan.batch {
        return Method::Batch;
    }
    match exchange.scan.messages.first() {
        None => Method::None,
        Some(message) if message.kind == Kind::Response => Method::Response,
        Some(message) => {
            let name = message.method.and_then(|method| method.text(&exchange.body));
            name.map_or(Method::Other, |name| Method::from_name(&name))
        }
    }
}
