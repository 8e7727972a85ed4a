//! What a user pastes into an MCP client to reach this gateway.

use crate::config::Config;
use crate::config::model::Listener;
use crate::config::values::Name;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// A virtual server as a client is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The name under which the client lists it.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// What is behind it.
    pub backends: Vec<Name>,
}

/// What a configuration serves, listener by listener. `bound` gives the address that a listener got; a public URL that was
/// made from the configured address takes its port.
pub fn served(config: &Config, bound: impl Fn(&Name) -> Option<SocketAddr>) -> Vec<Served> {
    let mut all = Vec::new();
    for (name, listener) in &config.listeners {
        let public = bound(name).map_or_else(|| listener.public_url.clone(), |bound| listener.public_url_at(bound));
        for (server_name, server) in config.offered_on(name) {
            all.push(Served {
                name: client_name(server_name),
                url: public.join(server.path.as_str()),
                backends: server.backends.iter().map(|member| member.backend.clone()).collect(),
            });
        }
    }
    all
}

/// The URLs of a virtual server, one for each listener that offers it: below the public URL, unless `base` knows a better
/// one.
pub fn urls_of(config: &Config, server: &Name, base: impl Fn(&Name, &Listener) -> Option<String>) -> Vec<String> {
    let mut urls = Vec::new();
    for (name, listener) in &config.listeners {
        for (_, offered) in config.offered_on(name).filter(|(known, _)| *known == server) {
            let path = offered.path.as_str();
            urls.push(
                base(name, listener).map_or_else(|| listener.public_url.join(path), |base| format!("{base}{path}")),
            );
        }
    }
    urls
}

/// What is printed at the start: what is served, and how clients get there.
pub fn announcement(served: &[Served]) -> String {
    let mut text = String::from("Serving\n");
    for Served { url, backends, .. } in served {
        let backends: Vec<&str> = backends.iter().map(Name::as_str).collect();
        let _ = writeln!(text, "  {url}  ->  {}", backends.join(", "));
    }
    // A virtual server on several listeners is one server to a client.
    let mut told: Vec<(&str, &str)> = Vec::new();
    for Served { name, url, .. } in served {
        if !told.iter().any(|(earlier, _)| earlier == name) {
            told.push((name, url));
        }
    }
    text.push('\n');
    text.push_str(&snippets(&told, &own_path()));
    text
}

/// This program as another one starts it, which may know nothing of our `PATH`.
fn own_path() -> String {
    let path = std::env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok());
    path.unwrap_or_else(|| "lockgate".to_owned())
}

/// The name under which a client lists a virtual server: the only one is the gateway itself.
fn client_name(server: &Name) -> String {
    if server.as_str() == "default" { "lockgate".to_owned() } else { server.to_string() }
}

/// Ready to paste for Claude Code, Cursor, VS Code and Claude Desktop: servers by name and URL. `command` is this program
/// for the client that starts commands only.
pub fn snippets(servers: &[(&str, &str)], command: &str) -> String {
    let mut text = String::from("Claude Code\n");
    for (name, url) in servers {
        let _ = writeln!(text, "  claude mcp add --transport http {} {}", shell(name), shell(url));
    }
    let typed = |url: &str| json!({ "type": "http", "url": url });
    let bare = |url: &str| json!({ "url": url });
    let started = |url: &str| json!({ "command": command, "args": ["stdio", "--url", url] });
    let files = [
        ("Claude Code, .mcp.json", "mcpServers", entries(servers, typed)),
        ("Cursor, ~/.cursor/mcp.json", "mcpServers", entries(servers, bare)),
        ("VS Code, .vscode/mcp.json", "servers", entries(servers, typed)),
        ("Claude Desktop, claude_desktop_config.json", "mcpServers", entries(servers, started)),
    ];
    for (place, member, entries) in files {
        let _ = writeln!(text, "{place}\n  {}", json!({ member: entries }));
    }
    text
}

fn entries(servers: &[(&str, &str)], entry: impl Fn(&str) -> Value) -> Value {
    Value::Object(servers.iter().map(|(name, url)| ((*name).to_owned(), entry(url))).collect())
}

/// A word as a shell reads it back.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=[]".contains(c);
    if word.chars().all(plain) && !word.contains(['[', ']']) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BackendFlag, ConfigSource, NoSources, Overrides, Reached, load};

    fn config(source: &ConfigSource) -> Config {
        let overrides = Overrides { listen: Some("127.0.0.1:0".to_owned()), ..Overrides::default() };
        load(source, &overrides, &NoSources).unwrap().config
    }

    #[test]
    fn the_snippets_are_what_clients_read() {
        assert_eq!(
            snippets(&[("lockgate", "http://127.0.0.1:8080/mcp")], "/opt/lockgate"),
            r#"Claude Code
  claude mcp add --transport http lockgate http://127.0.0.1:8080/mcp
Claude Code, .mcp.json
  {"mcpServers":{"lockgate":{"type":"http","url":"http://127.0.0.1:8080/mcp"}}}
Cursor, ~/.cursor/mcp.json
  {"mcpServers":{"lockgate":{"url":"http://127.0.0.1:8080/mcp"}}}
VS Code, .vscode/mcp.json
  {"servers":{"lockgate":{"type":"http","url":"http://127.0.0.1:8080/mcp"}}}
Claude Desktop, claude_desktop_config.json
  {"mcpServers":{"lockgate":{"args":["stdio","--url","http://127.0.0.1:8080/mcp"],"command":"/opt/lockgate"}}}
"#
        );
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(shell("http://127.0.0.1:8080/mcp"), "http://127.0.0.1:8080/mcp");
        assert_eq!(shell("http://[::1]:8080/a&b"), "'http://[::1]:8080/a&b'");
        assert_eq!(shell("it's"), r"'it'\''s'");
    }

    #[test]
    fn urls_take_the_port_that_the_system_chose() {
        let bound = |_: &Name| Some(SocketAddr::from(([127, 0, 0, 1], 40123)));
        let text = announcement(&served(&config(&ConfigSource::Quickstart), bound));
        assert!(text.starts_with("Serving\n  http://127.0.0.1:40123/mcp  ->  demo\n\nClaude Code\n"), "{text}");
    }

    #[test]
    fn several_backends_are_announced_as_one_server() {
        let reached = || Reached::Url("http://x/mcp".to_owned());
        let flag = |name: &str| BackendFlag { name: name.to_owned(), reached: reached() };
        let source = ConfigSource::Backends(vec![flag("one"), flag("two")]);
        let text = announcement(&served(&config(&source), |_| None));
        assert!(text.starts_with("Serving\n  http://127.0.0.1:0/mcp  ->  one, two\n\n"), "{text}");
        assert!(text.contains("claude mcp add --transport http lockgate http://127.0.0.1:0/mcp\n"), "{text}");
    }
}
