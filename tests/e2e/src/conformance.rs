//! The official conformance suite, run against one URL, read from the files that it writes.

use crate::paths;
use crate::process::Process;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

/// Required scenarios of each revision, and further ones that nobody requires and that are kept all the same.
/// `tasks-status-notifications` is left out: the suite itself always skips it.
const SCORES: [Score; 2] = [
    Score {
        revision: "2025-11-25",
        required: 30,
        further: &["server-session-lifecycle", "json-schema-2020-12", "server-sse-polling"],
    },
    Score {
        revision: "2026-07-28",
        required: 37,
        further: &[
            "http-header-validation",
            "http-custom-header-server-validation",
            "json-schema-2020-12",
            "tasks-lifecycle",
            "tasks-capability-negotiation",
            "tasks-wire-fields",
            "tasks-request-state-removal",
            "tasks-mrtr-input",
            "tasks-request-headers",
            "tasks-dispatch-and-envelope",
            "tasks-required-task-error",
            "tasks-mrtr-composition",
        ],
    },
];

const SUITE_PATIENCE: Duration = Duration::from_secs(300);

/// What has to be met at one revision.
#[derive(Debug, Clone, Copy)]
struct Score {
    revision: &'static str,
    required: usize,
    further: &'static [&'static str],
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    passed: usize,
    failed: usize,
}

struct Report {
    revision: String,
    scenarios: BTreeMap<String, Counts>,
    /// Scenarios that the revision requires.
    required: Vec<String>,
    /// `SCENARIO CHECK: message` of every check that failed or warned.
    complaints: Vec<String>,
}

impl Report {
    fn is_met(&self, scenario: &str) -> bool {
        self.scenarios.get(scenario).is_some_and(|counts| counts.failed == 0 && counts.passed > 0)
    }

    /// How many of the required scenarios are met, and how many there are.
    fn score(&self) -> (usize, usize) {
        (self.required.iter().filter(|scenario| self.is_met(scenario)).count(), self.required.len())
    }

    fn assert_met(&self, Score { required, further, .. }: Score) {
        assert_eq!(self.score(), (required, required), "{self}");
        let missed: Vec<_> = further.iter().filter(|scenario| !self.is_met(scenario)).collect();
        assert!(missed.is_empty(), "not met: {missed:?}\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (met, required) = self.score();
        let checks: usize = self.scenarios.values().map(|counts| counts.passed).sum();
        let failed: usize = self.scenarios.values().map(|counts| counts.failed).sum();
        write!(out, "{}: {met}/{required} required scenarios, {checks} checks passed, {failed} failed", self.revision)?;
        let further = self.scenarios.keys().filter(|scenario| !self.required.contains(scenario));
        let (good, bad): (Vec<_>, Vec<_>) = further.partition(|scenario| self.is_met(scenario));
        write!(out, "; further: {} met, others: {bad:?}", good.len())?;
        self.complaints.iter().try_for_each(|complaint| write!(out, "\n  {complaint}"))
    }
}

/// Scores `url`, which is reached by `way`, at both revisions at once; panics unless both are met in full.
pub async fn conformant(way: &str, url: &str) {
    tokio::join!(conformant_at(way, url, SCORES[0].revision), conformant_at(way, url, SCORES[1].revision));
}

/// As [`conformant`], at one revision only.
pub async fn conformant_at(way: &str, url: &str, revision: &str) {
    scored(way, url, *SCORES.iter().find(|score| score.revision == revision).expect("a revision with a suite")).await;
}

/// As [`conformant`], without the scenarios of the Tasks extension, which a server over several backends does not offer.
pub async fn conformant_but_tasks(way: &str, url: &str) {
    let [legacy, modern] = SCORES;
    let further: Vec<_> = modern.further.iter().copied().filter(|scenario| !scenario.starts_with("tasks-")).collect();
    tokio::join!(scored(way, url, legacy), scored(way, url, Score { further: further.leak(), ..modern }));
}

async fn scored(way: &str, url: &str, score: Score) {
    let (way, url) = (way.to_owned(), url.to_owned());
    let run = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let report = conformance(&url, score.revision);
        println!("{way}, {:.1} s: {report}", start.elapsed().as_secs_f32());
        report.assert_met(score);
    });
    run.await.expect("a conformant run");
}

/// Runs everything that concerns `revision`, required or not.
fn conformance(url: &str, revision: &str) -> Report {
    let folder = tempfile::tempdir().expect("a folder");
    let package = "@modelcontextprotocol/conformance";
    let mut command = Command::new(paths::node());
    command
        .arg(paths::node_module(&format!("{package}/dist/index.js")))
        .args(["server", "--url", url, "--requirements", revision, "-o"])
        .arg(folder.path());
    // Its exit code says the same as the files, with less detail.
    let _ = Process::start("conformance", &mut command).finish(SUITE_PATIENCE);
    let file = paths::node_module(&format!("{package}/requirements/{revision}.yaml"));
    let mut report = Report {
        revision: revision.to_owned(),
        scenarios: BTreeMap::new(),
        required: required(&std::fs::read_to_string(file).expect("the requirements")),
        complaints: Vec::new(),
    };
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(scenario) = scenario_of(name) else { continue };
        let checks = std::fs::read_to_string(path.join("checks.json")).unwrap_or_default();
        let checks: Vec<Value> = serde_json::from_str(&checks).unwrap_or_default();
        let counts = report.scenarios.entry(scenario.to_owned()).or_default();
        for check in &checks {
            match check["status"].as_str().unwrap_or_default() {
                "SUCCESS" => counts.passed += 1,
                "FAILURE" => counts.failed += 1,
                _ => {}
            }
            if matches!(check["status"].as_str(), Some("FAILURE" | "WARNING")) {
                let line = format!("{scenario} {}: {}", check["id"], check["errorMessage"]);
                report.complaints.push(line);
            }
        }
    }
    report
}

/// `server-tools-list-2026-11-21T01-34-51-781Z` is a run of `tools-list`.
fn scenario_of(folder: &str) -> Option<&str> {
    const STAMP: usize = "-2026-11-21T01-34-51-781Z".len();
    folder.strip_prefix("server-")?.get(..folder.len().checked_sub("server-".len() + STAMP)?)
}

/// The entries under `server:` in the suite's own list.
fn required(yaml: &str) -> Vec<String> {
    let lines = yaml.lines().skip_while(|line| *line != "server:").skip(1);
    let entries = lines.take_while(|line| !line.ends_with(':')).filter_map(|line| line.trim().strip_prefix("- "));
    entries.map(str::to_owned).collect()
}
