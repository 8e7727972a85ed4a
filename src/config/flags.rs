//! Configurations written on the command line: `--backend NAME=URL`, `--listen`, `--admin`, `--state-dir`.
//!
//! The flags are written out as a text, so that what is wrong with them can be pointed at as in a file.

use super::diagnostic::Finding;
use super::document::Document;
use super::gate::Mark;
use super::path::KeyPath;
use super::source::{BackendFlag, Overrides};
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

/// The document that `--backend` flags stand for.
pub(super) fn read(backends: &[BackendFlag]) -> Document {
    let mut document = Document::empty(Path::new("/"));
    let mut written = Written::default();
    let mut entries = IndexMap::new();
    let mut findings = Vec::new();
    for BackendFlag { name, url } in backends {
        let path = KeyPath::from(["backends", name]);
        let flag = written.push("--backend ");
        let key = written.push(name);
        written.push("=");
        let value = written.push(url);
        written.push("\n");
        if let Err(error) = name.parse::<Name>() {
            findings.push(Finding::error(path.clone(), error.to_string()).at_key());
        } else if entries.insert(name.clone(), backend(Node::text(url.clone()))).is_some() {
            findings.push(Finding::error(path.clone(), format!("there are two backends `{name}`")).at_key());
        }
        written.marks.push((path.key("endpoints").index(0).key("url"), Mark { key: Some(flag), value: value.clone() }));
        written.marks.push((path, Mark { key: Some(key), value }));
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

/// The configuration of these backends: alone, a backend is found at `/mcp`; beside others, each at `/mcp/NAME`.
pub(super) fn tree(backends: IndexMap<String, Node>) -> Node {
    let server = |path: String, name: &str| {
        Node::map([("path", Node::text(path)), ("backends", Node::List(vec![Node::text(name)]))])
    };
    let alone = backends.len() == 1;
    let servers = backends.keys().map(|name| {
        if alone {
            ("default".to_owned(), server("/mcp".to_owned(), name))
        } else {
            (name.clone(), server(format!("/mcp/{name}"), name))
        }
    });
    let servers = Node::map(servers.collect::<Vec<_>>());
    Node::map([
        ("listeners", Node::map([("main", Node::map([("address", Node::text(LISTEN))]))])),
        ("backends", Node::Map(backends)),
        ("virtual_servers", servers),
    ])
}

/// Puts what the command line says in the place of what a document says.
pub(super) fn apply(overrides: &Overrides, document: &mut Document) {
    let mut written = Written::default();
    let Some(mut tree) = document.tree.take() else { return };
    let mut findings = Vec::new();
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

/// The name of the only listener of a tree, or of the one that would be the only one.
fn only_listener(tree: &Node) -> Option<String> {
    match tree.at(&KeyPath::from(["listeners"])) {
        Some(Node::Map(listeners)) if listeners.len() == 1 => listeners.keys().next().cloned(),
        Some(Node::Map(listeners)) if !listeners.is_empty() => None,
        _ => Some("main".to_owned()),
    }
}
