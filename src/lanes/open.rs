//! `initialize`: the backend negotiates, the gateway seals what came of it into a ticket.
//!
//! The client leaving does not stop this: the backend may already have opened a session, and it must not be left behind.

use super::messages::Messages;
use super::opened::Opened;
use super::{Broken, Way, attempt, close, relay, respond, revive};
use crate::serve::now;
use crate::session::{Before, InsertFault, NodeSession, SessionRecord, UpstreamId};
use crate::snapshot::Link;
use crate::upstream::UpstreamResponse;
use bytes::Bytes;
use http::HeaderValue;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::headers::SESSION_ID;
use lockgate_filters::revision::{Era, Revision};
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::scan::Message;
use lockgate_filters::splice::Onward;
use lockgate_filters::ticket::{ClientCapabilities, ClientText, SessionId, Ticket};
use std::sync::Arc;

const RULE: &str = "open";

pub(super) async fn run(mut way: Way<'_>) -> Result<(), Broken> {
    let exchange = &way.trip.exchange;
    let Some(message) = exchange.scan.messages.first().cloned() else {
        return Err(Refusal::new(Fault::NotJsonRpc, RULE).into());
    };
    make_room(&way).await?;
    let exchange = &way.trip.exchange;
    let headers = &way.session.req_header().headers;
    let request = attempt::post(&way.link, headers, exchange, &message, exchange.body.clone(), Onward::default());
    let response = attempt::send_to_the_end(&way, request).await?;
    if !response.status.is_success() {
        return relay::answer(way, response).await;
    }
    let id = response.headers.get(SESSION_ID).and_then(|value| UpstreamId::new(value.as_bytes()));
    let fetcher = way.speaker(&way.link.backend);
    let opened = Opened::new(Arc::clone(&way.link.backend), fetcher, id);
    let answer = tokio::select! {
        biased;
        answer = read_answer(&way, &message, response) => answer?,
        () = way.gateway.drain.last_words() => return Err(attempt::draining()),
    };
    let Some(revision) = negotiated(&way.link, &answer)? else {
        // The backend refused in JSON-RPC: there is no session, and its error is the answer.
        respond::message(way.session, way.trip, &[], answer).await?;
        return Ok(());
    };
    let (ticket, session) = admit(&mut way, &message, Some(opened), revision).await?;
    session.announces(
        member(&answer, "result").map(|result| revive::announced(result.span.of(&answer))).unwrap_or_default(),
    );
    let extra = [(SESSION_ID, ticket)];
    if respond::message(way.session, way.trip, &extra, answer).await.is_err() {
        abandon(&way, &session).await;
        return Err(Broken::ClientGone);
    }
    Ok(())
}

/// Ends a session whose id nobody will ever know.
pub(super) async fn abandon(way: &Way<'_>, session: &NodeSession) {
    way.gateway.world.sessions.end(&session.id(), session.expires(), now()).await;
    close::end_everywhere(way, session).await;
}

/// Makes sure that there is room for a session, before the backend is asked to open one.
pub(super) async fn make_room(way: &Way<'_>) -> Result<(), Refusal> {
    let (room, given_up) = way.gateway.world.sessions.make_room(now()).await;
    way.gateway.end_in_background(&way.trip.snapshot, given_up);
    if room { Ok(()) } else { Err(Refusal::new(Fault::TooManySessions, RULE)) }
}

/// The response among what the backend says.
async fn read_answer(way: &Way<'_>, message: &Message, response: UpstreamResponse) -> Result<Bytes, Broken> {
    let limits = &way.trip.snapshot.limits;
    let id = message.id.map(|id| id.span.of(&way.trip.exchange.body)).unwrap_or_default();
    let mut messages = Messages::of(response, limits.answer_bytes, limits.event_bytes);
    if let Some(said) = messages.response(id).await.map_err(|fault| attempt::failed(&way.link, &fault))? {
        return Ok(said);
    }
    let text = format!("backend \"{}\" gave no response to initialize", way.link.name());
    Err(Refusal::new(Fault::BackendProtocol, RULE).saying(text).into())
}

/// The revision in the backend's result; `None` when it answered with an error.
fn negotiated(link: &Link, answer: &[u8]) -> Result<Option<Revision>, Refusal> {
    let refuse =
        |text: String| Refusal::new(Fault::BackendProtocol, RULE).saying(format!("backend \"{}\" {text}", link.name()));
    let Some(result) = member(answer, "result") else { return Ok(None) };
    let result = result.span.of(answer);
    let version = member(result, "protocolVersion").and_then(|value| value.text(result));
    let Some(version) = version else { return Err(refuse("negotiated no protocol revision".into())) };
    match Revision::parse(version.as_bytes()) {
        Some(revision) if revision.era() == Era::Legacy => Ok(Some(revision)),
        _ => Err(refuse("negotiated a protocol revision that the gateway does not speak".into())),
    }
}

/// Takes the session in, with what a backend has opened for it, and seals its ticket.
pub(super) async fn admit(
    way: &mut Way<'_>,
    message: &Message,
    mut opened: Option<Opened>,
    revision: Revision,
) -> Result<(HeaderValue, Arc<NodeSession>), Refusal> {
    let failed = |_| Refusal::new(Fault::Internal, RULE);
    let issued = now();
    let id = SessionId::random().map_err(failed)?;
    let expires = issued.plus(way.trip.snapshot.limits.ticket_lifetime);
    let ticket = Ticket {
        id,
        principal: way.trip.exchange.principal().digest(),
        revision,
        expires,
        issued,
        node: way.gateway.node,
        client_name: client(message, &way.trip.exchange.body, "name"),
        client_version: client(message, &way.trip.exchange.body, "version"),
        capabilities: declared(message, &way.trip.exchange.body),
    };
    let sealed =
        ticket.seal(&way.server.keys, &way.server.policy.name).map_err(|_| Refusal::new(Fault::Internal, RULE))?;
    let text = HeaderValue::try_from(sealed).map_err(|_| Refusal::new(Fault::Internal, RULE))?;
    let upstream = opened.as_mut().map(|opened| (Arc::clone(&way.link.backend.place), opened.negotiated(revision)));
    let upstream = upstream.into_iter().collect();
    let record = SessionRecord { id, expires, upstream, before: Before::Nowhere };
    let (inserted, given_up) = way.gateway.world.sessions.insert(record, issued).await;
    way.gateway.end_in_background(&way.trip.snapshot, given_up);
    match inserted {
        Ok(session) => {
            if let Some(opened) = opened {
                opened.keep();
            }
            way.gateway.world.metrics.session_opened();
            Ok((text, session))
        }
        Err(InsertFault::Full) => Err(Refusal::new(Fault::TooManySessions, RULE)),
        Err(InsertFault::Ended | InsertFault::Exists(_)) => Err(Refusal::new(Fault::Internal, RULE)),
    }
}

/// A member of the client's `clientInfo`, made harmless.
fn client(message: &Message, body: &[u8], name: &str) -> ClientText {
    let info = message.params.as_ref().and_then(|params| params.client_info).map(|info| info.span.of(body));
    let said = info.and_then(|info| member(info, name).and_then(|value| value.text(info)));
    ClientText::new(said.as_deref().unwrap_or_default())
}

fn declared(message: &Message, body: &[u8]) -> ClientCapabilities {
    let declared = message.params.as_ref().and_then(|params| params.capabilities);
    declared.map(|value| ClientCapabilities::declared(value.span.of(body))).unwrap_or_default()
}
