//! Opening the legacy session again that the server has lost: it was restarted, or has forgotten it.
//!
//! Clients of Streamable HTTP are to begin anew then (2025-11-25, "Session Management"); one on a channel cannot know that
//! there was a session. So what it said in its own `initialize` is said again, once for all that notice the loss together.

use super::answer::{Stream, envelope, is_stream, whole};
use super::ask::Shared;
use super::session::Session;
use super::wire::{Failure, send};
use crate::upstream::{UpstreamResponse, Verb};
use bytes::Bytes;
use lockgate_filters::fault::Fault;
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::{id, scan};
use lockgate_filters::splice::Outbound;
use std::sync::Arc;
use tokio::time::timeout;

/// What a client says when it has understood the answer to its `initialize`.
const INITIALIZED: Bytes = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);

/// What a JSON-RPC error says that is about the method, and not about the session.
const UNKNOWN_METHOD: &[u8] = b"-32601";

/// How a client has opened its session.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    /// Its `initialize`.
    pub(super) body: Bytes,
    /// The raw id of that.
    pub(super) id: Bytes,
}

/// Whether a 404 with this body, to a message that was sent in a session, says that the session is lost: the message did not
/// run then. Servers of both eras answer 404 to an unknown method as well.
pub(super) fn is_lost(body: &[u8]) -> bool {
    let error = envelope(body).filter(|message| message.id.is_some()).and_then(|message| message.error);
    let code = error.and_then(|error| {
        let error = error.span.of(body);
        member(error, "code").map(|code| code.span.of(error))
    });
    code != Some(UNKNOWN_METHOD)
}

/// The session in the place of one that the server has lost; `fields` are those of whoever noticed.
pub(super) async fn renew(shared: &Shared, lost: &Arc<Session>, fields: &Outbound) -> Result<Arc<Session>, Failure> {
    let _turn = shared.renewing.lock().await;
    let now = shared.session().ok_or_else(gone)?;
    if !Arc::ptr_eq(&now, lost) {
        return Ok(now);
    }
    let opening = shared.opening.lock().clone().ok_or_else(gone)?;
    let renewed = timeout(shared.patience.renewal, open(shared, lost, &opening, fields)).await;
    let renewed = renewed.map_err(|_| {
        Failure::new(Fault::BackendTimeout, "the server has lost the session, and opens no other in time")
    })?;
    let session = Arc::new(renewed?);
    tracing::warn!("the server had lost the session: it has been opened again");
    *shared.session.lock() = Some(Arc::clone(&session));
    lost.leave();
    Ok(session)
}

/// What is said of an answer that nobody knows any more.
pub(super) fn answer_lost() -> Failure {
    Failure::new(Fault::BackendSessionLost, "the server has lost the session in which this was asked, and its answer")
}

fn gone() -> Failure {
    Failure::new(Fault::BackendSessionLost, "the server has lost the session")
}

/// The handshake.
async fn open(shared: &Shared, lost: &Session, opening: &Opening, fields: &Outbound) -> Result<Session, Failure> {
    let mut response = post(shared, fields.clone(), opening.body.clone()).await?;
    let (status, headers) = (response.status, std::mem::take(&mut response.headers));
    let Some(answer) = answer(shared, response, &opening.id).await? else {
        return Err(Failure::of_status(status));
    };
    let result = envelope(&answer).and_then(|message| message.result);
    let Some(result) = result.filter(|_| status.is_success()) else {
        return Err(Failure::new(Fault::BackendSessionLost, "the server has lost the session, and opens no other"));
    };
    let session = Session::reopened(&headers, result.span.of(&answer));
    if !session.speaks_as(lost) {
        let text = "the server has lost the session, and opens it in another protocol revision only";
        return Err(Failure::new(Fault::BackendSessionLost, text));
    }
    let mut fields = fields.clone();
    session.name(&mut fields);
    let mut taken = post(shared, fields, INITIALIZED).await?;
    let status = taken.status;
    // Nothing is in it, and its connection can be used again.
    let _ = taken.collect(shared.limits.answer_bytes).await;
    if status.is_success() { Ok(session) } else { Err(Failure::of_status(status)) }
}

async fn post(shared: &Shared, fields: Outbound, body: Bytes) -> Result<UpstreamResponse, Failure> {
    send(&shared.server, &shared.limits, Verb::Post, fields, body).await.map_err(|fault| Failure::from(&fault))
}

/// The response to the request with this raw id.
async fn answer(shared: &Shared, mut response: UpstreamResponse, asked: &[u8]) -> Result<Option<Bytes>, Failure> {
    let failed = |fault| Failure::from(&fault);
    let answers = |message: &Bytes| {
        envelope(message).is_some_and(|found| {
            found.kind == scan::Kind::Response && found.id.is_some_and(|own| id::same(own.span.of(message), asked))
        })
    };
    if !is_stream(&response) {
        let messages = whole(&mut response, &shared.limits).await.map_err(failed)?;
        return Ok(messages.into_iter().find(answers));
    }
    let mut stream = Stream::of(response, &shared.limits);
    while let Some(message) = stream.next().await.map_err(failed)? {
        if answers(&message) {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_method_is_no_lost_session() {
        let error = |id: &str, code: i32| {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"m"}}}}"#).into_bytes()
        };
        assert!(!is_lost(&error("1", -32601)));
        for lost in [error("1", -32600), error("null", -32001), error("null", -32601), Vec::new(), b"Not Found".into()]
        {
            assert!(is_lost(&lost), "{}", String::from_utf8_lossy(&lost));
        }
    }
}
