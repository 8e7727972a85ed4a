//! `lockgate demo`: the demo server as a process of its own.

use super::{DemoError, PATH, serve};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serves on `address` until SIGTERM or SIGINT.
///
/// # Errors
/// [`DemoError`] when the address cannot be served.
pub fn run(address: SocketAddr) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("The demo MCP server answers at http://{}{PATH}", listener.local_addr()?);
        serve(listener, asked_to_stop()?).await
    })
}

fn asked_to_stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
