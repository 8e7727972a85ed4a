//! The scripted fixture: one backend whose offer a test can change at any time, by any transport, with a journal.

use crate::paths;
use crate::process::Process;
use crate::until;
use crate::wait::{PATIENCE, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// How the gateway reaches a scripted backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Http,
    /// The same, on a unix socket.
    Unix,
    Sse,
    Stdio,
}

pub struct Scripted {
    folder: TempDir,
    offer: Value,
    transport: Transport,
    /// Whether one process serves everybody, where it is a command.
    shared: bool,
    port: u16,
    /// Not where the gateway starts it.
    process: Option<Process>,
}

/// One message as the fixture received it.
#[derive(Clone, Debug)]
pub struct Heard {
    /// `POST`, `GET`, `DELETE`, or `line` on standard input.
    pub method: String,
    pub session: Option<String>,
    pub headers: Vec<(String, String)>,
    /// The bytes of the message.
    pub raw: String,
    pub pid: i32,
}

impl Heard {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.raw).unwrap_or_default()
    }

    pub fn is(&self, method: &str) -> bool {
        self.json()["method"] == method
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// A tool without a description.
pub fn tool(name: &str) -> Value {
    json!({"name": name, "inputSchema": {"type": "object"}})
}

/// An offer of tools alone.
pub fn tools(names: &[&str]) -> Value {
    json!({"tools": names.iter().map(|name| tool(name)).collect::<Vec<_>>()})
}

impl Scripted {
    /// Starts a backend with this offer, or leaves it to the gateway where it is a command.
    pub async fn start(transport: Transport, offer: Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut this = Self { folder, offer, transport, shared: false, port: free_port(), process: None };
        this.write();
        this.run().await;
        this
    }

    /// A command of which one process serves everybody.
    pub async fn shared(offer: Value) -> Self {
        Self { shared: true, ..Self::start(Transport::Stdio, offer).await }
    }

    pub async fn http(offer: Value) -> Self {
        Self::start(Transport::Http, offer).await
    }

    /// Starts it again, at the same address.
    pub async fn run(&mut self) {
        let (transport, place) = match self.transport {
            Transport::Http => ("http", ["--port".to_owned(), self.port.to_string()]),
            Transport::Unix => ("http", ["--unix".to_owned(), self.socket()]),
            Transport::Sse => ("sse", ["--port".to_owned(), self.port.to_string()]),
            Transport::Stdio => return,
        };
        // The port of one that was killed a moment ago may not be free yet.
        self.process = Some(
            until("the scripted server", async || {
                // That of one that was killed stays behind.
                let _ = std::fs::remove_file(self.socket());
                let mut command = Command::new(paths::fixture());
                command.arg("scripted").arg(self.folder.path()).args(["--transport", transport]);
                let mut process = Process::start("scripted", command.args(&place));
                process.try_line(PATIENCE).map(|_| process)
            })
            .await,
        );
    }

    /// Starts it again where it has ended.
    pub async fn run_if_dead(&mut self) {
        if self.process.as_mut().is_none_or(|process| process.exited().is_some()) {
            self.run().await;
        }
    }

    /// What the gateway's configuration says of it, with further lines (indented by four).
    pub fn backend(&self, name: &str, more: &str) -> String {
        let how = match self.transport {
            Transport::Http => format!("endpoints: [{{ url: \"http://127.0.0.1:{}/mcp\" }}]", self.port),
            Transport::Unix => format!("endpoints: [{{ url: \"unix://{}:/mcp\" }}]", self.socket()),
            Transport::Sse => {
                format!("protocol: sse\n    endpoints: [{{ url: \"http://127.0.0.1:{}/sse\" }}]", self.port)
            }
            Transport::Stdio => {
                let (program, folder) = (paths::fixture(), self.folder.path().display());
                let run = json!([program, "scripted", folder.to_string(), "--transport", "stdio"]);
                let how = format!("restart: {{ first: 50ms, most: 200ms }}, stop_time: 500ms, shared: {}", self.shared);
                format!("command: {{ run: {run}, {how} }}")
            }
        };
        format!("  {name}:\n    {how}\n{more}")
    }

    fn socket(&self) -> String {
        self.folder.path().join("socket").display().to_string()
    }

    fn write(&self) {
        let new = self.folder.path().join("offer.new");
        std::fs::write(&new, self.offer.to_string()).expect("writing the offer");
        std::fs::rename(new, self.folder.path().join("offer.json")).expect("renaming the offer");
    }

    /// Changes what it offers.
    pub fn change(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.offer);
        self.write();
    }

    /// Says something to all who listen.
    pub fn say(&mut self, method: &str, params: Value) {
        self.change(|offer| {
            let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
            match offer["say"].as_array_mut() {
                Some(said) => said.push(message),
                None => offer["say"] = json!([message]),
            }
        });
    }

    /// Gives other tools from now on, and says so.
    pub fn offer_tools(&mut self, names: &[&str]) {
        self.change(|offer| offer["tools"] = tools(names)["tools"].clone());
        self.say("notifications/tools/list_changed", json!({}));
    }

    /// Forgets its sessions, as a restart does.
    pub fn forget(&mut self) {
        self.change(|offer| offer["forget"] = json!(offer["forget"].as_u64().unwrap_or(0) + 1));
    }

    /// Ends the streams on which it speaks of its own accord.
    pub fn hang_up(&mut self) {
        self.change(|offer| offer["hangUp"] = json!(offer["hangUp"].as_u64().unwrap_or(0) + 1));
    }

    /// What goes wrong from now on: `METHOD` or `METHOD NAME`.
    pub fn fault(&mut self, of: &str, fault: Option<&str>) {
        self.change(|offer| offer["faults"][of] = json!(fault));
    }

    /// How long it leaves something lying from now on: `METHOD` or `METHOD NAME`.
    pub fn delay(&mut self, of: &str, milliseconds: u64) {
        self.change(|offer| offer["delays"][of] = json!(milliseconds));
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.journal_file()).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn journal_file(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Everything that it was sent, oldest first.
    pub fn heard(&self) -> Vec<Heard> {
        let heard = self.lines().into_iter().filter(|line| line["received"].is_string()).map(|line| Heard {
            method: line["received"].as_str().unwrap_or_default().to_owned(),
            session: line["session"].as_str().map(str::to_owned),
            headers: serde_json::from_value(line["headers"].clone()).unwrap_or_default(),
            raw: line["raw"].as_str().unwrap_or_default().to_owned(),
            pid: line["pid"].as_i64().unwrap_or_default() as i32,
        });
        heard.collect()
    }

    /// The messages of this method that it was sent, oldest first.
    pub fn heard_of(&self, method: &str) -> Vec<Heard> {
        self.heard().into_iter().filter(|heard| heard.is(method)).collect()
    }

    /// The only message with this marker in it.
    pub fn only(&self, marker: &str) -> Heard {
        let mut heard: Vec<_> = self.heard().into_iter().filter(|heard| heard.raw.contains(marker)).collect();
        assert_eq!(heard.len(), 1, "messages with {marker}: {heard:?}");
        heard.remove(0)
    }

    /// How calls with this `token` ended, oldest first.
    pub fn outcomes(&self, token: &str) -> Vec<String> {
        let outcome = |line: Value| (line["token"] == token).then(|| line["outcome"].as_str().map(str::to_owned));
        self.lines().into_iter().filter_map(outcome).flatten().collect()
    }

    /// The processes of it that have been sent anything and still run.
    pub fn processes(&self) -> Vec<i32> {
        let mut all: Vec<_> = self.heard().iter().map(|heard| heard.pid).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|pid| is_running(*pid));
        all
    }

    /// Ends it at once, also where the gateway has started it.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Whether there is such a process; one that nobody has waited for yet does not count.
pub fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
