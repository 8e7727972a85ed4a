//! Every official client does its whole exercise against the fixture.

use lockgate_e2e::{Client, Everything, Fixture, sdk};

fn exercise(client: Client) {
    let fixture = Fixture::start("conformant");
    let outcome = client.exercise(fixture.url());
    println!("direct {}", outcome.summary);
    assert!(outcome.passed, "{:#}", outcome.summary["failed"]);
}

#[test]
fn typescript_v1() {
    exercise(Client::TypescriptV1);
}

#[test]
fn typescript_v2_legacy() {
    exercise(Client::TypescriptV2Legacy);
}

#[test]
fn typescript_v2_auto() {
    exercise(Client::TypescriptV2Auto);
}

#[test]
fn python_1() {
    exercise(Client::Python1);
}

#[test]
fn python_2_legacy() {
    exercise(Client::Python2Legacy);
}

#[test]
fn python_2_auto() {
    exercise(Client::Python2Auto);
}

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
    for client in [Client::TypescriptV2Auto, Client::Python2Auto] {
        let outcome = client.exercise(legacy.url());
        assert_eq!(outcome.summary["seen"]["connect"]["era"], "legacy", "{client:?} {:#}", outcome.summary);
        assert!(outcome.passed, "{client:?} {:#}", outcome.summary["failed"]);
        let outcome = client.exercise(modern.url());
        assert_eq!(outcome.summary["seen"]["connect"]["era"], "modern", "{client:?} {:#}", outcome.summary);
        assert!(outcome.passed, "{client:?} {:#}", outcome.summary["failed"]);
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
