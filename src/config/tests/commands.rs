//! Backends that are started by a command.

use super::*;
use crate::config::sections::Command;

/// Errors of `RIGHT` whose backend is this.
fn with_backend(backend: &str, expected: &[&str]) {
    expect("{ endpoints: [{ url: http://127.0.0.1:9000/mcp }] }", backend, "", expected);
}

fn command(text: &str) -> Command {
    let text = RIGHT.replace("{ endpoints: [{ url: http://127.0.0.1:9000/mcp }] }", text);
    let loaded = load_alone(&text).unwrap_or_else(|report| panic!("{report}"));
    loaded.config.backends["demo"].command.clone().unwrap()
}

#[test]
fn a_backend_is_reached_in_one_way() {
    with_backend("{ command: { run: [cat] } }", &[]);
    with_backend(
        "{}",
        &[
            "backends.demo.endpoints: `endpoints` is missing (add `endpoints: [{ url: http://127.0.0.1:9000/mcp }]`, or `command",
        ],
    );
    let both = "{ endpoints: [{ url: 'demo:' }], command: { run: [cat] } }";
    with_backend(
        both,
        &["backends.demo.command: a backend is reached at `endpoints` or started by `command`, not both"],
    );
    with_backend("{ command: {} }", &["backends.demo.command.run: `run` is missing"]);
    with_backend("{ command: { run: [''] } }", &["run[0]: the first word of a command is its program"]);
    with_backend("{ command: { run: ['npx -y x'] } }", &["run[0]: no shell takes a command apart"]);
    with_backend("{ command: { run: npx } }", &["command.run: expected a list, found a text"]);
    with_backend("{ command: { run: [cat, \"a\\0b\"] } }", &["run[1]: a word of a command has less than 128 KiB"]);
}

#[test]
fn what_a_command_has_no_use_for_is_told() {
    with_backend(
        "{ command: { run: [cat] }, tls: {}, headers: { x-a: b }, forward_headers: [x-b], protocol: sse }",
        &[
            "backends.demo.tls: `tls` is of no use to a command",
            "backends.demo.headers: `headers` is of no use to a command",
            "backends.demo.forward_headers: `forward_headers` is of no use to a command",
            "backends.demo.protocol: a command speaks on its standard input and output, not HTTP+SSE",
        ],
    );
    with_backend("{ command: { run: [cat] }, protocol: modern, timeouts: { total: 5m } }", &[]);
    with_backend(
        "{ endpoints: [{ url: 'demo:' }], protocol: sse }",
        &["backends.demo.protocol: HTTP+SSE is spoken over"],
    );
    with_backend("{ endpoints: [{ url: 'unix:///run/x.sock:/sse' }], protocol: sse }", &[]);
}

#[test]
fn the_bounds_of_a_command_have_ranges() {
    with_backend(
        "{ command: { run: [cat], instances: 0, open_files: 1, memory: 1MiB, idle_stop: 0s, stop_time: 1h,
            cpu_time: 1ms, restart: { first: 2m, most: 1m } } }",
        &[
            "backends.demo.command.instances: this must be from 1 to 10000",
            "backends.demo.command.open_files: this must be from 16 to",
            "backends.demo.command.memory: this must be from 16MiB to",
            "backends.demo.command.idle_stop: this must be from 1s to 1d",
            "backends.demo.command.stop_time: this must be from 1ms to 10m",
            "backends.demo.command.cpu_time: this must be from 1s to 365d",
            "backends.demo.command.restart.most: the longest wait must be at least the first",
        ],
    );
}

#[test]
fn paths_of_a_command_start_at_the_file() {
    let at = |text: &str| {
        let command = command(&format!("{{ command: {text} }}"));
        (command.run[0].clone(), command.directory.map(|path| path.display().to_string()))
    };
    assert_eq!(at("{ run: [npx] }"), ("npx".to_owned(), None));
    assert_eq!(
        at("{ run: [./server], directory: work }"),
        ("/etc/lockgate/server".into(), Some("/etc/lockgate/work".into()))
    );
    assert_eq!(at("{ run: [/bin/x, ./y] }").0, "/bin/x");
    with_backend("{ command: { run: [~/x] } }", &["run[0]: `~` does not stand for anything here"]);
}

#[test]
fn variables_of_a_command_are_secrets_that_may_be_empty() {
    let text = RIGHT.replace(
        "{ endpoints: [{ url: http://127.0.0.1:9000/mcp }] }",
        "{ command: { run: [cat, '${env:T}'], environment: { A: literal-secret, B: '', C: '${env:T}', X-1: y } } }",
    );
    let sources = FakeSources::default().with_env("T", "hidden-token");
    let loaded = load_with(&text, &sources).unwrap();
    let command = loaded.config.backends["demo"].command.as_ref().unwrap();
    let values: Vec<_> = command.environment.values().map(values::VariableValue::expose).collect();
    assert_eq!(values, ["literal-secret", "", "hidden-token", "y"]);
    let shown = format!("{:?} {}", loaded.config, loaded.effective.to_yaml());
    assert!(!loaded.effective.to_yaml().contains("hidden-token") && !shown.contains("literal-secret"), "{shown}");
    let other = load_with(&text.replace("literal-secret", "other-secret"), &sources).unwrap();
    let changes = diff(&loaded.effective, &other.effective);
    assert!(matches!(&changes[..], [Change::Changed { masked: true, .. }]), "{changes:?}");
    with_backend("{ command: { run: [cat], environment: { 'A=B': x } } }", &["the name of a variable is"]);
    with_backend("{ command: { run: [cat], environment: { A: 1 } } }", &["found a number: put it in quotes"]);
    let report = load_alone(&text.replace("X-1: y", "X-1: 'literal-two', 'Y=Z': ''")).unwrap_err().to_string();
    assert!(!report.contains("literal-"), "{report}");
}

#[test]
fn the_defaults_of_a_command_are_those_that_are_documented() {
    let command = command("{ command: { run: [cat] } }");
    let inherited: Vec<_> = command.inherit.iter().map(values::VariableName::as_str).collect();
    let documented = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "TERM"];
    assert_eq!(inherited, documented);
    assert_eq!((command.shared, command.instances, command.open_files), (false, 32, 1024));
    assert_eq!((command.memory.get(), command.cpu_time), (1 << 30, None));
    let times = [command.restart.first, command.restart.most, command.idle_stop, command.stop_time];
    assert_eq!(times.map(values::TimeSpan::as_millis), [500, 60_000, 600_000, 5_000]);
    assert!(command.environment.is_empty() && command.directory.is_none());
}
