//! How callers prove who they are besides tokens, and what a virtual server asks of them.

use crate::config::values::{FetchUrl, Glob, KeyHash, Moment, Name, Reach, Scope, TimeSpan};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// Whether callers must prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// Nobody is let in without a proof.
    #[default]
    Required,
    /// Who shows no proof is anonymous; who shows one that does not hold is refused.
    Optional,
    /// Everybody is anonymous, whatever they show.
    None,
}

/// What a virtual server asks of its callers. `required`, `optional` or `none` alone takes every proof that is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthFile {
    pub mode: AuthMode,
    pub issuers: Option<Vec<Name>>,
    pub api_keys: Option<bool>,
    pub certificates: Option<bool>,
    pub audiences: Vec<String>,
    pub scopes: Vec<Scope>,
    pub default_resource: bool,
}

/// What a virtual server asks of its callers. `required`, `optional` or `none` alone takes every proof that is configured.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct AuthMap {
    /// Whether callers must prove who they are.
    mode: AuthMode,
    /// The issuers whose tokens are taken. Default: all.
    issuers: Option<Vec<Name>>,
    /// Whether API keys are taken. Default: where any is configured.
    api_keys: Option<bool>,
    /// Whether client certificates are taken. Default: where a rule for them is configured.
    certificates: Option<bool>,
    /// Audiences that are accepted besides the URL of this virtual server.
    audiences: Vec<String>,
    /// Scopes that every caller with a token must have.
    scopes: Vec<Scope>,
    /// Whether its metadata (RFC 9728) is found at the root of the listener too. One virtual server of a listener may.
    default_resource: bool,
}

impl<'de> Deserialize<'de> for AuthFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AuthFile, D::Error> {
        struct ModeOrMap;
        impl<'de> Visitor<'de> for ModeOrMap {
            type Value = AuthFile;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`required`, `optional`, `none`, or a map")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<AuthFile, E> {
                let mode = AuthMode::deserialize(text.into_deserializer())?;
                Ok(AuthFile { mode, ..AuthFile::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AuthFile, A::Error> {
                let AuthMap { mode, issuers, api_keys, certificates, audiences, scopes, default_resource } =
                    AuthMap::deserialize(MapAccessDeserializer::new(map))?;
                Ok(AuthFile { mode, issuers, api_keys, certificates, audiences, scopes, default_resource })
            }
        }
        deserializer.deserialize_any(ModeOrMap)
    }
}

impl JsonSchema for AuthFile {
    fn schema_name() -> Cow<'static, str> {
        "Auth".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (map, mode) = (AuthMap::json_schema(generator), generator.subschema_for::<AuthMode>());
        json_schema!({ "anyOf": [map, mode] })
    }
}

/// API keys: a list, or a map with the file that holds the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeys {
    /// The file that they were read from.
    pub file: Option<PathBuf>,
    /// The keys.
    pub keys: Vec<ApiKey>,
}

impl ApiKeys {
    /// Whether nobody has one.
    pub fn is_none(&self) -> bool {
        self.file.is_none() && self.keys.is_empty()
    }
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeysMap {
    /// A YAML file with the list of keys. Relative to the configuration file; read again when it changes.
    file: PathBuf,
}

impl<'de> Deserialize<'de> for ApiKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ApiKeys, D::Error> {
        struct ListOrMap;
        impl<'de> Visitor<'de> for ListOrMap {
            type Value = ApiKeys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of keys, or a map with `file`")
            }
            fn visit_unit<E: Error>(self) -> Result<ApiKeys, E> {
                Ok(ApiKeys::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ApiKeys, A::Error> {
                let keys = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(ApiKeys { file: None, keys })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ApiKeys, A::Error> {
                let ApiKeysMap { file } = ApiKeysMap::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ApiKeys { file: Some(file), keys: Vec::new() })
            }
        }
        deserializer.deserialize_any(ListOrMap)
    }
}

/// Written as it was: the keys of a file stay there.
impl Serialize for ApiKeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.file {
            Some(file) => ApiKeysMap { file: file.clone() }.serialize(serializer),
            None => self.keys.serialize(serializer),
        }
    }
}

impl JsonSchema for ApiKeys {
    fn schema_name() -> Cow<'static, str> {
        "ApiKeys".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (list, map) = (Vec::<ApiKey>::json_schema(generator), ApiKeysMap::json_schema(generator));
        json_schema!({ "anyOf": [list, map] })
    }
}

/// A key that a caller shows, kept as its hash. `lockgate key new` makes one, and prints its entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Its name, which stands in the key itself.
    pub id: Name,
    /// What the key hashes to.
    pub hash: KeyHash,
    /// Who the caller is. Default: the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The caller's teams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What the caller has leave for. Default: it is not limited by scopes; an empty list is leave for nothing that needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    /// When the key ends. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Moment>,
    /// The virtual servers that take it. Default: all that take API keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_servers: Option<Vec<Name>>,
}

/// Who a client certificate speaks for. A certificate is tried against the rules in order; the first that fits counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateRule {
    /// A pattern for one of its alternative names: of a URI where it holds `://`, of a mail address where it holds `@`, else
    /// of a host. A `*` does not reach beyond a `/`, a `.` or the `@`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub san: Option<Glob>,
    /// A pattern for its subject: `CN=agent-*,O=Example`, as RFC 4514 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_dn: Option<Glob>,
    /// A pattern for its issuer, in the same form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_dn: Option<Glob>,
    /// Who the caller is: a text in which `{san}` stands for the alternative name that fits.
    pub subject: String,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The caller's teams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What the caller has leave for. Default: it is not limited by scopes; an empty list is leave for nothing that needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
}

/// What no longer counts although it has not ended: a list of `{ jti, issuer }`, `{ subject, issuer }` and `{ api_key }`, as
/// YAML or JSON. `issuer` may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Revocations {
    /// A file with the list. Relative to the configuration file; read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Where a list is fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<FetchUrl>,
    /// How often the lists are read again.
    pub refresh: TimeSpan,
    /// How old a list may become that cannot be read again; then nobody who shows a proof is let in.
    pub max_stale: TimeSpan,
}

impl Default for Revocations {
    fn default() -> Revocations {
        Revocations { file: None, url: None, refresh: TimeSpan::seconds(30), max_stale: TimeSpan::seconds(300) }
    }
}

/// What the gateway itself may fetch. URLs that stand in this configuration are not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Egress {
    /// Networks and hosts that URLs from documents and redirects may lead to although their addresses are not public.
    pub allow: Vec<Reach>,
}
