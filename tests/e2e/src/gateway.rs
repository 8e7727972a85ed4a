//! The gateway under test: the built binary with a configuration of the test's own.

use crate::mcp::client;
use crate::paths;
use crate::process::Process;
use crate::wait::{PATIENCE, free_port, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The admin token of every gateway in these tests.
pub const TOKEN: &str = "an-admin-token-for-tests-only";

/// How often a start is tried again because somebody else took the port.
const STARTS_MAX: usize = 5;

pub struct Gateway {
    folder: TempDir,
    port: u16,
    admin: u16,
    http: reqwest::Client,
    process: Option<Process>,
    circumstances: Circumstances,
}

/// What is unusual about a start.
#[derive(Clone, Copy, Default)]
pub struct Circumstances {
    /// What a shell does first.
    pub shell: Option<&'static str>,
    /// Sent again and again from the first line of the log on, until the gateway is ready.
    pub signal: Option<Signal>,
}

/// A configuration with one listener, the admin listener and one backend `backend` behind `/mcp`.
pub fn config(backend_url: &str) -> String {
    config_with(backend_url, "", "")
}

/// As [`config`], with further lines for the backend (indented by four) and for the top level.
pub fn config_with(backend_url: &str, backend: &str, top: &str) -> String {
    format!(
        "listeners:\n  main:\n    address: 127.0.0.1:@PORT@\n\
         admin:\n  address: 127.0.0.1:@ADMIN@\n  token: {TOKEN}\n\
         state_dir: @FOLDER@/state\n\
         backends:\n  backend:\n    endpoints:\n      - url: {backend_url}\n{backend}\
         virtual_servers:\n  default:\n    path: /mcp\n    backends: [backend]\n{top}"
    )
}

/// A configuration with one listener, the admin listener and one virtual server over these `backends` (whole entries of
/// the map, by name and lines), with further lines for the virtual server (indented by four), and what follows: other
/// virtual servers (indented by two), and the top level. Of `backends` in the former, its members are what it says.
pub fn federation(backends: &[(&str, String)], server: &str, top: &str) -> String {
    let names: Vec<_> = backends.iter().map(|(name, _)| *name).collect();
    let entries: String = backends.iter().map(|(_, lines)| lines.as_str()).collect();
    let members = if server.contains("    backends:") {
        String::new()
    } else {
        format!("    backends: [{}]\n", names.join(", "))
    };
    format!(
        "listeners:\n  main:\n    address: 127.0.0.1:@PORT@\n\
         admin:\n  address: 127.0.0.1:@ADMIN@\n  token: {TOKEN}\n\
         state_dir: @FOLDER@/state\n\
         backends:\n{entries}\
         virtual_servers:\n  default:\n    path: /mcp\n{members}{server}{top}"
    )
}

impl Gateway {
    /// Starts a gateway and waits until it is ready. In the configuration `@PORT@`, `@ADMIN@` and `@FOLDER@` stand for
    /// two free ports and a folder of this gateway's own.
    pub async fn start(template: &str) -> Self {
        Self::start_under(template, Circumstances::default()).await
    }

    /// As [`Gateway::start`], under unusual circumstances.
    pub async fn start_under(template: &str, circumstances: Circumstances) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut this = Self { folder, port: 0, admin: 0, http: client(), process: None, circumstances };
        for _ in 0..STARTS_MAX {
            (this.port, this.admin) = (free_port(), free_port());
            this.write(template);
            if this.run().await {
                return this;
            }
        }
        panic!("the gateway did not start {STARTS_MAX} times");
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("lockgate.yaml")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the configuration file by renaming a new one over it, as careful editors do. Placeholders as in
    /// [`Gateway::start`].
    pub fn write(&self, template: &str) {
        let text = template
            .replace("@PORT@", &self.port.to_string())
            .replace("@ADMIN@", &self.admin.to_string())
            .replace("@FOLDER@", self.folder.path().to_str().expect("UTF-8"));
        let new = self.folder.path().join("lockgate.yaml.new");
        std::fs::write(&new, text).expect("writing the configuration");
        std::fs::rename(new, self.file()).expect("renaming the configuration");
    }

    /// Starts the process; false if it could not bind its ports.
    async fn run(&mut self) -> bool {
        let mut command = match self.circumstances.shell {
            None => Command::new(paths::lockgate()),
            Some(first) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("{first} && exec \"$0\" \"$@\"")]).arg(paths::lockgate());
                shell
            }
        };
        command.args(["run", "--config"]).arg(self.file()).current_dir(self.folder.path());
        let mut process = Process::start("lockgate", &mut command);
        let start = Instant::now();
        loop {
            if let Some(status) = process.exited() {
                let errors = process.errors();
                assert!(errors.contains("ddress already in use"), "the gateway ended with {status}; {errors}");
                return false;
            }
            if let Some(signal) = self.circumstances.signal
                && process.errors().contains('{')
            {
                process.signal(signal);
            }
            let ready = self.http.get(self.admin("/readyz")).send().await;
            if ready.is_ok_and(|answer| answer.status() == 200) {
                self.process = Some(process);
                return true;
            }
            assert!(start.elapsed() < PATIENCE, "the gateway is not ready; {}", process.errors());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// `127.0.0.1:PORT` of the listener.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// The endpoint of the default virtual server.
    pub fn mcp(&self) -> String {
        self.url("/mcp")
    }

    pub fn admin(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin)
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a running gateway")
    }

    pub fn pid(&self) -> u32 {
        self.process().id()
    }

    /// What the gateway logged.
    pub fn log(&self) -> String {
        self.process().errors()
    }

    /// `POST /reload`: the status and the answer.
    pub async fn reload(&self) -> (u16, Value) {
        let request = self.http.post(self.admin("/reload")).bearer_auth(TOKEN);
        let answer = request.send().await.expect("the admin listener answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// `GET /metrics`.
    pub async fn metrics(&self) -> String {
        let answer = self.http.get(self.admin("/metrics")).send().await.expect("the admin listener answers");
        answer.text().await.expect("text")
    }

    /// The value of a series, written as the metrics write it; `None` where there is no such series.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.metrics().await;
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        metrics.lines().find_map(value)
    }

    /// Waits until a line of the metrics is one of those wanted: what is counted is counted when the answer is out.
    pub async fn counted(&self, what: &str, is_it: impl Fn(&str) -> bool) {
        until(what, async || self.metrics().await.lines().any(&is_it).then_some(())).await;
    }

    /// Waits until a series has this value.
    pub async fn counts(&self, series: &str, value: f64) {
        until(series, async || (self.metric(series).await == Some(value)).then_some(())).await;
    }

    /// The number of the configuration that is being served.
    pub async fn generation(&self) -> u64 {
        self.metric("lockgate_config_generation").await.expect("a generation") as u64
    }

    /// What `GET /readyz` tells the operator.
    pub async fn detail(&self) -> Value {
        self.told("/readyz").await
    }

    /// What a GET at the admin listener tells the operator.
    pub async fn told(&self, path: &str) -> Value {
        let request = self.http.get(self.admin(path)).bearer_auth(TOKEN);
        request.send().await.expect("the admin listener answers").json().await.expect("JSON")
    }

    /// What is known of a backend's items in the virtual server `default`: `fresh`, `stale` or `missing`.
    pub async fn standing(&self, backend: &str) -> Option<String> {
        let told = self.told("/servers").await;
        let server = told["servers"].as_array()?.iter().find(|server| server["name"] == "default")?;
        let member = server["members"].as_array()?.iter().find(|member| member["backend"] == backend)?;
        member["standing"].as_str().map(str::to_owned)
    }

    /// Waits until everything is known of all backends of the virtual server `default`.
    pub async fn settled(&self) {
        until("the lists of all backends", async || {
            let told = self.told("/servers").await;
            let server = told["servers"].as_array()?.iter().find(|server| server["name"] == "default")?.clone();
            server["members"].as_array()?.iter().all(|member| member["standing"] == "fresh").then_some(())
        })
        .await;
    }

    /// What `GET /backends` tells of one.
    pub async fn backend(&self, name: &str) -> Value {
        let told = self.told("/backends").await;
        let all = told["backends"].as_array().expect("backends");
        all.iter().find(|backend| backend["name"] == name).cloned().expect("the backend")
    }

    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Starts again with the same file, ports and state.
    pub async fn restart(&mut self) {
        self.kill();
        assert!(self.run().await, "the gateway did not get its ports back");
    }

    /// Asks the gateway to stop and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let process = self.process.take().expect("a running gateway");
        process.finish(PATIENCE).0
    }
}
