//! Requests that come in by no listener, and go the whole way of those that do: from within the process, on behalf of a
//! client that is connected, as if over its connection; and from another process of the gateway, to which it has come.

use super::clients::ClientCertificate;
use super::connection::Connection;
use super::listener::Listener;
use crate::drain::{Drain, InFlight};
use async_trait::async_trait;
use bytes::BytesMut;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use pingora_http::ResponseHeader;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

/// How much of a request or an answer is on its way at most, in bytes.
const ON_THE_WAY: usize = 64 << 10;

/// The way in, from within.
#[derive(Default)]
pub struct Within(OnceLock<Inside>);

/// What is behind it.
struct Inside {
    app: Weak<dyn Carry>,
    drain: Drain,
    listeners: Vec<Arc<Listener>>,
}

/// That a request was handed over by another process. Nothing that a client sends can say so, or take it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// What the other process calls the request.
    pub correlation: Box<str>,
    /// Whether its session was open there.
    pub returns: bool,
}

/// A request that was handed over by another process.
#[derive(Debug)]
pub struct Arrival {
    /// The listener that it counts as one of.
    pub listener: Arc<Listener>,
    /// The address at the other end of the client's connection.
    pub peer: SocketAddr,
    /// The client's address.
    pub client: SocketAddr,
    /// The certificate that the client has shown.
    pub certificate: Option<ClientCertificate>,
    /// What else is known of it.
    pub forwarded: Forwarded,
    /// Its head, and what has come of its body.
    pub head: BytesMut,
    /// Counts it as in flight.
    pub in_flight: InFlight,
}

/// What a request comes in on.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static> Wire for T {}

impl Within {
    /// Nobody is there yet who could carry a request out.
    pub fn new() -> Within {
        Within::default()
    }

    /// Opens it to the application behind the listeners. The first call counts.
    pub fn open<A: HttpServerApp + Send + Sync + 'static>(
        &self,
        app: &Arc<A>,
        drain: Drain,
        listeners: Vec<Arc<Listener>>,
    ) {
        let app: Weak<dyn Carry> = Arc::downgrade(app) as Weak<A>;
        let _ = self.0.set(Inside { app, drain, listeners });
    }

    /// A connection for one request of the client at the other end of `connection`. To be called on a runtime, which
    /// carries the request out.
    ///
    /// # Errors
    /// When nobody carries requests out.
    pub fn connect(&self, connection: &Connection) -> io::Result<DuplexStream> {
        let Inside { app, drain, .. } = self.0.get().ok_or(io::ErrorKind::NotConnected)?;
        let app = app.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let (ours, theirs) = duplex(ON_THE_WAY);
        let Connection { settings, peer, client, drain: own, .. } = connection;
        // One of its own: what is known of a connection's request is not shared with the client's.
        let again = Connection::new(settings.clone(), *peer, *client, own.clone())
            .forwarded_as(connection.forwarded())
            .showing(connection.certificate().cloned());
        let facts = Some(facts(again).map_err(io::Error::other)?);
        let stream = InnerStream { io: Box::new(theirs), facts };
        tokio::spawn(app.carry(stream, None, drain.enter(), drain.clone()));
        Ok(ours)
    }

    /// The listener of this name.
    pub fn listener(&self, name: &str) -> Option<Arc<Listener>> {
        self.0.get()?.listeners.iter().find(|listener| listener.name() == name).cloned()
    }

    /// Carries out a request that was handed over, and answers it on the same connection. Returns when that is done.
    pub async fn carry(&self, wire: impl Wire, arrival: Arrival) {
        let Some(Inside { app, drain, .. }) = self.0.get() else { return };
        let Some(app) = app.upgrade() else { return };
        let Arrival { listener, peer, client, certificate, forwarded, head, in_flight } = arrival;
        let connection = Connection::new(listener.settings(), peer, client, drain.clone());
        let connection = connection.forwarded_as(Some(&forwarded)).showing(certificate);
        let Ok(facts) = facts(connection) else { return };
        let stream = InnerStream { io: Box::new(wire), facts: Some(facts) };
        app.carry(stream, Some(head), in_flight, drain.clone()).await;
    }
}

/// What Pingora hands on to whoever asks for the connection of a request.
fn facts(connection: Connection) -> pingora_core::Result<Arc<ProxyDigest>> {
    let header = ResponseHeader::build(200, Some(0))?;
    Ok(Arc::new(ProxyDigest::new(Box::new(header), Some(Box::new(Arc::new(connection))))))
}

impl fmt::Debug for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Within").finish_non_exhaustive()
    }
}

/// Whatever carries a connection's one request out.
trait Carry: Send + Sync {
    fn carry(
        self: Arc<Self>,
        stream: InnerStream,
        head: Option<BytesMut>,
        in_flight: InFlight,
        drain: Drain,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<A: HttpServerApp + Send + Sync + 'static> Carry for A {
    fn carry(
        self: Arc<Self>,
        stream: InnerStream,
        head: Option<BytesMut>,
        in_flight: InFlight,
        drain: Drain,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let _in_flight = in_flight;
            let notice = drain.notice();
            tokio::pin!(notice);
            Drain::stir(notice.as_mut()).await;
            let mut session = ServerSession::new_http1(Box::new(stream));
            if let Some(head) = head {
                session.set_pipelined_prefix(head);
            }
            // The connection ends with its request.
            drop(self.process_new_http(session, &drain.shutdown_watch()).await);
        })
    }
}

/// A connection that no listener has accepted, as Pingora sees it.
pub struct InnerStream {
    io: Box<dyn Wire>,
    facts: Option<Arc<ProxyDigest>>,
}

impl InnerStream {
    /// A connection to somebody else.
    pub fn outward(wire: impl Wire) -> InnerStream {
        InnerStream { io: Box::new(wire), facts: None }
    }
}

impl fmt::Debug for InnerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InnerStream").finish_non_exhaustive()
    }
}

impl AsyncRead for InnerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for InnerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for InnerStream {
    async fn shutdown(&mut self) {
        // Who is gone need not be told.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for InnerStream {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl Ssl for InnerStream {}

impl Peek for InnerStream {}

impl GetTimingDigest for InnerStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for InnerStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.facts.clone()
    }
}

impl GetSocketDigest for InnerStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}
