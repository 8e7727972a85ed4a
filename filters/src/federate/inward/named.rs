//! What a message names, for whoever decides whether its caller may.

use super::shown;
use super::{Federate, URI_BYTES};
use crate::authorize::Action;
use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::federate::catalog::Catalog;
use crate::federate::kind::Kind;
use crate::revision::Era;
use crate::rpc::members::member;
use crate::rpc::scan::{Form, Message, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// An item that a message names.
#[derive(Clone, Debug)]
pub struct Named<'m> {
    /// What is to be done with it.
    pub action: Action,
    /// Of which kind it is.
    pub kind: Kind,
    /// What clients call it.
    pub exposed: Cow<'m, str>,
    /// Whose it is.
    pub member: usize,
    /// What that backend calls it.
    pub original: Box<str>,
    /// Whether it is not used, but its arguments are completed.
    pub only_completed: bool,
    /// Where it was found.
    pub catalog: Arc<Catalog>,
}

/// What a request names; `None` where it names nothing that there is.
pub fn named<'m>(message: &Message, body: &'m [u8], catalog: &Arc<Catalog>) -> Option<Named<'m>> {
    let method = message.method?.bytes(body)?;
    let params = message.params.as_ref()?;
    let (action, kind, exposed, only_completed) = match &*method {
        b"tools/call" => (Action::CallTool, Kind::Tools, text(params.name, body)?, false),
        b"prompts/get" => (Action::GetPrompt, Kind::Prompts, text(params.name, body)?, false),
        b"resources/read" => (Action::ReadResource, Kind::Resources, text(params.uri, body)?, false),
        b"resources/subscribe" => (Action::Subscribe, Kind::Resources, text(params.uri, body)?, false),
        b"completion/complete" => {
            let (action, kind, exposed) = completed(params.reference?, body, catalog)?;
            (action, kind, exposed, true)
        }
        _ => return None,
    };
    let owner = match kind {
        Kind::Resources => catalog.resource(&exposed)?,
        _ => catalog.item(kind, &exposed)?,
    };
    let (member, original) = (owner.member, owner.original.as_ref().into());
    Some(Named { action, kind, exposed, member, original, only_completed, catalog: Arc::clone(catalog) })
}

fn text(value: Option<Value>, body: &[u8]) -> Option<Cow<'_, str>> {
    value?.text(body)
}

fn completed<'m>(reference: Value, body: &'m [u8], catalog: &Catalog) -> Option<(Action, Kind, Cow<'m, str>)> {
    if reference.form != Form::Object {
        return None;
    }
    let object = reference.span.of(body);
    let text = |name: &str| {
        let value = member(object, name).filter(Value::is_string)?;
        Value { span: value.span.within(reference.span), ..value }.text(body)
    };
    match &*text("type")? {
        "ref/prompt" => Some((Action::GetPrompt, Kind::Prompts, text("name")?)),
        "ref/resource" => {
            let uri = text("uri")?;
            let kind = if catalog.template(&uri).is_some() { Kind::Templates } else { Kind::Resources };
            Some((Action::ReadResource, kind, uri))
        }
        _ => None,
    }
}

/// That there is no such item.
pub fn unknown(exchange: &Exchange, kind: Kind, name: &str) -> Refusal {
    let modern = exchange.era() == Some(Era::Modern);
    let fault = if kind == Kind::Resources && !modern { Fault::UnknownResource } else { Fault::UnknownItem };
    let text = format!("there is no {} \"{}\" here", kind.noun(), shown(name));
    let refusal = Refusal::new(fault, Federate::NAME).saying(text);
    if kind != Kind::Resources || name.len() > URI_BYTES {
        return refusal;
    }
    // Which resource is missing (2026-07-28, resources, error handling).
    refusal.with_data(format!("\"uri\":{}", serde_json::Value::from(name)))
}
