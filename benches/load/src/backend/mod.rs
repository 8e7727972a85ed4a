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

use crate::failure::{During, Failure, Outcome};
use crate::mcp::results::{Listed, member};

/// What follows on standard output once the backend accepts connections; its addresses stand behind it.
pub const READY: &str = "lockgate-load backend listening on ";

/// Tools of each member of a federation.
pub const MEMBER_TOOLS: usize = 50;
/// Tools that each of ten members shows where a federation shows 120.
pub const PART_TOOLS: usize = 12;

/// How the backend runs.
#[derive(Clone, Debug, clap::Args)]
pub struct BackendOptions {
    /// Loopback address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// Tools in the list; 120 of them are 39 KB
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub tools: u16,
    /// Be so many members of a federation besides, with 50 tools each, and two servers that list what a gateway shows of
    /// all these tools and of 12 of each: on free ports, printed in this order
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub members: u16,
}

/// An MCP server: where it listens, and what it answers.
pub struct Server {
    listener: TcpListener,
    responder: Responder,
}

impl Server {
    /// A server of this name.
    pub fn new(listener: TcpListener, name: &str, listed: Listed) -> Self {
        Self { listener, responder: Responder::new(name, listed) }
    }
}

/// Serves until the process ends.
pub fn run(options: &BackendOptions) -> Outcome<()> {
    crate::require_loopback(options.listen)?;
    let bind = |address| TcpListener::bind(address).during(format!("listen on {address}"));
    let free = || bind(SocketAddr::new(options.listen.ip(), 0));
    let own = Listed::Own(usize::from(options.tools));
    let mut servers = vec![Server::new(bind(options.listen)?, "lockgate-load", own)];
    let members = usize::from(options.members);
    for number in 0..members {
        servers.push(Server::new(free()?, &member(number), Listed::Own(MEMBER_TOOLS)));
    }
    if members > 0 {
        for tools in [MEMBER_TOOLS, PART_TOOLS] {
            servers.push(Server::new(free()?, "merged", Listed::Merged { members, tools }));
        }
    }
    let addresses: Result<Vec<String>, std::io::Error> =
        servers.iter().map(|server| Ok(server.listener.local_addr()?.to_string())).collect();
    println!("{READY}{}", addresses.during("read the own addresses")?.join(" "));
    serve(servers)
}

/// Serves until the process ends, on the calling thread.
pub fn serve(servers: Vec<Server>) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().during("start the runtime")?;
    LocalSet::new().block_on(&runtime, async {
        let mut accepting = Vec::new();
        for server in servers {
            server.listener.set_nonblocking(true).during("prepare the listener")?;
            let listener = tokio::net::TcpListener::from_std(server.listener).during("take over the listener")?;
            accepting.push(tokio::task::spawn_local(accept(listener, Rc::new(server.responder))));
        }
        for accepting in accepting {
            accepting.await.map_err(|error| Failure::said(format!("a listener ended: {error}")))?;
        }
        Ok(())
    })
}

async fn accept(listener: tokio::net::TcpListener, responder: Rc<Responder>) {
    loop {
        // A refused accept (out of descriptors) must not end the run: what is open goes on.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(connection(stream, responder.clone()));
        }
    }
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
