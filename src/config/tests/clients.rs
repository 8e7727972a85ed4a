//! The files of MCP clients.

use super::*;
use std::path::PathBuf;

fn load_json(text: &str) -> Result<Loaded, Vec<String>> {
    let sources = FakeSources::default()
        .with_file("/home/ada/mcp.json", text)
        .with_env("TOKEN", "hidden-token")
        .with_env("HOME", "/home/ada");
    let source = ConfigSource::McpJson(PathBuf::from("/home/ada/mcp.json"));
    load(&source, &Overrides::default(), &sources).map_err(|report| findings(&report))
}

fn urls(loaded: &Loaded) -> Vec<String> {
    let servers = loaded.config.virtual_servers.iter();
    servers
        .map(|(name, server)| {
            let urls = server.backends.iter().map(|member| {
                format!("{} {}", member.backend, loaded.config.backends[&member.backend].endpoints[0].url)
            });
            format!("{name} {} {}", server.path, urls.collect::<Vec<_>>().join(", "))
        })
        .collect()
}

#[test]
fn every_client_is_understood() {
    for text in [
        r#"{"mcpServers": {"github": {"type": "http", "url": "https://x/mcp"}}}"#,
        r#"{"mcpServers": {"github": {"url": "https://x/mcp", "alwaysAllow": [], "timeout": 60}}}"#,
        r#"{"mcpServers": {"github": {"serverUrl": "https://x/mcp"}}}"#,
        r#"{"mcpServers": {"github": {"httpUrl": "https://x/mcp", "trust": true}}, "theme": "dark"}"#,
        r#"{"servers": {"github": {"type": "http", "url": "https://x/mcp"}}, "inputs": []}"#,
        r#"{"mcpServers": {"GitHub": {"type": "streamable-http", "url": "https://x/mcp"}}}"#,
        "{\n\t// VS Code\n\t\"servers\": {\n\t\t\"github\": { /* it */ \"url\": \"https://x/mcp\", },\n\t},\n}\n",
    ] {
        let loaded = load_json(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
        assert_eq!(urls(&loaded), ["default /mcp github https://x/mcp"], "{text}");
    }
}

#[test]
fn several_servers_become_one_with_a_view_of_each() {
    let text = r#"{"mcpServers": {"One": {"url": "http://a/mcp"}, "my_two": {"url": "http://b/mcp"},
        "off": {"command": "x", "disabled": true}}}"#;
    let loaded = load_json(text).unwrap();
    assert_eq!(urls(&loaded), ["default /mcp one http://a/mcp, my-two http://b/mcp"]);
    let default: &str = "default";
    let (name, server) = loaded.config.virtual_servers.get_key_value(default).unwrap();
    let routes: Vec<String> = server.routes(name).iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(routes, ["/mcp", "/servers/default/mcp", "/mcp/one", "/mcp/my-two"]);
}

#[test]
fn commands_are_started_and_the_old_transport_is_spoken() {
    let text = r#"{"mcpServers": {
  "files": {"command": "npx", "args": ["-y", "server-filesystem", "${HOME}"], "cwd": "work",
    "env": {"KEY": "${TOKEN}", "PLAIN": "literal-secret", "EMPTY": ""}},
  "tool": {"type": "stdio", "command": "./bin/tool"},
  "list": {"command": ["uvx", "mcp-server-time"], "args": ["--local"]},
  "old": {"type": "sse", "url": "http://a/sse"}
}}"#;
    let loaded = load_json(text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let run = |name: &str| loaded.config.backends[name].command.as_ref().unwrap().run.join(" ");
    assert_eq!(run("files"), "npx -y server-filesystem /home/ada");
    assert_eq!(run("tool"), "/home/ada/bin/tool", "relative to the file");
    assert_eq!(run("list"), "uvx mcp-server-time --local");
    let files = loaded.config.backends["files"].command.as_ref().unwrap();
    assert_eq!(files.directory.as_deref(), Some(Path::new("/home/ada/work")));
    let variables: Vec<_> = files.environment.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(variables, [("KEY", "hidden-token"), ("PLAIN", "literal-secret"), ("EMPTY", "")]);
    let shown = loaded.effective.to_yaml();
    assert!(!shown.contains("hidden-token") && !shown.contains("literal-secret"), "{shown}");
    assert_eq!(loaded.config.backends["old"].protocol, sections::BackendProtocol::Sse);
}

#[test]
fn a_file_of_variables_is_not_read_silently() {
    let text = r#"{"servers": {"a": {"command": "x", "envFile": "${workspaceFolder}/.env"}}}"#;
    let loaded = load_json(text).unwrap();
    assert!(findings(&loaded.warnings)[0].contains("servers.a.envFile: this file is not read"));
}

#[test]
fn header_fields_become_secret_upstream_headers() {
    let text = r#"{"mcpServers": {"a": {"url": "http://${HOST:-a}/mcp",
        "headers": {"Authorization": "Bearer ${TOKEN}", "X-Key": "literal-secret", "Accept": "*/*"}}}}"#;
    let loaded = load_json(text).unwrap();
    let backend = &loaded.config.backends["a"];
    let headers: Vec<_> =
        backend.headers.iter().map(|(key, value)| (key.to_string(), value.expose().to_owned())).collect();
    assert_eq!(
        headers,
        [
            ("authorization".to_owned(), "Bearer hidden-token".to_owned()),
            ("x-key".to_owned(), "literal-secret".to_owned())
        ]
    );
    assert_eq!(backend.endpoints[0].url.to_string(), "http://a/mcp");
    let shown = loaded.effective.to_yaml();
    assert!(!shown.contains("hidden-token") && !shown.contains("literal-secret"), "{shown}");
    assert_eq!(
        findings(&loaded.warnings),
        ["2:84 mcpServers.a.headers.Accept: the gateway sets this header field itself; it is left out"]
    );
}

