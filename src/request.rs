//! Reading a request's body: whole, capped, within one deadline.
//!
//! Pingora times each read; a body that drips a byte a second would be read for ever. So the deadline here spans the
//! whole body.

use crate::bodies::{SMALL_BYTES, Share};
use bytes::{Bytes, BytesMut};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::negotiate;
use pingora_proxy::Session;
use std::time::Duration;
use tokio::time::timeout;

const RULE: &str = "body";

/// Bounds of a request body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Most bytes.
    pub bytes: usize,
    /// Most bytes of the larger bodies of all requests together.
    pub total: usize,
    /// Longest time from the first read to the last byte.
    pub time: Duration,
}

/// Reads the whole body; `share` is what it holds of all that bodies may hold.
///
/// # Errors
/// [`Fault::BodyTooLong`], [`Fault::BodyTooSlow`], [`Fault::BodyCut`], or [`Fault::Overloaded`] where bodies hold as much as
/// they may already; the connection is then fit for one answer only.
pub async fn read_body(session: &mut Session, limits: BodyLimits, share: &mut Share) -> Result<Bytes, Refusal> {
    if expects_continue(session) {
        session.downstream_session.write_continue_response().await.map_err(|_| Refusal::new(Fault::BodyCut, RULE))?;
    }
    match timeout(limits.time, read_all(session, limits, share)).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::new(Fault::BodyTooSlow, RULE)),
    }
}

/// Reads and drops what is left of a refused request's body, so that the client gets to see the answer before the
/// connection closes. Gives up after `limits`.
pub async fn discard_body(session: &mut Session, limits: BodyLimits) {
    let discard = async {
        let mut left = limits.bytes;
        while let Ok(Some(chunk)) = session.downstream_session.read_request_body().await {
            let Some(rest) = left.checked_sub(chunk.len()) else { return };
            left = rest;
        }
    };
    // Whether the client was done or the patience ran out: the connection is closed after this either way.
    let _ = timeout(limits.time, discard).await;
}

fn expects_continue(session: &Session) -> bool {
    session
        .req_header()
        .headers
        .get(http::header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

async fn read_all(session: &mut Session, limits: BodyLimits, share: &mut Share) -> Result<Bytes, Refusal> {
    let limit = limits.bytes;
    let Some(first) = next_chunk(session).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(negotiate::too_long(limit as u64));
    }
    if session.downstream_session.is_body_done() {
        return Ok(first);
    }
    let mut body = BytesMut::with_capacity(announced(session).map_or(2 * first.len(), |length| length.min(limit)));
    let mut hold = |bytes: usize| {
        let fits = bytes <= SMALL_BYTES || share.grow_to(bytes, limits.total);
        if fits { Ok(()) } else { Err(Refusal::new(Fault::Overloaded, RULE)) }
    };
    body.extend_from_slice(&first);
    // What has come counts, not what was announced: or a few clients that send nothing could shut all others out.
    hold(body.len())?;
    while let Some(chunk) = next_chunk(session).await? {
        if body.len() + chunk.len() > limit {
            return Err(negotiate::too_long(limit as u64));
        }
        body.extend_from_slice(&chunk);
        hold(body.len())?;
    }
    Ok(body.freeze())
}

async fn next_chunk(session: &mut Session) -> Result<Option<Bytes>, Refusal> {
    session.downstream_session.read_request_body().await.map_err(|_| Refusal::new(Fault::BodyCut, RULE))
}

fn announced(session: &Session) -> Option<usize> {
    session.req_header().headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
