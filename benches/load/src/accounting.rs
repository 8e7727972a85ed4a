//! CPU time and memory of other processes, and of a whole CPU, from `/proc`.
//!
//! `/proc/PID/stat` counts in clock ticks of 10 ms. Where the threads stay the same over a slice, the scheduler's
//! own nanoseconds (`/proc/PID/task/*/schedstat`) are used instead; where a thread ended meanwhile, its time is
//! in the former only.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::failure::{During, Failure, Outcome};

/// Clock ticks a second in `/proc`: fixed at 100 for user space on every Linux this runs on.
const TICKS_A_SECOND: u64 = 100;

/// CPU time used so far by a set of processes, all threads of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuReading {
    /// User and system time of the processes, in ticks.
    ticks: u64,
    /// On-CPU nanoseconds of each thread.
    threads: BTreeMap<u32, u64>,
}

impl CpuReading {
    /// Reads the present state of these processes; one that is gone is an error.
    pub fn take(pids: &[u32]) -> Outcome<Self> {
        let mut reading = Self::default();
        for pid in pids {
            let stat = read(&format!("/proc/{pid}/stat"))?;
            reading.ticks += ticks(&stat).ok_or_else(|| Failure::said(format!("/proc/{pid}/stat is unreadable")))?;
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).during(format!("list the threads of {pid}"))?;
            for task in tasks.flatten() {
                let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                let Ok(schedstat) = fs::read_to_string(task.path().join("schedstat")) else { continue };
                if let Some(nanos) = schedstat.split_whitespace().next().and_then(|field| field.parse().ok()) {
                    reading.threads.insert(tid, nanos);
                }
            }
        }
        Ok(reading)
    }

    /// CPU time used since an earlier reading of the same processes.
    pub fn since(&self, earlier: &Self) -> Duration {
        let same = !earlier.threads.is_empty() && earlier.threads.keys().all(|tid| self.threads.contains_key(tid));
        if same {
            let total = |reading: &Self| reading.threads.values().sum::<u64>();
            Duration::from_nanos(total(self).saturating_sub(total(earlier)))
        } else {
            Duration::from_millis(self.ticks.saturating_sub(earlier.ticks) * 1000 / TICKS_A_SECOND)
        }
    }
}

/// Busy time of one CPU so far, whoever used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreReading {
    ticks: u64,
}

impl CoreReading {
    /// Reads the present state of one CPU.
    pub fn take(cpu: usize) -> Outcome<Self> {
        let stat = read("/proc/stat")?;
        busy_ticks(&stat, cpu)
            .map(|ticks| Self { ticks })
            .ok_or_else(|| Failure::said(format!("CPU {cpu} is not in /proc/stat")))
    }

    /// Busy time since an earlier reading.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.ticks.saturating_sub(earlier.ticks) * 1000 / TICKS_A_SECOND)
    }
}

/// Resident memory of these processes together, in bytes.
pub fn resident(pids: &[u32]) -> Outcome<u64> {
    let mut bytes = 0;
    for pid in pids {
        let status = read(&format!("/proc/{pid}/status"))?;
        bytes += resident_bytes(&status).ok_or_else(|| Failure::said(format!("no VmRSS for {pid}")))?;
    }
    Ok(bytes)
}

/// Open descriptors of these processes together.
pub fn descriptors(pids: &[u32]) -> Outcome<usize> {
    let of = |pid: &u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).during(format!("list the descriptors of {pid}"))?;
        Ok(open.count())
    };
    pids.iter().map(of).sum()
}

/// A process and all its descendants, the process first.
pub fn family(root: u32) -> Vec<u32> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = stat_fields(&stat).nth(1).and_then(|field| field.parse().ok()) {
            parents.insert(pid, parent);
        }
    }
    descendants(root, &parents)
}

fn descendants(root: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

/// The fields of `/proc/PID/stat` after the command name, which may itself hold blanks and brackets: state first.
fn stat_fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

fn ticks(stat: &str) -> Option<u64> {
    let mut times = stat_fields(stat).skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(user + system)
}

fn busy_ticks(stat: &str, cpu: usize) -> Option<u64> {
    let name = format!("cpu{cpu}");
    let line = stat.lines().find(|line| line.split_whitespace().next() == Some(&name))?;
    let fields: Vec<u64> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is inside user time already
    let busy = fields.iter().take(8).sum::<u64>();
    Some(busy - fields.get(3)? - fields.get(4)?)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn read(path: &str) -> Outcome<String> {
    fs::read_to_string(Path::new(path)).during(format!("read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_behind_a_hostile_name() {
        let stat = "42 (a) 9 (b)) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 3 4 20 0 2 0 1000 1 2";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(stat_fields(stat).nth(1), Some("7"));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn busy_is_everything_but_idle_and_waiting() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 1000 2000 4 5 6 1 0\ncpu10 7 0 0 1 1 0 0 0 0 0\n";
        assert_eq!(busy_ticks(stat, 0), Some(21));
        assert_eq!(busy_ticks(stat, 10), Some(7));
        assert_eq!(busy_ticks(stat, 1), None);
    }

    #[test]
    fn reads_resident_memory() {
        assert_eq!(resident_bytes("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t    2048 kB\n"), Some(2048 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn same_threads_are_counted_in_nanoseconds_and_lost_ones_in_ticks() {
        let reading = |ticks, threads: &[(u32, u64)]| CpuReading { ticks, threads: threads.iter().copied().collect() };
        let begin = reading(100, &[(1, 1_000), (2, 2_000)]);
        assert_eq!(reading(103, &[(1, 5_000), (2, 2_500)]).since(&begin), Duration::from_nanos(4_500));
        assert_eq!(reading(103, &[(1, 5_000), (2, 2_500), (3, 10)]).since(&begin), Duration::from_nanos(4_510));
        assert_eq!(reading(103, &[(1, 5_000)]).since(&begin), Duration::from_millis(30));
    }

    #[test]
    fn finds_children_of_children() {
        let parents = BTreeMap::from([(10, 1), (11, 10), (12, 11), (13, 1), (14, 10)]);
        assert_eq!(descendants(10, &parents), [10, 11, 14, 12]);
    }

    #[test]
    fn own_work_is_seen() {
        let pid = [std::process::id()];
        let before = CpuReading::take(&pid).unwrap();
        let busy = std::time::Instant::now();
        let mut sum = 0u64;
        while busy.elapsed() < Duration::from_millis(60) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = CpuReading::take(&pid).unwrap().since(&before);
        assert!(used >= Duration::from_millis(5), "{used:?}");
        assert!(resident(&pid).unwrap() > 100_000);
        assert!(descriptors(&pid).unwrap() >= 3);
        assert!(CoreReading::take(allowed_cpu()).is_ok());
    }

    fn allowed_cpu() -> usize {
        crate::cpus::allowed().unwrap()[0]
    }
}
