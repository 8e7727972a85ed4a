//! What the rooms that will use a configuration have against it, each at its path.
//!
//! The same functions that compile a snapshot are asked here, while the text of the configuration is still at hand: so
//! what validates also starts, and what does not is shown at its line.

use super::{backend, identity, listener_files, policy, ticket_keys};
use crate::config::path::KeyPath;
use crate::config::{Config, Objection};
use crate::listen::tls::{TlsError, TlsMaterial};
use crate::session::keys::{self, KeysFault};
use crate::upstream::{Registry, Setting, SettingsError};
use lockgate_filters::ticket::KeyFault;
use std::path::PathBuf;

/// Stands for the demo server, which may not run yet.
const DEMO: &str = "http://127.0.0.1/mcp";

/// Everything that keeps a configuration from being used on this machine. Reads the files that it names: it blocks.
pub fn judge(config: &Config) -> Vec<Objection> {
    judge_with(&Registry::new(), config)
}

/// As [`judge`], with a registry that has read the system's certificates already.
pub fn judge_with(registry: &Registry, config: &Config) -> Vec<Objection> {
    let mut found = certificates(config);
    found.extend(sealing_keys(config));
    found.extend(backends(registry, config));
    found.extend(callers(config));
    found
}

/// What is wrong with who callers are, and what they may do.
fn callers(config: &Config) -> Vec<Objection> {
    let mut found = identity::issuers(config).err().unwrap_or_default();
    for (name, issuer) in &config.issuers {
        found.extend(identity::claims(&KeyPath::from(["issuers", name.as_str()]), issuer).err());
    }
    found.extend(identity::api_keys(config).err());
    found.extend(identity::certificates(config).err());
    found.extend(policy(config).err().into_iter().flatten());
    found
}

/// The path of a backend's setting.
pub(super) fn path_of(backend: &str, setting: &Setting) -> KeyPath {
    let backend = KeyPath::from(["backends", backend]);
    let tls = backend.key("tls");
    match setting {
        Setting::Endpoints => backend.key("endpoints"),
        Setting::Command => backend.key("command").key("run"),
        Setting::Protocol => backend.key("protocol"),
        Setting::Url => backend.key("endpoints").index(0).key("url"),
        Setting::Ca => tls.key("ca"),
        Setting::ServerName => tls.key("server_name"),
        Setting::Certificate => tls.key("certificate"),
        Setting::Key => tls.key("key"),
        Setting::Header(name) => backend.key("headers").key(name.as_str()),
    }
}

/// An error about a backend's setting, at its path.
pub(super) fn objection(backend: &str, error: SettingsError) -> Objection {
    Objection::new(path_of(backend, &error.setting), error.message)
}

fn certificates(config: &Config) -> Vec<Objection> {
    let mut found = Vec::new();
    for (name, listener) in &config.listeners {
        let Some(files) = listener_files(listener) else { continue };
        let Err(error) = TlsMaterial::load(&files) else { continue };
        let path = KeyPath::from(["listeners", name.as_str(), "tls"]);
        let (certificate, key, ca) = (path.key("certificate"), path.key("key"), path.key("client_ca"));
        let is_ca = |path: &PathBuf| files.clients.as_ref().is_some_and(|clients| clients.ca == *path);
        // The errors' own texts name the files, and where a file lies may be a secret.
        found.push(match error {
            TlsError::Pem { path, error } if path == files.key => Objection::new(key, pem(&error)),
            TlsError::Pem { path, error } if is_ca(&path) => Objection::new(ca, pem(&error)),
            TlsError::NoCertificate { path } if is_ca(&path) => {
                Objection::new(ca, "it holds no certificate in PEM form")
            }
            TlsError::Pem { error, .. } => Objection::new(certificate, pem(&error)),
            TlsError::NoCertificate { .. } => Objection::new(certificate, "it holds no certificate in PEM form"),
            TlsError::NotACertificate { .. } => Objection::new(certificate, "it holds no X.509 certificate"),
            TlsError::Unusable { error, .. } => Objection::new(key, format!("with this certificate: {error}")),
            TlsError::Clients { error, .. } => Objection::new(ca, error),
            TlsError::Setup(error) => Objection::new(path, format!("TLS cannot be set up: {error}")),
        });
    }
    found
}

fn pem(error: &rustls::pki_types::pem::Error) -> String {
    format!("it cannot be read as PEM: {error}")
}

fn sealing_keys(config: &Config) -> Vec<Objection> {
    let keys = ticket_keys(config);
    let path = KeyPath::from(["tickets", "keys"]);
    let at = |index: usize| path.index(index).key("secret");
    let alone = keys.iter().enumerate().filter_map(|(index, key)| Some((index, keys::configured(&[*key]).err()?)));
    let mut found: Vec<_> = alone.map(|(index, fault)| Objection::new(at(index), unfit(&fault))).collect();
    if found.is_empty()
        && !keys.is_empty()
        && let Err(fault) = keys::configured(&keys)
    {
        let index = match &fault {
            KeysFault::Unfit(KeyFault::Duplicate(id)) => keys.iter().position(|key| *key.id == **id),
            _ => None,
        };
        found.push(Objection::new(index.map_or(path.clone(), at), unfit(&fault)));
    }
    found
}

/// What is wrong with a key, without its name: that may have come from elsewhere.
fn unfit(fault: &KeysFault) -> String {
    match fault {
        KeysFault::Unfit(KeyFault::Weak(_)) => {
            "this key repeats itself, so it is not random: make one with `openssl rand -base64 32`".to_owned()
        }
        KeysFault::Unfit(KeyFault::Duplicate(_)) => "an earlier key has the same secret".to_owned(),
        KeysFault::Unfit(KeyFault::Short(_)) => "a sealing key has at least 32 bytes".to_owned(),
        KeysFault::Unfit(KeyFault::Underivable(_)) => "no key can be derived from this secret".to_owned(),
        fault => fault.to_string(),
    }
}

fn backends(registry: &Registry, config: &Config) -> Vec<Objection> {
    let mut found = Vec::new();
    let mut usable = Vec::with_capacity(config.backends.len());
    for (name, section) in &config.backends {
        match backend(name.shared(), section, config, Some(DEMO)) {
            Ok(settings) => usable.push(settings),
            Err(error) => found.push(objection(name.as_str(), error)),
        }
    }
    if let Err(unusable) = registry.prepare(&usable) {
        found.extend(unusable.into_iter().map(super::unusable_backend));
    }
    found
}

#[cfg(test)]
mod tests;
