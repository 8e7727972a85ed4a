//! The command line beside a running gateway: what it serves, and whether a file would be served.

use lockgate_e2e::gateway::{TOKEN, config, config_with};
use lockgate_e2e::process::Process;
use lockgate_e2e::wait::{PATIENCE, free_port};
use lockgate_e2e::{Fixture, Gateway, Mcp, paths};
use serde_json::{Value, json};
use std::process::Command;

/// Runs the binary to its end: whether it succeeded, and both its outputs.
async fn lockgate(arguments: &[&str], token: Option<&str>) -> (bool, String, String) {
    let mut command = Command::new(paths::lockgate());
    command.args(arguments).env_remove("LOCKGATE_ADMIN_TOKEN");
    if let Some(token) = token {
        command.env("LOCKGATE_ADMIN_TOKEN", token);
    }
    tokio::task::spawn_blocking(move || {
        let output = command.output().expect("the binary");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.success(), text(output.stdout), text(output.stderr))
    })
    .await
    .expect("no panic")
}

#[tokio::test]
async fn config_show_tells_what_a_running_gateway_serves() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let file = gateway.file().display().to_string();
    let running = ["config", "show", "--config", &file, "--running"];
    let (good, shown, _) = lockgate(&running, None).await;
    assert!(good && shown.starts_with("# generation 1, loaded 20"), "{shown}");
    assert!(shown.contains("keep_alive: 15s") && !shown.contains(TOKEN), "{shown}");

    // What the file says now is not what is served, until it is reloaded.
    let changed = config(fixture.url()) + "streams: { keep_alive: 14s }\n";
    gateway.write(&changed);
    assert_eq!(gateway.reload().await.0, 200);
    let (_, shown, _) = lockgate(&running, None).await;
    assert!(shown.starts_with("# generation 2, loaded 20") && shown.contains("keep_alive: 14s"), "{shown}");
    let first_line = shown.lines().next().map(str::to_owned);
    assert_eq!(gateway.reload().await.0, 200);
    let (_, again, _) = lockgate(&running, None).await;
    assert_eq!(again.lines().next().map(str::to_owned), first_line, "nothing changed");
    gateway.write("nonsense: 1\n");
    let address = gateway.admin("");
    let named = ["config", "show", "--running", &address, "--format", "json"];
    let (good, shown, errors) = lockgate(&named, Some(TOKEN)).await;
    let json: Value = serde_json::from_str(&shown).expect("JSON");
    assert!(good && errors.is_empty(), "the broken file is not needed: {errors}");
    assert_eq!((&json["generation"], &json["config"]["streams"]["keep_alive"]), (&json!(2), &json!("14s")));
    assert!(json["loaded"].as_str().is_some_and(|time| time.ends_with('Z')));

    let (good, shown, errors) = lockgate(&named, Some("the-token-of-somebody-else")).await;
    assert!(!good && shown.is_empty() && errors.contains("refuses the admin token (401)"), "{errors}");
    let address = gateway.admin("").replace("http://", "");
    drop(gateway);
    let (good, _, errors) = lockgate(&["config", "show", "--running", &address], Some(TOKEN)).await;
    assert!(!good && errors.contains(&format!("no gateway answers at {address}")), "{errors}");
}

/// What a running gateway knows of its parts, and what its tools do, without a client.
#[tokio::test]
async fn backends_servers_and_tools_of_a_running_gateway() {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let file = gateway.file().display().to_string();
    let (good, shown, errors) = lockgate(&["tools", "list", "--config", &file], None).await;
    assert!(good && shown.lines().any(|line| line.starts_with("test_echo\t")), "{shown}{errors}");
    let call = ["tools", "call", "test_echo", "--arg", "text=hi", "--url", &gateway.mcp()];
    let (good, shown, errors) = lockgate(&call, None).await;
    assert_eq!((good, shown.as_str(), errors.as_str()), (true, "hi\n", ""));
    let (good, _, errors) = lockgate(&["tools", "call", "no_such_tool", "--config", &file], None).await;
    assert!(!good && errors.starts_with("error: "), "{errors}");

    let (good, shown, errors) = lockgate(&["backends", "--config", &file], None).await;
    let cells: Vec<&str> = shown.trim_end().split('\t').collect();
    assert!(good && errors.is_empty(), "{errors}");
    assert_eq!((cells[0], cells[1], cells[4], cells[9]), ("backend", "streamable_http", "up", "default"), "{shown}");
    let admin = gateway.admin("");
    let (good, shown, _) = lockgate(&["servers", "--admin", &admin, "--json"], Some(TOKEN)).await;
    let told: Value = serde_json::from_str(&shown).expect("JSON");
    let server = &told["servers"][0];
    assert!(good && server["direct"] == true && server["urls"] == json!([gateway.mcp()]), "{shown}");
    assert_eq!(server["paths"][1]["path"], "/servers/default/mcp");
}

