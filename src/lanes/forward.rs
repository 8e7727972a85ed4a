//! One message to one endpoint, its answer brought back.

use super::{Broken, Way, attempt, relay, revive};
use crate::session::LogLevel;
use crate::upstream::UpstreamResponse;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::rpc::scan::{Kind, Message};

pub(super) async fn run(mut way: Way<'_>) -> Result<(), Broken> {
    let exchange = &way.trip.exchange;
    let Some(message) = exchange.scan.messages.first().cloned() else {
        return Err(Refusal::new(Fault::NotJsonRpc, "forward").into());
    };
    let mut session = way.upstream_session();
    let mut response = send(&mut way, &message, session.clone()).await?;
    if let (StatusCode::NOT_FOUND, Some(lost)) = (response.status, &session) {
        // The backend does not know this session any more (2025-11-25, session management), so the message did not run.
        drop(response);
        if message.kind == Kind::Response {
            return Err(Refusal::new(Fault::SessionUnknown, "forward")
                .saying("the server no longer waits for this")
                .into());
        }
        revive::renew(&way, Some(lost)).await?;
        session = way.upstream_session();
        response = send(&mut way, &message, session.clone()).await?;
    }
    if response.status == StatusCode::NOT_FOUND && session.is_some() {
        // The session is new, so this is no word about it; and to the client 404 would mean the end of its session.
        let text = format!("backend \"{}\" answered with status 404 in a new session", way.server.backend_name());
        return Err(Refusal::new(Fault::BackendProtocol, "forward").saying(text).into());
    }
    if response.status.is_success() {
        remember(&way, &message).await;
    }
    relay::answer(way, response).await
}

async fn send(way: &mut Way<'_>, message: &Message, session: Option<HeaderValue>) -> Result<UpstreamResponse, Broken> {
    let exchange = &way.trip.exchange;
    let headers = &way.session.req_header().headers;
    let request = attempt::post(&way.server, headers, exchange, message, exchange.body.clone(), session);
    let held = message.is(b"subscriptions/listen", &way.trip.exchange.body);
    attempt::send(way, request, held).await
}

/// What a legacy session asked for that outlives this exchange: its log level and its subscriptions.
async fn remember(way: &Way<'_>, message: &Message) {
    let Some(session) = &way.node else { return };
    let sessions = &way.gateway.world.sessions;
    if message.kind != Kind::Request {
        return;
    }
    let body: &Bytes = &way.trip.exchange.body;
    let Some(params) = &message.params else { return };
    if message.is(b"logging/setLevel", body) {
        if let Some(level) = params.level.and_then(|level| level.text(body))
            && let Some(level) = LogLevel::parse(&level)
        {
            noted(sessions.set_log_level(session, level).await);
        }
    } else if message.is(b"resources/subscribe", body) {
        if let Some(uri) = params.uri.and_then(|uri| uri.text(body)) {
            noted(sessions.subscribe(session, &uri).await);
        }
    } else if message.is(b"resources/unsubscribe", body)
        && let Some(uri) = params.uri.and_then(|uri| uri.text(body))
    {
        noted(sessions.unsubscribe(session, &uri).await);
    }
}

/// The backend has agreed already: what cannot be remembered here costs the session only if it must be opened again.
fn noted<E: std::fmt::Debug>(outcome: Result<(), E>) {
    if let Err(reason) = outcome {
        tracing::debug!(?reason, "a session's state could not be remembered");
    }
}
