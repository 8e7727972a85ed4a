//! Clients of HTTP+SSE, the transport of 2024-11-05: one event stream that brings everything, and a place to send messages
//! to.
//!
//! There is no second pipeline. Each such client has a [`Bridge`](crate::bridge::Bridge), which is a client of the virtual
//! server's own endpoint of Streamable HTTP: a message becomes a POST there, with the fields of the request that brought it,
//! and goes the way of any request, over a connection within this process ([`crate::listen::Within`]). [`stream`] holds the
//! event stream and the bridge behind it, [`message`] hands messages over.
//!
//! A session of this transport is its event stream: it lives in one process, and ends with its connection.

mod fields;
mod message;
mod stream;

use crate::gateway::Gateway;
use crate::lanes::Broken;
use crate::listen::Within;
use crate::trip::Trip;
use crate::upstream::connector::Connector;
use bytes::Bytes;
use lockgate_filters::door::Door;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::splice::Outbound;
use parking_lot::Mutex;
use pingora_proxy::Session;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The rule that refusals of this room name.
const RULE: &str = "sse";

/// The clients that are connected, and the way in that their bridges take.
#[derive(Debug, Default)]
pub struct Clients {
    open: Mutex<HashMap<Box<str>, Arc<Client>>>,
    connector: Arc<Connector>,
    /// To be opened before requests come.
    pub within: Arc<Within>,
}

/// A client that is connected.
#[derive(Debug)]
struct Client {
    /// To its bridge. One message waits at the most: who sends another waits with it.
    said: mpsc::Sender<(Bytes, Outbound)>,
    /// The virtual server.
    server: Arc<str>,
    /// Who opened the stream, as far as credentials tell: nobody else may speak in it.
    owner: fields::Owner,
}

/// A client's place, which it leaves when this is dropped.
#[derive(Debug)]
struct Seat {
    clients: Arc<Clients>,
    name: Box<str>,
}

impl Clients {
    /// Takes a client in under a name that nobody can guess.
    fn admit(self: &Arc<Self>, name: &str, client: Client, most: usize) -> Result<Seat, Refusal> {
        let mut open = self.open.lock();
        if open.len() >= most {
            return Err(Refusal::new(Fault::TooManySessions, RULE).saying("too many clients of HTTP+SSE"));
        }
        open.insert(name.into(), Arc::new(client));
        Ok(Seat { clients: Arc::clone(self), name: name.into() })
    }

    /// The client of that name.
    fn find(&self, name: &str) -> Option<Arc<Client>> {
        self.open.lock().get(name).cloned()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.clients.open.lock().remove(&self.name);
    }
}

/// Serves a request at one of the transport's two doors, which has passed the filters of the listener and, as far as they
/// look at requests, of the virtual server. What these say of messages is said where the bridge comes in.
pub(crate) async fn serve(gateway: &Gateway, session: &mut Session, trip: &mut Trip) -> Result<(), Broken> {
    match trip.exchange.door {
        Door::Stream => stream::run(gateway, session, trip).await,
        Door::Message => message::run(gateway, session, trip).await,
        Door::Mcp => Err(Refusal::new(Fault::Internal, RULE).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        let (said, _) = mpsc::channel(1);
        Client {
            said,
            server: "default".into(),
            owner: fields::Owner::of(&http::HeaderMap::new(), lockgate_filters::principal::Principal::anonymous()),
        }
    }

    #[test]
    fn there_are_only_so_many_and_places_come_back() {
        let clients = Arc::new(Clients::default());
        let first = clients.admit("a", client(), 1).unwrap();
        assert_eq!(clients.admit("b", client(), 1).unwrap_err().fault, Fault::TooManySessions);
        assert!(clients.find("a").is_some() && clients.find("b").is_none());
        drop(first);
        assert!(clients.find("a").is_none());
        assert!(clients.admit("b", client(), 1).is_ok());
    }
}
