//! `params`: `Mcp-Param-*` headers say what the arguments of the call say (MCP 2026-07-28).
//!
//! Which arguments are mirrored is said by the schema of the tool that will run, so this comes behind `federate`.

use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::federate::Identity;
use crate::filter::{Ask, Filter, Head, Verdict};
use crate::revision::Era;
use crate::rpc::params::ParamCheck;
use crate::rpc::scan::Message;

/// Checks the arguments of tool calls against the headers that mirror them.
#[derive(Debug, Default)]
pub struct Params;

impl Params {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "params";
}

impl Filter for Params {
    fn name(&self) -> &'static str {
        Params::NAME
    }

    /// What a tool's schema says is looked up again before a request is refused for it, because tools change.
    fn message(&self, head: &Head<'_>, message: &Message, exchange: &mut Exchange) -> Verdict {
        let body = &exchange.body;
        if exchange.era() != Some(Era::Modern) || !message.is(b"tools/call", body) {
            return Verdict::Continue;
        }
        let params = message.params.as_ref();
        let Some(shown) = params.and_then(|params| params.name).and_then(|name| name.text(body)) else {
            return Verdict::Continue;
        };
        let catalog = exchange.catalog.clone();
        let owner = catalog.as_ref().and_then(|catalog| catalog.tool(&shown));
        let tool = owner.map_or(shown.as_ref().into(), |owner| owner.original);
        let member = exchange.target(exchange.at).hop().map(|hop| hop.member);
        let backend = exchange.server.as_ref().zip(member).and_then(|(server, member)| server.backends.get(member));
        let Some(backend) = backend.cloned() else { return Verdict::Continue };
        let arguments = params.and_then(|params| params.arguments).map(|value| value.span.of(body));
        // What this caller is offered decides, where the backend offers it something of its own.
        let own = catalog.as_ref().zip(member).and_then(|(catalog, member)| catalog.params(member));
        if own.is_none() && exchange.has_asked_again() {
            let text = "Mcp-Param-* and arguments disagreed, and what this tool mirrors cannot be asked again now";
            return Refusal::new(Fault::HeaderMismatch, Params::NAME).saying(text).into();
        }
        let facts = backend.facts();
        let disagreement = match own.or(facts.tools.as_ref()) {
            None => None,
            Some(tools) => match tools.check(&tool, arguments, head.headers) {
                ParamCheck::Agrees | ParamCheck::Unknown => return Verdict::Continue,
                ParamCheck::Disagrees(text) => Some(text),
            },
        };
        let ask = own.and_then(|_| asking_again(head, exchange, member)).unwrap_or_else(|| Ask::Tools(backend.clone()));
        if !exchange.has_asked(&ask) {
            return Verdict::Ask(ask);
        }
        match disagreement {
            Some(text) => Refusal::new(Fault::HeaderMismatch, Params::NAME).saying(text).into(),
            // Nobody could say what this backend's tools mirror: it sees the headers as they came and judges them itself.
            None => Verdict::Continue,
        }
    }
}

/// The question what a caller is offered now by a member that tells callers apart.
fn asking_again(head: &Head<'_>, exchange: &Exchange, member: Option<usize>) -> Option<Ask> {
    let (server, callers, member) = (exchange.server.clone()?, exchange.callers.clone()?, member?);
    let identity = Identity::of(head.headers, server.federation.as_ref()?);
    Some(Ask::OwnTools { server, callers, identity, member })
}

#[cfg(test)]
mod tests;
