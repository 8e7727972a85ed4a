//! For whom a list is: backends may show each caller another one, and tell callers apart by fields of the client's request
//! that are forwarded to them.
//!
//! To a backend that gets nothing of the client, all clients are the gateway, and one list is right for all. Where it gets
//! such fields and its lists are private, a list that was read with one client's fields is for that client alone. Who that is
//! is known here by a digest; the values are used to read lists, and then forgotten.

use super::Federation;
use super::inventory::Scope;
use crate::backend::Backend;
use crate::splice::Nominated;
use aws_lc_rs::digest::{Context, SHA256};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::sync::Arc;

/// Fields that say something of a request, or of a client's program, and nothing of who calls. Some are another one in each
/// request, and every request would have lists of its own.
const NOT_IDENTITY: [&str; 9] = [
    "accept-language",
    "baggage",
    "b3",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-correlation-id",
    "x-request-id",
    "x-b3-traceid",
];

/// Whether a field that is forwarded may say who calls.
pub fn may_identify(name: &HeaderName) -> bool {
    !NOT_IDENTITY.contains(&name.as_str())
}

/// A digest of who is shown a list.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Audience([u8; 32]);

impl Audience {
    /// Whoever sends these fields.
    fn of<'f>(fields: impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)>) -> Audience {
        let mut context = Context::new(&SHA256);
        for (name, value) in fields {
            for part in [name.as_str().as_bytes(), value.as_bytes()] {
                context.update(&(part.len() as u64).to_le_bytes());
                context.update(part);
            }
        }
        Audience::finish(context)
    }

    fn finish(context: Context) -> Audience {
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Audience(digest)
    }

    /// A part of it that tells audiences apart well enough for what is sealed.
    pub(super) fn mark(&self) -> [u8; 8] {
        let mut mark = [0; 8];
        mark.copy_from_slice(&self.0[..8]);
        mark
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Audience")
    }
}

/// Who calls, as the members of one virtual server see it that tell callers apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callers {
    /// Which members, in order, and who calls there.
    members: Box<[(usize, Audience)]>,
    all: Audience,
}

impl Callers {
    /// Who sends these fields; `None` where that is all one to every member.
    pub fn of(headers: &HeaderMap, federation: &Federation, backends: &[Arc<Backend>]) -> Option<Callers> {
        let members = federation.policy.members.iter().zip(backends).enumerate();
        let telling = members.filter(|(_, (member, backend))| !member.identity.is_empty() && varies(backend));
        let mut nominated = None;
        let mut found = Vec::new();
        for (at, (member, _)) in telling {
            let nominated = nominated.get_or_insert_with(|| Nominated::of(headers));
            let mut fields = sent(headers, &member.identity, nominated).peekable();
            if fields.peek().is_some() {
                found.push((at, Audience::of(fields)));
            }
        }
        if found.is_empty() {
            return None;
        }
        let mut context = Context::new(&SHA256);
        for (member, audience) in &found {
            context.update(&(*member as u64).to_le_bytes());
            context.update(&audience.0);
        }
        Some(Callers { members: found.into(), all: Audience::finish(context) })
    }

    /// Who calls at a member, where that tells callers apart.
    pub fn at(&self, member: usize) -> Option<Audience> {
        self.members.iter().find(|(at, _)| *at == member).map(|(_, audience)| *audience)
    }

    /// Which members tell callers apart, and who calls there.
    pub fn members(&self) -> &[(usize, Audience)] {
        &self.members
    }

    /// Who calls, for all members together.
    pub fn all(&self) -> Audience {
        self.all
    }
}

/// Whether a backend's lists may be others for another caller.
fn varies(backend: &Backend) -> bool {
    backend.facts().inventory.as_ref().is_none_or(|inventory| inventory.scope == Scope::Private)
}

fn sent<'h>(
    headers: &'h HeaderMap,
    names: &'h [HeaderName],
    nominated: &'h Nominated<'_>,
) -> impl Iterator<Item = (&'h HeaderName, &'h HeaderValue)> {
    let forwarded = names.iter().filter(|name| !nominated.names(name));
    forwarded.flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value)))
}

/// What a client sent that says who it is: to be used, never shown.
#[derive(Clone)]
pub struct Identity(HeaderMap);

impl Identity {
    /// Of the fields that any member gets.
    pub fn of(headers: &HeaderMap, federation: &Federation) -> Identity {
        let nominated = Nominated::of(headers);
        let mut found = HeaderMap::new();
        for member in &federation.policy.members {
            for (name, value) in sent(headers, &member.identity, &nominated) {
                // Two members may get the same field.
                if !found.get_all(name).iter().any(|known| known == value) {
                    found.append(name.clone(), value.clone());
                }
            }
        }
        Identity(found)
    }

    /// The fields.
    pub fn fields(&self) -> &HeaderMap {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}
