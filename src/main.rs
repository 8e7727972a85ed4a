//! The `lockgate` binary: the command line, and the parts that it starts.

#![forbid(unsafe_code)]

use lockgate::cli::{self, Hooks};
use lockgate::{ask, demo, server, session, settings, stdio};
use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(all(feature = "jemalloc", not(feature = "mimalloc")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Everything that speaks TLS takes the process default; it can be set once only, so losing this race is no error.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::main(Hooks {
        run: Some(|start| server::run(start).map_err(Into::into)),
        stdio: Some(|start| stdio::run(start).map_err(Into::into)),
        demo: Some(|options| demo::run(options.listen).map_err(Into::into)),
        query: Some(ask::endpoint),
        backends: Some(ask::backends),
        servers: Some(ask::servers),
        judge: Some(settings::judge),
        admin_token: Some(|state_dir| session::keys::read_admin_token(state_dir).map_err(Into::into)),
    })
}
