//! One request to one endpoint: connect or reuse, send, read the response header; retry and redirect where that is safe.

use super::caller::Caller;
use super::connector::{Connector, Session};
use super::decode::{self, Coding};
use super::endpoint::{Endpoint, Target, Verb};
use super::fault::{AttemptFault, FaultKind};
use super::response::{Form, UpstreamResponse};
use super::settings::Timeouts;
use super::time::from_now;
use super::{h1, h2};
use bytes::Bytes;
use http::{StatusCode, header};
use lockgate_filters::splice::wire::encode;
use lockgate_filters::splice::{Outbound, Replay};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How long nobody listens at an endpoint before that is tried a second time: one that restarts may be back.
const PAUSE: Duration = Duration::from_millis(100);

/// A request to a backend.
#[derive(Clone, Debug)]
pub struct UpstreamRequest {
    /// What is done.
    pub verb: Verb,
    /// Fields beside those that the endpoint adds itself: `Host`, `User-Agent`, `Accept`, `Accept-Encoding`,
    /// `Content-Type`, `Content-Length` and what its configuration sets.
    pub fields: Outbound,
    /// The message of a POST; empty otherwise.
    pub body: Bytes,
    /// Whether it may be sent twice.
    pub replay: Replay,
    /// For whom: a backend that is a process may have one for each caller.
    pub caller: Caller,
}

impl Connector {
    /// Sends a request and reads the response header.
    ///
    /// `answer_bytes` bounds a compressed answer, which must be read whole to be undone; nothing else is buffered.
    /// Dropping the future cancels the request at the backend at once.
    pub async fn send(
        &self,
        endpoint: &Arc<Endpoint>,
        request: &UpstreamRequest,
        timeouts: &Timeouts,
        answer_bytes: usize,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let outcome = self.exchange(endpoint, request, timeouts, answer_bytes).await;
        endpoint.answered.note(outcome.as_ref().map(|response| response.status));
        outcome
    }

    /// Sends a request to another target of an endpoint, from where it is not redirected.
    pub(super) async fn send_to(
        &self,
        endpoint: &Arc<Endpoint>,
        target: &Target,
        request: &UpstreamRequest,
        timeouts: &Timeouts,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let outcome = self.attempt(endpoint, target, request, timeouts, from_now(timeouts.total)).await;
        endpoint.answered.note(outcome.as_ref().map(|response| response.status));
        outcome
    }

    /// Sends a request to where redirects lead.
    async fn exchange(
        &self,
        endpoint: &Arc<Endpoint>,
        request: &UpstreamRequest,
        timeouts: &Timeouts,
        answer_bytes: usize,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let deadline = from_now(timeouts.total);
        let (target, moved) = endpoint.target();
        let outcome = self.attempt(endpoint, &target, request, timeouts, deadline).await;
        if moved && outcome.as_ref().map_or(true, |response| left(response.status)) {
            endpoint.forget_redirect();
        }
        let mut response = outcome?;
        if response.status.is_redirection() {
            let next = Arc::new(follow(endpoint, &target, &response)?);
            // Closes the connection of the first response, whose body nobody wants.
            drop(response);
            response = self.attempt(endpoint, &next, request, timeouts, deadline).await?;
            if response.status.is_redirection() {
                return Err(AttemptFault::protocol("it redirects more than once"));
            }
            endpoint.remember(next);
        }
        undo_coding(response, answer_bytes).await
    }

    /// Sends a request to one target, a second time on a fresh connection where that is safe: where the first provably did
    /// not run, or may be repeated if an old connection did not bring an answer.
    async fn attempt(
        &self,
        endpoint: &Arc<Endpoint>,
        target: &Target,
        request: &UpstreamRequest,
        timeouts: &Timeouts,
        deadline: Instant,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let mut fresh = false;
        loop {
            let session = match self.session(endpoint, fresh, timeouts.connect).await {
                Err(fault) if !fresh && fault.kind == FaultKind::Unreachable && Instant::now() + PAUSE < deadline => {
                    sleep(PAUSE).await;
                    fresh = true;
                    continue;
                }
                session => session?,
            };
            let reused = session.is_reused();
            let first_byte = from_now(timeouts.first_byte);
            let idle = timeouts.idle_stream;
            let outcome = match session {
                Session::H1 { stream, address, .. } => {
                    let body = (request.verb == Verb::Post).then_some(&request.body);
                    let wire = encode(target.prefix(request.verb), &request.fields, body, h1::FIRST_READ_BYTES);
                    let answer = in_time(first_byte, deadline, h1::exchange(stream, wire)).await;
                    answer.map(|answer| UpstreamResponse::over_h1(answer, endpoint.clone(), address, idle, deadline))
                }
                Session::H2 { session, .. } => {
                    let exchange = h2::exchange(session, target, request.verb, &request.fields, &request.body);
                    let answer = in_time(first_byte, deadline, exchange).await;
                    answer.map(|answer| UpstreamResponse::over_h2(answer, idle, deadline))
                }
            };
            match outcome {
                Err(fault) if !fresh && may_repeat(&fault, reused, request.replay) => fresh = true,
                outcome => return outcome.map_err(|fault| fault.on_reused(reused)),
            }
        }
    }
}

impl Session {
    fn is_reused(&self) -> bool {
        match self {
            Session::H1 { reused, .. } | Session::H2 { reused, .. } => *reused,
        }
    }
}

async fn in_time<T>(
    first_byte: Instant,
    deadline: Instant,
    work: impl Future<Output = Result<T, AttemptFault>>,
) -> Result<T, AttemptFault> {
    let late = |_| {
        let kind = if deadline < first_byte { FaultKind::TotalTimeout } else { FaultKind::FirstByteTimeout };
        Err(AttemptFault::new(kind))
    };
    timeout_at(first_byte.min(deadline), work).await.unwrap_or_else(late)
}

fn may_repeat(fault: &AttemptFault, reused: bool, replay: Replay) -> bool {
    fault.kind == FaultKind::Closed && (fault.provably_not_run || reused && replay == Replay::IfUnanswered)
}

/// Whether a response says that what a redirect led to is no longer there.
fn left(status: StatusCode) -> bool {
    status.is_redirection()
        || matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE)
}

/// Where a redirect leads: only one that keeps method and body, and only within the endpoint's origin.
fn follow(endpoint: &Endpoint, from: &Target, response: &UpstreamResponse) -> Result<Target, AttemptFault> {
    if !matches!(response.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        return Err(AttemptFault::protocol("it answers with a redirect that cannot be followed"));
    }
    let location = response.headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
    location
        .and_then(|location| endpoint.redirected(from, location))
        .ok_or(AttemptFault::protocol("it redirects to another origin"))
}

async fn undo_coding(mut response: UpstreamResponse, answer_bytes: usize) -> Result<UpstreamResponse, AttemptFault> {
    match decode::coding(&response.headers) {
        Coding::Identity => {
            response.headers.remove(header::CONTENT_ENCODING);
        }
        Coding::Gzip if response.form() != Form::EventStream => {
            let coded = response.collect(answer_bytes).await?;
            response.replace_body(decode::gunzip(&coded, answer_bytes)?);
        }
        Coding::Gzip | Coding::Other => {
            return Err(AttemptFault::protocol("its answer is compressed though that was not accepted"));
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
