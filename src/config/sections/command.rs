//! A backend that the gateway starts itself: a command that speaks MCP on its standard input and output.

use crate::config::values::{ByteSize, TimeSpan, VariableName, VariableValue};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The gateway's own variables that a command gets when nothing else is said: those without which few programs work, and
/// none that usually holds a secret.
const INHERITED: [&str; 10] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "TERM"];

/// A command that speaks MCP on its standard input and output (stdio). What it writes to standard error is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["run"]))]
pub struct Command {
    /// The program and its arguments, one element each: no shell takes them apart. A program with a `/` in it is relative
    /// to the configuration file, one without is looked for in the command's `PATH`.
    pub run: Vec<String>,
    /// Variables set for the command. Values are secrets.
    pub environment: IndexMap<VariableName, VariableValue>,
    /// Which of the gateway's own variables the command gets, where they are set. No others reach it.
    pub inherit: Vec<VariableName>,
    /// The folder in which it runs. Relative to the configuration file. Default: the gateway's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Whether all callers share one instance. It is then offered no sampling, elicitation or roots, since nobody could
    /// tell whom it asks. Otherwise each caller has an instance of its own, unless the server speaks the stateless era.
    pub shared: bool,
    /// Instances at a time, over all callers.
    pub instances: u32,
    /// After how long without use an instance is stopped.
    pub idle_stop: TimeSpan,
    /// How long is waited before an instance that ended by itself is started again.
    pub restart: Restart,
    /// The memory of one instance with everything that it starts.
    pub memory: ByteSize,
    /// The files and connections that each process of an instance may have open.
    pub open_files: u32,
    /// The processor time of each process of an instance, over its whole life. Default: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<TimeSpan>,
    /// How long a stopping instance has after its input is closed, and again after it is asked to end (SIGTERM), before
    /// the next step is taken; the last step ends it (SIGKILL).
    pub stop_time: TimeSpan,
}

impl Default for Command {
    fn default() -> Command {
        Command {
            run: Vec::new(),
            environment: IndexMap::new(),
            inherit: INHERITED.iter().filter_map(|name| name.parse().ok()).collect(),
            directory: None,
            shared: false,
            instances: 32,
            idle_stop: TimeSpan::seconds(600),
            restart: Restart::default(),
            memory: ByteSize::mib(1024),
            open_files: 1024,
            cpu_time: None,
            stop_time: TimeSpan::seconds(5),
        }
    }
}

/// The waits before a command is started again: twice as long each time that it ends early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Restart {
    /// The first wait.
    pub first: TimeSpan,
    /// The longest.
    pub most: TimeSpan,
}

impl Default for Restart {
    fn default() -> Restart {
        Restart { first: TimeSpan::millis(500), most: TimeSpan::seconds(60) }
    }
}
