//! Where a request enters: Pingora's hooks, one line each.
//!
//! No policy lives here. The whole way of a request runs inside `request_filter` ([`crate::serve`]); Pingora's own upstream
//! phase is never reached (`ARCHITECTURE.md` says why).

use crate::drain::Drain;
use crate::lanes;
use crate::session::NodeSession;
use crate::snapshot::{Current, Snapshot, World};
use crate::sse::Clients;
use crate::telemetry::access;
use crate::trip::Trip;
use async_trait::async_trait;
use lockgate_filters::ticket::NodeId;
use pingora::modules::http::HttpModules;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// What all requests share.
pub struct Gateway {
    /// The snapshot that new requests get.
    pub current: Current,
    /// What outlives snapshots.
    pub world: Arc<World>,
    /// Whether the process is stopping.
    pub drain: Drain,
    /// Which node this is: part of the tickets that it seals.
    pub node: NodeId,
    /// Which process: what is bound to it ends with it.
    pub boot: [u8; 8],
    /// Numbers the events that are made here.
    pub events: Arc<AtomicU64>,
    /// Clients of HTTP+SSE.
    pub sse: Arc<Clients>,
}

impl Gateway {
    /// Ends sessions that this node gave up, where somebody waits for something else.
    pub(crate) fn end_in_background(&self, snapshot: &Arc<Snapshot>, sessions: Vec<Arc<NodeSession>>) {
        if sessions.is_empty() {
            return;
        }
        tokio::spawn(lanes::end_all(Arc::clone(snapshot), sessions));
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Option<Box<Trip>>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    /// No modules: Pingora's default adds a compressor, and answers here pass as they are.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<()> {
        *ctx = self.begin(session).map(Box::new);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        let Some(trip) = ctx else {
            return Error::e_explain(ErrorType::InternalError, "a connection of nobody's listener");
        };
        self.serve(session, trip).await.map(|()| true)
    }

    /// Never reached: `request_filter` answers every request.
    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Error::e_explain(ErrorType::InternalError, "requests are answered before this phase")
    }

    /// Whatever could be said to the client has been said; what is left is to let go of the connection.
    async fn fail_to_proxy(&self, _session: &mut Session, _error: &Error, _ctx: &mut Self::CTX) -> FailToProxy {
        FailToProxy { error_code: 0, can_reuse_downstream: false }
    }

    /// Faults are counted and logged by [`access`]; Pingora's own line would repeat them, with the URL.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Self::CTX, _error: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Self::CTX) {
        if let Some(trip) = ctx {
            access::record(session, trip);
        }
    }
}
