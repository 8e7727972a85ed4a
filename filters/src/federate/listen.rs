//! What a `subscriptions/listen` asks for, and of whom (MCP 2026-07-28).
//!
//! List changes are the gateway's own news, made from its catalogs; only subscriptions to resources go to the members.

use super::catalog::Catalog;
use super::policy::Policy;
use crate::rpc::members::{items, members};
use crate::rpc::scan::{Form, Value};
use crate::splice::quoted;
use std::collections::BTreeSet;

/// The most resources that one stream may subscribe to.
pub const SUBSCRIPTIONS_MAX: usize = 1_000;

/// One resource, as client and backend call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Whose it is.
    pub member: usize,
    /// What that backend calls it.
    pub original: Box<str>,
    /// What the client calls it.
    pub exposed: Box<str>,
}

/// What a stream wants to hear of, of what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// That the tools changed.
    pub tools: bool,
    /// That the prompts changed.
    pub prompts: bool,
    /// That the resources or templates changed.
    pub resources: bool,
    /// That one of these was updated. What is nobody's, or of a member that takes no subscriptions, is left out, so that it
    /// is not acknowledged.
    pub subscriptions: Vec<Subscription>,
}

impl Wanted {
    /// Reads `params.notifications`; what is not declared, not known or of another form is not wanted.
    pub fn read(notifications: Option<Value>, body: &[u8], catalog: &Catalog, policy: &Policy) -> Wanted {
        let mut wanted = Wanted::default();
        let object = notifications.filter(|value| value.form == Form::Object);
        let object = object.map(|value| value.span.of(body)).unwrap_or_default();
        let capabilities = catalog.capabilities();
        for member in members(object) {
            let on = member.value.form == Form::Bool && member.value.span.of(object) == b"true";
            match &*member.name {
                "toolsListChanged" => wanted.tools = on && capabilities.tools,
                "promptsListChanged" => wanted.prompts = on && capabilities.prompts,
                "resourcesListChanged" => wanted.resources = on && capabilities.resources,
                "resourceSubscriptions" => wanted.subscribe(member.value.span.of(object), catalog, policy),
                _ => {}
            }
        }
        wanted
    }

    fn subscribe(&mut self, uris: &[u8], catalog: &Catalog, policy: &Policy) {
        let mut seen = BTreeSet::new();
        for uri in items(uris).filter_map(|value| value.text(uris)).take(SUBSCRIPTIONS_MAX) {
            let Some(owner) = catalog.resource(&uri) else { continue };
            let admitted = policy.members.get(owner.member).is_some_and(|member| member.admits_uri(&owner.original));
            // What its owner does not take is not acknowledged: nobody would hear of it.
            if admitted && catalog.subscribes(owner.member) && seen.insert(uri.clone().into_owned()) {
                let original = owner.original.as_ref().into();
                self.subscriptions.push(Subscription { member: owner.member, original, exposed: uri.as_ref().into() });
            }
        }
    }

    /// What is acknowledged: the `notifications` object of `notifications/subscriptions/acknowledged`.
    pub fn acknowledged(&self) -> String {
        let flags = [
            (self.tools, "\"toolsListChanged\":true"),
            (self.prompts, "\"promptsListChanged\":true"),
            (self.resources, "\"resourcesListChanged\":true"),
        ];
        let mut parts: Vec<String> =
            flags.into_iter().filter(|(on, _)| *on).map(|(_, member)| member.to_owned()).collect();
        if !self.subscriptions.is_empty() {
            parts.push(subscriptions(self.subscriptions.iter().map(|it| &*it.exposed)));
        }
        format!("{{{}}}", parts.join(","))
    }

    /// The members whose resources are subscribed to.
    pub fn members(&self) -> BTreeSet<usize> {
        self.subscriptions.iter().map(|it| it.member).collect()
    }

    /// What a member is asked for: the `notifications` object of its own `subscriptions/listen`.
    pub fn of_member(&self, member: usize) -> String {
        let own = self.subscriptions.iter().filter(|it| it.member == member);
        format!("{{{}}}", subscriptions(own.map(|it| &*it.original)))
    }
}

fn subscriptions<'a>(uris: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = uris.map(|uri| String::from_utf8_lossy(&quoted(uri)).into_owned()).collect();
    format!("\"resourceSubscriptions\":[{}]", quoted.join(","))
}
