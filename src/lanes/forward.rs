//! One message to one endpoint, its answer brought back.

use super::answering::Answering;
use super::heal::Mark;
use super::judge::{self, Missing, judge, missing};
use super::remember::Remembering;
use super::{Broken, Way, attempt, detached, relay, respond, revive, session_ended};
use crate::downstream::gone;
use crate::session::Cost;
use crate::upstream::UpstreamResponse;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use lockgate_filters::exchange::Exchange;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::rpc::scan::{Kind, Message};
use lockgate_filters::splice::{Onward, edited};

const RULE: &str = "forward";

pub(super) async fn run(mut way: Way<'_>) -> Result<(), Broken> {
    let exchange = &way.trip.exchange;
    let Some(message) = exchange.scan.messages.first().cloned() else {
        return Err(Refusal::new(Fault::NotJsonRpc, RULE).into());
    };
    let remembering = Remembering::of(&way, &message);
    if let Some(remembering) = &remembering {
        Box::pin(remembering.heard_first(&way.link)).await;
    }
    let onward = way.onward();
    let session = onward.session.clone();
    if !may_be_sent(&way) {
        return cancelled(way).await;
    }
    let mut response = send(&mut way, &message, onward, remembering.as_ref()).await?;
    if response.status == StatusCode::NOT_FOUND && way.trip.exchange.ticket.is_some() {
        // Rare ways are boxed, so that they take no room in every request's.
        let most = way.trip.snapshot.limits.answer_bytes;
        let asked = way.trip.request_id().filter(|_| message.kind == Kind::Request);
        match Box::pin(missing(response, asked, session.is_some(), most)).await {
            Missing::Something(error) => return Ok(respond::message(way.session, way.trip, &[], error).await?),
            Missing::Unknown => return Err(judge::not_found(way.link.name()).into()),
            Missing::Session if message.kind == Kind::Response => {
                return Err(no_longer_asked(way.link.name()).into());
            }
            Missing::Session => {}
        }
        if let Some(underway) = &way.underway {
            underway.waits_again();
        }
        Box::pin(revive::renew(&way, &way.link, session.as_ref())).await?;
        if !may_be_sent(&way) {
            return cancelled(way).await;
        }
        let sessions = &way.gateway.world.sessions;
        way.mark = way.node.as_ref().map(|node| Mark::new(sessions, node, &way.link.backend.place));
        let onward = way.onward();
        response = send(&mut way, &message, onward, remembering.as_ref()).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Err(judge::not_found(way.link.name()).into());
        }
    }
    match remembering {
        Some(remembering) if response.status == StatusCode::OK => Box::pin(remember(way, response, remembering)).await,
        _ => relay::answer(way, response).await,
    }
}

/// Whether the request has not been cancelled while it waited.
fn may_be_sent(way: &Way<'_>) -> bool {
    way.underway.as_ref().is_none_or(|underway| underway.may_be_sent())
}

/// What a client gets for a request that it has cancelled before it was sent: no response ("Cancellation", 2025-11-25), so a
/// stream without one, or, where it takes none, as little as it does for what is owed nothing.
pub(super) async fn cancelled(way: Way<'_>) -> Result<(), Broken> {
    let streams = way.trip.exchange.accepts.sse;
    let mut header = respond::header(way.trip, if streams { StatusCode::OK } else { StatusCode::ACCEPTED })?;
    if streams {
        header.insert_header(CONTENT_TYPE, "text/event-stream")?;
    }
    respond::whole(way.session, header, Bytes::new()).await?;
    Ok(())
}

/// Refuses a client's response when the backend has lost the session that it asked in, and so its question. The client's own
/// session goes on, so this must not look as if it were gone.
pub(super) fn no_longer_asked(backend: &str) -> Refusal {
    Refusal::new(Fault::BackendProtocol, RULE).saying(format!("backend \"{backend}\" no longer waits for this"))
}

/// What the backend gets of the message at this place: its bytes, with what the gateway has another name for replaced; and
/// the name that stands in the header.
pub(super) fn outgoing(exchange: &Exchange, index: usize, message: &Message) -> (Bytes, Option<HeaderValue>) {
    let Some(hop) = exchange.target(index).hop() else { return (exchange.body.clone(), None) };
    if hop.edits.is_empty() && !exchange.scan.batch {
        return (exchange.body.clone(), hop.name.clone());
    }
    (edited(&exchange.body, message.span, &hop.edits), hop.name.clone())
}

async fn send(
    way: &mut Way<'_>,
    message: &Message,
    onward: Onward,
    remembering: Option<&Remembering>,
) -> Result<UpstreamResponse, Broken> {
    let exchange = &way.trip.exchange;
    let headers = &way.session.req_header().headers;
    let (body, name) = outgoing(exchange, 0, message);
    let request = attempt::post(&way.link, headers, exchange, message, body, Onward { name, ..onward });
    let held = message.is(b"subscriptions/listen", &way.trip.exchange.body);
    match remembering.cloned() {
        None => attempt::send(way, request, held).await,
        Some(remembering) => {
            let unheard = move |response, answering| {
                let messages = remembering.messages(response);
                remembering.unheard(messages, answering)
            };
            Box::pin(attempt::send_or_leave(way, request, held, unheard)).await
        }
    }
}

/// Passes on the response to a request that is to be remembered if the backend agrees.
async fn remember(way: Way<'_>, response: UpstreamResponse, remembering: Remembering) -> Result<(), Broken> {
    judge(way.link.name(), Some(Kind::Request), &response)?;
    let mut messages = remembering.messages(response);
    let answering = Answering::of(&way, &way.link);
    let ended = way.ended();
    let said = tokio::select! {
        biased;
        said = answering.response(&mut messages, &remembering.id) => said,
        () = ended => return Err(session_ended()),
        () = gone(way.session) => {
            detached::go_on(&way, Cost { exchanges: 1, bytes: 0 }, remembering.unheard(messages, answering));
            return Err(Broken::ClientGone);
        }
        () = way.gateway.drain.last_words() => return Err(attempt::draining()),
    };
    let said = said.map_err(|fault| attempt::failed(&way.link, &fault))?;
    let Some(said) = said else { return Err(judge::no_response(way.link.name(), StatusCode::OK).into()) };
    remembering.answered(&said).await;
    let said = way.translated(said);
    respond::message(way.session, way.trip, &[], said).await?;
    Ok(())
}
