//! The tables of a comparison, in Markdown: for the terminal and for `docs/performance.md` alike.

use std::fmt::Write as _;

use super::federation::Held;
use super::memory::{IDLE_MAX, LOADED_MAX, Memory, STAYING_MAX};
use super::reload::Reloads;
use super::table::{Table, met};
use crate::proxy::Kind;

/// Everything a comparison found.
pub struct Report {
    /// Workloads with one backend.
    pub one: Table,
    /// Workloads of gateways over several backends.
    pub federation: Table,
    /// Memory of each proxy.
    pub memory: Vec<Memory>,
    /// Memory of each gateway over several backends.
    pub held: Vec<Held>,
    /// Reloads of each proxy.
    pub reloads: Vec<Reloads>,
    /// Idle streams held for [`Memory::stream`].
    pub streams: usize,
    /// What could not be measured, in words.
    pub problems: Vec<String>,
}

/// A limit of memory held against what was measured.
struct Limit<'a> {
    who: &'a str,
    what: &'static str,
    goal: String,
    reached: String,
    met: bool,
}

impl Report {
    /// All tables.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let parts =
            [self.goals(), self.figures(), self.memory_table(), self.held_table(), self.reload_table(), self.notes()];
        for part in parts {
            if !part.is_empty() {
                text.push_str(&part);
                text.push('\n');
            }
        }
        text
    }

    /// Goals that were judged and not met.
    pub fn missed(&self) -> usize {
        let memory = self.limits().iter().filter(|limit| !limit.met).count();
        memory + self.one.missed() + self.federation.missed()
    }

    /// Requests that failed anywhere, and parts that could not be measured.
    pub fn failed(&self) -> u64 {
        let reloads: u64 = self.reloads.iter().map(|reload| reload.failed).sum();
        self.one.failed() + self.federation.failed() + reloads + self.problems.len() as u64
    }

    /// What memory gateways may need, and need.
    fn limits(&self) -> Vec<Limit<'_>> {
        let gateways = self.memory.iter().filter(|memory| self.is_gateway(&memory.name));
        let memory = gateways.flat_map(|memory| {
            let limit = |what, bytes: u64, most: u64, goal: &str| Limit {
                who: &memory.name,
                what,
                goal: goal.to_owned(),
                reached: format!("{} MB", megabytes(bytes)),
                met: bytes <= most,
            };
            [
                limit("idle", memory.idle, IDLE_MAX, "≤ 20 MB"),
                limit("256 connections", memory.loaded, LOADED_MAX, "≤ 45 MB"),
                limit("after the load", memory.after, memory.idle + STAYING_MAX, "≤ idle + 8 MB"),
            ]
        });
        let held = self.held.iter().map(|held| Limit {
            who: &held.name,
            what: held.what.words,
            goal: format!("≤ {} KB each", held.what.most / 1024),
            reached: format!("{:.2} KB", held.each() / 1024.0),
            met: held.each() <= held.what.most as f64,
        });
        memory.chain(held).collect()
    }

    fn goals(&self) -> String {
        let mut lines = self.one.goals() + &self.federation.goals();
        for limit in self.limits() {
            let Limit { who, what, goal, reached, met: is_met } = limit;
            let _ = writeln!(lines, "| memory, {what} | {who} | {goal} | {reached} | | | {} |", met(is_met));
        }
        headed(
            "| workload | who | goal | reached (median) | rounds | nginx | met |\n|---|---|---|--:|--:|--:|---|\n",
            &lines,
        )
    }

    fn figures(&self) -> String {
        headed(
            "| workload | who | per second | CPU µs | × nginx | first byte p50 µs | p50 µs | p90 | p99 | p99.9 | max | CPU used | failed |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            &(self.one.figures() + &self.federation.figures()),
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

    fn held_table(&self) -> String {
        let mut lines = String::new();
        for held in &self.held {
            let _ = writeln!(
                lines,
                "| {} | {} {} | {} | {} | {:.2} | {} |",
                held.name,
                held.count,
                held.what.words,
                megabytes(held.before),
                megabytes(held.open),
                held.each() / 1024.0,
                megabytes(held.after)
            );
        }
        headed(
            "| who, over 10 backends | what is held | MB before | MB meanwhile | KB each | MB after |\n|---|---|--:|--:|--:|--:|\n",
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
        let notes = self.problems.iter().cloned().chain(self.one.notes()).chain(self.federation.notes());
        notes.map(|note| format!("- {note}\n")).collect()
    }

    fn is_gateway(&self, name: &str) -> bool {
        let gateway = |kind: &Kind| matches!(kind, Kind::Lockgate(_));
        self.one.contenders.iter().any(|contender| contender.name == name && gateway(&contender.kind))
    }
}

fn headed(head: &str, lines: &str) -> String {
    if lines.is_empty() { String::new() } else { format!("{head}{lines}") }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1024.0 / 1024.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::federation::HELD;
    use super::super::measure::Figures;
    use super::super::table::Row;
    use super::super::workloads::{FEDERATION, WORKLOADS};
    use super::*;
    use crate::proxy::{Contender, Gateway, Scene};

    fn report() -> Report {
        let figures = |cpu: f64| Figures { rate: 1e6 / cpu, cpu, busy: 1.0, ..Figures::default() };
        let contender = |name: &str, kind| Contender { name: name.to_owned(), kind, scene: Scene::One };
        let one = Table {
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
        };
        Report {
            one,
            federation: Table::default(),
            held: Vec::new(),
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
        report.one.rows[0].rounds[2][0].foreign = 0.2;
        report.one.rows[0].rounds[2][0].failed = 3;
        report.one.rows[0].rounds[2][0].failure = Some("status 502".to_owned());
        report.one.rows[0].rounds[1][0].busy = 0.5;
        let text = report.markdown();
        for note in ["other work took 20 %", "first failure: status 502", "50 % of its CPU stayed idle"] {
            assert!(text.contains(note), "{note}: {text}");
        }
        assert_eq!(report.failed(), 3);
    }

    #[test]
    fn a_federation_is_held_against_nginx_and_against_one_backend() {
        let mut report = report();
        let figures = |cpu: f64| vec![Figures { cpu, busy: 1.0, ..Figures::default() }];
        let contender = |name: &str, kind, scene| Contender { name: name.to_owned(), kind, scene };
        let gateway = || Kind::Lockgate(Gateway { binary: "x".into(), http2: false });
        report.one.rows.clear();
        report.memory.clear();
        report.federation.contenders = vec![
            contender("direct", Kind::Direct, Scene::Federation),
            contender("nginx", Kind::Nginx, Scene::Federation),
            contender("lockgate", gateway(), Scene::Federation),
            contender("lockgate, one backend", gateway(), Scene::One),
        ];
        let row = |workload, rounds| Row { workload, half_rate: None, rounds };
        report.federation.rows = vec![
            row(FEDERATION[0], vec![figures(5.0), figures(10.0), figures(9.0), Vec::new()]),
            row(FEDERATION[4], vec![figures(5.0), figures(10.0), figures(22.0), figures(20.0)]),
        ];
        report.held = vec![Held {
            name: "lockgate".to_owned(),
            what: HELD[0],
            count: 1_000,
            before: 10 << 20,
            open: (10 << 20) + 1_000 * 3 * 1024,
            after: 11 << 20,
        }];
        let text = report.markdown();
        for line in [
            "| federated-list legacy | lockgate | CPU ≤ 1.0 × nginx | 0.90 | 0.90 – 0.90 | 1.00 | yes |",
            "| federated-call legacy | lockgate | CPU ≤ 1.05 × with one backend | 1.10 | 1.10 – 1.10 |  | **no** |",
            "| memory, idle sessions | lockgate | ≤ 2 KB each | 3.00 KB | | | **no** |",
            "| lockgate | 1000 idle sessions | 10.0 | 12.9 | 3.00 | 11.0 |",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert_eq!((report.missed(), text.matches("lockgate, one backend |").count()), (2, 1), "{text}");
    }
}
