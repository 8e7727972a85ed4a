//! Configurations written on the command line: `--backend NAME=URL`, `--command NAME=COMMAND`, `--listen`, `--admin`,
//! `--state-dir`.
//!
//! The flags are written out as a text, so that what is wrong with them can be pointed at as in a file.

use super::diagnostic::Finding;
use super::document::Document;
use super::gate::Mark;
use super::path::KeyPath;
use super::source::{BackendFlag, Overrides, Reached};
use super::text::SourceText;
use super::tree::Node;
use super::values::Name;
use indexmap::IndexMap;
use std::ops::Range;
use std::path::Path;

/// What the command line is called in messages.
const NAME: &str = "command line";

/// The address of the listener that the flags imply.
const LISTEN: &str = "127.0.0.1:8080";

/// A text of flags, one a line, and where each value stands in it.
#[derive(Default)]
struct Written {
    text: String,
    marks: Vec<(KeyPath, Mark)>,
}

impl Written {
    fn push(&mut self, piece: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(piece);
        start..self.text.len()
    }

    /// Writes `--flag value`, where the value stands for the entry at a path.
    fn flag(&mut self, flag: &str, value: &str, path: KeyPath) {
        let key = self.push(flag);
        self.text.push(' ');
        let value = self.push(value);
        self.text.push('\n');
        self.marks.push((path, Mark { key: Some(key), value }));
    }

    fn into_document(self, document: &mut Document) {
        if self.text.is_empty() {
            return;
        }
        let source = document.texts.len();
        document.texts.push(SourceText::new(NAME, self.text));
        document.marks.extend(self.marks.into_iter().map(|(path, mark)| (path, (source, mark))));
    }
}

/// The document that `--backend` and `--command` flags stand for. Relative paths start at the working directory.
pub(super) fn read(backends: &[BackendFlag]) -> Document {
    let here = std::path::absolute(".").unwrap_or_else(|_| Path::new("/").to_owned());
    let mut document = Document::empty(&here);
    let mut written = Written::default();
    let mut entries = IndexMap::new();
    let mut findings = Vec::new();
    for BackendFlag { name, reached } in backends {
        let path = KeyPath::from(["backends", name]);
        let (flag, value, inner) = match reached {
            Reached::Url(url) => ("--backend ", url, path.key("endpoints").index(0).key("url")),
            Reached::Command(command) => ("--command ", command, path.key("command").key("run")),
        };
        let flag = written.push(flag);
        let key = written.push(name);
        written.push("=");
        let place = written.push(value);
        written.push("\n");
        let node = match reached {
            Reached::Url(url) => Some(backend(Node::text(url.clone()))),
            Reached::Command(line) => shlex::split(line).map(|words| command(words.into_iter().map(Node::text))),
        };
        if node.is_none() {
            findings.push(Finding::error(inner.clone(), "a quote in this command is never closed"));
        }
        if let Err(error) = name.parse::<Name>() {
            findings.push(Finding::error(path.clone(), error.to_string()).at_key());
        } else if entries.insert(name.clone(), node.unwrap_or(Node::Pruned)).is_some() {
            findings.push(Finding::error(path.clone(), format!("there are two backends `{name}`")).at_key());
        }
        written.marks.push((inner, Mark { key: Some(flag), value: place.clone() }));
        written.marks.push((path, Mark { key: Some(key), value: place }));
    }
    written.into_document(&mut document);
    document.tree = (!entries.is_empty()).then(|| tree(entries));
    findings.into_iter().for_each(|finding| document.add(finding));
    document
}

/// A backend with one endpoint.
pub(super) fn backend(url: Node) -> Node {
    Node::map([("endpoints", Node::List(vec![Node::map([("url", url)])]))])
}

/// A backend that is started by a command of these words.
pub(super) fn command(words: impl Iterator<Item = Node>) -> Node {
    Node::map([("command", Node::map([("run", Node::List(words.collect()))]))])
}

/// The configuration of these backends: one virtual server at `/mcp`, and several backends each at `/mcp/NAME` too.
pub(super) fn tree(backends: IndexMap<String, Node>) -> Node {
    let members = backends.keys().map(|name| Node::text(name.as_str())).collect();
    let mut server = vec![("path", Node::text("/mcp")), ("backends", Node::List(members))];
    if backends.len() > 1 {
        server.push(("direct_views", Node::Bool(true)));
    }
    Node::map([
        ("listeners", Node::map([("main", Node::map([("address", Node::text(LISTEN))]))])),
        ("backends", Node::Map(backends)),
        ("virtual_servers", Node::map([("default", Node::map(server))])),
    ])
}

/// Puts what the command line says in the place of what a document says.
pub(super) fn apply(overrides: &Overrides, document: &mut Document) {
    let mut written = Written::default();
    let Some(mut tree) = document.tree.take() else { return };
    let mut findings = Vec::new();
    if overrides.private {
        make_private(&mut tree);
    }
    if let Some(address) = &overrides.listen {
        match only_listener(&tree) {
            Some(name) => {
                let path = KeyPath::from(["listeners", &name, "address"]);
                tree.set(&path, Node::text(address.clone()));
                written.flag("--listen", address, path);
            }
            None => {
                let path = KeyPath::from(["listeners"]);
                findings.push(Finding::error(path, "`--listen` is for a configuration with one listener").at_key());
            }
        }
    }
    if let Some(address) = &overrides.admin {
        let path = KeyPath::from(["admin", "address"]);
        tree.set(&path, Node::text(address.clone()));
        written.flag("--admin", address, path);
    }
    if let Some(folder) = &overrides.state_dir {
        let path = KeyPath::from(["state_dir"]);
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        match absolute.to_str() {
            Some(text) => {
                tree.set(&path, Node::text(text));
                written.flag("--state-dir", text, path);
            }
            None => findings.push(Finding::error(path, "`--state-dir` is not UTF-8").at_key()),
        }
    }
    document.tree = Some(tree);
    written.into_document(document);
    findings.into_iter().for_each(|finding| document.add(finding));
}

/// Puts loopback ports that the system chooses in the place of all listeners. What is logged is what somebody must see.
fn make_private(tree: &mut Node) {
    let own = || Node::map([("address", Node::text("127.0.0.1:0"))]);
    if let Some(Node::Map(listeners)) = tree.at_mut(&KeyPath::from(["listeners"])) {
        listeners.values_mut().for_each(|listener| *listener = own());
    }
    tree.set(&KeyPath::from(["admin"]), own());
    tree.set(&KeyPath::from(["log", "level"]), Node::text("warn"));
}

/// The name of the only listener of a tree, or of the one that would be the only one.
fn only_listener(tree: &Node) -> Option<String> {
    match tree.at(&KeyPath::from(["listeners"])) {
        Some(Node::Map(listeners)) if listeners.len() == 1 => listeners.keys().next().cloned(),
        Some(Node::Map(listeners)) if !listeners.is_empty() => None,
        _ => Some("main".to_owned()),
    }
}
