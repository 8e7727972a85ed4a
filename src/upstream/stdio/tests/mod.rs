//! Commands against shell scripts that speak MCP, more or less.

mod cage;
mod eras;
mod life;
mod sessions;

use super::*;
use crate::upstream::caller::Caller;
use crate::upstream::fault::FaultKind;
use crate::upstream::response::Form;
use crate::upstream::testing::{PATIENT, initialize, tool_call, until};
use bytes::Bytes;
use http::HeaderValue;
use lockgate_filters::splice::{Outbound, Replay};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// A server for tests: what a tool's name says, it does. `$1` changes its start or its handshake.
const SERVER: &str = r#"
case $1 in
  refuse) echo going down >&2; exit 3 ;;
  stubborn) trap '' TERM; sleep 1000 & echo "$!" > "$2" ;;
esac
say() { printf '%s\n' "$1"; }
answer() { say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":$1}"; }
while read -r line; do
  id=${line#*\"id\":}; id=${id%%[,\}]*}
  case $line in
    *'"method":"server/discover"'*) case $1 in
        modern) answer '{"supportedVersions":["2026-07-28"],"capabilities":{},"ttlMs":60000}' ;;
        leaves) exit 0 ;;
        mute) ;;
        *) say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"no\"}}" ;;
      esac ;;
    *'"method":"initialize"'*) case $1 in
        modern) say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"no\"}}" ;;
        *) case $line in *'"sampling"'*) sampling=yes ;; *) sampling=no ;; esac
           answer "{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{},\"serverInfo\":{\"name\":\"sh\",\"version\":\"$$\"}}" ;;
      esac ;;
    *'"name":"pid"'*) answer "{\"pid\":$$,\"sampling\":\"$sampling\"}" ;;
    *'"name":"environment"'*) answer "{\"names\":\"$(env | sed 's/=.*//' | sort | tr '\n' ' ')\",\"here\":\"$PWD\"}" ;;
    *'"name":"limits"'*) answer "{\"files\":$(ulimit -n),\"cpu\":$(ulimit -t)}" ;;
    *'"name":"crash"'*) exit 7 ;;
    *'"name":"hang"'*) ;;
    *'"name":"noise"'*)
       echo 'Server listening'; printf '\377\376\n'; head -c 300000 /dev/zero | tr '\0' x; echo
       i=0; while [ $i -lt 500 ]; do echo "stderr $i" >&2; i=$((i+1)); done
       answer '{}'; answer '{}' ;;
    *'"name":"eat"'*) eaten=$(head -c 80000000 /dev/zero | tr '\0' x); answer '{}' ;;
    *'"name":"ask"'*) say '{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}'; asked=$id ;;
    *'"id":"q"'*) id=$asked; case $line in *'"error"'*) answer '{"sampled":false}' ;; *) answer '{"sampled":true}' ;; esac ;;
    *notifications/*) seen="$seen ${line#*notifications/}" ;;
    *'"name":"seen"'*) answer "{\"seen\":\"$(say "$seen" | tr -d '"\\')\"}" ;;
  esac
done
"#;

fn settings(arguments: &[&str]) -> CommandSettings {
    let run = ["/bin/sh", "-c", SERVER, "server"].into_iter().chain(arguments.iter().copied());
    CommandSettings { stop_time: Duration::from_millis(300), ..CommandSettings::new(run) }
}

fn command(settings: &CommandSettings) -> Arc<Command> {
    Command::new("demo".into(), settings, 1 << 16, Arc::default()).expect("usable settings")
}

fn post(body: Json, session: Option<&str>, principal: u8) -> UpstreamRequest {
    request(Verb::Post, body.to_string().into(), session, principal)
}

fn request(verb: Verb, body: Bytes, session: Option<&str>, principal: u8) -> UpstreamRequest {
    let mut fields = Outbound::new();
    if let Some(session) = session {
        fields.set(SESSION_ID, HeaderValue::from_str(session).expect("a value"));
    }
    let caller = Caller { principal: PrincipalDigest([principal; 32]), session: None };
    UpstreamRequest { verb, fields, body, replay: Replay::IfNotRun, caller }
}

async fn send(command: &Arc<Command>, request: UpstreamRequest) -> Result<UpstreamResponse, AttemptFault> {
    timeout(PATIENT, command.send(&request, &Timeouts::default())).await.expect("in time")
}

async fn open_as(command: &Arc<Command>, principal: u8, capabilities: Json) -> Result<String, AttemptFault> {
    let response = send(command, post(initialize(capabilities), None, principal)).await?;
    assert_eq!(response.status, 200);
    let id = response.headers.get(SESSION_ID).expect("a session").to_str().expect("text").to_owned();
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(send(command, post(ready, Some(&id), principal)).await?.status, 202);
    Ok(id)
}

async fn open(command: &Arc<Command>) -> String {
    open_as(command, 0, json!({"sampling": {}})).await.expect("a session")
}

async fn body(response: &mut UpstreamResponse) -> Json {
    serde_json::from_slice(&response.collect(1 << 20).await.expect("a body")).expect("JSON")
}

async fn call(command: &Arc<Command>, session: &str, name: &str) -> Result<Json, AttemptFault> {
    let mut response = send(command, post(tool_call(name), Some(session), 0)).await?;
    let body = response.collect(1 << 20).await?;
    assert_eq!(response.status, 200, "{body:?}");
    let said: Json = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(said["id"], "call");
    Ok(said["result"].clone())
}

async fn pid_of(command: &Arc<Command>, session: &str) -> i64 {
    call(command, session, "pid").await.expect("an answer")["pid"].as_i64().expect("a pid")
}

/// Whether a process is there, as more than the memory of it.
fn is_alive(pid: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

/// Waits until a request is on its way to a process.
async fn begun(command: &Command) {
    until("the call has not begun", || {
        let state = command.state.lock();
        state.instances.values().any(|one| one.running().is_some_and(|one| one.0.activity().in_flight == 1))
    })
    .await;
}

/// What the process wrote that [`SERVER`] starts beside itself where it is stubborn.
fn read_pid(file: &Path) -> i64 {
    std::fs::read_to_string(file).expect("a pid").trim().parse().expect("a number")
}

async fn gone(pid: i64) {
    until("a process is left", || !is_alive(pid)).await;
}
