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
            let backend = &server.backends[0];
            format!("{name} {} {backend} {}", server.path, loaded.config.backends[backend].endpoints[0].url)
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
fn several_servers_get_a_path_each() {
    let text = r#"{"mcpServers": {"One": {"url": "http://a/mcp"}, "my_two": {"url": "http://b/mcp"},
        "off": {"command": "x", "disabled": true}}}"#;
    assert_eq!(
        urls(&load_json(text).unwrap()),
        ["one /mcp/one one http://a/mcp", "my-two /mcp/my-two my-two http://b/mcp"]
    );
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
fn commands_and_old_transports_are_named_and_refused() {
    let text = r#"{"mcpServers": {
  "files": {"command": "npx", "args": ["server-filesystem"], "env": {"X": "${UNSET}"}},
  "old": {"type": "sse", "url": "http://a/sse"},
  "new": {"url": "http://a/mcp"},
  "odd": {"type": "pigeon", "url": "http://a/mcp"},
  "none": {}
}}"#;
    let errors = load_json(text).unwrap_err();
    assert_eq!(errors.len(), 4, "{errors:#?}");
    assert!(
        errors[0].starts_with(
            "2:3 mcpServers.files: `files` is started by a command; command servers are not supported yet"
        )
    );
    assert!(errors[1].starts_with("3:3 mcpServers.old: `old` uses the old SSE transport, which is not supported yet"));
    assert!(errors[2].starts_with("5:19 mcpServers.odd.type: this kind of server is not known"));
    assert!(errors[3].starts_with("6:3 mcpServers.none: `none` has no `url`"));
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
