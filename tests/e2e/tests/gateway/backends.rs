//! The backends behind several nodes of one gateway: one in the network, one that is a command, and one whose answers are
//! streams that can be resumed.

use lockgate_e2e::gateway::federation;
use lockgate_e2e::scripted::tool;
use lockgate_e2e::wait::free_port;
use lockgate_e2e::{Fixture, Gateway, Mcp, Scripted, Transport, until};
use serde_json::{Value, json};

pub const UPDATED: &str = "notifications/resources/updated";
pub const URI: &str = "web+note:x";
pub const KEY: &str = "8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab9159f51fd0297e236d";
pub const OTHER_KEY: &str = "45c48cce2e2d7fbdea1afc51c7c6ad26d3d9446802a44259755d38e6d163e820";

pub struct Backends {
    pub web: Scripted,
    pub child: Scripted,
    pub stateful: Fixture,
    /// Where nodes that know each other listen for each other.
    pub ports: [u16; 2],
    /// What is to happen when `web` has lost a session.
    loss: &'static str,
}

impl Backends {
    /// The scripted ones have these tools.
    pub async fn start(tools: &[&str]) -> Self {
        Self::losing("heal", tools).await
    }

    /// The same, with this `on_session_loss` at `web`.
    pub async fn losing(loss: &'static str, tools: &[&str]) -> Self {
        let tools: Vec<Value> = tools.iter().map(|name| tool(name)).collect();
        let offer = json!({
            "eras": "legacy",
            "tools": tools,
            "resources": [{"uri": "note:x", "name": "x"}],
            "capabilities": {"logging": {}, "resources": {"subscribe": true}},
        });
        let child = Scripted::start(Transport::Stdio, offer.clone()).await;
        let (web, stateful) = (Scripted::http(offer).await, Fixture::start("stateful"));
        Self { web, child, stateful, ports: [free_port(), free_port()], loss }
    }

    /// All of them in one virtual server; see [`federation`].
    pub fn config(&self, server: &str, top: &str) -> String {
        let stateful = format!("  stateful:\n    endpoints: [{{ url: \"{}\" }}]\n", self.stateful.url());
        let web = self.web.backend("web", &format!("    on_session_loss: {}\n", self.loss));
        let backends = [("web", web), ("child", self.child.backend("child", "")), ("stateful", stateful)];
        federation(&backends, server, top)
    }

    pub async fn listening(&self) {
        until("the stream at the backend", async || {
            self.web.heard().iter().any(|heard| heard.method == "GET" && heard.session.is_some()).then_some(())
        })
        .await;
    }
}

/// What makes a gateway the node of a cluster that listens at this one of its ports.
pub fn cluster(ports: [u16; 2], node: usize, keys: &[&str]) -> String {
    let keys: String = keys.iter().map(|key| format!("    - {{ id: k{}, secret: \"{key}\" }}\n", &key[..2])).collect();
    // The same list everywhere: each finds itself in it.
    let ([one, other], own) = (ports, ports[node]);
    format!(
        "tickets:\n  keys:\n{keys}cluster:\n  listen: 127.0.0.1:{own}\n  \
         peers: [127.0.0.1:{one}, \"localhost:{other}\"]\n"
    )
}

/// A gateway that knows of all its backends what they offer.
pub async fn settled(config: &str) -> Gateway {
    let gateway = Gateway::start(config).await;
    gateway.settled().await;
    gateway
}

/// The same client, sent to another node.
pub fn moved(client: &Mcp, to: &Gateway) -> Mcp {
    Mcp { url: to.mcp(), ..client.clone() }
}
