//! Many real servers as one, by every transport, for the official clients.

use lockgate_e2e::everything::{everything, npm, python};
use lockgate_e2e::gateway::federation;
use lockgate_e2e::{Client, Everything, Fixture, Gateway};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use tokio::runtime::Handle;

/// Lets the client take its tour, during which the backend `leaves` is taken out and put back by reloads.
async fn tour(client: Client, gateway: Gateway, whole: &str, without: &str, plan: Value) -> Value {
    let url = gateway.mcp();
    let (whole, without) = (whole.to_owned(), without.to_owned());
    let runtime = Handle::current();
    let toured = tokio::task::spawn_blocking(move || {
        let outcome = client.federation(&url, &plan, |what| {
            gateway.write(if what == "leave" { &without } else { &whole });
            let (status, answer) = runtime.block_on(gateway.reload());
            assert_eq!(status, 200, "{answer}");
        });
        (outcome, gateway.log())
    });
    let (outcome, log) = toured.await.expect("a tour");
    println!("federation {}", outcome.summary);
    assert!(outcome.passed, "{client:?} {:#}\n{log}", outcome.summary);
    outcome.summary["seen"].clone()
}

/// A git repository with one commit.
fn repository(folder: &Path) {
    std::fs::write(folder.join("read.me"), "a file under version control\n").expect("writing");
    for arguments in [
        &["init", "--quiet", "--initial-branch", "main"][..],
        &["add", "."],
        &["-c", "user.name=e2e", "-c", "user.email=e2e@example.com", "commit", "--quiet", "-m", "The first commit"],
    ] {
        let status = Command::new("git").current_dir(folder).args(arguments).status().expect("git");
        assert!(status.success(), "git {arguments:?}");
    }
}

/// Seven real servers of every transport, and what there is to see of them.
struct Legacy {
    folder: TempDir,
    web: Everything,
    old: Everything,
}

