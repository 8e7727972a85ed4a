//! What a process gets, and what makes it another one.

use super::*;

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
