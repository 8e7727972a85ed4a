//! Who calls: everything about a caller that a decision may be made on.

use crate::exchange::UnixMillis;
use crate::ticket::PrincipalDigest;
use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// The issuer of callers who have shown an API key.
pub const API_KEYS: &str = "lockgate:api-key";
/// The issuer of callers who have shown a client certificate.
pub const CERTIFICATES: &str = "lockgate:certificate";
/// The issuer of callers of whom nothing is known.
pub const ANONYMOUS: &str = "lockgate:anonymous";

/// Claims that are another in each token of one caller. No decision is made on them but whether the token counts at all, so
/// that decisions can be kept.
pub const PASSING: [&str; 4] = ["exp", "iat", "jti", "nbf"];

/// How a caller has proven who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not at all.
    Nothing,
    /// By a signed token (RFC 7519) of the issuer of this name in the configuration.
    Token {
        /// The issuer's name.
        issuer: Arc<str>,
    },
    /// By a token that the issuer of this name was asked about (RFC 7662).
    Introspection {
        /// The issuer's name.
        issuer: Arc<str>,
    },
    /// By an API key.
    ApiKey,
    /// By a client certificate.
    Certificate,
}

impl Proof {
    /// The label in conditions, logs and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Proof::Nothing => "none",
            Proof::Token { .. } => "token",
            Proof::Introspection { .. } => "introspection",
            Proof::ApiKey => "api_key",
            Proof::Certificate => "certificate",
        }
    }

    /// The configured issuer who vouches for the caller, where one does.
    pub fn issuer(&self) -> Option<&Arc<str>> {
        match self {
            Proof::Token { issuer } | Proof::Introspection { issuer } => Some(issuer),
            Proof::Nothing | Proof::ApiKey | Proof::Certificate => None,
        }
    }
}

/// What makes a [`Principal`].
#[derive(Clone, Debug)]
pub struct Facts {
    /// `iss`, or one of [`API_KEYS`], [`CERTIFICATES`] and [`ANONYMOUS`].
    pub issuer: Arc<str>,
    /// Whom the issuer calls so; nobody else of this issuer.
    pub subject: Arc<str>,
    /// On whose behalf: an organisation within the issuer.
    pub tenant: Option<Arc<str>>,
    /// Its teams.
    pub groups: Box<[Box<str>]>,
    /// What it was given leave for; `None` where its proof knows no scopes, and is limited by none.
    pub scopes: Option<Box<[Box<str>]>>,
    /// How it has proven who it is.
    pub proof: Proof,
    /// What the token says, without [`PASSING`].
    pub claims: Arc<Map<String, Value>>,
    /// The first moment at which the proof no longer counts.
    pub expires: Option<UnixMillis>,
    /// What the proof itself is called: a token's `jti`, a key's id, a certificate's serial number.
    pub credential: Option<Box<str>>,
}

/// Who calls. Made once for each proof, and shared by all requests that show it.
pub struct Principal {
    facts: Facts,
    digest: PrincipalDigest,
    identity: [u8; 32],
}

impl Principal {
    /// The caller with these facts.
    pub fn new(mut facts: Facts) -> Principal {
        if PASSING.iter().any(|name| facts.claims.contains_key(*name)) {
            Arc::make_mut(&mut facts.claims).retain(|name, _| !PASSING.contains(&name.as_str()));
        }
        let digest = match facts.proof {
            Proof::Nothing => PrincipalDigest::ANONYMOUS,
            _ => PrincipalDigest(Hasher::new().text(&facts.issuer).text(&facts.subject).finish()),
        };
        let identity = identity(&facts);
        Principal { facts, digest, identity }
    }

    /// A caller of whom nothing is known.
    pub fn anonymous() -> &'static Principal {
        static ANYBODY: LazyLock<Principal> = LazyLock::new(|| {
            Principal::new(Facts {
                issuer: ANONYMOUS.into(),
                subject: "".into(),
                tenant: None,
                groups: Box::default(),
                scopes: None,
                proof: Proof::Nothing,
                claims: Arc::default(),
                expires: None,
                credential: None,
            })
        });
        &ANYBODY
    }

    /// Everything that is known.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether nothing is known.
    pub fn is_anonymous(&self) -> bool {
        self.facts.proof == Proof::Nothing
    }

    /// What tickets are bound to: the same for all proofs of one caller, and no other caller's.
    pub fn digest(&self) -> PrincipalDigest {
        self.digest
    }

    /// Equal only where every decision is: what caches of anything that depends on the caller are keyed on. It covers all but
    /// until when the proof counts, and what it is called.
    pub fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// Whether the proof counts at this moment.
    pub fn is_current(&self, now: UnixMillis) -> bool {
        self.facts.expires.is_none_or(|expires| now < expires)
    }
}

