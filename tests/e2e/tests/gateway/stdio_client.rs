//! `lockgate stdio`: clients that start commands see what they see over HTTP.

use lockgate_e2e::clients::stdio;
use lockgate_e2e::gateway::config;
use lockgate_e2e::{Client, Fixture, Gateway, paths};

fn command(arguments: &[&str]) -> String {
    let lockgate = paths::lockgate();
    let all: Vec<&str> = [lockgate.to_str().unwrap(), "stdio"].into_iter().chain(arguments.iter().copied()).collect();
    stdio(&all)
}

async fn exercise(client: Client) {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let target = command(&["--url", &gateway.mcp()]);
    let outcome = tokio::task::spawn_blocking(move || client.exercise(&target)).await.unwrap();
    println!("stdio {}", outcome.summary);
    assert!(outcome.passed, "{:#}\n{}", outcome.summary["failed"], gateway.log());
    let era = if client.is_legacy() { "legacy" } else { "modern" };
    assert_eq!(outcome.summary["seen"]["connect"]["era"], era);
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v1() {
    exercise(Client::TypescriptV1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v2_legacy() {
    exercise(Client::TypescriptV2Legacy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v2_auto() {
    exercise(Client::TypescriptV2Auto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_1() {
    exercise(Client::Python1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_2_legacy() {
    exercise(Client::Python2Legacy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_2_auto() {
    exercise(Client::Python2Auto).await;
}
