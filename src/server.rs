//! Assembling the gateway and running it until it is told to stop.
//!
//! Two runtimes: Pingora's own carries traffic; one small one, the control plane, carries everything else (admin listener,
//! reloads, probes, the demo server), so that neither can starve the other.

use crate::admin;
use crate::cli::{RunOptions, Start, clients};
use crate::cluster::{Boot, Cluster, KeysUnfit, Process};
use crate::config::sections::LogFormat;
use crate::config::values::Name;
use crate::config::{Config, Objection};
use crate::control::Operator;
use crate::demo;
use crate::drain::{Drain, StopAfter, StopSignals};
use crate::egress::Egress;
use crate::gateway::Gateway;
use crate::greeting::Greeting;
use crate::identity::{Identities, system_clock};
use crate::listen::{Admission, BoundListener, ListenError, ListenService};
use crate::reload::{self, Reloader};
use crate::seats::Seats;
use crate::serve::now;
use crate::session::{self, Opened};
use crate::settings;
use crate::snapshot::{Current, Ingredients, World};
use crate::telemetry::logs::{self, LogError, LogHandle};
use crate::telemetry::metrics::MetricsError;
use crate::telemetry::{BuildInfo, Metrics};
use crate::unheard::Unheard;
use crate::upstream::Registry;
use crate::watch::Looks;
use arc_swap::ArcSwap;
use lockgate_filters::authenticate::cache::TokenCache;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownSignalWatch};
use pingora_proxy::http_proxy;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use url::Url;

/// How often idle sessions are looked for.
const SWEEP: Duration = Duration::from_secs(30);
/// How long a start waits until it is known which other nodes are there.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How many verified tokens, and how many refused ones, are remembered.
const TOKENS: usize = 16_384;
/// Threads of the control plane.
const CONTROL_THREADS: usize = 1;

