//! A connection between nodes, once they know each other.
//!
//! It ends with the keys that it was made with: where one of them is taken out of the configuration, whoever held only that
//! is no node any more, however long the stream would have lived. And it ends where the other node takes nothing of what is
//! sent to it for longer than a client may that is slow.

use super::identity::{Identity, Key};
use crate::seats::Seat;
use std::fmt;
use std::future::{Future, pending};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsStream;

/// The keys of those who are nodes, as they are now.
pub(super) type Keys = watch::Sender<Arc<[Key]>>;

/// A connection to or from another node.
pub struct Line {
    stream: TlsStream<TcpStream>,
    /// Ends when a key that it was made with is known no more.
    over: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    /// How long the other node may take nothing.
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    _counted: Seat,
}

impl Line {
    /// A connection that was made as `identity`, and lives as long as its keys are among these.
    pub(super) fn new(
        stream: impl Into<TlsStream<TcpStream>>,
        identity: &Identity,
        keys: &Keys,
        patience: Duration,
        counted: Seat,
    ) -> io::Result<Line> {
        let stream = stream.into();
        let theirs = stream.get_ref().1.peer_certificates().and_then(|shown| shown.first()).cloned();
        let theirs = theirs.ok_or(io::ErrorKind::NotConnected)?.into_owned();
        let (ours, mut keys) = (identity.shown.clone(), keys.subscribe());
        let over = async move {
            if keys.wait_for(|known| ![&theirs, &ours].iter().all(|key| known.contains(key))).await.is_err() {
                // Nobody is left to say so.
                pending::<()>().await;
            }
        };
        Ok(Line { stream, over: Box::pin(over), patience, stalled: None, _counted: counted })
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.over.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => {
                // Polled once more, it must not be: from here on there is always an error.
                self.over = Box::pin(async {});
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "a key that it was made with is out"))
            }
        }
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other node does not take what is sent to it")))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::nobody;
    use super::super::testing::ring;
    use super::*;
    use crate::seats::Seats;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    const LONG: Duration = Duration::from_secs(30);

    /// Both ends of a connection, each with the keys that it knows.
    async fn pair(asking: &Identity, asked: &Identity, keys: [&Keys; 2], patience: Duration) -> [Line; 2] {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connected = async {
            let stream = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
            TlsConnector::from(Arc::clone(&asking.client)).connect(nobody(), stream).await.unwrap()
        };
        let accepted = async {
            let (stream, _) = socket.accept().await.unwrap();
            TlsAcceptor::from(Arc::clone(&asked.server)).accept(stream).await.unwrap()
        };
        let (connected, accepted) = tokio::join!(connected, accepted);
        let near = Line::new(connected, asking, keys[0], patience, Seats::default().count()).unwrap();
        [near, Line::new(accepted, asked, keys[1], patience, Seats::default().count()).unwrap()]
    }

    fn knowing(seeds: &[u8]) -> (Identity, Keys) {
        let identity = Identity::of(&ring(seeds)).unwrap();
        let keys = Keys::new(Arc::clone(&identity.known));
        (identity, keys)
    }

    #[tokio::test]
    async fn it_ends_with_the_keys_that_it_was_made_with_and_no_others() {
        // One shows the first key, the other the second.
        let ((one, ones), (other, others)) = (knowing(&[1, 2, 3]), knowing(&[2, 1]));
        let [mut near, mut far] = pair(&one, &other, [&ones, &others], LONG).await;
        let mut byte = [0; 1];
        // A key that neither has shown goes, and comes again.
        ones.send_replace(Identity::of(&ring(&[1, 2])).unwrap().known);
        near.write_all(b"x").await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(timeout(LONG, far.read(&mut byte)).await.unwrap().unwrap(), 1);
        // Whoever waits hears of it, and nothing goes on.
        let waiting = tokio::spawn(async move {
            let ended = far.read(&mut [0; 1]).await.map_err(|error| error.kind());
            (ended, far.write_all(b"x").await.map_err(|error| error.kind()))
        });
        tokio::task::yield_now().await;
        others.send_replace(Identity::of(&ring(&[2])).unwrap().known);
        let ended = io::ErrorKind::ConnectionAborted;
        assert_eq!(timeout(LONG, waiting).await.unwrap().unwrap(), (Err(ended), Err(ended)));
        // Its own key is one of them, too.
        let [mut near, _far] = pair(&one, &other, [&ones, &Keys::new(Arc::clone(&other.known))], LONG).await;
        ones.send_replace(Identity::of(&ring(&[2])).unwrap().known);
        assert_eq!(timeout(LONG, near.read(&mut byte)).await.unwrap().unwrap_err().kind(), ended);
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up() {
        let (identity, keys) = knowing(&[1]);
        let [mut near, _far] = pair(&identity, &identity, [&keys, &keys], Duration::from_millis(50)).await;
        let much = vec![0; 1 << 16];
        let given_up = async {
            loop {
                if let Err(error) = near.write_all(&much).await {
                    return error.kind();
                }
            }
        };
        assert_eq!(timeout(LONG, given_up).await.unwrap(), io::ErrorKind::TimedOut);
    }
}
