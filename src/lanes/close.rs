//! DELETE: a legacy client ends its session. The sessions at backends and every stream end with it.
//!
//! Here too: ending the sessions of clients that nobody has heard of for long, where nobody waits for it.

use super::{Broken, Way, elsewhere, respond};
use crate::serve::now;
use crate::session::{NodeSession, UpstreamId, UpstreamSession};
use crate::snapshot::Snapshot;
use crate::telemetry::labels::NodeRequest;
use crate::upstream::{Caller, FaultKind, Fetcher, Generation, LiveBackend};
use bytes::Bytes;
use http::StatusCode;
use lockgate_filters::revision::Revision;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a backend gets to end a session before it counts as not answering.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many sessions are ended at one backend at a time.
const AT_A_TIME: usize = 16;

pub(super) async fn run(way: Way<'_>) -> Result<(), Broken> {
    let Some(ticket) = way.trip.exchange.ticket.clone() else { return Ok(()) };
    let ended = way.gateway.world.sessions.end(&ticket.id, ticket.expires, now()).await;
    let told = elsewhere::told(&way, NodeRequest::End);
    let ending = async {
        if let Some(session) = ended {
            end_everywhere(&way, &session).await;
        }
    };
    tokio::join!(told, ending);
    let header = respond::header(way.trip, StatusCode::OK)?;
    respond::whole(way.session, header, Bytes::new()).await?;
    Ok(())
}

/// Ends a session at every backend that it was open at, in the words of its client.
pub(super) async fn end_everywhere(way: &Way<'_>, session: &NodeSession) {
    let caller = Caller { principal: way.trip.exchange.principal().digest(), session: Some(session.id()) };
    let mut ending = JoinSet::new();
    for (backend, upstream) in open_at(&way.trip.snapshot, session) {
        let Some(id) = upstream.id else { continue };
        let fetcher = super::speaker(&backend, &way.session.req_header().headers, caller);
        ending.spawn(async move { end_at(&backend, &fetcher, &id, Some(upstream.revision)).await });
    }
    while ending.join_next().await.is_some() {}
}

/// Ends sessions that this node gave up, at every backend that they were open at.
///
/// A few at a time, and each backend for itself: one that does not answer is given up after the first that it did not
/// answer for, and keeps nobody else waiting.
pub async fn end_all(snapshot: Arc<Snapshot>, sessions: Vec<Arc<NodeSession>>) {
    let mut backends: HashMap<Arc<str>, (Arc<LiveBackend>, Vec<UpstreamSession>)> = HashMap::new();
    for (backend, upstream) in sessions.iter().flat_map(|session| open_at(&snapshot, session)) {
        let known = backends.entry(Arc::clone(&backend.place)).or_insert_with(|| (backend, Vec::new()));
        known.1.push(upstream);
    }
    // Connections and configuration may change while a slow backend is asked.
    drop((sessions, snapshot));
    let mut ending = JoinSet::new();
    for (backend, upstreams) in backends.into_values() {
        ending.spawn(end_many(backend, upstreams));
    }
    while ending.join_next().await.is_some() {}
}

