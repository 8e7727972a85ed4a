//! The live backends: compiled from settings, kept over reloads, worked for in the background.
//!
//! A reload first prepares a whole generation ([`Registry::prepare`]), which changes nothing and may fail, and then
//! commits it. Backends whose endpoint and protocol stayed the same keep their connections and all that is known of
//! them.

use super::caller::Caller;
use super::callers::CallerLists;
use super::connector::Connector;
use super::fetch::Fetcher;
use super::ground::Ground;
use super::inventory::Stock;
use super::live::LiveBackend;
use super::reach::{Kept, Reach};
use super::settings::{BackendSettings, SettingsError};
use super::stdio::Command;
use super::watch::{PATIENCE, Watched};
use indexmap::IndexMap;
use lockgate_filters::backend::Backend;
use lockgate_filters::splice::{Forwarding, Outbound};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// How long background work for a backend has to end.
const END_TIME: Duration = Duration::from_secs(1);

/// The backends of one generation, by name. A snapshot holds one.
#[derive(Clone, Debug, Default)]
pub struct Generation(IndexMap<Arc<str>, Arc<LiveBackend>>);

impl Generation {
    /// The backend of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<LiveBackend>> {
        self.0.get(name)
    }

    /// All backends, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LiveBackend>> {
        self.0.values()
    }
}

/// A backend whose settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("backend `{name}`: {error}")]
pub struct UnusableBackend {
    /// Its name.
    pub name: Arc<str>,
    /// Why.
    pub error: SettingsError,
}

/// All live backends, and the work that is done for them.
pub struct Registry {
    connector: Arc<Connector>,
    news: Arc<watch::Sender<u64>>,
    ground: Arc<Ground>,
    callers: Arc<CallerLists>,
    state: Mutex<State>,
}

struct State {
    generation: Generation,
    runtime: Option<Handle>,
    working: HashMap<Arc<str>, Work>,
    /// How much longer work is done for a backend that is gone.
    grace: Duration,
    /// Commands of earlier generations, whose processes may still work.
    retired: Vec<Weak<Command>>,
}

/// The background work for one backend; it ends with this value.
struct Work {
    watched: Arc<Watched>,
    task: JoinHandle<()>,
}

impl Work {
    /// Ends it, the gateway's own session at the backend first; within [`END_TIME`].
    async fn end(mut self) {
        self.watched.stock.end();
        // Where it takes longer, it ends as it is.
        let _ = timeout(END_TIME, &mut self.task).await;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.task.abort();
        self.watched.give_up();
    }
}

impl Registry {
    /// A registry without backends.
    pub fn new() -> Registry {
        // As long as a request of the earlier generation may wait for what is being found out.
        Registry::with_grace(PATIENCE)
    }

    /// The same, where work for backends that are gone ends after this time.
    pub(super) fn with_grace(grace: Duration) -> Registry {
        let state = State {
            generation: Generation::default(),
            runtime: None,
            working: HashMap::new(),
            grace,
            retired: Vec::new(),
        };
        Registry {
            connector: Arc::new(Connector::new()),
            news: Arc::default(),
            ground: Arc::default(),
            callers: Arc::default(),
            state: Mutex::new(state),
        }
    }

    /// Compiles a generation. Changes nothing, connects to nothing.
    ///
    /// # Errors
    /// Every backend whose settings cannot be used.
    pub fn prepare(&self, settings: &[BackendSettings]) -> Result<Generation, Vec<UnusableBackend>> {
        let known = self.state.lock().generation.clone();
        let mut generation = Generation::default();
        let mut unusable = Vec::new();
        for backend in settings {
            match self.compile(backend, known.get(&backend.name)) {
                Ok(live) => drop(generation.0.insert(backend.name.clone(), Arc::new(live))),
                Err(error) => unusable.push(UnusableBackend { name: backend.name.clone(), error }),
            }
        }
        if unusable.is_empty() { Ok(generation) } else { Err(unusable) }
    }

