//! The sections of a configuration that mean the same in the file and at run time.
//!
//! Doc comments here are the descriptions of the published JSON Schema: they speak to whoever writes a configuration.

mod admin;
mod auth;
mod backend;
mod cluster;
mod command;
mod issuer;
mod limits;
mod listener;
mod log;
mod member;
mod policy;
mod virtual_server;

pub use admin::{AdminLimits, MetricsAccess};
pub use auth::{ApiKey, ApiKeys, AuthFile, AuthMode, CertificateRule, Egress, Revocations};
pub use backend::{Backend, BackendHttp2, BackendProtocol, BackendTls, Endpoint, Pool, SessionLoss, Timeouts};
pub use cluster::Cluster;
pub use command::{Command, Restart};
pub use issuer::{Algorithm, ClaimNames, ClientAuthMethod, Introspection, Issuer, IssuerTls, TokenProfile};
pub use limits::{Drain, Limits, Streams};
pub use listener::{ClientCertificates, ListenerTls, ProxyProtocol};
pub use log::{Log, LogFormat, LogLevel};
pub use member::{Member, Rename, ResourceSelection, Selection};
pub use policy::{Assignment, DeniedAnswer, Policy, PolicyEffect, PolicyRule, Role, ScopePolicy, UndecidedChoice};
pub use virtual_server::{FailurePolicy, PrefixPolicy, ProtocolRevision};
