//! Commands against shell scripts that speak MCP, more or less.

use super::*;
use crate::upstream::caller::Caller;
use crate::upstream::fault::FaultKind;
use crate::upstream::response::Form;
use bytes::Bytes;
use http::HeaderValue;
use lockgate_filters::splice::{Outbound, Replay};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Longer than anything takes, so that no test waits for ever.
const PATIENT: Duration = Duration::from_secs(30);

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

fn initialize(capabilities: Json) -> Json {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "t", "version": "1"}}})
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

fn tool(name: &str) -> Json {
    json!({"jsonrpc": "2.0", "id": "call", "method": "tools/call", "params": {"name": name}})
}

async fn call(command: &Arc<Command>, session: &str, name: &str) -> Result<Json, AttemptFault> {
    let mut response = send(command, post(tool(name), Some(session), 0)).await?;
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

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENT, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

async fn gone(pid: i64) {
    until("a process is left", || !is_alive(pid)).await;
}

#[tokio::test]
async fn each_anonymous_session_has_a_process_that_ends_with_it() {
    let command = command(&settings(&[]));
    let sessions = [open(&command).await, open(&command).await];
    let pids = [pid_of(&command, &sessions[0]).await, pid_of(&command, &sessions[1]).await];
    assert_ne!(pids[0], pids[1]);
    assert_eq!(command.counters().running(), 2);
    let ended = send(&command, request(Verb::Delete, Bytes::new(), Some(&sessions[0]), 0)).await.expect("an answer");
    assert_eq!(ended.status, 200);
    gone(pids[0]).await;
    assert_eq!(send(&command, post(tool("pid"), Some(&sessions[0]), 0)).await.expect("an answer").status, 404);
    assert_eq!(pid_of(&command, &sessions[1]).await, pids[1]);
    command.stop_all().await;
    assert!(!is_alive(pids[1]));
    let counters = command.counters();
    assert_eq!((counters.starts(), counters.failures(), counters.running()), (2, 0, 0));
}

#[tokio::test]
async fn sessions_of_one_caller_share_a_process_and_no_other() {
    let command = command(&settings(&[]));
    let first = open_as(&command, 1, json!({"sampling": {}})).await.expect("a session");
    let again = open_as(&command, 1, json!({"sampling": {}})).await.expect("a session");
    let other = open_as(&command, 2, json!({"sampling": {}})).await.expect("a session");
    let poorer = open_as(&command, 1, json!({})).await.expect("a session");
    let mut pids = Vec::new();
    for session in [&first, &again, &other, &poorer] {
        pids.push(pid_of(&command, session).await);
    }
    assert_eq!(pids[0], pids[1]);
    assert!(pids[2] != pids[0] && pids[3] != pids[0] && pids[2] != pids[3]);
    let seen = call(&command, &again, "seen").await.expect("an answer");
    assert_eq!(seen["seen"].as_str().expect("text").matches("initialized").count(), 1, "one handshake: {seen}");
    // Somebody else's session is as good as none.
    assert_eq!(send(&command, post(tool("pid"), Some(&first), 2)).await.expect("an answer").status, 404);
    command.stop_all().await;
}

#[tokio::test]
async fn a_shared_process_is_offered_nothing_and_asks_nobody() {
    let command = command(&CommandSettings { shared: true, ..settings(&[]) });
    let [one, two] = [open(&command).await, open_as(&command, 5, json!({"sampling": {}})).await.expect("a session")];
    let said = call(&command, &one, "pid").await.expect("an answer");
    assert_eq!(said["sampling"], "no");
    let mut other = send(&command, post(tool("pid"), Some(&two), 5)).await.expect("an answer");
    let other: Json = serde_json::from_slice(&other.collect(1 << 20).await.expect("a body")).expect("JSON");
    assert_eq!(other["result"]["pid"], said["pid"]);
    assert_eq!(call(&command, &one, "ask").await.expect("an answer"), json!({"sampled": false}));
    assert_eq!(command.counters().refused(), 1);
    command.stop_all().await;
}

#[tokio::test]
async fn a_client_is_asked_on_its_own_stream() {
    let command = command(&settings(&[]));
    let session = open(&command).await;
    let mut response = send(&command, post(tool("ask"), Some(&session), 0)).await.expect("an answer");
    assert_eq!(response.form(), Form::EventStream);
    let question = response.chunk().await.expect("no fault").expect("an event");
    assert!(String::from_utf8_lossy(&question).contains("sampling/createMessage"));
    let answer = json!({"jsonrpc": "2.0", "id": "q", "result": {}});
    assert_eq!(send(&command, post(answer, Some(&session), 0)).await.expect("taken").status, 202);
    let last = response.chunk().await.expect("no fault").expect("an event");
    assert!(String::from_utf8_lossy(&last).contains(r#""sampled":true"#));
    command.stop_all().await;
}

#[tokio::test]
async fn a_crash_is_named_and_ends_the_session() {
    let command = command(&settings(&[]));
    let session = open(&command).await;
    let pid = pid_of(&command, &session).await;
    let mut stream = send(&command, request(Verb::Get, Bytes::new(), Some(&session), 0)).await.expect("a stream");
    assert_eq!(stream.form(), Form::EventStream);
    let fault = call(&command, &session, "crash").await.expect_err("it crashed");
    assert_eq!(fault.to_string(), "its process ended (exit status: 7)");
    assert!(!fault.provably_not_run);
    assert!(stream.chunk().await.expect("no fault").is_none());
    assert_eq!(send(&command, post(tool("pid"), Some(&session), 0)).await.expect("an answer").status, 404);
    gone(pid).await;
    let session = open(&command).await;
    assert_ne!(pid_of(&command, &session).await, pid, "the next session is not the worse for it");
    assert_eq!(command.counters().failures(), 1);
    command.stop_all().await;
}

#[tokio::test]
async fn a_command_that_fails_at_start_is_left_alone() {
    let restart = (Duration::from_secs(600), Duration::from_secs(600));
    let command = command(&CommandSettings { restart, ..settings(&["refuse"]) });
    let fault = open_as(&command, 0, json!({})).await.expect_err("it ends");
    assert_eq!(fault.to_string(), "its process ended (exit status: 3)");
    until("no record of the failure", || !command.state.lock().retries.is_empty()).await;
    for _ in 0..3 {
        let fault = open_as(&command, 1, json!({})).await.expect_err("left alone");
        let text = fault.to_string();
        assert!(text.starts_with("its process ended (exit status: 3); it is started again in "), "{text}");
        assert!(fault.provably_not_run);
    }
    assert_eq!((command.counters().starts(), command.counters().failures()), (1, 1));

    let missing = self::command(&CommandSettings::new(["/does/not/exist"]));
    let fault = open_as(&missing, 0, json!({})).await.expect_err("no program");
    assert_eq!(fault.to_string(), "its command cannot be started (entity not found)");
    assert!(fault.provably_not_run && fault.cause.is_some());
}

#[tokio::test]
async fn it_is_started_again_after_a_while() {
    let folder = tempfile::tempdir().expect("a folder");
    let once = folder.path().join("once");
    let script = format!("[ -e {0} ] || {{ touch {0}; exit 3; }}\n{SERVER}", once.display());
    let restart = (Duration::from_millis(20), Duration::from_millis(20));
    let command = command(&CommandSettings {
        restart,
        stop_time: Duration::from_millis(300),
        ..CommandSettings::new(["/bin/sh", "-c", &script])
    });
    assert!(open_as(&command, 0, json!({})).await.is_err());
    let session = async {
        loop {
            match open_as(&command, 0, json!({})).await {
                Ok(session) => break session,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let session = timeout(PATIENT, session).await.expect("started again");
    assert!(pid_of(&command, &session).await > 0);
    command.stop_all().await;
}

#[tokio::test]
async fn nobody_needs_an_idle_process() {
    let command = command(&CommandSettings { idle_stop: Duration::from_millis(50), ..settings(&[]) });
    let session = open_as(&command, 1, json!({})).await.expect("a session");
    let pid = {
        let mut response = send(&command, post(tool("pid"), Some(&session), 1)).await.expect("an answer");
        let said: Json = serde_json::from_slice(&response.collect(1 << 20).await.expect("a body")).expect("JSON");
        said["result"]["pid"].as_i64().expect("a pid")
    };
    gone(pid).await;
    assert_eq!(send(&command, post(tool("pid"), Some(&session), 1)).await.expect("an answer").status, 404);
    until("somebody still looks after nothing", || !command.state.lock().keeping).await;
    assert_eq!(command.counters().failures(), 0);
}

#[tokio::test]
async fn there_are_no_more_processes_than_allowed() {
    let command = command(&CommandSettings { instances: 2, ..settings(&[]) });
    let [oldest, newest] = [open(&command).await, open(&command).await];
    let pids = [pid_of(&command, &oldest).await, pid_of(&command, &newest).await];
    pid_of(&command, &oldest).await;
    let third = open(&command).await;
    gone(pids[1]).await;
    assert_eq!(pid_of(&command, &oldest).await, pids[0], "the one that was idle for longest went");
    let _held = send(&command, request(Verb::Get, Bytes::new(), Some(&oldest), 0)).await.expect("a stream");
    let _more = send(&command, request(Verb::Get, Bytes::new(), Some(&third), 0)).await.expect("a stream");
    let fault = open_as(&command, 0, json!({})).await.expect_err("all are in use");
    assert_eq!((fault.kind, fault.provably_not_run), (FaultKind::Busy, true));
    command.stop_all().await;
}

#[tokio::test]
async fn a_process_that_will_not_go_is_made_to_with_all_that_it_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("grandchild");
    let stop_time = Duration::from_millis(100);
    let command = command(&CommandSettings { stop_time, ..settings(&["stubborn", file.to_str().expect("text")]) });
    let session = open(&command).await;
    let pid = pid_of(&command, &session).await;
    let grandchild: i64 = std::fs::read_to_string(&file).expect("a pid").trim().parse().expect("a number");
    assert!(is_alive(grandchild));
    // While it works it does not see its input end.
    let hanging = tokio::spawn({
        let (command, session) = (command.clone(), session.clone());
        async move { call(&command, &session, "hang").await }
    });
    until("the call has not begun", || {
        command
            .state
            .lock()
            .instances
            .values()
            .any(|one| one.running().is_some_and(|one| one.0.activity().in_flight == 1))
    })
    .await;
    command.stop_all().await;
    assert!(!is_alive(pid) && !is_alive(grandchild));
    assert_eq!(hanging.await.expect("no panic").expect_err("stopped").to_string(), "its process was stopped");
}

#[tokio::test]
async fn what_a_crashed_process_started_ends_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("grandchild");
    let command = command(&settings(&["stubborn", file.to_str().expect("text")]));
    let session = open(&command).await;
    let grandchild: i64 = std::fs::read_to_string(&file).expect("a pid").trim().parse().expect("a number");
    call(&command, &session, "crash").await.expect_err("it crashed");
    gone(grandchild).await;
}

#[test]
fn no_process_outlives_its_runtime() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("grandchild");
    let (command, pid) = runtime.block_on(async {
        let command = command(&settings(&["stubborn", file.to_str().expect("text")]));
        let session = open(&command).await;
        let pid = pid_of(&command, &session).await;
        (command, pid)
    });
    let grandchild: i64 = std::fs::read_to_string(&file).expect("a pid").trim().parse().expect("a number");
    drop(runtime);
    let begun = std::time::Instant::now();
    while is_alive(grandchild)
        || std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|text| !text.is_empty())
    {
        assert!(begun.elapsed() < PATIENT, "a process is left");
        std::thread::yield_now();
    }
    assert_eq!(command.counters().running(), 0);
}

#[tokio::test]
async fn a_process_gets_only_what_is_meant_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = std::fs::canonicalize(folder.path()).expect("a path");
    let command = command(&CommandSettings {
        environment: vec![("KEY".into(), "secret".into())],
        inherit: vec!["PATH".into(), "NO_SUCH_VARIABLE".into()],
        directory: Some(directory.clone()),
        open_files: Some(77),
        cpu_time: Some(Duration::from_secs(33)),
        ..settings(&[])
    });
    let session = open(&command).await;
    let said = call(&command, &session, "environment").await.expect("an answer");
    let names: Vec<_> = said["names"].as_str().expect("text").split_whitespace().collect();
    // The shell adds the last ones itself.
    assert!(names.iter().all(|name| ["KEY", "PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)), "{names:?}");
    assert!(names.contains(&"KEY") && names.contains(&"PATH"));
    assert_eq!(Path::new(said["here"].as_str().expect("text")), directory);
    assert_eq!(call(&command, &session, "limits").await.expect("an answer"), json!({"files": 77, "cpu": 33}));
    command.stop_all().await;
}

#[tokio::test]
async fn too_much_memory_ends_a_process() {
    let command =
        command(&CommandSettings { memory: Some(40 << 20), idle_stop: Duration::from_millis(200), ..settings(&[]) });
    let session = open(&command).await;
    let fault = loop {
        match call(&command, &session, "eat").await {
            Ok(_) => {}
            Err(fault) => break fault.to_string(),
        }
    };
    assert!(fault.contains("more memory") || fault.contains("signal: 9"), "{fault}");
}

#[tokio::test]
async fn noise_costs_nobody_an_answer() {
    let command = command(&settings(&[]));
    let session = open(&command).await;
    // Beside another request, or the long line would be taken for the answer.
    let other = tokio::spawn({
        let (command, session) = (command.clone(), session.clone());
        async move { call(&command, &session, "hang").await }
    });
    until("the call has not begun", || {
        command
            .state
            .lock()
            .instances
            .values()
            .any(|one| one.running().is_some_and(|one| one.0.activity().in_flight == 1))
    })
    .await;
    assert_eq!(call(&command, &session, "noise").await.expect("an answer"), json!({}));
    pid_of(&command, &session).await;
    assert_eq!(command.counters().dropped(), 4, "a banner, no text, a long line, an answer that was one too many");
    other.abort();
    let fault = call(&command, &session, "noise").await.expect_err("its answer may have been the long line");
    assert_eq!(fault.kind, FaultKind::TooLong);
    command.stop_all().await;
}

#[tokio::test]
async fn the_modern_era_has_one_process_for_all() {
    let command = command(&settings(&["modern"]));
    let modern = |name: &str| {
        json!({"jsonrpc": "2.0", "id": "call", "method": "tools/call", "params": {"name": name, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}})
    };
    let mut pids = Vec::new();
    for principal in [1, 2] {
        let mut response = send(&command, post(modern("pid"), None, principal)).await.expect("an answer");
        let said: Json = serde_json::from_slice(&response.collect(1 << 20).await.expect("a body")).expect("JSON");
        pids.push(said["result"]["pid"].as_i64().expect("a pid"));
    }
    assert_eq!(pids[0], pids[1]);
    let hanging = tokio::spawn({
        let (command, hang) = (command.clone(), post(modern("hang"), None, 1));
        async move { command.send(&hang, &Timeouts::default()).await }
    });
    until("the call has not begun", || {
        command
            .state
            .lock()
            .instances
            .values()
            .any(|one| one.running().is_some_and(|one| one.0.activity().in_flight == 1))
    })
    .await;
    hanging.abort();
    let _ = hanging.await;
    let mut seen = send(&command, post(modern("seen"), None, 1)).await.expect("an answer");
    let seen = seen.collect(1 << 20).await.expect("a body");
    assert!(String::from_utf8_lossy(&seen).contains("cancelled"), "{seen:?}");
    for verb in [Verb::Get, Verb::Delete] {
        assert_eq!(send(&command, request(verb, Bytes::new(), None, 1)).await.expect("an answer").status, 405);
    }
    command.stop_all().await;
}

#[tokio::test]
async fn a_retired_command_lets_calls_end() {
    let command = command(&settings(&[]));
    let session = open(&command).await;
    let pid = pid_of(&command, &session).await;
    let mut stream = send(&command, request(Verb::Get, Bytes::new(), Some(&session), 0)).await.expect("a stream");
    let mut asking = send(&command, post(tool("ask"), Some(&session), 0)).await.expect("an answer");
    asking.chunk().await.expect("no fault").expect("a question");
    command.retire();
    assert!(stream.chunk().await.expect("no fault").is_none());
    drop(stream);
    assert!(is_alive(pid));
    let answer = json!({"jsonrpc": "2.0", "id": "q", "result": {}});
    assert_eq!(send(&command, post(answer, Some(&session), 0)).await.expect("taken").status, 202);
    asking.chunk().await.expect("no fault").expect("the response");
    drop(asking);
    gone(pid).await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_answered_like_an_http_server_does() {
    let command = command(&settings(&[]));
    let unknown = send(&command, post(tool("pid"), Some("nobody"), 0)).await.expect("an answer");
    assert_eq!(unknown.status, 404);
    for body in [tool("pid"), json!([tool("pid")]), json!("x")] {
        assert_eq!(send(&command, post(body, None, 0)).await.expect("an answer").status, 400);
    }
    assert_eq!(command.counters().starts(), 0, "nothing was started for it");
}

#[test]
fn what_is_run_makes_the_place() {
    let place = |change: fn(&mut CommandSettings)| {
        let mut settings = settings(&[]);
        change(&mut settings);
        command(&settings).place()
    };
    let here = place(|_| {});
    assert_eq!(here, place(|settings| settings.memory = Some(1)));
    assert_eq!(
        place(|settings| settings.environment = vec![("A".into(), "secret".into())]),
        place(|settings| settings.environment = vec![("A".into(), "other".into())])
    );
    assert_ne!(here, place(|settings| settings.environment = vec![("A".into(), "secret".into())]));
    assert_ne!(here, place(|settings| settings.run.push("x".into())));
    assert_ne!(here, place(|settings| settings.directory = Some("/tmp".into())));
    assert!(here.starts_with("demo@"));
    assert!(Command::new("demo".into(), &CommandSettings::new([""]), 1, Arc::default()).is_err());
    assert!(Command::new("demo".into(), &CommandSettings::new(Vec::<String>::new()), 1, Arc::default()).is_err());
}

#[test]
fn only_what_a_process_is_started_with_makes_it_another() {
    let wanted = settings(&[]);
    let kept = CommandSettings { instances: 1, idle_stop: Duration::ZERO, ..wanted.clone() };
    let command = command(&wanted);
    assert!(command.is(&wanted) && command.is(&kept));
    assert!(!command.is(&CommandSettings { shared: true, ..wanted.clone() }));
    assert!(!command.is(&CommandSettings { environment: vec![("A".into(), "b".into())], ..wanted }));
}

mod eras {
    use super::*;
    use crate::upstream::{BackendSettings, LiveBackend, PoolSettings, Protocol, Registry, ToolSettings};
    use lockgate_filters::backend::Speaks;
    use tokio::runtime::Handle;

    fn backend(command: CommandSettings) -> BackendSettings {
        BackendSettings {
            name: "demo".into(),
            endpoints: Vec::new(),
            command: Some(command),
            protocol: Protocol::Auto,
            timeouts: Timeouts::default(),
            pool: PoolSettings::default(),
            forward_headers: Vec::new(),
            answer_bytes: 1 << 20,
            sse_event: 1 << 16,
            tools: ToolSettings::default(),
            stock: crate::upstream::StockSettings::default(),
            stocked: false,
        }
    }

    fn started(settings: &[BackendSettings]) -> (Registry, Arc<LiveBackend>) {
        let registry = Registry::new();
        registry.commit(&registry.prepare(settings).expect("usable settings"));
        registry.start(Handle::current());
        let live = registry.generation().get("demo").expect("a backend").clone();
        (registry, live)
    }

    #[tokio::test]
    async fn what_a_command_speaks_is_found_out() {
        for (kind, modern, legacy) in [
            ("legacy", Speaks::No, Speaks::Yes),
            ("leaves", Speaks::No, Speaks::Yes),
            ("mute", Speaks::No, Speaks::Yes),
            ("modern", Speaks::Yes, Speaks::No),
        ] {
            let (registry, live) = started(&[backend(settings(&[kind]))]);
            live.ensure_eras(PATIENT).await.expect("known");
            let facts = live.backend.facts();
            assert_eq!((facts.modern, facts.legacy), (modern, legacy), "{kind}");
            drop(facts);
            let running = u64::from(modern == Speaks::Yes);
            let counters = live.counters().expect("counters").clone();
            until("a probe is left", || counters.running() == running).await;
            assert_eq!(live.is_up(), Some(true), "{kind}");
            registry.stop_children().await;
            assert_eq!(counters.running(), 0);
        }
    }

    #[tokio::test]
    async fn a_command_that_does_not_start_speaks_nothing_yet() {
        let (registry, live) = started(&[backend(settings(&["refuse"]))]);
        let refusal = live.ensure_eras(PATIENT).await.expect_err("down");
        assert!(refusal.message.starts_with("backend \"demo\": its process ended (exit status: 3)"), "{refusal:?}");
        let facts = live.backend.facts();
        assert_eq!((facts.modern, facts.legacy), (Speaks::Unknown, Speaks::Unknown));
        drop(facts);
        registry.stop_children().await;
    }

    #[tokio::test]
    async fn a_reload_keeps_processes_that_nothing_changes_for() {
        let (registry, live) = started(&[backend(settings(&[]))]);
        let command = live.reach_for_tests().command().expect("a command").clone();
        let session = open(&command).await;
        let pid = pid_of(&command, &session).await;
        let kept = CommandSettings { idle_stop: Duration::from_secs(7), ..settings(&[]) };
        registry.commit(&registry.prepare(&[backend(kept)]).expect("usable settings"));
        assert_eq!(pid_of(&command, &session).await, pid);
        assert_eq!(command.settings.load().idle_stop, Duration::from_secs(7));
        let other = CommandSettings { environment: vec![("A".into(), "b".into())], ..settings(&[]) };
        registry.commit(&registry.prepare(&[backend(other)]).expect("usable settings"));
        gone(pid).await;
        registry.stop_children().await;
    }

    #[test]
    fn a_backend_is_one_thing() {
        let refused = |settings: BackendSettings| {
            Registry::new().prepare(&[settings]).expect_err("unusable")[0].error.setting.clone()
        };
        let command = backend(settings(&[]));
        assert_eq!(refused(BackendSettings { protocol: Protocol::Sse, ..command.clone() }), Setting::Protocol);
        assert_eq!(refused(BackendSettings { command: None, ..command }), Setting::Endpoints);
        assert_eq!(refused(backend(CommandSettings::new(Vec::<String>::new()))), Setting::Command);
    }
}
