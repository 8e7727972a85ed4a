//! `${env:NAME}`, `${env:NAME:-default}` and `${file:path}` in text scalars.
//!
//! Works on the parsed tree, never on the text, so a value can change neither the structure nor another value. Every
//! result is a secret: it is masked wherever the configuration is shown. `$${` stands for a literal `${`.

use super::diagnostic::Finding;
use super::path::{KeyPath, Step};
use super::sources::{Sources, reason};
use super::tree::{Node, Text};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest file that `${file:…}` reads, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How the references in a text are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `${env:NAME}`, `${env:NAME:-default}`, `${file:path}`: our own files.
    Strict,
    /// `${NAME}`, `${NAME:-default}`, `${env:NAME}`: the files of MCP clients.
    Clients,
}

/// Replaces references all over a tree.
pub(super) struct Interpolation<'a> {
    /// Where values come from.
    pub sources: &'a dyn Sources,
    /// What relative paths are relative to.
    pub base: &'a Path,
    /// How references are written.
    pub dialect: Dialect,
    /// What went wrong.
    pub findings: Vec<Finding>,
    /// The files that were read, or would have been.
    pub files: Vec<PathBuf>,
}

/// One reference, taken apart.
enum Reference<'a> {
    Env { name: &'a str, default: Option<&'a str> },
    File(&'a str),
}

impl Interpolation<'_> {
    /// Replaces every reference in and below a node.
    pub fn apply(&mut self, node: &mut Node, path: &mut KeyPath) {
        match node {
            Node::List(elements) => {
                for (index, element) in elements.iter_mut().enumerate() {
                    path.push(Step::Index(index));
                    self.apply(element, path);
                    path.pop();
                }
            }
            Node::Map(entries) => {
                for (key, entry) in entries {
                    path.push(Step::Key(key.clone()));
                    self.apply(entry, path);
                    path.pop();
                }
            }
            Node::Text(text) if text.value.contains("${") => match self.expand(&text.value) {
                Ok((value, interpolated)) => *text = Text { value, interpolated },
                Err(problem) => {
                    let mut finding = Finding::error(path.clone(), problem.message);
                    finding.help = problem.help;
                    self.findings.push(finding);
                    *node = Node::Pruned;
                }
            },
            _ => {}
        }
    }

    /// The text with its references replaced, and whether there were any.
    fn expand(&mut self, text: &str) -> Result<(Zeroizing<String>, bool), Problem> {
        let mut result = Zeroizing::new(String::with_capacity(text.len()));
        let mut interpolated = false;
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                result.push_str(before);
                result.push_str("${");
                rest = from.get(2..).unwrap_or_default();
                continue;
            }
            result.push_str(before);
            let inner = from.get(2..).unwrap_or_default();
            let Some((reference, after)) = inner.split_once('}') else {
                return Err(Problem::new("this `${` is never closed").help("write `$${` for a literal `${`"));
            };
            let value = self.look_up(self.parse(reference)?)?;
            result.push_str(&value);
            interpolated = true;
            rest = after;
        }
        result.push_str(rest);
        Ok((result, interpolated))
    }

    fn parse<'t>(&self, reference: &'t str) -> Result<Reference<'t>, Problem> {
        let env = |text: &'t str| {
            let (name, default) = match text.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (text, None),
            };
            let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if valid {
                Ok(Reference::Env { name, default })
            } else {
                Err(Problem::new("this is not the name of an environment variable"))
            }
        };
        match (self.dialect, reference.split_once(':')) {
            (_, Some(("env", text))) => env(text),
            (Dialect::Strict, Some(("file", path))) if !path.is_empty() => Ok(Reference::File(path)),
            (Dialect::Clients, Some(("input", _))) => {
                Err(Problem::new("`${input:…}` asks a person, and nobody is there")
                    .help("use an environment variable: `${env:NAME}`"))
            }
            (Dialect::Clients, None) => env(reference),
            (Dialect::Clients, Some((_, default))) if default.starts_with('-') => env(reference),
            (_, Some((scheme, _))) if !scheme.is_empty() && !reference.contains(":-") => {
                Err(Problem::new(format!("values cannot come from `{}`", printable(scheme)))
                    .help("write `${env:NAME}` or `${file:path}`"))
            }
            (Dialect::Strict, _) => {
                let right = env(reference).map(|_| format!("write `${{env:{}}}`", printable(reference)));
                Err(Problem::new("this reference does not say where its value comes from")
                    .help(right.unwrap_or_else(|_| {
                        "write `${env:NAME}`, `${env:NAME:-default}` or `${file:path}`".to_owned()
                    })))
            }
            (Dialect::Clients, _) => Err(Problem::new("this reference is not understood").help("write `${env:NAME}`")),
        }
    }

    fn look_up(&mut self, reference: Reference<'_>) -> Result<Zeroizing<String>, Problem> {
        match reference {
            Reference::Env { name, default } => {
                let value = self
                    .sources
                    .env(name)
                    .map_err(|_| Problem::new(format!("the environment variable `{name}` is not UTF-8")))?;
                match (value, default) {
                    (Some(value), None) => Ok(Zeroizing::new(value)),
                    (Some(value), Some(_)) if !value.is_empty() => Ok(Zeroizing::new(value)),
                    (_, Some(default)) => Ok(Zeroizing::new(default.to_owned())),
                    (None, None) => Err(Problem::new(format!("the environment variable `{name}` is not set"))
                        .help(format!("set it, or give a default: `{}`", self.with_default(name)))),
                }
            }
            Reference::File(path) => {
                let full: PathBuf = self.base.join(path).components().collect();
                let content = self.sources.file(&full, FILE_BYTES_MAX).map(Zeroizing::new);
                let unreadable = |why: String| Problem::new(format!("cannot read `{}`: {why}", full.display()));
                let content = content.map_err(|error| unreadable(reason(&error)));
                self.files.push(full.clone());
                let content = content?;
                let text = std::str::from_utf8(&content).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
                let text = text.strip_suffix('\n').unwrap_or(text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                Ok(Zeroizing::new(text.to_owned()))
            }
        }
    }

    fn with_default(&self, name: &str) -> String {
        match self.dialect {
            Dialect::Strict => format!("${{env:{name}:-default}}"),
            Dialect::Clients => format!("${{{name}:-default}}"),
        }
    }
}

