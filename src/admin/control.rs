//! What the admin listener needs of the gateway.

use super::overview::{Backends, Servers};
use async_trait::async_trait;
use serde::Serialize;
use std::sync::Arc;

/// The gateway as its operator sees it.
///
/// Everything is asked anew on each request, so a reload changes it without telling the listener.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Whether clients should be sent here: configured, not draining.
    fn ready(&self) -> bool;

    /// More about it, for those who hold the token.
    fn detail(&self) -> Detail;

    /// The configuration in use, with its defaults filled in and its secrets masked.
    fn config(&self, form: ConfigForm) -> EffectiveConfig;

    /// The backends, and what is known of them.
    fn backends(&self) -> Backends;

    /// The virtual servers, and what is known of them.
    fn servers(&self) -> Servers;

    /// Reads the configuration again and, if it is good, uses it.
    ///
    /// Runs to its end even if whoever asked goes away. Several may be asked for at once: the implementation runs one
    /// after the other.
    async fn reload(&self) -> ReloadOutcome;

    /// The metrics in the Prometheus text format.
    fn metrics(&self) -> String;

    /// Who may read them.
    fn metrics_policy(&self) -> MetricsPolicy;

    /// The admin token.
    fn token(&self) -> Arc<str>;

    /// Further names that this listener is reached by: `host` (any port) or `host:port`.
    fn allowed_hosts(&self) -> Arc<[String]>;
}

/// Who may read `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsPolicy {
    /// Everybody on a loopback listener; elsewhere the holder of the token.
    #[default]
    Loopback,
    /// Everybody.
    Open,
    /// The holder of the token.
    Token,
}

/// How the configuration is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigForm {
    /// As in a configuration file.
    Yaml,
    /// The same structure as JSON.
    Json,
}

/// The configuration in use.
#[derive(Clone, Debug)]
pub struct EffectiveConfig {
    /// 1 at start, one more with each change.
    pub generation: u64,
    /// Since when it is in use, in seconds since the Unix epoch.
    pub since_unix_seconds: u64,
    /// The configuration in the form that was asked for.
    pub text: String,
}

/// What `/readyz` tells the holder of the token.
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    /// Whether clients should be sent here.
    pub ready: bool,
    /// Whether the gateway is stopping.
    pub draining: bool,
    /// The configuration in use: 1 at start, one more with each change.
    pub generation: u64,
    /// The last reload, once there was one.
    pub last_reload: Option<LastReload>,
    /// The backends of that configuration.
    pub backends: Vec<BackendState>,
}

/// How the last reload ended.
#[derive(Clone, Debug, Serialize)]
pub struct LastReload {
    /// When it ended, in seconds since the Unix epoch.
    pub unix_seconds: u64,
    /// What it did.
    #[serde(flatten)]
    pub outcome: ReloadOutcome,
}

/// What is known of a backend.
#[derive(Clone, Debug, Serialize)]
pub struct BackendState {
    /// Its name in the configuration.
    pub name: String,
    /// Whether it answered when it was last asked, by a client or by the gateway itself; `None` until it was.
    pub up: Option<bool>,
    /// The eras it speaks, as far as known: `legacy`, `modern`.
    pub eras: Vec<&'static str>,
}

/// What a reload did.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// The configuration changed and is in use.
    Applied {
        /// The new generation.
        generation: u64,
        /// What changed, as paths in the configuration.
        changed: Vec<String>,
        /// What changed in the file but only takes effect after a restart, with the reason.
        needs_restart: Vec<String>,
    },
    /// The configuration is what was already in use.
    Unchanged {
        /// The generation in use.
        generation: u64,
        /// What differs in the file but only takes effect after a restart, with the reason.
        needs_restart: Vec<String>,
    },
    /// The configuration is wrong; nothing changed.
    Rejected {
        /// The generation that stays in use.
        generation: u64,
        /// Everything that is wrong with it.
        diagnostics: Vec<Diagnostic>,
    },
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnostic {
    /// Where in the structure, such as `backends.demo.endpoints[0].url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What is wrong, and what would be right.
    pub message: String,
}
