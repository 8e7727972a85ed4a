//! `lockgate stdio`: clients that start commands see what they see over HTTP.

use lockgate_e2e::clients::stdio;
use lockgate_e2e::gateway::{config, federation};
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Client, Fixture, Gateway, Scripted, Transport, for_each_client, paths, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};

fn command(arguments: &[&str]) -> String {
    let lockgate = paths::lockgate();
    let all: Vec<&str> = [lockgate.to_str().unwrap(), "stdio"].into_iter().chain(arguments.iter().copied()).collect();
    stdio(&all)
}

async fn exercise(client: Client) {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let outcome = client.exercise_at(command(&["--url", &gateway.mcp()])).await;
    outcome.check("stdio", || gateway.log());
    assert_eq!(outcome.era(), client.era());
}

for_each_client!(exercise);

/// Without a gateway that runs, one is started in the same process: the client needs one command and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_alone_is_enough() {
    let fixture = Fixture::start("conformant");
    let mut gateway = Gateway::start(&config(fixture.url())).await;
    gateway.kill();
    let file = gateway.file().to_str().unwrap().to_owned();
    for client in [Client::TypescriptV1, Client::Python2Auto] {
        let outcome = client.exercise_at(command(&["--config", &file, "--server", "default"])).await;
        outcome.check(&format!("{client:?}"), String::new);
    }
    // Nobody else could come in meanwhile, and nothing was kept.
    assert!(TcpStream::connect(gateway.address()).is_err());
    let (status, lines, errors) = tokio::task::spawn_blocking(move || {
        talk(&["--config", &file], &[], &[INITIALIZE, INITIALIZED, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#])
    })
    .await
    .unwrap();
    assert!(status.success(), "{errors}");
    let ids: Vec<_> = lines.iter().map(|line| line["id"].clone()).collect();
    assert_eq!(ids, [0, 1], "{lines:?}");
}

/// The gateway that runs with the configuration is used, and no second one started.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_runs_is_used() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let file = gateway.file().to_str().unwrap().to_owned();
    let (status, lines, errors) =
        tokio::task::spawn_blocking(move || talk(&["--config", &file, "--server", "default"], &[], &[INITIALIZE]))
            .await
            .unwrap();
    assert!(status.success() && lines.len() == 1, "{errors}");
    let ended = until("the end of the session", async || {
        let journal = fixture.journal().await;
        journal.iter().find(|request| request.method == "DELETE").map(|_| journal.len())
    })
    .await;
    assert!(ended > 0);
    let series = r#"lockgate_requests_total{era="legacy",method="initialize",outcome="ok",virtual_server="default"}"#;
    gateway.counts(series, 1.0).await;
}

