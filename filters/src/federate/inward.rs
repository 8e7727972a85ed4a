//! `federate`: where each of a client's messages goes, and what must be replaced in it.

mod completion;
mod named;
mod tasks;

pub use named::{Named, named, unknown};

use super::audience::{Callers, Identity};
use super::catalog::{Catalog, Owner, Sent};
use super::cursor::Position;
use super::inventory::cut;
use super::kind::Kind;
use super::listen::Wanted;
use super::naming::Prefixing;
use super::question::{Question, Subject};
use super::target::{Edits, Hop, Local, Target};
use super::uri;
use super::{Federation, Standing};
use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::filter::{Ask, Filter, Head, Verdict};
use crate::revision::Era;
use crate::rpc::scan::{Form, Kind as Sort, Message, Params, Value};
use crate::splice::{Edit, quoted};
use crate::ticket::Keyring;
use crate::virtual_server::VirtualServer;
use smallvec::smallvec;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The longest URI that is repeated in a refusal, in bytes.
const URI_BYTES: usize = 2048;
/// How much of a name is repeated in a refusal, in bytes.
const SHOWN_BYTES: usize = 128;

/// Decides where messages go. Does nothing on a virtual server that is not federated.
pub struct Federate {
    server: Arc<str>,
    keys: Arc<Keyring>,
}

impl fmt::Debug for Federate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Federate").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Federate {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "federate";

    /// Opens cursors and ids that were sealed with `keys` for the virtual server of this name.
    pub fn new(server: Arc<str>, keys: Arc<Keyring>) -> Federate {
        Federate { server, keys }
    }
}

impl Filter for Federate {
    fn name(&self) -> &'static str {
        Federate::NAME
    }

    fn request(&self, head: &Head<'_>, exchange: &mut Exchange) -> Verdict {
        let server = exchange.server.as_ref();
        let federation = server.and_then(|server| Some((server, server.federation.as_ref()?)));
        exchange.callers = federation
            .and_then(|(server, federation)| Callers::of(head.headers, federation, &server.backends))
            .map(Arc::new);
        Verdict::Continue
    }

    fn message(&self, head: &Head<'_>, message: &Message, exchange: &mut Exchange) -> Verdict {
        let federated = exchange.server.as_ref().filter(|server| server.federation.is_some()).cloned();
        let Some(server) = federated else { return Verdict::Continue };
        let Some(federation) = server.federation.as_ref() else { return Verdict::Continue };
        let own = exchange.callers.clone().filter(|_| asks_for_items(message, &exchange.body));
        let certain = own.as_ref().and_then(|callers| self.certain(message, exchange, federation, callers));
        if let Some((catalog, target)) = certain {
            exchange.catalog = Some(catalog);
            exchange.send_to(target);
            return Verdict::Continue;
        }
        let catalog = match (exchange.catalog.clone(), own.clone()) {
            (Some(catalog), _) => catalog,
            (None, None) => federation.pinned(),
            (None, Some(callers)) => {
                let identity = Identity::of(head.headers, federation);
                let ask = Ask::Own { server: Arc::clone(&server), callers, identity };
                return match exchange.has_asked(&ask) {
                    false => Verdict::Ask(ask),
                    // What others are shown is not for these callers.
                    true => {
                        let why = exchange.ask_failure.take();
                        why.unwrap_or_else(|| Refusal::new(Fault::Internal, Federate::NAME)).into()
                    }
                };
            }
        };
        let routing = Routing { filter: self, federation, catalog: &catalog, message, body: &exchange.body, exchange };
        let target = routing.target();
        if matches!(target, Ok(Target::Here(Local::List { .. } | Local::Listen(_)))) {
            server.backends.iter().for_each(|backend| backend.show(exchange.now));
        }
        // Where callers are told apart, whoever made their catalog has waited.
        if own.is_none()
            && depends_on_all(&target)
            && !catalog.is_complete()
            && may_become_known(&server, federation, &catalog)
        {
            let ask = Ask::Catalog(Arc::clone(&server));
            if !exchange.has_asked(&ask) {
                exchange.catalog = None;
                return Verdict::Ask(ask);
            }
        }
        if own.is_some() || exchange.callers.is_none() {
            exchange.catalog = Some(catalog);
        }
        match target {
            Ok(target) => exchange.send_to(target),
            Err(refusal) if exchange.scan.batch => exchange.send_to(Target::Refused(Box::new(refusal))),
            Err(refusal) => return refusal.into(),
        }
        Verdict::Continue
    }
}

