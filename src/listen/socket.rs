//! A client's TCP connection: writes gathered into few system calls, and a client that does not read given up.
//!
//! Pingora's own L4 stream allocates its buffers with the connection (64 KiB for reading) and its sizes cannot be set from
//! outside of its own listeners. Here nothing is read ahead, and the write buffer lives only from the first small write
//! to the flush, so that an idle connection holds no buffer at all.

use super::alarm::Alarm;
use super::tally::{Event, Tally};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Writes up to this many bytes together are copied and wait for the flush: a response head with a small body, an SSE
/// event with its chunk framing. What is larger goes out at once, in one call with what was waiting.
const GATHER: usize = 4096;

/// Pieces that go out in one system call: what waits, and chunk framing around a body, with some to spare.
const SLICES: usize = 8;

/// How patient a connection is with a client that does not take what is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteLimits {
    /// Over which time the rate is measured.
    pub(crate) time: Duration,
    /// Bytes per second.
    pub(crate) rate: u64,
}

/// One TCP connection.
#[derive(Debug)]
pub(crate) struct Socket {
    tcp: TcpStream,
    waiting: Vec<u8>,
    /// How much of `waiting` is written.
    written: usize,
    patience: Patience,
    tally: Arc<Tally>,
}

impl Socket {
    pub(crate) fn new(tcp: TcpStream, limits: WriteLimits, tally: Arc<Tally>) -> Socket {
        let patience = Patience { limits, alarm: Alarm::default(), blocked: None };
        Socket { tcp, waiting: Vec::new(), written: 0, patience, tally }
    }

