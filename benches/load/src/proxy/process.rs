//! A child process that ends when its handle does, or when the harness itself is gone.
//!
//! A child is started through the hidden verb `guarded`, which asks the kernel to end it with its parent and then
//! becomes the wanted program. So nothing is left behind on the machine, whatever ends a run.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::cpus;
use crate::failure::{During, Failure, Outcome};

/// How long a process may take to end when asked.
const STOP_TIME: Duration = Duration::from_secs(5);
/// How much of a log is shown when a process fails.
const LOG_SHOWN_BYTES: usize = 2_000;

/// A running child with its log file.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command on one CPU, both outputs going to a file.
    pub fn start(command: &mut Command, cpu: usize, log: &Path) -> Outcome<Self> {
        let file = File::create(log).during(format!("create {}", log.display()))?;
        let again = file.try_clone().during("share the log file")?;
        command.stdin(Stdio::null()).stdout(file).stderr(again);
        Ok(Self { child: cpus::spawn_on(cpu, command)?, log: log.to_owned() })
    }

    /// Starts a command on one CPU and waits for its first line of output.
    pub fn start_and_listen(command: &mut Command, cpu: usize, log: &Path) -> Outcome<(Self, String)> {
        let file = File::create(log).during(format!("create {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let mut child = cpus::spawn_on(cpu, command)?;
        let mut line = String::new();
        let output = child.stdout.take();
        let process = Self { child, log: log.to_owned() };
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut line).during("read the first line of a child")?;
        }
        Ok((process, line.trim_end().to_owned()))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Outcome<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure::said("a process id that is none"))?;
        kill_process(pid, signal).during(format!("signal {}", self.child.id()))
    }

    /// An error that shows the end of the log if the process has ended.
    pub fn check(&mut self) -> Outcome<()> {
        match self.child.try_wait().during("look after a child")? {
            None => Ok(()),
            Some(status) => Err(Failure::said(format!("process ended with {status}:\n{}", self.log_end()))),
        }
    }

    /// The end of what it printed.
    pub fn log_end(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_SHOWN_BYTES)..]).into_owned()
    }
}

/// A command that runs `program` behind the guard.
pub fn guarded(program: &[OsString]) -> Outcome<Command> {
    let mut command = Command::new(own_program()?);
    command.arg("guarded").args(program);
    Ok(command)
}

/// The `guarded` verb: becomes `program`, which is told to end with its parent. Returns only if that fails.
pub fn become_guarded(program: &[OsString]) -> Outcome<()> {
    let (name, arguments) = program.split_first().ok_or_else(|| Failure::said("no program to run"))?;
    set_parent_process_death_signal(Some(Signal::TERM)).during("ask to end with the parent")?;
    Err(Command::new(name).args(arguments).exec()).during(format!("run {}", name.to_string_lossy()))
}

/// This very program, to start itself under another verb.
pub fn own_program() -> Outcome<PathBuf> {
    std::env::current_exe().during("find the own program")
}

impl Drop for Process {
    fn drop(&mut self) {
        let asked = Instant::now();
        if self.signal(Signal::TERM).is_ok() {
            while asked.elapsed() < STOP_TIME {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu() -> usize {
        cpus::allowed().unwrap()[0]
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn shows_why_a_process_ended() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut process = Process::start(&mut shell("echo no such luck >&2; exit 3"), cpu(), &log).unwrap();
        process.child.wait().unwrap();
        assert!(process.check().unwrap_err().to_string().contains("no such luck"));
    }

    #[test]
    fn hears_the_first_line_and_ends_with_its_handle() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut script = shell("echo ready; exec tail -f /dev/null");
        let (mut process, line) = Process::start_and_listen(&mut script, cpu(), &log).unwrap();
        assert_eq!(line, "ready");
        process.check().unwrap();
        let pid = process.pid();
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
