//! The reference server `@modelcontextprotocol/server-everything` over HTTP.

use crate::mcp::client;
use crate::paths;
use crate::process::Process;
use crate::until;
use crate::wait::free_port;
use std::process::Command;

pub struct Everything {
    url: String,
    _process: Process,
}

impl Everything {
    pub async fn start() -> Self {
        let port = free_port();
        let script = "@modelcontextprotocol/server-everything/dist/index.js";
        let mut command = Command::new(paths::node());
        command
            .arg("--require")
            .arg(paths::clients().join("js/loopback.cjs"))
            .arg(paths::node_module(script))
            .arg("streamableHttp")
            .env("PORT", port.to_string());
        let process = Process::start("server-everything", &mut command);
        let url = format!("http://127.0.0.1:{port}/mcp");
        let http = client();
        until("server-everything", async || http.delete(&url).send().await.ok()).await;
        Self { url, _process: process }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}
