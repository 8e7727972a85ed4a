//! From a document to a configuration, or to everything that is wrong with it.

use super::decode::decode;
use super::diagnostic::{Diagnostic, Finding, Severity};
use super::document::Document;
use super::file::ConfigFile;
use super::judge::{Judge, nobody};
use super::model::Config;
use super::path::KeyPath;
use super::report::Report;
use super::resolve::Resolver;
use super::show::Effective;
use super::source::{ConfigSource, Overrides};
use super::sources::{NoSources, Sources, SystemSources, reason};
use super::text::SourceText;
use super::{flags, mcp_json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The largest configuration, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// The configuration that runs when none is given.
const QUICKSTART: &str = include_str!("../../conf/quickstart.yaml");

/// A valid configuration and what else is known about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What looks like a mistake but is none; render it as any report.
    pub warnings: Report,
    /// The files that the configuration refers to (`${file:…}`, TLS): when one changes, the configuration may.
    pub watched: Vec<PathBuf>,
    /// The configuration as it may be shown: defaults filled in, secrets masked.
    pub effective: Effective,
}

/// Loads a configuration file with the environment and files of this process.
///
/// # Errors
/// Everything that is wrong with it, with positions.
pub fn load_file(path: &Path) -> Result<Loaded, Report> {
    load(&ConfigSource::File(path.to_owned()), &Overrides::default(), &SystemSources)
}

/// Loads a configuration from a text with the environment and files of this process; `name` stands for it in messages,
/// and relative paths start at `base`.
///
/// # Errors
/// Everything that is wrong with it, with positions.
pub fn load_str(name: &str, text: &str, base: &Path) -> Result<Loaded, Report> {
    load_text(name, text, base, &SystemSources)
}

/// Loads a configuration from a text that may take nothing from this machine. Never panics, whatever the text.
///
/// # Errors
/// Everything that is wrong with it, with positions.
pub fn load_untrusted(text: &str) -> Result<Loaded, Report> {
    load_text("input", text, Path::new("/"), &NoSources)
}

/// Loads a configuration from a text with these sources.
///
/// # Errors
/// Everything that is wrong with it, with positions.
pub fn load_text(name: &str, text: &str, base: &Path, sources: &dyn Sources) -> Result<Loaded, Report> {
    finish(read_yaml(name, text, base, sources), sources, &nobody)
}

/// Loads a configuration from wherever it is, and puts what the command line says in its place.
///
/// # Errors
/// Everything that is wrong with it, with positions.
pub fn load(source: &ConfigSource, overrides: &Overrides, sources: &dyn Sources) -> Result<Loaded, Report> {
    load_judged(source, overrides, sources, &nobody)
}

/// As [`load`], for a configuration that is going to be used: what the judge objects to is wrong with it too.
///
/// # Errors
/// Everything that is wrong with it, with positions.
pub fn load_judged(
    source: &ConfigSource,
    overrides: &Overrides,
    sources: &dyn Sources,
    judge: Judge<'_>,
) -> Result<Loaded, Report> {
    let mut document = match source {
        ConfigSource::Quickstart => {
            read_yaml("quickstart.yaml", QUICKSTART, &folder(Path::new("quickstart.yaml")), sources)
        }
        ConfigSource::File(path) => {
            read_file(path, sources, |name, text| read_yaml(name, text, &folder(path), sources))
        }
        ConfigSource::McpJson(path) => {
            read_file(path, sources, |name, text| mcp_json::read(name, text, &folder(path), sources))
        }
        ConfigSource::Backends(backends) => flags::read(backends),
    };
    flags::apply(overrides, &mut document);
    finish(document, sources, judge)
}

