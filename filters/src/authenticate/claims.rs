//! What a verified token makes of its bearer: claims mapped to what decisions are made on.
//!
//! Nothing is coerced: a claim of another type than the one that is looked for is a fault, not an empty list, because what is
//! missing might have been what a rule denies by. Lists are sorted and each entry stands in them once, so that two tokens
//! that say the same make the same caller.

use super::fault::TokenFault;
use super::is_name;
use super::profile::Profile;
use super::selector::Selector;
use super::verify::Verified;
use crate::principal::{Facts, Proof};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The longest subject and tenant, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The most groups, and the most scopes.
pub const ENTRIES_MAX: usize = 256;
/// The longest group and scope, in bytes.
pub const ENTRY_BYTES_MAX: usize = 256;

/// Where the claims of an issuer say what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Who it is: a text.
    pub subject: Selector,
    /// On whose behalf: a text. No claim, no tenant.
    pub tenant: Option<Selector>,
    /// Its teams: a list of texts. No claim, no teams.
    pub groups: Option<Selector>,
    /// What it was given leave for: a text with spaces, or a list of texts, at the first of these places where something
    /// stands. No claim, no leave.
    pub scopes: Box<[Selector]>,
}

impl Mapping {
    /// Where an issuer of this profile says what, unless the configuration knows better.
    ///
    /// Entra's `sub` differs from application to application; `oid` is what its administrators see. Its application tokens
    /// have `roles` in the place of `scp`.
    pub fn of(profile: Profile) -> Mapping {
        let (subject, tenant, scopes): (_, _, &[&'static str]) = match profile {
            Profile::Rfc9068 | Profile::Keycloak => ("sub", None, &["scope"]),
            Profile::Entra => ("oid", Some("tid"), &["scp", "roles"]),
            Profile::Okta => ("sub", None, &["scp"]),
            Profile::Auth0 => ("sub", Some("org_id"), &["scope"]),
        };
        Mapping {
            subject: Selector::member(subject),
            tenant: tenant.map(Selector::member),
            groups: Some(Selector::member("groups")),
            scopes: scopes.iter().map(|name| Selector::member(name)).collect(),
        }
    }

    /// What a verified token makes of its bearer.
    ///
    /// # Errors
    /// [`TokenFault::Claim`] where a claim is missing, of the wrong type or beyond a bound; [`TokenFault::GroupsElsewhere`]
    /// where Entra left the groups out because there are too many.
    pub fn facts(&self, verified: Verified, issuer: &Arc<str>, proof: Proof) -> Result<Facts, TokenFault> {
        let claims = &verified.claims;
        let subject = name(self.subject.find(claims).ok_or(TokenFault::Claim)?)?;
        let tenant = self.tenant.as_ref().and_then(|selector| selector.find(claims)).map(name).transpose()?;
        let groups = match &self.groups {
            None => Box::default(),
            Some(selector) => self.groups(selector, claims)?,
        };
        let scopes =
            self.scopes.iter().find_map(|selector| selector.find(claims)).map_or(Ok(Box::default()), scopes)?;
        Ok(Facts {
            issuer: Arc::clone(issuer),
            subject,
            tenant,
            groups,
            scopes: Some(scopes),
            proof,
            expires: Some(verified.expires),
            credential: verified.id,
            claims: Arc::new(verified.claims),
        })
    }

    fn groups(&self, selector: &Selector, claims: &Map<String, Value>) -> Result<Box<[Box<str>]>, TokenFault> {
        match selector.find(claims) {
            Some(Value::Array(groups)) => entries(groups.iter(), |group| is_name(group, ENTRY_BYTES_MAX)),
            Some(_) => Err(TokenFault::Claim),
            // OpenID Connect Core section 5.6.2: the claim is kept elsewhere. Nobody goes there.
            None if elsewhere(claims, selector.first()) => Err(TokenFault::GroupsElsewhere),
            None => Ok(Box::default()),
        }
    }
}

fn elsewhere(claims: &Map<String, Value>, name: &str) -> bool {
    let named = claims.get("_claim_names").and_then(Value::as_object).is_some_and(|names| names.contains_key(name));
    named || name == "groups" && claims.get("hasgroups").is_some_and(|has| *has != Value::Bool(false))
}

fn name(value: &Value) -> Result<Arc<str>, TokenFault> {
    value.as_str().filter(|name| is_name(name, NAME_BYTES_MAX)).map(Into::into).ok_or(TokenFault::Claim)
}

fn scopes(value: &Value) -> Result<Box<[Box<str>]>, TokenFault> {
    match value {
        Value::String(several) => {
            if several.len() > ENTRIES_MAX * (ENTRY_BYTES_MAX + 1) {
                return Err(TokenFault::Claim);
            }
            sorted(several.split(' ').filter(|scope| !scope.is_empty()), is_scope)
        }
        Value::Array(several) => entries(several.iter(), is_scope),
        _ => Err(TokenFault::Claim),
    }
}

/// RFC 6749 section 3.3: visible ASCII without quotes and backslashes.
pub(super) fn is_scope(scope: &str) -> bool {
    let fits = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    (1..=ENTRY_BYTES_MAX).contains(&scope.len()) && scope.bytes().all(fits)
}

fn entries<'a>(
    values: impl Iterator<Item = &'a Value>,
    fits: impl Fn(&str) -> bool,
) -> Result<Box<[Box<str>]>, TokenFault> {
    let texts = values.map(|value| value.as_str().ok_or(TokenFault::Claim)).collect::<Result<Vec<_>, _>>()?;
    sorted(texts.into_iter(), fits)
}

