//! The demo server's resources: an introduction, a clock, the index of the notes, and each note.

use super::notes::{self, Notes};
use super::{clock, prompts};
use rmcp::model::{Reference, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

const ABOUT_URI: &str = "demo://about";
const CLOCK_URI: &str = "demo://clock";
const NOTE_TEMPLATE: &str = "demo://notes/{name}";

const ABOUT: &str = "\
# Lockgate's demo server

It is part of the `lockgate` binary, so that there is something behind the gateway before anything else is installed.

- `echo`, `calculate`, `current_time`, `random_id` and `text_stats` answer at once.
- `wait` takes its time and tells its progress; cancel it.
- `write_note` and `delete_note` change resources: subscribe to `demo://notes` and watch.

Put a server of your own behind the gateway: `lockgate run --backend NAME=URL`.
";

/// The resources that are always there, then the notes.
pub(super) fn list(notes: &Notes) -> Vec<Resource> {
    let mut list = vec![
        Resource::new(ABOUT_URI, "about")
            .with_title("About this server")
            .with_description("What this server is and what to try.")
            .with_mime_type("text/markdown")
            .with_size(ABOUT.len() as u64),
        Resource::new(CLOCK_URI, "clock")
            .with_title("Clock")
            .with_description("The time at this server.")
            .with_mime_type("application/json"),
        Resource::new(notes::INDEX_URI, "notes")
            .with_title("Notes")
            .with_description("The names of the notes. It can be subscribed to.")
            .with_mime_type("application/json"),
    ];
    list.extend(
        notes.names().into_iter().map(|name| {
            Resource::new(notes::uri(&name), name).with_description("A note.").with_mime_type("text/plain")
        }),
    );
    list
}

pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(NOTE_TEMPLATE, "note")
            .with_title("A note")
            .with_description("A note by its name.")
            .with_mime_type("text/plain"),
    ]
}

/// The contents of a resource; `None` when there is none.
pub(super) fn read(notes: &Notes, uri: &str) -> Option<ResourceContents> {
    let (text, mime_type) = match uri {
        ABOUT_URI => (ABOUT.to_owned(), "text/markdown"),
        CLOCK_URI => {
            let now = clock::unix_seconds();
            (json!({ "time": clock::rfc3339(now, 0), "unix_seconds": now }).to_string(), "application/json")
        }
        notes::INDEX_URI => (json!({ "notes": notes.names() }).to_string(), "application/json"),
        _ => (notes.read(note_name(uri)?)?.to_string(), "text/plain"),
    };
    Some(ResourceContents::text(text, uri).with_mime_type(mime_type))
}

/// Whether a client may ask for news of a resource: of the index, and of notes, also of those to come.
pub(super) fn can_change(uri: &str) -> bool {
    uri == notes::INDEX_URI || note_name(uri).is_some()
}

/// What completes `typed` as an argument of a prompt or of a resource template.
pub(super) fn complete(notes: &Notes, reference: &Reference, argument: &str, typed: &str) -> Vec<String> {
    let mut values = match reference {
        Reference::Prompt(prompt) => {
            prompts::completions(&prompt.name, argument).iter().map(|&value| value.to_owned()).collect()
        }
        Reference::Resource(template) if template.uri == NOTE_TEMPLATE && argument == "name" => notes.names(),
        _ => Vec::new(),
    };
    values.retain(|value| value.starts_with(typed));
    values
}

fn note_name(uri: &str) -> Option<&str> {
    uri.strip_prefix(notes::INDEX_URI)?.strip_prefix('/')
}
