//! The JSON files in which MCP clients list their servers: `mcpServers` (Claude Code, Cursor, Windsurf, Gemini and others)
//! and `servers` (VS Code). Servers reached over HTTP and those started by a command become backends.
//!
//! Members that clients add for themselves are passed over. Comments and trailing commas, which several clients allow,
//! are allowed. References are written the clients' way: `${NAME}`, `${NAME:-default}`, `${env:NAME}`.

use super::diagnostic::Finding;
use super::document::{Complaint, Document};
use super::flags;
use super::interpolate::Dialect;
use super::path::KeyPath;
use super::sources::Sources;
use super::text::{LineColumn, SourceText};
use super::tree::Node;
use super::values::HeaderKey;
use indexmap::IndexMap;
use serde_yaml::Value;
use std::path::Path;

/// The members that hold the list of servers.
const LISTS: [&str; 2] = ["mcpServers", "servers"];

/// The members that hold a server's URL: most clients, Windsurf, Gemini.
const URLS: [&str; 3] = ["url", "serverUrl", "httpUrl"];

/// The names that clients have for Streamable HTTP.
const HTTP_TYPES: [&str; 4] = ["http", "streamable-http", "streamablehttp", "streamable_http"];

/// Reads a client's file.
pub(super) fn read(name: &str, text: &str, base: &Path, sources: &dyn Sources) -> Document {
    let plain = without_comments(text);
    let mut document = Document::parse(SourceText::new(name, plain.as_str()), base, json_values);
    if let Some(complaint) = json_complaint(&plain) {
        // What YAML makes of a text that is no JSON helps nobody.
        document = Document { tree: None, diagnostics: Vec::new(), ..document };
        document.complain(complaint);
    }
    document.texts = vec![SourceText::new(name, text)];
    let Some(tree) = document.tree.take() else { return document };
    let listed = servers(&tree, &mut document);
    document.tree = (!listed.is_empty()).then(|| flags::tree(listed));
    document.interpolate(Dialect::Clients, sources);
    document
}

fn json_values(text: &SourceText) -> Result<Value, Complaint> {
    serde_json::from_str(text.text()).map_err(|error| complaint(text, &error))
}

fn json_complaint(text: &str) -> Option<Complaint> {
    let error = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
    Some(complaint(&SourceText::new("", text), &error))
}

fn complaint(text: &SourceText, error: &serde_json::Error) -> Complaint {
    let start = text.byte_at(LineColumn { line: error.line(), column: error.column() });
    let message = error.to_string();
    let what = message.split(" at line ").next().unwrap_or_default();
    Complaint { message: format!("this is not JSON: {what}"), bytes: Some(text.clamp(start..start + 1)) }
}

/// The backends that a file lists; what cannot become one is noted.
fn servers(tree: &Node, document: &mut Document) -> IndexMap<String, Node> {
    let listed = LISTS.iter().find_map(|list| Some((*list, tree.at(&KeyPath::from([*list]))?)));
    let Some((list, Node::Map(entries))) = listed else {
        let path = KeyPath::from([listed.map_or("", |(list, _)| list)]);
        let finding = Finding::error(path, "there is no list of servers here");
        document.add(finding.help("the file has a member `mcpServers` (or `servers`) with one entry for each server"));
        return IndexMap::new();
    };
    let list = KeyPath::from([list]);
    let mut backends = IndexMap::new();
    let mut skipped = false;
    for (name, entry) in entries {
        let path = list.key(name);
        let Node::Map(entry) = entry else {
            document.add(Finding::error(path, "a server is a map of members"));
            continue;
        };
        if matches!(entry.get("disabled"), Some(Node::Bool(true)))
            || matches!(entry.get("enabled"), Some(Node::Bool(false)))
        {
            skipped = true;
            continue;
        }
        let Some(transport) = transport(name, &path, entry, document) else { continue };
        let Some(backend) = backend_name(name) else {
            document.add(Finding::error(path, "this name has no letter or digit to name a backend by").at_key());
            continue;
        };
        let target = KeyPath::from(["backends", &backend]);
        same_place(document, &path, &target);
        let node = match transport {
            Transport::Command(program) => command(program, entry, &path, &target.key("command"), document),
            Transport::Http { member, url, sse } => {
                let mut node = flags::backend(url);
                same_place(document, &path.key(member), &target.key("endpoints").index(0).key("url"));
                if sse {
                    node.set(&KeyPath::from(["protocol"]), Node::text("sse"));
                }
                if let Some(headers) = entry.get("headers") {
                    let fields = headers_of(headers, &path.key("headers"), &target, document);
                    node.set(&KeyPath::from(["headers"]), fields);
                }
                node
            }
        };
        if backends.insert(backend.clone(), node).is_some() {
            document.add(Finding::error(path, format!("another server is called `{backend}` here too")).at_key());
        }
    }
    if backends.is_empty() && document.diagnostics.is_empty() {
        let message = if skipped { "every server here is switched off" } else { "there is no server here" };
        document.add(Finding::error(list, message));
    }
    backends
}

