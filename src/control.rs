//! The gateway as its operator sees it: what stands behind the admin listener.

mod overview;

use crate::admin::overview::{Backends, Servers};
use crate::admin::{
    BackendState, ConfigForm, Control, Detail, EffectiveConfig, LastReload, MetricsPolicy, ReloadOutcome,
};
use crate::config::sections::MetricsAccess;
use crate::drain::Drain;
use crate::listen::Listener;
use crate::reload::Reloader;
use crate::sample::{Listeners, sample};
use crate::snapshot::Snapshot;
use crate::upstream::LiveBackend;
use async_trait::async_trait;
use lockgate_filters::backend::Speaks;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The operator's hands on the gateway.
pub struct Operator {
    reloader: Arc<Reloader>,
    drain: Drain,
    listeners: Listeners,
}

impl Operator {
    /// An operator of what the reloader serves.
    pub fn new(reloader: Arc<Reloader>, drain: Drain) -> Operator {
        let of = |listener: &Arc<Listener>| (Arc::clone(listener), reloader.world.metrics.listener(listener.name()));
        let listeners = reloader.listeners.iter().map(of).collect();
        Operator { reloader, drain, listeners }
    }

    /// Waits until it is known what the backends speak and offer, or that they cannot be asked; not longer than `within`.
    pub async fn settled(&self, within: Duration) {
        let snapshot = self.snapshot();
        let mut asking = JoinSet::new();
        for live in snapshot.backends.iter() {
            let live = Arc::clone(live);
            asking.spawn(async move {
                // Why nothing is known is told with the rest.
                let _ = live.ensure_eras(within).await;
                if live.is_stocked() {
                    live.ensure_inventory(within).await;
                }
            });
        }
        let _ = timeout(within, asking.join_all()).await;
        for server in &snapshot.servers {
            self.reloader.world.catalogs.fill(&server.policy);
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.reloader.current.load_full()
    }
}

#[async_trait]
impl Control for Operator {
    fn ready(&self) -> bool {
        !self.drain.is_draining()
    }

    fn detail(&self) -> Detail {
        let snapshot = self.snapshot();
        Detail {
            ready: self.ready(),
            draining: self.drain.is_draining(),
            generation: snapshot.generation,
            last_reload: self.reloader.last().map(|last| LastReload::clone(&last)),
            backends: snapshot.backends.iter().map(|backend| state(backend)).collect(),
        }
    }

    fn config(&self, form: ConfigForm) -> EffectiveConfig {
        let snapshot = self.snapshot();
        let effective = &snapshot.loaded.effective;
        let text = match form {
            ConfigForm::Yaml => effective.to_yaml(),
            ConfigForm::Json => serde_json::to_string_pretty(effective).unwrap_or_default(),
        };
        EffectiveConfig { generation: snapshot.generation, since_unix_seconds: snapshot.since.0 / 1000, text }
    }

    fn backends(&self) -> Backends {
        overview::backends(&self.snapshot())
    }

    fn servers(&self) -> Servers {
        overview::servers(&self.snapshot(), self.listeners.iter().map(|(listener, _)| listener))
    }

    async fn reload(&self) -> ReloadOutcome {
        self.reloader.reload().await
    }

    fn metrics(&self) -> String {
        sample(&self.listeners, &self.reloader.world, &self.snapshot());
        self.reloader.world.metrics.render()
    }

    fn metrics_policy(&self) -> MetricsPolicy {
        match self.snapshot().loaded.config.admin.metrics {
            MetricsAccess::Loopback => MetricsPolicy::Loopback,
            MetricsAccess::Open => MetricsPolicy::Open,
            MetricsAccess::Token => MetricsPolicy::Token,
        }
    }

    fn token(&self) -> Arc<str> {
        // No token at all: the empty one matches nobody, so the guarded paths are closed.
        self.snapshot().admin_token.clone().unwrap_or_default()
    }

    fn allowed_hosts(&self) -> Arc<[String]> {
        self.snapshot().loaded.config.admin.allowed_hosts.iter().map(ToString::to_string).collect()
    }
}

fn state(live: &LiveBackend) -> BackendState {
    let facts = live.backend.facts();
    let mut eras = Vec::new();
    if facts.legacy == Speaks::Yes {
        eras.push("legacy");
    }
    if facts.modern == Speaks::Yes {
        eras.push("modern");
    }
    BackendState { name: live.backend.name.to_string(), up: live.is_up(), eras }
}
