//! What a backend may bring to a caller, or ask of it, of its own accord: by the same rules by which the caller may ask.

use super::Way;
use crate::serve::now;
use crate::snapshot::Server;
use http::HeaderMap;
use lockgate_filters::authorize::{Action, Args, Item, Moment, Query};
use lockgate_filters::federate::Kind;
use lockgate_filters::principal::Principal;
use std::net::IpAddr;
use std::sync::Arc;

/// The caller of a request, for what comes to it later.
#[derive(Clone)]
pub(super) struct Rights {
    caller: Option<Arc<Principal>>,
    source: IpAddr,
}

impl Rights {
    /// Those of who has sent this request.
    pub fn of(way: &Way<'_>) -> Rights {
        let exchange = &way.trip.exchange;
        Rights { caller: exchange.caller.clone(), source: exchange.client }
    }

    /// Whether something of a backend may come to the caller, by the policy of this virtual server. No request is there whose
    /// header fields a condition could be about.
    pub fn allow(&self, server: &Server, action: Action, backend: &str, original: &str) -> bool {
        let Some(policy) = &server.rights else { return true };
        let principal = self.caller.as_deref().unwrap_or_else(|| Principal::anonymous());
        let headers = HeaderMap::new();
        let moment = Moment { source: self.source, now: now(), headers: &headers };
        let item = Item { kind: Kind::Resources, backend, original, exposed: original, json: b"" };
        let query = Query { action, item, args: Args::Given(b""), moment };
        policy.decide(principal, &server.policy.name, &query).is_allowed()
    }
}
