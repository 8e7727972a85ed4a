//! Opening the legacy session again that the server has lost: it was restarted, or has forgotten it.
//!
//! Clients of Streamable HTTP are to begin anew then (2025-11-25, "Session Management"); one on a channel cannot know that
//! there was a session. So what it said in its own `initialize` is said again, and what it has set since, once for all that
//! notice the loss together: they share the session, or the reason why there is none.

use super::answer::{Stream, envelope, is_stream, split, whole};
use super::session::Session;
use super::shared::Shared;
use super::wire::{Failure, send};
use super::wishes::{Wish, Wishes};
use crate::upstream::{UpstreamResponse, Verb};
use bytes::Bytes;
use lockgate_filters::fault::Fault;
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::{id, scan};
use lockgate_filters::splice::Outbound;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// What a client says when it has understood the answer to its `initialize`.
const INITIALIZED: Bytes = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);

/// What servers say of a session that they do not know, naming the request: the official SDKs, and this gateway.
const UNKNOWN_SESSION: [&[u8]; 2] = [b"-32001", b"-32600"];

/// How long the server gets to take what the client had set, within [`renewal`](super::Patience::renewal).
const WISHES: Duration = Duration::from_secs(10);

/// How much of that is said at a time.
const AT_A_TIME: usize = 8;

/// Who opens the session again, and what became of that.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    /// Held by whoever opens it; the last failure.
    turn: tokio::sync::Mutex<Option<Failure>>,
    /// How many have failed: who waited while another failed does not try for itself.
    failed: AtomicU64,
    /// What is open at the server already, and not in the place of the lost one yet.
    begun: Mutex<Option<Arc<Session>>>,
}

impl Renewals {
    /// Ends at the server what was opened there in vain.
    pub(super) async fn clear(&self, shared: &Shared) {
        let begun = self.begun.lock().clone();
        if let Some(begun) = begun {
            begun.end(shared).await;
            *self.begun.lock() = None;
        }
    }
}

/// Whether a 404 with this body, to the requests with these raw ids that were sent in a session, says that the session is
/// lost: they did not run then. Servers answer 404 to unknown methods and resources as well, with what is a JSON-RPC
/// response to the request.
pub(super) fn is_lost(body: &Bytes, asked: &[Bytes]) -> bool {
    let answers = |body: Bytes| {
        let Some(message) = envelope(&body).filter(|message| message.kind == scan::Kind::Response) else {
            return false;
        };
        let own = message.id.is_some_and(|own| asked.iter().any(|asked| id::same(own.span.of(&body), asked)));
        let code = message.error.and_then(|error| {
            let error = error.span.of(&body);
            member(error, "code").map(|code| code.span.of(error))
        });
        own && !code.is_some_and(|code| UNKNOWN_SESSION.contains(&code))
    };
    !split(body.clone(), asked.len().max(1)).into_iter().any(answers)
}

/// The session in the place of one that the server has lost; `fields` are those of whoever noticed. Takes no longer than
/// [`renewal`](super::Patience::renewal), however many wait for it, and the farewell to what was opened in vain. Must not be
/// dropped half way while the bridge goes on.
pub(super) async fn renew(
    shared: &Arc<Shared>,
    lost: &Arc<Session>,
    fields: &Outbound,
) -> Result<Arc<Session>, Failure> {
    let until = Instant::now() + shared.patience.renewal;
    let renewals = &shared.renewals;
    let failed = renewals.failed.load(Ordering::Acquire);
    let mut turn = timeout_at(until, renewals.turn.lock()).await.map_err(|_| late())?;
    let now = shared.session().ok_or_else(gone)?;
    if !Arc::ptr_eq(&now, lost) {
        return Ok(now);
    }
    // They failed while this session was in its place, so it is about the same one.
    if renewals.failed.load(Ordering::Acquire) != failed
        && let Some(failure) = &*turn
    {
        return Err(failure.clone());
    }
    let mut renewed = match timeout_at(until, open(shared, lost, fields)).await {
        Ok(Ok(session)) => settle(shared, lost, session, fields, until.min(Instant::now() + WISHES)).await,
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(late()),
    };
    if renewed.is_err()
        && let Some(now) = shared.session().filter(|now| !Arc::ptr_eq(now, lost))
    {
        // The client has opened another itself.
        renewed = Ok(now);
    }
    if let Err(failure) = &renewed {
        *turn = Some(failure.clone());
        renewals.failed.fetch_add(1, Ordering::Release);
    }
    renewals.clear(shared).await;
    renewed
}

/// What is said of an answer that nobody knows any more.
pub(super) fn answer_lost() -> Failure {
    Failure::new(Fault::BackendSessionLost, "the server has lost the session in which this was asked, and its answer")
}

fn gone() -> Failure {
    Failure::new(Fault::BackendSessionLost, "the server has lost the session")
}

