//! A session that a backend has just opened for us. Until somebody keeps it, nobody knows it: it must not stay behind.

use super::close;
use crate::session::{UpstreamId, UpstreamSession};
use crate::upstream::{Fetcher, LiveBackend};
use lockgate_filters::revision::Revision;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A backend's session that nobody has taken in yet; dropping it ends it at the backend, in the background.
pub(super) struct Opened {
    backend: Arc<LiveBackend>,
    fetcher: Fetcher,
    id: Option<UpstreamId>,
    revision: Option<Revision>,
}

impl Opened {
    /// What `backend` gave an id to, if it did, spoken to by `fetcher`.
    pub fn new(backend: Arc<LiveBackend>, fetcher: Fetcher, id: Option<UpstreamId>) -> Opened {
        Opened { backend, fetcher, id, revision: None }
    }

    /// What the session is, now that its revision is known.
    pub fn negotiated(&mut self, revision: Revision) -> UpstreamSession {
        self.revision = Some(revision);
        UpstreamSession { id: self.id.clone(), revision }
    }

    /// Somebody answers for the session from now on.
    pub fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let (backend, fetcher, revision) = (Arc::clone(&self.backend), self.fetcher.clone(), self.revision);
        runtime.spawn(async move {
            close::end_at(&backend, &fetcher, &id, revision).await;
        });
    }
}
