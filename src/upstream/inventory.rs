//! Taking stock of a backend: its lists are read in the background and kept true, so that virtual servers over several
//! backends answer from memory and one slow backend delays nobody.
//!
//! A list is read again when the backend says that it changed, when its time to live is over, when the backend comes back,
//! and when traffic shows that it is gone.

use super::control::Control;
use super::fault::{AttemptFault, FaultKind};
use super::fetch::{Fetcher, Outcome, Speech};
use super::gate::{Backoff, Gate, jittered};
use super::watch::{LEAST_REFRESH, PATIENCE, Watched, now};
use http::StatusCode;
use lockgate_filters::backend::{Backend, Speaks};
use lockgate_filters::federate::{Inventory, InventoryBuilder, Kind};
use lockgate_filters::rpc::params::ToolParams;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// The shortest time between two looks at a backend's lists, whoever asks for them.
const SPACING: Duration = Duration::from_millis(500);
/// The first and the longest time between tries while a backend cannot be asked.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long the list of a command is believed that says nothing of its own accord: each look starts it.
const COMMAND_TRUST: Duration = Duration::from_secs(3600);
/// What a backend answers to a method that it does not have (JSON-RPC 2.0).
const METHOD_NOT_FOUND: i64 = -32601;

/// What taking stock of one backend needs beside the backend.
pub(super) struct Stock {
    /// Whether anybody wants to know.
    pub(super) wanted: watch::Sender<bool>,
    /// Each look is a run.
    pub(super) gate: Gate,
    /// Told whenever something became known of any backend.
    pub(super) news: Arc<watch::Sender<u64>>,
}

impl Stock {
    /// Nobody wants to know yet; `news` counts up whenever something became known.
    pub(super) fn new(news: Arc<watch::Sender<u64>>) -> Stock {
        Stock { wanted: watch::Sender::new(false), gate: Gate::new(SPACING), news }
    }

    /// Whether anybody wants to know.
    pub(super) fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }
}

/// What one look brought.
pub(super) struct Taken {
    inventory: Inventory,
    /// Which arguments its tools mirror into headers (modern era).
    tools: Option<ToolParams>,
}

/// Keeps a backend's inventory true. Ends when dropped.
pub(super) async fn keep(watched: &Watched) {
    let mut wanted = watched.stock.wanted.subscribe();
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    let mut control = Control::default();
    loop {
        if wanted.wait_for(|wanted| *wanted).await.is_err() {
            return;
        }
        let fetcher = watched.fetcher.load().patient(PATIENCE);
        let taken = timeout(fetcher.stock.time, take(watched, &fetcher, &mut control)).await;
        let taken = taken.unwrap_or(Err(AttemptFault::new(FaultKind::TotalTimeout)));
        let wait = match taken {
            Ok(taken) => {
                let trust = trust(watched, &taken.inventory, fetcher.stock.refresh);
                let failed = taken.inventory.has_failed();
                publish(watched, taken);
                watched.stock.gate.report(None);
                if failed {
                    backoff.fail().min(trust)
                } else {
                    backoff.reset();
                    trust
                }
            }
            Err(fault) => {
                lost(watched, &fault);
                watched.stock.gate.report(Some(fault));
                backoff.fail()
            }
        };
        control.rest(watched, &fetcher, wait).await;
        tokio::time::sleep(watched.stock.gate.rest(SPACING)).await;
    }
}

/// How long what was found may be believed.
fn trust(watched: &Watched, inventory: &Inventory, refresh: Duration) -> Duration {
    if watched.is_command() {
        return jittered(COMMAND_TRUST.max(refresh));
    }
    let left = Duration::from_millis(inventory.freshness.end().0.saturating_sub(now().0));
    jittered(left.min(refresh)).max(LEAST_REFRESH)
}

fn publish(watched: &Watched, taken: Taken) {
    let inventory = Arc::new(taken.inventory);
    let tools = taken.tools.map(Arc::new);
    name_offences(&watched.backend, &inventory);
    let back = watched.backend.facts().lost.is_some();
    if back {
        tracing::info!(backend = %watched.backend.name, "a backend can be listed again");
    }
    watched.backend.learn(|facts| {
        facts.inventory = Some(Arc::clone(&inventory));
        facts.lost = None;
        if let Some(tools) = &tools {
            facts.tools = Some(Arc::clone(tools));
        }
    });
    watched.stock.news.send_modify(|count| *count += 1);
}

/// The backend could not be asked. What was known of it stays; since when nothing is, is known too.
fn lost(watched: &Watched, fault: &AttemptFault) {
    let said = fault.refusal(&watched.backend.name, "inventory").message;
    if watched.stock.gate.last_fault() != Some(fault.kind) {
        tracing::warn!(backend = %watched.backend.name, %fault, cause = ?fault.cause, "a backend's lists cannot be read");
    }
    let since = now();
    watched.backend.learn(|facts| {
        let since = facts.lost.as_ref().map_or(since, |lost| lost.since);
        facts.lost = Some(lockgate_filters::backend::Lost { since, why: said.as_ref().into() });
    });
    watched.stock.news.send_modify(|count| *count += 1);
}

