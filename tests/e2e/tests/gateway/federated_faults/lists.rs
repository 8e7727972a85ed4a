//! What is wrong with lists.

use super::{TIMEOUTS, TRANSPORTS, first, names, unhurt};
use lockgate_e2e::gateway::federation;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::scripted::{tool, tools};
use lockgate_e2e::{Gateway, Mcp, Scripted, Transport, until};
use serde_json::{Value, json};

/// Short enough for the walk through all faults.
const LIMITS: &str = "limits: { list_time: 2s, list_pages: 8, list_bytes: 1MiB }\n";

/// What a gateway says first, in either era.
const FIRST: &str = "";
/// A backend for each fault: its method, what is wrong with it, and whether nothing is known of its tools for it.
const FAULTS: [(&str, &str, &str, bool); 10] = [
    ("mute", FIRST, "hang", true),
    ("no-init", FIRST, "error", true),
    ("hangs", "tools/list", "hang", true),
    ("no-json", "tools/list", "not-json", true),
    ("no-utf8", "tools/list", "bad-utf8", true),
    ("wrong-id", "tools/list", "wrong-id", true),
    ("cuts", "tools/list", "cut-half", true),
    ("dies", "tools/list", "exit", true),
    ("endless", "tools/list", "endless", false),
    ("giant", "tools/list", "giant", false),
];

/// All at once, and all the while one backend is well.
async fn every_fault(transport: Transport, era: &str) {
    let well = Scripted::http(tools(&["echo"])).await;
    let mut bad = Vec::new();
    for (name, method, fault, _) in FAULTS {
        let mut offer = tools(&["good"]);
        offer["eras"] = json!(era);
        let method = if method == FIRST { first(era) } else { method };
        offer["faults"] = json!({method: fault});
        bad.push((name, Scripted::start(transport, offer).await));
    }
    let mut backends = vec![("well", well.backend("well", TIMEOUTS))];
    backends.extend(bad.iter().map(|(name, backend)| (*name, backend.backend(name, TIMEOUTS))));
    let gateway = Gateway::start(&federation(&backends, "", LIMITS)).await;
    let client = match era {
        "modern" => Mcp::modern(&gateway.mcp()),
        _ => Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await,
    };
    until("the backend that is well", async || (gateway.standing("well").await? == "fresh").then_some(())).await;
    unhurt(&client).await;
    // Each is named: by what went wrong, or by what is left out.
    for (name, ..) in FAULTS {
        until(&format!("a word about {name}, {transport:?}"), async || {
            let told = gateway.backend(name).await;
            let failed = told["last_error"].is_string();
            let left_out = told["offences"].as_array().is_some_and(|offences| !offences.is_empty());
            (failed || left_out).then_some(())
        })
        .await;
        let named = |log: &String| log.contains(&format!("\"{name}\"")) || log.contains(&format!("={name}"));
        until(&format!("{name} is in the log"), async || Some(gateway.log()).filter(named)).await;
    }
    unhurt(&client).await;
    let listed = names(&client).await;
    for (name, _, _, gone) in FAULTS {
        let prefix = format!("{name}__");
        assert!(!gone || listed.iter().all(|name| !name.starts_with(&prefix)), "{name}: {listed:?}");
    }
    let endless = listed.iter().filter(|name| name.starts_with("endless__")).count();
    assert!(endless <= 8, "{endless} pages of a list without end");
    // All of them are mended, and come back by themselves.
    for (_, backend) in &mut bad {
        backend.change(|offer| offer["faults"] = json!({}));
        backend.run_if_dead().await;
    }
    for (name, _, _, gone) in FAULTS {
        if gone {
            let tool = format!("{name}__good");
            until(&format!("{tool}, {transport:?}"), async || names(&client).await.contains(&tool).then_some(())).await;
        }
    }
    unhurt(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_by_http() {
    every_fault(Transport::Http, "legacy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_by_http_in_the_modern_era() {
    every_fault(Transport::Http, "modern").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_by_stdio() {
    every_fault(Transport::Stdio, "legacy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_by_stdio_in_the_modern_era() {
    every_fault(Transport::Stdio, "modern").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_by_sse() {
    every_fault(Transport::Sse, "legacy").await;
}

/// A list that was good once stays, whatever becomes of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_never_empties_because_it_cannot_be_read() {
    for transport in TRANSPORTS {
        let mut beside = super::beside(transport, tools(&["good"]), TIMEOUTS, "").await;
        beside.gateway.settled().await;
        let client = beside.client().await;
        // A session there hears of the change where nobody else listens.
        let _listening = client.listen(None).await;
        for fault in ["not-json", "wrong-id", "error", "cut-half"] {
            beside.bad.fault("tools/list", Some(fault));
            let before = beside.bad.heard_of("tools/list").len();
            until("a session there", async || (client.tool("bad__good", json!({})).await.status == 200).then_some(()))
                .await;
            beside.bad.say("notifications/tools/list_changed", json!({}));
            until(&format!("another look, {transport:?}, {fault}"), async || {
                (beside.bad.heard_of("tools/list").len() > before).then_some(())
            })
            .await;
            assert_eq!(names(&client).await, ["bad__good", "well__echo"], "{transport:?}, {fault}");
        }
        beside.bad.fault("tools/list", None);
    }
}

/// Names that no client could use are made usable, what cannot be used is left out, and both are told.
#[tokio::test]
async fn odd_names_are_mended_or_left_out() {
    let long = "n".repeat(300);
    let mut named: Vec<Value> = ["plain", "with space", "gr\u{fc}n", "a/b.c", &long, "plain", ""].map(tool).into();
    named.extend([json!({"inputSchema": {}}), json!({"name": 7}), json!("no object"), json!({"name": "no_schema"})]);
    let offer = json!({"tools": named});
    let backend = Scripted::http(offer).await;
    let well = Scripted::http(tools(&["echo"])).await;
    let backends = [("bad", backend.backend("bad", "")), ("well", well.backend("well", ""))];
    let gateway = Gateway::start(&federation(&backends, "", "")).await;
    gateway.settled().await;
    let client = Mcp::modern(&gateway.mcp());
    let listed = names(&client).await;
    let mut unique = listed.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), listed.len(), "{listed:?}");
    let legal = |name: &String| {
        name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    assert!(listed.iter().all(legal), "{listed:?}");
    let of_bad: Vec<_> = listed.iter().filter(|name| name.starts_with("bad__")).collect();
    assert!(of_bad.len() >= 4, "{of_bad:?}");
    for (number, name) in of_bad.iter().enumerate() {
        let mark = format!("odd-{number}");
        assert_eq!(client.tool(name, json!({"mark": mark})).await.status, 200, "{name}");
        let original = backend.only(&mark).json()["params"]["name"].as_str().unwrap().to_owned();
        assert!(named.iter().any(|tool| tool["name"] == *original), "{original}");
    }
    let told = gateway.backend("bad").await;
    let offences = told["offences"].as_array().expect("offences").clone();
    assert!(offences.iter().any(|offence| offence["name"] == "plain"), "the second of two: {told}");
    assert!(offences.len() >= 4, "{told}");
}
