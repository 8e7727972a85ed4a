//! A client's connection as Pingora sees it: plain or TLS, with what is known of it attached.

use super::alarm::Alarm;
use super::connection::Connection;
use super::resets::ResetWatch;
use super::socket::Socket;
use super::tally::{Event, Tally};
use super::tls;
use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora_core::protocols::l4::socket::SocketAddr as L4Address;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use pingora_http::ResponseHeader;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

/// How long a connection that we end is kept for the client to see the last answer: closing a socket while the client
/// still sends makes the kernel discard what the client has not read yet.
const LINGER: Duration = Duration::from_secs(2);

/// What is read at first when a request arrives; most heads fit.
const FIRST_READ: usize = 4096;

/// The bytes of a connection.
#[derive(Debug)]
pub(crate) enum Transport {
    /// As they are.
    Plain(Socket),
    /// Within TLS.
    Tls(Box<TlsStream<Socket>>),
}

impl Transport {
    fn socket(&self) -> &Socket {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.get_ref().0,
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Transport::Plain(socket) => Pin::new(socket),
            Transport::Tls(tls) => Pin::new(tls),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct ClientStream {
    transport: Transport,
    /// Bytes to be read again, before those of the transport.
    again: BytesMut,
    resets: Option<Box<ResetWatch>>,
    /// Until when the client is waited for, once all is said.
    lingers: Option<Instant>,
    alarm: Alarm,
    tally: Arc<Tally>,
    connection: Option<Arc<ProxyDigest>>,
    socket: Arc<SocketDigest>,
    tls: Option<Arc<SslDigest>>,
}

impl ClientStream {
    pub(crate) fn new(transport: Transport, connection: &Arc<Connection>, tally: Arc<Tally>) -> ClientStream {
        let socket = SocketDigest::from_raw_fd(transport.socket().tcp().as_raw_fd());
        // Known already, so that nobody asks the kernel again, or a descriptor that is no longer ours.
        let _ = socket.peer_addr.set(Some(L4Address::Inet(connection.peer())));
        let local = transport.socket().tcp().local_addr().ok();
        let _ = socket.local_addr.set(local.map(L4Address::Inet));
        let tls = match &transport {
            Transport::Plain(_) => None,
            Transport::Tls(tls) => Some(Arc::new(tls::digest(tls.get_ref().1))),
        };
        // Pingora carries what it knows of a CONNECT proxy to every filter, for HTTP/1 and HTTP/2 alike, with room for
        // data of others. It is the only such room; the response beside it means nothing here.
        let facts: Box<Arc<Connection>> = Box::new(connection.clone());
        let response = ResponseHeader::build(200, Some(0)).ok();
        let connection = response.map(|header| Arc::new(ProxyDigest::new(Box::new(header), Some(facts))));
        let again = BytesMut::new();
        let (socket, alarm) = (Arc::new(socket), Alarm::default());
        ClientStream { transport, again, resets: None, lingers: None, alarm, tally, connection, socket, tls }
    }

    /// Whether TLS settled on HTTP/2.
    pub(crate) fn chose_http2(&self) -> bool {
        self.selected_alpn_proto() == Some(ALPN::H2)
    }

    /// Puts bytes back, to be read as HTTP/2 from the connection preface on, with resets counted.
    pub(crate) fn begin_http2(&mut self, preface: BytesMut, resets_per_second: u32) {
        self.again = preface;
        self.resets = Some(Box::new(ResetWatch::new(resets_per_second)));
    }

    /// Waits for the first bytes of a request and reads them; zero when the client is gone. No memory is held while
    /// nothing comes.
    pub(crate) fn poll_first(&mut self, cx: &mut Context<'_>, head: &mut BytesMut) -> Poll<io::Result<usize>> {
        loop {
            match &mut self.transport {
                Transport::Plain(socket) => ready!(socket.tcp().poll_read_ready(cx))?,
                Transport::Tls(tls) => {
                    ready!(Pin::new(tls).poll_fill_buf(cx))?;
                }
            }
            head.reserve(FIRST_READ);
            match self.poll_more(cx, head) {
                // The socket was thought to be readable but is not: back to waiting without a buffer.
                Poll::Pending => *head = BytesMut::new(),
                read => return read,
            }
        }
    }

    /// Reads more of a request, as much as there is room for; zero when the client is gone.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>, head: &mut BytesMut) -> Poll<io::Result<usize>> {
        // The future holds nothing but its two borrows, so it can be made anew for each poll.
        pin!(self.read_buf(head)).poll(cx)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.again.is_empty() {
            ready!(this.transport.poll_read(cx, buf))?;
        } else {
            let now = this.again.len().min(buf.remaining());
            buf.put_slice(&this.again[..now]);
            this.again.advance(now);
            if this.again.is_empty() {
                this.again = BytesMut::new();
            }
        }
        if let Some(resets) = &mut this.resets
            && resets.flooded(&buf.filled()[before..])
        {
            this.tally.count(Event::ResetFlood);
            return Poll::Ready(Err(io::Error::other("the client resets its streams too fast")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.transport.writer().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.transport.writer().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.writer().poll_flush(cx)
    }

    /// Ends the connection so that the client gets all that was written: we say that no more comes, then read on until
    /// the client has closed its side as well, or too long.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let until = match this.lingers {
            Some(until) => until,
            None => {
                ready!(this.transport.writer().poll_shutdown(cx))?;
                *this.lingers.insert(Instant::now() + LINGER)
            }
        };
        while Instant::now() < until {
            let mut ignored = [0; FIRST_READ];
            let mut ignored = ReadBuf::new(&mut ignored);
            match this.transport.poll_read(cx, &mut ignored) {
                Poll::Ready(Ok(())) if !ignored.filled().is_empty() => {}
                // The client has seen the end, or is gone.
                Poll::Ready(_) => break,
                Poll::Pending => return this.alarm.poll_at(cx, until).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // A connection that cannot be ended is gone.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.transport.socket().tcp().as_raw_fd()
    }
}

impl Ssl for ClientStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(tls) => match tls.get_ref().1.alpn_protocol()? {
                b"h2" => Some(ALPN::H2),
                _ => Some(ALPN::H1),
            },
        }
    }
}

/// HTTP/2 is recognised before Pingora gets the connection, so that nothing is left to peek at.
impl Peek for ClientStream {}

impl GetTimingDigest for ClientStream {
    /// Nothing reads it, and Pingora would collect it for each request.
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.connection.clone()
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }
}
