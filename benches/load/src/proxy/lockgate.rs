//! The gateway's configuration for a comparison, and what its admin listener tells.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::{Addresses, Behind, Place};
use crate::backend::PART_TOOLS;
use crate::mcp::results::{member, names as tools};

/// Longest metrics page that is read.
const METRICS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What differs between the gateways of a run.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Its log level.
    pub log_level: &'a str,
    /// It speaks HTTP/2 to the backend.
    pub http2: bool,
    /// Changes a value that no workload touches, so that a reload has something to compile.
    pub variant: u32,
}

/// One listener, one virtual server (of a federation: another one that shows less), one worker; everything else as it is by
/// default.
pub fn config(directory: &Path, addresses: &Addresses, settings: Settings<'_>) -> String {
    let directory = directory.display();
    let Addresses { listen, admin, behind } = addresses;
    let keep_alive = 15 + settings.variant % 2;
    let (log_level, http2) = (settings.log_level, if settings.http2 { "always" } else { "auto" });
    let (mut backends, mut servers) = (String::new(), String::new());
    match behind {
        Behind::One(address) => {
            backends.push_str(&backend("load", *address, http2));
            servers.push_str(&server("default", Place::One, &["load".to_owned()]));
        }
        Behind::Federation { members, .. } => {
            let names: Vec<String> = (0..members.len()).map(member).collect();
            for (name, address) in names.iter().zip(members) {
                backends.push_str(&backend(name, *address, http2));
            }
            let allowed: Vec<String> = tools(PART_TOOLS).collect();
            let few = |name: &String| format!("{{ backend: {name}, tools: {{ allow: [{}] }} }}", allowed.join(", "));
            let part: Vec<String> = names.iter().map(few).collect();
            servers.push_str(&server("default", Place::Whole, &names));
            servers.push_str(&server("part", Place::Part, &part));
        }
    }
    format!(
        "\
listeners:
  main:
    address: {listen}
admin:
  address: {admin}
state_dir: {directory}/state
backends:
{backends}virtual_servers:
{servers}streams:
  keep_alive: {keep_alive}s
workers: 1
log:
  level: {log_level}
"
    )
}

fn backend(name: &str, address: SocketAddr, http2: &str) -> String {
    format!("  {name}:\n    endpoints:\n      - url: http://{address}/mcp\n    http2: {http2}\n")
}

fn server(name: &str, place: Place, backends: &[String]) -> String {
    format!("  {name}:\n    path: {}\n    backends: [{}]\n", place.path(), backends.join(", "))
}

/// The configuration generation that the gateway's metrics show, if they show one.
pub fn generation(admin: SocketAddr) -> Option<u64> {
    find(&metrics(admin)?, |name| name.starts_with("lockgate_") && name.contains("generation"))
}

/// How many sessions the gateway's metrics say that it holds, if they do.
pub fn sessions(admin: SocketAddr) -> Option<u64> {
    find(&metrics(admin)?, |name| name == "lockgate_sessions")
}

fn metrics(admin: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&admin, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.take(METRICS_BYTES_MAX).read_to_string(&mut page).ok()?;
    Some(page)
}

/// The value of the first metric without labels whose name is wanted.
fn find(page: &str, wanted: impl Fn(&str) -> bool) -> Option<u64> {
    let mut values = page.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = values.find(|(name, _)| wanted(name))?;
    value.trim().parse::<f64>().ok().map(|value| value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_single_values_among_the_metrics() {
        let page = "# HELP lockgate_config_generation x\nlockgate_up 1\nlockgate_config_generation 7\n";
        assert_eq!(find(page, |name| name.contains("generation")), Some(7));
        assert_eq!(
            find("lockgate_sessions_opened_total 3\nlockgate_sessions 2\n", |name| name == "lockgate_sessions"),
            Some(2)
        );
        assert_eq!(find("lockgate_up 1\n", |name| name.contains("generation")), None);
    }

    #[test]
    fn variants_differ_in_one_value_only() {
        let addresses = Addresses {
            listen: "127.0.0.1:1".parse().unwrap(),
            admin: "127.0.0.1:2".parse().unwrap(),
            behind: Behind::One("127.0.0.1:3".parse().unwrap()),
        };
        let render =
            |variant| config(Path::new("/tmp/x"), &addresses, Settings { log_level: "info", http2: false, variant });
        let (first, second) = (render(0), render(1));
        let differing = first.lines().zip(second.lines()).filter(|(one, two)| one != two).count();
        assert_eq!(differing, 1);
        assert_eq!(first, render(2));
    }
}