/// Says how the caller is known, and not who it is: names and claims are personal, and logs are not the place for them.
impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal").field("proof", &self.facts.proof).finish_non_exhaustive()
    }
}

fn identity(facts: &Facts) -> [u8; 32] {
    let mut hasher = Hasher::new().text(&facts.issuer).text(&facts.subject).optional(facts.tenant.as_deref());
    hasher = hasher.list(&facts.groups);
    hasher = match &facts.scopes {
        None => hasher.text("-"),
        Some(scopes) => hasher.text("+").list(scopes),
    };
    hasher = hasher.text(facts.proof.label()).optional(facts.proof.issuer().map(|issuer| &**issuer));
    facts.claims.iter().fold(hasher, |hasher, (name, value)| hasher.text(name).text(&value.to_string())).finish()
}

/// Hashes texts so that no two lists of texts are hashed alike.
struct Hasher(Context);

impl Hasher {
    fn new() -> Hasher {
        Hasher(Context::new(&SHA256))
    }

    fn text(mut self, text: &str) -> Hasher {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    fn optional(self, text: Option<&str>) -> Hasher {
        match text {
            None => self.text("-"),
            Some(text) => self.text("+").text(text),
        }
    }

    fn list(mut self, texts: &[Box<str>]) -> Hasher {
        self.0.update(&(texts.len() as u64).to_le_bytes());
        texts.iter().fold(self, |hasher, text| hasher.text(text))
    }

    fn finish(self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.finish().as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn facts() -> Facts {
        Facts {
            issuer: "https://login.example".into(),
            subject: "alice".into(),
            tenant: Some("acme".into()),
            groups: ["data".into(), "ops".into()].into(),
            scopes: Some(["read".into()].into()),
            proof: Proof::Token { issuer: "corp".into() },
            claims: Arc::new(json!({"sub": "alice", "exp": 1, "jti": "a"}).as_object().cloned().unwrap_or_default()),
            expires: Some(UnixMillis(1_000)),
            credential: Some("a".into()),
        }
    }

    fn with(change: impl FnOnce(&mut Facts)) -> Principal {
        let mut facts = facts();
        change(&mut facts);
        Principal::new(facts)
    }

    fn claim(name: &str, value: Value) -> impl FnOnce(&mut Facts) {
        move |facts: &mut Facts| {
            Arc::make_mut(&mut facts.claims).insert(name.to_owned(), value);
        }
    }

    #[test]
    fn two_proofs_of_one_caller_are_one_principal() {
        let first = Principal::new(facts());
        let renewed = with(|facts| {
            claim("exp", json!(2))(facts);
            claim("jti", json!("b"))(facts);
            facts.expires = Some(UnixMillis(2_000));
            facts.credential = Some("b".into());
        });
        assert_eq!((first.digest(), first.identity()), (renewed.digest(), renewed.identity()));
        assert!(first.is_current(UnixMillis(999)) && !first.is_current(UnixMillis(1_000)));
    }

    #[test]
    fn whatever_may_decide_makes_another_identity() {
        let changed = [
            with(|facts| facts.tenant = None),
            with(|facts| facts.groups = ["data".into()].into()),
            with(|facts| facts.groups = ["dataops".into()].into()),
            with(|facts| facts.scopes = None),
            with(|facts| facts.scopes = Some(Box::default())),
            with(|facts| facts.proof = Proof::Introspection { issuer: "corp".into() }),
            with(|facts| facts.proof = Proof::Token { issuer: "other".into() }),
            with(claim("department", json!("x"))),
        ];
        let mut identities: Vec<_> = changed.iter().map(|principal| *principal.identity()).collect();
        identities.push(*Principal::new(facts()).identity());
        identities.sort_unstable();
        identities.dedup();
        assert_eq!(identities.len(), changed.len() + 1);
        assert!(changed.iter().all(|principal| principal.digest() == Principal::new(facts()).digest()));
    }

    #[test]
    fn issuer_and_subject_do_not_run_into_each_other() {
        let one = with(|facts| (facts.issuer, facts.subject) = ("ab".into(), "c".into()));
        let other = with(|facts| (facts.issuer, facts.subject) = ("a".into(), "bc".into()));
        assert_ne!(one.digest(), other.digest());
        assert_ne!(one.digest(), PrincipalDigest::ANONYMOUS);
        assert_eq!(Principal::anonymous().digest(), PrincipalDigest::ANONYMOUS);
    }

    #[test]
    fn who_it_is_is_not_printed() {
        let text = format!("{:?}", Principal::new(facts()));
        assert!(!text.contains("alice") && !text.contains("acme") && text.contains("corp"), "{text}");
    }
}
