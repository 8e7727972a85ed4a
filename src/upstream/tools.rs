//! Keeping a modern backend's tool schemas, which say what clients must mirror into `Mcp-Param-*` headers.

use super::events::Events;
use super::fault::{AttemptFault, FaultKind};
use super::fetch::{Fetcher, Outcome, Speech};
use super::gate::{Backoff, jittered};
use super::response::{Form, UpstreamResponse};
use super::watch::{Declared, LEAST_REFRESH, PATIENCE, Watched};
use lockgate_filters::backend::Backend;
use lockgate_filters::rpc::params::ToolParams;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The shortest time between two refreshes of a backend's tools, whoever asks for them.
pub(super) const SPACING: Duration = Duration::from_secs(1);
/// How long a list is believed where its `ttlMs` says longer: schemas change with deployments.
const MOST_TRUST: Duration = Duration::from_secs(3600);
/// How long a list is believed that may not be kept (`ttlMs` 0): unknown tools are asked for anyway.
const LEAST_TRUST: Duration = Duration::from_secs(60);
/// The first and the longest time between tries to list or to listen.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long a backend is left alone that refused to be listened to.
const REFUSED_TIME: Duration = Duration::from_secs(600);

/// Keeps the tools fresh: when asked, when they run out, when the backend says that they changed.
pub(super) async fn keep(watched: &Watched) {
    let mut declared = watched.declared.subscribe();
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    loop {
        if declared.wait_for(|declared| declared.tools).await.is_err() {
            return;
        }
        // Who takes stock of everything reads the schemas on the way.
        if watched.stock.wanted.subscribe().wait_for(|wanted| !*wanted).await.is_err() {
            return;
        }
        let fetcher = watched.fetcher.load().patient(PATIENCE);
        let listed = timeout(fetcher.tools.time, list(&fetcher)).await;
        let listed = listed.unwrap_or(Err(AttemptFault::new(FaultKind::TotalTimeout)));
        let wait = match &listed {
            Ok((tools, ttl)) => {
                backoff.reset();
                name_invalid(&watched.backend, tools);
                let tools = Arc::new(tools.clone());
                watched.backend.learn(|facts| facts.tools = Some(tools.clone()));
                jittered(*ttl).max(LEAST_REFRESH)
            }
            Err(fault) => {
                tracing::warn!(backend = %watched.backend.name, %fault, cause = ?fault.cause, "its tools cannot be listed");
                backoff.fail()
            }
        };
        watched.tools.report(listed.err());
        while !watched.tools.wanted_within(wait).await && !watched.is_in_use() {}
        tokio::time::sleep(watched.tools.rest(SPACING)).await;
    }
}

/// Tells the operator which tools clients will leave out, when that is new.
fn name_invalid(backend: &Backend, tools: &ToolParams) {
    let known = backend.facts().tools.as_ref().map_or(0, |tools| tools.invalid().count());
    if tools.invalid().count() == known {
        return;
    }
    for (tool, reason) in tools.invalid() {
        tracing::warn!(backend = %backend.name, tool, reason, "a tool's x-mcp-header breaks the rules: clients leave it out");
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    #[serde(borrow)]
    next_cursor: Option<&'a RawValue>,
    ttl_ms: Option<u64>,
}

/// Reads all pages of a backend's tool list, and for how long they may be believed.
async fn list(fetcher: &Fetcher) -> Result<(ToolParams, Duration), AttemptFault> {
    let mut tools = ToolParams::within(fetcher.tools.params);
    let malformed = |error: &dyn fmt::Display| AttemptFault::protocol("its tool list is malformed").because(error);
    let mut left = fetcher.answer_bytes;
    let mut trust = MOST_TRUST;
    let mut params = String::new();
    for _ in 0..fetcher.tools.pages {
        let reply = fetcher.call("tools/list", &params, Speech::Modern { capabilities: "{}" }).await?;
        let Some(Outcome::Result(result)) = reply.outcome else {
            return Err(AttemptFault::protocol("it refuses to list its tools"));
        };
        left = left.checked_sub(result.len()).ok_or(AttemptFault::new(FaultKind::TooLong))?;
        let page: Page<'_> = serde_json::from_slice(&result).map_err(|error| malformed(&error))?;
        trust = trust.min(Duration::from_millis(page.ttl_ms.unwrap_or(0)));
        let cursor = page.next_cursor.map(RawValue::get).filter(|cursor| *cursor != "null");
        let next = cursor.map(|cursor| format!(r#""cursor":{cursor}"#));
        tools.read(&result).map_err(|error| malformed(&error))?;
        let Some(next) = next else {
            return Ok((tools, trust.max(LEAST_TRUST)));
        };
        params = next;
    }
    Err(AttemptFault::protocol("its tool list has too many pages"))
}

/// Listens for changes of the tools, where the backend declares that it tells.
///
/// A backend that refuses to be listened to is asked again after a while; until then `ttlMs` has to do.
pub(super) async fn keep_listening(watched: &Watched) {
    let mut declared = watched.declared.subscribe();
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    let mut again = false;
    loop {
        let stocked = watched.stock.is_wanted();
        let news = |declared: &Declared| declared.tools_changed || (stocked && declared.lists_changed);
        if declared.wait_for(news).await.is_err() {
            return;
        }
        let fetcher = watched.fetcher.load_full();
        let wait = match listen(&fetcher, stocked).await {
            Ok(Some(stream)) => {
                if again {
                    // Changes may have been missed while nobody listened.
                    watched.tools.ask();
                    watched.stock.gate.ask();
                }
                again = true;
                watched.stock.hears(stocked);
                let heard = follow(watched, stream, fetcher.sse_event).await;
                watched.stock.hears(false);
                if heard {
                    backoff.reset();
                }
                backoff.fail()
            }
            Ok(None) => jittered(REFUSED_TIME),
            Err(_) => backoff.fail(),
        };
        tokio::time::sleep(wait).await;
    }
}

/// Opens a stream of change notifications; `None` where the backend refuses.
async fn listen(fetcher: &Fetcher, everything: bool) -> Result<Option<UpstreamResponse>, AttemptFault> {
    let params = if everything {
        r#""notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#
    } else {
        r#""notifications":{"toolsListChanged":true}"#
    };
    let stream = fetcher.open("subscriptions/listen", params, Speech::Modern { capabilities: "{}" }).await?;
    if stream.status.is_server_error() {
        return Err(AttemptFault::protocol("it answers with a server error"));
    }
    Ok((stream.status.is_success() && stream.form() == Form::EventStream).then_some(stream))
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    method: Option<std::borrow::Cow<'a, str>>,
}

/// Reads a stream to its end, and tells whether it brought anything.
async fn follow(watched: &Watched, stream: UpstreamResponse, event_bytes: usize) -> bool {
    let mut events = Events::new(stream, usize::MAX, event_bytes);
    let mut heard = false;
    while let Ok(Some(data)) = events.next().await {
        heard = true;
        let told = serde_json::from_slice::<Told<'_>>(&data).ok().and_then(|told| told.method);
        let told = told.as_deref().unwrap_or_default();
        if told == "notifications/tools/list_changed" {
            watched.tools.ask();
        }
        if told.ends_with("/list_changed") {
            watched.stock.changed(&watched.backend);
            watched.stock.gate.ask();
        }
    }
    heard
}

#[cfg(test)]
mod tests;
