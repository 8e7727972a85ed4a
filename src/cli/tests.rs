use super::*;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

/// The exit and the two outputs of a command line.
fn lockgate_with(hooks: Hooks, arguments: &[&str]) -> (Exit, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = std::iter::once("lockgate").chain(arguments.iter().copied()).map(OsString::from);
    let exit = execute(arguments, hooks, &mut Terminal::plain(&mut out, &mut err));
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn lockgate(arguments: &[&str]) -> (Exit, String, String) {
    lockgate_with(Hooks::default(), arguments)
}

fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name).display().to_string()
}

/// A folder with a file of this content, and the file's path.
fn file(content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lockgate.yaml");
    std::fs::write(&path, content).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for arguments in [
        &["nonsense"][..],
        &["validate"],
        &["run", "--backend", "nonsense"],
        &["run", "--config", "a", "--mcp-json", "b"],
        &["config", "show", "--config", "a", "--backend", "a=http://b"],
        &["healthcheck", "--url", "https://localhost/"],
    ] {
        let (exit, out, err) = lockgate(arguments);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{arguments:?}");
        assert!(!err.is_empty());
    }
    assert_eq!(lockgate(&["--help"]).0, Exit::Ok);
    assert_eq!(ExitCode::from(Exit::Usage), ExitCode::from(2));
}

#[test]
fn validate_shows_every_mistake_and_fails() {
    let (_folder, path) = file("listeners: {}\nnonsense: 1\n");
    let (exit, out, err) = lockgate(&["validate", &path]);
    assert_eq!((exit, out.as_str()), (Exit::Failed, ""));
    assert!(err.contains("2 | nonsense: 1") && err.contains("is not valid: 4 errors"), "{err}");

    let (exit, out, err) = lockgate(&["validate", &path, "--format", "json"]);
    assert_eq!((exit, err.as_str()), (Exit::Failed, ""));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["valid"], false);
    assert_eq!(json["findings"].as_array().unwrap().len(), 4);
}

#[test]
fn validate_says_what_a_right_configuration_serves() {
    let (exit, out, err) = lockgate(&["validate", &example("two-listeners.yaml")]);
    assert_eq!((exit, err.as_str()), (Exit::Ok, ""));
    let lines: Vec<&str> = out.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "docs\thttp://gw.example.com:8080/mcp/docs\tdocs",
            "docs\thttp://127.0.0.1:8081/mcp/docs\tdocs",
            "deploy\thttp://127.0.0.1:8081/mcp/deploy\tdeploy"
        ]
    );
}

#[test]
fn config_show_prints_what_is_in_effect() {
    let (exit, out, _) = lockgate(&["config", "show", "--listen", "127.0.0.1:1234"]);
    assert_eq!(exit, Exit::Ok);
    assert!(out.contains("address: 127.0.0.1:1234") && out.contains("url: 'demo:'"), "{out}");
    let (exit, out, _) = lockgate(&["config", "show", "--backend", "a=http://b/mcp?key=hidden", "--format", "json"]);
    assert_eq!(exit, Exit::Ok);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["backends"]["a"]["endpoints"][0]["url"], "********");
    assert_eq!(lockgate(&["config", "show", "--config", "/nowhere/x.yaml"]).0, Exit::Failed);
}

#[test]
fn config_schema_prints_the_schema() {
    let (exit, out, _) = lockgate(&["config", "schema"]);
    assert_eq!(exit, Exit::Ok);
    assert_eq!(out, crate::config::schema::schema_text());
}