/// A piece of a reference, short and in visible characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// What is wrong with one reference.
struct Problem {
    message: String,
    help: Option<String>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Problem {
        Problem { message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::sources::fake::FakeSources;
    use super::*;
    use proptest::prelude::*;

    fn expand_as(dialect: Dialect, text: &str) -> Result<(String, bool), String> {
        let sources = FakeSources::default()
            .with_env("TOKEN", "s3cret")
            .with_env("EMPTY", "")
            .with_file("/etc/lockgate/key", "from file\r\n")
            .with_file("/run/other", "a\n\n");
        let mut interpolation = Interpolation {
            sources: &sources,
            base: Path::new("/etc/lockgate"),
            dialect,
            findings: Vec::new(),
            files: Vec::new(),
        };
        interpolation
            .expand(text)
            .map(|(value, interpolated)| (value.to_string(), interpolated))
            .map_err(|problem| format!("{} / {}", problem.message, problem.help.unwrap_or_default()))
    }

    fn expand(text: &str) -> Result<String, String> {
        expand_as(Dialect::Strict, text).map(|(value, _)| value)
    }

    #[test]
    fn references_are_replaced_where_they_stand() {
        assert_eq!(expand("${env:TOKEN}").as_deref(), Ok("s3cret"));
        assert_eq!(expand("Bearer ${env:TOKEN}!").as_deref(), Ok("Bearer s3cret!"));
        assert_eq!(expand("${env:TOKEN}${env:TOKEN}").as_deref(), Ok("s3crets3cret"));
        assert_eq!(expand("${file:key}").as_deref(), Ok("from file"));
        assert_eq!(expand("${file:/run/other}").as_deref(), Ok("a\n"), "one newline is trimmed");
    }

    #[test]
    fn a_default_stands_in_for_unset_and_empty() {
        assert_eq!(expand("${env:NONE:-x y}").as_deref(), Ok("x y"));
        assert_eq!(expand("${env:EMPTY:-x}").as_deref(), Ok("x"));
        assert_eq!(expand("${env:TOKEN:-x}").as_deref(), Ok("s3cret"));
        assert_eq!(expand("${env:NONE:-}").as_deref(), Ok(""));
        assert_eq!(expand("${env:EMPTY}").as_deref(), Ok(""));
    }

    #[test]
    fn a_doubled_dollar_is_a_literal_one() {
        assert_eq!(expand_as(Dialect::Strict, "$${env:TOKEN}"), Ok(("${env:TOKEN}".to_owned(), false)));
        assert_eq!(expand("$${a} ${env:TOKEN}").as_deref(), Ok("${a} s3cret"));
        assert_eq!(expand("costs $5 {x}").as_deref(), Ok("costs $5 {x}"));
    }

    #[test]
    fn mistakes_name_the_right_form() {
        let fails = |text: &str, part: &str| {
            let error = expand(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        };
        fails("${TOKEN}", "write `${env:TOKEN}`");
        fails("${TOKEN:-x}", "write `${env:TOKEN:-x}`");
        fails("${vault:secret/x}", "values cannot come from `vault`");
        fails("${env:NONE}", "`NONE` is not set");
        fails("${env:A B}", "not the name");
        fails("${env:}", "not the name");
        fails("${file:}", "values cannot come from");
        fails("${file:none}", "cannot read `/etc/lockgate/none`: it does not exist");
        fails("${env:TOKEN", "never closed");
        fails("${}", "write `${env:NAME}`");
    }

    #[test]
    fn clients_write_references_their_own_way() {
        let clients = |text| expand_as(Dialect::Clients, text).map(|(value, _)| value);
        assert_eq!(clients("${TOKEN}").as_deref(), Ok("s3cret"));
        assert_eq!(clients("${NONE:-x}").as_deref(), Ok("x"));
        assert_eq!(clients("${env:TOKEN}").as_deref(), Ok("s3cret"));
        assert!(clients("${input:key}").is_err_and(|error| error.contains("nobody is there")));
        assert!(clients("${file:key}").is_err());
        assert!(clients("${NONE}").is_err_and(|error| error.contains("`${NONE:-default}`")));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\$|\\{|\\}|:|-|env|file|TOKEN|é| ){0,20}") {
            let _ = expand_as(Dialect::Strict, &text);
            let _ = expand_as(Dialect::Clients, &text);
        }

        #[test]
        fn text_without_references_stays_as_it_is(text in "[^$]*") {
            prop_assert_eq!(expand_as(Dialect::Strict, &text), Ok((text, false)));
        }
    }
}
