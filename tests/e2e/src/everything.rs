//! The reference servers: `@modelcontextprotocol/server-everything` over HTTP, and others as commands.

use crate::mcp::client;
use crate::paths;
use crate::process::Process;
use crate::until;
use crate::wait::free_port;
use serde_json::json;
use std::process::Command;

pub struct Everything {
    url: String,
    _process: Process,
}

const SCRIPT: &str = "@modelcontextprotocol/server-everything/dist/index.js";

impl Everything {
    pub async fn start() -> Self {
        Self::start_over("streamableHttp", "/mcp").await
    }

    /// Over HTTP+SSE, the transport of 2024-11-05.
    pub async fn start_sse() -> Self {
        Self::start_over("sse", "/sse").await
    }

    async fn start_over(transport: &str, path: &str) -> Self {
        let port = free_port();
        let mut command = Command::new(paths::node());
        command
            .arg("--require")
            .arg(paths::clients().join("js/loopback.cjs"))
            .arg(paths::node_module(SCRIPT))
            .arg(transport)
            .env("PORT", port.to_string());
        let process = Process::start("server-everything", &mut command);
        let url = format!("http://127.0.0.1:{port}{path}");
        let http = client();
        until("server-everything", async || http.delete(&url).send().await.ok()).await;
        Self { url, _process: process }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The entry of a backend that is a command, for a configuration.
fn command(name: &str, run: &[String], environment: &str) -> String {
    format!("  {name}:\n    command: {{ run: {}, environment: {{ {environment} }}, stop_time: 500ms }}\n", json!(run))
}

/// A server of the npm packages as a command.
pub fn npm(name: &str, script: &str, arguments: &[&str]) -> String {
    let program = [paths::node(), paths::node_module(script)].map(|path| path.display().to_string());
    let run: Vec<_> = program.into_iter().chain(arguments.iter().map(|argument| (*argument).to_owned())).collect();
    command(name, &run, "")
}

/// `server-everything` as a command.
pub fn everything(name: &str) -> String {
    npm(name, SCRIPT, &["stdio"])
}

/// A server of the Python packages as a command.
pub fn python(name: &str, module: &str, arguments: &[&str]) -> String {
    let run: Vec<_> = ["python3", "-m", module].iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
    let packages = paths::python_packages(2);
    command(name, &run, &format!("PYTHONPATH: {}, PYTHONDONTWRITEBYTECODE: \"1\"", packages.display()))
}
