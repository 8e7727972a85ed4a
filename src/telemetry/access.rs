//! What is said about a request when it is over: counted, and logged if an operator should know.

use super::labels::{ClientEra, Method, Outcome};
use crate::trip::Trip;
use lockgate_filters::fault::Loudness;
use lockgate_filters::rpc::scan::Kind;
use pingora_proxy::Session;

/// Counts and logs a request that is over.
pub fn record(session: &Session, trip: &Trip) {
    let elapsed = trip.record.started.elapsed();
    let outcome = outcome(session, trip);
    let method = method(session, trip);
    let metrics = trip.metrics();
    metrics.request_bytes(trip.exchange.body.len() as u64);
    metrics.response_bytes(session.body_bytes_sent() as u64);
    metrics.finished(method, ClientEra::from(trip.exchange.era()), outcome, elapsed);
    let Some(fault) = trip.record.fault else {
        tracing::debug!(id = %trip.correlation, method = method.label(), outcome = outcome.label(), ?elapsed, "request");
        return;
    };
    metrics.refused(fault);
    let (fault, rule) = (fault.label(), trip.record.rule);
    match trip.record.fault.map(|fault| fault.loudness()) {
        Some(Loudness::Warning) => {
            tracing::warn!(id = %trip.correlation, client = %trip.exchange.client, method = method.label(), fault, rule, "request");
        }
        _ => {
            tracing::debug!(id = %trip.correlation, client = %trip.exchange.client, method = method.label(), fault, rule, "request");
        }
    }
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
