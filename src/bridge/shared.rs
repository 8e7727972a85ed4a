//! What belongs to one client, whatever it asks.

use super::answer::envelope;
use super::inflight::InFlight;
use super::renew::Renewals;
use super::session::{Legacy, Session};
use super::settings::{Limits, Patience, Server};
use super::tools::Tools;
use bytes::Bytes;
use lockgate_filters::rpc::scan::Kind;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What all requests of one client share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) server: Server,
    pub(super) limits: Limits,
    pub(super) patience: Patience,
    /// To the client.
    pub(super) out: mpsc::Sender<Bytes>,
    pub(super) inflight: Arc<InFlight>,
    pub(super) legacy: Mutex<Legacy>,
    pub(super) renewals: Renewals,
    pub(super) tools: Tools,
}

/// The client takes nothing more.
pub(super) struct Gone;

impl Shared {
    /// The session that the client is in.
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.legacy.lock().session.clone()
    }

    /// Says something to the client.
    pub(super) async fn say(&self, message: Bytes) -> Result<(), Gone> {
        self.out.send(message).await.map_err(|_| Gone)
    }

    /// Brings a message of the server's own stream, on which answers come only by mistake or late.
    pub(super) async fn bring_unasked(&self, message: Bytes) -> Result<(), Gone> {
        let Some(found) = envelope(&message) else {
            tracing::warn!("the server sent an event that is no JSON-RPC message: it is left out");
            return Ok(());
        };
        let id = found.id.map(|id| id.span.of(&message));
        if found.kind == Kind::Response && !id.is_some_and(|id| self.inflight.answered(id)) {
            tracing::debug!("the server answered what was not asked: it is left out");
            return Ok(());
        }
        self.say(message).await
    }
}
