//! One backend's stream among those that are merged for a client: opened, read, and opened again where it left off.

use super::super::revive::Opener;
use super::super::translate::{Becomes, Heard, Translate};
use crate::session::{NodeSession, UpstreamId, UpstreamSession};
use crate::snapshot::Link;
use crate::upstream::{Form, Speech, UpstreamResponse};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use lockgate_filters::federate::event_id::Source;
use lockgate_filters::splice::Outbound;
use lockgate_filters::sse::{Frame, Framer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long a backend is left alone whose stream ended; twice as long each time that it ends at once.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A stream that lived this long was no failure.
const LIVED: Duration = Duration::from_secs(10);

/// What comes into the merged stream.
pub(super) enum Piece {
    /// An event; boxed, for a channel has room for many.
    Event(Box<Event>),
    /// The backend at this place may have said something that nobody heard, and says nothing twice.
    Gap {
        /// Where it is.
        place: Arc<str>,
    },
    /// A backend no longer takes what the client has said of itself when it came: it must come again, and say more.
    Unknown,
}

/// An event of a backend.
pub(super) struct Event {
    /// Where it comes from.
    pub source: Source,
    /// The backend's own id of it.
    pub id: Option<Bytes>,
    /// Its frame.
    pub frame: Frame,
    /// What stands in the place of its data.
    pub data: Option<Bytes>,
}

/// What is needed to read one backend's stream.
pub(super) struct Reading {
    /// As it was when the stream was opened last.
    pub link: Arc<Link>,
    pub node: Arc<NodeSession>,
    /// Of the configuration that is in use: a stream outlives reloads.
    pub opener: Arc<ArcSwap<Opener>>,
    pub heard: Heard,
    pub upstream: UpstreamSession,
    /// The event behind which it goes on.
    pub behind: Option<Bytes>,
    /// Whether the backend may have said something in this session that nobody heard.
    pub missed: bool,
    /// Whether the backend has taken whoever asks for this stream.
    pub welcomed: bool,
    /// Whether the backend has refused the client's credentials the last time.
    pub refused: bool,
    pub event_bytes: usize,
    pub pieces: mpsc::Sender<Piece>,
}

/// How a stream ended.
enum Ended {
    /// It may be opened again.
    Again,
    /// The backend no longer knows the session.
    Lost,
    /// There is none, or nobody listens.
    Over,
}

/// Whether a status says that there may be a stream soon: a second one of the session is refused for as long as the first is
/// not known to be dead (409), or there are too many requests.
fn may_come_later(status: StatusCode) -> bool {
    let is_failing = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
    matches!(status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS) || is_failing
}

impl Reading {
    /// Reads until the backend has no stream for the session, or nobody listens. A session that the backend has lost is
    /// opened again: its stream is then another one.
    pub async fn run(mut self) {
        let mut wait = BACKOFF.0;
        loop {
            let since = Instant::now();
            match self.once().await {
                Ended::Over => return,
                Ended::Lost if self.renew().await => return,
                Ended::Lost => {}
                Ended::Again if since.elapsed() >= LIVED => wait = BACKOFF.0,
                Ended::Again => {}
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    /// Opens the session again. `false` where that may be tried again later.
    async fn renew(&self) -> bool {
        let Some(lost) = self.upstream.id.as_ref().map(|id| id.header().clone()) else {
            // A backend that keeps no sessions means something else by its 404.
            return true;
        };
        let (opener, link) = self.now();
        if !link.heals {
            // The next request is to find the loss, and to be told of it; here it can only be said that news were missed.
            self.node.missed_news();
            let _ = self.pieces.send(Piece::Gap { place: Arc::clone(&link.backend.place) }).await;
            return true;
        }
        // To its end, whether somebody listens then or not: what is half open at a backend must not stay so.
        let renewed = tokio::spawn(async move { opener.renew(&link, Some(&lost), false).await.is_ok() }).await;
        renewed.is_ok_and(|renewed| renewed)
    }

    /// What the configuration in use says of the backend.
    fn now(&self) -> (Arc<Opener>, Arc<Link>) {
        let opener = self.opener.load_full();
        let mut links = opener.server.links.iter();
        let link = links.find(|link| link.backend.place == self.link.backend.place).unwrap_or(&self.link);
        let link = Arc::clone(link);
        (opener, link)
    }

    async fn once(&mut self) -> Ended {
        let (opener, link) = self.now();
        self.link = link;
        let fetcher = opener.speaker(&self.link.backend);
        let session = self.upstream.id.as_ref().map(UpstreamId::header);
        let speech = Speech::Legacy { session, revision: Some(self.upstream.revision) };
        let behind = self.behind.as_deref().and_then(|id| HeaderValue::from_bytes(id).ok());
        let response = match fetcher.stream(speech, behind).await {
            Ok(response) => response,
            Err(fault) => {
                tracing::debug!(backend = %self.link.name(), "a backend's stream cannot be opened: {fault}");
                self.missed = true;
                return Ended::Again;
            }
        };
        if !may_come_later(response.status) {
            let given_up = self.node.stream_is_settled(&self.link.backend.place, self.upstream.id.as_ref());
            self.missed |= given_up;
        }
        match response.status {
            StatusCode::OK if response.form() == Form::EventStream => {
                self.refused = false;
                self.welcomed = true;
                if std::mem::replace(&mut self.missed, true) && self.behind.is_none() {
                    let place = Arc::clone(&self.link.backend.place);
                    if self.pieces.send(Piece::Gap { place }).await.is_err() {
                        return Ended::Over;
                    }
                }
                let (heard, upstream) = (self.heard.clone(), self.upstream.clone());
                let translate = Translate::listening(heard, Arc::clone(&self.link), Some(upstream), fetcher);
                self.read(response, &translate).await
            }
            StatusCode::NOT_FOUND => Ended::Lost,
            StatusCode::METHOD_NOT_ALLOWED => Ended::Over,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.refuse(response.status, &fetcher.fields).await,
            _ => {
                self.missed = true;
                Ended::Again
            }
        }
    }

    /// The backend refuses who asks. Where that is the client, and it was welcome before, it may know better by now: only it
    /// can say so, in another request.
    async fn refuse(&mut self, status: StatusCode, sent: &Outbound) -> Ended {
        self.link.metrics.refused_stream();
        self.missed = true;
        if !std::mem::replace(&mut self.refused, true) {
            let status = status.as_u16();
            tracing::warn!(backend = %self.link.name(), session = %self.node.id(), status, "a backend refuses a session's stream");
        }
        let is_the_clients = sent.iter().any(|(name, _)| self.link.backend.forwarding.lists(name));
        if self.welcomed && is_the_clients && self.pieces.send(Piece::Unknown).await.is_ok() {
            return Ended::Over;
        }
        Ended::Again
    }

    async fn read(&mut self, mut response: UpstreamResponse, translate: &Translate) -> Ended {
        let mut framer = Framer::keeping(self.event_bytes);
        loop {
            let chunk = tokio::select! {
                biased;
                () = self.pieces.closed() => return Ended::Over,
                chunk = response.chunk() => chunk,
            };
            let Ok(Some(chunk)) = chunk else { return Ended::Again };
            if framer.feed(&chunk).is_err() {
                tracing::warn!(backend = %self.link.name(), "a backend sent an event that is too long");
                return Ended::Again;
            }
            while let Some(frame) = framer.next_frame() {
                if !self.take(frame, translate).await {
                    return Ended::Over;
                }
            }
        }
    }

    /// Hands an event on; `false` where nobody listens any more.
    async fn take(&mut self, frame: Frame, translate: &Translate) -> bool {
        let id = frame.id.clone().filter(|id| !id.is_empty());
        if let Some(id) = &id {
            self.behind = Some(id.clone());
        }
        if frame.data.is_empty() {
            // A position without a message means something only to whoever reads this stream.
            return true;
        }
        let data = match translate.message(&frame.data) {
            Becomes::Same => None,
            Becomes::Other(data) => Some(data),
            Becomes::Nothing => return true,
        };
        let source = self.upstream.source(&self.link.backend.place);
        self.pieces.send(Piece::Event(Box::new(Event { source, id, frame, data }))).await.is_ok()
    }
}
