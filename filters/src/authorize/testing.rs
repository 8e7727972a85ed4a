//! Callers and policies for tests.

use super::{Item, Moment, Policy, PolicySpec};
use crate::exchange::UnixMillis;
use crate::federate::Kind;
use crate::principal::{Facts, Principal, Proof};
use http::HeaderMap;
use serde_json::Value;
use std::sync::Arc;

/// A caller of this subject, whom the issuer `corp` vouches for.
pub fn caller(subject: &str) -> Caller {
    Caller(Facts {
        issuer: "https://login.example".into(),
        subject: subject.into(),
        tenant: None,
        groups: Box::default(),
        scopes: None,
        proof: Proof::Token { issuer: "corp".into() },
        claims: Arc::default(),
        expires: None,
        credential: None,
    })
}

/// A caller that is made.
pub struct Caller(Facts);

impl Caller {
    /// In these teams.
    pub fn groups(mut self, groups: &[&str]) -> Caller {
        self.0.groups = groups.iter().map(|group| (*group).into()).collect();
        self
    }

    /// With leave for these.
    pub fn scopes(mut self, scopes: &[&str]) -> Caller {
        self.0.scopes = Some(scopes.iter().map(|scope| (*scope).into()).collect());
        self
    }

    /// Of this tenant.
    pub fn tenant(mut self, tenant: &str) -> Caller {
        self.0.tenant = Some(tenant.into());
        self
    }

    /// With these claims.
    pub fn claims(mut self, claims: Value) -> Caller {
        self.0.claims = Arc::new(claims.as_object().cloned().unwrap_or_default());
        self
    }

    /// The caller.
    pub fn principal(self) -> Principal {
        Principal::new(self.0)
    }
}

/// A tool of a backend, with its JSON.
pub fn tool<'a>(backend: &'a str, original: &'a str, json: &'a str) -> Item<'a> {
    Item { kind: Kind::Tools, backend, original, exposed: original, json: json.as_bytes() }
}

/// A policy and a moment to ask it at.
pub struct World {
    /// The policy.
    pub policy: Arc<Policy>,
    /// What requests carry.
    pub headers: HeaderMap,
}

impl World {
    /// A policy that is made of an empty one.
    pub fn new(make: impl FnOnce(&mut PolicySpec)) -> World {
        let mut spec = PolicySpec::default();
        make(&mut spec);
        let policy = Policy::compile(&spec).unwrap_or_else(|faults| {
            panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        });
        World { policy: Arc::new(policy), headers: HeaderMap::new() }
    }

    /// A Sunday at noon.
    pub fn moment(&self) -> Moment<'_> {
        Moment { source: [10, 1, 2, 3].into(), now: UnixMillis(1_795_348_800_000), headers: &self.headers }
    }
}
