//! `authorize`: may this caller do this? Asked of each message once it is known whose it is, by the same rules for what is
//! listed, what is called, and what is listened to.

use super::action::Action;
use super::decide::{Decision, Ruling};
use super::policy::Policy;
use super::query::{Args, Item, Moment, Query};
use super::shown::Views;
use crate::authenticate::filter::insufficient_scope;
use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::federate::inward::{Named, named, unknown};
use crate::federate::listen::Wanted;
use crate::federate::{Kind, Local, Target};
use crate::filter::{Filter, Head, Verdict};
use crate::rpc::scan::{Kind as Sort, Message};
use http::HeaderMap;
use std::fmt;
use std::sync::Arc;

/// What callers are told of what they may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeniedAs {
    /// That there is no such item.
    #[default]
    Unknown,
    /// That it is refused.
    Denied,
}

/// Decides by a policy.
pub struct Authorize {
    views: Views,
    denied_as: DeniedAs,
}

impl Authorize {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "authorize";

    /// Decides for the virtual server of this name, whose members have these backends.
    pub fn new(policy: Arc<Policy>, server: Arc<str>, backends: Box<[Arc<str>]>, denied_as: DeniedAs) -> Authorize {
        Authorize { views: Views::new(policy, server, backends), denied_as }
    }

    /// What is decided about something that a message names.
    fn decide(&self, head: &Head<'_>, message: &Message, exchange: &Exchange, named: &Named<'_>) -> Decision {
        let (catalog, body) = (&named.catalog, &exchange.body);
        let moment = moment(head.headers, exchange);
        let args = message.params.as_ref().and_then(|params| params.arguments).filter(|_| named.action.has_arguments());
        let args = args.map(|value| value.span.of(body)).unwrap_or_default();
        let place = catalog.place(named.kind, &named.exposed);
        if let Some(place) = place
            && let Some(item) = self.views.item(catalog, named.kind, place)
            && named.action == Action::of(named.kind)
        {
            let view = self.views.view(exchange.principal(), catalog);
            return match named.only_completed {
                // With which arguments it will be used is not known: it may be completed where it is listed.
                true => view.listed(place, item, moment),
                false => view.decide(place, &Query::using(item, args, moment)),
            };
        }
        let item = Item {
            kind: named.kind,
            backend: self.views.backend(named.member),
            original: &named.original,
            exposed: &named.exposed,
            json: b"",
        };
        let query = Query { action: named.action, item, args: Args::Given(args), moment };
        self.views.policy().decide(exchange.principal(), self.views.server(), &query)
    }

    fn refusal(&self, exchange: &Exchange, named: &Named<'_>, decision: &Decision) -> Refusal {
        if let Ruling::MissingScope(missing) = &decision.ruling {
            let needed = missing.complete.iter().map(|scope| &**scope);
            return insufficient_scope(exchange, needed, Authorize::NAME).because("missing_scope");
        }
        let reason = if decision.failed { "condition_failed" } else { "denied" };
        match self.denied_as {
            DeniedAs::Unknown => unknown(exchange, named.kind, &named.exposed).because(reason),
            DeniedAs::Denied => {
                let refusal = Refusal::new(Fault::PolicyDenied, Authorize::NAME).because(reason);
                match &self.views.policy().rule(decision.rule).reason {
                    Some(text) => refusal.saying(text.to_string()),
                    None => refusal,
                }
            }
        }
    }

    /// Leaves out what may not be listened to, as if nobody had it.
    fn listen(&self, head: &Head<'_>, exchange: &Exchange, wanted: &Wanted) -> Wanted {
        let policy = self.views.policy();
        let caller = policy.caller(exchange.principal(), self.views.server());
        let mut wanted = wanted.clone();
        wanted.subscriptions.retain(|subscription| {
            let item = Item {
                kind: Kind::Resources,
                backend: self.views.backend(subscription.member),
                original: &subscription.original,
                exposed: &subscription.exposed,
                json: b"",
            };
            let moment = moment(head.headers, exchange);
            let query = Query { action: Action::Subscribe, item, args: Args::Given(b""), moment };
            policy.decide_for(&caller, &query).is_allowed()
        });
        wanted
    }
}

fn moment<'h>(headers: &'h HeaderMap, exchange: &Exchange) -> Moment<'h> {
    Moment { source: exchange.client, now: exchange.now, headers }
}

impl Filter for Authorize {
    fn name(&self) -> &'static str {
        Authorize::NAME
    }

    fn message(&self, head: &Head<'_>, message: &Message, exchange: &mut Exchange) -> Verdict {
        if message.kind != Sort::Request {
            return Verdict::Continue;
        }
        let Some(catalog) = exchange.catalog.clone() else {
            return Refusal::new(Fault::Internal, Authorize::NAME).because("no_catalog").into();
        };
        match exchange.target(exchange.at) {
            Target::Here(Local::List { .. }) => {
                let moment = moment(head.headers, exchange);
                exchange.shown = Some(self.views.list(exchange.principal(), &catalog, moment));
                return Verdict::Continue;
            }
            Target::Here(Local::Listen(wanted)) => {
                let wanted = Box::new(self.listen(head, exchange, wanted));
                exchange.send_to(Target::Here(Local::Listen(wanted)));
                return Verdict::Continue;
            }
            Target::Refused(_) => return Verdict::Continue,
            _ => {}
        }
        let Some(named) = named(message, &exchange.body, &catalog) else { return Verdict::Continue };
        let decision = self.decide(head, message, exchange, &named);
        let allowed = if named.only_completed { decision.is_listed() } else { decision.is_allowed() };
        if allowed {
            return Verdict::Continue;
        }
        let refusal = self.refusal(exchange, &named, &decision);
        if exchange.scan.batch {
            exchange.send_to(Target::Refused(Box::new(refusal)));
            return Verdict::Continue;
        }
        refusal.into()
    }
}

impl fmt::Debug for Authorize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorize").field("server", &self.views.server()).finish_non_exhaustive()
    }
}

/// What the policy of a virtual server says now of somebody who listens since earlier.
pub fn may_still_listen(
    policy: &Policy,
    server: &str,
    exchange: &Exchange,
    headers: &HeaderMap,
    item: Item<'_>,
) -> bool {
    let moment = moment(headers, exchange);
    let query = Query { action: Action::Subscribe, item, args: Args::Given(b""), moment };
    policy.decide(exchange.principal(), server, &query).is_allowed()
}