impl Federate {
    /// Where a message goes that names something of a member which tells nobody apart, and that nothing which others offer
    /// these callers can take from it: then nobody waits for what they offer. By which catalog, too.
    fn certain(
        &self,
        message: &Message,
        exchange: &Exchange,
        federation: &Federation,
        callers: &Callers,
    ) -> Option<(Arc<Catalog>, Target)> {
        // All messages of a batch are decided by one catalog.
        if federation.policy.prefixing != Prefixing::Always || exchange.scan.batch || exchange.catalog.is_some() {
            return None;
        }
        let body = &exchange.body;
        let params = message.params.as_ref();
        let text = |value: Option<Value>| value.and_then(|value| value.text(body));
        let certain = if message.is(b"tools/call", body) || message.is(b"prompts/get", body) {
            let name = text(params.and_then(|params| params.name));
            name.is_some_and(|name| !callers.members().iter().any(|(at, _)| federation.policy.may_name(*at, &name)))
        } else if message.method.is_some_and(|method| method.text(body).is_some_and(|it| it.starts_with("resources/")))
        {
            // The web's have no prefix that would say whose they are.
            text(params.and_then(|params| params.uri)).is_some_and(|uri| uri::Form::of(&uri) != uri::Form::Web)
        } else {
            false
        };
        if !certain {
            return None;
        }
        let catalog = federation.pinned();
        let target = Routing { filter: self, federation, catalog: &catalog, message, body, exchange }.target().ok()?;
        let is_everybodys = matches!(&target, Target::Member(hop) if callers.at(hop.member).is_none());
        is_everybodys.then_some((catalog, target))
    }
}

/// Whether what is listed decides about a message: it asks for a list, or names something.
fn asks_for_items(message: &Message, body: &[u8]) -> bool {
    let without = [&b"ping"[..], b"initialize", b"server/discover", b"logging/setLevel"];
    message.kind == Sort::Request && !without.iter().any(|method| message.is(method, body))
}

/// Whether another member might make this target another one: what is found in the tables goes to its owner, whoever else
/// is still unknown.
fn depends_on_all(target: &Result<Target, Refusal>) -> bool {
    match target {
        Ok(Target::Here(local)) => {
            matches!(local, Local::List { .. } | Local::Initialize | Local::Discover | Local::Listen(_))
        }
        Ok(_) => false,
        Err(refusal) => {
            matches!(refusal.fault, Fault::UnknownItem | Fault::UnknownResource | Fault::BackendUnreachable)
        }
    }
}

/// Whether asking may bring something of a member: it was never asked, which a request waits for, or it was lost, and may
/// be back, or what is known of it has only just been found out.
fn may_become_known(server: &VirtualServer, federation: &Federation, catalog: &Catalog) -> bool {
    let may_wait = federation.may_wait();
    catalog.is_behind(&server.backends)
        || server.backends.iter().any(|backend| backend.is_lost() || may_wait && backend.is_unasked())
}

/// One message, and what its target is decided on.
struct Routing<'a> {
    filter: &'a Federate,
    federation: &'a Federation,
    catalog: &'a Catalog,
    message: &'a Message,
    body: &'a [u8],
    exchange: &'a Exchange,
}