/// Several backends as one, in both eras: by its address, by a gateway that runs, and by one that is started for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_several_backends_is_served_too() {
    let (one, two) = (Scripted::http(tools(&["a"])).await, Scripted::start(Transport::Stdio, tools(&["b"])).await);
    let backends = [("one", one.backend("one", "")), ("two", two.backend("two", ""))];
    let mut gateway = Gateway::start(&federation(&backends, "", "")).await;
    gateway.settled().await;
    let (file, url) = (gateway.file().to_str().unwrap().to_owned(), gateway.mcp());
    let configured = ["--config", &file, "--server", "default"];
    for (number, arguments) in [&["--url", &url][..], &configured, &configured].into_iter().enumerate() {
        if number == 2 {
            gateway.kill();
        }
        for era in ["legacy", "modern"] {
            let of = |id: u64, method: &str, mut params: Value| {
                if era == "modern" {
                    params["_meta"] = json!({
                        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                        "io.modelcontextprotocol/clientCapabilities": {},
                    });
                }
                json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
            };
            let mark = |backend: &str| format!("{backend}-{number}-{era}");
            let call = |id: u64, name: &str, mark: String| {
                of(id, "tools/call", json!({"name": name, "arguments": {"mark": mark}}))
            };
            let mut lines = vec![
                of(1, "tools/list", json!({})),
                call(2, "one__a", mark("one")),
                call(3, "two__b", mark("two")),
                call(4, "a", mark("neither")),
            ];
            if era == "legacy" {
                lines.splice(..0, [INITIALIZE.to_owned(), INITIALIZED.to_owned()]);
            }
            let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let (status, answers, errors) = tokio::task::spawn_blocking(move || {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                talk(&arguments, &[], &lines.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .await
            .unwrap();
            assert!(status.success(), "{number}, {era}: {errors}");
            let of =
                |id: u64| answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("{answers:?}"));
            let listed: Vec<_> =
                of(1)["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
            assert_eq!(listed, ["one__a", "two__b"], "{number}, {era}");
            for (id, backend, theirs, mark) in [(2, &one, "a", mark("one")), (3, &two, "b", mark("two"))] {
                assert_eq!(of(id)["result"]["content"][0]["text"], json!({"mark": mark}).to_string(), "{answers:?}");
                assert_eq!(backend.only(&mark).json()["params"]["name"], theirs);
            }
            assert_eq!(of(4)["error"]["code"], -32602, "{answers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_sent_and_never_shown() {
    let fixture = Fixture::start("lax");
    let url = fixture.url().to_owned();
    let (status, lines, errors) = tokio::task::spawn_blocking(move || {
        talk(&["--url", &url], &[("LOCKGATE_TOKEN", "s3cret-token"), ("RUST_LOG", "trace")], &[INITIALIZE])
    })
    .await
    .unwrap();
    assert!(status.success() && lines.len() == 1, "{errors}");
    assert!(!errors.contains("s3cret-token"), "{errors}");
    let journal = fixture.journal().await;
    assert!(
        journal.iter().all(|request| request.header("authorization") == Some("Bearer s3cret-token")),
        "{journal:?}"
    );
}

#[test]
fn what_cannot_be_served_is_said_before_anything_is_read() {
    for (arguments, code, said) in [
        (&["--server", "nowhere"][..], 2, "there is no virtual server `nowhere`; there are: default"),
        (&["--config", "/nowhere.yaml"], 1, "it does not exist"),
        (&["--url", "http://a/mcp", "--server", "x"], 2, "cannot be used with"),
        (&["--url", "ftp://a/mcp"], 1, "neither http:// nor https://"),
        (&["--token-file", "/nowhere"], 1, "cannot read `/nowhere`"),
    ] {
        let (status, lines, errors) = talk(arguments, &[], &[]);
        assert_eq!((status.code(), lines.len()), (Some(code), 0), "{arguments:?} {errors}");
        assert!(errors.contains(said), "{arguments:?} {errors}");
    }
}

/// A client that wants no more sends a signal: the session is ended all the same, and at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_session() {
    let fixture = Fixture::start("lax");
    let mut child = start(&["--url", fixture.url()], &[]);
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let wait = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"held","arguments":{}}}"#;
    for line in [INITIALIZE, INITIALIZED, wait] {
        writeln!(input, "{line}").unwrap();
    }
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.contains("protocolVersion"), "{line}");
    until("the call", async || fixture.journal().await.iter().any(|request| request.contains("held")).then_some(()))
        .await;
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert!(status.success());
    assert!(fixture.journal().await.iter().any(|request| request.method == "DELETE"));
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Child {
    let mut command = Command::new(paths::lockgate());
    command.arg("stdio").args(arguments).envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("lockgate starts")
}

/// Says these lines, and then nothing more: the exit, what was answered, what was said on standard error.
fn talk(arguments: &[&str], environment: &[(&str, &str)], lines: &[&str]) -> (ExitStatus, Vec<Value>, String) {
    let mut child = start(arguments, environment);
    let mut input = child.stdin.take().unwrap();
    for line in lines {
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no message: {line}")));
    (output.status, lines.collect(), String::from_utf8(output.stderr).unwrap())
}
