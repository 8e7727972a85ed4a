//! `envelope`: the headers of a modern request mirror its body (MCP 2026-07-28, header/body agreement).
//!
//! Whoever routes, limits or logs by header relies on this; so a request whose headers say one thing and whose body says
//! another goes no further. Only the modern era has these mirrors.

use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::filter::{Filter, Head, HeaderFault, Verdict};
use crate::headers::{METHOD, NAME};
use crate::revision::Era;
use crate::rpc::members::member;
use crate::rpc::mirror;
use crate::rpc::scan::{Form, Kind, Message, Params, Value};
use std::borrow::Cow;

/// Checks mirrors and the metadata that each modern request must carry.
#[derive(Debug, Default)]
pub struct Envelope;

/// Methods of the legacy era that 2026-07-28 removed.
const REMOVED: [&[u8]; 9] = [
    b"initialize",
    b"ping",
    b"logging/setLevel",
    b"resources/subscribe",
    b"resources/unsubscribe",
    b"tasks/list",
    b"tasks/result",
    b"notifications/initialized",
    b"notifications/roots/list_changed",
];

/// The Tasks extension, and its methods.
pub(crate) const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";
const TASKS: [&[u8]; 3] = [b"tasks/get", b"tasks/update", b"tasks/cancel"];

impl Envelope {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "envelope";
}

impl Filter for Envelope {
    fn name(&self) -> &'static str {
        Envelope::NAME
    }

    fn message(&self, head: &Head<'_>, message: &Message, exchange: &mut Exchange) -> Verdict {
        if exchange.era() != Some(Era::Modern) {
            return Verdict::Continue;
        }
        let body = &exchange.body;
        check_metadata(message)
            .and_then(|()| check_method(head, message, body))
            .and_then(|()| check_name(head, message, body))
            .and_then(|()| check_extension(message, body))
            .map_or_else(Verdict::from, |()| Verdict::Continue)
    }
}

fn mismatch(text: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Fault::HeaderMismatch, Envelope::NAME).saying(text)
}

/// Requests must declare the client's capabilities; `era` has already seen the revision.
fn check_metadata(message: &Message) -> Result<(), Refusal> {
    if message.kind == Kind::Request && capabilities(message).is_none() {
        let text = "params._meta[\"io.modelcontextprotocol/clientCapabilities\"] is required and must be an object";
        return Err(Refusal::new(Fault::InvalidParams, Envelope::NAME).saying(text));
    }
    Ok(())
}

fn capabilities(message: &Message) -> Option<Value> {
    let declared = message.params.as_ref()?.meta.as_ref()?.client_capabilities?;
    (declared.form == Form::Object).then_some(declared)
}

/// Methods of the Tasks extension belong to clients that declare it.
fn check_extension(message: &Message, body: &[u8]) -> Result<(), Refusal> {
    let declared = || capabilities(message).is_some_and(|declared| declares_tasks(declared.span.of(body)));
    if TASKS.iter().any(|method| message.is(method, body)) && !declared() {
        let text = "this method belongs to an extension that the client does not declare";
        let needed = format!("\"requiredCapabilities\":{{\"extensions\":{{\"{TASKS_EXTENSION}\":{{}}}}}}");
        return Err(Refusal::new(Fault::MissingCapability, Envelope::NAME).saying(text).with_data(needed));
    }
    Ok(())
}

fn declares_tasks(capabilities: &[u8]) -> bool {
    let extensions = member(capabilities, "extensions").map(|value| value.span.of(capabilities)).unwrap_or_default();
    member(extensions, TASKS_EXTENSION).is_some_and(|value| value.form == Form::Object)
}

fn check_method(head: &Head<'_>, message: &Message, body: &[u8]) -> Result<(), Refusal> {
    let Some(method) = message.method.and_then(|method| method.text(body)) else {
        return Err(Refusal::new(Fault::NotJsonRpc, Envelope::NAME));
    };
    match head.single(METHOD.as_str()) {
        Ok(Some(named)) if named == method => {}
        Ok(None) if message.kind == Kind::Notification => {}
        Ok(None) => return Err(mismatch("Mcp-Method is missing")),
        Ok(Some(_)) => return Err(mismatch("Mcp-Method differs from the method of the body")),
        Err(fault) => return Err(unreadable("Mcp-Method", fault)),
    }
    if REMOVED.contains(&method.as_bytes()) {
        let text = format!("{method} does not exist in this protocol revision");
        return Err(Refusal::new(Fault::UnknownMethod, Envelope::NAME).saying(text));
    }
    Ok(())
}

/// The member that `Mcp-Name` mirrors for a method, and what it is called.
pub fn mirrored(message: &Message, body: &[u8]) -> Option<(&'static str, Option<Value>)> {
    let field = |name: &'static str, pick: fn(&Params) -> Option<Value>| (name, message.params.as_ref().and_then(pick));
    match message.method?.text(body)?.as_ref() {
        "tools/call" | "prompts/get" => Some(field("name", |params| params.name)),
        "resources/read" => Some(field("uri", |params| params.uri)),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some(field("taskId", |params| params.task_id)),
        _ => None,
    }
}

fn check_name(head: &Head<'_>, message: &Message, body: &[u8]) -> Result<(), Refusal> {
    let Some((member, value)) = mirrored(message, body) else { return Ok(()) };
    let Some(wanted) = value.and_then(|value| value.text(body)) else {
        let text = format!("params.{member} is required and must be a string");
        return Err(Refusal::new(Fault::InvalidParams, Envelope::NAME).saying(text));
    };
    let named = match head.single(NAME.as_str()) {
        Ok(Some(named)) => named,
        Ok(None) => return Err(mismatch("Mcp-Name is missing")),
        Err(fault) => return Err(unreadable("Mcp-Name", fault)),
    };
    match mirror::decode(named) {
        Ok(decoded) if decoded == wanted => Ok(()),
        Ok(_) => Err(mismatch(format!("Mcp-Name differs from params.{member}"))),
        Err(_) => Err(mismatch("Mcp-Name is not valid base64 of UTF-8")),
    }
}

fn unreadable(header: &str, fault: HeaderFault) -> Refusal {
    mismatch(match fault {
        HeaderFault::Repeated => format!("{header} is given more than once"),
        HeaderFault::NotAscii => format!("{header} has characters outside visible ASCII"),
    })
}

#[cfg(test)]
mod tests;
