use super::*;
use crate::config::path::KeyPath;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

mod key;

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
        &["config", "show", "--token-file", "x"],
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
fn validate_and_run_tell_what_those_object_to_who_use_it() {
    let judge = |config: &Config| {
        let name = config.backends.keys().next().unwrap();
        vec![Objection::new(KeyPath::from(["backends", name.as_str(), "tls", "ca"]), "nobody trusts this")]
    };
    let hooks = Hooks { judge: Some(judge), run: Some(|_| panic!("must not start")), ..Hooks::default() };
    let path = example("legacy-backend.yaml");
    for arguments in [&["validate", &path][..], &["run", "--config", &path]] {
        let (exit, _, err) = lockgate_with(hooks, arguments);
        assert_eq!(exit, Exit::Failed);
        assert!(err.contains("error: nobody trusts this") && err.contains("backends.old.tls.ca"), "{err}");
        assert!(err.contains("| ") && err.contains("legacy-backend.yaml:"), "it is shown at its line: {err}");
    }
    assert_eq!(lockgate_with(hooks, &["config", "show", "--config", &path]).0, Exit::Ok, "what is shown is not used");
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
            assert_eq!(options.load(&|_| Vec::new()).unwrap().config, loaded.config, "it can be loaded again");
            Err("the port is taken".into())
        }),
        ..Hooks::default()
    };
    let arguments = ["run", "--config", &example("legacy-backend.yaml"), "--admin", "127.0.0.1:1", "--ephemeral-keys"];
    let (exit, _, err) = lockgate_with(hooks, &arguments);
    assert_eq!((exit, err.as_str()), (Exit::Failed, "error: the port is taken\n"));
}

#[test]
fn run_does_not_start_with_a_wrong_configuration() {
    let hooks = Hooks { run: Some(|_| panic!("must not start")), ..Hooks::default() };
    let (exit, _, err) = lockgate_with(hooks, &["run", "--backend", "a=ftp://b"]);
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("1 | --backend a=ftp://b"), "{err}");
}

#[test]
fn demo_serves_where_it_is_told() {
    let hooks = Hooks { demo: Some(|options| Err(options.listen.to_string().into())), ..Hooks::default() };
    assert_eq!(lockgate_with(hooks, &["demo"]).2, "error: 127.0.0.1:9000\n");
    assert_eq!(lockgate_with(hooks, &["demo", "--listen", "127.0.0.1:7"]).2, "error: 127.0.0.1:7\n");
}

#[test]
fn verbs_without_a_part_are_not_offered() {
    assert!(!lockgate(&["--help"]).1.contains("demo"));
    assert_eq!(lockgate(&["run"]).0, Exit::Usage);
    let hooks = Hooks { run: Some(|_| Ok(())), ..Hooks::default() };
    assert!(lockgate_with(hooks, &["--help"]).1.contains("run"));
    assert_eq!(lockgate_with(hooks, &["run"]).0, Exit::Ok);
}

/// Answers one request with this text and returns what was asked.
fn answer(text: impl Into<String>) -> (String, std::thread::JoinHandle<String>) {
    let text = text.into();
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

const STATE_TOKEN: Hooks = Hooks {
    run: None,
    stdio: None,
    demo: None,
    query: None,
    backends: None,
    servers: None,
    judge: None,
    admin_token: Some(|dir| Ok(std::fs::read_to_string(dir.join("admin-token")).ok())),
};

/// Asks a made-up gateway for what it serves, with a token in a state directory: exit, outputs, and what was asked.
fn show_running(text: &'static str, more: &[&str]) -> ((Exit, String, String), String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("admin-token"), "a-token-of-the-node").unwrap();
    let (url, thread) = answer(text);
    let state = folder.path().display().to_string();
    let arguments = [&["config", "show", "--running", &url, "--state-dir", &state], more].concat();
    let shown = lockgate_with(STATE_TOKEN, &arguments);
    (shown, thread.join().unwrap())
}

#[test]
fn config_show_asks_a_running_gateway() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 41\r\n\r\n# generation 7, loaded then\nlisteners: {}";
    let (shown, asked) = show_running(text, &[]);
    assert_eq!(shown, (Exit::Ok, "# generation 7, loaded then\nlisteners: {}\n".into(), String::new()));
    assert!(asked.starts_with("GET /config HTTP/1.1\r\nHost: 127.0.0.1:"), "{asked}");
    assert!(asked.contains("Authorization: Bearer a-token-of-the-node\r\nAccept: application/yaml\r\n"), "{asked}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a-token-of-a-file\n").unwrap();
    let file = file.path().display().to_string();
    let (_, asked) = show_running(text, &["--token-file", &file, "--format", "json"]);
    assert!(asked.contains("Bearer a-token-of-a-file\r\nAccept: application/json\r\n"), "{asked}");
}

