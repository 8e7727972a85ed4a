//! What belongs to a listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// TLS towards clients: PEM files, reloaded when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// The certificate chain, leaf first (PEM). Relative to the configuration file.
    pub certificate: PathBuf,
    /// The private key (PEM). Relative to the configuration file.
    pub key: PathBuf,
    /// Certificate authorities whose client certificates are believed (PEM). Relative to the configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Whether clients must show a certificate. Default with `client_ca`: `optional`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
}

/// Whether clients must show a certificate. One that does not hold is refused in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// They may.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// Whether connections start with a PROXY protocol header. Believed only from `trusted_proxies`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// No header is expected.
    #[default]
    Off,
    /// Version 1 (text) is required from trusted proxies.
    V1,
    /// Version 2 (binary) is required from trusted proxies.
    V2,
    /// Version 1 or 2 is required from trusted proxies.
    Any,
}
