//! What a gateway rewrites, keeps and merges, row by row, at a virtual server over two backends. The backends' journals are
//! the witnesses. Each row is tested on both hops where both can be observed.
//!
//! | row | tests |
//! |---|---|
//! | `initialize`, `server/discover` | `described::*`, `callers::discover_*` |
//! | `instructions` | `described::instructions_*` |
//! | session id | `sessions::each_session_has_its_own_at_each_backend`, `calls::a_modern_call_has_no_session` |
//! | JSON-RPC `id` | `calls::ids_*`, `questions::*` |
//! | `progressToken` | `sessions::progress_*`, `sessions::equal_progress_tokens_*` |
//! | cancellation | `sessions::cancellation_*`, `cancelling::*` |
//! | sessions that a backend has lost | `healing::*` |
//! | batches (2025-03-26) | `batches::*`, `sessions::a_batch_*` |
//! | lists, cursors | `lists::*` |
//! | `tools/call`, `prompts/get` | `calls::*`, `virtual_servers::*` |
//! | `resources/read`, `completion/complete`, URIs everywhere | `uris::*` |
//! | lists of single callers | `callers::*` |
//! | `list_changed` | `changes::*` |
//! | logging | `sessions::log_*`, `sessions::a_backend_without_log_levels_*` |
//! | sampling, elicitation, roots, `ping` | `questions::*` |
//! | `structuredContent`, schemas, annotations, icons, `_meta` | `calls::what_nobody_must_read_*`, `lists::items_*` |
//! | trace context | `calls::trace_context_*`, `calls::headers_*` |
//! | `Host`, `Origin`, hop headers | `calls::headers_*` |

mod batches;
mod callers;
mod calls;
mod cancelling;
mod changes;
mod described;
mod healing;
mod lists;
mod questions;
mod sessions;
mod uris;

use lockgate_e2e::gateway::federation;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::{Gateway, Mcp, Scripted};
use serde_json::{Value, json};

/// Two backends, `one` and `two`, as one server.
struct Pair {
    one: Scripted,
    two: Scripted,
    gateway: Gateway,
}

/// Starts both, and waits until the gateway knows what they offer.
async fn pair(one: Value, two: Value, server: &str) -> Pair {
    let (one, two) = (Scripted::http(one).await, Scripted::http(two).await);
    let gateway = Gateway::start(&config(&one, &two, server, "")).await;
    gateway.settled().await;
    Pair { one, two, gateway }
}

fn config(one: &Scripted, two: &Scripted, server: &str, top: &str) -> String {
    federation(&[("one", one.backend("one", "")), ("two", two.backend("two", ""))], server, top)
}

impl Pair {
    async fn legacy(&self) -> Mcp {
        Mcp::legacy(&self.gateway.mcp(), NEWEST_LEGACY).await
    }

    fn modern(&self) -> Mcp {
        Mcp::modern(&self.gateway.mcp())
    }

    /// A client of each era.
    async fn clients(&self) -> [Mcp; 2] {
        [self.legacy().await, self.modern()]
    }
}

/// The names (or URIs) of a whole list.
async fn listed(client: &Mcp, kind: &str) -> Vec<String> {
    let (method, key) = match kind {
        "templates" => ("resources/templates/list", "uriTemplate"),
        "resources" => ("resources/list", "uri"),
        "prompts" => ("prompts/list", "name"),
        _ => ("tools/list", "name"),
    };
    let member = if kind == "templates" { "resourceTemplates" } else { kind };
    let answer = client.send(method, json!({})).await;
    let items = answer.json()["result"][member].as_array().unwrap_or_else(|| panic!("{kind}: {answer:?}")).clone();
    items.iter().map(|item| item[key].as_str().expect("a name").to_owned()).collect()
}
