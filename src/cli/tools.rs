//! `lockgate tools list|call`: what a virtual server, or any MCP endpoint, offers, and what it does.

use super::endpoint::{EndpointArgs, Look};
use super::listing::{NOTHING, harmless, rows};
use super::running::{Refused, failed, usage};
use super::terminal::Terminal;
use super::{Exit, Failure, Hooks, Query, QueryRunner};
use crate::config::values::TimeSpan;
use crate::config::{Sources, Style, SystemSources};
use clap::Subcommand;
use serde_json::{Map, Value};
use std::io::Read as _;
use std::path::Path;

/// The longest arguments, in bytes.
const ARGUMENTS_BYTES_MAX: u64 = 4 << 20;

/// How much of a description is shown to people, in characters.
const DESCRIPTION_SHOWN: usize = 100;

/// List the tools of a virtual server, or call one
///
/// With a configuration file, or none, the gateway that runs with it is asked; where none runs, one is started within this
/// process for as long as the answer takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the tools
    List {
        #[command(flatten)]
        asked: Asked,
    },
    /// Call a tool; exits with 1 when it fails
    Call {
        /// The tool, by the name that it has at this endpoint
        #[arg(value_name = "TOOL")]
        name: String,
        /// An argument, in JSON or as plain text; may be given several times
        #[arg(long = "arg", value_name = "KEY=VALUE", value_parser = argument)]
        arguments: Vec<(String, Value)>,
        /// All arguments as a JSON object: itself, @FILE, or - for standard input
        #[arg(long = "arguments", value_name = "JSON", conflicts_with = "arguments")]
        object: Option<String>,
        #[command(flatten)]
        asked: Asked,
    },
}

