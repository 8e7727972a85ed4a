//! What a user tries first: no configuration at all, and one backend by command line or by the clients' own JSON.

use lockgate_e2e::process::Process;
use lockgate_e2e::wait::free_port;
use lockgate_e2e::{Client, Fixture, Mcp, paths, until};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::process::Command;

/// The quickstart's fixed addresses.
const QUICKSTART: [&str; 2] = ["127.0.0.1:8080", "127.0.0.1:9901"];

fn lockgate(folder: &tempfile::TempDir, arguments: &[&str]) -> Process {
    let mut command = Command::new(paths::lockgate());
    command.args(arguments).current_dir(folder.path()).env("XDG_STATE_HOME", folder.path()).env("HOME", folder.path());
    Process::start("lockgate", &mut command)
}

async fn ready(admin: &str) {
    let http = lockgate_e2e::mcp::client();
    let url = format!("http://{admin}/readyz");
    until("readiness", async || {
        let answer = http.get(&url).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
}

/// `lockgate run` with nothing else, and a TypeScript client that lists and calls a tool of the demo server. Where the
/// quickstart's ports are taken, free ones are asked for instead.
#[tokio::test(flavor = "multi_thread")]
async fn run_with_no_flags_serves_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let free = QUICKSTART.iter().all(|address| TcpListener::bind(address).is_ok());
    let (listen, admin) = match free {
        true => (QUICKSTART[0].to_owned(), QUICKSTART[1].to_owned()),
        false => (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port())),
    };
    let flags = ["--listen", &listen, "--admin", &admin];
    println!("the demo at {listen}{}", if free { "" } else { ", because the quickstart's ports are taken" });
    let arguments: Vec<_> = ["run"].into_iter().chain(flags.into_iter().filter(|_| !free)).collect();
    let _gateway = lockgate(&folder, &arguments);
    ready(&admin).await;
    for client in [Client::TypescriptV1, Client::TypescriptV2Legacy, Client::TypescriptV2Auto] {
        let url = format!("http://{listen}/mcp");
        let outcome = tokio::task::spawn_blocking(move || client.demo(&url)).await.unwrap();
        println!("{}", outcome.summary);
        assert!(outcome.passed, "{:#}", outcome.summary);
    }
}

/// A gateway that these arguments start at free ports, and its endpoint.
async fn run(folder: &tempfile::TempDir, arguments: &[&str]) -> (Process, String) {
    let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let flags = ["--listen", &listen, "--admin", &admin];
    let process = lockgate(folder, &["run"].iter().chain(arguments).chain(&flags).copied().collect::<Vec<_>>());
    ready(&admin).await;
    (process, format!("http://{listen}/mcp"))
}

/// The same with the servers that a client's own JSON names.
async fn run_json(folder: &tempfile::TempDir, servers: Value) -> (Process, String) {
    let file = folder.path().join("mcp.json");
    std::fs::write(&file, json!({"mcpServers": servers}).to_string()).unwrap();
    run(folder, &["--mcp-json", file.to_str().unwrap()]).await
}

#[tokio::test]
async fn one_backend_by_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start("conformant");
    let (_gateway, url) = run(&folder, &["--backend", &format!("tools={}", fixture.url())]).await;
    assert_eq!(Mcp::modern(&url).tool("test_echo", json!({"text": "hi"})).await.text(), "hi");
}

#[tokio::test]
async fn one_backend_by_the_clients_own_json() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start("conformant");
    let (_gateway, url) = run_json(&folder, json!({"tools": {"type": "http", "url": fixture.url()}})).await;
    assert_eq!(Mcp::modern(&url).tool("test_echo", json!({"text": "hi"})).await.text(), "hi");
}

/// Servers that are started, and one in the network, as one: each under its prefix, and alone below the same path.
#[tokio::test]
async fn several_backends_by_the_clients_own_json() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start("conformant");
    let binary = paths::lockgate();
    let started = json!({"command": binary, "args": ["stdio", "--url", fixture.url()], "env": {"EMPTY": ""}});
    let (_gateway, url) = run_json(&folder, json!({"net": {"url": fixture.url()}, "proc": started})).await;
    let client = Mcp::modern(&url);
    for name in ["net__test_echo", "proc__test_echo"] {
        let said = async || {
            let answer = client.tool(name, json!({"text": "hi"})).await;
            (answer.status == 200).then(|| answer.text())
        };
        assert_eq!(until(name, said).await, "hi");
    }
    let alone = Mcp::modern(&format!("{url}/proc"));
    assert_eq!(alone.tool("test_echo", json!({"text": "hi"})).await.text(), "hi");
}
