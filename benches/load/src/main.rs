//! The load harness of Lockgate: a fast MCP backend, a load generator, and a comparison of direct, nginx and the
//! gateway in one run.
//!
//! Everything stays on loopback and stops by itself; `docs/performance.md` says how the figures come about.

#![forbid(unsafe_code)]

mod accounting;
mod awake;
mod backend;
mod compare;
mod cpus;
mod drive;
mod failure;
mod mcp;
mod priority;
mod proxy;
mod wire;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use failure::{During, Failure, Outcome};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[derive(Parser)]
#[command(name = "lockgate-load", version, about = "Load harness of Lockgate: loopback only, stops by itself")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve MCP of both eras, fast, for a proxy to stand in front of
    Backend(backend::BackendOptions),
    /// Load one address and print what came of it as JSON
    Drive(drive::command::DriveOptions),
    /// Compare direct, nginx and gateway binaries in interleaved rounds
    Compare(compare::CompareOptions),
    /// Become another program that ends with its parent
    #[command(hide = true)]
    Guarded {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        program: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Backend(options) => raise_file_limit().and_then(|()| backend::run(&options)),
        Verb::Drive(options) => raise_file_limit().and_then(|()| drive::command::command(&options)),
        Verb::Compare(options) => raise_file_limit().and_then(|()| compare::command(&options)),
        Verb::Guarded { program } => proxy::process::become_guarded(&program),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lockgate-load: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Thousands of streams need as many descriptors: takes all that the system grants.
fn raise_file_limit() -> Outcome<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .during("raise the limit of open files")
}

/// Refuses any address that is not this machine's loopback.
fn require_loopback(address: SocketAddr) -> Outcome<()> {
    if address.ip().is_loopback() {
        Ok(())
    } else {
        Err(Failure::said(format!("{address} is not a loopback address; this harness stays on the machine")))
    }
}
