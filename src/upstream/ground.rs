//! Where the work of adapters runs: on the control plane, whoever caused it.
//!
//! A child process and a connection that many requests share must outlive the request that began them, and the runtime
//! that this request was served by.

use std::sync::OnceLock;
use tokio::runtime::Handle;

/// The control plane's runtime, once the registry was started; before, that of whoever asks.
#[derive(Debug, Default)]
pub(super) struct Ground(OnceLock<Handle>);

impl Ground {
    /// Names the runtime; the first one counts.
    pub(super) fn set(&self, handle: Handle) {
        self.0.get_or_init(|| handle);
    }

    /// The runtime. Called by tasks only, which run on one.
    pub(super) fn handle(&self) -> Handle {
        self.0.get().cloned().unwrap_or_else(Handle::current)
    }
}
