//! Lists of what no longer counts: read from a file, a URL or both, again and again.
//!
//! Until the first list was read, and whenever one could not be read again for too long, the published list says nothing
//! about anybody, and everybody who shows a proof is refused. What operators revoke at run time is added to every list that
//! is read afterwards.

use super::Clock;
use crate::egress::{Client, FetchError, Origin, Request};
use arc_swap::ArcSwap;
use lockgate_filters::exchange::UnixMillis;
use parking_lot::Mutex;
use serde::Deserialize;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use url::Url;

/// The largest list, in bytes.
const LIST_BYTES_MAX: usize = 16 << 20;

/// The most that operators revoke at run time.
const ADDED_MAX: usize = 10_000;

/// Where the lists are, and how fresh they must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationSettings {
    /// A file.
    pub file: Option<PathBuf>,
    /// A URL that the operator wrote.
    pub url: Option<Url>,
    /// How often they are read again.
    pub refresh: Duration,
    /// How long they count when they cannot be read again.
    pub max_stale: Duration,
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// A token.
    Token {
        /// Its `jti`.
        jti: String,
        /// By whom it was issued; `None` for anybody's.
        issuer: Option<String>,
    },
    /// Whatever a caller shows.
    Subject {
        /// Who it is.
        subject: String,
        /// By whom it is called so; `None` for anybody.
        issuer: Option<String>,
    },
    /// An API key, by its id.
    ApiKey(String),
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    jti: Option<String>,
    subject: Option<String>,
    api_key: Option<String>,
    issuer: Option<String>,
}

/// Why a list could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListFault {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    File(std::io::ErrorKind),
    /// The URL could not be fetched.
    #[error("{0}")]
    Fetch(FetchError),
    /// It is no list of entries.
    #[error("it is no list of `jti`, `subject` and `api_key`")]
    Malformed,
    /// An entry that is neither of the three, or several of them.
    #[error("entry {0} has one of `jti`, `subject` and `api_key`")]
    Entry(usize),
    /// Whoever uses the list does not take it.
    #[error("{0}")]
    Refused(String),
}

impl ListFault {
    /// The label in metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            ListFault::File(_) => "file",
            ListFault::Fetch(error) => error.label(),
            ListFault::Malformed | ListFault::Entry(_) => "parse",
            ListFault::Refused(_) => "refused",
        }
    }
}

/// Makes of entries what requests look into; it says nothing from the given moment on.
pub type Revoker<R> = Arc<dyn Fn(&[Revoked], UnixMillis) -> Result<R, String> + Send + Sync>;

/// The lists that are read, and what is published of them.
pub struct RevocationWatch<R> {
    shared: Arc<Shared<R>>,
    task: JoinHandle<()>,
}

struct Shared<R> {
    settings: RevocationSettings,
    client: Client,
    clock: Clock,
    make: Revoker<R>,
    published: ArcSwap<R>,
    last: Mutex<Last>,
    reads: AtomicU64,
    failures: AtomicU64,
    changes: watch::Sender<u64>,
}

/// What was read last.
#[derive(Default)]
struct Last {
    file: Option<(Vec<Revoked>, UnixMillis)>,
    url: Option<(Vec<Revoked>, UnixMillis)>,
    added: Vec<Revoked>,
    fault: Option<ListFault>,
}

impl<R> Drop for RevocationWatch<R> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<R> fmt::Debug for RevocationWatch<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationWatch").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl<R: Send + Sync + 'static> RevocationWatch<R> {
    /// Reads the lists until dropped; until they were read once, what is published says nothing. Within a runtime.
    ///
    /// # Errors
    /// Where not even a list without entries can be made.
    pub fn start(
        settings: RevocationSettings,
        client: Client,
        clock: Clock,
        make: Revoker<R>,
    ) -> Result<RevocationWatch<R>, ListFault> {
        let nothing_known = make(&[], UnixMillis(0)).map_err(ListFault::Refused)?;
        let shared = Arc::new(Shared {
            settings,
            client,
            clock,
            make,
            published: ArcSwap::from_pointee(nothing_known),
            last: Mutex::default(),
            reads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            changes: watch::Sender::new(0),
        });
        let task = tokio::spawn(Arc::clone(&shared).keep());
        Ok(RevocationWatch { shared, task })
    }

    /// Whether these are the settings that it runs with.
    pub fn is_of(&self, settings: &RevocationSettings) -> bool {
        self.shared.settings == *settings
    }

    /// The list as it is now.
    pub fn current(&self) -> Arc<R> {
        self.shared.published.load_full()
    }

    /// Counts up when another list is published: for what is held open on somebody's behalf.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Revokes at once, until the process ends.
    ///
    /// # Errors
    /// [`ListFault::Refused`] when too much was revoked so already, or the entry is not taken.
    pub fn revoke(&self, entry: Revoked) -> Result<(), ListFault> {
        let mut last = self.shared.last.lock();
        if last.added.contains(&entry) {
            return Ok(());
        }
        if last.added.len() >= ADDED_MAX {
            return Err(ListFault::Refused("too much was revoked at run time: write it into a list".to_owned()));
        }
        last.added.push(entry);
        let published = self.shared.publish(&last);
        if published.is_err() {
            last.added.pop();
        }
        published
    }

    /// Lists that were read, attempts that failed, and why the last one did, where it did.
    pub fn report(&self) -> (u64, u64, Option<ListFault>) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.shared.reads), count(&self.shared.failures), self.shared.last.lock().fault.clone())
    }
}

