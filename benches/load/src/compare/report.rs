//! The tables of a comparison, in Markdown: for the terminal and for `docs/performance.md` alike.

use std::fmt::Write as _;

use super::measure::Figures;
use super::memory::{IDLE_MAX, LOADED_MAX, Memory, STAYING_MAX};
use super::reload::Reloads;
use super::summary::{Judged, Rounds, judge, medians, paired};
use super::workloads::Workload;
use crate::proxy::{Contender, Kind};

/// Other work took more than this share of the proxy's CPU: the reader is warned.
const NOISY: f64 = 0.05;
/// More than this share of the proxy's CPU stayed idle in a closed loop: its throughput is not its own limit.
const UNUSED: f64 = 0.1;

/// Everything a comparison found.
pub struct Report {
    /// Who took part.
    pub contenders: Vec<Contender>,
    /// Workloads that ran, with the rounds of each contender.
    pub rows: Vec<Row>,
    /// Memory of each proxy.
    pub memory: Vec<Memory>,
    /// Reloads of each proxy.
    pub reloads: Vec<Reloads>,
    /// Idle streams held for [`Memory::stream`].
    pub streams: usize,
    /// What could not be measured, in words.
    pub problems: Vec<String>,
}

/// One workload's rounds.
pub struct Row {
    /// The workload.
    pub workload: Workload,
    /// Its rate, where that follows from another workload.
    pub half_rate: Option<f64>,
    /// Rounds by contender, in the report's order.
    pub rounds: Vec<Vec<Figures>>,
}

