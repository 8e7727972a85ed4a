//! What callers may show besides tokens: API keys and client certificates; and what of it no longer counts.

use super::Resolver;
use super::issuers::TEXT_BYTES_MAX;
use super::limits::SECOND;
use crate::config::decode::decode;
use crate::config::diagnostic::Finding;
use crate::config::document::Document;
use crate::config::file::VirtualServerFile;
use crate::config::path::KeyPath;
use crate::config::sections::{ApiKey, ApiKeys, CertificateRule, Egress, Revocations};
use crate::config::sources::reason;
use crate::config::text::SourceText;
use crate::config::values::{KeyHash, Name, TimeSpan};
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The most API keys.
const API_KEYS_MAX: usize = 10_000;

/// The largest file of API keys, in bytes.
const API_KEYS_BYTES_MAX: u64 = 8 << 20;

/// The longest id of a key, which stands in the key itself.
const ID_LENGTH_MAX: usize = 32;

/// The most rules for certificates: each certificate is tried against all.
const RULES_MAX: usize = 1_000;

/// The most groups or scopes of one caller.
const GROUPS_MAX: usize = 1_000;

/// The largest revocation list, in bytes.
const REVOCATIONS_BYTES_MAX: u64 = 16 << 20;

/// The most exemptions.
const ALLOWED_MAX: usize = 1_000;

