//! `era`: which revision does this request speak, and is that era offered here?
//!
//! A modern request says its revision twice, in `MCP-Protocol-Version` and in `_meta`, and both must agree. A legacy
//! request says it at most in the header; what counts is what its session negotiated. Modern `_meta` without the header
//! is an error, never a legacy request: anything else would let one request be read as two different ones.

use crate::backend::Speaks;
use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::filter::{Ask, Filter, Head, Verdict};
use crate::headers::{METHOD, PROTOCOL_VERSION, SESSION_ID};
use crate::revision::{Era as Age, Revision};
use crate::rpc::scan::{Kind, Message};
use crate::virtual_server::VirtualServer;
use http::Method;
use std::borrow::Cow;
use std::sync::Arc;

/// Decides the era of a request.
#[derive(Debug, Default)]
pub struct Era;

/// What `MCP-Protocol-Version` says.
enum Named<'a> {
    Nothing,
    Known(Revision),
    Unknown(&'a str),
}

impl Era {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "era";
}

impl Filter for Era {
    fn name(&self) -> &'static str {
        Era::NAME
    }

    /// GET and DELETE exist only in the legacy era.
    fn request(&self, head: &Head<'_>, exchange: &mut Exchange) -> Verdict {
        if head.method == Method::POST {
            return Verdict::Continue;
        }
        match named(head) {
            Ok(Named::Known(revision)) if revision.era() == Age::Modern => {
                Refusal::new(Fault::MethodNotAllowed, Era::NAME).with_header("allow", "POST, OPTIONS").into()
            }
            Ok(Named::Known(revision)) => {
                exchange.revision = Some(revision);
                Verdict::Continue
            }
            Ok(Named::Nothing) if only_modern_behind(exchange) => {
                Refusal::new(Fault::MethodNotAllowed, Era::NAME).with_header("allow", "POST, OPTIONS").into()
            }
            Ok(Named::Nothing) => Verdict::Continue,
            Ok(Named::Unknown(_)) | Err(_) => Refusal::new(Fault::SessionRevision, Era::NAME).into(),
        }
    }

    fn message(&self, head: &Head<'_>, message: &Message, exchange: &mut Exchange) -> Verdict {
        let Some(server) = exchange.server.clone() else {
            return Refusal::new(Fault::UnknownPath, Era::NAME).into();
        };
        let named = match named(head) {
            Ok(named) => named,
            Err(refusal) => return unless_legacy_only(&server, refusal).into(),
        };
        if message.params.as_ref().is_some_and(|params| params.malformed_meta.is_some()) {
            return Refusal::new(Fault::InvalidParams, Era::NAME).saying("params._meta must be an object").into();
        }
        match (named, is_modern(message)) {
            (Named::Known(revision), _) if revision.era() == Age::Modern => {
                modern(&server, message, exchange, Some(revision.as_str()))
            }
            (Named::Known(revision), true) => modern(&server, message, exchange, Some(revision.as_str())),
            (Named::Unknown(text), true) => modern(&server, message, exchange, Some(text)),
            (Named::Nothing, true) => modern(&server, message, exchange, None),
            (Named::Unknown(text), false) => unknown_revision(&server, text, exchange),
            (Named::Known(revision), false) => {
                exchange.revision = Some(revision);
                legacy(&server, message, exchange)
            }
            (Named::Nothing, false) => legacy(&server, message, exchange),
        }
    }
}

/// What era a request seems to be of, for whoever counts it: it may have been refused before this filter could decide, and
/// `initialize` has no revision yet. Nothing may be decided by this.
pub fn apparent(head: &Head<'_>, exchange: &Exchange) -> Option<Age> {
    if let Ok(Named::Known(revision)) = named(head) {
        return Some(revision.era());
    }
    let message = exchange.scan.messages.first();
    if head.headers.contains_key(METHOD) || message.is_some_and(|it| meta_revision(it, &exchange.body).is_some()) {
        return Some(Age::Modern);
    }
    let opens = || message.is_some_and(|message| message.is(b"initialize", &exchange.body));
    // Only sessions have streams of their own and are ended; elsewhere a GET may be anything.
    let of_session = || exchange.server.is_some() && matches!(*head.method, Method::GET | Method::DELETE);
    (head.headers.contains_key(SESSION_ID) || opens() || of_session()).then_some(Age::Legacy)
}

