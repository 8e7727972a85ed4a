//! Where and when a comparison ran, and its place in `docs/performance.md`.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::{During, Failure, Outcome};

/// New tables go right below this line.
const MARK: &str = "<!-- comparisons, newest first -->";

/// The machine in one line.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("CPU", |(_, name)| name);
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let control = read("/proc/sys/net/ipv4/tcp_congestion_control");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!("{count} × {model}, Linux {}, TCP {}, load average at start {load}", kernel.trim(), control.trim())
}

/// Today's date in UTC, as `YYYY-MM-DD`.
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    date(seconds / 86_400)
}

/// The civil date of a day since 1970-01-01 (Howard Hinnant's `civil_from_days`, for days after the epoch).
fn date(days: u64) -> String {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Puts a dated section into the document, above the older ones.
pub fn insert(path: &Path, heading: &str, section: &str) -> Outcome<()> {
    let document = fs::read_to_string(path).during(format!("read {}", path.display()))?;
    let document = inserted(&document, heading, section)
        .ok_or_else(|| Failure::said(format!("{} has no line {MARK}", path.display())))?;
    fs::write(path, document).during(format!("write {}", path.display()))
}

fn inserted(document: &str, heading: &str, section: &str) -> Option<String> {
    let (before, after) = document.split_once(MARK)?;
    Some(format!("{before}{MARK}\n\n## {heading}\n\n{}\n{}", section.trim_end(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (day, expected) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_777, "2026-11-20"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(day), expected);
        }
    }

    #[test]
    fn newest_section_stands_first() {
        let one = inserted(&format!("# Title\n\n{MARK}\n"), "one", "table 1").unwrap();
        let two = inserted(&one, "two", "table 2").unwrap();
        assert_eq!(two, format!("# Title\n\n{MARK}\n\n## two\n\ntable 2\n\n\n## one\n\ntable 1\n\n"));
        assert_eq!(inserted("# Title\n", "x", "y"), None);
    }

    #[test]
    fn a_machine_has_a_kernel() {
        assert!(machine().contains("Linux "));
    }
}