impl Resolver<'_> {
    /// The API keys of a file, those in a file of their own included.
    pub(super) fn api_keys(&mut self, mut api_keys: ApiKeys, servers: &IndexMap<Name, VirtualServerFile>) -> ApiKeys {
        let path = KeyPath::from(["api_keys"]);
        let own_file = api_keys.file.take().map(|file| {
            let here = path.key("file");
            let file = self.absolute(&here, file);
            self.files.push(file.clone());
            api_keys.keys = self.read_keys(&here, &file);
            file
        });
        api_keys.file = own_file;
        self.check_count(&path, api_keys.keys.len(), API_KEYS_MAX);
        let mut ids: HashSet<&Name> = HashSet::new();
        let mut hashes: HashMap<&KeyHash, &Name> = HashMap::new();
        for (index, key) in api_keys.keys.iter().enumerate() {
            // What is wrong in the other file is told here: there is no other place to point at.
            let place = if api_keys.file.is_some() { path.key("file") } else { self.element(&path, index) };
            let within = |key: &str| if api_keys.file.is_some() { place.clone() } else { place.key(key) };
            if !ids.insert(&key.id) {
                let message = format!("two keys have the id {}", self.quoted(&within("id"), &key.id));
                self.note(Finding::error(within("id"), message));
            }
            if key.id.as_str().len() > ID_LENGTH_MAX {
                let message = format!("the id of a key has at most {ID_LENGTH_MAX} characters");
                self.note(Finding::error(within("id"), message));
            }
            if let Some(earlier) = hashes.insert(&key.hash, &key.id).filter(|earlier| **earlier != key.id) {
                let message = format!("this key and key `{earlier}` are the same");
                self.note(Finding::error(within("hash"), message));
            }
            for (key, text) in [("subject", &key.subject), ("tenant", &key.tenant)] {
                text.iter().for_each(|text| self.check_text(&within(key), text));
            }
            self.check_groups(&within("groups"), &key.groups, key.scopes.as_ref().map_or(0, Vec::len));
            for (at, name) in key.virtual_servers.iter().flatten().enumerate() {
                let list = within("virtual_servers");
                let place = if api_keys.file.is_some() { list } else { self.element(&list, at) };
                self.check_reference(&place, "virtual server", "virtual_servers", name, servers);
            }
        }
        api_keys
    }

    /// Reads the keys of a file of their own.
    fn read_keys(&mut self, path: &KeyPath, file: &Path) -> Vec<ApiKey> {
        let shown = self.quoted(path, file.display());
        let content = match self.sources.file(file, API_KEYS_BYTES_MAX) {
            Ok(content) => content,
            Err(error) => {
                self.note(Finding::error(path.clone(), format!("cannot read {shown}: {}", reason(&error))));
                return Vec::new();
            }
        };
        let Ok(text) = String::from_utf8(content) else {
            self.note(Finding::error(path.clone(), format!("{shown} is not UTF-8")));
            return Vec::new();
        };
        let base = file.parent().unwrap_or(Path::new("/"));
        let mut document = Document::yaml(SourceText::new("", text), base, self.sources);
        let mut tree = document.tree.clone();
        let decoded = tree.as_mut().map(decode::<Vec<ApiKey>>);
        let (keys, findings) = decoded.map_or_else(Default::default, |decoded| (decoded.value, decoded.findings));
        findings.into_iter().for_each(|finding| document.add(finding));
        self.files.append(&mut document.files);
        for wrong in &document.diagnostics {
            let line = wrong
                .place
                .as_ref()
                .and_then(|place| Some(document.texts.get(place.source)?.line_column(place.bytes.start).line));
            let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
            let entry = if wrong.path.steps().is_empty() { String::new() } else { format!(" {}", wrong.path) };
            self.note(Finding::error(path.clone(), format!("{shown}{line}:{entry} {}", wrong.message)));
        }
        keys.unwrap_or_default()
    }

    fn check_groups(&mut self, path: &KeyPath, groups: &[String], scopes: usize) {
        self.check_count(path, groups.len().max(scopes), GROUPS_MAX);
        for group in groups.iter().filter(|group| group.is_empty() || group.len() > TEXT_BYTES_MAX) {
            self.check_text(path, group);
        }
    }

    /// Checks the rules for certificates.
    pub(super) fn check_certificates(&mut self, rules: &[CertificateRule]) {
        let path = KeyPath::from(["certificates"]);
        self.check_count(&path, rules.len(), RULES_MAX);
        for (index, rule) in rules.iter().enumerate() {
            let place = self.element(&path, index);
            if rule.san.is_none() && rule.subject_dn.is_none() && rule.issuer_dn.is_none() {
                let help = "say which certificates it is about: `san`, `subject_dn` or `issuer_dn`";
                self.note(Finding::error(place.clone(), "this rule would take every certificate").help(help));
            }
            self.check_template(&place.key("subject"), &rule.subject, rule.san.is_some());
            rule.tenant.iter().for_each(|tenant| self.check_text(&place.key("tenant"), tenant));
            self.check_groups(&place.key("groups"), &rule.groups, rule.scopes.as_ref().map_or(0, Vec::len));
        }
    }

    fn check_template(&mut self, path: &KeyPath, template: &str, has_san: bool) {
        self.check_text(path, template);
        if template.contains("{san}") && !has_san {
            let help = "give a pattern in `san`: a certificate may have several names, and the one that fits is taken";
            self.note(Finding::error(path.clone(), "`{san}` stands for the name that fits `san`").help(help));
        }
        if template.replace("{san}", "").contains(['{', '}']) {
            self.note(Finding::error(path.clone(), "what stands between braces is `{san}`"));
        }
    }

    /// The revocation lists of a file.
    pub(super) fn revocations(&mut self, revocations: Option<Revocations>) -> Option<Revocations> {
        let mut revocations = revocations?;
        let path = KeyPath::from(["revocations"]);
        if revocations.file.is_none() && revocations.url.is_none() && !self.is_pruned(&path) {
            self.note(Finding::error(path.clone(), "name the list: `file`, `url`, or both").at_key());
        }
        if revocations.url.as_ref().is_some_and(|url| url.has_query()) {
            self.masked.insert(path.key("url"));
        }
        revocations.file = revocations.file.map(|file| {
            let here = path.key("file");
            let file = self.absolute(&here, file);
            if let Err(error) = self.sources.file(&file, REVOCATIONS_BYTES_MAX) {
                let message = format!("cannot read {}: {}", self.quoted(&here, file.display()), reason(&error));
                self.note(Finding::error(here, message));
            }
            file
        });
        let most = TimeSpan::seconds(86_400);
        self.check_range(path.key("refresh"), revocations.refresh, SECOND, most);
        self.check_range(path.key("max_stale"), revocations.max_stale, SECOND, most);
        if revocations.max_stale < revocations.refresh {
            let message = "the list would be too old before it is read again: this is shorter than `refresh`";
            self.note(Finding::error(path.key("max_stale"), message));
        }
        Some(revocations)
    }

    /// Checks what may be fetched.
    pub(super) fn check_egress(&mut self, egress: &Egress) {
        self.check_count(&KeyPath::from(["egress", "allow"]), egress.allow.len(), ALLOWED_MAX);
    }
}
