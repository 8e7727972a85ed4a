//! A policy, a caller, and what it may do with the tools of ten backends.

use http::HeaderMap;
use lockgate_filters::authorize::{
    AssignmentSpec, Decision, Effect, Item, Moment, Policy, PolicySpec, Query, RoleSpec, RuleSpec, View, Who,
};
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::federate::Kind;
use lockgate_filters::principal::{Facts, Principal, Proof};
use std::sync::Arc;

const BACKENDS: [&str; 10] = ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"];

/// How many tools each backend has.
const TOOLS: usize = 50;

/// The arguments of a call: 227 bytes.
pub const ARGUMENTS: &[u8] = br#"{"amount":250,"currency":"EUR","from":"DE02120300000000202051","to":"DE02500105170137075030","path":"/accounts/acme/transfers","note":"for the third quarter, as agreed on the phone this morning with the people of accounting"}"#;

/// A caller and what it may do.
pub struct Authorized {
    view: View,
    headers: HeaderMap,
    names: Vec<String>,
}

impl Authorized {
    /// A caller with a role and a group, under twenty rules of which the tools of one backend have two with conditions.
    /// `None` where the policy does not compile, which is never.
    pub fn new() -> Option<Authorized> {
        let rule = |name: String, effect, permission: String, when: Option<&str>| RuleSpec {
            name,
            effect,
            permissions: vec![permission],
            when: when.map(str::to_owned),
            ..RuleSpec::default()
        };
        let mut rules: Vec<RuleSpec> = (0..18)
            .map(|number| {
                rule(format!("r{number}"), Effect::Deny, format!("tools:call:m{}/drop_{number}*", number % 10), None)
            })
            .collect();
        let small = "args.amount < 1000 && args.currency == 'EUR' && principal.tenant == 'acme'";
        let path = "!args.path.startsWith('/accounts/acme/') || args.to.matches('^[A-Z]{2}99')";
        rules.push(rule("small".to_owned(), Effect::Allow, "tools:call:m9/*".to_owned(), Some(small)));
        rules.push(rule("foreign".to_owned(), Effect::Deny, "tools:call:m9/*".to_owned(), Some(path)));
        let allow = (0..9).map(|backend| format!("tools:call:m{backend}/*")).collect();
        let who = Who { groups: vec!["data".into()], ..Who::default() };
        let spec = PolicySpec {
            roles: vec![RoleSpec { name: "analyst".to_owned(), allow, ..RoleSpec::default() }],
            assignments: vec![AssignmentSpec { role: "analyst".to_owned(), who, place: None }],
            rules,
            ..PolicySpec::default()
        };
        let policy = Arc::new(Policy::compile(&spec).ok()?);
        let principal = Principal::new(Facts {
            issuer: "https://login.example".into(),
            subject: "alice".into(),
            tenant: Some("acme".into()),
            groups: ["data".into(), "ops".into()].into(),
            scopes: None,
            proof: Proof::Token { issuer: "corp".into() },
            claims: Arc::default(),
            expires: None,
            credential: None,
        });
        let names: Vec<String> = (0..TOOLS).map(|number| format!("tool_{number}")).collect();
        let items = BACKENDS.iter().flat_map(|backend| names.iter().map(|name| item(backend, name)));
        let view = View::build(&policy, &principal, "main", items);
        Some(Authorized { view, headers: HeaderMap::new(), names })
    }

    /// Whether a tool of the backend of this number may be called.
    pub fn decide(&self, backend: usize, arguments: &[u8], now: UnixMillis) -> Option<Decision> {
        let moment = Moment { source: [10, 1, 2, 3].into(), now, headers: &self.headers };
        let query = Query::using(item(BACKENDS.get(backend)?, self.names.get(7)?), arguments, moment);
        Some(self.view.decide(backend * TOOLS + 7, &query))
    }
}

fn item<'a>(backend: &'a str, name: &'a str) -> Item<'a> {
    Item { kind: Kind::Tools, backend, original: name, exposed: name, json: b"" }
}