impl Report {
    /// All tables.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for part in [self.goals(), self.figures(), self.memory_table(), self.reload_table(), self.notes()] {
            if !part.is_empty() {
                text.push_str(&part);
                text.push('\n');
            }
        }
        text
    }

    /// Goals that were judged and not met.
    pub fn missed(&self) -> usize {
        let memory = self.memory_goals().filter(|(_, _, bytes, limit, _)| bytes > limit).count();
        memory + self.judged().filter(|(_, _, judged)| !judged.met).count()
    }

    /// Requests that failed anywhere, and parts that could not be measured.
    pub fn failed(&self) -> u64 {
        let requests: u64 =
            self.rows.iter().flat_map(|row| row.rounds.iter().flatten()).map(|round| round.failed).sum();
        let reloads: u64 = self.reloads.iter().map(|reload| reload.failed).sum();
        requests + reloads + self.problems.len() as u64
    }

    fn index(&self, kind: &Kind) -> Option<usize> {
        self.contenders.iter().position(|contender| contender.kind == *kind)
    }

    fn judged(&self) -> impl Iterator<Item = (&Row, &Contender, Judged)> {
        self.rows.iter().flat_map(move |row| {
            self.contenders.iter().enumerate().filter_map(move |(at, contender)| {
                let goal = row.workload.goal.filter(|_| matches!(contender.kind, Kind::Lockgate(_)))?;
                let of = |kind| self.index(kind).map_or(&[][..], |at| &row.rounds[at][..]);
                let rounds = Rounds { own: &row.rounds[at], direct: of(&Kind::Direct), nginx: of(&Kind::Nginx) };
                Some((row, contender, judge(goal, rounds)?))
            })
        })
    }

    /// What the yardstick itself reaches by the measure of a row's goal.
    fn yardstick(&self, row: &Row) -> Option<f64> {
        let of = |kind| self.index(kind).map_or(&[][..], |at| &row.rounds[at][..]);
        let nginx = of(&Kind::Nginx);
        let rounds = Rounds { own: nginx, direct: of(&Kind::Direct), nginx };
        judge(row.workload.goal?, rounds).map(|judged| judged.reached.median)
    }

    /// Each gateway's memory: when, how much, the limit, and the limit in words.
    fn memory_goals(&self) -> impl Iterator<Item = (&Memory, &'static str, u64, u64, &'static str)> {
        self.memory.iter().filter(|memory| self.is_gateway(&memory.name)).flat_map(|memory| {
            [
                (memory, "idle", memory.idle, IDLE_MAX, "≤ 20 MB"),
                (memory, "256 connections", memory.loaded, LOADED_MAX, "≤ 45 MB"),
                (memory, "after the load", memory.after, memory.idle + STAYING_MAX, "≤ idle + 8 MB"),
            ]
        })
    }

    fn goals(&self) -> String {
        let mut lines = String::new();
        for (row, contender, judged) in self.judged() {
            let reached = judged.reached;
            let _ = writeln!(
                lines,
                "| {} | {} | {} | {:.2} | {:.2} – {:.2} | {} | {} |",
                row.workload.label(),
                contender.name,
                judged.goal,
                reached.median,
                reached.lowest,
                reached.highest,
                self.yardstick(row).map_or(String::new(), |reached| format!("{reached:.2}")),
                met(judged.met)
            );
        }
        for (memory, what, bytes, limit, words) in self.memory_goals() {
            let _ = writeln!(
                lines,
                "| memory, {what} | {} | {words} | {} MB | | | {} |",
                memory.name,
                megabytes(bytes),
                met(bytes <= limit)
            );
        }
        headed(
            "| workload | who | goal | reached (median) | rounds | nginx | met |\n|---|---|---|--:|--:|--:|---|\n",
            &lines,
        )
    }

    fn figures(&self) -> String {
        let mut lines = String::new();
        let nginx = self.index(&Kind::Nginx);
        for row in &self.rows {
            for (at, contender) in self.contenders.iter().enumerate() {
                let rounds = &row.rounds[at];
                if rounds.is_empty() {
                    continue;
                }
                let figures = medians(rounds);
                let ratio = nginx
                    .filter(|nginx| *nginx != at && contender.kind != Kind::Direct)
                    .and_then(|nginx| paired(rounds, &row.rounds[nginx], |own, nginx| own.cpu / nginx.cpu))
                    .map_or(String::new(), |paired| format!("{:.2}", paired.median));
                let label = if at == 0 {
                    format!("{}, {}", row.workload.label(), row.workload.describe(row.half_rate))
                } else {
                    String::new()
                };
                let _ = writeln!(
                    lines,
                    "| {label} | {} | {} | {:.1} | {ratio} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} % | {} |",
                    contender.name,
                    thousands(figures.rate),
                    figures.cpu,
                    figures.first_byte,
                    figures.p50,
                    figures.p90,
                    figures.p99,
                    figures.p999,
                    figures.max,
                    figures.busy * 100.0,
                    figures.failed
                );
            }
        }
        headed(
            "| workload | who | per second | CPU µs | × nginx | first byte p50 µs | p50 µs | p90 | p99 | p99.9 | max | CPU used | failed |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            &lines,
        )
    }

    fn memory_table(&self) -> String {
        let mut lines = String::new();
        for memory in &self.memory {
            let _ = writeln!(
                lines,
                "| {} | {:.1} ms | {} | {} | {} | {:.1} | {:.1} | {} | {} |",
                memory.name,
                memory.first_answer.as_secs_f64() * 1_000.0,
                megabytes(memory.idle),
                megabytes(memory.loaded),
                megabytes(memory.after),
                memory.stream[0] / 1024.0,
                memory.stream[1] / 1024.0,
                megabytes(memory.after_streams[0]),
                megabytes(memory.after_streams[1])
            );
        }
        headed(
            &format!(
                "| who | start to first answer | idle MB | 256 connections | after | KB per idle stream of {}, legacy | modern | MB after these streams, legacy | modern |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
                self.streams
            ),
            &lines,
        )
    }

    fn reload_table(&self) -> String {
        let mut lines = String::new();
        for reload in &self.reloads {
            let _ = writeln!(
                lines,
                "| {} | {} | {} | {} | {} | {} | {:.0} | {:.0} |",
                reload.name,
                reload.reloads,
                reload.generations.map_or("–".to_owned(), |count| count.to_string()),
                reload.answered,
                reload.failed,
                reload.cut,
                reload.p99,
                reload.max
            );
        }
        headed(
            "| who | reloads asked for | generations | answered at 2,000/s | failed | connections cut | p99 µs | max µs |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
            &lines,
        )
    }

    fn notes(&self) -> String {
        let mut notes = self.problems.clone();
        let proxied = |contender: &Contender| contender.kind != Kind::Direct;
        for row in &self.rows {
            for (contender, rounds) in self.contenders.iter().zip(&row.rounds) {
                let (figures, label) = (medians(rounds), row.workload.label());
                if proxied(contender) && figures.foreign > NOISY {
                    notes.push(format!(
                        "{label}, {}: other work took {:.0} % of the proxy's CPU",
                        contender.name,
                        figures.foreign * 100.0
                    ));
                }
                if let Some(failure) = figures.failure {
                    notes.push(format!("{label}, {}: first failure: {failure}", contender.name));
                }
                if figures.cut > 0 {
                    notes.push(format!("{label}, {}: {} connections cut", contender.name, figures.cut));
                }
                let closed = matches!(row.workload.shape, super::workloads::Shape::Closed(_));
                let idle = 1.0 - figures.busy - figures.foreign;
                if proxied(contender) && closed && idle > UNUSED && !rounds.is_empty() {
                    notes.push(format!(
                        "{label}, {}: {:.0} % of its CPU stayed idle, so the rate is the generator's limit",
                        contender.name,
                        idle * 100.0
                    ));
                }
            }
        }
        notes.into_iter().map(|note| format!("- {note}\n")).collect()
    }

    fn is_gateway(&self, name: &str) -> bool {
        self.contenders.iter().any(|contender| contender.name == name && matches!(contender.kind, Kind::Lockgate(_)))
    }
}

