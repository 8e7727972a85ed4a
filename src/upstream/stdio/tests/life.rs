//! How processes start and end, and what becomes of those who wait for them.

use super::*;

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
    assert_eq!(send(&command, post(tool_call("pid"), Some(&session), 0)).await.expect("an answer").status, 404);
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
            if let Ok(session) = open_as(&command, 0, json!({})).await {
                break session;
            }
            // It is left alone for a while, which nobody is told the end of.
            tokio::task::yield_now().await;
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
        let mut response = send(&command, post(tool_call("pid"), Some(&session), 1)).await.expect("an answer");
        let said = body(&mut response).await;
        said["result"]["pid"].as_i64().expect("a pid")
    };
    gone(pid).await;
    assert_eq!(send(&command, post(tool_call("pid"), Some(&session), 1)).await.expect("an answer").status, 404);
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
    let grandchild = read_pid(&file);
    assert!(is_alive(grandchild));
    // While it works it does not see its input end.
    let hanging = tokio::spawn({
        let (command, session) = (command.clone(), session.clone());
        async move { call(&command, &session, "hang").await }
    });
    begun(&command).await;
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
    let grandchild = read_pid(&file);
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
    let grandchild = read_pid(&file);
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
async fn a_retired_command_lets_calls_end() {
    let command = command(&settings(&[]));
    let session = open(&command).await;
    let pid = pid_of(&command, &session).await;
    let mut stream = send(&command, request(Verb::Get, Bytes::new(), Some(&session), 0)).await.expect("a stream");
    let mut asking = send(&command, post(tool_call("ask"), Some(&session), 0)).await.expect("an answer");
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
