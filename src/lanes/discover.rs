//! `server/discover`, answered here from what the backend said of itself (MCP 2026-07-28).
//!
//! What the backend says passes as it is, except which revisions are supported: that is what can be spoken through here.

use super::{Broken, Way, respond};
use crate::serve::now;
use lockgate_filters::backend::Discover;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::revision::Revision;
use lockgate_filters::rpc::members::members;
use lockgate_filters::rpc::reply;
use lockgate_filters::virtual_server::VirtualServer;

const RULE: &str = "discover";

pub(super) async fn run(way: Way<'_>) -> Result<(), Broken> {
    let policy = &way.server.policy;
    let known = policy.backends.first().and_then(|backend| backend.facts().discover.clone());
    let Some(discover) = known else {
        return Err(Refusal::new(Fault::BackendUnreachable, RULE).saying("no backend has described itself yet").into());
    };
    let result = describe(policy, &discover);
    let message = reply::result_body(way.trip.request_id(), &result);
    respond::message(way.session, way.trip, &[], message).await?;
    Ok(())
}

/// The backend's result with our revisions, and with what is left of its time to live.
fn describe(policy: &VirtualServer, discover: &Discover) -> Vec<u8> {
    let left = discover.fresh_until.0.saturating_sub(now().0);
    let revisions: Vec<&str> = policy.revisions().map(Revision::as_str).collect();
    let mut result = format!("{{\"supportedVersions\":[\"{}\"],\"ttlMs\":{left}", revisions.join("\",\"")).into_bytes();
    for member in members(&discover.result) {
        if member.name != "supportedVersions" && member.name != "ttlMs" {
            result.push(b',');
            result.extend_from_slice(serde_json::Value::from(member.name.as_ref()).to_string().as_bytes());
            result.push(b':');
            result.extend_from_slice(member.value.span.of(&discover.result));
        }
    }
    result.push(b'}');
    result
}