fn sorted<'a>(
    texts: impl Iterator<Item = &'a str>,
    fits: impl Fn(&str) -> bool,
) -> Result<Box<[Box<str>]>, TokenFault> {
    let mut sorted = Vec::new();
    for text in texts {
        if !fits(text) || sorted.len() == ENTRIES_MAX {
            return Err(TokenFault::Claim);
        }
        sorted.push(Box::from(text));
    }
    sorted.sort_unstable();
    sorted.dedup();
    Ok(sorted.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::UnixMillis;
    use proptest::prelude::*;
    use serde_json::json;

    fn mapped(mapping: &Mapping, claims: Value) -> Result<Facts, TokenFault> {
        let claims = claims.as_object().cloned().unwrap();
        let verified =
            Verified { claims, expires: UnixMillis(9), id: Some("j".into()), audience: "a".into(), bound: None };
        mapping.facts(verified, &"https://i".into(), Proof::Token { issuer: "corp".into() })
    }

    fn default(claims: Value) -> Result<Facts, TokenFault> {
        mapped(&Mapping::of(Profile::Rfc9068), claims)
    }

    fn texts(list: &[Box<str>]) -> Vec<&str> {
        list.iter().map(|text| &**text).collect()
    }

    #[test]
    fn each_profile_has_its_claims() {
        for (profile, claims, subject, tenant, scopes) in [
            (Profile::Rfc9068, json!({"sub": "s", "scope": "b a"}), "s", None, vec!["a", "b"]),
            (Profile::Keycloak, json!({"sub": "s", "scope": "openid"}), "s", None, vec!["openid"]),
            (
                Profile::Entra,
                json!({"sub": "p", "oid": "o", "tid": "t", "scp": "x y", "roles": ["r"]}),
                "o",
                Some("t"),
                vec!["x", "y"],
            ),
            (Profile::Entra, json!({"sub": "p", "oid": "o", "tid": "t", "roles": ["r"]}), "o", Some("t"), vec!["r"]),
            (Profile::Okta, json!({"sub": "s", "scp": ["x", "x"]}), "s", None, vec!["x"]),
            (Profile::Auth0, json!({"sub": "auth0|1", "org_id": "o", "scope": ""}), "auth0|1", Some("o"), vec![]),
        ] {
            let facts = mapped(&Mapping::of(profile), claims).unwrap();
            assert_eq!((&*facts.subject, facts.tenant.as_deref()), (subject, tenant), "{profile:?}");
            assert_eq!(texts(facts.scopes.as_deref().unwrap()), scopes, "{profile:?}");
            assert_eq!(
                (&*facts.issuer, facts.expires, facts.credential.as_deref()),
                ("https://i", Some(UnixMillis(9)), Some("j"))
            );
        }
    }

    #[test]
    fn pointers_lead_to_nested_claims() {
        let mapping = Mapping {
            groups: Some(Selector::parse("/realm_access/roles").unwrap()),
            tenant: Some(Selector::parse("https://x/tenant").unwrap()),
            ..Mapping::of(Profile::Keycloak)
        };
        let facts =
            mapped(&mapping, json!({"sub": "s", "realm_access": {"roles": ["b", "a", "b"]}, "https://x/tenant": "t"}));
        let facts = facts.unwrap();
        assert_eq!((texts(&facts.groups), facts.tenant.as_deref()), (vec!["a", "b"], Some("t")));
    }

    #[test]
    fn a_token_that_says_no_scope_gives_leave_for_nothing() {
        assert_eq!(default(json!({"sub": "s"})).unwrap().scopes.unwrap().len(), 0);
        assert_eq!(default(json!({"sub": "s"})).unwrap().groups.len(), 0);
    }

    #[test]
    fn wrong_types_are_faults_and_never_coerced() {
        for claims in [
            json!({}),
            json!({"sub": 1}),
            json!({"sub": ""}),
            json!({"sub": null}),
            json!({"sub": ["s"]}),
            json!({"sub": "s", "groups": "ops"}),
            json!({"sub": "s", "groups": null}),
            json!({"sub": "s", "groups": {"ops": true}}),
            json!({"sub": "s", "groups": ["ops", 1]}),
            json!({"sub": "s", "groups": [""]}),
            json!({"sub": "s", "groups": ["a\nb"]}),
            json!({"sub": "s", "scope": 1}),
            json!({"sub": "s", "scope": null}),
            json!({"sub": "s", "scope": ["a b"]}),
            json!({"sub": "s", "scope": ["a", ["b"]]}),
            json!({"sub": "s", "scope": "a\tb"}),
            json!({"sub": "s", "scope": "a\"b"}),
        ] {
            assert_eq!(default(claims.clone()).unwrap_err(), TokenFault::Claim, "{claims}");
        }
        let mapping = Mapping::of(Profile::Entra);
        assert_eq!(mapped(&mapping, json!({"oid": "o", "tid": 7})).unwrap_err(), TokenFault::Claim);
    }

    #[test]
    fn claims_are_bounded() {
        let named = |length: usize| default(json!({"sub": "s".repeat(length)})).is_ok();
        assert!(named(1) && named(255) && !named(256));
        assert!(default(json!({"sub": "a\u{7f}"})).is_err() && default(json!({"sub": "a\u{85}"})).is_err());
        let counted = |name: &str, count: usize| {
            default(json!({"sub": "s", name: (0..count).map(|n| n.to_string()).collect::<Vec<_>>()})).is_ok()
        };
        assert!(counted("groups", 256) && !counted("groups", 257) && counted("scope", 256) && !counted("scope", 257));
        let sized = |name: &str, length: usize| default(json!({"sub": "s", name: ["x".repeat(length)]})).is_ok();
        assert!(sized("groups", 256) && !sized("groups", 257) && sized("scope", 256) && !sized("scope", 257));
        assert!(default(json!({"sub": "s", "scope": " ".repeat(100_000)})).is_err());
        assert!(default(json!({"sub": "s", "scope": "a ".repeat(257)})).is_err());
    }

    #[test]
    fn groups_that_are_kept_elsewhere_are_not_taken_for_none() {
        for claims in [
            json!({"sub": "s", "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x"}}}),
            json!({"sub": "s", "hasgroups": true}),
        ] {
            assert_eq!(default(claims).unwrap_err(), TokenFault::GroupsElsewhere);
        }
        assert!(default(json!({"sub": "s", "hasgroups": false, "_claim_names": {"x": "src1"}})).is_ok());
        let mapping = Mapping { groups: None, ..Mapping::of(Profile::Entra) };
        assert!(mapped(&mapping, json!({"oid": "s", "hasgroups": true})).is_ok());
    }

    #[test]
    fn a_scope_is_what_rfc_6749_says() {
        assert!(is_scope("github:read") && is_scope("https://x/.default") && is_scope("!"));
        assert!(!is_scope("") && !is_scope("a b") && !is_scope("a\"") && !is_scope("a\\") && !is_scope("é"));
    }

    proptest! {
        #[test]
        fn the_order_of_groups_and_scopes_does_not_matter(mut all in prop::collection::vec("[a-c]{1,3}", 0..8)) {
            let one = default(json!({"sub": "s", "groups": all.clone(), "scope": all.join(" ")})).unwrap();
            all.reverse();
            let other = default(json!({"sub": "s", "groups": all.clone(), "scope": all})).unwrap();
            prop_assert_eq!(&one.groups, &other.groups);
            prop_assert_eq!(one.scopes, other.scopes);
            prop_assert!(one.groups.is_sorted());
        }
    }
}