/// The folder of a file, absolute as far as that can be known.
fn folder(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn read_file(path: &Path, sources: &dyn Sources, read: impl FnOnce(&str, &str) -> Document) -> Document {
    let name = path.display().to_string();
    let content = match sources.file(path, CONFIG_BYTES_MAX) {
        Ok(content) => content,
        Err(error) => return Document::unreadable(&folder(path), format!("cannot read `{name}`: {}", reason(&error))),
    };
    match std::str::from_utf8(&content) {
        Ok(text) => read(&name, text),
        Err(error) => {
            let message = format!("`{name}` is not UTF-8: byte {} starts no character", error.valid_up_to());
            Document::unreadable(&folder(path), message)
        }
    }
}

fn read_yaml(name: &str, text: &str, base: &Path, sources: &dyn Sources) -> Document {
    if u64::try_from(text.len()).is_ok_and(|length| length > CONFIG_BYTES_MAX) {
        return Document::unreadable(base, format!("`{name}` is larger than {CONFIG_BYTES_MAX} bytes"));
    }
    Document::yaml(SourceText::new(name, text), base, sources)
}

/// Types, defaults, rules and what the judge says of the result.
fn finish(mut document: Document, sources: &dyn Sources, judge: Judge<'_>) -> Result<Loaded, Report> {
    let interpolated = document.interpolated();
    let mut watched = std::mem::take(&mut document.files);
    let mut masked = interpolated.clone();
    let config = document.tree.clone().and_then(|mut tree| {
        let decoded = decode::<ConfigFile>(&mut tree);
        decoded.findings.into_iter().for_each(|finding| document.add(finding));
        let base = document.base.clone();
        let mut resolver = Resolver {
            sources,
            base: &base,
            interpolated: &interpolated,
            pruned: &decoded.pruned,
            findings: Vec::new(),
            files: Vec::new(),
            masked: BTreeSet::new(),
        };
        let config = decoded.value.and_then(|file| resolver.resolve(file));
        let Resolver { findings, files, masked: derived, .. } = resolver;
        watched.extend(files);
        masked.extend(derived);
        findings.into_iter().for_each(|finding| document.add(finding));
        config
    });
    // What is wrong by itself need not be judged, and has no paths to be relied on.
    if let Some(config) = config.as_ref().filter(|_| !document.is_refused()) {
        let objections = judge(config).into_iter().map(|found| Finding::error(found.path, found.message));
        objections.for_each(|finding| document.add(finding));
    }
    let refused = document.is_refused();
    watched.sort();
    watched.dedup();
    let Document { texts, mut diagnostics, marks, .. } = document;
    let secrets: Vec<_> = marks
        .into_iter()
        .filter(|(path, _)| is_secret(path))
        .map(|(_, (source, mark))| super::text::Place { source, bytes: mark.value })
        .collect();
    if refused {
        // What looks odd in a configuration that is wrong follows from what is wrong with it.
        diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
    }
    let report = Report::new(texts, sorted(diagnostics), secrets, watched.clone());
    match config {
        Some(config) if !refused => {
            let effective = Effective::of(&config, &masked);
            Ok(Loaded { config, warnings: report, watched, effective })
        }
        _ => Err(report),
    }
}

/// Findings in the order of the text; what has no place comes first.
fn sorted(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|diagnostic| {
        let place = diagnostic.place.as_ref().map(|place| (place.source, place.bytes.start));
        (place, diagnostic.severity, diagnostic.path.clone())
    });
    diagnostics
}

/// Whether the value at a path is secret however it is written.
pub(super) fn is_secret(path: &KeyPath) -> bool {
    use super::path::Step::{Index, Key};
    match path.steps() {
        [Key(section), Key(key)] => section == "admin" && key == "token",
        [Key(section), Key(list), Index(_), Key(key)] => section == "tickets" && list == "keys" && key == "secret",
        [Key(section), Key(_), Key(headers), Key(_)] if section == "backends" => headers == "headers",
        [Key(section), Key(_), Key(asked), Key(key)] => {
            section == "issuers" && asked == "introspection" && key == "client_secret"
        }
        // Public keys, unless somebody has put private ones there by mistake.
        [Key(section), Key(_), Key(key)] => section == "issuers" && key == "jwks",
        [Key(section), Key(_), Key(command), Key(environment), Key(_)] => {
            section == "backends" && command == "command" && environment == "environment"
        }
        _ => false,
    }
}
