//! One keep-alive connection of the generator, which says *how* an exchange failed.
//!
//! A connection that the peer closed between two requests is told apart from a failed answer: the first is a
//! nuisance that a client repeats, the second is a lost call.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::decoder::{Decoder, Progress, WireError};
use super::head::{Head, Side, Start};

/// Why an exchange gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// No connection.
    #[error("connect: {0}")]
    Connect(io::Error),
    /// A kept-alive connection was closed before a byte of the answer: to be repeated on a new one.
    #[error("kept-alive connection was closed under a request")]
    Cut,
    /// The connection broke.
    #[error("connection broke: {0}")]
    Broken(io::Error),
    /// What came is no HTTP answer, or not a whole one.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Spreads connections over loopback source addresses, so that a connection per request does not run out of ports.
#[derive(Debug, Default)]
pub struct Sources {
    next: Cell<u8>,
}

impl Sources {
    /// The next of 127.0.0.2 … 127.0.0.200.
    fn take(&self) -> Ipv4Addr {
        let last = self.next.get();
        self.next.set((last + 1) % 199);
        Ipv4Addr::new(127, 0, 0, 2 + last)
    }
}

/// A client connection that is opened when needed.
pub struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    decoder: Decoder,
    /// Answers read on the present connection.
    answered: u64,
    /// Connections opened so far.
    pub opened: u64,
}

impl Client {
    /// A client of `address`, not yet connected.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, decoder: Decoder::new(Side::Answers), answered: 0, opened: 0 }
    }

    /// Closes the connection.
    pub fn disconnect(&mut self) {
        self.stream = None;
        self.decoder = Decoder::new(Side::Answers);
    }

    /// Opens a connection from any address, or from the next of `sources`.
    pub async fn connect(&mut self, sources: Option<&Sources>) -> Result<(), ExchangeError> {
        self.disconnect();
        let socket = TcpSocket::new_v4().map_err(ExchangeError::Connect)?;
        if let (Some(sources), true) = (sources, self.address.is_ipv4()) {
            let source = SocketAddr::new(IpAddr::V4(sources.take()), 0);
            socket.bind(source).map_err(ExchangeError::Connect)?;
        }
        let stream = socket.connect(self.address).await.map_err(ExchangeError::Connect)?;
        stream.set_nodelay(true).map_err(ExchangeError::Connect)?;
        self.stream = Some(stream);
        self.answered = 0;
        self.opened += 1;
        Ok(())
    }

    /// Sends a request and reads its whole answer. Returns when the first byte of the body was read.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Instant, ExchangeError> {
        let first_byte = self.open(request).await?;
        while !self.read_more().await? {}
        self.answered += 1;
        if self.head().is_some_and(|head| head.close) {
            // The body stays readable; the connection is not used again.
            self.stream = None;
        }
        Ok(first_byte)
    }

    /// Sends a request and reads until the first byte of a body, or the end of an answer without one.
    pub async fn open(&mut self, request: &[u8]) -> Result<Instant, ExchangeError> {
        self.send(request).await?;
        loop {
            let done = self.read_more().await?;
            if done || !self.decoder.body().is_empty() {
                return Ok(Instant::now());
            }
        }
    }

    /// Sends a request and reads until the head of its answer is there.
    pub async fn open_head(&mut self, request: &[u8]) -> Result<(), ExchangeError> {
        self.send(request).await?;
        while self.decoder.head().is_none() {
            self.read_more().await?;
        }
        Ok(())
    }

    async fn send(&mut self, request: &[u8]) -> Result<(), ExchangeError> {
        if self.stream.is_none() {
            self.connect(None).await?;
        }
        self.decoder.next();
        let Some(stream) = &mut self.stream else { return Err(ExchangeError::Cut) };
        let sent = stream.write_all(request).await;
        sent.map_err(|error| self.broken(error))
    }

    /// Reads once. `true` when the answer is complete.
    pub async fn read_more(&mut self) -> Result<bool, ExchangeError> {
        if self.decoder.advance()? == Progress::Done {
            return Ok(true);
        }
        let Some(stream) = &mut self.stream else { return Err(ExchangeError::Cut) };
        self.decoder.raw.reserve(self.decoder.wanted());
        match stream.read_buf(&mut self.decoder.raw).await {
            Ok(0) if self.untouched() => Err(ExchangeError::Cut),
            Ok(0) => {
                self.stream = None;
                self.decoder.close()?;
                Ok(true)
            }
            Ok(_) => Ok(self.decoder.advance()? == Progress::Done),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// The head of the answer last read.
    pub fn head(&self) -> Option<&Head> {
        self.decoder.head()
    }

    /// The status of the answer last read, 0 without one.
    pub fn status(&self) -> u16 {
        match self.head().map(|head| head.start) {
            Some(Start::Answer(status)) => status,
            _ => 0,
        }
    }

    /// The body of the answer last read, or what is there of it.
    pub fn body(&self) -> &[u8] {
        self.decoder.body()
    }

    /// Drops stream bytes that were dealt with.
    pub fn consume(&mut self, count: usize) {
        self.decoder.consume(count);
    }

    /// Nothing of the present answer has been read, on a connection that has served before.
    fn untouched(&self) -> bool {
        self.answered > 0 && self.decoder.head().is_none() && self.decoder.raw.is_empty()
    }

    fn broken(&mut self, error: io::Error) -> ExchangeError {
        self.stream = None;
        if self.untouched() { ExchangeError::Cut } else { ExchangeError::Broken(error) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection with the next of these scripts, after a first read, then closes it.
    async fn scripted(scripts: Vec<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for script in scripts {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut scratch = [0; 1024];
                let _ = stream.read(&mut scratch).await.unwrap();
                stream.write_all(script.as_bytes()).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn reads_an_answer_and_notices_the_cut_that_follows() {
        let address = scripted(vec!["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"]).await;
        let mut client = Client::new(address);
        client.exchange(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!((client.status(), client.body()), (200, &b"hi"[..]));
        let error = client.exchange(b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err();
        assert!(matches!(error, ExchangeError::Cut), "{error}");
    }

    #[tokio::test]
    async fn a_fresh_connection_that_closes_is_a_failure_and_no_cut() {
        let address = scripted(vec![""]).await;
        let error = Client::new(address).exchange(b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err();
        assert!(matches!(error, ExchangeError::Wire(WireError::Truncated) | ExchangeError::Broken(_)), "{error}");
    }

    #[tokio::test]
    async fn half_an_answer_is_a_failure() {
        let address = scripted(vec!["HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi"]).await;
        let error = Client::new(address).exchange(b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err();
        assert!(matches!(error, ExchangeError::Wire(WireError::Truncated) | ExchangeError::Broken(_)), "{error}");
    }

    #[tokio::test]
    async fn announced_closes_lead_to_a_new_connection() {
        let close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
        let address = scripted(vec![close, close]).await;
        let mut client = Client::new(address);
        for _ in 0..2 {
            client.exchange(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            assert_eq!(client.body(), b"x");
        }
        assert_eq!(client.opened, 2);
    }

    #[test]
    fn sources_stay_on_loopback() {
        let sources = Sources::default();
        assert!((0..1000).all(|_| sources.take().is_loopback()));
    }
}