/// How a server is reached.
enum Transport {
    /// By starting this program.
    Command(Node),
    /// At the URL in this member, over Streamable HTTP or over HTTP+SSE.
    Http { member: &'static str, url: Node, sse: bool },
}

/// How a server is reached; what is missing is noted.
fn transport(name: &str, path: &KeyPath, entry: &IndexMap<String, Node>, document: &mut Document) -> Option<Transport> {
    let kind = match entry.get("type").or_else(|| entry.get("transport")) {
        Some(Node::Text(kind)) => kind.value.to_ascii_lowercase(),
        _ => String::new(),
    };
    let sse = kind == "sse";
    if kind == "stdio" || (kind.is_empty() && entry.contains_key("command")) {
        let program = entry.get("command").cloned().map(Transport::Command);
        if program.is_none() {
            document.add(Finding::error(path.clone(), format!("`{name}` has no `command`")).at_key());
        }
        return program;
    }
    if !sse && !kind.is_empty() && !HTTP_TYPES.contains(&kind.as_str()) {
        let finding = Finding::error(path.key("type"), "this kind of server is not known");
        document.add(finding.help("`http`, `sse` and `stdio` are"));
        return None;
    }
    let url = URLS.iter().find_map(|member| Some((*member, entry.get(*member)?.clone())));
    if url.is_none() {
        document.add(Finding::error(path.clone(), format!("`{name}` has no `url`")).at_key());
    }
    url.map(|(member, url)| Transport::Http { member, url, sse })
}

/// A backend that is started; `target` is the place of its command in the configuration.
fn command(
    program: Node,
    entry: &IndexMap<String, Node>,
    path: &KeyPath,
    target: &KeyPath,
    document: &mut Document,
) -> Node {
    let run = target.key("run");
    same_place(document, &path.key("command"), &run);
    let mut words = match program {
        // Some clients write program and arguments as one list.
        Node::List(words) => words,
        program => vec![program],
    };
    same_place(document, &path.key("command"), &run.index(0));
    let first = words.len();
    match entry.get("args") {
        None | Some(Node::Null) => {}
        Some(Node::List(arguments)) => {
            for index in 0..arguments.len() {
                same_place(document, &path.key("args").index(index), &run.index(first + index));
            }
            words.extend(arguments.iter().cloned());
        }
        Some(_) => document.add(Finding::error(path.key("args"), "the arguments of a command are a list")),
    }
    let mut node = flags::command(words.into_iter());
    for (member, key) in [("env", "environment"), ("cwd", "directory")] {
        let Some(value) = entry.get(member) else { continue };
        same_place(document, &path.key(member), &target.key(key));
        if let Node::Map(variables) = value {
            for name in variables.keys() {
                same_place(document, &path.key(member).key(name), &target.key(key).key(name));
            }
        }
        node.set(&KeyPath::from(["command", key]), value.clone());
    }
    if entry.contains_key("envFile") {
        let finding = Finding::warning(path.key("envFile"), "this file is not read");
        document.add(finding.help("write its variables under `env`, as `${NAME}` where they are secrets"));
    }
    node
}

/// The header fields of a server. Those that the gateway sets itself are left out.
fn headers_of(headers: &Node, path: &KeyPath, target: &KeyPath, document: &mut Document) -> Node {
    let target = target.key("headers");
    same_place(document, path, &target);
    let Node::Map(fields) = headers else { return headers.clone() };
    let mut kept = IndexMap::new();
    for (key, value) in fields {
        if HeaderKey::is_owned(key) {
            let message = "the gateway sets this header field itself; it is left out";
            document.add(Finding::warning(path.key(key), message));
            continue;
        }
        same_place(document, &path.key(key), &target.key(key));
        kept.insert(key.clone(), value.clone());
    }
    Node::Map(kept)
}

/// Lets an entry of the configuration stand where a member of the file stands.
fn same_place(document: &mut Document, from: &KeyPath, to: &KeyPath) {
    if let Some(mark) = document.marks.get(from).cloned() {
        document.marks.insert(to.clone(), mark);
    }
}

/// A backend's name made from a client's name for a server.
fn backend_name(name: &str) -> Option<String> {
    let slug: String = name
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let slug: String = slug.trim_matches('-').chars().take(63).collect();
    (!slug.is_empty()).then_some(slug)
}

/// The text with comments and trailing commas turned into spaces: every other byte keeps its place.
fn without_comments(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    let mut comma = None;
    while let Some(&byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'"', _) => {
                comma = None;
                at = end_of_string(&bytes, at);
            }
            (b'/', Some(b'/')) => at = blank(&mut bytes, at, b"\n"),
            (b'/', Some(b'*')) => at = blank(&mut bytes, at, b"*/"),
            (b',', _) => {
                comma = Some(at);
                at += 1;
            }
            (b'}' | b']', _) => {
                if let Some(comma) = comma.take().and_then(|comma: usize| bytes.get_mut(comma)) {
                    *comma = b' ';
                }
                at += 1;
            }
            _ => {
                if !byte.is_ascii_whitespace() {
                    comma = None;
                }
                at += 1;
            }
        }
    }
    // Only whole comments were overwritten, so the text is still UTF-8.
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The byte behind a string that starts here.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Overwrites a comment that starts here, line breaks excepted, and returns the byte behind it.
fn blank(bytes: &mut [u8], start: usize, end: &[u8]) -> usize {
    let rest = bytes.get(start + 2..).unwrap_or_default();
    let length = rest.windows(end.len()).position(|window| window == end);
    let stop = match (length, end) {
        (Some(length), b"\n") => start + 2 + length,
        (Some(length), _) => start + 2 + length + end.len(),
        (None, _) => bytes.len(),
    };
    for byte in bytes.get_mut(start..stop).unwrap_or_default() {
        if !matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    stop
}
