//! One attempt at a backend: the seam that every lane which speaks to a backend goes through.
//!
//! What is decided per attempt (which fields, which endpoint, with which credential, whether again) is decided by way of
//! this file, so that no lane can decide it differently.

use super::answering::Answering;
use super::{Broken, Way, detached, session_ended};
use crate::downstream::gone;
use crate::session::Cost;
use crate::snapshot::Link;
use crate::telemetry::BackendMetrics;
use crate::telemetry::labels::UpstreamOutcome;
use crate::upstream::{AttemptFault, Caller, Timeouts, UpstreamRequest, UpstreamResponse, Verb};
use bytes::Bytes;
use http::HeaderMap;
use lockgate_filters::exchange::Exchange;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::revision::Era;
use lockgate_filters::rpc::scan::Message;
use lockgate_filters::splice::{self, Onward, Replay};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a held stream lives: `subscriptions/listen` and the GET stream of a session wait for news, and no news is no
/// fault. Clients open them again; the bound is there so that nothing lives for ever.
const HELD: Duration = Duration::from_secs(24 * 3600);

/// Prepares a POST of one message.
pub(super) fn post(
    link: &Link,
    client: &HeaderMap,
    exchange: &Exchange,
    message: &Message,
    body: Bytes,
    onward: Onward,
) -> UpstreamRequest {
    let (fields, replay) = splice::post(&link.backend.forwarding, client, exchange, message, onward);
    UpstreamRequest { verb: Verb::Post, fields, body, replay, caller: caller(exchange) }
}

/// Prepares a GET of a legacy session's stream, resumed behind `last` where it is given.
pub(super) fn get(link: &Link, client: &HeaderMap, exchange: &Exchange, onward: Onward) -> UpstreamRequest {
    let fields = splice::get(&link.backend.forwarding, client, exchange, onward);
    let replay = Replay::IfUnanswered;
    UpstreamRequest { verb: Verb::Get, fields, body: Bytes::new(), replay, caller: caller(exchange) }
}

/// On whose behalf the backend is asked.
pub(super) fn caller(exchange: &Exchange) -> Caller {
    Caller { principal: exchange.principal().digest(), session: exchange.ticket.as_ref().map(|ticket| ticket.id) }
}

/// Sends a request and waits for the answer's header. What came of it is counted, however it ends.
///
/// A stream that is `held` open may be silent for as long as it lives.
pub(super) async fn ask(
    link: Arc<Link>,
    request: UpstreamRequest,
    held: bool,
) -> Result<UpstreamResponse, AttemptFault> {
    let timeouts = link.backend.timeouts;
    let timeouts = if held { Timeouts { idle_stream: HELD, total: HELD, ..timeouts } } else { timeouts };
    let mut counted = Counted { metrics: &link.metrics, outcome: UpstreamOutcome::Cancelled };
    let started = Instant::now();
    let answered = link.backend.send_within(&request, &timeouts).await;
    counted.outcome = match &answered {
        Ok(response) => {
            counted.metrics.first_byte(started.elapsed());
            UpstreamOutcome::from_status(response.status.as_u16())
        }
        Err(fault) => UpstreamOutcome::from(fault.fault()),
    };
    answered
}

/// Counts an attempt when it ends: as cancelled, where nothing else came of it.
struct Counted<'a> {
    metrics: &'a BackendMetrics,
    outcome: UpstreamOutcome,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.finished(self.outcome);
    }
}

/// Sends a request and waits for the answer's header, watching the client meanwhile.
///
/// A modern client that leaves cancels the request: it is dropped, and with it the connection to the backend. So is a GET:
/// the client asks again. A legacy client that leaves cancels nothing else: the answer is read to its end without it.
pub(super) async fn send(way: &mut Way<'_>, request: UpstreamRequest, held: bool) -> Result<UpstreamResponse, Broken> {
    let most = way.trip.snapshot.limits.answer_bytes;
    send_or_leave(way, request, held, move |unheard, answering: Answering| async move {
        answering.read_out(unheard, most).await
    })
    .await
}

/// As [`send`]; `unheard` is what becomes of an answer that comes when the client has left, and of what is asked in it.
pub(super) async fn send_or_leave<F, W>(
    way: &mut Way<'_>,
    request: UpstreamRequest,
    held: bool,
    unheard: F,
) -> Result<UpstreamResponse, Broken>
where
    F: FnOnce(UpstreamResponse, Answering) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let (verb, bytes) = (request.verb, request.body.len());
    let mut sending = Box::pin(ask(Arc::clone(&way.link), request, held));
    let ended = way.ended();
    let answered = tokio::select! {
        biased;
        answered = &mut sending => answered,
        () = ended => return Err(session_ended()),
        () = gone(way.session) => {
            if verb == Verb::Post && way.trip.exchange.era() != Some(Era::Modern) {
                let answering = Answering::of(way, &way.link);
                let work = async move {
                    if let Ok(response) = sending.await {
                        unheard(response, answering).await;
                    }
                };
                detached::go_on(way, Cost { exchanges: 1, bytes }, work);
            }
            return Err(Broken::ClientGone);
        }
        () = way.gateway.drain.last_words() => return Err(draining()),
    };
    answered.map_err(|fault| failed(&way.link, &fault))
}

/// As [`send`], whether the client is there or not: for what must not be left half done at the backend.
pub(super) async fn send_to_the_end(way: &Way<'_>, request: UpstreamRequest) -> Result<UpstreamResponse, Broken> {
    tokio::select! {
        biased;
        answered = ask(Arc::clone(&way.link), request, false) => answered.map_err(|fault| failed(&way.link, &fault)),
        () = way.gateway.drain.last_words() => Err(draining()),
    }
}

/// What a client is told whose answer has not begun when the process must stop.
pub(super) fn draining() -> Broken {
    Refusal::new(Fault::Draining, "attempt").into()
}

/// What the client is told of a failed attempt; the operator is told more.
pub(super) fn refusal(link: &Link, fault: &AttemptFault) -> Refusal {
    tracing::warn!(backend = %link.name(), cause = fault.cause.as_deref().unwrap_or_default(), "{fault}");
    fault.refusal(link.name(), "attempt")
}

/// As [`refusal`], where a lane ends with it.
pub(super) fn failed(link: &Link, fault: &AttemptFault) -> Broken {
    Broken::Refused(refusal(link, fault))
}
