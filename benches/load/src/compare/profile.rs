//! Where a gateway spends its time: `perf` attached while a workload runs.

use std::path::Path;
use std::process::{Command, Stdio};

use super::measure::{self, Lengths};
use super::workloads::Workload;
use crate::cpus;
use crate::failure::{During, Failure, Outcome};
use crate::proxy::{Ground, Running};

/// Samples a second: off the beat of timers.
const FREQUENCY: &str = "997";
/// Symbols shown.
const SHOWN: usize = 45;

/// Profiles one workload and returns the heaviest symbols, heaviest first.
pub fn profile(
    workload: &Workload,
    running: &Running,
    ground: &Ground,
    lengths: Lengths,
    half_rate: f64,
) -> Outcome<String> {
    let directory = tempfile::tempdir().during("make a directory")?;
    let data = directory.path().join("perf.data");
    let pids: Vec<String> = running.pids.iter().map(u32::to_string).collect();
    let seconds = (lengths.warm + lengths.measure).as_secs_f64();
    let mut record = Command::new("perf");
    record.args(["record", "-q", "-F", FREQUENCY, "-p", &pids.join(","), "-o"]).arg(&data);
    record.args(["--", "sleep", &format!("{seconds:.1}")]);
    record.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let recording = cpus::spawn_on(ground.placement.load, &mut record)?;
    let figures = measure::slice(workload, running, ground, lengths, half_rate)?;
    let output = recording.wait_with_output().during("wait for perf")?;
    if !output.status.success() {
        return Err(Failure::said(format!(
            "perf record failed (kernel.perf_event_paranoid?): {}",
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    let [libraries, symbols] = [report(&data, "dso")?, report(&data, "dso,symbol")?];
    Ok(format!("{:.1} µs CPU per answer\n\n{libraries}\n{symbols}", figures.cpu))
}

fn report(data: &Path, sort: &str) -> Outcome<String> {
    let mut command = Command::new("perf");
    command.args(["report", "-q", "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.3", "--sort", sort]);
    command.arg("-i").arg(data).stdin(Stdio::null());
    let output = command.output().during("run perf report")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_end_matches([' ', '-']))
        .filter(|line| !line.is_empty())
        .take(SHOWN)
        .collect();
    Ok(lines.join("\n") + "\n")
}
