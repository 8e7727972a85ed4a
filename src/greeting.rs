//! What is printed when the gateway is ready: what it serves, and how to connect a client.

use crate::cli::clients;
use crate::config::values::Name;
use crate::config::{Config, ConfigSource};
use crate::listen::BoundListener;
use std::io::{self, Write};
use std::net::SocketAddr;

/// The text for the terminal.
pub struct Greeting(String);

impl Greeting {
    /// What there is to say about a configuration and the addresses that were bound for it.
    pub fn of(config: &Config, source: &ConfigSource, bound: &[BoundListener], admin: SocketAddr) -> Greeting {
        let at = |name: &Name| {
            config.listeners.get_index_of(name).and_then(|index| bound.get(index)).map(BoundListener::address)
        };
        let mut text = format!("Lockgate {}, administration at http://{admin}\n", env!("CARGO_PKG_VERSION"));
        if *source == ConfigSource::Quickstart {
            text.push_str("This is the built-in demo. Your own servers: lockgate run --backend NAME=URL\n");
        }
        text.push_str(&clients::announcement(&clients::served(config, at)));
        Greeting(text)
    }

    /// Prints to standard output.
    pub fn print(&self) {
        let mut out = io::stdout().lock();
        // Nobody has to read it.
        let _ = writeln!(out, "{}", self.0.trim_end());
        let _ = out.flush();
    }
}
