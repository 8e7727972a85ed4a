//! The configuration in effect, as it may be shown: defaults filled in, secrets masked.

use super::model::Config;
use super::path::{KeyPath, Step};
use super::values::{MASK, Secret};
use serde::{Serialize, Serializer};
use serde_yaml::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A configuration that may be shown, and compared with another without showing what is masked.
#[derive(Clone, PartialEq)]
pub struct Effective {
    /// The masked tree.
    shown: Value,
    /// The contents behind the masks, for comparing only.
    hidden: BTreeMap<KeyPath, Secret>,
}

impl Effective {
    /// What may be shown of a configuration in which these values, and what lies in them, are masked.
    pub(super) fn of(config: &Config, masked: &BTreeSet<KeyPath>) -> Effective {
        // A configuration consists of maps with text keys, lists and scalars, which always make a tree.
        let mut shown = serde_yaml::to_value(config).unwrap_or(Value::Null);
        let mut hidden = secrets(config);
        for path in masked {
            mask(&mut shown, path, &mut hidden);
        }
        Effective { shown, hidden }
    }

    /// The masked tree.
    pub const fn tree(&self) -> &Value {
        &self.shown
    }

    /// The contents behind the masks.
    pub(super) const fn hidden(&self) -> &BTreeMap<KeyPath, Secret> {
        &self.hidden
    }

    /// The masked tree as YAML.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(&self.shown).unwrap_or_default()
    }
}

/// Serializes to the masked tree: as JSON for the admin listener.
impl Serialize for Effective {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown.serialize(serializer)
    }
}

impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Effective").field(&self.shown).finish()
    }
}

/// The secrets of a configuration, which its tree shows as masks already.
fn secrets(config: &Config) -> BTreeMap<KeyPath, Secret> {
    let mut secrets = BTreeMap::new();
    if let Some(token) = &config.admin.token {
        secrets.insert(KeyPath::from(["admin", "token"]), token.clone());
    }
    let keys = KeyPath::from(["tickets", "keys"]);
    for (index, key) in config.tickets.keys.iter().enumerate() {
        // Two spellings of the same bytes are the same key.
        let bytes = key.secret.expose().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        secrets.insert(keys.index(index).key("secret"), Secret::from(bytes));
    }
    for (name, backend) in &config.backends {
        let headers = KeyPath::from(["backends", name.as_str(), "headers"]);
        for (key, value) in &backend.headers {
            secrets.insert(headers.key(key.to_string()), value.clone());
        }
        let environment = KeyPath::from(["backends", name.as_str(), "command", "environment"]);
        for (key, value) in backend.command.iter().flat_map(|command| &command.environment) {
            secrets.insert(environment.key(key.as_str()), value.secret().clone());
        }
    }
    for (name, issuer) in &config.issuers {
        if let Some(asked) = &issuer.introspection {
            let path = KeyPath::from(["issuers", name.as_str(), "introspection", "client_secret"]);
            secrets.insert(path, asked.client_secret.clone());
        }
    }
    // The keys of a file are not in the tree; that they have changed is told at the file.
    if config.api_keys.file.is_some() {
        let keys = serde_yaml::to_string(&config.api_keys.keys).unwrap_or_default();
        secrets.insert(KeyPath::from(["api_keys", "file"]), Secret::from(keys));
    }
    secrets
}

/// Masks every scalar at and below a path and keeps what was there.
fn mask(tree: &mut Value, path: &KeyPath, hidden: &mut BTreeMap<KeyPath, Secret>) {
    let Some(value) = path.steps().iter().try_fold(tree, |value, step| match (value, step) {
        (Value::Mapping(entries), Step::Key(key)) => entries.get_mut(key.as_str()),
        (Value::Sequence(elements), Step::Index(index)) => elements.get_mut(*index),
        _ => None,
    }) else {
        return;
    };
    mask_all(value, path.clone(), hidden);
}

fn mask_all(value: &mut Value, path: KeyPath, hidden: &mut BTreeMap<KeyPath, Secret>) {
    match value {
        Value::Sequence(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                mask_all(element, path.index(index), hidden);
            }
        }
        Value::Mapping(entries) => {
            for (key, entry) in entries.iter_mut() {
                mask_all(entry, path.key(key.as_str().unwrap_or_default()), hidden);
            }
        }
        scalar => {
            let content = serde_yaml::to_string(scalar).unwrap_or_default();
            hidden.entry(path).or_insert_with(|| Secret::from(content));
            *scalar = Value::String(MASK.to_owned());
        }
    }
}
