//! What this room is told of the configuration.

use crate::egress::Trust;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// One issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where its keys are.
    pub keys: KeySettings,
    /// How it is asked about opaque tokens, where it is.
    pub introspection: Option<IntrospectionSettings>,
}

/// Where the keys of an issuer are, and how fresh they must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySettings {
    /// `iss`, exactly as configured.
    pub issuer: Arc<str>,
    /// Where they are.
    pub from: KeysFrom,
    /// How often they are fetched again.
    pub refresh: Duration,
    /// How long keys are believed that cannot be fetched again.
    pub max_stale: Duration,
    /// Who is trusted to be the issuer.
    pub trust: Trust,
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysFrom {
    /// At the `jwks_uri` of the issuer's metadata; this is the issuer, taken apart.
    Discovery(Url),
    /// At a URL that the operator wrote.
    Url(Url),
    /// Here: the content of a file, or of the configuration itself. They are believed as long as they are configured.
    Given(Bytes),
}

impl KeySettings {
    /// Whether the keys of other settings are these keys, so that they can be believed until fetched again.
    pub(super) fn same_place(&self, other: &KeySettings) -> bool {
        (&self.issuer, &self.from, &self.trust) == (&other.issuer, &other.from, &other.trust)
    }
}

/// How an issuer is asked about opaque tokens (RFC 7662).
#[derive(Clone, PartialEq, Eq)]
pub struct IntrospectionSettings {
    /// The endpoint, which the operator wrote.
    pub url: Url,
    /// What the gateway is called there.
    pub client_id: Arc<str>,
    /// What it proves itself with.
    pub client_secret: Zeroizing<String>,
    /// How.
    pub method: ClientAuth,
}

/// The secret and the query of the URL are not shown.
impl fmt::Debug for IntrospectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionSettings").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// How a client proves itself to an authorization server (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the `Authorization` header.
    Basic,
    /// In the form.
    Post,
}