impl Legacy {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["files", "git"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        std::fs::write(folder.path().join("files/note.txt"), "what the note says").expect("writing");
        repository(&folder.path().join("git"));
        let (web, old) = tokio::join!(Everything::start(), Everything::start_sse());
        Self { folder, web, old }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn config(&self, also_memory: bool) -> String {
        let package = |name: &str| format!("@modelcontextprotocol/server-{name}/dist/index.js");
        let url = |server: &Everything| format!("    endpoints: [{{ url: \"{}\" }}]\n", server.url());
        let mut backends = vec![
            ("web", format!("  web:\n{}", url(&self.web))),
            ("child", everything("child")),
            ("old", format!("  old:\n    protocol: sse\n{}", url(&self.old))),
            ("files", npm("files", &package("filesystem"), &[&self.path("files")])),
            ("time", python("time", "mcp_server_time", &["--local-timezone", "Europe/Paris"])),
            ("git", python("git", "mcp_server_git", &["--repository", &self.path("git")])),
        ];
        if also_memory {
            backends.push(("memory", npm("memory", &package("memory"), &[])));
        }
        federation(&backends, "", "")
    }

    fn plan(&self) -> Value {
        let ask = |server: &str| {
            let sampled =
                json!([format!("{server}__trigger-sampling-request"), {"prompt": "Say", "maxTokens": 9}, "sampled"]);
            [sampled, json!([format!("{server}__trigger-elicitation-request"), {}, "Ada"])]
        };
        let asking = [ask("web"), ask("child"), ask("old")].concat();
        let uri = "old+demo://resource/dynamic/text/1";
        let reference = json!({"type": "ref/prompt", "name": "child__completable-prompt"});
        json!({
            "prefixes": ["web", "child", "old", "files", "memory", "time", "git"],
            "least": 50,
            "calls": [
                ["web__echo", {"message": "h\u{fc}llo"}, "h\u{fc}llo"],
                ["child__get-sum", {"a": 2, "b": 40}, "42"],
                ["old__echo", {"message": "from long ago"}, "from long ago"],
                ["files__read_text_file", {"path": self.path("files/note.txt")}, "what the note says"],
                ["memory__read_graph", {}, "entities"],
                ["time__get_current_time", {"timezone": "UTC"}, "UTC"],
                ["git__git_log", {"repo_path": self.path("git")}, "The first commit"],
            ],
            "asking": asking,
            "resource": uri,
            "prompt": {"name": "old__args-prompt", "arguments": {"city": "Paris"}},
            "completion": {"ref": reference, "argument": {"name": "department", "value": "E"}},
            "watch": [uri, "old__toggle-subscriber-updates", {}],
            "progress": ["child__trigger-long-running-operation", {"duration": 0.4, "steps": 4}, 4],
            "cancel": ["web__trigger-long-running-operation", {"duration": 60, "steps": 4}],
            "leaves": "memory",
        })
    }
}

async fn legacy(client: Client) {
    let servers = Legacy::start().await;
    let (whole, without) = (servers.config(true), servers.config(false));
    let gateway = Gateway::start(&whole).await;
    gateway.settled().await;
    let seen = tour(client, gateway, &whole, &without, servers.plan()).await;
    assert_eq!((&seen["connect"]["era"], &seen["connect"]["server"]), (&json!("legacy"), &json!("lockgate")), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v1() {
    legacy(Client::TypescriptV1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v2() {
    legacy(Client::TypescriptV2Legacy).await;
}

/// A client that prefers the modern era settles on the one that all backends speak.
#[tokio::test(flavor = "multi_thread")]
async fn python_2() {
    legacy(Client::Python2Auto).await;
}

/// Where every backend speaks the modern era, so does the gateway.
async fn modern(client: Client) {
    let folder = tempfile::tempdir().expect("a folder");
    repository(folder.path());
    let repository = folder.path().display().to_string();
    let (one, two) = (Fixture::start("conformant"), Fixture::start("modern"));
    let url = |name: &str, fixture: &Fixture| format!("  {name}:\n    endpoints: [{{ url: \"{}\" }}]\n", fixture.url());
    let mut backends = vec![
        ("one", url("one", &one)),
        ("git", python("git", "mcp_server_git", &["--repository", &repository])),
        ("time", python("time", "mcp_server_time", &[])),
    ];
    let without = federation(&backends, "", "");
    backends.push(("two", url("two", &two)));
    let whole = federation(&backends, "", "");
    let ask = |tool: &str| json!([tool, {}, "Ada"]);
    let plan = json!({
        "prefixes": ["one", "git", "time", "two"],
        "least": 50,
        "calls": [
            ["one__test_echo", {"text": "h\u{fc}llo"}, "h\u{fc}llo"],
            ["two__test_simple_text", {}, "simple text response"],
            ["time__get_current_time", {"timezone": "UTC"}, "UTC"],
            ["git__git_log", {"repo_path": repository}, "The first commit"],
        ],
        "asking": [ask("one__test_input_required_result_elicitation"), ask("two__test_input_required_result_elicitation")],
        "resource": "one+test://template/7/data",
        "prompt": {"name": "one__test_prompt_with_arguments", "arguments": {"arg1": "a", "arg2": "b"}},
        "completion": {"ref": {"type": "ref/prompt", "name": "one__test_prompt_with_arguments"}, "argument": {"name": "arg1", "value": "x-"}},
        "watch": ["one+test://watched-resource", "one__test_trigger_resource_change", {}],
        "progress": ["two__test_tool_with_progress", {}, 3],
        "cancel": ["one__test_wait", {"milliseconds": 30_000}],
        "leaves": "two",
    });
    let gateway = Gateway::start(&whole).await;
    gateway.settled().await;
    let seen = tour(client, gateway, &whole, &without, plan).await;
    assert_eq!(seen["connect"]["era"], "modern", "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v2_over_modern_servers() {
    modern(Client::TypescriptV2Auto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_2_over_modern_servers() {
    modern(Client::Python2Auto).await;
}
