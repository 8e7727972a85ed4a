//! `lockgate stdio`: clients that start commands see what they see over HTTP.

use lockgate_e2e::clients::stdio;
use lockgate_e2e::gateway::config;
use lockgate_e2e::{Client, Fixture, Gateway, for_each_client, paths, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
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
