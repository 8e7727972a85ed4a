//! Requests that come from within the process on behalf of a client that is connected: they go the whole way that the
//! client's own requests go, as if they had come in over its connection.

use super::connection::Connection;
use crate::drain::Drain;
use async_trait::async_trait;
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
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

/// How much of a request or an answer is on its way at most, in bytes.
const ON_THE_WAY: usize = 64 << 10;

/// The way in, from within.
#[derive(Default)]
pub struct Within(OnceLock<(Weak<dyn Carry>, Drain)>);

impl Within {
    /// Nobody is there yet who could carry a request out.
    pub fn new() -> Within {
        Within::default()
    }

    /// Opens it to the application behind the listeners. The first call counts.
    pub fn open<A: HttpServerApp + Send + Sync + 'static>(&self, app: &Arc<A>, drain: Drain) {
        let app: Weak<dyn Carry> = Arc::downgrade(app) as Weak<A>;
        let _ = self.0.set((app, drain));
    }

    /// A connection for one request of the client at the other end of `connection`. To be called on a runtime, which
    /// carries the request out.
    ///
    /// # Errors
    /// When nobody carries requests out.
    pub fn connect(&self, connection: &Connection) -> io::Result<DuplexStream> {
        let (app, drain) = self.0.get().ok_or(io::ErrorKind::NotConnected)?;
        let app = app.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let (ours, theirs) = duplex(ON_THE_WAY);
        let Connection { settings, peer, client, drain: own, .. } = connection;
        // One of its own: what is known of a connection's request is not shared with the client's.
        let again = Connection::new(settings.clone(), *peer, *client, own.clone());
        let facts = ResponseHeader::build(200, Some(0)).map_err(io::Error::other)?;
        let facts = Arc::new(ProxyDigest::new(Box::new(facts), Some(Box::new(Arc::new(again)))));
        tokio::spawn(app.carry(InnerStream { io: theirs, facts }, drain.clone()));
        Ok(ours)
    }
}

impl fmt::Debug for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Within").finish_non_exhaustive()
    }
}

/// Whatever carries a connection's one request out.
trait Carry: Send + Sync {
    fn carry(self: Arc<Self>, stream: InnerStream, drain: Drain) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<A: HttpServerApp + Send + Sync + 'static> Carry for A {
    fn carry(self: Arc<Self>, stream: InnerStream, drain: Drain) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let _in_flight = drain.enter();
            let notice = drain.notice();
            tokio::pin!(notice);
            Drain::stir(notice.as_mut()).await;
            let session = ServerSession::new_http1(Box::new(stream));
            // The connection ends with its request.
            drop(self.process_new_http(session, &drain.shutdown_watch()).await);
        })
    }
}

/// The gateway's end of such a connection, as Pingora sees it.
struct InnerStream {
    io: DuplexStream,
    facts: Arc<ProxyDigest>,
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
        Some(self.facts.clone())
    }
}

impl GetSocketDigest for InnerStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}
