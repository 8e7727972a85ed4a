//! One client connection from its acceptance to its end.

use super::admission::Permit;
use super::alarm::Alarm;
use super::clients::ClientCertificate;
use super::connection::Connection;
use super::head::{self, Begun, HeadLimits, Received};
use super::http2::Http2;
use super::listener::Live;
use super::proxy_protocol;
use super::refusal::{self, Refuse};
use super::settings::{ListenerSettings, ProxyProtocol};
use super::socket::{Socket, WriteLimits};
use super::stream::{ClientStream, Transport};
use super::tally::{Event, Opened, Tally};
use super::tls::Acceptor;
use crate::drain::{Drain, OpenConnection};
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ServerApp};
use pingora_core::protocols::http::ServerSession;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// A connection that was just accepted and admitted.
pub(crate) struct Arrival {
    pub(crate) tcp: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) permit: Permit,
    pub(crate) live: Arc<Live>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) refuse: Arc<dyn Refuse>,
    /// Counts it as open. Held from the moment of acceptance: until its task runs, nothing else knows of it.
    pub(crate) open: (OpenConnection, Opened),
}

/// Serves a connection. Its places are given back when this ends, in whatever way.
pub(crate) async fn serve<A>(arrival: Arrival, app: Arc<A>, drain: Drain)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let Arrival { tcp, peer, mut permit, live, tally, refuse, open: _open } = arrival;
    // What setting up needs is boxed, so that the memory goes when it is done.
    let Some(stream) = Box::pin(establish(tcp, peer, &live, &tally, &mut permit, refuse, &drain)).await else { return };
    let settings = live.settings.clone();
    drop(live);
    // An error here is the client's connection breaking: nobody is left to be told.
    let _ = converse(Box::new(stream), &settings, &tally, app, &drain).await;
}

/// PROXY header and TLS handshake, within one deadline.
async fn establish(
    mut tcp: TcpStream,
    peer: SocketAddr,
    live: &Live,
    tally: &Arc<Tally>,
    permit: &mut Permit,
    refuse: Arc<dyn Refuse>,
    drain: &Drain,
) -> Option<ClientStream> {
    let settings = &live.settings;
    let limits = &settings.limits;
    let until = Instant::now() + limits.header_time;

    let mut client = peer;
    if settings.proxy_protocol != ProxyProtocol::Off && settings.trusts(peer.ip()) {
        let Ok(received) = timeout_at(until, proxy_protocol::receive(&mut tcp, settings.proxy_protocol)).await else {
            tally.count(Event::ProxyRefused);
            return None;
        };
        // A proxy that only looks whether we are there says nothing and is not counted.
        let Ok(header) = received.ok()? else {
            tally.count(Event::ProxyRefused);
            return None;
        };
        if let Some(source) = header.source {
            client = source;
            if !settings.trusts(client.ip()) && !permit.claim(client.ip(), limits) {
                tally.count(Event::AddressFull);
                return None;
            }
        }
    }

    let patience = WriteLimits { time: limits.write_time, rate: limits.write_rate };
    let socket = Socket::new(tcp, patience, tally.clone());
    let (transport, certificate) = match &live.tls {
        None => (Transport::Plain(socket), None),
        Some(acceptor) => handshake(acceptor, socket, until, tally).await?,
    };
    let connection = Connection::new(settings.clone(), peer, client, drain.clone()).showing(certificate);
    let connection = Arc::new(connection);
    Some(ClientStream::new(transport, connection, tally.clone(), refuse))
}

async fn handshake(
    acceptor: &Acceptor,
    socket: Socket,
    until: Instant,
    tally: &Tally,
) -> Option<(Transport, Option<ClientCertificate>)> {
    match timeout_at(until, acceptor.tls.accept(socket)).await {
        Ok(Ok(stream)) => {
            let certificate = acceptor.certificate(stream.get_ref().1);
            return Some((Transport::Tls(Box::new(stream)), certificate));
        }
        // Whoever only looks whether we are there is not counted.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        Ok(Err(_)) | Err(_) => tally.count(Event::TlsFailed),
    }
    None
}

/// Requests, one after another or, with HTTP/2, together.
async fn converse<A>(
    mut stream: Box<ClientStream>,
    settings: &ListenerSettings,
    tally: &Tally,
    app: Arc<A>,
    drain: &Drain,
) -> io::Result<()>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let limits = &settings.limits;
    let shutdown = drain.shutdown_watch();
    let leave = drain.closing();
    let notice = drain.notice();
    tokio::pin!(leave, notice);
    // Once a connection instead of once a request: this task is polled again when requests must say their last words.
    Drain::stir(notice.as_mut()).await;
    let mut alarm = Alarm::default();
    let mut carried: Option<HttpPersistentSettings> = None;
    let mut first = true;
    loop {
        let (patience, in_vain) =
            if first { (limits.header_time, Event::Silent) } else { (limits.keep_alive_idle, Event::Idle) };
        let bytes = match head::begin(&mut stream, patience, &mut alarm, leave.as_mut()).await? {
            Begun::Bytes(bytes) => bytes,
            Begun::Gone => return Ok(()),
            Begun::Leave => return stream.shutdown().await,
            Begun::Idle => {
                tally.count(in_vain);
                return stream.shutdown().await;
            }
        };
        // From its first byte on, a request is one that a stop waits for.
        let in_flight = drain.enter();

        let secure = settings.tls.is_some();
        let only_http2 = first && stream.chose_http2();
        let preface = first && settings.http2 && (only_http2 || !secure);
        let head = HeadLimits { time: limits.header_time, bytes: limits.head_read_max(), preface };
        let (bytes, head) = match head::finish(&mut stream, bytes, head, &mut alarm).await? {
            Received::Head(bytes, _) if first && !secure && proxy_protocol::is_header(&bytes) => {
                tally.count(Event::ProxyRefused);
                return Ok(());
            }
            Received::Head(bytes, head) if !only_http2 => (bytes, head),
            Received::Preface(bytes) => {
                drop(in_flight);
                stream.begin_http2(bytes, limits.streams_per_connection);
                // Pingora says GOAWAY when the watch it is given changes, so it must not have been seen to before.
                let shutdown = drain.shutdown_watch();
                Arc::new(Http2::new(app, drain.clone(), limits)).process_new(stream, &shutdown).await;
                return Ok(());
            }
            Received::TooSlow => {
                tally.count(Event::HeaderSlow);
                stream.refuse(&refusal::too_slow()).await;
                return Ok(());
            }
            Received::TooLarge => {
                tally.count(Event::HeaderLarge);
                stream.refuse(&refusal::too_large()).await;
                return Ok(());
            }
            Received::Head(..) | Received::Gone => return Ok(()),
        };

        let bytes = stream.begin_request(bytes, head);
        let mut session = ServerSession::new_http1(stream);
        if let Some(carried) = carried.take() {
            carried.apply_to_session(&mut session);
        }
        session.set_pipelined_prefix(bytes);
        let Some(reused) = app.process_new_http(session, &shutdown).await else { return Ok(()) };
        drain.kept();
        drop(in_flight);
        let (next, kept) = reused.consume();
        // What comes back is what was given.
        let Ok(same) = next.into_any().downcast() else { return Ok(()) };
        (stream, carried, first) = (same, kept, false);
        if !stream.end_request() {
            return stream.shutdown().await;
        }
    }
}