#[test]
fn what_keeps_a_running_gateway_from_being_shown_is_told() {
    for (text, part) in [
        ("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}", "refuses the admin token (401)"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n{\"message\":\"see admin.allowed_hosts\"}", "403: see admin.allowed_hosts"),
        ("HTTP/1.1 404 Not Found\r\n\r\nnot here", "answers 404: that is no admin listener"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", "the answer breaks off"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "comes in pieces"),
        ("SSH-2.0-nonsense\r\n", "does not speak HTTP"),
        ("", "does not speak HTTP"),
    ] {
        let ((exit, out, err), _) = show_running(text, &[]);
        assert_eq!((exit, out.as_str()), (Exit::Failed, ""), "{text:?}");
        assert!(err.starts_with("error: 127.0.0.1:") && err.contains(part), "{text:?}: {err}");
    }
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().display().to_string();
    let (exit, _, err) =
        lockgate_with(STATE_TOKEN, &["config", "show", "--running", "127.0.0.1:1", "--state-dir", &state]);
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("the admin token is missing") && err.contains("--token-file"), "{err}");
    std::fs::write(folder.path().join("admin-token"), "x").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (_, _, err) = lockgate_with(STATE_TOKEN, &["config", "show", "--running", &address, "--state-dir", &state]);
    assert!(err.starts_with(&format!("error: no gateway answers at {address}")), "{err}");
}

/// Asks a made-up gateway with this verb: exit, outputs, and what was asked.
fn ask_running(verb: &str, body: &str, more: &[&str]) -> ((Exit, String, String), String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("admin-token"), "a-token-of-the-node").unwrap();
    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (url, thread) = answer(text);
    let state = folder.path().display().to_string();
    let arguments = [&[verb, "--admin", &url, "--state-dir", &state], more].concat();
    let shown = lockgate_with(STATE_TOKEN, &arguments);
    (shown, thread.join().unwrap())
}

#[test]
fn backends_are_shown() {
    let body = r#"{"generation":3,"backends":[
        {"name":"github","transport":"streamable_http","eras":["legacy","modern"],"revisions":["2026-07-28"],
         "endpoints":[{"url":"https://x/mcp","up":true}],"up":true,"servers":["default"],"items":{"tools":7},
         "offences":[{"kind":"tools","name":"a\u001b[2Jb","what":"its name holds control characters"}],"further_offences":2},
        {"name":"files","transport":"stdio","up":false,"last_error":"it ended: exit 3",
         "command":{"run":["npx","-y","x"],"instances":2,"instances_most":32}, "novel":1}]}"#;
    let ((exit, out, err), asked) = ask_running("backends", body, &[]);
    assert_eq!(exit, Exit::Ok);
    assert_eq!(
        out,
        "github\tstreamable_http\tlegacy, modern\t2026-07-28\tup\t7\t-\t-\thttps://x/mcp\tdefault\n\
         files\tstdio\t-\t-\tdown\t-\t-\t-\tnpx -y x (2 of 32)\t-\n"
    );
    assert_eq!(
        err,
        "github: tools `a [2Jb`: its name holds control characters\ngithub: 2 more like that\nfiles: it ended: exit 3\n"
    );
    assert!(asked.starts_with("GET /backends HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("Authorization: Bearer a-token-of-the-node\r\nAccept: application/json\r\n"), "{asked}");

    let ((exit, out, err), _) = ask_running("backends", body, &["--json"]);
    assert_eq!((exit, err.as_str()), (Exit::Ok, ""));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["generation"], &json["backends"][0]["items"]["tools"]), (&3.into(), &7.into()));
}

#[test]
fn virtual_servers_are_shown() {
    let body = r#"{"generation":3,"servers":[
        {"name":"default","urls":["http://127.0.0.1:8080/mcp"],"paths":[{"path":"/mcp","kind":"mcp"},{"path":"/mcp/a","kind":"view"}],
         "members":[{"backend":"a","standing":"fresh"},{"backend":"b","standing":"stale"}],"eras":["legacy"],"revisions":["2025-11-25"],
         "items":{"tools":2,"prompts":0},
         "clashes":[{"kind":"tools","exposed":"x","kept":{"backend":"a","original":"x"},"lost":{"backend":"b","original":"y"}}]}]}"#;
    let ((exit, out, err), asked) = ask_running("servers", body, &[]);
    assert_eq!(exit, Exit::Ok);
    assert_eq!(out, "default\thttp://127.0.0.1:8080/mcp\t/mcp, /mcp/a\ta, b (stale)\t2025-11-25\t2\t0\t-\n");
    assert_eq!(err, "default: tools `x` of backend `a` is shown, `y` of `b` is not: both would be called `x`\n");
    assert!(asked.starts_with("GET /servers HTTP/1.1\r\n"), "{asked}");
    let ((exit, _, err), _) = ask_running("servers", "nonsense", &[]);
    assert!(exit == Exit::Failed && err.starts_with("error: the gateway's answer is no JSON"), "{err}");
}