impl Routing<'_> {
    fn target(&self) -> Result<Target, Refusal> {
        let method = self.message.method.and_then(|method| method.bytes(self.body)).unwrap_or_default();
        match self.message.kind {
            Sort::Request => self.request(&method),
            Sort::Notification => Ok(self.notification(&method)),
            Sort::Response => {
                self.asker(Subject::Id, self.message.id).ok_or_else(|| Refusal::new(Fault::NotAsked, Federate::NAME))
            }
        }
    }

    fn is_modern(&self) -> bool {
        self.exchange.era() == Some(Era::Modern)
    }

    fn request(&self, method: &[u8]) -> Result<Target, Refusal> {
        let modern = self.is_modern();
        match method {
            b"tools/call" => self.named(Kind::Tools),
            b"prompts/get" => self.named(Kind::Prompts),
            b"resources/read" => self.resource(),
            b"resources/subscribe" | b"resources/unsubscribe" if !modern => self.resource(),
            b"completion/complete" => self.completion(),
            b"initialize" if !modern => Ok(Target::Here(Local::Initialize)),
            b"ping" if !modern => Ok(Target::Here(Local::Ping)),
            b"logging/setLevel" if !modern => Ok(Target::Here(Local::SetLevel)),
            b"server/discover" if modern => Ok(Target::Here(Local::Discover)),
            b"subscriptions/listen" if modern => {
                let notifications = self.message.params.as_ref().and_then(|params| params.notifications);
                let wanted = Wanted::read(notifications, self.body, self.catalog, &self.federation.policy);
                Ok(Target::Here(Local::Listen(Box::new(wanted))))
            }
            _ => match Kind::listed_by(method) {
                Some(kind) => Ok(Target::Here(Local::List { kind, after: self.after(kind)? })),
                None => {
                    let fault = if modern { Fault::UnknownMethod } else { Fault::MethodNotFound };
                    let method = String::from_utf8_lossy(method);
                    Err(Refusal::new(fault, Federate::NAME).saying(format!("{} does not exist here", shown(&method))))
                }
            },
        }
    }

    /// Notifications have no answer, so whatever is wrong with one, it just goes no further.
    fn notification(&self, method: &[u8]) -> Target {
        let params = self.message.params.as_ref();
        match method {
            // Each upstream session is told when it is opened; the modern era has no sessions.
            b"notifications/initialized" => Target::Here(Local::Absorb),
            _ if self.is_modern() => Target::Here(Local::Absorb),
            b"notifications/cancelled" => match params.and_then(|params| params.request_id) {
                Some(request) if matches!(request.form, Form::String { .. } | Form::Number) => {
                    Target::Owner { request }
                }
                _ => Target::Here(Local::Absorb),
            },
            b"notifications/progress" => self
                .asker(Subject::Token, params.and_then(|params| params.progress_token))
                .unwrap_or(Target::Here(Local::Absorb)),
            _ => Target::All,
        }
    }

    /// Back to the backend that asked, under the id that it asked with.
    fn asker(&self, subject: Subject, sealed: Option<Value>) -> Option<Target> {
        let sealed = sealed?;
        let Federate { server, keys } = self.filter;
        let question = Question::open_value(keys, server, subject, sealed, self.body)?;
        if self.exchange.ticket.as_ref()?.id != question.session {
            return None;
        }
        let member = self.federation.policy.member(&question.backend)?;
        let edits: Edits = smallvec![Edit { span: sealed.span, with: question.raw.clone() }];
        Some(Target::Asker { question: Box::new(question), hop: Hop { member, edits, name: None } })
    }

    /// To the owner of the tool or prompt that is named.
    fn named(&self, kind: Kind) -> Result<Target, Refusal> {
        let (value, name) = self.required("name", |params| params.name)?;
        match self.catalog.item(kind, &name) {
            Some(owner) => Ok(self.hop(value, &name, &owner)),
            None => Err(self.unknown(kind, &name)),
        }
    }

    /// To the owner of the resource that is named, listed or not.
    fn resource(&self) -> Result<Target, Refusal> {
        let (value, uri) = self.required("uri", |params| params.uri)?;
        self.resource_owner(&uri).map(|owner| self.hop(value, &uri, &owner))
    }

    fn resource_owner<'u>(&self, uri: &'u str) -> Result<Owner<'u>, Refusal> {
        let admitted = |owner: &Owner<'_>| {
            self.federation.policy.members.get(owner.member).is_some_and(|member| member.admits_uri(&owner.original))
        };
        self.catalog.resource(uri).filter(admitted).ok_or_else(|| self.unknown(Kind::Resources, uri))
    }

    fn hop(&self, value: Value, shown: &str, owner: &Owner<'_>) -> Target {
        let mut hop = Hop { member: owner.member, ..Hop::default() };
        hop.edits.extend(tasks::taken_out(self.message, self.body));
        if owner.original != shown {
            let with = owner.sent.map_or_else(|| quoted(&owner.original), |sent| sent.json.clone());
            hop.edits.push(Edit { span: value.span, with });
            if self.is_modern() {
                hop.name = owner.sent.map_or_else(|| Sent::header(&owner.original), |sent| sent.header.clone());
            }
        }
        hop.edits.sort_by_key(|edit| edit.span.start);
        Target::Member(hop)
    }

    fn required(&self, name: &str, pick: fn(&Params) -> Option<Value>) -> Result<(Value, Cow<'_, str>), Refusal> {
        let value = self.message.params.as_ref().and_then(pick);
        value.and_then(|value| Some((value, value.text(self.body)?))).ok_or_else(|| {
            let text = format!("params.{name} is required and must be a string");
            Refusal::new(Fault::InvalidParams, Federate::NAME).saying(text)
        })
    }

    /// Behind which item a list goes on. A client that has no cursor may say so with `null`.
    fn after(&self, kind: Kind) -> Result<Option<Position>, Refusal> {
        let cursor = self.message.params.as_ref().and_then(|params| params.cursor);
        let Some(cursor) = cursor.filter(|value| value.form != Form::Null) else { return Ok(None) };
        let Federate { server, keys } = self.filter;
        let text = cursor.text(self.body).unwrap_or_default();
        match Position::open(keys, server, kind, self.exchange.audience(), &text) {
            Ok(position) => Ok(Some(position)),
            Err(_) => Err(Refusal::new(Fault::InvalidCursor, Federate::NAME)),
        }
    }

    fn unknown(&self, kind: Kind, name: &str) -> Refusal {
        let seems_of = || self.federation.policy.seems_of(kind, name);
        let missing = |member: &usize| self.catalog.standings().get(*member) == Some(&Standing::Missing);
        if kind != Kind::Resources
            && let Some(member) = seems_of().filter(missing)
        {
            if self.exchange.crowded {
                return Refusal::new(Fault::Overloaded, Federate::NAME);
            }
            let backend = &self.federation.policy.members[member].backend;
            let text = format!("backend \"{backend}\" cannot be asked for its {} now", kind.member());
            return Refusal::new(Fault::BackendUnreachable, Federate::NAME).saying(text);
        }
        // It may be one of those that could not be asked.
        if self.exchange.crowded && (kind == Kind::Resources || seems_of().is_none()) {
            return Refusal::new(Fault::Overloaded, Federate::NAME);
        }
        unknown(self.exchange, kind, name)
    }
}

/// A client's text as it is repeated to the client: short, and without control characters.
fn shown(text: &str) -> String {
    let mut shown: String = cut(text, SHOWN_BYTES).chars().filter(|character| !character.is_control()).collect();
    if text.len() > SHOWN_BYTES {
        shown.push('\u{2026}');
    }
    shown
}

#[cfg(test)]
mod tests;
