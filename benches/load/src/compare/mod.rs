//! The `compare` verb: direct, nginx and gateway binaries under the same loads, in interleaved rounds of one run.

mod document;
mod federation;
mod measure;
mod memory;
mod profile;
mod reload;
mod report;
mod summary;
mod table;
mod workloads;

use std::path::PathBuf;
use std::time::Duration;

use measure::{Figures, Lengths};
use memory::Extent;
use report::Report;
use summary::median;
use table::{Row, Table};
use workloads::{FEDERATION, Shape, WORKLOADS, Workload};

use crate::awake::Awake;
use crate::cpus::{self, Placement};
use crate::drive::worker::Job;
use crate::failure::{Failure, Outcome};
use crate::mcp::Era;
use crate::priority::Priority;
use crate::proxy::{Contender, Gateway, Ground, Kind, Place, Running, Scene};

/// What is compared, and how thoroughly.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareOptions {
    /// A gateway binary (repeatable); with `,h2c` it speaks HTTP/2 to the backend
    #[arg(long, value_name = "[NAME=]PATH[,h2c]", value_parser = gateway)]
    pub lockgate: Vec<Contender>,
    /// Rounds of each workload
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Measured seconds of a slice
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// A smoke run: one round of short slices
    #[arg(long)]
    pub quick: bool,
    /// Only these workloads (also: memory, reload, federated-memory; federation: all that begin with federated); all by
    /// default
    #[arg(long, value_delimiter = ',', value_parser = known)]
    pub only: Vec<String>,
    /// Only this era
    #[arg(long, value_enum)]
    pub era: Option<Era>,
    /// CPU of the proxy; the first allowed one by default
    #[arg(long)]
    pub proxy_cpu: Option<usize>,
    /// CPU of generator and backend; the second allowed one by default
    #[arg(long)]
    pub load_cpu: Option<usize>,
    /// Scheduling priority of everything this run starts, -20 (first) to 19; below 0 needs privilege
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub nice: Option<i32>,
    /// Log level of the gateway; its log goes to a file
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// Idle streams held when memory is measured
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    pub streams: u16,
    /// Put the tables, dated, into this document
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "docs/performance.md")]
    pub write: Option<PathBuf>,
    /// Profile the gateways with perf during each chosen workload
    #[arg(long)]
    pub profile: bool,
}

const SECONDS: std::ops::RangeInclusive<f64> = 0.1..=60.0;
/// Rate of the half-load workload when there is neither a gateway nor a yardstick to take it from.
const HALF_RATE_UNKNOWN: f64 = 5_000.0;
/// Memory of gateways over several backends, on the command line.
const FEDERATED_MEMORY: &str = "federated-memory";
/// All that is measured of gateways over several backends, on the command line.
const FEDERATED: &str = "federation";

/// Runs everything and prints the tables.
pub fn command(options: &CompareOptions) -> Outcome<()> {
    if !SECONDS.contains(&options.seconds) {
        return Err(Failure::said("seconds must be 0.1 to 60"));
    }
    let placement = Placement::choose(&cpus::allowed()?, options.proxy_cpu, options.load_cpu)?;
    let machine = document::machine();
    cpus::pin(placement.load)?;
    let _priority = options.nice.map(Priority::set).transpose()?;
    let awake = Awake::keep();
    let comparison = Comparison::new(options, Ground::prepare(placement, &options.log_level, 120)?)?;
    let report = comparison.run()?;
    let rounds = comparison.rounds;
    let head = format!(
        "{machine}. Proxy alone on CPU {}, generator and backend on CPU {}; medians of {rounds} interleaved rounds of {:.1} s. {}",
        placement.proxy,
        placement.load,
        comparison.lengths.measure.as_secs_f64(),
        if awake.is_some() {
            "Idle CPUs were kept awake."
        } else {
            "Idle CPUs could sleep: waking them is in the figures."
        }
    );
    let section = format!("{head}\n\n{}", report.markdown());
    println!("{section}");
    if options.profile {
        comparison.profile()?;
    }
    if let Some(path) = &options.write {
        let names: Vec<&str> = report.one.contenders.iter().map(|contender| contender.name.as_str()).collect();
        document::insert(path, &format!("{}: {}", document::today(), names.join(", ")), &section)?;
        eprintln!("written to {}", path.display());
    }
    eprintln!("{} goals missed, {} failures", report.missed(), report.failed());
    match report.failed() {
        0 => Ok(()),
        _ => Err(Failure::said("not everything worked: see the notes below the tables")),
    }
}

/// A comparison under way.
struct Comparison<'o> {
    options: &'o CompareOptions,
    ground: Ground,
    contenders: Vec<Contender>,
    lengths: Lengths,
    rounds: u32,
}

