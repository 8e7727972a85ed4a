//! Claims that count name their issuer, their audience and a time that has not come; what is made of them is bounded.
//!
//! The input is what an issuer signs, and what it answers when it is asked.

use crate::issuer::{ISSUER, NOW, SERVER, THUMBPRINT, token, verified};
use lockgate_filters::authenticate::claims::{ENTRIES_MAX, ENTRY_BYTES_MAX, Mapping, NAME_BYTES_MAX};
use lockgate_filters::authenticate::clock::LEEWAY_MILLIS_MAX;
use lockgate_filters::authenticate::profile::Profile;
use lockgate_filters::authenticate::selector::Selector;
use lockgate_filters::principal::{Principal, Proof};
use serde_json::{Map, Value};

/// Checks claims.
pub fn check(data: &[u8]) {
    for profile in Profile::ALL {
        for header in [&br#"{"alg":"EdDSA","kid":"k","typ":"at+jwt"}"#[..], br#"{"alg":"EdDSA","kid":"k","typ":"JWT"}"#]
        {
            let Ok(verified) = verified(&token(header, data), profile) else { continue };
            let claims: Map<String, Value> = serde_json::from_slice(data).expect("an object");
            assert_eq!(verified.claims, claims, "read in another way");
            assert_eq!(claims["iss"], ISSUER);
            assert!(verified.expires > NOW, "has expired");
            let named =
                |aud: &Value| aud == SERVER || aud.as_array().is_some_and(|several| several.contains(&SERVER.into()));
            assert!(named(&claims["aud"]), "is for somebody else");
            for foreign in ["at_hash", "c_hash", "s_hash", "events"] {
                assert!(!claims.contains_key(foreign), "is no access token");
            }
            assert_eq!(verified.bound, claims.contains_key("cnf").then_some(THUMBPRINT));
            let latest = claims["exp"].as_f64().unwrap_or(f64::MAX) * 1000.0 + LEEWAY_MILLIS_MAX as f64;
            assert!(verified.expires.0 as f64 <= latest.max(0.0), "counts for longer than it says");
            for mapping in mappings(profile) {
                let again = lockgate_filters::authenticate::verify::Verified {
                    claims: verified.claims.clone(),
                    expires: verified.expires,
                    id: verified.id.clone(),
                    audience: verified.audience.clone(),
                    bound: verified.bound,
                };
                let Ok(facts) = mapping.facts(again, &ISSUER.into(), Proof::Token { issuer: "corp".into() }) else {
                    continue;
                };
                let name =
                    |text: &str| (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
                assert!(name(&facts.subject) && facts.tenant.as_deref().is_none_or(name));
                for list in [Some(&facts.groups), facts.scopes.as_ref()].into_iter().flatten() {
                    assert!(list.len() <= ENTRIES_MAX && list.is_sorted());
                    assert!(list.iter().all(|entry| (1..=ENTRY_BYTES_MAX).contains(&entry.len())));
                }
                assert!(Principal::new(facts).is_current(NOW));
            }
        }
    }
}

fn mappings(profile: Profile) -> [Mapping; 2] {
    let at = |pointer: &str| Selector::parse(pointer).expect("a pointer");
    let nested = Mapping {
        subject: at("/aud/0"),
        tenant: Some(at("https://x/tenant")),
        groups: Some(at("/realm_access/roles")),
        scopes: [at("/a~1b"), at("/resource_access/x/roles")].into(),
    };
    [Mapping::of(profile), nested]
}