    /// The socket itself.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Writes what waits and then `slices`: ready with how much of the slices was taken, which is none only if they are
    /// empty.
    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let held = self.waiting.len() - self.written;
            let mut all = [IoSlice::new(&[]); SLICES];
            all[0] = IoSlice::new(&self.waiting[self.written..]);
            for (place, slice) in all[1..].iter_mut().zip(slices) {
                *place = *slice;
            }
            let offered: usize = all.iter().map(|slice| slice.len()).sum();
            if offered == 0 {
                self.emptied();
                return Poll::Ready(Ok(0));
            }
            let Poll::Ready(sent) =
                Pin::new(&mut self.tcp).poll_write_vectored(cx, &all[..=slices.len().min(SLICES - 1)])
            else {
                ready!(self.patience.poll_over(cx));
                self.tally.count(Event::WriteSlow);
                let text = "the client does not take what is sent to it";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
            };
            let sent = sent?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.patience.progressed(sent, sent == offered);
            if sent < held {
                self.written += sent;
                continue;
            }
            self.emptied();
            if sent > held {
                return Poll::Ready(Ok(sent - held));
            }
        }
    }

    fn emptied(&mut self) {
        self.waiting = Vec::new();
        self.written = 0;
    }

    fn gathers(&self, more: usize) -> bool {
        // What is partly written already waits for the client, not for more to be gathered.
        self.written == 0 && self.waiting.len() + more <= GATHER
    }

    fn gather(&mut self, bytes: &[u8]) {
        if self.waiting.capacity() == 0 {
            self.waiting.reserve_exact(GATHER);
        }
        self.waiting.extend_from_slice(bytes);
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.tcp).poll_read(cx, buf);
        // Before we wait for the client, it gets what we have said so far: the head of a held stream goes out although
        // its first event is still to come.
        if read.is_pending()
            && !this.waiting.is_empty()
            && let Poll::Ready(Err(error)) = this.poll_send(cx, &[])
        {
            return Poll::Ready(Err(error));
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.gathers(buf.len()) {
            this.gather(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        this.poll_send(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let offered = slices.iter().map(|slice| slice.len()).sum();
        if this.gathers(offered) {
            for slice in slices {
                this.gather(slice);
            }
            return Poll::Ready(Ok(offered));
        }
        this.poll_send(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx, &[]).map_ok(|_| ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx, &[]))?;
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }
}

/// Watches a client that takes less than is sent.
#[derive(Debug)]
struct Patience {
    limits: WriteLimits,
    alarm: Alarm,
    blocked: Option<Window>,
}

/// A span over which the rate is measured.
#[derive(Debug)]
struct Window {
    since: Instant,
    taken: u64,
}

impl Patience {
    fn progressed(&mut self, sent: usize, all: bool) {
        if all {
            self.blocked = None;
        } else if let Some(window) = &mut self.blocked {
            window.taken += sent as u64;
        }
    }

    /// Ready when the client has been too slow over a whole window.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let enough = (self.limits.rate.saturating_mul(self.limits.time.as_secs())).max(1);
        loop {
            let window = self.blocked.get_or_insert_with(|| Window { since: Instant::now(), taken: 0 });
            ready!(self.alarm.poll_at(cx, window.since + self.limits.time));
            if window.taken < enough {
                return Poll::Ready(());
            }
            self.blocked = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair(time: Duration, rate: u64) -> (Socket, TcpStream, Arc<Tally>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let tally = Arc::new(Tally::default());
        (Socket::new(server, WriteLimits { time, rate }, tally.clone()), client, tally)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn small_writes_wait_for_the_flush_and_leave_no_buffer() {
        let (mut socket, mut client, _) = pair(LONG, 1).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        socket.write_all(b"hello").await.unwrap();
        assert_eq!(client.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        socket.flush().await.unwrap();
        assert_eq!(socket.waiting.capacity(), 0);
        let mut all = [0; 24];
        client.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"HTTP/1.1 200 OK\r\n\r\nhello");
    }

    #[tokio::test]
    async fn what_waits_is_said_before_we_listen() {
        let (mut socket, mut client, _) = pair(LONG, 1).await;
        socket.write_all(b"head").await.unwrap();
        let mut byte = [0; 1];
        poll_fn(|cx| {
            assert!(Pin::new(&mut socket).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_pending());
            Poll::Ready(())
        })
        .await;
        let mut head = [0; 4];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"head");
    }

    #[tokio::test]
    async fn nothing_is_lost_or_reordered_whatever_the_sizes() {
        let (mut socket, mut client, _) = pair(LONG, 1).await;
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        let expected = bytes.clone();
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            all
        });
        let (mut rest, mut size) = (&bytes[..], 1);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(size.min(rest.len()));
            if size % 2 == 0 {
                let (a, b) = now.split_at(now.len() / 3);
                let mut taken = 0;
                while taken < now.len() {
                    let slices =
                        [IoSlice::new(&a[taken.min(a.len())..]), IoSlice::new(&b[taken.saturating_sub(a.len())..])];
                    taken += socket.write_vectored(&slices).await.unwrap();
                }
            } else {
                socket.write_all(now).await.unwrap();
            }
            if size % 5 == 0 {
                socket.flush().await.unwrap();
            }
            rest = later;
            size = size * 3 % 70_001 + 1;
        }
        socket.shutdown().await.unwrap();
        assert!(reader.await.unwrap() == expected);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (mut socket, _client, tally) = pair(Duration::from_millis(100), 1).await;
        let error = socket.write_all(&vec![0; 64 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(tally.get(Event::WriteSlow), 1);
    }

    /// On a clock that moves only while everybody waits, so that a slow machine is no slow client.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_but_steadily_is_not() {
        let (mut socket, mut client, tally) = pair(Duration::from_millis(400), 1).await;
        let began = tokio::time::Instant::now();
        let all = 16 << 20;
        let reader = tokio::spawn(async move {
            let (mut buffer, mut read) = (vec![0; 256 << 10], 0);
            while read < all {
                read += client.read(&mut buffer).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        socket.write_all(&vec![0; all]).await.unwrap();
        socket.flush().await.unwrap();
        reader.await.unwrap();
        assert!(began.elapsed() > Duration::from_millis(400), "it was not slow");
        assert_eq!(tally.get(Event::WriteSlow), 0);
    }
}
