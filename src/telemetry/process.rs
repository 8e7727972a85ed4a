//! The process as Linux sees it: memory, CPU time, open files. Elsewhere these metrics are absent.
//!
//! Read from `/proc` when somebody asks for the metrics. The `prometheus` crate has such a collector, but its names do
//! not start with `lockgate_`, and it rounds CPU time to whole seconds.

use super::definitions::{self as d, Definition, Kind};
use prometheus::Result;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};
use std::collections::HashMap;
use std::fs;

/// Clock ticks a second in `/proc/*/stat`: `USER_HZ`, which Linux fixes at 100 on every architecture that Rust serves.
const TICKS_PER_SECOND: f64 = 100.0;

const DEFINITIONS: [Definition; 5] =
    [d::PROCESS_CPU, d::PROCESS_MEMORY, d::PROCESS_OPEN_FDS, d::PROCESS_MAX_FDS, d::PROCESS_START];

pub(super) struct ProcessCollector {
    descriptions: Vec<Desc>,
    start_seconds: Option<f64>,
}

impl ProcessCollector {
    pub fn new() -> Result<ProcessCollector> {
        let descriptions = DEFINITIONS
            .iter()
            .map(|d| Desc::new(d.name.to_owned(), d.help.to_owned(), Vec::new(), HashMap::new()))
            .collect::<Result<_>>()?;
        Ok(ProcessCollector { descriptions, start_seconds: start_seconds() })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let values = [cpu_seconds(), resident_bytes(), open_fds(), max_fds(), self.start_seconds];
        DEFINITIONS.iter().zip(values).filter_map(|(definition, value)| Some(family(definition, value?))).collect()
    }
}

fn family(definition: &Definition, value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    let mut family = MetricFamily::default();
    if definition.kind == Kind::Counter {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
        family.set_field_type(MetricType::COUNTER);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        family.set_field_type(MetricType::GAUGE);
    }
    family.set_name(definition.name.to_owned());
    family.set_help(definition.help.to_owned());
    family.set_metric(vec![metric]);
    family
}

/// The fields of `/proc/self/stat` from the third on: the second, the command's name, may hold spaces and brackets.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    Some((stat_field(&stat, 14)? + stat_field(&stat, 15)?) / TICKS_PER_SECOND)
}

fn start_seconds() -> Option<f64> {
    let after_boot = stat_field(&fs::read_to_string("/proc/self/stat").ok()?, 22)? / TICKS_PER_SECOND;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + after_boot)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kibibytes.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

fn open_fds() -> Option<f64> {
    // Since Linux 6.2 the directory's size is the number of descriptors; before it was 0 and they had to be walked.
    let counted = fs::metadata("/proc/self/fd").ok()?.len();
    if counted > 0 {
        return Some(counted as f64);
    }
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_ascii_whitespace().next()?;
    if soft == "unlimited" { Some(f64::INFINITY) } else { soft.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 4200 0";
        assert_eq!(stat_field(stat, 14), Some(150.0));
        assert_eq!(stat_field(stat, 15), Some(50.0));
        assert_eq!(stat_field(stat, 22), Some(4200.0));
        assert_eq!(stat_field("garbage", 14), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_answers_every_question() {
        assert!(cpu_seconds().unwrap() >= 0.0);
        assert!(resident_bytes().unwrap() > 100_000.0);
        assert!(open_fds().unwrap() >= 3.0);
        assert!(max_fds().unwrap() >= open_fds().unwrap());
        assert!(start_seconds().unwrap() > 1_600_000_000.0);
    }
}
