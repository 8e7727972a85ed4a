//! Child processes end with the gateway, however that ends.

use super::TIMEOUTS;
use lockgate_e2e::gateway::federation;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::scripted::{is_running, tools};
use lockgate_e2e::{Gateway, Mcp, Scripted, Transport, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

/// A gateway with three children, each the instance of one session.
async fn parent(offer: serde_json::Value) -> (Scripted, Gateway, Vec<i32>) {
    let child = Scripted::start(Transport::Stdio, offer).await;
    let well = Scripted::http(tools(&["echo"])).await;
    let backends = [("child", child.backend("child", TIMEOUTS)), ("well", well.backend("well", ""))];
    let gateway = Gateway::start(&federation(&backends, "", "")).await;
    gateway.settled().await;
    let mut pids = Vec::new();
    for _ in 0..3 {
        let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
        let pid: i32 = client.tool("child__pid", json!({})).await.text().parse().expect("a process");
        assert!(is_running(pid) && !pids.contains(&pid), "{pid} {pids:?}");
        pids.push(pid);
    }
    (child, gateway, pids)
}

async fn gone(pids: &[i32], child: &Scripted) {
    until("the end of all children", async || {
        (pids.iter().all(|pid| !is_running(*pid)) && child.processes().is_empty()).then_some(())
    })
    .await;
}

fn offer() -> serde_json::Value {
    let mut offer = tools(&["pid"]);
    offer["eras"] = json!("legacy");
    offer
}

#[tokio::test]
async fn none_is_left_after_a_stop() {
    let (child, mut gateway, pids) = parent(offer()).await;
    assert!(gateway.stop().success());
    gone(&pids, &child).await;
}

/// Neither the end of its input nor SIGTERM ends it.
#[tokio::test]
async fn a_stubborn_one_is_ended() {
    let mut stubborn = offer();
    stubborn["stubborn"] = json!(true);
    let (child, mut gateway, pids) = parent(stubborn).await;
    assert!(gateway.stop().success());
    gone(&pids, &child).await;
}

#[tokio::test]
async fn none_is_left_after_kill_9() {
    let (child, gateway, pids) = parent(offer()).await;
    // The process alone, not its group.
    kill(Pid::from_raw(gateway.pid().cast_signed()), Signal::SIGKILL).expect("a running gateway");
    gone(&pids, &child).await;
}

#[tokio::test]
async fn one_ends_with_its_session() {
    let (_child, gateway, pids) = parent(offer()).await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    let pid: i32 = client.tool("child__pid", json!({})).await.text().parse().expect("a process");
    assert!(matches!(client.delete().await.status, 200 | 204));
    until("the end of its child", async || (!is_running(pid)).then_some(())).await;
    assert!(pids.iter().all(|pid| is_running(*pid)), "the others go on");
}
