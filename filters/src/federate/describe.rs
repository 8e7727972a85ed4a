//! What a virtual server says of itself: capabilities, instructions, and the results of `initialize` and
//! `server/discover`.

use super::catalog::Catalog;
use super::inventory::Inventory;
use super::kind::Kind;
use super::policy::Policy;
use super::render::Caching;
use crate::revision::Revision;
use crate::rpc::members::member;
use crate::rpc::scan::Form;
use crate::splice::quoted;
use bytes::Bytes;

/// The longest merged instructions, in bytes.
pub const INSTRUCTIONS_BYTES_MAX: usize = 16 * 1024;

/// The capabilities of a virtual server: those of its members that can be carried through the gateway.
///
/// `listChanged` is always declared: lists change here on a reload, and when a backend comes or goes. Not carried are
/// `experimental` (nobody knows what it would need), `tasks` (task ids would have to be owned here) and `extensions`: what
/// an extension demands of those between is its own matter, so one member's cannot be claimed for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `tools`
    pub tools: bool,
    /// `prompts`
    pub prompts: bool,
    /// `resources`
    pub resources: bool,
    /// `resources.subscribe`
    pub subscribe: bool,
    /// `completions`
    pub completions: bool,
    /// `logging`
    pub logging: bool,
}

impl Capabilities {
    /// What at least one member declares, as last known.
    ///
    /// A member of which nothing is known may be able to do anything; a session keeps what it was told for life, so it is
    /// told that it may.
    pub(super) fn union(known: &[Option<&Inventory>]) -> Capabilities {
        let unknown = known.iter().any(Option::is_none);
        let any = |name: &str| known.iter().flatten().any(|inventory| inventory.declares(name));
        Capabilities {
            tools: unknown || any("tools"),
            prompts: unknown || any("prompts"),
            resources: unknown || any("resources"),
            subscribe: unknown || known.iter().flatten().any(|inventory| subscribes(inventory)),
            completions: unknown || any("completions"),
            logging: unknown || any("logging"),
        }
    }

    /// Whether lists of this kind are declared.
    pub fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Tools => self.tools,
            Kind::Prompts => self.prompts,
            Kind::Resources | Kind::Templates => self.resources,
        }
    }

    /// The JSON object.
    pub fn json(&self) -> String {
        let mut members: Vec<&str> = Vec::with_capacity(5);
        if self.tools {
            members.push("\"tools\":{\"listChanged\":true}");
        }
        if self.prompts {
            members.push("\"prompts\":{\"listChanged\":true}");
        }
        match (self.resources, self.subscribe) {
            (true, true) => members.push("\"resources\":{\"listChanged\":true,\"subscribe\":true}"),
            (true, false) => members.push("\"resources\":{\"listChanged\":true}"),
            (false, _) => {}
        }
        if self.completions {
            members.push("\"completions\":{}");
        }
        if self.logging {
            members.push("\"logging\":{}");
        }
        format!("{{{}}}", members.join(","))
    }
}

/// Whether a member takes subscriptions to its resources.
pub(super) fn subscribes(inventory: &Inventory) -> bool {
    let resources = member(&inventory.capabilities, "resources").map(|value| value.span.of(&inventory.capabilities));
    resources
        .and_then(|resources| Some((resources, member(resources, "subscribe")?)))
        .is_some_and(|(resources, value)| value.form == Form::Bool && value.span.of(resources) == b"true")
}

/// The configured instructions, or the members' own under headings, as far as they fit.
pub(super) fn instructions(policy: &Policy, known: &[Option<&Inventory>]) -> Option<Box<str>> {
    if let Some(configured) = &policy.instructions {
        return Some(configured.clone()).filter(|text| !text.is_empty());
    }
    let mut said: Vec<(&str, &str)> = Vec::new();
    for (member, inventory) in policy.members.iter().zip(known) {
        let text = inventory.and_then(|inventory| inventory.instructions.as_deref()).map(str::trim);
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            said.push((&member.backend, text));
        }
    }
    if let ([(_, only)], 1) = (&said[..], policy.members.len()) {
        return Some(super::inventory::cut(only, INSTRUCTIONS_BYTES_MAX).into());
    }
    let mut merged = String::new();
    for (place, (backend, text)) in said.iter().enumerate() {
        // Each gets an equal share of what is left, so that no member can silence those behind it.
        let share = (INSTRUCTIONS_BYTES_MAX - merged.len()) / (said.len() - place);
        let heading = format!("{}## {backend}\n\n", if merged.is_empty() { "" } else { "\n\n" });
        let Some(room) = share.checked_sub(heading.len()).filter(|room| *room > 0) else { continue };
        merged.push_str(&heading);
        merged.push_str(super::inventory::cut(text, room));
    }
    (!merged.is_empty()).then(|| merged.into())
}

/// The result of `initialize`; `server_info` is a JSON object.
pub fn initialize_result(catalog: &Catalog, revision: Revision, server_info: &str) -> Bytes {
    let capabilities = catalog.capabilities().json();
    let mut result =
        format!("{{\"protocolVersion\":\"{revision}\",\"capabilities\":{capabilities},\"serverInfo\":{server_info}")
            .into_bytes();
    add_instructions(&mut result, catalog);
    result.push(b'}');
    result.into()
}

/// The result of `server/discover`; `server_info` is a JSON object.
pub fn discover_result(
    catalog: &Catalog,
    revisions: impl Iterator<Item = Revision>,
    server_info: &str,
    caching: Caching,
) -> Bytes {
    let revisions: Vec<String> = revisions.map(|revision| format!("\"{revision}\"")).collect();
    let mut result = format!(
        "{{\"resultType\":\"complete\",\"supportedVersions\":[{}],\"capabilities\":{}",
        revisions.join(","),
        catalog.capabilities().json()
    )
    .into_bytes();
    add_instructions(&mut result, catalog);
    let end = format!(",{},\"_meta\":{{\"io.modelcontextprotocol/serverInfo\":{server_info}}}}}", caching.members());
    result.extend_from_slice(end.as_bytes());
    result.into()
}

fn add_instructions(result: &mut Vec<u8>, catalog: &Catalog) {
    if let Some(instructions) = catalog.instructions() {
        result.extend_from_slice(b",\"instructions\":");
        result.extend_from_slice(&quoted(instructions));
    }
}

#[cfg(test)]
mod tests;