impl<'o> Comparison<'o> {
    fn new(options: &'o CompareOptions, ground: Ground) -> Outcome<Self> {
        let fixed = |name: &str, kind| Contender { name: name.to_owned(), kind, scene: Scene::One };
        let mut contenders = vec![fixed("direct", Kind::Direct), fixed("nginx", Kind::Nginx)];
        contenders.extend(options.lockgate.iter().cloned());
        let mut names: Vec<&str> = contenders.iter().map(|contender| contender.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Failure::said(format!("two contenders are called {}", twice[0])));
        }
        let (rounds, lengths) = if options.quick {
            (1, Lengths { warm: Duration::from_millis(200), measure: Duration::from_millis(800) })
        } else {
            let measure = Duration::from_secs_f64(options.seconds);
            (options.rounds, Lengths { warm: Duration::from_millis(400), measure })
        };
        Ok(Self { options, ground, contenders, lengths, rounds })
    }

    fn chosen(&self, name: &str) -> bool {
        let only = |only: &String| only == name || (only == FEDERATED && name.starts_with("federated"));
        self.options.only.is_empty() || self.options.only.iter().any(only)
    }

    fn workloads(&self, all: &'static [Workload]) -> impl Iterator<Item = &'static Workload> {
        all.iter()
            .filter(|workload| self.chosen(workload.name))
            .filter(|workload| self.options.era.is_none_or(|era| era == workload.era))
    }

    fn run(&self) -> Outcome<Report> {
        let streams = if self.options.quick { self.options.streams.min(200) } else { self.options.streams };
        let extent = Extent {
            load: self.lengths.measure,
            settle: if self.options.quick { Duration::from_millis(500) } else { Duration::from_millis(1_500) },
            streams: usize::from(streams),
        };
        let mut report = Report {
            one: self.one_backend()?,
            federation: self.federation()?,
            memory: Vec::new(),
            held: Vec::new(),
            reloads: Vec::new(),
            streams: extent.streams,
            problems: Vec::new(),
        };
        self.measure_memory(&mut report, extent);
        for contender in self.proxies().filter(|_| self.chosen("reload")) {
            eprintln!("reload: {}", contender.name);
            match reload::reloads(contender, &self.ground, self.lengths.measure * 3) {
                Ok(reloads) => report.reloads.push(reloads),
                Err(failure) => report.problems.push(format!("reload, {}: {failure}", contender.name)),
            }
        }
        Ok(report)
    }

    fn proxies(&self) -> impl Iterator<Item = &Contender> {
        self.contenders.iter().filter(|contender| contender.kind != Kind::Direct)
    }

    fn one_backend(&self) -> Outcome<Table> {
        let mut table = Table { contenders: self.contenders.clone(), rows: Vec::new() };
        let mut running = None;
        for workload in self.workloads(&WORKLOADS) {
            let running = match &running {
                Some(running) => running,
                None => running.insert(self.start_all(&table.contenders)?),
            };
            let half_rate = match workload.shape {
                Shape::HalfOfSaturation(_) => Some(self.half_rate(workload, &table.rows, running)?),
                _ => None,
            };
            let row = self.row(workload, half_rate, &table.contenders, running);
            table.rows.push(row);
        }
        Ok(table)
    }

    fn federation(&self) -> Outcome<Table> {
        let mut table = Table { contenders: federation::contenders(&self.contenders), rows: Vec::new() };
        let mut running = None;
        for workload in self.workloads(&FEDERATION) {
            let running = match &running {
                Some(running) => running,
                None => running.insert(self.start_all(&table.contenders)?),
            };
            let row = self.row(workload, None, &table.contenders, running);
            table.rows.push(row);
        }
        Ok(table)
    }

    fn measure_memory(&self, report: &mut Report, extent: Extent) {
        for contender in self.proxies().filter(|_| self.chosen("memory")) {
            eprintln!("memory: {}", contender.name);
            match memory::memory(contender, &self.ground, extent) {
                Ok(memory) => report.memory.push(memory),
                Err(failure) => report.problems.push(format!("memory: {failure}")),
            }
        }
        let federated = federation::contenders(&self.contenders);
        let gateways = federated
            .iter()
            .filter(|contender| matches!(contender.kind, Kind::Lockgate(_)) && contender.scene == Scene::Federation);
        for contender in gateways.filter(|_| self.chosen(FEDERATED_MEMORY)) {
            for what in federation::HELD {
                eprintln!("{FEDERATED_MEMORY}: {}, {}", contender.name, what.words);
                match federation::held(contender, &self.ground, what, extent.streams, extent.settle) {
                    Ok(held) => report.held.push(held),
                    Err(failure) => report.problems.push(format!("{FEDERATED_MEMORY}: {failure}")),
                }
            }
        }
    }

    fn start_all(&self, contenders: &[Contender]) -> Outcome<Vec<Running>> {
        contenders.iter().map(|contender| contender.start(&self.ground)).collect()
    }

    /// All rounds of one workload; each round takes every contender, and begins with another one.
    fn row(&self, workload: &Workload, half_rate: Option<f64>, contenders: &[Contender], running: &[Running]) -> Row {
        let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); running.len()];
        for round in 0..self.rounds as usize {
            for turn in 0..running.len() {
                let at = (round + turn) % running.len();
                let Some(workload) = of_contender(workload, &contenders[at]) else { continue };
                let rate = half_rate.unwrap_or(HALF_RATE_UNKNOWN);
                // One contender that cannot do one thing must not cost the figures of all others.
                let figures = measure::slice(&workload, &running[at], &self.ground, self.lengths, rate)
                    .unwrap_or_else(|failure| Figures::missing(&failure));
                eprintln!(
                    "{:26} {}/{} {:12} {:8.0}/s {:7.1} µs CPU  p50 {:6.0} p99 {:6.0} µs{}",
                    workload.label(),
                    round + 1,
                    self.rounds,
                    contenders[at].name,
                    figures.rate,
                    figures.cpu,
                    figures.p50,
                    figures.p99,
                    figures.failure.as_ref().map_or(String::new(), |why| format!("  FAILED {}: {why}", figures.failed))
                );
                rounds[at].push(figures);
            }
        }
        Row { workload: *workload, half_rate, rounds }
    }

    /// Half of what the first gateway (without one: nginx) does in the ordinary closed loop of the same era.
    fn half_rate(&self, workload: &Workload, rows: &[Row], running: &[Running]) -> Outcome<f64> {
        let gateway = self.contenders.iter().position(|contender| matches!(contender.kind, Kind::Lockgate(_)));
        let at = gateway.or_else(|| self.contenders.iter().position(|contender| contender.kind == Kind::Nginx));
        let Some(at) = at else { return Ok(HALF_RATE_UNKNOWN) };
        let base = |row: &&Row| {
            row.workload.job == Job::Small
                && row.workload.era == workload.era
                && matches!(row.workload.shape, Shape::Closed(_))
        };
        if let Some(row) = rows.iter().find(base) {
            return Ok(median(row.rounds[at].iter().map(|figures| figures.rate)) / 2.0);
        }
        let small = Workload { shape: Shape::Closed(32), ..*workload };
        let figures = measure::slice(&small, &running[at], &self.ground, self.lengths, 0.0)?;
        Ok(figures.rate / 2.0)
    }

    fn profile(&self) -> Outcome<()> {
        let federated = federation::contenders(&self.contenders);
        let both = [(&self.contenders, &WORKLOADS[..]), (&federated, &FEDERATION[..])];
        for (contenders, all) in both {
            for contender in contenders.iter().filter(|contender| contender.kind != Kind::Direct) {
                let mut running = None;
                for workload in self.workloads(all).filter_map(|workload| of_contender(workload, contender)) {
                    let running = match &running {
                        Some(running) => running,
                        None => running.insert(contender.start(&self.ground)?),
                    };
                    let found = profile::profile(&workload, running, &self.ground, self.lengths, HALF_RATE_UNKNOWN)?;
                    println!("\n### {} under {}: {found}", contender.name, workload.label());
                }
            }
        }
        Ok(())
    }
}

