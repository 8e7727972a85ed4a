//! What goes on after the client has left: in the legacy era a disconnect cancels nothing.

use super::stream::Flow;
use crate::session::{StreamRecord, Told};
use crate::upstream::{AttemptFault, UpstreamResponse};
use std::future::{Future, pending};

/// The most that is read of an answer that nobody will get.
const DISCARDED_BYTES: usize = 16 << 20;

/// Lets a request that was sent come to its answer, and reads that to its end; unless its session is `ended` first.
pub(super) fn finish(
    sending: impl Future<Output = Result<UpstreamResponse, AttemptFault>> + Send + 'static,
    ended: impl Future<Output = ()> + Send + 'static,
) {
    tokio::spawn(async move {
        let finishing = async {
            if let Ok(response) = sending.await {
                discard(response).await;
            }
        };
        tokio::select! {
            () = finishing => {}
            () = ended => {}
        }
    });
}

/// Reads what is left of an answer whose body means nothing, so that the connection can be used again.
pub(super) fn drain(response: UpstreamResponse) {
    tokio::spawn(discard(response));
}

async fn discard(mut response: UpstreamResponse) {
    let mut left = DISCARDED_BYTES;
    while let Ok(Some(chunk)) = response.chunk().await {
        let Some(rest) = left.checked_sub(chunk.len()) else { return };
        left = rest;
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
