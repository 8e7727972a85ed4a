//! Every official client sees through the gateway what it sees without it.

use lockgate_e2e::gateway::config;
use lockgate_e2e::{Client, Everything, Fixture, Gateway, for_each_client, sdk};
use serde_json::Value;

async fn exercise(client: Client) {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let outcome = client.exercise_at(gateway.mcp()).await;
    outcome.check("gateway", || gateway.log());
    assert_eq!(outcome.era(), client.era());
}

for_each_client!(exercise);

#[tokio::test(flavor = "multi_thread")]
async fn rust_sdk_at_every_revision() {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] {
        sdk::exercise(&gateway.mcp(), revision).await;
    }
}

/// A dual-era client falls back to the handshake in front of a legacy-only backend, and goes modern in front of a
/// modern-only one.
#[tokio::test(flavor = "multi_thread")]
async fn dual_era_clients_settle_on_what_the_backend_speaks() {
    for (mode, era) in [("legacy", "legacy"), ("modern", "modern")] {
        let fixture = Fixture::start(mode);
        let gateway = Gateway::start(&config(fixture.url())).await;
        for client in [Client::TypescriptV2Auto, Client::Python2Auto] {
            let outcome = client.exercise_at(gateway.mcp()).await;
            assert_eq!(outcome.era(), era, "{client:?} {:#}", outcome.summary);
            outcome.check(&format!("{client:?}"), || gateway.log());
        }
    }
}

/// What `server-everything` says is the same with and without the gateway, for every client.
#[tokio::test(flavor = "multi_thread")]
async fn server_everything_says_the_same_through_the_gateway() {
    let server = Everything::start().await;
    let gateway = Gateway::start(&config(server.url())).await;
    for client in Client::ALL {
        let (direct, through) = (server.url().to_owned(), gateway.mcp());
        let (direct, through) =
            tokio::task::spawn_blocking(move || (client.everything(&direct), client.everything(&through)))
                .await
                .unwrap();
        assert!(through.passed, "{client:?} {:#}\n{}", through.summary, gateway.log());
        assert_same(&direct.summary["seen"], &through.summary["seen"], &format!("{client:?}"));
    }
}

/// Compares step by step, so that a difference is readable.
fn assert_same(direct: &Value, through: &Value, client: &str) {
    let (direct, through) = (direct.as_object().expect("steps"), through.as_object().expect("steps"));
    assert_eq!(direct.keys().collect::<Vec<_>>(), through.keys().collect::<Vec<_>>(), "{client}");
    for (step, expected) in direct {
        assert_eq!(expected, &through[step], "{client}, {step}");
    }
}
