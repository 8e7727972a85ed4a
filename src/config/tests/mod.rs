//! The loader as a whole: what it accepts, what it says of the rest, and what it never shows.

mod clients;
mod command_line;
mod commands;
mod difference;
mod docs;
mod errors;
mod examples;
mod federation;
mod hostile;
mod identity;
mod references;
mod rules;

use super::sources::fake::FakeSources;
use super::*;
use std::path::Path;

/// A configuration that is right.
const RIGHT: &str = "\
listeners:
  main: { address: 127.0.0.1:8080 }
backends:
  demo: { endpoints: [{ url: http://127.0.0.1:9000/mcp }] }
virtual_servers:
  default: { path: /mcp, backends: [demo] }
";

/// Loads a text with made-up sources; relative paths start at `/etc/lockgate`.
fn load_with(text: &str, sources: &FakeSources) -> Result<Loaded, Report> {
    load_text("lockgate.yaml", text, Path::new("/etc/lockgate"), sources)
}

fn load_alone(text: &str) -> Result<Loaded, Report> {
    load_with(text, &FakeSources::default())
}

/// Findings as `line:column path: message`.
fn findings(report: &Report) -> Vec<String> {
    let one = |entry: Entry| {
        let at = entry.position.map_or("-".to_owned(), |at| format!("{}:{}", at.line, at.column));
        let help = entry.help.map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{at} {}: {}{help}", entry.path, entry.message)
    };
    report.entries().into_iter().map(one).collect()
}

/// What is wrong with a text.
fn errors_of(text: &str) -> Vec<String> {
    match load_alone(text) {
        Ok(_) => Vec::new(),
        Err(report) => findings(&report),
    }
}

/// `RIGHT` with one piece replaced and lines added gives exactly these errors.
fn expect(from: &str, to: &str, more: &str, expected: &[&str]) {
    assert!(RIGHT.contains(from), "{from}");
    let text = format!("{}{more}", RIGHT.replace(from, to));
    let errors = errors_of(&text);
    assert_eq!(errors.len(), expected.len(), "{text}\n{errors:#?}");
    for (error, part) in errors.iter().zip(expected) {
        assert!(error.contains(part), "{text}\nexpected {part:?} in {error:?}");
    }
}