    fn compile(
        &self,
        settings: &BackendSettings,
        known: Option<&Arc<LiveBackend>>,
    ) -> Result<LiveBackend, SettingsError> {
        let kept = known.filter(|known| known.watched.protocol == settings.protocol && known.reach.is(settings));
        let fetcher = |reach| Fetcher {
            connector: self.connector.clone(),
            reach,
            caller: Caller::default(),
            fields: Outbound::new(),
            timeouts: settings.timeouts,
            answer_bytes: settings.answer_bytes,
            sse_event: settings.sse_event,
            tools: settings.tools,
            stock: settings.stock,
        };
        let watched = match kept {
            Some(kept) => kept.watched.clone(),
            None => {
                let (traffic, control) = Reach::ways(settings, &self.connector, &self.ground)?;
                let backend = Backend::new(settings.name.clone(), Watched::given(settings.protocol));
                let stock = Stock::new(Arc::clone(&self.news), settings.stock.spacing);
                Arc::new(Watched::new(
                    Arc::new(backend),
                    settings.protocol,
                    traffic,
                    fetcher(control),
                    stock,
                    Arc::clone(&self.callers),
                ))
            }
        };
        Ok(LiveBackend {
            backend: watched.backend.clone(),
            place: watched.traffic.place(&settings.name),
            timeouts: settings.timeouts,
            forwarding: Forwarding::new(settings.forward_headers.iter().cloned()).setting(
                settings.endpoints.iter().flat_map(|endpoint| &endpoint.headers).map(|(name, _)| name.clone()),
            ),
            connector: self.connector.clone(),
            reach: watched.traffic.clone(),
            kept: Kept::of(settings),
            fetcher: fetcher(watched.traffic.clone()),
            stocked: settings.stocked,
            watched,
        })
    }

    /// Makes a prepared generation the current one: work begins for new backends and ends for those that are gone.
    pub fn commit(&self, generation: &Generation) {
        let mut state = self.state.lock();
        state.generation = generation.clone();
        for live in generation.iter() {
            // The endpoint that background work asks stays; its bounds are this generation's.
            let control = live.watched.fetcher.load().reach.clone();
            live.reach.keep_as(&live.kept);
            control.keep_as(&live.kept);
            live.watched.fetcher.store(Arc::new(Fetcher { reach: control, ..live.fetcher.clone() }));
            live.watched
                .stock
                .wanted
                .send_if_modified(|wanted| std::mem::replace(wanted, live.stocked) != live.stocked);
        }
        state.work();
    }

    /// Starts the background work on the control plane's runtime; until then nothing is found out about any backend.
    pub fn start(&self, runtime: Handle) {
        self.ground.set(runtime.clone());
        let mut state = self.state.lock();
        state.runtime = Some(runtime);
        state.work();
    }

    /// Counts up whenever something became known of what a backend offers.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Stops all child processes and waits until they are gone: each has the time that its configuration gives it. The
    /// gateway's end would end them as well, but without a word. Ends the gateway's own sessions at the other backends.
    pub async fn stop_children(&self) {
        let mut stopping = JoinSet::new();
        let (work, commands) = self.over();
        for work in work {
            stopping.spawn(work.end());
        }
        for command in commands {
            stopping.spawn(async move { command.stop_all().await });
        }
        while stopping.join_next().await.is_some() {}
    }

    /// Ends all child processes at once. Blocks.
    pub fn kill_children(&self) {
        let (_, commands) = self.over();
        for command in commands {
            command.kill_all();
        }
    }

    /// What is to be ended: the work that is done in the background, and the commands of this generation and of earlier ones
    /// whose processes may still work. Nothing new is begun.
    fn over(&self) -> (Vec<Work>, Vec<Arc<Command>>) {
        let mut state = self.state.lock();
        state.runtime = None;
        let working = state.working.drain().map(|(_, work)| work).collect();
        let running = state.generation.iter().filter_map(|live| live.reach.command().cloned());
        (working, running.chain(state.retired.iter().filter_map(Weak::upgrade)).collect())
    }

    /// Ends all background work: the process is stopping.
    #[cfg(test)]
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.runtime = None;
        state.working.clear();
    }

    #[cfg(test)]
    pub(super) fn caller_count(&self) -> usize {
        self.callers.count()
    }

    /// The current generation.
    pub fn generation(&self) -> Generation {
        self.state.lock().generation.clone()
    }
}

impl State {
    fn work(&mut self) {
        let Some(runtime) = &self.runtime else { return };
        let generation = &self.generation;
        let leaving = self.working.extract_if(|name, work| {
            !generation.get(name).is_some_and(|live| Arc::ptr_eq(&live.watched, &work.watched))
        });
        for (_, work) in leaving {
            work.watched.retire();
            self.retired.retain(|command| command.strong_count() > 0);
            self.retired.extend(work.watched.traffic.command().map(Arc::downgrade));
            let grace = self.grace;
            runtime.spawn(async move {
                tokio::time::sleep(grace).await;
                work.end().await;
            });
        }
        for live in generation.iter() {
            self.working.entry(live.backend.name.clone()).or_insert_with(|| {
                let watched = live.watched.clone();
                let task = runtime.spawn(watched.clone().keep());
                Work { watched, task }
            });
        }
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("connector", &self.connector).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