fn named<'a>(head: &Head<'a>) -> Result<Named<'a>, Refusal> {
    let mismatch = |text: &'static str| Refusal::new(Fault::HeaderMismatch, Era::NAME).saying(text);
    match head.single(PROTOCOL_VERSION.as_str()) {
        Ok(None) => Ok(Named::Nothing),
        Ok(Some(text)) => Ok(Revision::parse(text.as_bytes()).map_or(Named::Unknown(text), Named::Known)),
        Err(_) => Err(mismatch("MCP-Protocol-Version must be given once, in visible ASCII")),
    }
}

fn only_modern_behind(exchange: &Exchange) -> bool {
    exchange.server.as_ref().is_some_and(|server| server.offers(Age::Legacy) == Speaks::No)
}

/// Whether `_meta` has a member that only modern requests carry: one is enough, or a request could pass for legacy here
/// and for modern behind.
pub fn is_modern(message: &Message) -> bool {
    message.params.as_ref().and_then(|params| params.meta.as_ref()).is_some_and(|meta| {
        meta.protocol_version.is_some()
            || meta.client_capabilities.is_some()
            || meta.client_info.is_some()
            || meta.log_level.is_some()
    })
}

/// `_meta["io.modelcontextprotocol/protocolVersion"]`; a value that is no string counts as a revision nobody knows.
fn meta_revision<'a>(message: &Message, body: &'a [u8]) -> Option<Cow<'a, str>> {
    let value = message.params.as_ref()?.meta.as_ref()?.protocol_version?;
    Some(value.text(body).unwrap_or_default())
}

fn modern(server: &Arc<VirtualServer>, message: &Message, exchange: &mut Exchange, header: Option<&str>) -> Verdict {
    if let Some(verdict) = ensure_offered(server, Age::Modern, exchange) {
        return verdict;
    }
    let mismatch = |text: String| Verdict::from(Refusal::new(Fault::HeaderMismatch, Era::NAME).saying(text));
    let Some(header) = header else {
        return mismatch(
            "MCP-Protocol-Version is missing: _meta names a revision, and the header must repeat it".into(),
        );
    };
    if exchange.scan.batch {
        return Refusal::new(Fault::BatchRefused, Era::NAME).into();
    }
    if message.kind == Kind::Response {
        let text = "clients do not send responses in this revision: answer in the next request's inputResponses";
        return Refusal::new(Fault::NotJsonRpc, Era::NAME).saying(text).into();
    }
    let meta = meta_revision(message, &exchange.body);
    if meta.is_none() && message.is(b"initialize", &exchange.body) {
        return mismatch(format!("initialize does not exist in revision {header}"));
    }
    match meta {
        Some(meta) if meta != header => {
            return mismatch(format!("MCP-Protocol-Version says {header}, _meta says another revision"));
        }
        None if message.kind == Kind::Request => {
            let text = "params._meta[\"io.modelcontextprotocol/protocolVersion\"] is required";
            return Refusal::new(Fault::InvalidParams, Era::NAME).saying(text).into();
        }
        _ => {}
    }
    match Revision::parse(header.as_bytes()) {
        Some(revision) if revision.era() == Age::Modern => {
            exchange.revision = Some(revision);
            Verdict::Continue
        }
        _ => unsupported(server, header).into(),
    }
}

