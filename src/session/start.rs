//! Putting the session room together at start: secrets, store, journal.

use super::Sessions;
use super::journal::{self, JournalFault, ReplayReport};
use super::keys::{self, KeysFault};
use super::limits::Limits;
use super::secrets::Secrets;
use super::state_dir::{self, StateDir, StateFault};
use super::store::Store;
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::ticket::NodeId;
use std::path::Path;
use std::sync::Arc;

/// What the operator said about keys and state.
pub struct Options<'a> {
    /// `state_dir`; by default [`state_dir::default_path`].
    pub state_dir: Option<&'a Path>,
    /// Whether `tickets.keys` names keys; otherwise they must be kept in the state directory.
    pub keys_configured: bool,
    /// `--ephemeral-keys`: keep nothing, not even keys.
    pub ephemeral: bool,
    /// Bounds on sessions.
    pub limits: Limits,
}

/// The session room, open.
pub struct Opened {
    /// Where keys and the admin token are kept, if anywhere.
    pub secrets: Secrets,
    /// Which node this is.
    pub node: NodeId,
    /// The sessions, with what the journal knew.
    pub sessions: Sessions,
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

/// Opens the state directory, store and journal. Reads and writes files: not for use on an async worker.
///
/// # Errors
/// [`StartFault`]; a state directory that cannot be used is one only if no key is configured.
pub fn open(options: &Options<'_>, now: UnixMillis) -> Result<Opened, StartFault> {
    let (state_dir, unkept) = match state(options) {
        Ok(state_dir) => (state_dir, None),
        Err(fault) if !options.keys_configured => return Err(StartFault::NoPlaceForKeys(fault)),
        Err(fault) => (None, Some(fault)),
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
    let secrets = match state_dir {
        Some(dir) => Secrets::kept(dir),
        None if options.ephemeral => Secrets::ephemeral()?,
        None => Secrets::Nowhere,
    };
    Ok(Opened { secrets, node, sessions: Sessions::new(store, journal), replay, unkept })
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