async fn end_many(backend: Arc<LiveBackend>, upstreams: Vec<UpstreamSession>) {
    let mut ending = JoinSet::new();
    let mut left = upstreams.into_iter();
    loop {
        while ending.len() < AT_A_TIME
            && let Some(UpstreamSession { id, revision }) = left.next()
        {
            let Some(id) = id else { continue };
            let backend = Arc::clone(&backend);
            ending.spawn(async move { end_at(&backend, backend.fetcher(), &id, Some(revision)).await });
        }
        match ending.join_next().await {
            Some(Ok(Answered::No)) if left.len() > 0 => {
                tracing::warn!(
                    backend = %backend.backend.name,
                    sessions = left.len(),
                    "sessions were left behind: the backend does not answer"
                );
                left = Vec::new().into_iter();
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// Ends a session that another one has displaced, in the background, if its backend still is configured.
pub(super) fn end_displaced(backends: &Generation, place: &Arc<str>, upstream: UpstreamSession) {
    let Some(backend) = backends.iter().find(|backend| backend.place == *place).cloned() else { return };
    tokio::spawn(end_many(backend, vec![upstream]));
}

/// The backends at which a session is open, as far as they are still configured.
fn open_at(snapshot: &Snapshot, session: &NodeSession) -> Vec<(Arc<LiveBackend>, UpstreamSession)> {
    let known = |place: &Arc<str>| snapshot.backends.iter().find(|backend| backend.place == *place).cloned();
    let upstreams = session.upstreams().into_iter();
    upstreams.filter_map(|(place, upstream)| Some((known(&place)?, upstream))).collect()
}

/// Whether a backend had anything to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    Yes,
    No,
}

/// Tells a backend that one of its sessions is over; whether it takes note is its own affair.
pub(super) async fn end_at(
    backend: &LiveBackend,
    fetcher: &Fetcher,
    id: &UpstreamId,
    revision: Option<Revision>,
) -> Answered {
    let name = &backend.backend.name;
    match timeout(PATIENCE, fetcher.end_session(id.header(), revision)).await {
        Ok(Ok(())) => Answered::Yes,
        Ok(Err(fault)) => {
            tracing::debug!(backend = %name, "a session could not be ended: {fault}");
            if fault.kind == FaultKind::Protocol { Answered::Yes } else { Answered::No }
        }
        Err(_) => {
            tracing::debug!(backend = %name, "a session was not ended in time");
            Answered::No
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::backend_at;
    use crate::upstream::{BackendSettings, Protocol, Registry, Timeouts};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// A backend that gives each request this answer, or none; and how many requests it got.
    async fn backend(answer: &'static [u8]) -> (Arc<LiveBackend>, Arc<AtomicUsize>) {
        let (generation, asked) = generation(answer).await;
        (Arc::clone(generation.get("demo").expect("a backend")), asked)
    }

    /// The same, among all that there are.
    async fn generation(answer: &'static [u8]) -> (Generation, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer, Arc::clone(&counted)));
            }
        });
        let settings = BackendSettings {
            protocol: Protocol::Legacy,
            timeouts: Timeouts { first_byte: Duration::from_millis(200), ..Timeouts::default() },
            ..backend_at("demo", url)
        };
        (Registry::new().prepare(&[settings]).expect("usable settings"), asked)
    }

    async fn serve(mut stream: TcpStream, answer: &'static [u8], asked: Arc<AtomicUsize>) {
        let mut read = Vec::new();
        while matches!(stream.read_buf(&mut read).await, Ok(1..)) {
            while let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                assert!(read.starts_with(b"DELETE /mcp "));
                read.drain(..end + 4);
                asked.fetch_add(1, Relaxed);
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
    }

    fn sessions(number: usize) -> Vec<UpstreamSession> {
        let session = |number: usize| UpstreamSession {
            id: UpstreamId::new(format!("s-{number}").as_bytes()),
            revision: Revision::V2025_11_25,
        };
        (0..number).map(session).collect()
    }

    #[tokio::test]
    async fn all_sessions_are_ended_whatever_the_backend_makes_of_it() {
        for answer in [&b"HTTP/1.1 204 No Content\r\n\r\n"[..], b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"] {
            let (backend, asked) = backend(answer).await;
            end_many(backend, sessions(3 * AT_A_TIME)).await;
            assert_eq!(asked.load(Relaxed), 3 * AT_A_TIME);
        }
    }

    #[tokio::test]
    async fn a_backend_that_does_not_answer_is_soon_given_up() {
        let (backend, asked) = backend(b"").await;
        end_many(backend, sessions(100 * AT_A_TIME)).await;
        assert!(asked.load(Relaxed) <= AT_A_TIME, "{asked:?}");
    }

    #[tokio::test]
    async fn what_was_opened_in_vain_is_ended() {
        let (backend, asked) = backend(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let id = || UpstreamId::new(b"s-1");
        let opened = || super::super::opened::Opened::new(Arc::clone(&backend), backend.fetcher().clone(), id());
        opened().keep();
        drop(opened());
        once(&asked).await;
    }

    #[tokio::test]
    async fn what_is_displaced_is_ended_where_it_is_known() {
        let (generation, asked) = generation(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let place = Arc::clone(&generation.get("demo").expect("a backend").place);
        end_displaced(&generation, &"demo of another URL".into(), sessions(1).remove(0));
        end_displaced(&generation, &place, sessions(1).remove(0));
        once(&asked).await;
    }

    /// Waits until the backend was asked once.
    async fn once(asked: &AtomicUsize) {
        let once = async {
            while asked.load(Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), once).await.expect("the end of the session");
        assert_eq!(asked.load(Relaxed), 1);
    }
}