fn legacy(server: &Arc<VirtualServer>, message: &Message, exchange: &mut Exchange) -> Verdict {
    if !message.is(b"initialize", &exchange.body) {
        return Verdict::Continue;
    }
    if let Some(verdict) = ensure_offered(server, Age::Legacy, exchange) {
        return verdict;
    }
    Verdict::Continue
}

/// A verdict that ends or suspends the request unless every backend that is known speaks this era.
fn ensure_offered(server: &Arc<VirtualServer>, era: Age, exchange: &mut Exchange) -> Option<Verdict> {
    match (server.offers(era), era) {
        (Speaks::Yes, _) => None,
        (Speaks::No, _)
            if server.federation.is_some()
                && let Some(text) = server.misfit() =>
        {
            // To send the client to the other era would send it in a circle.
            Some(Refusal::new(Fault::BackendProtocol, Era::NAME).saying(text).into())
        }
        (Speaks::No, Age::Legacy) => Some(only_modern(server).into()),
        (Speaks::No, Age::Modern) => Some(Refusal::new(Fault::EraNotOffered, Era::NAME).into()),
        (Speaks::Unknown, _) => {
            let unknown = server.backends.iter().find(|backend| {
                let facts = backend.facts();
                (if era == Age::Modern { facts.modern } else { facts.legacy }) == Speaks::Unknown
            })?;
            // Of several backends, any one that is known is enough: all are asked at once.
            let ask = match server.federation {
                Some(_) => Ask::Catalog(Arc::clone(server)),
                None => Ask::Eras(Arc::clone(unknown)),
            };
            if !exchange.has_asked(&ask) {
                return Some(Verdict::Ask(ask));
            }
            let refusal = exchange.ask_failure.take().unwrap_or_else(|| {
                Refusal::new(Fault::BackendUnreachable, Era::NAME)
                    .saying(format!("backend {} does not say which protocol revisions it speaks", unknown.name))
            });
            Some(refusal.into())
        }
    }
}

/// What `initialize` gets where nobody behind speaks a legacy revision (MCP 2026-07-28, versioning).
fn only_modern(server: &VirtualServer) -> Refusal {
    Refusal::new(Fault::HeaderMismatch, Era::NAME)
        .saying(format!(
            "this server has no handshake: send requests with MCP-Protocol-Version, supported: {}",
            list(server, ", ")
        ))
        .with_data(supported(server))
}

/// A revision that nobody knows, in a request that is not modern otherwise. Which error it gets depends on the eras that
/// are spoken behind, so these are asked for first.
fn unknown_revision(server: &Arc<VirtualServer>, requested: &str, exchange: &mut Exchange) -> Verdict {
    if (server.offers(Age::Modern) == Speaks::Unknown || server.misfit().is_some())
        && let Some(verdict) = ensure_offered(server, Age::Modern, exchange)
    {
        return verdict;
    }
    unless_legacy_only(server, unsupported(server, requested)).into()
}

fn unsupported(server: &VirtualServer, requested: &str) -> Refusal {
    let requested = serde_json::Value::from(requested);
    Refusal::new(Fault::UnsupportedRevision, Era::NAME)
        .saying(format!("this protocol revision is not supported, these are: {}", list(server, ", ")))
        .with_data(format!("{},\"requested\":{requested}", supported(server)))
}

/// In front of a legacy-only backend no modern error may be seen, or dual-era clients would not fall back to `initialize`.
fn unless_legacy_only(server: &VirtualServer, refusal: Refusal) -> Refusal {
    if server.offers(Age::Modern) == Speaks::No { Refusal::new(Fault::EraNotOffered, Era::NAME) } else { refusal }
}

fn supported(server: &VirtualServer) -> String {
    let revisions: Vec<&str> = server.revisions().map(Revision::as_str).collect();
    format!("\"supported\":{}", serde_json::Value::from(revisions))
}

fn list(server: &VirtualServer, separator: &str) -> String {
    server.revisions().map(Revision::as_str).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests;
