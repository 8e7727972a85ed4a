//! `guard`: is this request meant for us? Host and Origin checks against DNS rebinding, and CORS for allowed origins.
//!
//! On by default: MCP 2025-11-25 and later require that a bad `Origin` is refused with 403, and a gateway on a laptop is
//! reachable by every page that its owner's browser opens.

mod cors;
mod names;

pub use names::{HostRule, OriginRule};

use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::filter::{Filter, Head, Verdict};
use http::Method;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN};

/// Which hosts a listener serves, and which web origins may call it.
#[derive(Debug)]
pub struct Guard {
    hosts: Vec<HostRule>,
    origins: Vec<OriginRule>,
}

impl Guard {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "guard";

    /// A guard that admits these hosts, and these origins besides requests without an `Origin`.
    pub fn new(hosts: Vec<HostRule>, origins: Vec<OriginRule>) -> Guard {
        Guard { hosts, origins }
    }

    fn admits_origin(&self, head: &Head<'_>) -> bool {
        match head.single(ORIGIN.as_str()) {
            Ok(Some(origin)) => self.origins.iter().any(|rule| rule.admits(origin)),
            _ => false,
        }
    }

    fn check_host(&self, head: &Head<'_>) -> Result<(), Refusal> {
        let refused = || Refusal::new(Fault::HostRefused, Guard::NAME);
        let field = head.single(HOST.as_str()).map_err(|_| refused())?;
        let named = match (head.authority, field) {
            (Some(authority), Some(field)) if !authority.eq_ignore_ascii_case(field) => return Err(refused()),
            (Some(named), _) | (None, Some(named)) => named,
            (None, None) => return Err(refused()),
        };
        if self.hosts.iter().any(|rule| rule.admits(named)) { Ok(()) } else { Err(refused()) }
    }
}

impl Filter for Guard {
    fn name(&self) -> &'static str {
        Guard::NAME
    }

    fn request(&self, head: &Head<'_>, exchange: &mut Exchange) -> Verdict {
        let sent = head.headers.get(ORIGIN);
        let admitted = sent.is_some() && self.admits_origin(head);
        if let Some(sent) = sent
            && admitted
        {
            // First, so that a page that may call can read whatever is refused from here on.
            cors::expose(sent, exchange);
        }
        if let Err(refusal) = self.check_host(head) {
            return refusal.into();
        }
        if sent.is_none() {
            return Verdict::Continue;
        }
        if !admitted {
            return Refusal::new(Fault::OriginRefused, Guard::NAME).into();
        }
        if head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return Verdict::Answer(cors::preflight(head));
        }
        Verdict::Continue
    }
}

#[cfg(test)]
mod tests;
