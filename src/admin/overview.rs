//! What `GET /backends` and `GET /servers` tell: the parts of the gateway as an operator thinks of them.
//!
//! What is not known is `null` or left out, never a guess. The command line reads these back, so what it does not know
//! must not disturb it: every member but the names has a default.

use serde::{Deserialize, Serialize};

/// What `/backends` tells.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Backends {
    /// The configuration in use: 1 at start, one more with each change.
    pub generation: u64,
    /// Its backends, in the order of the configuration.
    pub backends: Vec<BackendReport>,
}

/// One backend.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendReport {
    /// Its name in the configuration.
    pub name: String,
    /// How it is reached: `streamable_http`, `sse` or `stdio`.
    pub transport: String,
    /// The protocol that is configured: `auto`, `modern`, `legacy` or `sse`.
    pub protocol: String,
    /// The eras it speaks, as far as known: `legacy`, `modern`.
    pub eras: Vec<String>,
    /// The protocol revisions that it names itself, newest first.
    pub revisions: Vec<String>,
    /// Where it is reached; empty for a command.
    pub endpoints: Vec<EndpointReport>,
    /// How it is started, where it is.
    pub command: Option<CommandReport>,
    /// Whether it answered when it was last asked; `None` until it was.
    pub up: Option<bool>,
    /// The virtual servers that it is part of.
    pub servers: Vec<String>,
    /// How much it offers.
    pub items: Items,
    /// Why it could not be asked the last time the gateway tried; `None` where it could.
    pub last_error: Option<String>,
    /// What is wrong with what it offers.
    pub offences: Vec<Offence>,
    /// How many offences are not listed.
    pub further_offences: usize,
}

/// One endpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointReport {
    /// Its URL, masked where that may hold a secret.
    pub url: String,
    /// Whether it answered when it was last asked.
    pub up: Option<bool>,
}

/// A command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandReport {
    /// Its words, masked where they may hold a secret.
    pub run: Vec<String>,
    /// Whether all callers share one instance.
    pub shared: bool,
    /// How many instances run.
    pub instances: Option<usize>,
    /// How many may.
    pub instances_most: u32,
}

/// How many items there are of each kind, where that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Items {
    /// Tools.
    pub tools: Option<usize>,
    /// Prompts.
    pub prompts: Option<usize>,
    /// Resources.
    pub resources: Option<usize>,
    /// Resource templates.
    pub resource_templates: Option<usize>,
}

/// An item, or a list, that the gateway does not show as it came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Offence {
    /// Of which kind: `tools`, `prompts`, `resources`, `resource_templates`.
    pub kind: String,
    /// Its name, made harmless; empty where it has none.
    pub name: String,
    /// What is wrong.
    pub what: String,
}

/// What `/servers` tells.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Servers {
    /// The configuration in use.
    pub generation: u64,
    /// Its virtual servers, in the order of the configuration.
    pub servers: Vec<ServerReport>,
}

/// One virtual server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerReport {
    /// Its name in the configuration.
    pub name: String,
    /// Every path that leads to it, that of the configuration first.
    pub paths: Vec<PathReport>,
    /// Where clients reach it: one URL for each listener that offers it.
    pub urls: Vec<String>,
    /// Whether everything passes as it is: one backend, nothing selected, renamed or added.
    pub direct: bool,
    /// Its backends, in the order of the configuration.
    pub members: Vec<MemberReport>,
    /// The eras that clients are offered, as far as known: `legacy`, `modern`.
    pub eras: Vec<String>,
    /// The protocol revisions that clients are offered, as far as known, newest first.
    pub revisions: Vec<String>,
    /// How many items it shows; not known of what passes as it is.
    pub items: Items,
    /// Items that are left out because another one has their name.
    pub clashes: Vec<Clash>,
    /// How many clashes are not listed.
    pub further_clashes: usize,
}

/// One path of a virtual server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PathReport {
    /// The path.
    pub path: String,
    /// What it leads to: `mcp`, `view`, `sse` or `message`.
    pub kind: String,
    /// The backend of a `view`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
}

/// A backend as part of a virtual server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberReport {
    /// Its name in the configuration.
    pub backend: String,
    /// What its items' names begin with, where they may get a prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What is known of its items: `fresh`, `stale` or `missing`; `None` where they are not the gateway's business.
    pub standing: Option<String>,
}

/// Two items that would have one name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Clash {
    /// Of which kind.
    pub kind: String,
    /// The name, URI or template.
    pub exposed: String,
    /// Whose item is shown.
    pub kept: Owner,
    /// Whose is not.
    pub lost: Owner,
}

/// Whose an item is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// The backend.
    pub backend: String,
    /// What that calls it.
    pub original: String,
}
