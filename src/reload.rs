//! Reading the configuration again, and using it if it is good.
//!
//! A new snapshot is compiled whole, then one pointer is stored. What is wrong with a configuration changes nothing that
//! serves; it is shown in the log, in a metric, by `/readyz` and in the answer to whoever asked.

use crate::admin::{Diagnostic, LastReload, ReloadOutcome};
use crate::config::{self, Config, ConfigSource, Loaded, Objection, Overrides, Report, SystemSources};
use crate::demo::OnDemand;
use crate::listen;
use crate::serve::now;
use crate::settings;
use crate::snapshot::{Current, Ingredients, World};
use crate::telemetry::labels::Reload;
use crate::telemetry::logs::LogHandle;
use crate::watch::FileWatch;
use arc_swap::ArcSwapOption;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Notify};

/// Who swaps the snapshot. Reloads run one after the other, whoever asks for them.
pub struct Reloader {
    /// What outlives snapshots.
    pub world: Arc<World>,
    /// Where snapshots are published.
    pub current: Current,
    /// Where the configuration comes from.
    pub source: ConfigSource,
    /// What the command line says in its place.
    pub overrides: Overrides,
    /// The listeners that run.
    pub listeners: Vec<Arc<listen::Listener>>,
    /// Where the log level is changed.
    pub logs: Arc<LogHandle>,
    /// The demo server inside this process.
    pub demo: Arc<OnDemand>,
    /// The configuration that the process started with: what cannot change while it runs is compared with this.
    pub started: Config,
    turn: Mutex<()>,
    last: ArcSwapOption<LastReload>,
    reloaded: Notify,
}

impl Reloader {
    /// A reloader of what has just been started.
    pub fn new(
        world: Arc<World>,
        current: Current,
        (source, overrides): (ConfigSource, Overrides),
        listeners: Vec<Arc<listen::Listener>>,
        logs: Arc<LogHandle>,
        demo: Arc<OnDemand>,
    ) -> Reloader {
        let started = current.load().loaded.config.clone();
        let (turn, last, reloaded) = (Mutex::new(()), ArcSwapOption::empty(), Notify::new());
        Reloader { world, current, source, overrides, listeners, logs, demo, started, turn, last, reloaded }
    }

    /// How the last reload ended; `None` before the first.
    pub fn last(&self) -> Option<Arc<LastReload>> {
        self.last.load_full()
    }

    /// Reads the configuration again and, if it is good, uses it.
    pub async fn reload(&self) -> ReloadOutcome {
        let _turn = self.turn.lock().await;
        let outcome = match self.load_and_apply().await {
            Ok(outcome) => outcome,
            Err(diagnostics) => ReloadOutcome::Rejected { generation: self.current.load().generation, diagnostics },
        };
        self.tell(&outcome);
        let unix_seconds = now().0 / 1000;
        self.last.store(Some(Arc::new(LastReload { unix_seconds, outcome: outcome.clone() })));
        self.reloaded.notify_one();
        outcome
    }

    async fn load_and_apply(&self) -> Result<ReloadOutcome, Vec<Diagnostic>> {
        let (source, overrides, world) = (self.source.clone(), self.overrides.clone(), Arc::clone(&self.world));
        let load = move || {
            let judge = |config: &Config| settings::judge_with(&world.upstream, config);
            config::load_judged(&source, &overrides, &SystemSources, &judge)
        };
        let loaded = blocking(load).await?;
        let loaded = loaded.map_err(|report| diagnostics(&report))?;
        let before = self.current.load_full();
        let changed: Vec<String> = config::diff(&before.loaded.effective, &loaded.effective)
            .iter()
            .map(|change| change.path().to_string())
            .collect();
        let needs_restart = settings::fixed_at_start(&self.started, &loaded.config);
        let unchanged = changed.is_empty();
        let generation = before.generation + u64::from(!unchanged);
        let since = if unchanged { before.since } else { now() };
        let demo = self.demo(&loaded.config).await?;
        self.apply(Ingredients { loaded, generation, since, demo }).await?;
        Ok(if unchanged {
            ReloadOutcome::Unchanged { generation, needs_restart }
        } else {
            ReloadOutcome::Applied { generation, changed, needs_restart }
        })
    }

