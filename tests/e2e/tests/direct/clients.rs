//! Every official client does its whole exercise against the fixture.

use lockgate_e2e::{Client, Everything, Fixture, for_each_client, sdk};

async fn exercise(client: Client) {
    let fixture = Fixture::start("conformant");
    client.exercise_at(fixture.url().to_owned()).await.check("direct", String::new);
}

for_each_client!(exercise);

#[tokio::test(flavor = "multi_thread")]
async fn rust_sdk_at_every_revision() {
    let fixture = Fixture::start("conformant");
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] {
        sdk::exercise(fixture.url(), revision).await;
    }
}

/// Dual-era clients settle on what a single-era server speaks.
#[test]
fn dual_era_clients_meet_single_era_servers() {
    let (legacy, modern) = (Fixture::start("legacy"), Fixture::start("modern"));
    for (server, era) in [(&legacy, "legacy"), (&modern, "modern")] {
        for client in [Client::TypescriptV2Auto, Client::Python2Auto] {
            let outcome = client.exercise(server.url());
            assert_eq!(outcome.era(), era, "{client:?} {:#}", outcome.summary);
            outcome.check(&format!("{client:?}"), String::new);
        }
    }
}

/// The tour says the same twice, so a difference through the gateway is the gateway's.
#[tokio::test(flavor = "multi_thread")]
async fn the_tour_of_server_everything_is_repeatable() {
    let server = Everything::start().await;
    for client in Client::ALL {
        let (first, second) = (client.everything(server.url()), client.everything(server.url()));
        assert!(first.passed && second.passed, "{client:?} {:#} {:#}", first.summary, second.summary);
        assert_eq!(first.summary, second.summary, "{client:?}");
    }
}
