//! What a user tries first: no configuration at all, and one backend by command line or by the clients' own JSON.

use lockgate_e2e::process::Process;
use lockgate_e2e::wait::free_port;
use lockgate_e2e::{Client, Fixture, Mcp, paths, until};
use serde_json::json;
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

#[tokio::test]
async fn one_backend_by_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start("conformant");
    let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let backend = format!("tools={}", fixture.url());
    let _gateway = lockgate(&folder, &["run", "--backend", &backend, "--listen", &listen, "--admin", &admin]);
    ready(&admin).await;
    let client = Mcp::modern(&format!("http://{listen}/mcp"));
    assert_eq!(client.tool("test_echo", json!({"text": "hi"})).await.text(), "hi");
}

#[tokio::test]
async fn one_backend_by_the_clients_own_json() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start("conformant");
    let servers = json!({"mcpServers": {"tools": {"type": "http", "url": fixture.url()}}});
    let file = folder.path().join("mcp.json");
    std::fs::write(&file, servers.to_string()).unwrap();
    let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let arguments = ["run", "--mcp-json", file.to_str().unwrap(), "--listen", &listen, "--admin", &admin];
    let _gateway = lockgate(&folder, &arguments);
    ready(&admin).await;
    let client = Mcp::modern(&format!("http://{listen}/mcp"));
    assert_eq!(client.tool("test_echo", json!({"text": "hi"})).await.text(), "hi");
}

/// Servers that are started, and one in the network, as one: each under its prefix, and alone below the same path.
#[tokio::test]
async fn several_backends_by_the_clients_own_json() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start("conformant");
    let binary = paths::lockgate();
    let started = json!({"command": binary, "args": ["stdio", "--url", fixture.url()], "env": {"EMPTY": ""}});
    let servers = json!({"mcpServers": {"net": {"url": fixture.url()}, "proc": started}});
    let file = folder.path().join("mcp.json");
    std::fs::write(&file, servers.to_string()).unwrap();
    let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let arguments = ["run", "--mcp-json", file.to_str().unwrap(), "--listen", &listen, "--admin", &admin];
    let _gateway = lockgate(&folder, &arguments);
    ready(&admin).await;
    let client = Mcp::modern(&format!("http://{listen}/mcp"));
    for name in ["net__test_echo", "proc__test_echo"] {
        let said = async || {
            let answer = client.tool(name, json!({"text": "hi"})).await;
            (answer.status == 200).then(|| answer.text())
        };
        assert_eq!(until(name, said).await, "hi");
    }
    let alone = Mcp::modern(&format!("http://{listen}/mcp/proc"));
    assert_eq!(alone.tool("test_echo", json!({"text": "hi"})).await.text(), "hi");
}
