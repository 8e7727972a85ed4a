//! Issuers: where their keys are, and that no two are the same.

use super::Resolver;
use super::files::Pem;
use super::limits::SECOND;
use crate::config::diagnostic::Finding;
use crate::config::path::KeyPath;
use crate::config::sections::{Introspection, Issuer};
use crate::config::sources::reason;
use crate::config::values::{Name, TimeSpan};
use http::HeaderValue;
use indexmap::IndexMap;
use serde_json::Value;
use std::collections::HashMap;

/// The most issuers.
const ISSUERS_MAX: usize = 100;

/// The most audiences of one place.
pub(super) const AUDIENCES_MAX: usize = 100;

/// The longest text of somebody's name: a subject, a tenant, a group, an audience, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 255;

/// The largest key set, in bytes.
const KEYS_BYTES_MAX: u64 = 256 << 10;

/// The most keys of a set.
const KEYS_MAX: usize = 100;

const DAY: TimeSpan = TimeSpan::seconds(86_400);

impl Resolver<'_> {
    /// The issuers of a file, their paths made absolute.
    pub(super) fn issuers(&mut self, mut issuers: IndexMap<Name, Issuer>) -> IndexMap<Name, Issuer> {
        let path = KeyPath::from(["issuers"]);
        self.check_count(&path, issuers.len(), ISSUERS_MAX);
        let mut known: HashMap<String, Name> = HashMap::new();
        for (name, issuer) in &mut issuers {
            let path = path.key(name);
            if let Some(earlier) = known.insert(issuer.issuer.as_str().to_owned(), name.clone()) {
                let message =
                    format!("issuer `{earlier}` is the same: a token could not tell which of them it is from");
                self.note(Finding::error(path.key("issuer"), message));
            }
            self.key_source(&path, issuer);
            self.check_algorithms(&path.key("algorithms"), issuer);
            self.check_texts(&path.key("audiences"), &issuer.audiences, AUDIENCES_MAX);
            self.check_range(path.key("leeway"), issuer.leeway, TimeSpan::millis(0), TimeSpan::seconds(300));
            self.check_range(path.key("refresh"), issuer.refresh, TimeSpan::seconds(10), DAY);
            self.check_range(path.key("max_stale"), issuer.max_stale, SECOND, TimeSpan::seconds(30 * 86_400));
            if issuer.max_stale < issuer.refresh {
                let message = "keys would be refused before they are fetched again: this is shorter than `refresh`";
                self.note(Finding::error(path.key("max_stale"), message));
            }
            if let Some(tls) = &mut issuer.tls {
                tls.ca = self.pem(&path.key("tls").key("ca"), std::mem::take(&mut tls.ca), Pem::Certificates);
            }
            if let Some(asked) = &issuer.introspection {
                self.check_introspection(&path.key("introspection"), asked);
            }
        }
        issuers
    }

    /// Keys come from one place.
    fn key_source(&mut self, path: &KeyPath, issuer: &mut Issuer) {
        let given = [
            ("jwks_url", issuer.jwks_url.is_some()),
            ("jwks_file", issuer.jwks_file.is_some()),
            ("jwks", issuer.jwks.is_some()),
        ];
        let mut given = given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key);
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            let message = format!("the keys come from one place, and `{first}` names one already");
            let help = "keep one of `jwks_url`, `jwks_file` and `jwks`; without any they are discovered";
            self.note(Finding::error(path.key(second), message).at_key().help(help));
        }
        if issuer.jwks_url.as_ref().is_some_and(|url| url.has_query()) {
            self.masked.insert(path.key("jwks_url"));
        }
        if let Some(file) = issuer.jwks_file.take() {
            let here = path.key("jwks_file");
            let file = self.absolute(&here, file);
            self.files.push(file.clone());
            let problem = match self.sources.file(&file, KEYS_BYTES_MAX) {
                Err(error) => Some(reason(&error)),
                Ok(content) => key_set_problem(&content).map(str::to_owned),
            };
            if let Some(problem) = problem {
                let message = format!("{} is of no use: {problem}", self.quoted(&here, file.display()));
                self.note(Finding::error(here, message));
            }
            issuer.jwks_file = Some(file);
        }
        if let Some(problem) = issuer.jwks.as_ref().and_then(|text| key_set_problem(text.as_bytes())) {
            self.note(Finding::error(path.key("jwks"), problem));
        }
    }

    fn check_algorithms(&mut self, path: &KeyPath, issuer: &Issuer) {
        if issuer.algorithms.is_empty() && !self.is_pruned(path) {
            self.note(Finding::error(
                path.clone(),
                "without an algorithm no token is believed; leave this out for all",
            ));
        }
        for (index, algorithm) in issuer.algorithms.iter().enumerate() {
            if issuer.algorithms.iter().take(index).any(|earlier| earlier == algorithm) {
                self.note(Finding::error(self.element(path, index), "this algorithm stands here twice"));
            }
        }
    }

    fn check_introspection(&mut self, path: &KeyPath, asked: &Introspection) {
        if asked.url.has_query() {
            self.masked.insert(path.key("url"));
        }
        self.check_text(&path.key("client_id"), &asked.client_id);
        if HeaderValue::from_str(asked.client_secret.expose()).is_err() {
            self.note(Finding::error(
                path.key("client_secret"),
                "a client secret is visible ASCII without line breaks",
            ));
        }
        self.check_range(path.key("cache"), asked.cache, TimeSpan::millis(0), TimeSpan::seconds(3_600));
    }

    /// Checks a list of texts: none twice.
    pub(super) fn check_texts(&mut self, path: &KeyPath, texts: &[String], most: usize) {
        self.check_count(path, texts.len(), most);
        for (index, text) in texts.iter().enumerate() {
            let place = self.element(path, index);
            if texts.iter().take(index).any(|earlier| earlier == text) {
                self.note(Finding::error(place.clone(), "this stands here twice"));
            }
            self.check_text(&place, text);
        }
    }

    /// Checks somebody's name.
    pub(super) fn check_text(&mut self, path: &KeyPath, text: &str) {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains(char::is_control) {
            let message = format!("this has 1 to {TEXT_BYTES_MAX} bytes and no control characters");
            self.note(Finding::error(path.clone(), message));
        }
    }
}

/// What is wrong with a key set. Never repeats any of it: somebody may have put a private key there.
fn key_set_problem(content: &[u8]) -> Option<&'static str> {
    if content.len() as u64 > KEYS_BYTES_MAX {
        return Some("a key set has at most 256 KiB");
    }
    let Ok(set) = serde_json::from_slice::<Value>(content) else { return Some("it is not JSON") };
    let Some(keys) = set.get("keys").and_then(Value::as_array) else {
        return Some("a key set is an object with a list `keys`");
    };
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Some("a key set has 1 to 100 keys");
    }
    if !keys.iter().all(Value::is_object) {
        return Some("each key is an object");
    }
    if keys.iter().any(|key| key.get("k").is_some()) {
        return Some("it holds a symmetric key, with which whoever checks a token could make one");
    }
    if keys.iter().any(|key| key.get("d").is_some()) {
        return Some("it holds a private key: keep that at the issuer, and give the public ones here");
    }
    None
}
