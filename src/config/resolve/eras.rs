//! Which protocol eras a virtual server can offer: those that all its backends speak.

use super::Resolver;
use crate::config::diagnostic::Finding;
use crate::config::path::KeyPath;
use crate::config::sections::{Backend, BackendProtocol, Member, ProtocolRevision};
use crate::config::values::Name;
use indexmap::IndexMap;

/// How many backends are named in one message.
const NAMED_MAX: usize = 5;

impl Resolver<'_> {
    /// Checks that some era fits all backends of a virtual server, its revisions and its transports; `path` is the server's.
    pub(super) fn check_eras(
        &mut self,
        path: &KeyPath,
        members: &[Member],
        revisions: Option<&[ProtocolRevision]>,
        sse: bool,
        backends: &IndexMap<Name, Backend>,
    ) {
        let written = revisions.unwrap_or_default();
        if revisions.is_some_and(<[_]>::is_empty) && !self.is_pruned(&path.key("revisions")) {
            let finding = Finding::error(path.key("revisions"), "a virtual server offers a revision");
            self.note(finding.help("leave this out for all"));
        }
        for (index, revision) in written.iter().enumerate() {
            if written.iter().take(index).any(|earlier| earlier == revision) {
                let place = self.element(&path.key("revisions"), index);
                self.note(Finding::error(place, "this revision stands here twice"));
            }
        }
        let which = |exclusive: fn(BackendProtocol) -> bool| {
            let protocol = |member: &Member| backends.get(&member.backend).map(|backend| backend.protocol);
            let names = members.iter().filter(|member| protocol(member).is_some_and(exclusive));
            names.map(|member| &member.backend).collect::<Vec<_>>()
        };
        let modern = which(BackendProtocol::is_modern_only);
        let legacy = which(BackendProtocol::is_legacy_only);
        let asked = |modern: bool| written.is_empty() || written.iter().any(|revision| revision.is_modern() == modern);
        let offers_legacy = modern.is_empty() && asked(false);
        let offers_modern = legacy.is_empty() && asked(true);
        if !offers_legacy && !offers_modern {
            let mut reasons = Vec::new();
            if !modern.is_empty() {
                reasons.push(format!("{} only the stateless era", speak(&modern)));
            }
            if !legacy.is_empty() {
                reasons.push(format!("{} only the session era", speak(&legacy)));
            }
            let pinned = modern.is_empty() || legacy.is_empty();
            if pinned {
                reasons.push("`revisions` has none of it".to_owned());
            }
            let place = if pinned { path.key("revisions") } else { path.key("backends") };
            let message = format!("no era fits all: {}", reasons.join(", "));
            self.note(Finding::error(place, message).at_key().help("give each era a virtual server of its own"));
        } else if sse && !offers_legacy {
            let why = if asked(false) {
                format!("{} only the stateless era", speak(&modern))
            } else {
                "`revisions` has none of it".to_owned()
            };
            let message = format!("HTTP+SSE carries the session era: {why}");
            self.note(Finding::error(path.key("sse"), message));
        }
    }
}

/// Backends, and that they speak something.
fn speak(backends: &[&Name]) -> String {
    let mut names: Vec<String> = backends.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect();
    if backends.len() > NAMED_MAX {
        names.push(format!("{} more", backends.len() - NAMED_MAX));
    }
    match (names.pop(), names.is_empty()) {
        (Some(last), true) => format!("{last} speaks"),
        (Some(last), false) => format!("{} and {last} speak", names.join(", ")),
        (None, _) => String::new(),
    }
}