/// An endpoint that answers every question the same way.
fn tools(query: QueryRunner, arguments: &[&str]) -> (Exit, String, String) {
    let hooks = Hooks { query: Some(query), ..Hooks::default() };
    lockgate_with(hooks, &[&["tools"], arguments].concat())
}

#[test]
fn tools_are_listed() {
    let query: QueryRunner = |endpoint, query, time| {
        assert!(matches!(&endpoint.target, Target::There(url) if url.as_str() == "http://127.0.0.1:1/mcp"));
        assert_eq!((query, time.as_secs()), (Query::Tools, 300));
        Ok(
            serde_json::json!({ "tools": [{ "name": "a", "description": "Does\tit.\nAnd more." }, { "name": "b\u{7}" }] }),
        )
    };
    let (exit, out, err) = tools(query, &["list", "--url", "http://127.0.0.1:1/mcp"]);
    assert_eq!((exit, out.as_str(), err.as_str()), (Exit::Ok, "a\tDoes it.\nb \t-\n", ""));
    let (_, out, _) = tools(query, &["list", "--url", "http://127.0.0.1:1/mcp", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["tools"][0]["name"], "a");
    assert_eq!(tools(query, &["list", "--url", "http://x/", "--server", "default"]).0, Exit::Usage);
    assert_eq!(lockgate(&["tools", "list"]).0, Exit::Usage, "a build without that part");
}

#[test]
fn tools_are_called() {
    let query: QueryRunner = |_, query, time| {
        let Query::Call { name, arguments } = query else { panic!() };
        assert_eq!((name.as_str(), time.as_secs()), ("add", 2));
        assert_eq!(Value::from(arguments), serde_json::json!({ "a": 1, "b": "two" }));
        Ok(serde_json::json!({ "content": [{ "type": "text", "text": "three" }], "isError": true }))
    };
    let at = ["call", "add", "--url", "http://127.0.0.1:1/mcp", "--time", "2s"];
    let (exit, out, err) = tools(query, &[&at[..], &["--arg", "a=1", "--arg", "b=two"]].concat());
    assert_eq!((exit, out.as_str(), err.as_str()), (Exit::Failed, "three\n", ""));
    let (exit, out, _) = tools(query, &[&at[..], &["--arguments", r#"{"a":1,"b":"two"}"#, "--json"]].concat());
    assert!(exit == Exit::Failed && out.contains("\"isError\": true"), "{out}");
    assert_eq!(tools(query, &[&at[..], &["--arguments", "{}", "--arg", "a=1"]].concat()).0, Exit::Usage);
    let refuses: QueryRunner = |_, _, _| Err("there is no tool \u{1b}[2J (-32602)".into());
    let (exit, _, err) = tools(refuses, &at);
    assert_eq!((exit, err.as_str()), (Exit::Failed, "error: there is no tool  [2J (-32602)\n"));
    let asks: QueryRunner = |_, _, _| Ok(serde_json::json!({ "resultType": "input_required", "content": [] }));
    let (exit, _, err) = tools(asks, &at);
    assert_eq!(
        (exit, err.as_str()),
        (Exit::Failed, "error: the tool did not finish: its result is `input_required`\n")
    );
}

#[test]
fn a_gateway_is_started_where_none_runs() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().unwrap();
    drop(listener);
    let text = std::fs::read_to_string(example("quickstart.yaml")).unwrap();
    let (_folder, path) = file(&format!("{text}admin: {{ address: '{admin}' }}\n"));
    let backends: Survey = |start| {
        assert!(start.options.overrides.private && start.options.ephemeral_keys);
        assert_eq!(start.loaded.config.admin.address.socket().port(), 0);
        Ok(serde_json::json!({ "generation": 1, "backends": [{ "name": "demo", "up": true }] }))
    };
    let query: QueryRunner = |endpoint, _, _| {
        let Target::Within(start, server) = endpoint.target else { panic!() };
        assert_eq!((server.as_str(), start.loaded.config.log.level.as_str()), ("default", "warn"));
        Ok(serde_json::json!({ "tools": [] }))
    };
    let hooks = Hooks { backends: Some(backends), query: Some(query), ..Hooks::default() };
    let (exit, out, _) = lockgate_with(hooks, &["backends", "--config", &path]);
    assert!(exit == Exit::Ok && out.starts_with("demo\t\t-\t-\tup"), "{out}");
    let (exit, out, _) = lockgate_with(hooks, &["backends", "--backend", "a=http://b/mcp", "--json"]);
    assert!(exit == Exit::Ok && out.contains("\"demo\""), "{out}");
    assert_eq!(lockgate_with(hooks, &["tools", "list", "--config", &path]).0, Exit::Ok);
    let (exit, _, err) = lockgate_with(hooks, &["servers", "--config", &path]);
    assert_eq!((exit, err.as_str()), (Exit::Failed, "error: no gateway runs with this configuration\n"));
}