#[test]
fn config_diff_tells_changes_like_diff() {
    let (quickstart, legacy) = (example("quickstart.yaml"), example("legacy-backend.yaml"));
    let (exit, out, _) = lockgate(&["config", "diff", &quickstart, &quickstart]);
    assert_eq!((exit, out.as_str()), (Exit::Ok, ""));
    let (exit, out, _) = lockgate(&["config", "diff", &quickstart, &legacy]);
    assert_eq!(exit, Exit::Failed);
    assert!(out.contains("+ backends.old.protocol: \"legacy\"\n"), "{out}");
    assert!(out.contains("- backends.demo.protocol: \"auto\"\n"), "{out}");
    assert!(out.contains("~ virtual_servers.default.backends[0]: \"demo\" -> \"old\"\n"), "{out}");
    let (_, out, _) = lockgate(&["config", "diff", &quickstart, &legacy, "--format", "json"]);
    assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap().as_array().is_some_and(|list| list.len() > 3));
    assert_eq!(lockgate(&["config", "diff", &quickstart, "/nowhere/x.yaml"]).0, Exit::Failed);
}

#[test]
fn version_and_completions_are_printed() {
    let (exit, out, _) = lockgate(&["version"]);
    assert_eq!(exit, Exit::Ok);
    assert!(out.starts_with(&format!("lockgate {}\ncommit: ", env!("CARGO_PKG_VERSION"))), "{out}");
    for shell in ["bash", "zsh", "fish"] {
        let (exit, out, _) = lockgate(&["completions", shell]);
        assert_eq!(exit, Exit::Ok);
        assert!(out.contains("lockgate"), "{out}");
    }
}

#[test]
fn run_hands_the_configuration_to_the_server() {
    let hooks = Hooks {
        run: Some(|start| {
            let Start { options, loaded } = start;
            assert!(options.ephemeral_keys);
            assert_eq!(options.source.file().map(|path| path.ends_with("legacy-backend.yaml")), Some(true));
            assert_eq!(loaded.config.admin.address.to_string(), "127.0.0.1:1");
            assert_eq!(options.load().unwrap().config, loaded.config, "it can be loaded again");
            Err("the port is taken".into())
        }),
        demo: None,
    };
    let arguments = ["run", "--config", &example("legacy-backend.yaml"), "--admin", "127.0.0.1:1", "--ephemeral-keys"];
    let (exit, _, err) = lockgate_with(hooks, &arguments);
    assert_eq!((exit, err.as_str()), (Exit::Failed, "error: the port is taken\n"));
}

#[test]
fn run_does_not_start_with_a_wrong_configuration() {
    let hooks = Hooks { run: Some(|_| panic!("must not start")), demo: None };
    let (exit, _, err) = lockgate_with(hooks, &["run", "--backend", "a=ftp://b"]);
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("1 | --backend a=ftp://b"), "{err}");
}

#[test]
fn demo_serves_where_it_is_told() {
    let hooks = Hooks { run: None, demo: Some(|options| Err(options.listen.to_string().into())) };
    assert_eq!(lockgate_with(hooks, &["demo"]).2, "error: 127.0.0.1:9000\n");
    assert_eq!(lockgate_with(hooks, &["demo", "--listen", "127.0.0.1:7"]).2, "error: 127.0.0.1:7\n");
}

#[test]
fn verbs_without_a_part_are_not_offered() {
    assert!(!lockgate(&["--help"]).1.contains("demo"));
    assert_eq!(lockgate(&["run"]).0, Exit::Usage);
    let hooks = Hooks { run: Some(|_| Ok(())), demo: None };
    assert!(lockgate_with(hooks, &["--help"]).1.contains("run"));
    assert_eq!(lockgate_with(hooks, &["run"]).0, Exit::Ok);
}

/// Answers one request with this text and returns what was asked.
fn answer(text: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/readyz", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        stream.write_all(text.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, thread)
}

#[test]
fn healthcheck_asks_and_tells() {
    for (text, exit) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Exit::Ok),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Exit::Failed),
        ("SSH-2.0-nonsense\r\n", Exit::Failed),
        ("", Exit::Failed),
    ] {
        let (url, thread) = answer(text);
        assert_eq!(lockgate(&["healthcheck", "--url", &url]).0, exit, "{text:?}");
        assert!(thread.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"));
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(lockgate(&["healthcheck", "--url", &url]).0, Exit::Failed);
}
