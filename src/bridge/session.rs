//! The legacy session: what names it, and what it takes to open it again.

use super::shared::Shared;
use super::wire::send;
use super::wishes::Wishes;
use crate::upstream::Verb;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use lockgate_filters::headers::{PROTOCOL_VERSION, SESSION_ID};
use lockgate_filters::rpc::members::member;
use lockgate_filters::splice::Outbound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio::time::timeout;

/// Where a client is in the legacy era: what changes together, under one lock.
#[derive(Debug, Default)]
pub(super) struct Legacy {
    /// The session that it is in.
    pub(super) session: Option<Arc<Session>>,
    /// How it has opened it, or one that this took the place of.
    pub(super) opening: Option<Opening>,
    /// What it has set since.
    pub(super) wishes: Wishes,
}

/// How a client has opened its session.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    /// Its `initialize`.
    pub(super) body: Bytes,
    /// The raw id of that.
    pub(super) id: Bytes,
}

/// A session that is open at the server.
#[derive(Debug)]
pub(super) struct Session {
    id: Option<HeaderValue>,
    revision: Option<HeaderValue>,
    ended: watch::Sender<bool>,
    /// Whether somebody listens to it: shared by the session that the client has opened and all that took its place.
    listened: Arc<AtomicBool>,
}

impl Session {
    /// The session that a result of `initialize` opens.
    pub(super) fn opened(headers: &HeaderMap, result: &[u8]) -> Session {
        let revision = member(result, "protocolVersion").and_then(|revision| revision.text(result));
        Session {
            id: headers.get(SESSION_ID).cloned(),
            revision: revision.and_then(|revision| HeaderValue::from_str(&revision).ok()),
            ended: watch::Sender::new(false),
            listened: Arc::default(),
        }
    }

    /// As [`Session::opened`], in the place of this one, which the server has lost.
    pub(super) fn reopened(&self, headers: &HeaderMap, result: &[u8]) -> Session {
        Session { listened: Arc::clone(&self.listened), ..Session::opened(headers, result) }
    }

    /// As [`Session::reopened`], before it is known what was negotiated.
    pub(super) fn begun(&self, headers: &HeaderMap) -> Session {
        Session { revision: self.revision.clone(), ..self.reopened(headers, b"") }
    }

    /// Whether one of them took the place of the other, maybe over others.
    pub(super) fn continues(&self, other: &Session) -> bool {
        Arc::ptr_eq(&self.listened, &other.listened)
    }

    /// Takes listening to it upon whoever asks; tells whether nobody had that before.
    pub(super) fn claim_listening(&self) -> bool {
        !self.listened.swap(true, Ordering::Relaxed)
    }

    /// Whether the server may forget it: otherwise there is nothing that it could know.
    pub(super) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// Whether the server knows both by the same id.
    pub(super) fn is_known_as(&self, other: &Session) -> bool {
        self.id == other.id
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

    /// Ends when nothing is to be heard in it any more.
    pub(super) async fn left(&self) {
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
