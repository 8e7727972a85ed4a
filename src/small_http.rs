//! A small, bounded HTTP/1.1 server for listeners that carry no client traffic: the operator's and the demo server's.
//!
//! Connections, header size, header time and the life of a connection are bounded here; how long a request may take is
//! the router's business, because an event stream may take as long as it likes. A silent or slow client costs one of
//! [`Bounds::connections`] for at most [`Bounds::header_time`].

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long accepting pauses after it failed, which it does when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Header fields in a request.
const HEADER_FIELDS_MAX: usize = 64;

/// What a client may use.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections; those beyond are closed at once.
    pub connections: usize,
    /// From the start of a connection, or the end of an answer, to the end of the next request's header.
    pub header_time: Duration,
    /// Bytes of a request's header; at least 8192.
    pub header_bytes: usize,
    /// The life of a connection: after it no further request is taken.
    pub connection_time: Duration,
    /// How long requests may go on after the end of their connection's life or of the server.
    pub drain_time: Duration,
}

/// Serves `router` on `listener` until `shutdown`, then at most [`Bounds::drain_time`] longer.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds, shutdown: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(bounds.connections));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match Arc::clone(&slots).try_acquire_owned() {
                    Ok(slot) => {
                        let connection = connection(stream, router.clone(), bounds, stopped.clone());
                        connections.spawn(async move {
                            connection.await;
                            drop(slot);
                        });
                    }
                    Err(_) => tracing::debug!(%peer, "connection closed: there are too many"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let _ = stop.send(true);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, bounds: Bounds, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.header_time)
            .max_buf_size(bounds.header_bytes)
            .max_headers(HEADER_FIELDS_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopped.wait_for(|stopped| *stopped) => None,
        () = sleep(bounds.connection_time) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(bounds.drain_time, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};

    const BOUNDS: Bounds = Bounds {
        connections: 2,
        header_time: Duration::from_millis(200),
        header_bytes: 8192,
        connection_time: Duration::from_secs(60),
        drain_time: Duration::from_millis(200),
    };

    async fn start(bounds: Bounds, router: Router) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, router, bounds, async move { drop(stopped.await) }));
        (address, stop, server)
    }

    fn hello() -> Router {
        Router::new().route("/", get(async || "hello"))
    }

    /// Writes, then reads until the server closes.
    async fn talk(address: SocketAddr, request: &[u8]) -> String {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A reset counts as closed.
        let _ = timeout(Duration::from_secs(10), client.read_to_end(&mut answer)).await.expect("not closed in time");
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn silent_and_slow_clients_are_let_go() {
        let (address, _stop, _server) = start(BOUNDS, hello()).await;
        assert_eq!(talk(address, b"").await, "");
        assert!(!talk(address, b"GET / HTTP/1.1\r\nHost: x\r\n").await.contains("200"));
        let kept_alive = talk(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(kept_alive.starts_with("HTTP/1.1 200"), "{kept_alive}");
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_closed_at_once() {
        let (address, _stop, _server) = start(Bounds { header_time: Duration::from_secs(60), ..BOUNDS }, hello()).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            client.read_u8().await.unwrap();
            held.push(client);
        }
        assert_eq!(talk(address, b"").await, "");
    }

    #[tokio::test]
    async fn endless_headers_are_refused() {
        let (address, _stop, _server) = start(BOUNDS, hello()).await;
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(20_000));
        assert!(talk(address, long.as_bytes()).await.starts_with("HTTP/1.1 431"));
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(HEADER_FIELDS_MAX));
        assert!(talk(address, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    }

    #[tokio::test]
    async fn a_connection_does_not_live_for_ever() {
        let bounds = Bounds { header_time: Duration::from_secs(60), connection_time: Duration::ZERO, ..BOUNDS };
        let (address, _stop, _server) = start(bounds, hello()).await;
        assert_eq!(talk(address, b"").await, "");
    }

    #[tokio::test]
    async fn stopping_waits_for_a_request_but_not_for_ever() {
        let entered = Arc::new(Notify::new());
        let notify = Arc::clone(&entered);
        let never = async move || {
            notify.notify_one();
            std::future::pending::<()>().await
        };
        let (address, stop, server) = start(BOUNDS, Router::new().route("/", get(never))).await;
        let client = tokio::spawn(async move { talk(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await });
        entered.notified().await;
        stop.send(()).unwrap();
        timeout(Duration::from_secs(10), server).await.expect("the server did not stop").unwrap();
        assert_eq!(client.await.unwrap(), "");
        assert!(TcpStream::connect(address).await.is_err());
    }
}
