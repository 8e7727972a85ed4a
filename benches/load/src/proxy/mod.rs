//! What stands between generator and backend: nothing, nginx, or a gateway binary; each started in its own
//! directory, on its own CPU, and ended with its handle.

pub mod lockgate;
pub mod nginx;
pub mod process;

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use process::{Process, guarded, own_program};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::accounting::family;
use crate::backend::{MEMBER_TOOLS, PART_TOOLS, READY};
use crate::cpus::Placement;
use crate::drive::worker::{Job, Target, Worker};
use crate::failure::{During, Failure, Outcome};
use crate::mcp::Era;
use crate::mcp::request::id;
use crate::mcp::results::Listed;
use crate::wire::client::Sources;

/// How long a proxy may take to give its first answer.
const START_TIME: Duration = Duration::from_secs(20);
/// Members of the federation.
const MEMBERS: u16 = 10;

/// The addresses of a proxy.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Clients come here.
    pub listen: SocketAddr,
    /// The operator's listener.
    pub admin: SocketAddr,
    /// What stands behind.
    pub behind: Behind,
}

/// What stands behind a proxy.
#[derive(Clone, Debug)]
pub enum Behind {
    /// One backend.
    One(SocketAddr),
    /// A federation: its members for a gateway, and for others the servers that list what the gateway shows.
    Federation {
        /// The members.
        members: Vec<SocketAddr>,
        /// Lists all tools of all members.
        whole: SocketAddr,
        /// Lists a few tools of each member.
        part: SocketAddr,
    },
}

/// What is asked of a proxy: each has a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One backend's items.
    One,
    /// All items of a federation.
    Whole,
    /// A few items of each member of a federation.
    Part,
}

impl Place {
    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            Self::One | Self::Whole => "/mcp",
            Self::Part => "/part",
        }
    }

    /// What must stand behind a proxy for it.
    pub fn scene(self) -> Scene {
        match self {
            Self::One => Scene::One,
            Self::Whole | Self::Part => Scene::Federation,
        }
    }
}

/// Which of the two set-ups a contender is started in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// One backend.
    One,
    /// Ten members of 50 tools each.
    Federation,
}

/// What a contender is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No proxy: the backend itself.
    Direct,
    /// The yardstick.
    Nginx,
    /// A gateway.
    Lockgate(Gateway),
}

/// A gateway binary and how it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The program.
    pub binary: PathBuf,
    /// It speaks HTTP/2 to the backend.
    pub http2: bool,
}

/// One column of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Its name in the tables.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What stands behind it.
    pub scene: Scene,
}

/// What all contenders share.
pub struct Ground {
    /// Who runs where.
    pub placement: Placement,
    /// The gateway's log level.
    pub log_level: String,
    /// Tools in the backend's list.
    tools: usize,
    backend: Process,
    one: SocketAddr,
    members: Vec<SocketAddr>,
    whole: SocketAddr,
    part: SocketAddr,
    directory: TempDir,
}

impl Ground {
    /// Starts the backend.
    pub fn prepare(placement: Placement, log_level: &str, tools: u16) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("lockgate-load-").tempdir().during("make a directory")?;
        let program = [
            own_program()?.into(),
            "backend".into(),
            "--listen=127.0.0.1:0".into(),
            format!("--tools={tools}").into(),
            format!("--members={MEMBERS}").into(),
        ];
        let log = directory.path().join("backend.log");
        let (backend, line) = Process::start_and_listen(&mut guarded(&program)?, placement.load, &log)?;
        let addresses = line.strip_prefix(READY).map(|addresses| addresses.split(' ').map(str::parse).collect());
        let addresses: Option<Vec<SocketAddr>> = addresses.and_then(Result::ok);
        let Some([one, members @ .., whole, part]) = addresses.as_deref() else {
            return Err(Failure::said(format!("the backend did not start: {line}\n{}", backend.log_end())));
        };
        Ok(Self {
            placement,
            log_level: log_level.to_owned(),
            tools: usize::from(tools),
            one: *one,
            members: members.to_vec(),
            whole: *whole,
            part: *part,
            backend,
            directory,
        })
    }

    fn behind(&self, scene: Scene) -> Behind {
        match scene {
            Scene::One => Behind::One(self.one),
            Scene::Federation => {
                Behind::Federation { members: self.members.clone(), whole: self.whole, part: self.part }
            }
        }
    }

    /// What is listed at a place.
    fn listed(&self, place: Place) -> Listed {
        let members = self.members.len();
        match place {
            Place::One => Listed::Own(self.tools),
            Place::Whole => Listed::Merged { members, tools: MEMBER_TOOLS },
            Place::Part => Listed::Merged { members, tools: PART_TOOLS },
        }
    }

    /// The backend without a proxy.
    fn direct(&self, place: Place) -> SocketAddr {
        match place {
            Place::One => self.one,
            Place::Whole => self.whole,
            Place::Part => self.part,
        }
    }
}

/// A started contender.
pub struct Running {
    /// Processes whose CPU time and memory count.
    pub pids: Vec<u32>,
    /// From the start of the process to the first right answer.
    pub first_answer: Duration,
    /// Where load goes.
    targets: Vec<(Place, Target)>,
    process: Option<Process>,
    reload: Option<Reload>,
}

/// How to reload a contender.
struct Reload {
    directory: PathBuf,
    addresses: Addresses,
    log_level: String,
    kind: Kind,
}

