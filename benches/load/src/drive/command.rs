//! The `drive` verb: one slice against any loopback address, printed as JSON.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::worker::{Job, Target};
use super::{CONNECTIONS_MAX, Load, Pace, Slice, run};
use crate::accounting::CpuReading;
use crate::failure::{Failure, Outcome};
use crate::mcp::Era;
use crate::mcp::results::Listed;

/// Longest run, warming included, and highest rate.
const SECONDS_MAX: f64 = 600.0;
const RATE_MAX: f64 = 1_000_000.0;

/// What is driven, how hard and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct DriveOptions {
    /// Loopback address to drive
    #[arg(long)]
    pub target: SocketAddr,
    /// Path of the MCP endpoint
    #[arg(long, default_value = "/mcp")]
    pub path: String,
    /// What each client does over and over
    #[arg(long, value_enum, default_value_t = Job::Small)]
    pub job: Job,
    /// What the clients speak
    #[arg(long, value_enum, default_value_t = Era::Legacy)]
    pub era: Era,
    /// Clients at once
    #[arg(long, default_value_t = 32)]
    pub connections: usize,
    /// Requests a second; without it each client sends when it has its answer
    #[arg(long)]
    pub rate: Option<f64>,
    /// Measured seconds
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Unmeasured seconds before
    #[arg(long, default_value_t = 0.5)]
    pub warm: f64,
    /// Tools in the backend's list
    #[arg(long, default_value_t = 120)]
    pub tools: usize,
    /// The target is a gateway over so many members (`lockgate-load backend --members`), with so many `--tools` each
    #[arg(long, default_value_t = 0)]
    pub members: usize,
    /// Process whose CPU time is measured (repeatable)
    #[arg(long)]
    pub pid: Vec<u32>,
}

/// Runs the slice and prints what it gave.
pub fn command(options: &DriveOptions) -> Outcome<()> {
    let load = load(options)?;
    let slice = run(&load, || CpuReading::take(&options.pid))?;
    println!("{:#}", summary(&slice, !options.pid.is_empty()));
    match slice.recorder.failed {
        0 => Ok(()),
        failed => Err(Failure::said(format!("{failed} requests failed"))),
    }
}

fn load(options: &DriveOptions) -> Outcome<Load> {
    crate::require_loopback(options.target)?;
    if options.job == Job::Session && options.era == Era::Modern {
        return Err(Failure::said("the modern era has no sessions"));
    }
    let bounded = |name: &str, value: f64, max: f64| {
        if value >= 0.0 && value <= max { Ok(value) } else { Err(Failure::said(format!("{name} must be 0 to {max}"))) }
    };
    if !(1..=CONNECTIONS_MAX).contains(&options.connections) {
        return Err(Failure::said(format!("connections must be 1 to {CONNECTIONS_MAX}")));
    }
    let (members, tools) = (options.members, options.tools);
    let listed = if members == 0 { Listed::Own(tools) } else { Listed::Merged { members, tools } };
    Ok(Load {
        target: Target { address: options.target, path: options.path.clone(), listed, members: options.members },
        job: options.job,
        era: options.era,
        connections: options.connections,
        pace: match options.rate {
            Some(rate) => Pace::Rate(bounded("rate", rate, RATE_MAX)?),
            None => Pace::Closed,
        },
        warm: Duration::from_secs_f64(bounded("warm", options.warm, SECONDS_MAX)?),
        measure: Duration::from_secs_f64(bounded("seconds", options.seconds, SECONDS_MAX)?),
    })
}

fn summary(slice: &Slice<CpuReading>, metered: bool) -> serde_json::Value {
    let recorder = &slice.recorder;
    let times = |times: &super::recorder::Times| {
        json!({"p50": times.micros(0.5), "p90": times.micros(0.9), "p99": times.micros(0.99),
               "p99.9": times.micros(0.999), "max": times.max_micros()})
    };
    let cpu = slice.readings.1.since(&slice.readings.0);
    json!({
        "answered": recorder.answered, "failed": recorder.failed, "cut": recorder.cut, "opened": recorder.opened,
        "seconds": slice.elapsed.as_secs_f64(), "per_second": slice.rate(),
        "latency_us": times(&recorder.latency), "first_byte_us": times(&recorder.first_byte),
        "lag_us": (recorder.lag.count() > 0).then(|| times(&recorder.lag)),
        "cpu_us_per_request": metered.then(|| cpu.as_secs_f64() * 1e6 / recorder.answered.max(1) as f64),
        "first_failure": recorder.first_failure,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: DriveOptions,
    }

    fn parsed(arguments: &str) -> Outcome<Load> {
        let words = std::iter::once("drive").chain(arguments.split_whitespace());
        load(&Line::try_parse_from(words).unwrap().options)
    }

    #[test]
    fn refuses_what_would_not_stop_or_leave_the_machine() {
        for bad in [
            "--target 10.0.0.1:80",
            "--target 127.0.0.1:80 --seconds 1e9",
            "--target 127.0.0.1:80 --rate NaN",
            "--target 127.0.0.1:80 --connections 0",
            "--target 127.0.0.1:80 --connections 1000000",
            "--target 127.0.0.1:80 --era modern --job session",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn takes_both_paces() {
        assert_eq!(parsed("--target 127.0.0.1:80").unwrap().pace, Pace::Closed);
        assert_eq!(parsed("--target [::1]:80 --rate 5000").unwrap().pace, Pace::Rate(5000.0));
    }
}