/// Where no gateway runs with a configuration, one is started for as long as the answer takes.
#[tokio::test]
async fn a_gateway_is_started_for_one_question() {
    let fixture = Fixture::start("conformant");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lockgate.yaml");
    let (port, admin, gone) = (free_port(), free_port(), free_port());
    let text = config(fixture.url()).replace("@PORT@", &port.to_string()).replace("@ADMIN@", &admin.to_string());
    let text = text.replace("@FOLDER@", &folder.path().display().to_string());
    let more = format!("backends:\n  gone: {{ endpoints: [{{ url: http://127.0.0.1:{gone}/mcp }}] }}\n");
    let text = text.replace("backends:\n  ", &format!("{more}  ")).replace("[backend]", "[backend, gone]");
    std::fs::write(&file, text).expect("a file");
    let file = file.display().to_string();
    let call = ["tools", "call", "backend__test_echo", "--arguments", r#"{"text":"hi"}"#, "--config", &file];
    let (good, shown, errors) = lockgate(&call, None).await;
    assert!(good && shown == "hi\n", "{shown}{errors}");
    let (good, shown, errors) = lockgate(&["servers", "--config", &file], None).await;
    assert!(good && shown.contains("\tbackend, gone (missing)\t"), "{shown}{errors}");
    let (good, shown, errors) = lockgate(&["backends", "--config", &file], None).await;
    assert!(
        good && shown.lines().count() == 2 && errors.contains("gone: no connection could be made"),
        "{shown}{errors}"
    );
}

/// A token that is changed or taken away counts from the reload on; the node's own takes the place of none.
#[tokio::test]
async fn the_admin_token_follows_a_reload() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let http = lockgate_e2e::mcp::client();
    let status = async |token: &str| {
        http.get(gateway.admin("/config")).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let newer = "another-admin-token-for-tests";
    gateway.write(&config(fixture.url()).replace(TOKEN, newer));
    let (_, answer) = gateway.reload().await;
    assert_eq!(answer["needs_restart"], json!([]), "{answer}");
    assert_eq!((status(TOKEN).await, status(newer).await), (401, 200));

    gateway.write(&config(fixture.url()).replace(&format!("  token: {TOKEN}\n"), ""));
    let answer = http.post(gateway.admin("/reload")).bearer_auth(newer).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["outcome"], &answer["needs_restart"]), (&json!("applied"), &json!([])), "{answer}");
    let own = std::fs::read_to_string(gateway.folder().join("state/admin-token")).unwrap();
    assert_eq!((status(newer).await, status(own.trim()).await), (401, 200));
    // The command line finds it as well.
    let file = gateway.file().display().to_string();
    let (good, shown, errors) = lockgate(&["config", "show", "--running", "--config", &file], None).await;
    assert!(good && shown.starts_with("# generation 3"), "{shown}{errors}");
}

/// The first backend that is the built-in demo may come with a reload.
#[tokio::test]
async fn a_reload_brings_the_demo_server() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    for _ in 0..2 {
        gateway.write(&config("'demo:'"));
        let (status, answer) = gateway.reload().await;
        assert_eq!((status, &answer["needs_restart"]), (200, &json!([])), "{answer}");
        let client = Mcp::modern(&gateway.mcp());
        assert_eq!(client.tool("calculate", json!({"expression": "6*7"})).await.status, 200);
        gateway.write(&config(fixture.url()));
        assert_eq!(gateway.reload().await.0, 200);
    }
}

/// `User-Agent` is the gateway's own, unless a backend asks for the client's.
#[tokio::test]
async fn the_clients_user_agent_passes_where_it_is_listed() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::modern(&gateway.mcp());
    let sent = async |mark: &str| {
        let body = client.body("tools/call", json!({"name": "echo", "arguments": {"mark": mark}}));
        assert_eq!(client.post(&body).header("user-agent", "an-agent/7").send().await.unwrap().status(), 200);
        let journal = fixture.journal().await;
        let request = journal.iter().find(|request| request.contains(mark)).expect("the request");
        let fields = request.headers.iter().filter(|(name, _)| name == "user-agent");
        fields.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let own = sent("first").await;
    assert!(own.len() == 1 && own[0].starts_with("lockgate/"), "{own:?}");
    gateway.write(&config_with(fixture.url(), "    forward_headers: [user-agent]\n", ""));
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(sent("second").await, ["an-agent/7"]);
}

/// What would not start does not validate, and neither is it taken on a reload: each says where.
#[tokio::test]
async fn what_would_not_start_does_not_validate() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let weak = format!("tickets:\n  keys:\n    - {{ id: k1, secret: \"{}\" }}\n", "5a".repeat(32));
    gateway.write(&(config(fixture.url()) + &weak));
    let file = gateway.file().display().to_string();
    let text = std::fs::read_to_string(gateway.file()).unwrap();
    let line = text.lines().position(|line| line.contains("id: k1")).unwrap() + 1;
    let (good, _, errors) = lockgate(&["validate", &file], None).await;
    assert!(!good && errors.contains(&format!("lockgate.yaml:{line}:")), "{errors}");
    assert!(errors.contains("tickets.keys[0].secret") && !errors.contains("5a5a"), "{errors}");
    let (status, answer) = gateway.reload().await;
    assert_eq!((status, &answer["diagnostics"][0]["line"]), (422, &json!(line)), "{answer}");

    let mut command = Command::new(paths::lockgate());
    command.args(["run", "--config", &file]);
    let process = Process::start("lockgate", &mut command);
    let (status, _) = tokio::task::spawn_blocking(move || process.finish(PATIENCE)).await.unwrap();
    assert!(!status.success());
}
