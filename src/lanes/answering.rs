//! What a backend asks where no client can hear it: the client takes no stream, or has left. A backend that gets no answer
//! would wait, and what it was asked with it: a `ping` is answered, everything else refused.

use super::messages::{Meaning, Messages, is_request};
use super::revive::speech;
use super::{Way, detached};
use crate::session::NodeSession;
use crate::snapshot::Link;
use crate::upstream::{AttemptFault, Fetcher, Form, UpstreamResponse};
use bytes::Bytes;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::rpc::reply;
use lockgate_filters::rpc::scan::{self, Limits};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a backend gets to take an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers one backend in a client's place, in the session that the client has there.
#[derive(Clone)]
pub(super) struct Answering {
    link: Arc<Link>,
    fetcher: Fetcher,
    /// None in the modern era, where backends ask nothing.
    node: Option<Arc<NodeSession>>,
    event_bytes: usize,
}

impl Answering {
    /// In the place of the client whose request this is.
    pub fn of(way: &Way<'_>, link: &Arc<Link>) -> Answering {
        Answering {
            fetcher: way.speaker(&link.backend),
            node: way.node.clone(),
            event_bytes: way.trip.snapshot.limits.event_bytes,
            link: Arc::clone(link),
        }
    }

    /// Answers what the backend says, if it is a request. One at a time: a backend that asks much waits for itself.
    pub async fn answer(&self, said: &Bytes) {
        let Some(node) = self.node.as_ref().filter(|_| is_request(said)) else { return };
        // As it is now: it may have been opened since this request came.
        let Some(upstream) = node.upstream(&self.link.backend.place) else { return };
        let Some(answer) = self.answer_to(said) else { return };
        let told = timeout(PATIENCE, self.fetcher.respond(answer, speech(&upstream))).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!(backend = %self.link.name(), "a backend's request could not be answered");
        }
    }

    fn answer_to(&self, said: &Bytes) -> Option<Bytes> {
        let message = scan::scan_envelope(said, &Limits { depth: scan::MAX_DEPTH, batch: 1 }).ok()?;
        let id = message.id?.span.of(said);
        if message.is(b"ping", said) {
            return Some(reply::result_body(Some(id), b"{}"));
        }
        tracing::debug!(backend = %self.link.name(), "a backend asked something where no client can be asked");
        self.link.metrics.refused_request();
        let refusal = Refusal::new(Fault::NotAsked, "answering").saying("no client can be asked this");
        Some(reply::error_body(Some(id), &refusal, ""))
    }

    /// The response to the request with this raw id among what the backend says, as [`Messages::response`].
    pub async fn response(&self, messages: &mut Messages, id: &[u8]) -> Result<Option<Bytes>, AttemptFault> {
        while let Some(said) = messages.next().await? {
            match said.meaning(id) {
                Meaning::Response(response) => return Ok(Some(response)),
                Meaning::Speech => self.answer(&said.bytes).await,
                Meaning::Noise => {}
            }
        }
        Ok(None)
    }

    /// Reads an answer that nobody gets, of at most so many bytes where it is no stream.
    pub async fn read_out(&self, response: UpstreamResponse, most: usize) {
        if response.form() != Form::EventStream || self.node.is_none() {
            return detached::discard(response, most).await;
        }
        let mut messages = Messages::of(response, most, self.event_bytes);
        while let Ok(Some(said)) = messages.next().await {
            self.answer(&said.bytes).await;
        }
    }
}
