//! Who issues tokens, and how their keys and claims are found.

use crate::config::values::{ClaimPath, FetchUrl, Invalid, IssuerUrl, Secret, TimeSpan};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// An issuer of access tokens (an authorization server).
///
/// Its keys are discovered at its well-known URLs, unless one of `jwks_url`, `jwks_file` and `jwks` says where they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// What its tokens say in `iss`, exactly.
    pub issuer: IssuerUrl,
    /// What its access tokens look like.
    #[serde(default)]
    pub profile: TokenProfile,
    /// Where its keys are fetched, in place of discovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<FetchUrl>,
    /// A file with its keys (a JSON Web Key Set), in place of discovery. Relative to the configuration file; read again when
    /// it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// Its keys (a JSON Web Key Set, as text), in place of discovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// The signature algorithms that are believed.
    #[serde(default = "Algorithm::all")]
    pub algorithms: Vec<Algorithm>,
    /// Audiences that are accepted besides the URL of the virtual server that is called.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// By how much its clock may differ.
    #[serde(default = "leeway")]
    pub leeway: TimeSpan,
    /// Where its tokens say what.
    #[serde(default)]
    pub claims: ClaimNames,
    /// How often its keys are fetched again. An unknown key is looked for at once, at most every 10 s.
    #[serde(default = "refresh")]
    pub refresh: TimeSpan,
    /// How long keys that could not be fetched again are believed; then its tokens are refused.
    #[serde(default = "max_stale")]
    pub max_stale: TimeSpan,
    /// TLS towards the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<IssuerTls>,
    /// Where the issuer is asked about opaque tokens (RFC 7662).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection: Option<Introspection>,
}

const fn leeway() -> TimeSpan {
    TimeSpan::seconds(30)
}

const fn refresh() -> TimeSpan {
    TimeSpan::seconds(15 * 60)
}

const fn max_stale() -> TimeSpan {
    TimeSpan::seconds(86_400)
}

/// What an issuer's access tokens look like: how they are told from its other tokens, and what their claims are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenProfile {
    /// RFC 9068: `typ` is `at+jwt`.
    #[default]
    Rfc9068,
    /// Microsoft Entra ID.
    Entra,
    /// Keycloak.
    Keycloak,
    /// Okta.
    Okta,
    /// Auth0.
    Auth0,
}

/// A signature algorithm (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    RS256,
    /// RSA, PKCS #1 v1.5, SHA-384.
    RS384,
    /// RSA, PKCS #1 v1.5, SHA-512.
    RS512,
    /// RSA, PSS, SHA-256.
    PS256,
    /// RSA, PSS, SHA-384.
    PS384,
    /// RSA, PSS, SHA-512.
    PS512,
    /// ECDSA on P-256.
    ES256,
    /// ECDSA on P-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    const ALL: [Algorithm; 9] = [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ];

    const NAMES: [&'static str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

    fn all() -> Vec<Algorithm> {
        Algorithm::ALL.to_vec()
    }

    /// Its name in the header of a token.
    pub fn name(self) -> &'static str {
        Algorithm::NAMES[self as usize]
    }
}

impl FromStr for Algorithm {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Algorithm, Invalid> {
        if let Some(known) = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == text) {
            return Ok(known);
        }
        Err(Invalid::new(if text.eq_ignore_ascii_case("none") {
            "`none` is no signature: anybody could make such a token".to_owned()
        } else if text.to_ascii_uppercase().starts_with("HS") {
            "with HS algorithms whoever can check a token can make one, public keys included: they are never accepted"
                .to_owned()
        } else {
            format!("expected one of {}", Algorithm::NAMES.map(|name| format!("`{name}`")).join(", "))
        }))
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Algorithm, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Algorithm;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an algorithm such as `RS256`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Algorithm, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl JsonSchema for Algorithm {
    fn schema_name() -> Cow<'static, str> {
        "Algorithm".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let description = "A signature algorithm (RFC 7518, RFC 8037).";
        json_schema!({ "description": description, "type": "string", "enum": Algorithm::NAMES })
    }
}

/// Where an issuer's tokens say what, where it is not where its profile has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimNames {
    /// Who the caller is. Default by profile: entra `oid`, else `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<ClaimPath>,
    /// On whose behalf. Default by profile: entra `tid`, auth0 `org_id`, else nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<ClaimPath>,
    /// The caller's teams: a list. Default: `groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<ClaimPath>,
    /// What the caller was given leave for: a list, or words between spaces. Default by profile: entra `scp` or
    /// else `roles`, okta `scp`, else `scope`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<ClaimPath>,
}

/// TLS towards an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerTls {
    /// Certificate authorities to trust instead of the system's (PEM). Relative to the configuration file.
    pub ca: PathBuf,
}

/// Where an issuer is asked about opaque tokens (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Introspection {
    /// The introspection endpoint.
    pub url: FetchUrl,
    /// What the gateway is called there.
    pub client_id: String,
    /// What the gateway proves itself with there.
    pub client_secret: Secret,
    /// How it does.
    #[serde(default)]
    pub method: ClientAuthMethod,
    /// How long an answer counts at most; never longer than the token.
    #[serde(default = "cache")]
    pub cache: TimeSpan,
}

const fn cache() -> TimeSpan {
    TimeSpan::seconds(60)
}

/// How a client proves itself to an authorization server (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMethod {
    /// In the `Authorization` header.
    #[default]
    ClientSecretBasic,
    /// In the form.
    ClientSecretPost,
}
