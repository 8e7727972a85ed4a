//! Reading the configuration again, and using it if it is good.
//!
//! A new snapshot is compiled whole, then one pointer is stored. What is wrong with a configuration changes nothing that
//! serves; it is shown in the log, in a metric, by `/readyz` and in the answer to whoever asked.

use crate::admin::{Diagnostic, LastReload, ReloadOutcome};
use crate::cluster::Cluster;
use crate::config::{
    self, Config, ConfigSource, Judge, Loaded, NotUtf8, Objection, Overrides, Report, Sources, SystemSources,
};
use crate::demo::OnDemand;
use crate::listen;
use crate::serve::now;
use crate::settings;
use crate::snapshot::{Current, Ingredients, World};
use crate::telemetry::labels::Reload;
use crate::telemetry::logs::LogHandle;
use crate::watch::{FileWatch, Looks};
use arc_swap::ArcSwapOption;
use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::Signal;
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
    noticed: parking_lot::Mutex<Noticed>,
}

/// What a reload leaves to whoever watches the files.
#[derive(Default)]
struct Noticed {
    /// What the files looked like before they were read the last time.
    looks: Looks,
    /// The files of a configuration that was refused: it may be mended in any of them.
    refused: Vec<PathBuf>,
}

/// Loads a configuration, and tells what its files looked like before they were read. Blocks while it reads them.
pub fn load(source: &ConfigSource, overrides: &Overrides, judge: Judge<'_>) -> (Result<Loaded, Report>, Looks) {
    let looking = Looking(Looks::default());
    let loaded = config::load_judged(source, overrides, &looking, judge);
    (loaded, looking.0)
}

/// This process's environment and files, where each file is looked at before it is read.
struct Looking(Looks);

impl Sources for Looking {
    fn env(&self, name: &str) -> Result<Option<String>, NotUtf8> {
        SystemSources.env(name)
    }

    fn file(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.0.look(path);
        SystemSources.file(path, limit)
    }

    fn cpus(&self) -> NonZeroUsize {
        SystemSources.cpus()
    }
}

impl Reloader {
    /// A reloader of what has just been started, from files that looked as `looks` says.
    pub fn new(
        world: Arc<World>,
        current: Current,
        (source, overrides): (ConfigSource, Overrides),
        listeners: Vec<Arc<listen::Listener>>,
        logs: Arc<LogHandle>,
        (demo, looks): (Arc<OnDemand>, Looks),
    ) -> Reloader {
        let started = current.load().loaded.config.clone();
        let (turn, last, reloaded) = (Mutex::new(()), ArcSwapOption::empty(), Notify::new());
        let noticed = parking_lot::Mutex::new(Noticed { looks, ..Noticed::default() });
        Reloader { world, current, source, overrides, listeners, logs, demo, started, turn, last, reloaded, noticed }
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
            load(&source, &overrides, &judge)
        };
        let (loaded, looks) = blocking(load).await?;
        let named = loaded.as_ref().map_or_else(Report::watched, |loaded| &loaded.watched).to_vec();
        *self.noticed.lock() = Noticed { looks, refused: named };
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
        self.noticed.lock().refused.clear();
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
            let prepare =
                |(handle, (wanted, certificate)): (&Arc<listen::Listener>, _)| handle.prepare(wanted, certificate);
            handles.iter().zip(wanted).map(prepare).collect::<Result<Vec<_>, _>>()
        });
        let listeners = prepared.await?.map_err(|error| vec![plain(error.to_string())])?;
        let level = loaded.config.log.level.as_str();
        let world = Arc::clone(&self.world);
        let snapshot = blocking(move || world.compile(from)).await?;
        let snapshot = snapshot.map_err(|wrong| wrong.into_iter().map(objected).collect::<Vec<_>>())?;
        let config = &snapshot.loaded.config;
        let nodes = Cluster::prepare(settings::cluster(config), &snapshot.keys);
        let nodes = nodes.map_err(|error| vec![plain(error.to_string())])?;
        for change in listeners {
            change.apply();
        }
        self.world.cluster.apply(nodes);
        self.world.commit(&snapshot);
        self.world.sessions.set_limits(settings::sessions(&snapshot.loaded.config));
        self.current.store(Arc::new(snapshot));
        self.world.reloads.send_modify(|count| *count += 1);
        self.world.catalogs.poke();
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
    pub async fn watch(&self, mut hangup: Signal) {
        let (files, looks) = self.files();
        let mut watched = FileWatch::new(files, looks);
        loop {
            let ask = tokio::select! {
                () = watched.changed() => true,
                _ = hangup.recv() => true,
                () = self.reloaded.notified() => false,
            };
            if ask {
                self.reload().await;
            }
            let (files, looks) = self.files();
            watched.set(files, looks);
        }
    }

    /// The files that the configuration consists of, those of a refused one included, and what they looked like before
    /// they were last read.
    fn files(&self) -> (Vec<PathBuf>, Looks) {
        let mut noticed = self.noticed.lock();
        let mut files: Vec<PathBuf> = self.source.file().cloned().into_iter().collect();
        files.extend(self.current.load().loaded.watched.iter().cloned());
        files.extend(noticed.refused.iter().cloned());
        (files, mem::take(&mut noticed.looks))
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
