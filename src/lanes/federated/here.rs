//! Requests that the gateway answers itself, from what it knows of the backends.

use super::super::{Broken, Way};
use super::{RULE, known, tell};
use crate::serve::now;
use crate::session::LogLevel;
use bytes::Bytes;
use lockgate_filters::exchange::Exchange;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::cursor::Position;
use lockgate_filters::federate::describe::discover_result;
use lockgate_filters::federate::render::{self, Caching, ListAnswer};
use lockgate_filters::federate::{Catalog, Failure, Federation, Kind, Local, Standing};
use lockgate_filters::revision::Era;
use lockgate_filters::rpc::reply;
use serde_json::json;
use std::sync::Arc;

/// The response to the request at this place of the body.
pub(in crate::lanes) async fn answer(way: &mut Way<'_>, index: usize, local: &Local) -> Result<Bytes, Broken> {
    let exchange = &way.trip.exchange;
    let id = raw_id(exchange, index);
    let result: Bytes = match local {
        Local::List { kind, after } => return list(way, *kind, after.as_ref(), &id).map(|list| list.whole()),
        Local::Discover => {
            let policy = &way.server.policy;
            let catalog = catalog(way)?;
            let caching = Caching::of(&catalog, now()).kept(federation(way)?.private);
            discover_result(&catalog, policy.revisions(), &server_info(&policy.name), caching)
        }
        Local::SetLevel => {
            let level = level(exchange, index)?;
            way.node = Some(known(way).await?);
            tell::set_level(way, level).await?;
            Bytes::from_static(b"{}")
        }
        Local::NoCompletion => match exchange.era() {
            Some(Era::Modern) => r#"{"resultType":"complete","completion":{"values":[]}}"#.into(),
            _ => r#"{"completion":{"values":[]}}"#.into(),
        },
        Local::Ping => Bytes::from_static(b"{}"),
        Local::Initialize | Local::Listen(_) | Local::Absorb => {
            return Err(Refusal::new(Fault::BatchRefused, RULE).into());
        }
    };
    Ok(reply::result_body(Some(&id), &result))
}

/// A list, from memory.
pub(super) fn list(way: &Way<'_>, kind: Kind, after: Option<&Position>, id: &[u8]) -> Result<ListAnswer, Broken> {
    let federation = federation(way)?;
    let catalog = catalog(way)?;
    if federation.failure == Failure::Strict
        && let Some(missing) = catalog.standings().iter().position(|standing| *standing != Standing::Fresh)
    {
        let backend = way.server.links.get(missing).map_or("", |link| link.name());
        let text = format!("the lists are incomplete: backend \"{backend}\" cannot be asked");
        return Err(Refusal::new(Fault::BackendUnreachable, RULE).saying(text).into());
    }
    let shown = way.trip.exchange.shown.as_ref().unwrap_or(&catalog);
    let page = shown.page(kind, after);
    let server = &way.server.policy.name;
    let cursor = page
        .next
        .as_ref()
        .map(|next| next.seal(&way.server.keys, server, kind, way.trip.exchange.audience()))
        .transpose();
    let cursor = cursor.map_err(|_| Refusal::new(Fault::Internal, RULE))?;
    let era = way.trip.exchange.era().unwrap_or(Era::Legacy);
    let caching = Caching::of(shown, now()).kept(federation.private);
    Ok(render::list(kind, era, id, &page, cursor.as_deref(), caching))
}

/// What is shown in this exchange: by the same it was decided where its messages go.
pub(super) fn catalog(way: &Way<'_>) -> Result<Arc<Catalog>, Refusal> {
    Ok(way.trip.exchange.catalog.clone().unwrap_or(federation(way)?.pinned()))
}

/// What makes this virtual server one of several backends.
pub(super) fn federation<'w>(way: &'w Way<'_>) -> Result<&'w Arc<Federation>, Refusal> {
    way.server.policy.federation.as_ref().ok_or_else(|| Refusal::new(Fault::Internal, RULE))
}

/// What a virtual server calls itself.
pub(super) fn server_info(server: &str) -> String {
    json!({"name": "lockgate", "title": format!("Lockgate: {server}"), "version": env!("CARGO_PKG_VERSION")})
        .to_string()
}

pub(super) fn raw_id(exchange: &Exchange, index: usize) -> Bytes {
    let id = exchange.scan.messages.get(index).and_then(|message| message.id);
    Bytes::copy_from_slice(id.map(|id| id.span.of(&exchange.body)).unwrap_or_default())
}

pub(super) fn level(exchange: &Exchange, index: usize) -> Result<LogLevel, Refusal> {
    let params = exchange.scan.messages.get(index).and_then(|message| message.params.as_ref());
    let text = params.and_then(|params| params.level).and_then(|level| level.text(&exchange.body));
    text.and_then(|text| LogLevel::parse(&text))
        .ok_or_else(|| Refusal::new(Fault::InvalidParams, RULE).saying("params.level is not a log level"))
}
