//! A 2025-03-26 batch: its members are carried out each on its own, their answers are merged.
//!
//! The backend never sees a batch, so it need not know them. As long as members answer with one response each, the
//! client gets one JSON array; as soon as one has more to say (progress, a request to the client), the answer becomes an
//! event stream and everything goes out as it comes. Such a stream cannot be taken up again: its events come from as many
//! streams as there are members, and their ids would tell a client nothing.

use super::federated::{self, Asked};
use super::members::{self, Batch, Turn};
use super::stream::{self, KEEP_ALIVE};
use super::{Broken, Way, forward, respond};
use crate::telemetry::labels::StreamKind;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::sse;
use tokio::time::Instant;

const RULE: &str = "gather";

pub(super) async fn run(mut way: Way<'_>) -> Result<(), Broken> {
    // Before anything is done: one member may cancel another.
    let underway = members::underway(&way);
    let answered = answered_here(&mut way).await?;
    let mut batch = Batch::start(&way, answered, underway);
    match answer(&mut way, &mut batch).await {
        Ok(Answered::Whole) => Ok(()),
        Ok(Answered::NotAtAll) => forward::cancelled(way).await,
        Err(broken) => {
            batch.leave(&way);
            Err(broken)
        }
    }
}

/// What a federated virtual server says itself to members of the batch, in their order.
async fn answered_here(way: &mut Way<'_>) -> Result<Vec<Asked>, Broken> {
    let mut answered = Vec::new();
    if way.server.policy.federation.is_some() {
        let mut elsewhere = Vec::new();
        for index in 0..way.trip.exchange.scan.messages.len() {
            answered.push(federated::answer_locally(way, index, &mut elsewhere).await?);
        }
        // All of them at once: a batch costs other nodes no more than one message.
        federated::tell_others(way, &elsewhere);
    }
    Ok(answered)
}

/// What the client has got.
enum Answered {
    Whole,
    /// Nothing, since it has cancelled all that it had asked for.
    NotAtAll,
}

async fn answer(way: &mut Way<'_>, batch: &mut Batch) -> Result<Answered, Broken> {
    let accepts = way.trip.exchange.accepts;
    let limit = way.trip.snapshot.limits.answer_bytes;
    let mut responses: Vec<Bytes> = Vec::with_capacity(batch.asked());
    let mut buffered = 0;
    loop {
        match batch.next(way, None).await? {
            Turn::Response(response) if accepts.json && buffered + response.len() <= limit => {
                buffered += response.len();
                responses.push(response);
            }
            Turn::Response(_) if !accepts.sse => {
                let text = "the answers to this batch are too long together";
                return Err(Refusal::new(Fault::BackendProtocol, RULE).saying(text).into());
            }
            Turn::Speech(_) if !accepts.sse => {}
            Turn::Response(first) | Turn::Speech(first) => {
                responses.push(first);
                stream(way, batch, responses).await?;
                return Ok(Answered::Whole);
            }
            Turn::Quiet => {}
            Turn::End => break,
        }
    }
    if batch.asked() == 0 {
        // Nobody else would tell the client that its messages did not arrive.
        batch.refusal().map_or(Ok(()), Err)?;
        let header = respond::header(way.trip, StatusCode::ACCEPTED)?;
        respond::whole(way.session, header, Bytes::new()).await?;
        return Ok(Answered::Whole);
    }
    if responses.is_empty() {
        return Ok(Answered::NotAtAll);
    }
    respond::message(way.session, way.trip, &[], array(&responses)).await?;
    Ok(Answered::Whole)
}

fn array(responses: &[Bytes]) -> Bytes {
    let mut body = Vec::with_capacity(responses.iter().map(|response| response.len() + 1).sum::<usize>() + 2);
    body.push(b'[');
    for (index, response) in responses.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(response);
    }
    body.push(b']');
    body.into()
}

/// The answer as events: what there is, and then the rest as it comes.
async fn stream(way: &mut Way<'_>, batch: &mut Batch, begun: Vec<Bytes>) -> Result<(), Broken> {
    let mut header = respond::header(way.trip, StatusCode::OK)?;
    header.insert_header(CONTENT_TYPE, "text/event-stream")?;
    let _open = way.server.metrics.stream(StreamKind::Answer);
    stream::begin(way, header).await?;
    for message in begun {
        way.session.write_response_body(Some(sse::write_event(None, &message)), false).await?;
    }
    loop {
        let quiet = Instant::now() + way.trip.snapshot.limits.keep_alive;
        let said = match batch.next(way, Some(quiet)).await? {
            Turn::Response(message) | Turn::Speech(message) => sse::write_event(None, &message),
            Turn::Quiet => KEEP_ALIVE,
            Turn::End => break,
        };
        way.session.write_response_body(Some(said), false).await?;
    }
    way.session.write_response_body(None, true).await?;
    Ok(())
}
