//! The legacy session: what names it, and the stream on which the server speaks of its own accord.

use super::answer::{Stream, is_stream};
use super::ask::Shared;
use super::renew::renew;
use super::settings::Patience;
use super::wire::send;
use crate::upstream::{UpstreamResponse, Verb};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use lockgate_filters::headers::{LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID};
use lockgate_filters::rpc::members::member;
use lockgate_filters::splice::Outbound;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// A session that a client has opened.
#[derive(Debug)]
pub(super) struct Session {
    id: Option<HeaderValue>,
    revision: Option<HeaderValue>,
    ended: watch::Sender<bool>,
    /// Whether the bridge has opened it, in the place of one that the server has lost.
    reopened: bool,
}

impl Session {
    /// The session that a result of `initialize` opens.
    pub(super) fn opened(headers: &HeaderMap, result: &[u8]) -> Session {
        let revision = member(result, "protocolVersion").and_then(|revision| revision.text(result));
        Session {
            id: headers.get(SESSION_ID).cloned(),
            revision: revision.and_then(|revision| HeaderValue::from_str(&revision).ok()),
            ended: watch::Sender::new(false),
            reopened: false,
        }
    }

    /// As [`Session::opened`], where it was not the client that asked for it.
    pub(super) fn reopened(headers: &HeaderMap, result: &[u8]) -> Session {
        Session { reopened: true, ..Session::opened(headers, result) }
    }

    /// Whether the server may forget it: otherwise there is nothing that it could know.
    pub(super) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// Whether both have negotiated the same revision.
    pub(super) fn speaks_as(&self, other: &Session) -> bool {
        self.revision == other.revision
    }

    /// Names this session in a request.
    pub(super) fn name(&self, fields: &mut Outbound) {
        if let Some(id) = &self.id {
            fields.set(SESSION_ID, id.clone());
        }
        if let Some(revision) = &self.revision {
            fields.set(PROTOCOL_VERSION, revision.clone());
        }
    }

    /// Nothing is heard in it any more.
    pub(super) fn leave(&self) {
        self.ended.send_replace(true);
    }

    async fn left(&self) {
        // The sender is ours.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Ends the session at the server, which may not know what that is.
    pub(super) async fn end(&self, shared: &Shared) {
        self.leave();
        if self.id.is_none() {
            return;
        }
        let mut fields = shared.server.fields.clone();
        self.name(&mut fields);
        let farewell = send(&shared.server, &shared.limits, Verb::Delete, fields, Bytes::new());
        if let Ok(Err(fault)) = timeout(shared.patience.farewell, farewell).await {
            tracing::debug!(%fault, "the session could not be ended");
        }
    }
}

/// Asks for a stream: behind this event, or for what the server says of its own accord.
pub(super) async fn open(shared: &Shared, session: &Session, behind: Option<HeaderValue>) -> Opened {
    let mut fields = shared.server.fields.clone();
    session.name(&mut fields);
    if let Some(behind) = behind {
        fields.set(LAST_EVENT_ID, behind);
    }
    match send(&shared.server, &shared.limits, Verb::Get, fields, Bytes::new()).await {
        Ok(response) if is_stream(&response) => Opened::Stream(Box::new(response)),
        // No such stream, no such session, no right: asking again would not help.
        Ok(response) if response.status.is_client_error() && response.status != StatusCode::TOO_MANY_REQUESTS => {
            Opened::Never(response.status)
        }
        Ok(_) | Err(_) => Opened::NotNow,
    }
}

/// What became of asking for a stream.
pub(super) enum Opened {
    /// Here it is.
    Stream(Box<UpstreamResponse>),
    /// There is none.
    Never(StatusCode),
    /// Perhaps later.
    NotNow,
}

/// How long to wait before a stream is asked for again.
#[derive(Debug)]
pub(super) struct Pause {
    patience: Patience,
    next: Duration,
    /// What the server named last.
    named: Option<Duration>,
}

impl Pause {
    pub(super) fn new(patience: Patience) -> Pause {
        Pause { patience, next: patience.again, named: None }
    }

    /// The stream that has ended said this; the next is asked for soon, unless it was in vain.
    pub(super) fn after(&mut self, stream: &Stream) {
        self.named = stream.retry.or(self.named);
        if stream.has_news {
            self.next = self.patience.again;
        }
    }

    /// Waits; longer the next time.
    pub(super) async fn wait(&mut self) {
        let wait = self.named.unwrap_or(self.next).min(self.patience.again_most);
        self.next = self.next.saturating_mul(2).min(self.patience.again_most);
        sleep(wait).await;
    }
}

/// Brings what the server says of its own accord, for as long as the session lasts, or one in its place.
pub(super) async fn listen(shared: Arc<Shared>, mut session: Arc<Session>) {
    loop {
        let lost = tokio::select! {
            biased;
            () = session.left() => false,
            lost = keep_listening(&shared, &session) => {
                if !lost {
                    return;
                }
                true
            }
        };
        if lost && let Err(failure) = renew(&shared, &session, &shared.server.fields).await {
            tracing::warn!(reason = failure.text(), "the server is no longer listened to");
            return;
        }
        match shared.session().filter(|now| now.reopened && !Arc::ptr_eq(now, &session)) {
            Some(now) => session = now,
            // The client has opened another, or wants none any more.
            None => return,
        }
    }
}

/// Ends where the server has no stream; `true` where it had one, and has lost the session.
async fn keep_listening(shared: &Arc<Shared>, session: &Session) -> bool {
    let mut pause = Pause::new(shared.patience);
    let (mut behind, mut had_one) = (None, false);
    loop {
        match open(shared, session, behind.clone()).await {
            Opened::Stream(response) => {
                had_one = true;
                let mut stream = Stream::of(*response, &shared.limits);
                loop {
                    match stream.next().await {
                        Ok(Some(message)) => {
                            if shared.bring_unasked(message).await.is_err() {
                                return false;
                            }
                        }
                        Ok(None) => break,
                        Err(fault) => {
                            tracing::debug!(%fault, "the server's stream broke off");
                            break;
                        }
                    }
                }
                behind = stream.last_id().or(behind);
                pause.after(&stream);
            }
            Opened::Never(status) => {
                // A server need not have one: 405.
                tracing::debug!(%status, "the server has no stream of its own");
                return had_one && status == StatusCode::NOT_FOUND && session.has_id();
            }
            Opened::NotNow => {}
        }
        pause.wait().await;
    }
}