#[derive(Debug, clap::Args)]
struct Asked {
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// How long the answer may take
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    time: TimeSpan,
    /// Print the result as JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Carries out a verb of `lockgate tools`.
pub(super) fn execute(arguments: Args, terminal: &mut Terminal<'_>, hooks: Hooks, run: QueryRunner) -> Exit {
    let done = match arguments.verb {
        Verb::List { asked } => list(asked, terminal, hooks, run),
        Verb::Call { name, arguments, object, asked } => {
            let given = match object {
                Some(object) => whole(&object, &SystemSources),
                None => Ok(arguments.into_iter().collect()),
            };
            given.and_then(|given| call(Query::Call { name, arguments: given }, asked, terminal, hooks, run))
        }
    };
    done.unwrap_or_else(|(message, exit)| {
        terminal.error(&message);
        exit
    })
}

fn list(asked: Asked, terminal: &mut Terminal<'_>, hooks: Hooks, run: QueryRunner) -> Result<Exit, Refused> {
    let json = asked.json;
    let result = ask(Query::Tools, asked, terminal, hooks, run)?;
    if json {
        terminal.print(&pretty(&result));
        return Ok(Exit::Ok);
    }
    let text = |tool: &Value, key: &str| tool.get(key).and_then(Value::as_str).unwrap_or(NOTHING).to_owned();
    let style = terminal.out_style();
    let row = |tool: &Value| {
        let description = text(tool, "description");
        let first = description.lines().next().unwrap_or(NOTHING);
        let shown = match style {
            Style::Coloured => first.chars().take(DESCRIPTION_SHOWN).collect(),
            Style::Plain => first.to_owned(),
        };
        [text(tool, "name"), shown]
    };
    let tools = result.get("tools").and_then(Value::as_array).into_iter().flatten();
    terminal.print(&rows(["tool", "description"], tools.map(row), style));
    Ok(Exit::Ok)
}

fn call(
    query: Query,
    asked: Asked,
    terminal: &mut Terminal<'_>,
    hooks: Hooks,
    run: QueryRunner,
) -> Result<Exit, Refused> {
    let json = asked.json;
    let result = ask(query, asked, terminal, hooks, run)?;
    let text = if json { pretty(&result) } else { shown(&result, terminal.out_style()) };
    terminal.print(&text);
    let kind = result.get("resultType").and_then(Value::as_str).unwrap_or("complete");
    if kind != "complete" {
        return Err(failed(format!("error: the tool did not finish: its result is `{}`", harmless(kind))));
    }
    let failed = result.get("isError").and_then(Value::as_bool) == Some(true);
    Ok(if failed { Exit::Failed } else { Exit::Ok })
}

fn ask(
    query: Query,
    asked: Asked,
    terminal: &mut Terminal<'_>,
    hooks: Hooks,
    run: QueryRunner,
) -> Result<Value, Refused> {
    let endpoint = asked.endpoint.find(Look::FileOrNone, terminal, hooks)?;
    let told = |failure: Failure| failed(format!("error: {}", harmless(&failure.to_string())));
    run(endpoint, query, asked.time.get()).map_err(told)
}

/// `KEY=VALUE`: the value is JSON where it can be read as JSON, else a text.
fn argument(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("write KEY=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((key.to_owned(), value))
}

/// All arguments at once.
fn whole(given: &str, sources: &dyn Sources) -> Result<Map<String, Value>, Refused> {
    let text = match given.strip_prefix('@') {
        Some(file) => {
            let content = sources.file(Path::new(file), ARGUMENTS_BYTES_MAX);
            let content = content.map_err(|error| failed(format!("error: cannot read `{file}`: {error}")))?;
            String::from_utf8(content).map_err(|_| failed(format!("error: `{file}` is not UTF-8")))?
        }
        None if given == "-" => {
            let mut text = String::new();
            let read = std::io::stdin().take(ARGUMENTS_BYTES_MAX + 1).read_to_string(&mut text);
            read.map_err(|error| failed(format!("error: standard input: {error}")))?;
            if text.len() as u64 > ARGUMENTS_BYTES_MAX {
                return Err(failed(format!("error: standard input has more than {ARGUMENTS_BYTES_MAX} bytes")));
            }
            text
        }
        None => given.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| usage(format!("error: the arguments are no JSON object: {error}")))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A result as people read it: its texts as they are, everything else as JSON.
fn shown(result: &Value, style: Style) -> String {
    let content = result.get("content").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let block = |block: &Value| match (block.get("type").and_then(Value::as_str), block.get("text")) {
        (Some("text"), Some(Value::String(text))) => text.clone(),
        _ => pretty(block),
    };
    let mut blocks: Vec<String> = content.iter().map(block).collect();
    if blocks.is_empty() {
        blocks.push(pretty(result.get("structuredContent").unwrap_or(result)));
    }
    let text = blocks.join("\n");
    match style {
        Style::Plain => text,
        // A tool's words may not speak to the terminal.
        Style::Coloured => text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NoSources;
    use serde_json::json;

    #[test]
    fn an_argument_is_json_or_text() {
        let value = |text: &str| argument(text).map(|(_, value)| value).ok();
        assert_eq!(value("a=5"), Some(json!(5)));
        assert_eq!(value("a=[1, true]"), Some(json!([1, true])));
        assert_eq!(value("a=x=y"), Some(json!("x=y")));
        assert_eq!(value("a=\"5\""), Some(json!("5")));
        assert_eq!(value("a="), Some(json!("")));
        assert_eq!((value("a"), value("=a")), (None, None));
    }

    #[test]
    fn arguments_are_one_object() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("arguments.json");
        std::fs::write(&file, r#"{"a": [1]}"#).unwrap();
        let given = format!("@{}", file.display());
        assert_eq!(whole(&given, &SystemSources).unwrap()["a"], json!([1]));
        assert_eq!(whole(r#"{"b": 2}"#, &NoSources).unwrap()["b"], 2);
        assert_eq!(whole("[1]", &NoSources).unwrap_err().1, Exit::Usage);
        assert_eq!(whole("@/nowhere/x", &SystemSources).unwrap_err().1, Exit::Failed);
    }

    #[test]
    fn texts_are_shown_as_they_are() {
        let result =
            json!({ "content": [{ "type": "text", "text": "a\u{1b}[2J\tb\nc" }, { "type": "image", "data": "x" }] });
        assert_eq!(shown(&result, Style::Coloured).lines().next(), Some("a [2J\tb"));
        assert!(
            shown(&result, Style::Plain).contains("\u{1b}[2J") && shown(&result, Style::Plain).contains("\"image\"")
        );
        assert_eq!(shown(&json!({ "content": [], "structuredContent": { "x": 1 } }), Style::Plain), "{\n  \"x\": 1\n}");
    }
}
