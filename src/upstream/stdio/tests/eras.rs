//! What the registry finds out of commands.

use super::*;
use crate::upstream::settings::BackendSettings;
use crate::upstream::testing::{backend_run, set, started};
use crate::upstream::{Protocol, Registry};
use lockgate_filters::backend::Speaks;

fn backend(command: CommandSettings) -> BackendSettings {
    backend_run("demo", command)
}

#[tokio::test]
async fn what_a_command_speaks_is_found_out() {
    for (kind, shared, modern, legacy) in [
        ("legacy", false, Speaks::No, Speaks::Yes),
        ("leaves", false, Speaks::No, Speaks::Yes),
        ("mute", false, Speaks::No, Speaks::Yes),
        ("modern", false, Speaks::Yes, Speaks::No),
        ("modern", true, Speaks::Yes, Speaks::No),
    ] {
        let (registry, live) = started(backend(CommandSettings { shared, ..settings(&[kind]) }));
        live.ensure_eras(PATIENT).await.expect("known");
        let facts = live.backend.facts();
        assert_eq!((facts.modern, facts.legacy), (modern, legacy), "{kind}, {shared}");
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
    let (registry, live) = started(backend(settings(&["refuse"])));
    let refusal = live.ensure_eras(PATIENT).await.expect_err("down");
    assert!(refusal.message.starts_with("backend \"demo\": its process ended (exit status: 3)"), "{refusal:?}");
    let facts = live.backend.facts();
    assert_eq!((facts.modern, facts.legacy), (Speaks::Unknown, Speaks::Unknown));
    drop(facts);
    registry.stop_children().await;
}

#[tokio::test]
async fn a_reload_keeps_processes_that_nothing_changes_for() {
    let (registry, live) = started(backend(settings(&[])));
    let command = live.reach_for_tests().command().expect("a command").clone();
    let session = open(&command).await;
    let pid = pid_of(&command, &session).await;
    let kept = CommandSettings { idle_stop: Duration::from_secs(7), ..settings(&[]) };
    set(&registry, &[backend(kept)]);
    assert_eq!(pid_of(&command, &session).await, pid);
    assert_eq!(command.settings.load().idle_stop, Duration::from_secs(7));
    let other = CommandSettings { environment: vec![("A".into(), "b".into())], ..settings(&[]) };
    set(&registry, &[backend(other)]);
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
