//! A 2025-03-26 batch: its members are carried out each on its own, their answers are merged.
//!
//! The backend never sees a batch, so it need not know them. As long as members answer with one response each, the
//! client gets one JSON array; as soon as one has more to say (progress, a request to the client), the answer becomes an
//! event stream and everything goes out as it comes. Members run in tasks of their own: a client that leaves cancels none.

use super::messages::Messages;
use super::{Broken, Way, attempt, respond, stream};
use crate::downstream::gone;
use crate::snapshot::Server;
use crate::telemetry::CorrelationId;
use crate::upstream::UpstreamRequest;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::rpc::reply;
use lockgate_filters::rpc::scan::{Kind, Message};
use lockgate_filters::sse;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// How many members of one batch are at the backend at a time.
const AT_A_TIME: usize = 8;

/// What members hand in.
enum Piece {
    /// The response to a member.
    Response(Bytes),
    /// Anything else that the backend says on the way.
    Other(Bytes),
}

pub(super) async fn run(mut way: Way<'_>) -> Result<(), Broken> {
    let members = way.trip.exchange.scan.messages.clone();
    let asked = members.iter().filter(|member| member.kind == Kind::Request).count();
    let mut pieces = start(&way, &members);
    let mut responses: Vec<Bytes> = Vec::with_capacity(asked);
    let mut buffered = 0;
    let limit = way.trip.snapshot.limits.answer_bytes;
    while let Some(piece) = next(&mut way, &mut pieces).await? {
        match piece {
            Piece::Response(response) if way.trip.exchange.accepts.json => {
                buffered += response.len();
                if buffered > limit {
                    return Err(Refusal::new(Fault::BackendProtocol, "gather")
                        .saying("the answers to this batch are too long")
                        .into());
                }
                responses.push(response);
            }
            Piece::Other(_) if !way.trip.exchange.accepts.sse => {}
            Piece::Response(first) | Piece::Other(first) => return stream(way, pieces, responses, first).await,
        }
    }
    if asked == 0 {
        let header = respond::header(way.trip, StatusCode::ACCEPTED)?;
        respond::whole(way.session, header, Bytes::new()).await?;
        return Ok(());
    }
    let mut body = Vec::with_capacity(buffered + responses.len() + 2);
    body.push(b'[');
    for (index, response) in responses.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(response);
    }
    body.push(b']');
    respond::message(way.session, way.trip, &[], body.into()).await?;
    Ok(())
}

async fn next(way: &mut Way<'_>, pieces: &mut mpsc::Receiver<Piece>) -> Result<Option<Piece>, Broken> {
    tokio::select! {
        biased;
        piece = pieces.recv() => Ok(piece),
        () = gone(way.session) => Err(Broken::ClientGone),
    }
}

/// The rest of the answer as events.
async fn stream(
    mut way: Way<'_>,
    mut pieces: mpsc::Receiver<Piece>,
    before: Vec<Bytes>,
    first: Bytes,
) -> Result<(), Broken> {
    let mut header = respond::header(way.trip, StatusCode::OK)?;
    header.insert_header(CONTENT_TYPE, "text/event-stream")?;
    stream::begin(&mut way, header).await?;
    for message in before.into_iter().chain([first]) {
        way.session.write_response_body(Some(sse::write_event(None, &message)), false).await?;
    }
    while let Some(Piece::Response(message) | Piece::Other(message)) = next(&mut way, &mut pieces).await? {
        way.session.write_response_body(Some(sse::write_event(None, &message)), false).await?;
    }
    way.session.write_response_body(None, true).await?;
    Ok(())
}

/// Starts every member; the channel closes when the last is done.
fn start(way: &Way<'_>, members: &[Message]) -> mpsc::Receiver<Piece> {
    let (sender, pieces) = mpsc::channel(AT_A_TIME);
    let room = Arc::new(Semaphore::new(AT_A_TIME));
    let exchange = &way.trip.exchange;
    let headers = &way.session.req_header().headers;
    for member in members {
        let body = exchange.body.slice(member.span.start as usize..member.span.end as usize);
        let work = Member {
            server: Arc::clone(&way.server),
            request: attempt::post(&way.server, headers, exchange, member, body, way.upstream_session()),
            id: member
                .id
                .filter(|_| member.kind == Kind::Request)
                .map(|id| Bytes::copy_from_slice(id.span.of(&exchange.body))),
            correlation: way.trip.correlation,
            answer_bytes: way.trip.snapshot.limits.answer_bytes,
            event_bytes: way.trip.snapshot.limits.event_bytes,
        };
        let (room, sender) = (Arc::clone(&room), sender.clone());
        tokio::spawn(async move {
            let Ok(_place) = room.acquire().await else { return };
            work.carry_out(&sender).await;
        });
    }
    pieces
}

/// One member of a batch on its way.
struct Member {
    server: Arc<Server>,
    request: UpstreamRequest,
    id: Option<Bytes>,
    correlation: CorrelationId,
    answer_bytes: usize,
    event_bytes: usize,
}

impl Member {
    async fn carry_out(self, pieces: &mpsc::Sender<Piece>) {
        let failure = match self.relay(pieces).await {
            Ok(true) => return,
            Ok(false) => Refusal::new(Fault::BackendProtocol, "gather")
                .saying(format!("backend \"{}\" gave no response", self.server.backend_name())),
            Err(refusal) => refusal,
        };
        if let Some(id) = &self.id {
            let error = reply::error_body(Some(id), &failure, self.correlation.as_str());
            // A closed channel means that the client has left.
            let _ = pieces.send(Piece::Response(error)).await;
        }
    }

    /// Hands in what the backend says; true when nothing is owed to the client any more.
    async fn relay(&self, pieces: &mpsc::Sender<Piece>) -> Result<bool, Refusal> {
        let fault = |fault: crate::upstream::AttemptFault| fault.refusal(self.server.backend_name(), "gather");
        let response = self.server.backend.send(&self.request).await.map_err(fault)?;
        let mut messages = Messages::of(response, self.answer_bytes, self.event_bytes);
        let Some(id) = &self.id else {
            while messages.next().await.map_err(fault)?.is_some() {}
            return Ok(true);
        };
        let mut answered = false;
        while let Some(message) = messages.next().await.map_err(fault)? {
            let piece = if !answered && message.answers(id) {
                answered = true;
                Piece::Response(message.bytes)
            } else {
                Piece::Other(message.bytes)
            };
            // A client that has left cancels nothing: the backend's answer is read to its end all the same.
            let _ = pieces.send(piece).await;
        }
        Ok(answered)
    }
}
