//! `lockgate healthcheck`: asks a running gateway whether it is well, for containers that have no other HTTP client.

use super::Exit;
use super::terminal::Terminal;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};
use url::Url;

/// Ask a running gateway whether it is well; exits with 1 when it is not
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address to ask: /healthz is about the process, /readyz about taking traffic
    #[arg(long, default_value = "http://127.0.0.1:9901/healthz")]
    url: Url,
}

/// How long the whole check may take.
const TIME: Duration = Duration::from_secs(3);

/// More than any status line.
const STATUS_LINE_MAX: usize = 1024;

/// Checks.
pub(super) fn execute(arguments: &Args, terminal: &mut Terminal<'_>) -> Exit {
    match status(&arguments.url, Instant::now() + TIME) {
        Ok(status @ 200..=299) => {
            terminal.print(&format!("healthy ({status})"));
            Exit::Ok
        }
        Ok(status) => {
            terminal.error(&format!("not healthy: {} answered {status}", arguments.url));
            Exit::Failed
        }
        Err(Problem::Usage(message)) => {
            terminal.error(&format!("error: {message}"));
            Exit::Usage
        }
        Err(Problem::Failed(message)) => {
            terminal.error(&format!("not healthy: {message}"));
            Exit::Failed
        }
    }
}

/// Why there is no status.
enum Problem {
    Usage(&'static str),
    Failed(String),
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Problem {
        Problem::Failed(error.to_string())
    }
}

/// The status with which a URL answers a GET.
fn status(url: &Url, deadline: Instant) -> Result<u16, Problem> {
    if url.scheme() != "http" {
        return Err(Problem::Usage("the health check speaks plain http only"));
    }
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(Problem::Usage("the URL of a health check has a host"));
    };
    let mut stream = connect(&host, port, deadline)?;
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\nUser-Agent: lockgate\r\n\r\n");
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 256];
    while !answer.contains(&b'\n') && answer.len() < STATUS_LINE_MAX {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut piece)? {
            0 => break,
            length => answer.extend_from_slice(piece.get(..length).unwrap_or_default()),
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).map(str::trim_end);
    status.and_then(|status| status.parse().ok()).ok_or_else(|| Problem::Failed(format!("{url} does not speak HTTP")))
}

/// Connects to the first address of a host that accepts.
fn connect(host: &url::Host<&str>, port: u16, deadline: Instant) -> Result<TcpStream, Problem> {
    let addresses = match host {
        url::Host::Domain(name) => (*name, port).to_socket_addrs()?.collect(),
        url::Host::Ipv4(ip) => vec![(*ip, port).into()],
        url::Host::Ipv6(ip) => vec![(*ip, port).into()],
    };
    let mut last = Problem::Failed(format!("{host} has no address"));
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Problem::Failed(format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// The time that is left.
fn left(deadline: Instant) -> Result<Duration, Problem> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Problem::Failed("no answer in time".to_owned())) } else { Ok(left) }
}
