//! A client's connection as Pingora sees it: plain or TLS, with what is known of it attached.

use super::alarm::Alarm;
use super::connection::Connection;
use super::framing::Framing;
use super::refusal::{self, Refuse};
use super::resets::ResetWatch;
use super::scan::Head;
use super::socket::Socket;
use super::tally::{Event, Tally};
use super::tls;
use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use lockgate_filters::fault::Refusal;
use pingora_core::protocols::l4::socket::SocketAddr as L4Address;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use pingora_http::ResponseHeader;
use std::fmt;
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
pub(crate) struct ClientStream {
    transport: Transport,
    /// Bytes to be read again, before those of the transport.
    again: BytesMut,
    /// Where the request that Pingora has ends; nothing behind it is handed on.
    framing: Framing,
    /// The head of the request that Pingora has, until it is answered.
    head: Option<Head>,
    /// What the client gets instead of an answer of Pingora's own.
    instead: Option<Bytes>,
    resets: Option<Box<ResetWatch>>,
    /// Until when the client is waited for, once all is said.
    lingers: Option<Instant>,
    alarm: Alarm,
    tally: Arc<Tally>,
    refuse: Arc<dyn Refuse>,
    connection: Arc<Connection>,
    facts: Option<Arc<ProxyDigest>>,
    socket: Arc<SocketDigest>,
    tls: Option<Arc<SslDigest>>,
}

impl ClientStream {
    pub(crate) fn new(
        transport: Transport,
        connection: Arc<Connection>,
        tally: Arc<Tally>,
        refuse: Arc<dyn Refuse>,
    ) -> ClientStream {
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
        let facts = response.map(|header| Arc::new(ProxyDigest::new(Box::new(header), Some(facts))));
        ClientStream {
            transport,
            again: BytesMut::new(),
            framing: Framing::Unknown,
            head: None,
            instead: None,
            resets: None,
            lingers: None,
            alarm: Alarm::default(),
            tally,
            refuse,
            connection,
            facts,
            socket: Arc::new(socket),
            tls,
        }
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

    /// Splits what came with a head: what belongs to its request is for Pingora, the rest stays here.
    pub(crate) fn begin_request(&mut self, mut bytes: BytesMut, head: Head) -> BytesMut {
        self.framing = head.framing;
        let own = head.length + self.framing.take(&bytes[head.length..]);
        if own < bytes.len() {
            self.again = bytes.split_off(own);
        }
        self.head = Some(head);
        self.connection.unclaim();
        bytes
    }

    /// Whether another request may be read: the one before has been read to its end, as far as that is followed here.
    pub(crate) fn end_request(&mut self) -> bool {
        let over = self.framing.is_over() || self.framing == Framing::Unknown;
        self.framing = Framing::Unknown;
        self.head = None;
        over
    }

    /// Refuses what came instead of a whole head, as far as the client lets us, and ends the connection.
    pub(crate) async fn refuse(&mut self, refusal: &Refusal) {
        let answer = refusal::answer(&*self.refuse, &self.connection, refusal);
        // Who cannot be told is closed all the same.
        let _ = self.write_all(&answer).await;
        let _ = AsyncWriteExt::shutdown(self).await;
    }

    /// The head that the application has not taken up: Pingora still looks at it, or refuses it.
    fn unclaimed(&self) -> Option<&Head> {
        self.head.as_ref().filter(|_| !self.connection.is_claimed())
    }

    /// Writes our own refusal in the place of Pingora's, which begins with `answer`. Ready when all of it is written.
    fn poll_instead(&mut self, cx: &mut Context<'_>, head: Head, answer: &[u8]) -> Poll<io::Result<()>> {
        let instead = self.instead.get_or_insert_with(|| {
            let refusal = refusal::explain(&head, refusal::status(answer));
            refusal::answer(&*self.refuse, &self.connection, &refusal)
        });
        while !instead.is_empty() {
            let written = ready!(self.transport.writer().poll_write(cx, instead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            instead.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads from what is to be read again, or else from the transport, no further than the request goes that Pingora has.
    fn poll_own(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.again.is_empty() {
            let now = self.again.len().min(buf.remaining());
            let own = self.framing.take(&self.again[..now]);
            buf.put_slice(&self.again[..own]);
            self.again.advance(own);
            if self.again.is_empty() {
                self.again = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(self.transport.poll_read(cx, buf))?;
        let own = before + self.framing.take(&buf.filled()[before..]);
        if own < buf.filled().len() {
            self.again.extend_from_slice(&buf.filled()[own..]);
            buf.set_filled(own);
            if own == before {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the first bytes of a request and reads them; zero when the client is gone. No memory is held while
    /// nothing comes.
    pub(crate) fn poll_first(&mut self, cx: &mut Context<'_>, head: &mut BytesMut) -> Poll<io::Result<usize>> {
        if !self.again.is_empty() {
            *head = std::mem::take(&mut self.again);
            return Poll::Ready(Ok(head.len()));
        }
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

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unclaimed().is_some() {
            // It was handed a whole head. If it finds that more is to come, we do not agree on where the head ends.
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the head has no clear end")));
        }
        if this.framing.is_over() && !this.again.is_empty() {
            // The next request waits in `again` for this one's answer, and what we have said so far goes out. Nobody need
            // be woken: nothing changes before this request ends.
            ready!(this.transport.writer().poll_flush(cx))?;
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(this.poll_own(cx, buf))?;
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
        if let Some(head) = self.unclaimed().copied() {
            ready!(self.poll_instead(cx, head, buf))?;
            return Poll::Ready(Ok(buf.len()));
        }
        self.transport.writer().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(head) = self.unclaimed().copied() {
            ready!(self.poll_instead(cx, head, slices.first().map_or(&[], |slice| slice)))?;
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
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
        self.facts.clone()
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }
}