fn headed(head: &str, lines: &str) -> String {
    if lines.is_empty() { String::new() } else { format!("{head}{lines}") }
}

fn met(met: bool) -> &'static str {
    if met { "yes" } else { "**no**" }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1024.0 / 1024.0)
}

/// A whole number with a comma between thousands.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::workloads::WORKLOADS;
    use super::*;
    use crate::proxy::Gateway;

    fn report() -> Report {
        let figures = |cpu: f64| Figures { rate: 1e6 / cpu, cpu, busy: 1.0, ..Figures::default() };
        let contender = |name: &str, kind| Contender { name: name.to_owned(), kind };
        Report {
            contenders: vec![
                contender("direct", Kind::Direct),
                contender("nginx", Kind::Nginx),
                contender("lockgate", Kind::Lockgate(Gateway { binary: "x".into(), http2: false })),
            ],
            rows: vec![Row {
                workload: WORKLOADS[0],
                half_rate: None,
                rounds: vec![vec![figures(5.0)], vec![figures(10.0)], vec![figures(25.0)]],
            }],
            memory: vec![Memory {
                name: "lockgate".to_owned(),
                first_answer: Duration::from_millis(12),
                idle: 15 << 20,
                loaded: 50 << 20,
                after: 16 << 20,
                stream: [1024.0, 2048.0],
                after_streams: [20 << 20, 21 << 20],
            }],
            reloads: Vec::new(),
            streams: 100,
            problems: Vec::new(),
        }
    }

    #[test]
    fn tables_show_ratios_goals_and_misses() {
        let report = report();
        let text = report.markdown();
        assert!(
            text.contains("| small legacy | lockgate | CPU ≤ 2.2 × nginx | 2.50 | 2.50 – 2.50 | 1.00 | **no** |"),
            "{text}"
        );
        assert!(text.contains("|  | lockgate | 40,000 | 25.0 | 2.50 |"), "{text}");
        assert!(text.contains("| memory, 256 connections | lockgate | ≤ 45 MB | 50.0 MB | | | **no** |"), "{text}");
        assert_eq!((report.missed(), report.failed()), (2, 0));
        assert!(!text.contains("reloads"));
    }

    #[test]
    fn noise_and_failures_are_noted() {
        let mut report = report();
        report.rows[0].rounds[2][0].foreign = 0.2;
        report.rows[0].rounds[2][0].failed = 3;
        report.rows[0].rounds[2][0].failure = Some("status 502".to_owned());
        report.rows[0].rounds[1][0].busy = 0.5;
        let text = report.markdown();
        for note in ["other work took 20 %", "first failure: status 502", "50 % of its CPU stayed idle"] {
            assert!(text.contains(note), "{note}: {text}");
        }
        assert_eq!(report.failed(), 3);
    }

    #[test]
    fn groups_thousands() {
        assert_eq!([0.4, 999.0, 1_000.0, 1_234_567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
