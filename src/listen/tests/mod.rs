//! Listeners with Pingora's proxy behind them, on real sockets.

mod clients;
mod drain;
mod http1;
mod http2;
mod proxy_protocol;
mod tls;

use super::*;
use crate::drain::{Drain, DrainSettings};
use async_trait::async_trait;
use bytes::Bytes;
use lockgate_filters::fault::Refusal;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::ResponseHeader;
use pingora_proxy::{HttpProxy, ProxyHttp, Session, http_proxy};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What stands behind the listeners: it answers everything itself.
#[derive(Clone)]
struct Gateway {
    drain: Drain,
    /// Lets `/wait` answer and `/stream` send an event.
    gate: Arc<Semaphore>,
    /// Requests that got here.
    requests: Arc<AtomicUsize>,
    /// Requests whose answer could not be written.
    broken: Arc<AtomicUsize>,
}

impl Gateway {
    async fn answer(&self, session: &mut Session) -> pingora_core::Result<()> {
        let path = session.req_header().uri.path().to_owned();
        let body = match path.as_str() {
            "/facts" => {
                let connection = Connection::of(session).expect("every connection is one of ours").clone();
                let client = connection.client_address(&session.req_header().headers);
                format!(
                    "{} peer={} client={client} trusted={} tls={} {:?}",
                    connection.listener(),
                    connection.peer().ip(),
                    connection.from_trusted_proxy(),
                    connection.is_tls(),
                    session.req_header().version,
                )
            }
            "/certificate" => {
                let connection = Connection::of(session).expect("every connection is one of ours").clone();
                connection.certificate().map_or_else(|| "none".to_owned(), |shown| format!("{:x?}", shown.der()))
            }
            "/head" => session.to_h1_raw().len().to_string(),
            "/body" => {
                let mut length = 0;
                while let Some(chunk) = session.read_request_body().await? {
                    length += chunk.len();
                }
                length.to_string()
            }
            "/wait" => {
                self.gate.acquire().await.unwrap().forget();
                "waited".to_owned()
            }
            "/early" => "not read".to_owned(),
            "/late" => return self.late(session).await,
            "/stream" => return self.stream(session).await,
            "/endless" => return self.endless(session).await,
            "/panic" => panic!("as asked"),
            _ => "here".to_owned(),
        };
        let mut header = ResponseHeader::build(200, None)?;
        header.insert_header("content-length", body.len())?;
        if self.drain.is_draining() {
            session.set_keepalive(None);
        }
        session.write_response_header(Box::new(header), false).await?;
        session.write_response_body(Some(Bytes::from(body)), true).await
    }

    /// A held stream, as hooks write it: until the client goes or the gateway stops.
    async fn stream(&self, session: &mut Session) -> pingora_core::Result<()> {
        let mut header = ResponseHeader::build(200, None)?;
        header.insert_header("transfer-encoding", "chunked")?;
        session.write_response_header(Box::new(header), false).await?;
        loop {
            tokio::select! {
                _ = session.downstream_session.read_body_or_idle(true) => return Ok(()),
                permit = self.gate.acquire() => {
                    permit.unwrap().forget();
                    session.write_response_body(Some(Bytes::from_static(b"event")), false).await?;
                }
                () = self.drain.draining() => {
                    return session.write_response_body(Some(Bytes::from_static(b"goodbye")), true).await;
                }
            }
        }
    }

    /// A header at once, and the body when it is let.
    async fn late(&self, session: &mut Session) -> pingora_core::Result<()> {
        let mut header = ResponseHeader::build(200, None)?;
        header.insert_header("transfer-encoding", "chunked")?;
        session.write_response_header(Box::new(header), false).await?;
        self.gate.acquire().await.unwrap().forget();
        session.write_response_body(Some(Bytes::from_static(b"late")), true).await
    }

    async fn endless(&self, session: &mut Session) -> pingora_core::Result<()> {
        let mut header = ResponseHeader::build(200, None)?;
        header.insert_header("transfer-encoding", "chunked")?;
        session.write_response_header(Box::new(header), false).await?;
        loop {
            session.write_response_body(Some(Bytes::from(vec![b'x'; 60_000])), false).await?;
        }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> pingora_core::Result<bool> {
        Connection::of(session).expect("every connection is one of ours").claim();
        self.requests.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = self.answer(session).await {
            self.broken.fetch_add(1, Ordering::SeqCst);
            return Err(error);
        }
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> pingora_core::Result<Box<HttpPeer>> {
        unreachable!("everything is answered here")
    }
}

/// Words refusals as nobody else would.
struct Clerk;

impl Refuse for Clerk {
    fn refuse(&self, connection: &Connection, refusal: &Refusal) -> Worded {
        assert_eq!(connection.listener(), "main");
        Worded { correlation: "a-name".to_owned(), body: format!("no: {}", refusal.fault.label()).into() }
    }
}

/// A listener that runs.
struct House {
    address: SocketAddr,
    listener: Arc<Listener>,
    admission: Arc<Admission>,
    drain: Drain,
    gateway: Gateway,
    service: JoinHandle<()>,
    /// Pingora's own shutdown, which never comes.
    _shutdown: watch::Sender<bool>,
}

/// What a test sets the time to that it waits for.
const SHORT: Duration = millis(300);

/// Starts a listener whose times are long, unless the test says otherwise.
fn house(change: impl FnOnce(&mut ListenerSettings)) -> House {
    // The provider may be there already from another test.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut settings = ListenerSettings::new("main", SocketAddr::from(([127, 0, 0, 1], 0)));
    settings.limits.header_time = LONG;
    settings.limits.keep_alive_idle = LONG;
    settings.limits.write_time = LONG;
    change(&mut settings);
    let (admission, drain) = (Admission::new(), Drain::new());
    let bound = BoundListener::bind(settings, admission.clone()).unwrap();
    let (address, listener) = (bound.address(), bound.handle());
    let gateway = Gateway {
        drain: drain.clone(),
        gate: Arc::new(Semaphore::new(0)),
        requests: Arc::default(),
        broken: Arc::default(),
    };
    let app: HttpProxy<Gateway> = http_proxy(&Arc::new(ServerConf::default()), gateway.clone());
    let mut service = ListenService::new(Arc::new(app), Arc::new(Clerk), vec![bound], drain.clone());
    let (shutdown, watch) = watch::channel(false);
    let service = tokio::spawn(async move { service.run(watch).await });
    House { address, listener, admission, drain, gateway, service, _shutdown: shutdown }
}

impl House {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn connect_from(&self, address: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    fn counted(&self, event: Event) -> u64 {
        self.listener.tally().get(event)
    }

    fn requests(&self) -> usize {
        self.gateway.requests.load(Ordering::SeqCst)
    }
}

/// Runs the other tasks until something is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < LONG, "never: {what}");
        tokio::task::yield_now().await;
    }
}

/// An HTTP/1.1 answer.
#[derive(Debug)]
struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn closes(&self) -> bool {
        self.head.to_ascii_lowercase().contains("connection: close")
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Sends bytes and reads one answer with a length.
async fn ask<S: AsyncRead + AsyncWriteExt + Unpin>(stream: &mut S, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    answer(stream).await
}

async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    let head = String::from_utf8(head).unwrap();
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    Answer { head, body: String::from_utf8(body).unwrap() }
}

/// All that still comes; a connection that is reset has ended as well.
async fn rest<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all).await;
    all
}
