//! Putting the session room together at start: secrets, store, journal.

use super::Sessions;
use super::journal::{self, JournalFault, ReplayReport};
use super::keys::{self, ConfiguredKey, KeysFault};
use super::limits::Limits;
use super::state_dir::{self, StateDir, StateFault};
use super::store::Store;
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::ticket::{Keyring, NodeId};
use std::path::Path;
use std::sync::Arc;

/// What the operator said about keys and state.
pub struct Options<'a> {
    /// `state_dir`; by default [`state_dir::default_path`].
    pub state_dir: Option<&'a Path>,
    /// `tickets.keys`; when empty, keys are generated and kept in the state directory.
    pub keys: &'a [ConfiguredKey<'a>],
    /// `--ephemeral-keys`: keep nothing, not even keys.
    pub ephemeral: bool,
    /// Bounds on sessions.
    pub limits: Limits,
}

/// The session room, open.
pub struct Opened {
    /// What seals and opens tickets.
    pub keyring: Arc<Keyring>,
    /// Which node this is.
    pub node: NodeId,
    /// The sessions, with what the journal knew.
    pub sessions: Sessions,
    /// The state directory, if there is one.
    pub state_dir: Option<StateDir>,
    /// What reading the journal found, if there is one.
    pub replay: Option<ReplayReport>,
    /// Why there is no state directory although one was wanted: sessions do not survive this process.
    pub unkept: Option<StateFault>,
}

/// Why the gateway must not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// There is no place for generated keys.
    #[error(
        "{0}; ticket keys must be kept somewhere: make state_dir writable, configure tickets.keys, \
         or pass --ephemeral-keys to lose all sessions at each restart"
    )]
    NoPlaceForKeys(#[source] StateFault),
    /// The keys are unusable.
    #[error(transparent)]
    Keys(#[from] KeysFault),
    /// The journal is unusable.
    #[error(transparent)]
    Journal(#[from] JournalFault),
}

/// Opens keys, store and journal. Reads and writes files: not for use on an async worker.
///
/// # Errors
/// [`StartFault`]; a state directory that cannot be used is one only if no key is configured.
pub fn open(options: &Options<'_>, now: UnixMillis) -> Result<Opened, StartFault> {
    let (state_dir, unkept) = match state(options) {
        Ok(state_dir) => (state_dir, None),
        Err(fault) if options.keys.is_empty() => return Err(StartFault::NoPlaceForKeys(fault)),
        Err(fault) => (None, Some(fault)),
    };
    let keyring = match (&state_dir, options.keys) {
        (Some(dir), []) => keys::stored(dir)?,
        (None, []) => keys::ephemeral()?,
        (_, configured) => keys::configured(configured)?,
    };
    let node = keys::node_id(state_dir.as_ref())?;
    let store = Arc::new(Store::new(options.limits.clone()));
    let (mut journal, mut replay) = (None, None);
    if let Some(dir) = &state_dir {
        let read = journal::read(dir, |change| store.replay(change, now))?;
        replay = Some(read.report().clone());
        let store = store.clone();
        journal = Some(read.start(move |emit| store.changes(emit))?);
    }
    Ok(Opened { keyring: Arc::new(keyring), node, sessions: Sessions::new(store, journal), state_dir, replay, unkept })
}

fn state(options: &Options<'_>) -> Result<Option<StateDir>, StateFault> {
    if options.ephemeral {
        return Ok(None);
    }
    match options.state_dir {
        Some(path) => StateDir::open(path).map(Some),
        None => StateDir::open(&state_dir::default_path().ok_or(StateFault::NoPlace)?).map(Some),
    }
}