#[test]
fn warnings_do_not_crowd_errors_out() {
    let left_out: Vec<String> = (0..150).map(|number| format!("\"mcp-{number}\": \"x\"")).collect();
    let text = format!(r#"{{"mcpServers": {{"a": {{"url": "ftp://a", "headers": {{{}}}}}}}}}"#, left_out.join(","));
    let errors = load_json(&text).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("the URL of an endpoint starts with"), "{errors:?}");
}

#[test]
fn what_cannot_be_reached_is_named_and_refused() {
    let text = r#"{"mcpServers": {
  "files": {"command": "npx", "args": ["server-filesystem"], "env": {"X": "${workspaceFolder}"}},
  "words": {"command": "npx", "args": "-y x"},
  "new": {"url": "http://a/mcp"},
  "odd": {"type": "pigeon", "url": "http://a/mcp"},
  "none": {},
  "bare": {"type": "stdio"},
  "number": {"command": "x", "args": [1]}
}}"#;
    let errors = load_json(text).unwrap_err();
    assert_eq!(errors.len(), 6, "{errors:#?}");
    assert!(
        errors[0].starts_with("2:75 backends.files.command.environment.X: the environment variable `workspaceFolder`")
    );
    assert!(errors[1].starts_with("3:39 mcpServers.words.args: the arguments of a command are a list"));
    assert!(errors[2].starts_with("5:19 mcpServers.odd.type: this kind of server is not known"));
    assert!(errors[3].starts_with("6:3 mcpServers.none: `none` has no `url`"));
    assert!(errors[4].starts_with("7:3 mcpServers.bare: `bare` has no `command`"));
    assert!(
        errors[5].starts_with("8:39 backends.number.command.run[1]: expected a text, found a number"),
        "{errors:#?}"
    );
}

#[test]
fn mistakes_are_placed_in_the_file() {
    let errors = load_json(
        "{\"mcpServers\": {\n  \"a\": {\"url\": \"ftp://x\"},\n  \"b\": {\"url\": \"${input:x}\"},\n  \"c\": {\"url\": \"${NONE}\"}}}",
    );
    let errors = errors.unwrap_err();
    assert_eq!(errors.len(), 3, "{errors:#?}");
    assert!(
        errors[0].starts_with("2:16 backends.a.endpoints[0].url: the URL of an endpoint starts with"),
        "{errors:#?}"
    );
    assert!(errors[1].starts_with("3:16 backends.b.endpoints[0].url: `${input:…}` asks a person"), "{errors:#?}");
    assert!(errors[2].starts_with("4:16 backends.c.endpoints[0].url: the environment variable `NONE`"), "{errors:#?}");
}

#[test]
fn duplicate_members_are_refused() {
    for text in [
        r#"{"mcpServers": {"a": {"url": "http://a/mcp"}, "a": {"url": "http://b/mcp"}}}"#,
        r#"{"mcpServers": {"a": {"url": "http://a/mcp", "url": "http://b/mcp"}}}"#,
        r#"{"mcpServers": {}, "mcpServers": {"a": {"url": "http://a/mcp"}}}"#,
        r#"{"mcpServers": {"a": {"url": "http://a/mcp", "x": {"y": 1, "\u0079": 2}}}}"#,
    ] {
        let errors = load_json(text).unwrap_err();
        assert!(errors.iter().any(|error| error.contains("this key stands here twice")), "{text}: {errors:?}");
    }
    let errors = load_json(r#"{"mcpServers": {"a b": {"url": "http://a"}, "A_b": {"url": "http://b"}}}"#).unwrap_err();
    assert!(errors[0].contains("another server is called `a-b` here too"), "{errors:?}");
}

#[test]
fn what_is_no_client_file_is_refused() {
    for (text, part) in [
        ("", "this is not JSON"),
        ("mcpServers: {}", "1:1 : this is not JSON: expected value"),
        ("{\"mcpServers\": {\"a\": }}", "1:22 : this is not JSON"),
        ("{}", "there is no list of servers here"),
        ("[]", "there is no list of servers here"),
        ("{\"mcpServers\": []}", "there is no list of servers here"),
        ("{\"mcpServers\": {}}", "there is no server here"),
        ("{\"mcpServers\": {\"a\": {\"command\": \"x\", \"disabled\": true}}}", "every server here is switched off"),
        ("{\"mcpServers\": {\"a\": 1}}", "a server is a map of members"),
        ("{\"mcpServers\": {\"--\": {\"url\": \"http://a\"}}}", "no letter or digit"),
    ] {
        let errors = load_json(text).map(|_| ()).unwrap_err();
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert!(errors[0].contains(part), "{text}: {errors:?}");
    }
}

#[test]
fn characters_beyond_ascii_and_escapes_are_read_as_json_says() {
    let text =
        r#"{"mcpServers": {"a": {"url": "http:\/\/a\/mcp", "note": "\ud83d\ude00 é // no comment, ]", "x": [1,2,],}}}"#;
    assert_eq!(urls(&load_json(text).unwrap()), ["default /mcp a http://a/mcp"]);
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(\\{|\\}|\\[|\\]|,|:|\"|//|/\\*|\\*/|\\\\|\n|é|mcpServers|url|a|1| ){0,40}") {
        let _ = load_json(&text);
        let _ = load_json(&format!("{{\"mcpServers\": {{{text}}}}}"));
    }
}
