//! One look at a backend: all pages of all its lists, in the era that it speaks.

use crate::upstream::control::Control;
use crate::upstream::fault::AttemptFault;
use crate::upstream::fetch::{Fetcher, Outcome, Speech};
use crate::upstream::probe::discover;
use crate::upstream::watch::{PATIENCE, Watched, kept, now};
use http::StatusCode;
use lockgate_filters::backend::Speaks;
use lockgate_filters::federate::inventory::Extent;
use lockgate_filters::federate::{Inventory, InventoryBuilder, Kind};
use lockgate_filters::rpc::params::ToolParams;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// What a backend answers to a method that it does not have (JSON-RPC 2.0).
const METHOD_NOT_FOUND: i64 = -32601;

/// What one look brought.
pub(super) struct Taken {
    pub(super) inventory: Inventory,
    /// Which arguments its tools mirror into headers (modern era).
    pub(super) tools: Option<ToolParams>,
}

/// Looks at everything that a backend offers.
pub(super) async fn take(watched: &Watched, fetcher: &Fetcher, control: &mut Control) -> Result<Taken, AttemptFault> {
    take_as(watched, fetcher, control, false).await
}

/// Looks at everything that a backend offers one caller, whose fields the fetcher sends. What it offers others does not
/// count, and where it gives no list at all, it cannot be asked.
pub(in crate::upstream) async fn take_for_caller(
    watched: &Watched,
    fetcher: &Fetcher,
    control: &mut Control,
) -> Result<Inventory, AttemptFault> {
    let Taken { mut inventory, tools } = take_as(watched, fetcher, control, true).await?;
    inventory.params = tools.map(Arc::new);
    let given = Kind::ALL.iter().any(|kind| matches!(inventory.list(*kind).extent, Extent::Whole | Extent::Cut));
    if inventory.has_failed() && !given {
        return Err(AttemptFault::protocol("it refuses to list what it offers"));
    }
    Ok(inventory)
}

async fn take_as(
    watched: &Watched,
    fetcher: &Fetcher,
    control: &mut Control,
    for_caller: bool,
) -> Result<Taken, AttemptFault> {
    if !watched.is_known() {
        watched.eras.pass(PATIENCE).await?;
    }
    let facts = watched.backend.facts();
    let (modern, legacy) = (facts.modern, facts.legacy);
    let mut described = facts.discover.clone();
    let before = facts.inventory.clone().filter(|_| !for_caller);
    drop(facts);
    let begin = || {
        let builder = InventoryBuilder::within(fetcher.stock.limits, now());
        if for_caller || fetcher.stock.varies || modern == Speaks::Yes {
            builder.private_unless_said()
        } else {
            builder
        }
    };
    let mut builder = begin();
    match (modern, legacy) {
        (Speaks::Yes, _) => {
            control.leave(fetcher).await;
            if for_caller && let Some(own) = discover(fetcher).await.description {
                described = Some(kept(own));
            }
            if let Some(discover) = described {
                builder.believe_until(discover.fresh_until);
                describe(&mut builder, &discover.result)?;
            }
            let mut tools = ToolParams::within(fetcher.tools.params);
            for kind in Kind::ALL {
                let speech = Speech::Modern { capabilities: "{}" };
                if let Err(Unlisted::Fault(fault)) =
                    list(&mut builder, kind, fetcher, speech, false, Some(&mut tools)).await
                {
                    return Err(fault);
                }
            }
            let inventory = finish(builder, before.as_deref(), fetcher);
            Ok(Taken { inventory, tools: Some(tools) })
        }
        (_, Speaks::Yes) => {
            let reused = control.is_open();
            let mut listed = take_in_session(&mut builder, fetcher, control, reused).await;
            if reused && matches!(listed, Err(Unlisted::SessionLost)) {
                // Idle sessions are forgotten, and all when a backend restarts: that is no loss of the backend.
                builder = begin();
                listed = take_in_session(&mut builder, fetcher, control, false).await;
            }
            match listed {
                Ok(()) => Ok(Taken { inventory: finish(builder, before.as_deref(), fetcher), tools: None }),
                Err(Unlisted::SessionLost) => {
                    Err(AttemptFault::protocol("it has lost the session in which it was asked"))
                }
                Err(Unlisted::Fault(fault)) => Err(fault),
            }
        }
        _ => Err(AttemptFault::protocol("it speaks no protocol revision that the gateway knows")),
    }
}

/// Why a list could not be had.
enum Unlisted {
    /// The backend does not know the session.
    SessionLost,
    /// It could not be asked.
    Fault(AttemptFault),
}

impl From<AttemptFault> for Unlisted {
    fn from(fault: AttemptFault) -> Unlisted {
        Unlisted::Fault(fault)
    }
}

/// Reads all lists of a legacy backend in the gateway's own session, which is over where that fails.
async fn take_in_session(
    builder: &mut InventoryBuilder,
    fetcher: &Fetcher,
    control: &mut Control,
    reused: bool,
) -> Result<(), Unlisted> {
    let described = control.enter(fetcher).await?;
    describe(builder, &described)?;
    for kind in Kind::ALL {
        match list(builder, kind, fetcher, control.speech(), reused, None).await {
            Ok(()) => {}
            Err(fault) => {
                // It may well be there still, where only one list hangs.
                control.leave(fetcher).await;
                return Err(fault);
            }
        }
    }
    Ok(())
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
/// know the method, it has none, whatever it declares. `reused` says that the session is one of an earlier look.
async fn list(
    builder: &mut InventoryBuilder,
    kind: Kind,
    fetcher: &Fetcher,
    speech: Speech<'_>,
    reused: bool,
    mut tools: Option<&mut ToolParams>,
) -> Result<(), Unlisted> {
    if !builder.declares(kind) {
        return Ok(());
    }
    let mut params = String::new();
    loop {
        let reply = fetcher.call(kind.method(), &params, speech).await?;
        let in_session = matches!(speech, Speech::Legacy { session: Some(_), .. });
        match reply.status {
            StatusCode::NOT_FOUND if in_session => return Err(Unlisted::SessionLost),
            // Some say so, wrongly, of a session that they have forgotten.
            StatusCode::BAD_REQUEST if in_session && reused => return Err(Unlisted::SessionLost),
            _ => {}
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
