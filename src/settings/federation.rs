//! What a virtual server makes of its backends' items, in the words of the filters.

use crate::config::model::{Config, VirtualServer};
use crate::config::sections::{AuthMode, FailurePolicy, Member, PrefixPolicy, ProtocolRevision, Selection};
use http::HeaderName;
use lockgate_filters::federate::audience::may_identify;
use lockgate_filters::federate::glob;
use lockgate_filters::federate::naming::Prefixing;
use lockgate_filters::federate::policy::{self, Policy, Rename, Rules};
use lockgate_filters::federate::{Failure, Federation};
use lockgate_filters::revision::Revision;

/// How several backends become one server; `None` where everything passes as the only backend says it.
pub fn federation(config: &Config, server: &VirtualServer) -> Option<Federation> {
    if config.is_direct(server) {
        return None;
    }
    let policy = Policy {
        prefixing: match server.prefix {
            PrefixPolicy::Always => Prefixing::Always,
            PrefixPolicy::OnConflict => Prefixing::OnConflict,
            PrefixPolicy::Never => Prefixing::Never,
        },
        separator: server.separator.as_str().into(),
        members: server.backends.iter().map(|member| self::member(config, member)).collect(),
        page_size: server.page_size as usize,
        instructions: server.instructions.as_deref().map(Into::into),
    };
    let failure = match server.failure {
        FailurePolicy::Partial => Failure::Partial,
        FailurePolicy::Strict => Failure::Strict,
        FailurePolicy::Stale => Failure::Stale,
    };
    Some(Federation::new(policy, failure, server.grace.as_millis()).for_callers(is_for_callers(config, server)))
}

/// The same for one of its backends alone, under its own names.
pub fn view(config: &Config, server: &VirtualServer, backend: &Member) -> Option<Federation> {
    if !is_for_callers(config, server) {
        return None;
    }
    let own = VirtualServer {
        backends: vec![Member::of(backend.backend.clone())],
        prefix: PrefixPolicy::Never,
        instructions: None,
        ..server.clone()
    };
    federation(config, &own)
}

/// Whether what a virtual server shows depends on who calls, or may not be shown to everybody.
fn is_for_callers(config: &Config, server: &VirtualServer) -> bool {
    server.auth.mode != AuthMode::None || config.policy.is_some()
}

/// Whether some virtual server lists from memory what a backend offers.
pub fn is_stocked(config: &Config, backend: &str) -> bool {
    let lists = |server: &VirtualServer| server.backends.iter().any(|member| member.backend.as_str() == backend);
    config.virtual_servers.values().any(|server| lists(server) && !config.is_direct(server))
}

/// The only revisions that a virtual server's clients are offered; `None` for all.
pub fn pinned(server: &VirtualServer) -> Option<Box<[Revision]>> {
    let revision = |revision: &ProtocolRevision| match revision {
        ProtocolRevision::V2024_11_05 => Revision::V2024_11_05,
        ProtocolRevision::V2025_03_26 => Revision::V2025_03_26,
        ProtocolRevision::V2025_06_18 => Revision::V2025_06_18,
        ProtocolRevision::V2025_11_25 => Revision::V2025_11_25,
        ProtocolRevision::V2026_07_28 => Revision::V2026_07_28,
    };
    (!server.revisions.is_empty()).then(|| server.revisions.iter().map(revision).collect())
}

fn member(config: &Config, member: &Member) -> policy::Member {
    policy::Member {
        backend: member.backend.shared(),
        prefix: config.prefix_of(member).as_str().into(),
        tools: rules(&member.tools),
        prompts: rules(&member.prompts),
        resources: glob::Selection::new(
            &texts(&member.resources.allow, |glob| glob.as_str()),
            &texts(&member.resources.deny, |glob| glob.as_str()),
        ),
        identity: identity(config, member.backend.as_str()),
    }
}

/// The fields of a client's request that a backend gets and that may say who calls.
fn identity(config: &Config, backend: &str) -> Box<[HeaderName]> {
    let listed = config.backends.iter().find(|(name, _)| name.as_str() == backend);
    let listed = listed.into_iter().flat_map(|(_, backend)| &backend.forward_headers).map(|key| key.name());
    listed.filter(|name| may_identify(name)).cloned().collect()
}

fn rules(selection: &Selection) -> Rules {
    let rename = |(original, rename): (&String, &crate::config::sections::Rename)| {
        let name = rename.name.as_ref().map(|name| name.as_str().into());
        let description = rename.description.as_deref().map(Into::into);
        (original.as_str().into(), Rename { name, description })
    };
    Rules {
        selection: glob::Selection::new(
            &texts(&selection.allow, |glob| glob.as_str()),
            &texts(&selection.deny, |glob| glob.as_str()),
        ),
        renames: selection.rename.iter().map(rename).collect(),
    }
}

fn texts<T>(items: &[T], text: fn(&T) -> &str) -> Vec<&str> {
    items.iter().map(text).collect()
}