/// The workload as a contender goes through it. A gateway with one backend beside a federation is there for calls alone:
/// its lists are others.
fn of_contender(workload: &Workload, contender: &Contender) -> Option<Workload> {
    if workload.place.scene() == contender.scene {
        return Some(*workload);
    }
    (workload.job == Job::Small).then_some(Workload { place: Place::One, ..*workload })
}

/// Parses `[NAME=]PATH[,h2c]`.
fn gateway(text: &str) -> Result<Contender, String> {
    let (name, path) = text.split_once('=').unwrap_or(("lockgate", text));
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !plain {
        return Err(format!("{name:?} is no name: letters, digits, - _ ."));
    }
    let (path, http2) = path.strip_suffix(",h2c").map_or((path, false), |path| (path, true));
    let binary = PathBuf::from(path).canonicalize().map_err(|error| format!("{path}: {error}"))?;
    Ok(Contender { name: name.to_owned(), kind: Kind::Lockgate(Gateway { binary, http2 }), scene: Scene::One })
}

/// Parses the name of a workload.
fn known(text: &str) -> Result<String, String> {
    let rows = WORKLOADS.iter().chain(&FEDERATION).map(|workload| workload.name);
    let mut names: Vec<&str> = rows.chain(["memory", "reload", FEDERATED_MEMORY, FEDERATED]).collect();
    names.dedup();
    if names.contains(&text) { Ok(text.to_owned()) } else { Err(format!("workloads are {}", names.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_have_a_name_and_a_path_that_exists() {
        assert_eq!(gateway("/").unwrap().name, "lockgate");
        for (text, http2) in [("mi=/", false), ("mi=/,h2c", true)] {
            let kind = Kind::Lockgate(Gateway { binary: "/".into(), http2 });
            assert_eq!(gateway(text).unwrap(), Contender { name: "mi".into(), kind, scene: Scene::One });
        }
        for bad in ["=/", "a b=/", "x=/nowhere/at/all"] {
            assert!(gateway(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_known_workloads_are_taken() {
        for name in ["small", "first-byte", "memory", "reload", "federation", "federated-list", "federated-memory"] {
            assert!(known(name).is_ok());
        }
        assert!(known("smal").unwrap_err().contains("small, crowd"));
    }
}