/// Tells the operator what is left out of a backend's lists, when that is new.
fn name_offences(backend: &Backend, inventory: &Inventory) {
    let known = backend.facts().inventory.as_ref().map(|known| known.offences.clone()).unwrap_or_default();
    if known == inventory.offences {
        return;
    }
    for offence in &inventory.offences {
        let (kind, name, what) = (offence.kind.noun(), &*offence.name, offence.what);
        tracing::warn!(backend = %backend.name, kind, name, "left out of the lists: {what}");
    }
    if inventory.further_offences > 0 {
        tracing::warn!(backend = %backend.name, further = inventory.further_offences, "more items are left out");
    }
}

/// Looks at everything that a backend offers.
async fn take(watched: &Watched, fetcher: &Fetcher, control: &mut Control) -> Result<Taken, AttemptFault> {
    if !watched.is_known() {
        watched.eras.pass(PATIENCE).await?;
    }
    let facts = watched.backend.facts();
    let (modern, legacy) = (facts.modern, facts.legacy);
    let described = facts.discover.clone();
    let before = facts.inventory.clone();
    drop(facts);
    let mut builder = InventoryBuilder::within(fetcher.stock.limits, now());
    match (modern, legacy) {
        (Speaks::Yes, _) => {
            control.leave(fetcher).await;
            builder = builder.private_unless_said();
            if let Some(discover) = described {
                builder.believe_until(discover.fresh_until);
                describe(&mut builder, &discover.result)?;
            }
            let mut tools = ToolParams::within(fetcher.tools.params);
            for kind in Kind::ALL {
                let speech = Speech::Modern { capabilities: "{}" };
                list(&mut builder, kind, fetcher, speech, Some(&mut tools)).await?;
            }
            let inventory = finish(builder, before.as_deref(), fetcher);
            Ok(Taken { inventory, tools: Some(tools) })
        }
        (_, Speaks::Yes) => {
            let described = control.enter(fetcher).await?;
            describe(&mut builder, &described)?;
            for kind in Kind::ALL {
                let listed = list(&mut builder, kind, fetcher, control.speech(), None).await;
                if listed.is_err() {
                    control.forget();
                }
                listed?;
            }
            Ok(Taken { inventory: finish(builder, before.as_deref(), fetcher), tools: None })
        }
        _ => Err(AttemptFault::protocol("it speaks no protocol revision that the gateway knows")),
    }
}

/// What was read, and what was known before of lists that could not be.
fn finish(mut builder: InventoryBuilder, before: Option<&Inventory>, fetcher: &Fetcher) -> Inventory {
    if let Some(before) = before {
        builder.keep(before);
    }
    builder.finish(millis(fetcher.stock.refresh))
}

fn describe(builder: &mut InventoryBuilder, result: &[u8]) -> Result<(), AttemptFault> {
    builder
        .describe(result)
        .map_err(|fault| AttemptFault::protocol("what it says of itself is malformed").because(fault))
}

/// Reads all pages of one list. Where a backend fails to give it, its other lists count all the same; where it does not
/// know the method, it has none, whatever it declares.
async fn list(
    builder: &mut InventoryBuilder,
    kind: Kind,
    fetcher: &Fetcher,
    speech: Speech<'_>,
    mut tools: Option<&mut ToolParams>,
) -> Result<(), AttemptFault> {
    if !builder.declares(kind) {
        return Ok(());
    }
    let mut params = String::new();
    loop {
        let reply = fetcher.call(kind.method(), &params, speech).await?;
        if reply.status == StatusCode::NOT_FOUND && matches!(speech, Speech::Legacy { session: Some(_), .. }) {
            return Err(AttemptFault::protocol("it has lost the session in which it was asked"));
        }
        let result = match reply.outcome {
            Some(Outcome::Result(result)) => result,
            Some(Outcome::Error(error)) if error.code == METHOD_NOT_FOUND => return Ok(()),
            _ => {
                builder.failed(kind);
                return Ok(());
            }
        };
        if kind == Kind::Tools
            && let Some(tools) = tools.as_deref_mut()
        {
            // What the schemas say matters only where it can be read: calls to other tools pass unchecked.
            let _ = tools.read(&result);
        }
        match builder.page(kind, &result) {
            Ok(Some(cursor)) => params = format!(r#""cursor":{}"#, json!(cursor)),
            Ok(None) => return Ok(()),
            Err(fault) => {
                tracing::debug!(kind = kind.member(), "a page cannot be read: {fault}");
                builder.failed(kind);
                return Ok(());
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
