//! `authenticate`: who calls? Decided before anything else about a virtual server's request, so that whoever must prove who it
//! is learns nothing of what is there.

use super::access::{Access, Admission, Coming, NotAdmitted, Wanted};
use super::credentials::Told;
use crate::authorize::Policy;
use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::filter::{Ask, Filter, Head, Verdict};
use crate::principal::Principal;
use http::header::WWW_AUTHENTICATE;
use std::fmt;
use std::sync::Arc;

/// Lets callers in.
pub struct Authenticate {
    access: Arc<Access>,
    /// Scopes that every token must hold.
    scopes: Box<[Box<str>]>,
    /// What scopes imply.
    policy: Option<Arc<Policy>>,
}

impl Authenticate {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "authenticate";

    /// Lets in who may, and whose token holds these scopes, or such as imply them by the policy.
    pub fn new(access: Arc<Access>, scopes: Box<[Box<str>]>, policy: Option<Arc<Policy>>) -> Authenticate {
        Authenticate { access, scopes, policy }
    }

    fn lacks_scope(&self, principal: &Principal) -> bool {
        let Some(given) = principal.facts().scopes.as_deref() else { return false };
        let holds = |wanted: &str| match &self.policy {
            Some(policy) => policy.scopes().holds(given, wanted),
            None => given.iter().any(|scope| **scope == *wanted),
        };
        !self.scopes.iter().all(|wanted| holds(wanted))
    }
}

impl Filter for Authenticate {
    fn name(&self) -> &'static str {
        Authenticate::NAME
    }

    fn request(&self, head: &Head<'_>, exchange: &mut Exchange) -> Verdict {
        let coming = Coming {
            headers: head.headers,
            query: head.query,
            certificate: exchange.certificate.as_deref(),
            now: exchange.now,
            waited: exchange.has_asked_for_identity(),
        };
        match self.access.admit(coming) {
            Admission::Known(principal) if self.lacks_scope(&principal) => {
                let needed = self.scopes.iter().map(|scope| &**scope);
                insufficient_scope(exchange, needed, Authenticate::NAME).into()
            }
            Admission::Known(principal) => {
                exchange.caller = Some(principal);
                Verdict::Continue
            }
            Admission::Anonymous => Verdict::Continue,
            Admission::Wait(Wanted::Keys(issuer)) => Verdict::Ask(Ask::Keys(issuer)),
            Admission::Wait(Wanted::Opinion(opaque)) => {
                Verdict::Ask(Ask::Opinion { access: Arc::clone(&self.access), opaque })
            }
            // What was asked could not be told: that is no fault of the token.
            Admission::No(_) if exchange.ask_failure.is_some() => {
                exchange.ask_failure.take().map_or(Verdict::Continue, Verdict::from)
            }
            Admission::No(why) => refusal(exchange, why).into(),
        }
    }
}

/// What somebody is told who is not let in.
fn refusal(exchange: &Exchange, why: NotAdmitted) -> Refusal {
    let (fault, text) = match why {
        NotAdmitted::Nothing => (Fault::Unauthenticated, None),
        NotAdmitted::Credential(fault) => match fault.told() {
            Told::Challenge => (Fault::Unauthenticated, Some(fault.text())),
            Told::InvalidToken => (Fault::InvalidToken, None),
            Told::InvalidRequest => (Fault::MisplacedCredential, Some(fault.text())),
        },
        NotAdmitted::Invalid(_) => (Fault::InvalidToken, None),
        NotAdmitted::Unknown(_) => (Fault::AuthorityUnavailable, None),
    };
    let refusal = Refusal::new(fault, Authenticate::NAME).because(why.label());
    let refusal = text.map_or(refusal.clone(), |text| refusal.saying(text));
    let Some(challenges) = &exchange.challenges else { return refusal };
    let challenge = match fault {
        Fault::Unauthenticated => challenges.missing(),
        Fault::InvalidToken => challenges.invalid_token(),
        Fault::MisplacedCredential => challenges.invalid_request(),
        _ => return refusal,
    };
    refusal.with_header(WWW_AUTHENTICATE.as_str(), &**challenge)
}

/// That a token does not hold a scope, and all scopes that are needed, in one go.
pub fn insufficient_scope<'a>(
    exchange: &Exchange,
    needed: impl IntoIterator<Item = &'a str>,
    rule: &'static str,
) -> Refusal {
    let refusal = Refusal::new(Fault::InsufficientScope, rule);
    match &exchange.challenges {
        Some(challenges) => refusal.with_header(WWW_AUTHENTICATE.as_str(), challenges.insufficient_scope(needed)),
        None => refusal,
    }
}

impl fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate").field("access", &self.access).finish_non_exhaustive()
    }
}
