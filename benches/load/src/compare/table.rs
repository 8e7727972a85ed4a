//! Workloads that ran, with the rounds of each contender, as rows of Markdown tables.

use std::fmt::Write as _;

use super::measure::Figures;
use super::summary::{Judged, Rounds, judge, medians, paired};
use super::workloads::{Goal, Shape, Workload};
use crate::proxy::{Contender, Kind};

/// Other work took more than this share of the proxy's CPU: the reader is warned.
const NOISY: f64 = 0.05;
/// More than this share of the proxy's CPU stayed idle in a closed loop: its throughput is not its own limit.
const UNUSED: f64 = 0.1;

/// Workloads that the same contenders went through.
#[derive(Default)]
pub struct Table {
    /// Who took part.
    pub contenders: Vec<Contender>,
    /// Workloads that ran.
    pub rows: Vec<Row>,
}

/// One workload's rounds.
pub struct Row {
    /// The workload.
    pub workload: Workload,
    /// Its rate, where that follows from another workload.
    pub half_rate: Option<f64>,
    /// Rounds by contender, in the table's order; none of one that did not take part.
    pub rounds: Vec<Vec<Figures>>,
}

impl Table {
    /// Requests that failed anywhere.
    pub fn failed(&self) -> u64 {
        self.rows.iter().flat_map(|row| row.rounds.iter().flatten()).map(|round| round.failed).sum()
    }

    /// Goals that were judged and not met.
    pub fn missed(&self) -> usize {
        self.judged().filter(|(_, _, judged)| !judged.met).count()
    }

    fn index(&self, kind: &Kind) -> Option<usize> {
        self.contenders.iter().position(|contender| contender.kind == *kind)
    }

    /// The rounds of a contender, and of those it is compared with.
    fn rounds<'a>(&'a self, row: &'a Row, at: usize) -> Rounds<'a> {
        let of = |index: Option<usize>| index.map_or(&[][..], |at| &row.rounds[at][..]);
        let own = &self.contenders[at];
        let one = |other: &Contender| other.kind == own.kind && other.scene != own.scene;
        Rounds {
            own: &row.rounds[at],
            direct: of(self.index(&Kind::Direct)),
            nginx: of(self.index(&Kind::Nginx)),
            one: of(self.contenders.iter().position(one)),
        }
    }

    fn judged(&self) -> impl Iterator<Item = (&Row, &Contender, Judged)> {
        self.rows.iter().flat_map(move |row| {
            self.contenders.iter().enumerate().filter_map(move |(at, contender)| {
                let held = matches!(contender.kind, Kind::Lockgate(_)) && contender.scene == row.workload.place.scene();
                let goal = row.workload.goal.filter(|_| held)?;
                Some((row, contender, judge(goal, self.rounds(row, at))?))
            })
        })
    }

    /// What the yardstick itself reaches by the measure of a row's goal.
    fn yardstick(&self, row: &Row) -> Option<f64> {
        let goal = row.workload.goal.filter(|goal| !matches!(goal, Goal::CpuOne(_)))?;
        judge(goal, self.rounds(row, self.index(&Kind::Nginx)?)).map(|judged| judged.reached.median)
    }

    /// The lines of the table of goals.
    pub fn goals(&self) -> String {
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
        lines
    }

    /// The lines of the table of figures.
    pub fn figures(&self) -> String {
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
        lines
    }

    /// What a reader should know of single figures.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
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
                let closed = matches!(row.workload.shape, Shape::Closed(_));
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
        notes
    }
}

/// Whether a goal is met, in words.
pub fn met(met: bool) -> &'static str {
    if met { "yes" } else { "**no**" }
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
    use super::*;

    #[test]
    fn groups_thousands() {
        assert_eq!([0.4, 999.0, 1_000.0, 1_234_567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