impl<R: Send + Sync + 'static> Shared<R> {
    async fn keep(self: Arc<Shared<R>>) {
        loop {
            self.read().await;
            sleep(self.settings.refresh).await;
        }
    }

    /// Reads every list once, and publishes what was read.
    async fn read(&self) {
        let mut fault = None;
        let mut note = |outcome: Result<Vec<Revoked>, ListFault>| match outcome {
            Ok(entries) => Some(entries),
            Err(why) => {
                fault = Some(why);
                None
            }
        };
        let at = (self.clock)();
        let file = match self.settings.file.clone() {
            None => None,
            Some(file) => note(read_file(file).await),
        };
        let url = match self.settings.url.clone() {
            None => None,
            Some(url) => note(self.fetch(url).await),
        };
        let mut last = self.last.lock();
        if let Some(entries) = file {
            last.file = Some((entries, at));
        }
        if let Some(entries) = url {
            last.url = Some((entries, at));
        }
        let fault = fault.or(self.publish(&last).err());
        let counter = if fault.is_some() { &self.failures } else { &self.reads };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(fault) = &fault {
            tracing::warn!(error = %fault, "a revocation list could not be read");
        }
        last.fault = fault;
    }

    async fn fetch(&self, url: Url) -> Result<Vec<Revoked>, ListFault> {
        let request = Request::get(url, Origin::Operator).body_bytes(LIST_BYTES_MAX);
        let list = self.client.fetch(request).await.and_then(|response| response.ok());
        parse(&list.map_err(ListFault::Fetch)?)
    }

    /// Publishes what was read last, unless a list was never read: then nothing is known.
    fn publish(&self, last: &Last) -> Result<(), ListFault> {
        let lists = [(self.settings.file.is_some(), &last.file), (self.settings.url.is_some(), &last.url)];
        let mut entries = Vec::new();
        let mut oldest = None;
        for (_, read) in lists.into_iter().filter(|(configured, _)| *configured) {
            let at = read.as_ref().map_or(UnixMillis(0), |(_, at)| *at);
            oldest = Some(oldest.map_or(at, |oldest: UnixMillis| oldest.min(at)));
            entries.extend(read.iter().flat_map(|(entries, _)| entries).cloned());
        }
        entries.extend(last.added.iter().cloned());
        let max_stale = u64::try_from(self.settings.max_stale.as_millis()).unwrap_or(u64::MAX);
        let until = match oldest {
            Some(UnixMillis(0)) | None => UnixMillis(0),
            Some(oldest) => oldest.plus(max_stale),
        };
        let list = (self.make)(&entries, until).map_err(ListFault::Refused)?;
        self.published.store(Arc::new(list));
        self.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }
}

async fn read_file(file: PathBuf) -> Result<Vec<Revoked>, ListFault> {
    let reading = tokio::task::spawn_blocking(move || {
        let content = content(&file).map_err(|error| ListFault::File(error.kind()))?;
        parse(&content)
    });
    reading.await.unwrap_or(Err(ListFault::Malformed))
}

/// The content of a regular file within the bound.
fn content(file: &Path) -> std::io::Result<Vec<u8>> {
    // Opening a pipe would wait for a writer.
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    std::fs::File::open(file)?.take(LIST_BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
    if content.len() > LIST_BYTES_MAX { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(content) }
}

/// Reads a list, YAML or JSON. An empty text is an empty list.
fn parse(list: &[u8]) -> Result<Vec<Revoked>, ListFault> {
    let text = std::str::from_utf8(list).map_err(|_| ListFault::Malformed)?;
    let written: Option<Vec<Written>> = serde_yaml::from_str(text).map_err(|_| ListFault::Malformed)?;
    let entry = |(at, written): (usize, Written)| match written {
        Written { jti: Some(jti), subject: None, api_key: None, issuer } => Ok(Revoked::Token { jti, issuer }),
        Written { jti: None, subject: Some(subject), api_key: None, issuer } => {
            Ok(Revoked::Subject { subject, issuer })
        }
        Written { jti: None, subject: None, api_key: Some(id), issuer: None } => Ok(Revoked::ApiKey(id)),
        _ => Err(ListFault::Entry(at)),
    };
    written.unwrap_or_default().into_iter().enumerate().map(entry).collect()
}

#[cfg(test)]
mod tests;