/// Why the gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system's generator gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The address for other nodes.
    #[error("other nodes cannot be listened for on {0}: {1}")]
    Cluster(SocketAddr, io::Error),
    /// What other nodes know this one by.
    #[error(transparent)]
    Keys(#[from] KeysUnfit),
    /// The admin listener's address.
    #[error("the admin listener cannot listen on {0}: {1}")]
    Admin(SocketAddr, io::Error),
    /// Keys or the journal.
    #[error(transparent)]
    Session(#[from] session::StartFault),
    /// The configuration cannot be used after all.
    #[error("{0}")]
    Config(String),
    /// The demo server.
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Signals.
    #[error("SIGHUP cannot be received: {0}")]
    Signal(io::Error),
    /// Threads.
    #[error("the runtime cannot be started: {0}")]
    Runtime(io::Error),
}

/// A gateway that is ready to serve.
struct Ready {
    plane: Runtime,
    config: Config,
    bound: Vec<BoundListener>,
    nodes: Option<std::net::TcpListener>,
    gateway: Gateway,
    demo: Arc<demo::OnDemand>,
    greeting: Greeting,
    operator: Arc<Operator>,
    logs: Arc<LogHandle>,
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// [`StartError`] before anything is served; afterwards nothing ends it but a signal.
pub fn run(start: Start) -> Result<(), StartError> {
    let ready = prepare(start)?;
    ready.greeting.print();
    let (drain, current) = (ready.gateway.drain.clone(), Arc::clone(&ready.gateway.current));
    ready.serve(StopSignals::new(drain, move || settings::drain(&current.load().loaded.config)));
    Ok(())
}

/// A gateway within this process, as its only client finds it.
pub struct Within {
    config: Config,
    addresses: Vec<SocketAddr>,
    operator: Arc<Operator>,
}

impl Within {
    /// Where a virtual server is, where any listener offers it.
    pub fn url(&self, server: &Name) -> Option<Url> {
        let at = |name: &Name| self.addresses.get(self.config.listeners.get_index_of(name)?).copied();
        clients::urls_of(&self.config, server, |name, _| at(name).map(|address| format!("http://{address}")))
            .first()
            .and_then(|url| Url::parse(url).ok())
    }

    /// Its operator.
    pub fn operator(&self) -> &Arc<Operator> {
        &self.operator
    }
}

/// Runs the gateway for one client within this process, until that client's future ends. `client` is called on the
/// runtime on which its future then runs. Nothing is printed: standard output is the client's.
///
/// # Errors
/// [`StartError`], or that of `client`, before anything is served.
pub fn run_for<C, E>(start: Start, client: impl FnOnce(Within) -> Result<C, E>) -> Result<(), E>
where
    C: Future<Output = ()> + Send + 'static,
    E: From<StartError>,
{
    let ready = prepare(start)?;
    let within = Within {
        config: ready.config.clone(),
        addresses: ready.bound.iter().map(BoundListener::address).collect(),
        operator: Arc::clone(&ready.operator),
    };
    let client = {
        let _plane = ready.plane.enter();
        client(within)?
    };
    let (left, leaving) = oneshot::channel();
    ready.plane.spawn(async move {
        client.await;
        drop(left);
    });
    let drain = ready.gateway.drain.clone();
    ready.serve(StopAfter::new(drain, leaving));
    Ok(())
}

fn prepare(start: Start) -> Result<Ready, StartError> {
    let Start { options, loaded } = start;
    let plane = control_plane()?;
    // Whoever asks for a reload this early gets it later, instead of a process that is killed by it.
    let hangup = {
        let _plane = plane.enter();
        signal(SignalKind::hangup()).map_err(StartError::Signal)?
    };
    // Read once more, so that no change is lost between reading the files and watching them.
    let (again, looks) = reload::load(&options.source, &options.overrides, &settings::judge);
    let (loaded, looks) = again.map_or_else(|_| (loaded, Looks::default()), |again| (again, looks));
    let config = loaded.config.clone();
    let metrics = Metrics::new(BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        revision: crate::cli::COMMIT.unwrap_or("unknown"),
    })?;
    let counted = Arc::clone(&metrics);
    let logs = logs::init(log_format(&config), config.log.level.as_str(), move || counted.log_line_dropped())?;
    let logs = Arc::new(logs);
    raise_file_limit();
    let opened = open_state(&options, &config)?;
    let demo = Arc::new(demo::OnDemand::default());
    let demo_url = if settings::uses_demo(&config) { Some(plane.block_on(demo.url())?) } else { None };
    let bound = bind(&config)?;
    let nodes = config.cluster.listen.map(|address| bind_nodes(address.socket())).transpose()?;
    let (admin, admin_address) = bind_admin(&plane, config.admin.address.socket())?;

    let boot = lockgate_filters::random::array().map_err(|_| StartError::NoRandomness)?;
    let drain = Drain::new();
    let egress = Arc::new(Egress::new(settings::identity::egress(&config)));
    let world = Arc::new(World {
        upstream: Arc::new(Registry::new()),
        sessions: Arc::new(opened.sessions),
        secrets: opened.secrets,
        bodies: Arc::default(),
        listening: Seats::default(),
        metrics: Arc::clone(&metrics),
        catalogs: Arc::default(),
        reloads: watch::Sender::default(),
        cluster: Arc::new(Cluster::new(Process { node: opened.node, boot: Boot(boot) })),
        identities: Identities::new(Arc::clone(&egress), system_clock()),
        egress,
        revoking: Default::default(),
        tokens: Arc::new(TokenCache::new(TOKENS, TOKENS)),
        bound: config.listeners.keys().cloned().collect(),
        addresses: bound.iter().map(BoundListener::address).collect(),
    });
    let greeting = Greeting::of(&config, &options.source, &bound, admin_address);
    let first = Ingredients { loaded, generation: 1, since: now(), demo: demo_url };
    let snapshot = {
        // What is kept of lists of what no longer counts is kept by a task.
        let _plane = plane.enter();
        world.compile(first).map_err(|wrong| StartError::Config(listed(&wrong)))?
    };
    world.cluster.apply(Cluster::prepare(settings::cluster(&config), &snapshot.keys)?);
    // Who does not answer in time is no reason not to start.
    let _ = plane.block_on(async { timeout(FIRST_LOOK, world.cluster.look()).await });
    plane.spawn(Arc::clone(&world.cluster).keep());
    {
        let _plane = plane.enter();
        world.commit(&snapshot);
    }
    world.upstream.start(plane.handle().clone());
    metrics.config_in_use(1, seconds());
    let current: Current = Arc::new(ArcSwap::from_pointee(snapshot));
    plane.spawn(keep_catalogs(&world, &current));
    let handles = bound.iter().map(BoundListener::handle).collect();
    let asked = (options.source, options.overrides);
    let noticed = (Arc::clone(&demo), looks);
    let reloader = Reloader::new(Arc::clone(&world), Arc::clone(&current), asked, handles, Arc::clone(&logs), noticed);
    let reloader = Arc::new(reloader);
    let operator = Arc::new(Operator::new(Arc::clone(&reloader), drain.clone()));
    let closing = drain.clone();
    let operated = Arc::<Operator>::clone(&operator);
    plane.spawn(admin::serve(admin, operated, settings::admin(&config), async move { closing.closing().await }));
    plane.spawn(async move { reloader.watch(hangup).await });
    plane.spawn(sweep(Arc::clone(&world), Arc::clone(&current)));

    let gateway =
        Gateway { current, world, drain, node: opened.node, boot, events: Arc::default(), sse: Arc::default() };
    Ok(Ready { plane, config, bound, nodes, gateway, demo, greeting, operator, logs })
}

impl Ready {
    /// Serves until `stop` says so and everything has ended.
    fn serve(self, stop: impl ShutdownSignalWatch + 'static) {
        let Ready { plane, config, bound, nodes, gateway, demo, logs, .. } = self;
        let world = Arc::clone(&gateway.world);
        serve(gateway, bound, nodes, config.workers.get(), stop);
        plane.block_on(async {
            tokio::select! {
                () = world.upstream.stop_children() => {}
                () = asked_again() => world.upstream.kill_children(),
            }
        });
        plane.block_on(world.sessions.close());
        plane.block_on(demo.stop());
        logs.flush();
        // A thread may still wait for standard input: nobody waits for that thread.
        plane.shutdown_background();
    }
}

/// Waits for another signal to stop.
async fn asked_again() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return pending().await };
    let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Keeps what federated virtual servers show, whichever configuration they come from.
