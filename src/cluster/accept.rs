//! Taking what other nodes hand over.
//!
//! Whoever can open a connection is a stranger until TLS and greeting are done, and strangers have a small room of their own:
//! however many of them say nothing, those of nodes that are served have their places. Who only asks who is there needs none.

use super::greeting::{self, Greeting, Refused, Welcome};
use super::room::Stranger;
use super::{Cluster, Line, keep_alive};
use crate::drain::Drain;
use crate::listen::within::{Arrival, Forwarded};
use crate::listen::{ClientCertificate, Listener, Within};
use crate::seats::Seat;
use bytes::BytesMut;
use memchr::memmem;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// How long another node may take until the head of its request is here.
const ARRIVAL: Duration = Duration::from_secs(5);
/// How long accepting pauses after it failed, which it does when the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

impl Cluster {
    /// Takes requests from other nodes until whatever is left must go. What they bring is carried out by what stands behind
    /// `within`.
    pub async fn serve(self: Arc<Self>, socket: std::net::TcpListener, within: Arc<Within>, drain: Drain) {
        let socket = match TcpListener::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(%error, "the socket for other nodes cannot be used");
                return;
            }
        };
        let closing = drain.closing();
        tokio::pin!(closing);
        loop {
            let accepted = tokio::select! {
                () = &mut closing => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, place)) => match self.strangers.enter(place.ip()) {
                    Some(stranger) => {
                        let (cluster, within, drain) = (Arc::clone(&self), Arc::clone(&within), drain.clone());
                        tokio::spawn(async move { cluster.take_in(stream, place, stranger, &within, drain).await });
                    }
                    None => self.turn_away(place, "too many have not said yet who they are"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection of another node could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn take_in(&self, stream: TcpStream, place: SocketAddr, stranger: Stranger, within: &Within, drain: Drain) {
        let arrived = timeout(ARRIVAL, self.welcome(stream, place, stranger, within, &drain)).await;
        match arrived.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Some((line, arrival, _seat))) => within.carry(line, arrival).await,
            Ok(None) => {}
            Err(error) => self.turn_away(place, &error.to_string()),
        }
    }

    fn turn_away(&self, place: SocketAddr, why: &str) {
        self.turned_away.fetch_add(1, Relaxed);
        tracing::debug!(from = %place, why, "a connection of another node was turned away");
    }

    /// Hears who comes and what for; the head of the request, where there is one that is taken.
    async fn welcome(
        &self,
        stream: TcpStream,
        place: SocketAddr,
        stranger: Stranger,
        within: &Within,
        drain: &Drain,
    ) -> io::Result<Option<(Line, Arrival, Seat)>> {
        let settings = self.settings.load_full();
        keep_alive(&stream, &settings)?;
        let identity = self.identity()?;
        let stream = TlsAcceptor::from(Arc::clone(&identity.server)).accept(stream).await?;
        let mut stream = Line::new(stream, &identity, &self.keys, settings.write_time, self.lines_in.count())?;
        let greeting = greeting::receive(&mut stream).await?;
        let greeting: Greeting = greeting::read(&greeting)?;
        let judged = self.judge(&greeting, within, drain);
        let refused = judged.as_ref().err().copied();
        if refused == Some(Refused::Full) {
            self.turn_away(place, "there are too many");
        }
        // From here on the other node counts on it: a stop waits for what was welcome.
        let in_flight = matches!(judged, Ok(Some(_))).then(|| drain.enter());
        greeting::send(&mut stream, &Welcome { is: self.is, refused }).await?;
        drop(stranger);
        let (Ok(Some((listener, seat))), Some(arriving), Some(in_flight)) = (judged, greeting.exchange, in_flight)
        else {
            return Ok(None);
        };
        let head = head(&mut stream, listener.settings().limits.head_read_max()).await?;
        let (peer, client) = (arriving.peer, arriving.client);
        let forwarded = Forwarded { correlation: arriving.correlation, returns: arriving.returns };
        let certificate = arriving.certificate.map(|der| ClientCertificate::told(&der));
        Ok(Some((stream, Arrival { listener, peer, client, certificate, forwarded, head, in_flight }, seat)))
    }

    /// Whether what comes is taken, at which listener, and its place among those that are; none where nothing follows.
    fn judge(
        &self,
        greeting: &Greeting,
        within: &Within,
        drain: &Drain,
    ) -> Result<Option<(Arc<Listener>, Seat)>, Refused> {
        if greeting.from == self.is.boot {
            return Err(Refused::Myself);
        }
        let Some(arriving) = &greeting.exchange else { return Ok(None) };
        if !arriving.aim.means(self.is) {
            return Err(Refused::NotMine);
        }
        if arriving.news && drain.is_draining() {
            return Err(Refused::Stopping);
        }
        let listener = within.listener(&arriving.listener).ok_or(Refused::NoListener)?;
        let room = if arriving.news { &self.held } else { &self.incoming };
        let seat = room.take(self.settings.load().connections).ok_or(Refused::Full)?;
        Ok(Some((listener, seat)))
    }
}

/// Receives a request as far as its head, and what has come of its body.
async fn head(stream: &mut Line, most: usize) -> io::Result<BytesMut> {
    let mut bytes = BytesMut::with_capacity(1024);
    let mut seen = 0;
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if memmem::find(&bytes[seen..], b"\r\n\r\n").is_some() {
            return Ok(bytes);
        }
        if bytes.len() >= most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the head of a request is too long"));
        }
        // The end may be cut in two.
        seen = bytes.len().saturating_sub(3);
    }
}
