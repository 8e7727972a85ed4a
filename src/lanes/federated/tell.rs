//! What a legacy client says to the server as a whole goes to every backend that its session was opened at.

use super::super::{Broken, Way, attempt, detached, elsewhere};
use super::RULE;
use crate::session::{About, LogLevel, UpstreamId, UpstreamSession};
use crate::snapshot::Link;
use crate::telemetry::labels::NodeRequest;
use crate::upstream::{Fetcher, Speech};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::rpc::scan::Value;
use lockgate_filters::splice::{Onward, edited};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a client waits for backends to take its log level.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a client says when its roots changed.
const ROOTS_CHANGED: &str = "notifications/roots/list_changed";

/// How long a backend gets to take a notification.
const DELIVERY: Duration = Duration::from_secs(30);

/// The backends that the session was opened at, and what they gave it.
fn opened(way: &Way<'_>) -> Vec<(Arc<Link>, UpstreamSession)> {
    let Some(node) = &way.node else { return Vec::new() };
    let links = way.server.links.iter();
    links.filter_map(|link| Some((Arc::clone(link), node.upstream(&link.backend.place)?))).collect()
}

/// Passes the notification on to all of them. Nobody waits for it.
pub(super) fn all(way: &Way<'_>, index: usize) {
    let exchange = &way.trip.exchange;
    if let (Some(message), Some(node)) = (exchange.scan.messages.get(index), &way.node)
        && message.is(ROOTS_CHANGED.as_bytes(), &exchange.body)
    {
        node.roots_changed();
    }
    pass_on(way, index, About::Session, opened(way));
}

/// Passes a cancellation on to the backend that the request is at. There is none where it was not sent yet: then it is not.
/// What is not under way here may be at another node.
pub(super) fn owner(way: &Way<'_>, index: usize, request: Value) {
    if !owner_here(way, index, request) {
        others(way, &[index]);
    }
}

/// As [`owner`], but tells no other node; `false` where the request is not under way here.
pub(super) fn owner_here(way: &Way<'_>, index: usize, request: Value) -> bool {
    let id = request.span.of(&way.trip.exchange.body);
    let Some(places) = way.node.as_ref().and_then(|node| node.cancel(id)) else { return false };
    let there = opened(way).into_iter().filter(|(link, _)| places.contains(&link.backend.place));
    pass_on(way, index, About::Request, there.collect());
    true
}

/// Tells other nodes of cancellations whose requests are not under way here.
pub(in crate::lanes) fn others(way: &Way<'_>, indices: &[usize]) {
    elsewhere::tell(way, NodeRequest::Cancel, indices);
}

fn pass_on(way: &Way<'_>, index: usize, about: About, to: Vec<(Arc<Link>, UpstreamSession)>) {
    let exchange = &way.trip.exchange;
    let (Some(message), Some(node)) = (exchange.scan.messages.get(index), &way.node) else { return };
    let body = edited(&exchange.body, message.span, &[]);
    // All of them share it.
    let share = body.len().div_ceil(to.len().max(1));
    for (link, upstream) in to {
        let session = upstream.id.as_ref().map(|id| id.header().clone());
        let onward = Onward { session, revision: Some(upstream.revision), name: None };
        let headers = &way.session.req_header().headers;
        let request = attempt::post(&link, headers, exchange, message, body.clone(), onward);
        let notices = way.gateway.world.sessions.notices();
        let Some(notice) = notices.send(about, node.id(), &link.backend.place, share) else {
            tracing::warn!(backend = %link.name(), session = %node.id(), "a notification was dropped: too many are on their way");
            continue;
        };
        let node = Arc::clone(node);
        let delivery = async move {
            match attempt::ask(Arc::clone(&link), request, false).await {
                Ok(response) => detached::settle(response).await,
                Err(fault) => tracing::debug!(backend = %link.name(), "a notification was not taken: {fault}"),
            }
        };
        tokio::spawn(async move {
            let _place = notice;
            tokio::select! {
                () = node.ended() => {}
                _ = timeout(DELIVERY, delivery) => {}
            }
        });
    }
}

/// Sets the log level, at every backend that the session was opened at and, later, at those where it will be.
pub(super) async fn set_level(way: &Way<'_>, level: LogLevel) -> Result<(), Broken> {
    remember_level(way, level).await?.await;
    Ok(())
}

/// As [`set_level`], but leaves it to the caller to wait until the backends have been told.
pub(super) async fn remember_level(
    way: &Way<'_>,
    level: LogLevel,
) -> Result<impl Future<Output = ()> + Send + use<>, Broken> {
    let node = way.node.as_ref().ok_or_else(|| Refusal::new(Fault::SessionRequired, RULE))?;
    let remembered = way.gateway.world.sessions.set_log_level(node, level).await;
    remembered.map_err(|_| Refusal::new(Fault::SessionUnknown, RULE))?;
    let mut telling = JoinSet::new();
    for (link, upstream) in opened(way) {
        let logs = link.backend.backend.facts().inventory.as_ref().is_none_or(|known| known.declares("logging"));
        if logs {
            telling.spawn(tell_level(way.speaker(&link.backend), upstream, level));
        }
    }
    // A backend that is slow, or has no levels, keeps nobody from setting them elsewhere.
    Ok(async move {
        let _ = timeout(PATIENCE, async { while telling.join_next().await.is_some() {} }).await;
    })
}

async fn tell_level(fetcher: Fetcher, upstream: UpstreamSession, level: LogLevel) {
    let params = format!(r#""level":"{}""#, level.as_str());
    let session = upstream.id.as_ref().map(UpstreamId::header);
    let speech = Speech::Legacy { session, revision: Some(upstream.revision) };
    if let Err(fault) = fetcher.call("logging/setLevel", &params, speech).await {
        tracing::debug!("a backend did not take a log level: {fault}");
    }
}