fn keep_catalogs(world: &World, current: &Current) -> impl Future<Output = ()> + use<> {
    let (known, current) = (world.upstream.news(), Arc::clone(current));
    let servers = move || current.load().servers.iter().map(|server| Arc::clone(&server.policy)).collect();
    Arc::clone(&world.catalogs).keep(known, servers)
}

/// Hands the listeners to Pingora and returns when everything has ended.
fn serve(
    gateway: Gateway,
    bound: Vec<BoundListener>,
    nodes: Option<std::net::TcpListener>,
    workers: usize,
    stop: impl ShutdownSignalWatch + 'static,
) {
    let conf = ServerConf {
        threads: workers,
        // Stopping is over when Pingora hears of it: nothing is left to wait for.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let (current, drain) = (Arc::clone(&gateway.current), gateway.drain.clone());
    let (within, cluster) = (Arc::clone(&gateway.sse.within), Arc::clone(&gateway.world.cluster));
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let proxy = Arc::new(http_proxy(&server.configuration, gateway));
    within.open(&proxy, drain.clone(), bound.iter().map(BoundListener::handle).collect());
    let unheard = Arc::new(Unheard { current });
    let mut listeners = ListenService::new(proxy, unheard, bound, drain.clone()).with_threads(workers);
    if let Some(nodes) = nodes {
        listeners = listeners.beside(cluster.serve(nodes, within, drain));
    }
    server.add_service(listeners);
    server.run(RunArgs { shutdown_signal: Box::new(stop) });
}

fn control_plane() -> Result<Runtime, StartError> {
    Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(StartError::Runtime)
}

/// Descriptors are what connections are made of: the soft limit is a default of the shell, not a decision.
fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit on open files cannot be raised"),
    }
}

fn open_state(options: &RunOptions, config: &Config) -> Result<Opened, StartError> {
    let opened = session::open(
        &session::Options {
            state_dir: config.state_dir.as_deref(),
            keys_configured: !config.tickets.keys.is_empty(),
            ephemeral: options.ephemeral_keys,
            limits: settings::sessions(config),
        },
        now(),
    )?;
    if let Some(fault) = &opened.unkept {
        tracing::warn!(%fault, "state is not kept: legacy sessions do not survive a restart");
    }
    if let Some(report) = opened.replay.as_ref().filter(|report| report.damaged_bytes > 0) {
        tracing::warn!(
            damaged_bytes = report.damaged_bytes,
            "the session journal was damaged; what could be read was kept"
        );
    }
    Ok(opened)
}

/// What is wrong with a configuration, on one line.
fn listed(wrong: &[Objection]) -> String {
    wrong.iter().map(|found| format!("{}: {}", found.path, found.message)).collect::<Vec<_>>().join("; ")
}

fn bind(config: &Config) -> Result<Vec<BoundListener>, StartError> {
    let admission = Admission::new();
    let bind = |(name, listener): (&Name, _)| {
        BoundListener::bind(settings::listener(name.as_str(), listener, config), Arc::clone(&admission))
    };
    Ok(config.listeners.iter().map(bind).collect::<Result<_, _>>()?)
}

fn bind_nodes(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let failed = |error| StartError::Cluster(address, error);
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn bind_admin(plane: &Runtime, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Admin(address, error);
    let listener = plane.block_on(TcpListener::bind(address)).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Gives idle sessions up now and then, and ends them at their backends.
async fn sweep(world: Arc<World>, current: Current) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let given_up = world.sessions.sweep(now()).await;
        if !given_up.is_empty() {
            // In a task of its own: a backend that does not answer must not hold up the next sweep.
            tokio::spawn(crate::lanes::end_all(current.load_full(), given_up));
        }
    }
}

fn log_format(config: &Config) -> logs::LogFormat {
    match config.log.format {
        LogFormat::Auto => logs::LogFormat::Auto,
        LogFormat::Pretty => logs::LogFormat::Pretty,
        LogFormat::Json => logs::LogFormat::Json,
    }
}

fn seconds() -> f64 {
    now().0 as f64 / 1000.0
}
