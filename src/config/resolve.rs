//! From what was written to what is meant: defaults that depend on other values, and every rule that no type can hold.
//!
//! Nothing stops at the first mistake here either: each part says all that is wrong with it, and the configuration exists
//! only when no part said anything.

mod auth;
mod backends;
mod cluster;
mod command;
mod eras;
mod files;
mod issuers;
mod limits;
mod listeners;
mod members;
mod proofs;
mod routes;
mod servers;
mod tickets;

use super::diagnostic::{Finding, Severity};
use super::file::ConfigFile;
use super::model::Config;
use super::path::KeyPath;
use super::sources::Sources;
use auth::Proofs;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The most worker threads.
const WORKERS_MAX: u32 = 1024;

/// What resolving needs to know besides the file.
pub(super) struct Resolver<'a> {
    /// Where files and the environment come from.
    pub sources: &'a dyn Sources,
    /// What relative paths are relative to.
    pub base: &'a Path,
    /// Values that were interpolated: never repeated in a message.
    pub interpolated: &'a BTreeSet<KeyPath>,
    /// Values that were taken out because they are wrong: nothing that follows from their absence is said.
    pub pruned: &'a BTreeSet<KeyPath>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Files that the configuration names.
    pub files: Vec<PathBuf>,
    /// Values that are masked when the configuration is shown, beyond the interpolated ones.
    pub masked: BTreeSet<KeyPath>,
}

impl Resolver<'_> {
    /// The configuration that a file means; `None` when something is wrong with it.
    pub fn resolve(&mut self, file: ConfigFile) -> Option<Config> {
        let ConfigFile { listeners, admin, state_dir, tickets, cluster, backends, virtual_servers, .. } = file;
        let listeners = self.listeners(listeners);
        let admin = self.admin(admin);
        self.check_clashes(&listeners, &admin, cluster.listen);
        let tickets = self.tickets(tickets);
        self.check_cluster(&cluster, tickets.keys.len());
        let backends = self.backends(backends);
        let issuers = self.issuers(file.issuers);
        let api_keys = self.api_keys(file.api_keys, &virtual_servers);
        self.check_certificates(&file.certificates);
        let revocations = self.revocations(file.revocations);
        self.check_egress(&file.egress);
        let proofs =
            Proofs { issuers: &issuers, api_keys: !api_keys.is_none(), certificates: !file.certificates.is_empty() };
        let virtual_servers = self.virtual_servers(virtual_servers, &listeners, &backends, proofs);
        self.check_openness(&listeners, &virtual_servers);
        let state_dir = self.state_dir(state_dir);
        let workers = self.workers(file.workers);
        self.check_limits(&file.limits, &file.streams, &file.drain);
        if self.findings.iter().any(|finding| finding.severity == Severity::Error) {
            return None;
        }
        Some(Config {
            listeners: listeners.into_iter().filter_map(|(name, listener)| Some((name, listener.resolved?))).collect(),
            admin: admin.resolved?,
            state_dir,
            tickets,
            cluster,
            backends,
            virtual_servers,
            issuers,
            api_keys,
            certificates: file.certificates,
            policy: file.policy,
            revocations,
            egress: file.egress,
            limits: file.limits,
            streams: file.streams,
            drain: file.drain,
            workers,
            log: file.log,
        })
    }

    /// Notes a finding.
    fn note(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Notes that an entry lacks a key, or has nothing under it, unless what was there is wrong itself.
    fn missing(&mut self, entry: &KeyPath, key: &str, help: &str) {
        let path = entry.key(key);
        if !self.is_pruned(&path) {
            self.note(Finding::error(path, format!("`{key}` is missing")).at_key().help(help));
        }
    }

    /// Checks how many entries a section has.
    fn check_count(&mut self, section: &KeyPath, count: usize, most: usize) {
        if count > most {
            self.note(Finding::error(section.clone(), format!("there are at most {most} of these")).at_key());
        }
    }

    /// Whether a value was taken out, or holds or lies in one that was.
    fn is_pruned(&self, path: &KeyPath) -> bool {
        self.pruned.iter().any(|pruned| path.is_within(pruned) || pruned.is_within(path))
    }

    /// The path of a list's element, counted as in the file: elements that were taken out count too.
    fn element(&self, list: &KeyPath, index: usize) -> KeyPath {
        let mut paths = (0..).map(|index| list.index(index)).filter(|path| !self.pruned.contains(path));
        paths.nth(index).unwrap_or_else(|| list.index(index))
    }

    /// Whether a value came from the environment or a file.
    fn is_interpolated(&self, path: &KeyPath) -> bool {
        self.interpolated.contains(path)
    }

    /// A value for a message: in backquotes, or a word for what must not be repeated.
    fn quoted(&self, path: &KeyPath, value: impl std::fmt::Display) -> String {
        if self.is_interpolated(path) { "this value".to_owned() } else { format!("`{value}`") }
    }

    fn state_dir(&mut self, state_dir: Option<PathBuf>) -> Option<PathBuf> {
        match state_dir {
            Some(path) => Some(self.absolute(&KeyPath::from(["state_dir"]), path)),
            None => self
                .folder_of("XDG_STATE_HOME")
                .or_else(|| self.folder_of("HOME").map(|home| home.join(".local/state")))
                .map(|folder| folder.join("lockgate")),
        }
    }

    /// An absolute path from the environment; the XDG specification says to ignore relative ones.
    fn folder_of(&self, variable: &str) -> Option<PathBuf> {
        self.sources.env(variable).ok().flatten().map(PathBuf::from).filter(|path| path.is_absolute())
    }

    fn workers(&mut self, workers: Option<u32>) -> NonZeroUsize {
        let path = KeyPath::from(["workers"]);
        match workers {
            None => self.sources.cpus(),
            Some(count) => {
                if count == 0 || count > WORKERS_MAX {
                    self.note(Finding::error(path, format!("the number of workers is from 1 to {WORKERS_MAX}")));
                }
                usize::try_from(count).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
            }
        }
    }
}
