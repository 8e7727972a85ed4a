//! The official SDK clients: one process a run, one JSON summary each.

use crate::paths;
use crate::process::Process;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// How long one client may take for its whole exercise.
const CLIENT_PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    TypescriptV1,
    TypescriptV2Legacy,
    TypescriptV2Auto,
    Python1,
    Python2Legacy,
    Python2Auto,
}

/// What a client printed, and whether all of it was as it expected.
#[derive(Debug)]
pub struct Outcome {
    pub summary: Value,
    pub passed: bool,
}

impl Outcome {
    /// Panics unless all of an exercise was as the client expected; says what it saw and, where it failed, `log`.
    pub fn check(&self, way: &str, log: impl FnOnce() -> String) {
        println!("{way} {}", self.summary);
        assert!(self.passed, "{way}: {:#}\n{}", self.summary["failed"], log());
    }

    /// Which era the client settled on.
    pub fn era(&self) -> &str {
        self.summary["seen"]["connect"]["era"].as_str().unwrap_or_default()
    }
}

/// Defines a test for each client, named after it, that runs a function with it.
#[macro_export]
macro_rules! for_each_client {
    ($exercise:ident) => {
        $crate::for_each_client! {
            $exercise: typescript_v1 TypescriptV1, typescript_v2_legacy TypescriptV2Legacy,
            typescript_v2_auto TypescriptV2Auto, python_1 Python1, python_2_legacy Python2Legacy,
            python_2_auto Python2Auto,
        }
    };
    ($exercise:ident: $($name:ident $client:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $exercise($crate::Client::$client).await;
        }
    )+};
}

impl Client {
    pub const ALL: [Self; 6] = [
        Self::TypescriptV1,
        Self::TypescriptV2Legacy,
        Self::TypescriptV2Auto,
        Self::Python1,
        Self::Python2Legacy,
        Self::Python2Auto,
    ];

    /// Clients that never speak the modern era.
    pub fn is_legacy(self) -> bool {
        !matches!(self, Self::TypescriptV2Auto | Self::Python2Auto)
    }

    /// The era that it settles on where the server speaks both.
    pub fn era(self) -> &'static str {
        if self.is_legacy() { "legacy" } else { "modern" }
    }

    /// As [`Client::exercise`], while other tasks go on.
    pub async fn exercise_at(self, target: String) -> Outcome {
        tokio::task::spawn_blocking(move || self.exercise(&target)).await.expect("a summary")
    }

    /// Runs the exercise against the conformant fixture, or against a gateway in front of it. A target is the URL of an
    /// endpoint, [`stdio`] or [`sse`].
    pub fn exercise(self, url: &str) -> Outcome {
        self.run("exercise", url)
    }

    /// Runs the tour of `server-everything`; its summary says what that server answered.
    pub fn everything(self, url: &str) -> Outcome {
        self.run("everything", url)
    }

    /// Lists the tools of any server and calls one; only the TypeScript clients do this.
    pub fn demo(self, url: &str) -> Outcome {
        self.run("demo", url)
    }

    /// Runs the tour of many servers as one, as `plan` says (see `js/federation.mjs`); `waits` is called each time that
    /// the tour waits for something to happen to the backends.
    pub fn federation(self, url: &str, plan: &Value, mut waits: impl FnMut(&str)) -> Outcome {
        let mut command = self.command("federation", url);
        let mut process = Process::start(&format!("{self:?}"), command.env("PLAN", plan.to_string()));
        let mut summary = Value::Null;
        while let Some(line) = process.try_line(CLIENT_PATIENCE) {
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(what) = said["waiting"].as_str() {
                waits(what);
            } else if said.is_object() {
                summary = said;
            }
        }
        Outcome { summary, passed: process.finish(CLIENT_PATIENCE).0.success() }
    }

    fn run(self, tour: &str, url: &str) -> Outcome {
        let mut command = self.command(tour, url);
        let (status, lines) = Process::start(&format!("{self:?}"), &mut command).finish(CLIENT_PATIENCE);
        let summary = lines.iter().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        Outcome { summary, passed: status.success() }
    }

    fn command(self, tour: &str, url: &str) -> Command {
        let mode = if self.is_legacy() { "legacy" } else { "auto" };
        let mut command = match self {
            Self::TypescriptV1 => node("v1"),
            Self::TypescriptV2Legacy | Self::TypescriptV2Auto => node("v2"),
            Self::Python1 => python(1),
            Self::Python2Legacy | Self::Python2Auto => python(2),
        };
        command.args([mode, tour, url]);
        command
    }
}

/// The target that is a command to start.
pub fn stdio(command: &[&str]) -> String {
    format!("stdio:{}", serde_json::json!(command))
}

/// The target that is an endpoint of the transport of 2024-11-05.
pub fn sse(url: &str) -> String {
    format!("sse+{url}")
}

fn node(sdk: &str) -> Command {
    let mut command = Command::new(paths::node());
    command.arg(paths::clients().join("js/run.mjs")).arg(sdk);
    command
}

fn python(major: u8) -> Command {
    let mut command = Command::new("python3");
    command.arg(paths::clients().join("python/run.py")).arg(format!("mcp{major}"));
    command.env("PYTHONPATH", paths::python_packages(major)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
