//! What goes on after the client has left: in the legacy era a disconnect cancels nothing.
//!
//! How much of it there may be is the session room's to say ([`crate::session::Detached`]).

use super::Way;
use super::answering::Answering;
use super::stream::Flow;
use crate::session::{Cost, StreamRecord, Told};
use crate::upstream::UpstreamResponse;
use std::future::{Future, pending};
use std::time::Duration;
use tokio::time::timeout;

/// What is read of a body that means nothing, and for how long, so that its connection can be used again.
const SETTLED_BYTES: usize = 64 * 1024;
const SETTLING: Duration = Duration::from_millis(100);

/// Lets work of a legacy session go on without its client, within what a session may have. Dropped where there is no
/// session: then nobody may leave work behind.
pub(super) fn go_on(way: &Way<'_>, cost: Cost, work: impl Future<Output = ()> + Send + 'static) {
    if let Some(ticket) = &way.trip.exchange.ticket {
        let underway = way.underway.clone();
        let work = async move {
            // It can still be cancelled, in so many words.
            let _underway = underway;
            work.await;
        };
        way.gateway.world.sessions.detached().let_go_on(ticket.id, cost, work);
    }
}

/// Reads an answer that nobody gets to its end: closing the connection would cancel the call.
pub(super) fn read_out(way: &Way<'_>, response: UpstreamResponse) {
    if !response.is_complete() {
        let (answering, most) = (Answering::of(way, &way.link), way.trip.snapshot.limits.answer_bytes);
        go_on(way, Cost { exchanges: 1, bytes: 0 }, async move { answering.read_out(response, most).await });
    }
}

/// Reads at most `most` bytes of an answer.
pub(super) async fn discard(mut response: UpstreamResponse, most: usize) {
    let mut left = most;
    while let Ok(Some(chunk)) = response.chunk().await {
        let Some(rest) = left.checked_sub(chunk.len()) else { return };
        left = rest;
    }
}

/// Reads what is left of a body that means nothing; nearly always nothing is.
pub(super) async fn settle(response: UpstreamResponse) {
    if !response.is_complete() {
        // A body that takes longer costs its connection.
        let _ = timeout(SETTLING, discard(response, SETTLED_BYTES)).await;
    }
}

/// Reads a stream on and records it, until it ends or nobody comes back for it in time.
pub(super) fn pump(mut flow: Flow) {
    tokio::spawn(async move {
        loop {
            let Flow { response, record, .. } = &mut flow;
            let chunk = tokio::select! {
                biased;
                told = told(record) => match told {
                    Told::Stop => return,
                    Told::TakenOver => continue,
                },
                chunk = response.chunk() => chunk,
            };
            match chunk {
                Ok(Some(chunk)) => {
                    if flow.take(&chunk).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return flow.finish(),
                Err(_) => return,
            }
        }
    });
}

async fn told(record: &mut Option<StreamRecord>) -> Told {
    match record {
        Some(record) => record.told().await,
        None => pending().await,
    }
}
