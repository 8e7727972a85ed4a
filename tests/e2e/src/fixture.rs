//! The fixtures of `lockgate-fixture`, each in a process of its own.

use crate::paths;
use crate::process::Process;
use crate::wait::PATIENCE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fmt;
use std::process::Command;

pub struct Fixture {
    said: Value,
    http: reqwest::Client,
    process: Process,
}

/// One request as the fixture received it.
pub struct Received {
    pub method: String,
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl fmt::Debug for Received {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(out, "{} {} {} {:?} {body}", self.method, self.target, self.version, self.headers)
    }
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Whether `marker` occurs anywhere in the request.
    pub fn contains(&self, marker: &str) -> bool {
        let bytes = marker.as_bytes();
        self.target.contains(marker)
            || self.headers.iter().any(|(_, value)| value.contains(marker))
            || self.body.windows(bytes.len()).any(|window| window == bytes)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Fixture {
    pub fn start(mode: &str) -> Self {
        Self::start_with(mode, &[])
    }

    /// Starts a mode with further arguments, such as `--h2c`.
    pub fn start_with(mode: &str, arguments: &[&str]) -> Self {
        let name = format!("fixture {mode}");
        let mut process = Process::start(&name, Command::new(paths::fixture()).arg(mode).args(arguments));
        let said = serde_json::from_str(&process.line(PATIENCE)).expect("a JSON line");
        Self { said, http: crate::mcp::client(), process }
    }

    pub fn url(&self) -> &str {
        self.said["url"].as_str().expect("url")
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        self.said["address"].as_str().expect("address")
    }

    /// The names of the faults that the `fault` mode knows.
    pub fn faults(&self) -> Vec<String> {
        serde_json::from_value(self.said["faults"].clone()).expect("faults")
    }

    fn side(&self, path: &str) -> String {
        let control = self.said["control"].as_str().map(str::to_owned);
        format!("{}{path}", control.unwrap_or_else(|| format!("http://{}", self.address())))
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(self.side(path)).send().await.expect("the fixture answers");
        answer.json().await.expect("JSON")
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.http.post(self.side(path)).json(&body).send().await.expect("the fixture answers");
        answer.json().await.expect("JSON")
    }

    /// Every request that arrived, oldest first.
    pub async fn journal(&self) -> Vec<Received> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries: Vec<Value> = serde_json::from_value(self.get("/journal").await).expect("a list");
        let received = entries.iter().map(|entry| Received {
            method: text(&entry["method"]),
            target: text(&entry["target"]),
            version: text(&entry["version"]),
            headers: serde_json::from_value(entry["headers"].clone()).expect("headers"),
            body: STANDARD.decode(text(&entry["body"])).expect("base64"),
        });
        received.collect()
    }

    /// `stateful`: `sessions` and `executions`.
    pub async fn state(&self) -> Value {
        self.get("/state").await
    }

    /// `stateful`: tells every subscriber that `uri` changed; returns how many those are.
    pub async fn poke(&self, uri: &str) -> u64 {
        self.post("/poke", json!({"uri": uri})).await["sessions"].as_u64().expect("a count")
    }

    /// `stateful`: forgets all sessions, as a restart of a real server would.
    pub async fn forget(&self) {
        self.post("/forget", json!({})).await;
    }

    /// `fault`: closes every connection from now on as soon as it is accepted, or serves again.
    pub async fn closing(&self, closing: bool) {
        self.post("/control", json!({"accept": if closing { "close" } else { "serve" }})).await;
    }

    /// `fault`: how many requests are held until their sender goes away.
    pub async fn held(&self) -> u64 {
        self.get("/held").await.as_u64().expect("a count")
    }

    /// Ends the server at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