    /// The URL of the demo server, which is started for the first configuration that uses it.
    async fn demo(&self, config: &Config) -> Result<Option<String>, Vec<Diagnostic>> {
        if !settings::uses_demo(config) {
            return Ok(None);
        }
        self.demo.url().await.map(Some).map_err(|error| vec![plain(error.to_string())])
    }

    /// Compiles everything, then uses it; nothing has changed when this fails.
    async fn apply(&self, from: Ingredients) -> Result<(), Vec<Diagnostic>> {
        let loaded: &Loaded = &from.loaded;
        let handles = self.listeners.clone();
        let wanted: Vec<_> = handles.iter().map(|handle| settings::listener_again(handle, &loaded.config)).collect();
        let prepared = blocking(move || {
            handles.iter().zip(wanted).map(|(handle, wanted)| handle.prepare(wanted)).collect::<Result<Vec<_>, _>>()
        });
        let listeners = prepared.await?.map_err(|error| vec![plain(error.to_string())])?;
        let level = loaded.config.log.level.as_str();
        let world = Arc::clone(&self.world);
        let snapshot = blocking(move || world.compile(from)).await?;
        let snapshot = snapshot.map_err(|wrong| wrong.into_iter().map(objected).collect::<Vec<_>>())?;
        for change in listeners {
            change.apply();
        }
        self.world.upstream.commit(&snapshot.backends);
        self.world.sessions.set_limits(settings::sessions(&snapshot.loaded.config));
        self.current.store(Arc::new(snapshot));
        if let Err(error) = self.logs.set_level(level) {
            tracing::warn!(%error, "the log level stays as it is");
        }
        Ok(())
    }

    fn tell(&self, outcome: &ReloadOutcome) {
        let at = now().0 as f64 / 1000.0;
        let metrics = &self.world.metrics;
        match outcome {
            ReloadOutcome::Applied { generation, changed, needs_restart } => {
                metrics.config_reloaded(Reload::Applied, *generation, at);
                tracing::info!(
                    generation,
                    changed = changed.join(" "),
                    needs_restart = needs_restart.join(" "),
                    "configuration in use"
                );
            }
            ReloadOutcome::Unchanged { generation, .. } => metrics.config_reloaded(Reload::Unchanged, *generation, at),
            ReloadOutcome::Rejected { generation, diagnostics } => {
                metrics.config_reloaded(Reload::Rejected, *generation, at);
                for found in diagnostics {
                    let (path, line, column) = (found.path.as_deref(), found.line, found.column);
                    tracing::error!(
                        path,
                        line,
                        column,
                        "configuration refused, the last good one stays in use: {}",
                        found.message
                    );
                }
            }
        }
    }

    /// Reloads when a file changes and on SIGHUP, for as long as the process lives.
    pub async fn watch(&self) {
        let mut files = FileWatch::new(self.files());
        let mut hangup = signal(SignalKind::hangup()).ok();
        loop {
            let ask = tokio::select! {
                () = files.changed() => true,
                () = async { match &mut hangup { Some(hangup) => { hangup.recv().await; }, None => std::future::pending().await } } => true,
                () = self.reloaded.notified() => false,
            };
            if ask {
                self.reload().await;
            }
            files.set(self.files());
        }
    }

    /// The files that the configuration consists of, those of a refused one included: it may be mended in any of them.
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.source.file().cloned().into_iter().collect();
        files.extend(self.current.load().loaded.watched.iter().cloned());
        files
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Vec<Diagnostic>> {
    tokio::task::spawn_blocking(work).await.map_err(|_| vec![plain("the configuration could not be read".to_owned())])
}

fn plain(message: String) -> Diagnostic {
    Diagnostic { path: None, line: None, column: None, message }
}

fn objected(Objection { path, message }: Objection) -> Diagnostic {
    Diagnostic { path: Some(path.to_string()), ..plain(message) }
}

fn diagnostics(report: &Report) -> Vec<Diagnostic> {
    let of = |entry: config::Entry| Diagnostic {
        path: Some(entry.path.to_string()).filter(|path| !path.is_empty()),
        line: entry.position.map(|position| u32::try_from(position.line).unwrap_or(u32::MAX)),
        column: entry.position.map(|position| u32::try_from(position.column).unwrap_or(u32::MAX)),
        message: match entry.help {
            Some(help) => format!("{} ({help})", entry.message),
            None => entry.message,
        },
    };
    report.entries().into_iter().map(of).collect()
}
