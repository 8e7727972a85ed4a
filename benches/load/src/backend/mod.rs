//! A fast MCP server of both eras, on one thread, over HTTP/1.1 and HTTP/2 without TLS: what the proxies of a
//! comparison stand in front of.
//!
//! Every answer is rendered before the first request comes; a request costs one read, a skim and one write.

mod h2c;
mod pushing;
mod respond;
mod serve;

pub use pushing::monotonic_nanos;

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

use respond::Responder;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::failure::{During, Outcome};

/// What follows on standard output once the backend accepts connections; the address stands behind it.
pub const READY: &str = "lockgate-load backend listening on ";

/// How the backend runs.
#[derive(Clone, Debug, clap::Args)]
pub struct BackendOptions {
    /// Loopback address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// Tools in the list; 120 of them are 39 KB
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub tools: u16,
}

/// Serves until the process ends.
pub fn run(options: &BackendOptions) -> Outcome<()> {
    crate::require_loopback(options.listen)?;
    let listener = TcpListener::bind(options.listen).during(format!("listen on {}", options.listen))?;
    println!("{READY}{}", listener.local_addr().during("read the own address")?);
    serve(listener, usize::from(options.tools))
}

/// Serves on a listener until the process ends, on the calling thread.
pub fn serve(listener: TcpListener, tools: usize) -> Outcome<()> {
    let responder = Rc::new(Responder::new(tools));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().during("start the runtime")?;
    LocalSet::new().block_on(&runtime, async {
        listener.set_nonblocking(true).during("prepare the listener")?;
        let listener = tokio::net::TcpListener::from_std(listener).during("take over the listener")?;
        loop {
            // A refused accept (out of descriptors) must not end the run: what is open goes on.
            if let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(connection(stream, responder.clone()));
            }
        }
    })
}

/// Serves a connection in the version that it begins with.
async fn connection(stream: TcpStream, responder: Rc<Responder>) {
    let mut first = [0; h2c::PREFACE.len()];
    let Ok(1..) = stream.peek(&mut first).await else { return };
    if stream.set_nodelay(true).is_err() {
        return;
    }
    if first == h2c::PREFACE {
        h2c::connection(stream, responder).await;
    } else {
        serve::connection(stream, responder).await;
    }
}
