//! Medians over rounds, ratios within rounds, and whether a goal is met.

use super::measure::Figures;
use super::workloads::Goal;

/// The middle value; the mean of the middle two; 0 of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

/// Each figure's median over the rounds; failures are added up.
pub fn medians(rounds: &[Figures]) -> Figures {
    let of = |pick: fn(&Figures) -> f64| median(rounds.iter().map(pick));
    Figures {
        rate: of(|round| round.rate),
        cpu: of(|round| round.cpu),
        p50: of(|round| round.p50),
        p90: of(|round| round.p90),
        p99: of(|round| round.p99),
        p999: of(|round| round.p999),
        max: of(|round| round.max),
        first_byte: of(|round| round.first_byte),
        lag: of(|round| round.lag),
        busy: of(|round| round.busy),
        foreign: of(|round| round.foreign),
        failed: rounds.iter().map(|round| round.failed).sum(),
        cut: rounds.iter().map(|round| round.cut).sum(),
        failure: rounds.iter().find_map(|round| round.failure.clone()),
    }
}

/// A figure compared round by round, so that noise which hits a whole round cancels out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Median over the rounds.
    pub median: f64,
    /// Lowest round.
    pub lowest: f64,
    /// Highest round.
    pub highest: f64,
}

/// Compares two contenders round by round. `None` without a common round.
pub fn paired(one: &[Figures], other: &[Figures], compare: impl Fn(&Figures, &Figures) -> f64) -> Option<Paired> {
    let values: Vec<f64> = one.iter().zip(other).map(|(one, other)| compare(one, other)).collect();
    (!values.is_empty()).then(|| Paired {
        median: median(values.iter().copied()),
        lowest: values.iter().copied().fold(f64::INFINITY, f64::min),
        highest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
}

/// All rounds of one workload: of one contender, and of those it is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Rounds<'a> {
    /// The contender.
    pub own: &'a [Figures],
    /// No proxy.
    pub direct: &'a [Figures],
    /// The yardstick.
    pub nginx: &'a [Figures],
    /// The same gateway with one backend.
    pub one: &'a [Figures],
}

/// A goal held against what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What was to be reached, in words.
    pub goal: String,
    /// What was reached.
    pub reached: Paired,
    /// Whether that is enough.
    pub met: bool,
}

/// Judges a contender; `None` where the run lacks what the goal compares with.
pub fn judge(goal: Goal, rounds: Rounds<'_>) -> Option<Judged> {
    let ratio = |own: f64, nginx: f64| own / nginx.max(f64::MIN_POSITIVE);
    let (limit, words, reached) = match goal {
        Goal::CpuRatio(limit) => {
            let reached = paired(rounds.own, rounds.nginx, |own, nginx| ratio(own.cpu, nginx.cpu));
            (limit, format!("CPU ≤ {limit:.1} × nginx"), reached)
        }
        Goal::CpuOne(limit) => {
            let reached = paired(rounds.own, rounds.one, |own, one| ratio(own.cpu, one.cpu));
            (limit, format!("CPU ≤ {limit:.2} × with one backend"), reached)
        }
        Goal::P99Ratio(limit) => {
            let reached = paired(rounds.own, rounds.nginx, |own, nginx| ratio(own.p99, nginx.p99));
            (limit, format!("p99 ≤ {limit:.1} × nginx"), reached)
        }
        Goal::CpuMicros(limit) => {
            let reached = paired(rounds.own, rounds.own, |own, _| own.cpu);
            (limit, format!("CPU ≤ {limit:.0} µs"), reached)
        }
        Goal::P99Millis(limit) => {
            let reached = paired(rounds.own, rounds.own, |own, _| own.p99 / 1_000.0);
            (limit, format!("p99 ≤ {limit:.0} ms"), reached)
        }
        Goal::AddedFirstByteMicros(limit) => {
            let reached = paired(rounds.own, rounds.direct, |own, direct| own.first_byte - direct.first_byte);
            (limit, format!("first byte p50 ≤ direct + {limit:.0} µs"), reached)
        }
    };
    let reached = reached?;
    let failed = rounds.own.iter().any(|round| round.failed > 0);
    Some(Judged { goal: words, met: reached.median <= limit && !failed, reached })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(cpu: &[f64]) -> Vec<Figures> {
        cpu.iter().map(|cpu| Figures { cpu: *cpu, p99: cpu * 100.0, first_byte: *cpu, ..Figures::default() }).collect()
    }

    #[test]
    fn medians_of_few_and_many() {
        assert!(median([]).abs() < f64::EPSILON);
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round was noisy for both: its ratio is as good as the others.
        let reached =
            paired(&rounds(&[20.0, 60.0, 22.0]), &rounds(&[10.0, 30.0, 10.0]), |own, nginx| own.cpu / nginx.cpu);
        assert_eq!(reached, Some(Paired { median: 2.0, lowest: 2.0, highest: 2.2 }));
    }

    #[test]
    fn goals_are_judged_by_their_own_measure() {
        let (own, nginx, direct, one) = (rounds(&[20.0]), rounds(&[10.0]), rounds(&[5.0]), rounds(&[16.0]));
        let rounds = Rounds { own: &own, nginx: &nginx, direct: &direct, one: &one };
        let met = |goal| judge(goal, rounds).map(|judged| judged.met);
        assert_eq!(met(Goal::CpuRatio(2.0)), Some(true));
        assert_eq!(met(Goal::CpuRatio(1.9)), Some(false));
        assert_eq!(met(Goal::CpuOne(1.25)), Some(true));
        assert_eq!(met(Goal::CpuOne(1.24)), Some(false));
        assert_eq!(met(Goal::CpuMicros(20.0)), Some(true));
        assert_eq!(met(Goal::P99Ratio(1.5)), Some(false));
        assert_eq!(met(Goal::P99Millis(2.0)), Some(true));
        assert_eq!(met(Goal::AddedFirstByteMicros(14.0)), Some(false));
        assert_eq!(met(Goal::AddedFirstByteMicros(15.0)), Some(true));
    }

    #[test]
    fn nothing_is_met_with_failures_or_without_a_yardstick() {
        let mut own = rounds(&[1.0]);
        own[0].failed = 1;
        let nginx = rounds(&[10.0]);
        let judged = judge(Goal::CpuRatio(2.0), Rounds { own: &own, nginx: &nginx, direct: &[], one: &[] });
        assert_eq!(judged.map(|judged| judged.met), Some(false));
        assert_eq!(judge(Goal::CpuRatio(2.0), Rounds { own: &own, nginx: &[], direct: &[], one: &[] }), None);
    }
}
