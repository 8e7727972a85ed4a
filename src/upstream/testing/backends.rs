//! Backends of the registry, for the tests of this room.

use crate::upstream::settings::{
    BackendSettings, CommandSettings, PoolSettings, Protocol, StockSettings, Timeouts, ToolSettings,
};
use crate::upstream::testing::at;
use crate::upstream::{LiveBackend, Registry};
use std::sync::Arc;
use tokio::runtime::Handle;

/// A backend that is neither a URL nor a command, and nothing special.
fn nowhere(name: &str) -> BackendSettings {
    BackendSettings {
        name: name.into(),
        endpoints: Vec::new(),
        command: None,
        protocol: Protocol::Auto,
        timeouts: Timeouts::default(),
        pool: PoolSettings::default(),
        forward_headers: Vec::new(),
        answer_bytes: 1 << 20,
        sse_event: 1 << 16,
        tools: ToolSettings::default(),
        stock: StockSettings::default(),
        stocked: false,
    }
}

/// The backend at this URL.
pub(crate) fn backend_at(name: &str, url: impl AsRef<str>) -> BackendSettings {
    BackendSettings { endpoints: vec![at(url)], ..nowhere(name) }
}

/// The backend that this command is.
pub(crate) fn backend_run(name: &str, command: CommandSettings) -> BackendSettings {
    BackendSettings { command: Some(command), ..nowhere(name) }
}

/// Makes these the backends of a registry.
pub(crate) fn set(registry: &Registry, settings: &[BackendSettings]) {
    registry.commit(&registry.prepare(settings).expect("usable settings"));
}

/// A registry with these backends, for which work is done.
pub(crate) fn registry(settings: &[BackendSettings]) -> Registry {
    let registry = Registry::new();
    set(&registry, settings);
    registry.start(Handle::current());
    registry
}

/// The backend of this name.
pub(crate) fn live(registry: &Registry, name: &str) -> Arc<LiveBackend> {
    registry.generation().get(name).expect("a backend").clone()
}

/// A registry with one backend.
pub(crate) fn started(settings: BackendSettings) -> (Registry, Arc<LiveBackend>) {
    let registry = registry(std::slice::from_ref(&settings));
    let live = live(&registry, &settings.name);
    (registry, live)
}