fn late() -> Failure {
    Failure::new(Fault::BackendTimeout, "the server has lost the session, and opens no other in time")
}

/// The handshake. What it opens at the server is noted at once.
async fn open(shared: &Shared, lost: &Session, fields: &Outbound) -> Result<Arc<Session>, Failure> {
    let opening = shared.legacy.lock().opening.clone().ok_or_else(gone)?;
    let mut response = post(shared, fields.clone(), opening.body).await?;
    let (status, headers) = (response.status, std::mem::take(&mut response.headers));
    if status.is_success() {
        *shared.renewals.begun.lock() = Some(Arc::new(lost.begun(&headers)));
    }
    let Some(answer) = answer(shared, response, &opening.id).await? else {
        return Err(Failure::of_status(status));
    };
    let result = envelope(&answer).and_then(|message| message.result);
    let Some(result) = result.filter(|_| status.is_success()) else {
        return Err(Failure::new(Fault::BackendSessionLost, "the server has lost the session, and opens no other"));
    };
    let session = Arc::new(lost.reopened(&headers, result.span.of(&answer)));
    *shared.renewals.begun.lock() = Some(Arc::clone(&session));
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

/// Puts a session in the place of the lost one, once the server has been told what the client has set. A client that has
/// opened another itself meanwhile has that.
async fn settle(
    shared: &Arc<Shared>,
    lost: &Arc<Session>,
    session: Arc<Session>,
    fields: &Outbound,
    until: Instant,
) -> Result<Arc<Session>, Failure> {
    let mut told = Wishes::default();
    loop {
        let untold = {
            let mut legacy = shared.legacy.lock();
            let now = legacy.session.clone().ok_or_else(gone)?;
            if !Arc::ptr_eq(&now, lost) {
                return Ok(now);
            }
            let untold = legacy.wishes.beyond(&told);
            if untold.is_empty() {
                legacy.session = Some(Arc::clone(&session));
                *shared.renewals.begun.lock() = None;
                lost.leave();
                tracing::warn!("the server had lost the session: it has been opened again");
                return Ok(session);
            }
            told = legacy.wishes.clone();
            untold
        };
        tell(shared, &session, fields, untold, until).await;
    }
}

/// Says what the client has set. A server that does not take it has opened the session all the same.
async fn tell(shared: &Arc<Shared>, session: &Session, fields: &Outbound, wishes: Vec<Wish>, until: Instant) {
    let (all, mut granted) = (wishes.len(), 0);
    let mut fields = fields.clone();
    session.name(&mut fields);
    // What is under way when the time is over is dropped with the set.
    let _ = timeout_at(until, async {
        let mut left = wishes.into_iter().enumerate();
        let mut saying = JoinSet::new();
        loop {
            while saying.len() < AT_A_TIME
                && let Some((number, wish)) = left.next()
            {
                saying.spawn(say(Arc::clone(shared), fields.clone(), wish, number));
            }
            match saying.join_next().await {
                Some(said) => granted += usize::from(said.unwrap_or(false)),
                None => return,
            }
        }
    })
    .await;
    if granted < all {
        tracing::warn!(
            refused = all - granted,
            "the server did not take all of the log level and the subscriptions of the session that it had lost"
        );
    }
}

/// Says one thing, under an id that is none of the client's; tells whether it was granted.
async fn say(shared: Arc<Shared>, fields: Outbound, wish: Wish, number: usize) -> bool {
    let id = format!("lockgate-renewal-{number}");
    let Ok(response) = post(&shared, fields, wish.request(&id)).await else { return false };
    let answer = answer(&shared, response, format!("\"{id}\"").as_bytes()).await;
    answer.is_ok_and(|answer| answer.is_some_and(|answer| envelope(&answer).is_some_and(|said| said.result.is_some())))
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
    fn what_answers_the_request_is_no_lost_session() {
        let error = |id: &str, code: i32| {
            Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"m"}}}}"#))
        };
        let asked = [Bytes::from("1"), Bytes::from("2")];
        let batch = Bytes::from([b"[", &error("9", -32002)[..], b",", &error("2", -32002), b"]"].concat());
        let result = Bytes::from(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        for answer in [error("1", -32601), error("1", -32002), error("1.0", -32602), batch, result] {
            assert!(!is_lost(&answer, &asked), "{}", String::from_utf8_lossy(&answer));
        }
        for lost in [
            error("1", -32600),
            error("2", -32001),
            error("null", -32001),
            error("null", -32601),
            error("\"server-error\"", -32002),
            Bytes::from(r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#),
            Bytes::from(r#"{"id":1,"message":"Not Found"}"#),
            Bytes::new(),
            Bytes::from("Not Found"),
        ] {
            assert!(is_lost(&lost, &asked), "{}", String::from_utf8_lossy(&lost));
        }
    }
}
