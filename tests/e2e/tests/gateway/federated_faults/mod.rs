//! Backends that fail, hang, lie, come and go, by every transport, beside one that is well: nobody else is hurt, nothing
//! runs twice, and who it was is said.

mod away;
mod calls;
mod children;
mod listening;
mod lists;
mod loss;
mod policies;

use lockgate_e2e::gateway::federation;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Gateway, Mcp, Scripted, Transport};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TRANSPORTS: [Transport; 3] = [Transport::Http, Transport::Stdio, Transport::Sse];

/// So short that what hangs is given up soon, so long that nothing else is on a busy machine.
const TIMEOUTS: &str = "    timeouts: { connect: 2s, first_byte: 3s, idle_stream: 3s, total: 10s }\n";
/// Within which a backend that is well must answer, on a machine that does much else.
const QUICKLY: Duration = Duration::from_secs(2);

/// One backend that something is wrong with, and one that is well.
struct Beside {
    bad: Scripted,
    _well: Scripted,
    gateway: Gateway,
    /// Whether it is reached in the modern era.
    modern: bool,
}

/// What a gateway says first to a server of this era.
fn first(era: &str) -> &'static str {
    match era {
        "modern" => "server/discover",
        _ => "initialize",
    }
}

/// Starts both; the bad one speaks the legacy era where its offer says nothing else, as all transports can.
async fn beside(transport: Transport, mut offer: Value, backend: &str, server: &str) -> Beside {
    if offer["eras"].is_null() {
        offer["eras"] = json!("legacy");
    }
    let modern = offer["eras"] == "modern";
    let (bad, well) = (Scripted::start(transport, offer).await, Scripted::http(tools(&["echo"])).await);
    let backends = [("bad", bad.backend("bad", backend)), ("well", well.backend("well", TIMEOUTS))];
    let gateway = Gateway::start(&federation(&backends, server, "")).await;
    Beside { bad, _well: well, gateway, modern }
}

impl Beside {
    /// A client of the era that is spoken.
    async fn client(&self) -> Mcp {
        match self.modern {
            true => Mcp::modern(&self.gateway.mcp()),
            false => Mcp::legacy(&self.gateway.mcp(), NEWEST_LEGACY).await,
        }
    }

    async fn healed(&self) -> f64 {
        self.gateway.metric(r#"lockgate_sessions_healed_total{backend="bad"}"#).await.unwrap_or(0.0)
    }
}

/// The backend that is well answers at once, and is listed.
async fn unhurt(client: &Mcp) {
    let start = Instant::now();
    let answer = client.tool("well__echo", json!({})).await;
    assert_eq!(answer.text(), "{}");
    let names = names(client).await;
    assert!(names.contains(&"well__echo".to_owned()), "{names:?}");
    assert!(start.elapsed() < QUICKLY, "it took {:?}", start.elapsed());
}

async fn names(client: &Mcp) -> Vec<String> {
    let answer = client.send("tools/list", json!({})).await;
    let tools = answer.json()["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}
