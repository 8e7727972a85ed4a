//! A child process in a group of its own, which is killed when the test lets go of it.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How much of a child's error output is kept to be shown.
const STDERR_BYTES_MAX: usize = 256 << 10;

pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error} ({command:?})"));
        let (sender, lines) = channel();
        let stdout = child.stdout.take().expect("a pipe");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (kept, mut pipe) = (stderr.clone(), child.stderr.take().expect("a pipe"));
        std::thread::spawn(move || {
            let mut block = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut block) {
                let mut kept = kept.lock().expect("stderr");
                kept.extend_from_slice(&block[..count]);
                let surplus = kept.len().saturating_sub(STDERR_BYTES_MAX);
                kept.drain(..surplus);
            }
        });
        Self { name: name.to_owned(), child, lines, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line on standard output.
    pub fn line(&mut self, patience: Duration) -> String {
        self.try_line(patience).unwrap_or_else(|| panic!("{} said nothing; {}", self.name, self.errors()))
    }

    /// As [`Process::line`]; `None` where none comes.
    pub fn try_line(&mut self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }

    /// What the process has written to standard error, for messages.
    pub fn errors(&self) -> String {
        let stderr = self.stderr.lock().expect("stderr");
        format!("stderr of {}:\n{}", self.name, String::from_utf8_lossy(&stderr))
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("waiting for a child")
    }

    pub fn signal(&self, signal: Signal) {
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    /// Waits until the process ends by itself; panics after `patience`. Returns its status and the rest of its output.
    pub fn finish(mut self, patience: Duration) -> (ExitStatus, Vec<String>) {
        let start = Instant::now();
        let mut lines = Vec::new();
        loop {
            lines.extend(self.lines.try_iter());
            if let Some(status) = self.exited() {
                // The reader thread ends when the pipe closes, after the last line.
                lines.extend(self.lines.iter());
                return (status, lines);
            }
            assert!(start.elapsed() < patience, "{} runs for more than {patience:?}; {}", self.name, self.errors());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the group without warning and waits for it.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.errors());
        }
    }
}
