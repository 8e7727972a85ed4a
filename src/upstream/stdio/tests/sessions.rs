//! Sessions and what is said in them.

use super::*;

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
    assert_eq!(send(&command, post(tool_call("pid"), Some(&sessions[0]), 0)).await.expect("an answer").status, 404);
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
    assert_eq!(send(&command, post(tool_call("pid"), Some(&first), 2)).await.expect("an answer").status, 404);
    command.stop_all().await;
}

#[tokio::test]
async fn a_shared_process_is_offered_nothing_and_asks_nobody() {
    let command = command(&CommandSettings { shared: true, ..settings(&[]) });
    let [one, two] = [open(&command).await, open_as(&command, 5, json!({"sampling": {}})).await.expect("a session")];
    let said = call(&command, &one, "pid").await.expect("an answer");
    assert_eq!(said["sampling"], "no");
    let mut other = send(&command, post(tool_call("pid"), Some(&two), 5)).await.expect("an answer");
    let other = body(&mut other).await;
    assert_eq!(other["result"]["pid"], said["pid"]);
    assert_eq!(call(&command, &one, "ask").await.expect("an answer"), json!({"sampled": false}));
    assert_eq!(command.counters().refused(), 1);
    command.stop_all().await;
}

#[tokio::test]
async fn a_client_is_asked_on_its_own_stream() {
    let command = command(&settings(&[]));
    let session = open(&command).await;
    let mut response = send(&command, post(tool_call("ask"), Some(&session), 0)).await.expect("an answer");
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
async fn the_modern_era_has_one_process_for_all() {
    let command = command(&settings(&["modern"]));
    let modern = |name: &str| {
        json!({"jsonrpc": "2.0", "id": "call", "method": "tools/call", "params": {"name": name, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}})
    };
    let mut pids = Vec::new();
    for principal in [1, 2] {
        let mut response = send(&command, post(modern("pid"), None, principal)).await.expect("an answer");
        let said = body(&mut response).await;
        pids.push(said["result"]["pid"].as_i64().expect("a pid"));
    }
    assert_eq!(pids[0], pids[1]);
    let hanging = tokio::spawn({
        let (command, hang) = (command.clone(), post(modern("hang"), None, 1));
        async move { command.send(&hang, &Timeouts::default()).await }
    });
    begun(&command).await;
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
async fn noise_costs_nobody_an_answer() {
    let command = command(&settings(&[]));
    let session = open(&command).await;
    // Beside another request, or the long line would be taken for the answer.
    let other = tokio::spawn({
        let (command, session) = (command.clone(), session.clone());
        async move { call(&command, &session, "hang").await }
    });
    begun(&command).await;
    assert_eq!(call(&command, &session, "noise").await.expect("an answer"), json!({}));
    pid_of(&command, &session).await;
    assert_eq!(command.counters().dropped(), 4, "a banner, no text, a long line, an answer that was one too many");
    other.abort();
    let fault = call(&command, &session, "noise").await.expect_err("its answer may have been the long line");
    assert_eq!(fault.kind, FaultKind::TooLong);
    command.stop_all().await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_answered_like_an_http_server_does() {
    let command = command(&settings(&[]));
    let unknown = send(&command, post(tool_call("pid"), Some("nobody"), 0)).await.expect("an answer");
    assert_eq!(unknown.status, 404);
    for body in [tool_call("pid"), json!([tool_call("pid")]), json!("x")] {
        assert_eq!(send(&command, post(body, None, 0)).await.expect("an answer").status, 400);
    }
    assert_eq!(command.counters().starts(), 0, "nothing was started for it");
}