impl Contender {
    /// Starts it and waits for its first answer.
    pub fn start(&self, ground: &Ground) -> Outcome<Running> {
        if self.kind == Kind::Direct {
            let targets = self.targets(ground, None);
            let pids = vec![ground.backend.pid()];
            return Ok(Running { targets, pids, first_answer: Duration::ZERO, process: None, reload: None });
        }
        let directory = tempfile::Builder::new().prefix("proxy").tempdir_in(ground.directory.path());
        // Kept until the ground is cleared: the process may still write when its handle goes.
        let directory = directory.during("make a directory")?.keep();
        let addresses = Addresses { listen: free_port()?, admin: free_port()?, behind: ground.behind(self.scene) };
        let targets = self.targets(ground, Some(addresses.listen));
        let reload = Reload { directory, addresses, log_level: ground.log_level.clone(), kind: self.kind.clone() };
        reload.write(0)?;
        let program = reload.program();
        let started = Instant::now();
        let log = reload.directory.join("output.log");
        let mut process = Process::start(&mut guarded(&program)?, ground.placement.proxy, &log)?;
        let mut first = Duration::ZERO;
        for (_, target) in &targets {
            first = first_answer(target, started, &mut process)
                .map_err(|failure| Failure::said(format!("{}: {failure}", self.name)))?;
        }
        let pids = family(process.pid());
        Ok(Running { targets, pids, first_answer: first, process: Some(process), reload: Some(reload) })
    }

    /// Where load goes for each place; `listen` is the proxy's address.
    fn targets(&self, ground: &Ground, listen: Option<SocketAddr>) -> Vec<(Place, Target)> {
        let places: &[Place] = match self.scene {
            Scene::One => &[Place::One],
            Scene::Federation => &[Place::Whole, Place::Part],
        };
        let prefixed = self.scene == Scene::Federation && matches!(self.kind, Kind::Lockgate(_));
        let target = |place: &Place| {
            let target = Target {
                address: listen.unwrap_or_else(|| ground.direct(*place)),
                path: place.path().to_owned(),
                listed: ground.listed(*place),
                members: if prefixed { ground.members.len() } else { 0 },
            };
            (*place, target)
        };
        places.iter().map(target).collect()
    }
}

impl Running {
    /// Where load for this place goes.
    pub fn target(&self, place: Place) -> Outcome<Target> {
        let here = self.targets.iter().find(|(known, _)| *known == place);
        here.map(|(_, target)| target.clone())
            .ok_or_else(|| Failure::said(format!("nothing was started for {place:?}")))
    }

    /// Whether there is no proxy.
    pub fn is_direct(&self) -> bool {
        self.process.is_none()
    }

    /// Reloads the configuration, changed where that matters; does not wait for it to take effect.
    pub fn reload(&self, number: u32) -> Outcome<()> {
        match (&self.reload, &self.process) {
            (Some(reload), Some(process)) => {
                reload.write(number)?;
                process.signal(Signal::HUP)
            }
            _ => Ok(()),
        }
    }

    /// The configuration generation, where the contender shows one.
    pub fn generation(&self) -> Option<u64> {
        lockgate::generation(self.admin()?)
    }

    /// How many sessions the contender holds, where it shows that.
    pub fn sessions(&self) -> Option<u64> {
        lockgate::sessions(self.admin()?)
    }

    fn admin(&self) -> Option<SocketAddr> {
        let reload = self.reload.as_ref().filter(|reload| matches!(reload.kind, Kind::Lockgate(_)))?;
        Some(reload.addresses.admin)
    }

    /// An error if the process has ended.
    pub fn check(&mut self) -> Outcome<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }
}

impl Reload {
    fn file(&self) -> PathBuf {
        self.directory.join("config.yaml")
    }

    /// Writes the configuration as an editor does: a new file, moved over the old one.
    fn write(&self, variant: u32) -> Outcome<()> {
        let text = match &self.kind {
            Kind::Lockgate(gateway) => {
                let settings = lockgate::Settings { log_level: &self.log_level, http2: gateway.http2, variant };
                lockgate::config(&self.directory, &self.addresses, settings)
            }
            Kind::Nginx | Kind::Direct => {
                nginx::config(&self.directory, &self.addresses, rustix::process::geteuid().is_root())
            }
        };
        let new = self.directory.join("config.new");
        fs::write(&new, text).during("write a configuration")?;
        fs::rename(&new, self.file()).during("put a configuration in place")
    }

    fn program(&self) -> Vec<OsString> {
        let file = self.file().into_os_string();
        match &self.kind {
            Kind::Lockgate(gateway) => vec![gateway.binary.clone().into(), "run".into(), "--config".into(), file],
            Kind::Nginx | Kind::Direct => {
                vec!["nginx".into(), "-p".into(), self.directory.clone().into(), "-c".into(), file]
            }
        }
    }
}

/// Asks until the first right answer comes, every millisecond.
fn first_answer(target: &Target, started: Instant, process: &mut Process) -> Outcome<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().during("start the runtime")?;
    // A federation has started when the lists of all its members are known.
    let job = if matches!(target.listed, Listed::Merged { .. }) { Job::List } else { Job::Small };
    loop {
        let asked = runtime.block_on(async {
            let asking = async {
                let mut worker = Worker::open(target, Era::Modern, job, 0).await?;
                worker.once(id(0), &Sources::default()).await
            };
            tokio::time::timeout(START_TIME, asking).await
        });
        match asked {
            Ok(Ok(_)) => return Ok(started.elapsed()),
            Ok(Err(trouble)) if started.elapsed() > START_TIME => {
                return Err(Failure::said(format!("no right answer: {trouble}\n{}", process.log_end())));
            }
            Err(_) => return Err(Failure::said(format!("no answer\n{}", process.log_end()))),
            Ok(Err(_)) => process.check()?,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A loopback address that was free a moment ago.
fn free_port() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("find a free port")?;
    listener.local_addr().during("read the own address")
}
