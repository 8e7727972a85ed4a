//! No text makes compiling a condition panic or take long; one that is refused is refused at a place in it; and what is
//! decided while the arguments are not there holds for any arguments.
//!
//! The input is a condition, an empty line, and the arguments.

use http::HeaderMap;
use lockgate_filters::authorize::{Effect, Item, Moment, Policy, PolicySpec, Query, RuleSpec, Ruling};
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::federate::Kind;
use lockgate_filters::principal::{Facts, Principal, Proof};
use std::sync::{Arc, LazyLock};

static CALLER: LazyLock<Principal> = LazyLock::new(|| {
    let claims = serde_json::json!({"level": 3, "paths": ["/a", "/b"], "name": "x"});
    Principal::new(Facts {
        issuer: "https://login.example".into(),
        subject: "alice".into(),
        tenant: Some("acme".into()),
        groups: ["data".into()].into(),
        scopes: None,
        proof: Proof::Token { issuer: "corp".into() },
        claims: Arc::new(claims.as_object().cloned().unwrap_or_default()),
        expires: None,
        credential: None,
    })
});

/// Checks a condition with arguments.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (condition, arguments) = text.split_once("\n\n").unwrap_or((text, "{}"));
    for effect in [Effect::Allow, Effect::Deny] {
        let spec = PolicySpec {
            default: if effect == Effect::Allow { Effect::Deny } else { Effect::Allow },
            headers: vec!["x-team".to_owned()],
            rules: vec![RuleSpec {
                name: "it".to_owned(),
                effect,
                permissions: vec!["tools:*".to_owned()],
                when: Some(condition.to_owned()),
                ..RuleSpec::default()
            }],
            ..PolicySpec::default()
        };
        match Policy::compile(&spec) {
            Ok(policy) => decides(&policy, arguments),
            Err(faults) => {
                let fault = faults.first().expect("refused, and nothing is wrong with it");
                let lines = condition.split('\n').count();
                assert!(fault.at.is_none_or(|at| (1..=lines + 1).contains(&at.line) && at.column > 0), "{fault}");
                assert!(fault.what.len() < 1_000, "{fault}");
            }
        }
    }
}

fn decides(policy: &Policy, arguments: &str) {
    let headers = HeaderMap::new();
    let moment = Moment { source: [10, 0, 0, 1].into(), now: UnixMillis(1_800_000_000_000), headers: &headers };
    let json = br#"{"name":"x","title":"X","annotations":{"readOnlyHint":true}}"#;
    let item = Item { kind: Kind::Tools, backend: "a", original: "x", exposed: "a__x", json };
    let listing = Query::listing(item, moment);
    let using = Query::using(item, arguments.as_bytes(), moment);
    let (before, after) = (policy.decide(&CALLER, "main", &listing), policy.decide(&CALLER, "main", &using));
    assert_ne!(after.ruling, Ruling::Undecided, "undecided, though all is known");
    if before.ruling != Ruling::Undecided {
        assert_eq!(before.ruling, after.ruling, "decided without arguments, and otherwise with them");
    }
    for (query, decision) in [(listing, before), (using, after)] {
        let (explained, explanation) = policy.explain(&CALLER, "main", &query);
        assert_eq!(explained, decision, "explained as something else");
        assert!(explanation.lines().iter().all(|line| line.len() < 100_000));
    }
}
