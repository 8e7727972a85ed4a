//! The accept loop, and the Pingora service that runs it for all listeners.

use super::connection::canonical;
use super::listener::{BoundListener, Listener};
use super::refusal::Refuse;
use super::serve::{Arrival, serve};
use super::tally::Event;
use crate::drain::Drain;
use async_trait::async_trait;
use pingora_core::apps::HttpServerApp;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The first pause after a connection could not be accepted; it doubles with each further failure in a row.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a handshake that has begun may take when we stop accepting.
const ARRIVAL: Duration = Duration::from_millis(200);

/// All listeners of the process with the application behind them, as one Pingora service on one runtime.
pub struct ListenService<A> {
    listeners: Vec<BoundListener>,
    behind: Behind<A>,
    threads: Option<usize>,
    beside: Vec<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

/// What stands behind all listeners.
struct Behind<A> {
    app: Arc<A>,
    refuse: Arc<dyn Refuse>,
    drain: Drain,
}

impl<A> Clone for Behind<A> {
    fn clone(&self) -> Behind<A> {
        Behind { app: self.app.clone(), refuse: self.refuse.clone(), drain: self.drain.clone() }
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> ListenService<A> {
    /// Ready to be added to a Pingora server, or to be [run](ListenService::run) by itself. `app` must
    /// [claim](super::Connection::claim) each request; `refuse` answers those that do not get as far.
    pub fn new(app: Arc<A>, refuse: Arc<dyn Refuse>, listeners: Vec<BoundListener>, drain: Drain) -> ListenService<A> {
        ListenService { listeners, behind: Behind { app, refuse, drain }, threads: None, beside: Vec::new() }
    }

    /// How many worker threads serve the connections; else Pingora's configuration says it.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> ListenService<A> {
        self.threads = Some(threads);
        self
    }

    /// Runs this too, on the same runtime. It is waited for, so the drain has to end it.
    #[must_use]
    pub fn beside(mut self, work: impl Future<Output = ()> + Send + Sync + 'static) -> ListenService<A> {
        self.beside.push(Box::pin(work));
        self
    }

    /// Accepts until the drain begins, then waits until the last connection is gone. Pingora's `shutdown` begins and ends
    /// the drain if nobody else did.
    pub async fn run(&mut self, mut shutdown: ShutdownWatch) {
        let mut loops = JoinSet::new();
        for bound in self.listeners.drain(..) {
            loops.spawn(accept(bound, self.behind.clone()));
        }
        for work in self.beside.drain(..) {
            loops.spawn(work);
        }
        let finished = async {
            while loops.join_next().await.is_some() {}
            self.behind.drain.no_connections().await;
        };
        let stopped = async {
            if shutdown.wait_for(|stopping| *stopping).await.is_err() {
                // Nobody is left who could say it.
                pending::<()>().await;
            }
        };
        tokio::pin!(finished);
        tokio::select! {
            () = &mut finished => {}
            () = stopped => {
                self.behind.drain.close();
                finished.await;
            }
        }
        self.behind.app.http_cleanup().await;
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> Service for ListenService<A> {
    async fn start_service(&mut self, _fds: Option<ListenFds>, shutdown: ShutdownWatch, _listeners_per_fd: usize) {
        self.run(shutdown).await;
    }

    fn name(&self) -> &str {
        "listeners"
    }

    fn threads(&self) -> Option<usize> {
        self.threads
    }
}

async fn accept<A: HttpServerApp + Send + Sync + 'static>(bound: BoundListener, behind: Behind<A>) {
    let BoundListener { socket, listener } = bound;
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(listener = listener.name(), %error, "the listening socket cannot be used");
            return;
        }
    };
    let _door = behind.drain.opened_door();
    let draining = behind.drain.draining();
    tokio::pin!(draining);
    let mut failures = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut draining => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                failures = 0;
                welcome(tcp, peer, &listener, &behind);
            }
            Err(error) => {
                listener.tally().count(Event::AcceptFailed);
                if let Some(pause) = pause_after(&error, failures) {
                    if failures == 0 {
                        tracing::warn!(listener = listener.name(), %error, "connections cannot be accepted");
                    }
                    failures += 1;
                    tokio::select! {
                        () = &mut draining => break,
                        () = sleep(pause) => {}
                    }
                }
            }
        }
    }
    // Closing the socket resets connections that the kernel has taken for us but we have not. So it takes no more, those
    // that are under way arrive, and only then is it closed.
    refuse_handshakes(&socket);
    let arrived = sleep(ARRIVAL);
    tokio::pin!(arrived);
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            () = &mut arrived => break,
        };
        let Ok((tcp, peer)) = accepted else { break };
        welcome(tcp, peer, &listener, &behind);
    }
}

/// Lets the kernel ignore new clients of a listening socket, while handshakes that have begun go on. A client tries
/// again after a second, and is refused or finds our successor.
fn refuse_handshakes(socket: &TcpListener) {
    #[cfg(target_os = "linux")]
    {
        use socket2::{SockFilter, SockRef};
        /// Where a TCP header has its flags, and the two that tell a first packet.
        const FLAGS: u32 = 13;
        const SYN: u32 = 0x02;
        const ACK: u32 = 0x10;
        let filter = [
            SockFilter::new(0x30, 0, 0, FLAGS),     // load the byte with the flags
            SockFilter::new(0x54, 0, 0, SYN | ACK), // keep these two
            SockFilter::new(0x15, 0, 1, SYN),       // only SYN?
            SockFilter::new(0x06, 0, 0, 0),         // then drop it
            SockFilter::new(0x06, 0, 0, u32::MAX),  // else take all of it
        ];
        // Where the system does not know filters, a client may be reset at the door.
        let _ = SockRef::from(socket).attach_filter(&filter);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// Serves a connection if there is room for it, and closes it at once if not: nobody else shall wait for it.
fn welcome<A: HttpServerApp + Send + Sync + 'static>(
    tcp: TcpStream,
    peer: SocketAddr,
    listener: &Arc<Listener>,
    behind: &Behind<A>,
) {
    let live = listener.live();
    let peer = canonical(peer);
    let limits = &live.settings.limits;
    let full = match listener.admission().admit(limits) {
        None => Event::ConnectionsFull,
        Some(mut permit) => {
            // A proxy's connections belong to its clients, whom it names later or not at all.
            if live.settings.trusts(peer.ip()) || permit.claim(peer.ip(), limits) {
                listener.tally().count(Event::Accepted);
                let Behind { app, refuse, drain } = behind.clone();
                let open = (drain.connected(), listener.tally().opened());
                let arrival = Arrival { tcp, peer, permit, live, tally: listener.tally().clone(), refuse, open };
                tokio::spawn(serve(arrival, app, drain));
                return;
            }
            Event::AddressFull
        }
    };
    listener.tally().count(full);
    // Without this, each refused connection would stay in the kernel's tables for a minute.
    let _ = tcp.set_zero_linger();
}

/// How long to wait after a connection could not be accepted: not at all if only that connection was concerned, longer
/// and longer if the process has run out of something.
fn pause_after(error: &io::Error, failures: u32) -> Option<Duration> {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return None;
    }
    Some(PAUSE.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::{Admission, Connection, ListenerSettings, Worded};
    use lockgate_filters::fault::Refusal;
    use pingora_core::apps::ReusedHttpStream;
    use pingora_core::protocols::http::ServerSession;

    #[test]
    fn running_out_of_descriptors_slows_accepting_down_but_a_lost_connection_does_not() {
        const EMFILE: i32 = 24;
        let out_of_files = io::Error::from_raw_os_error(EMFILE);
        assert_eq!(pause_after(&out_of_files, 0), Some(PAUSE));
        assert_eq!(pause_after(&out_of_files, 3), Some(PAUSE * 8));
        assert_eq!(pause_after(&out_of_files, u32::MAX), Some(PAUSE_MAX));
        assert_eq!(pause_after(&io::ErrorKind::ConnectionAborted.into(), 5), None);
    }

    /// Is never asked anything.
    struct Nobody;

    impl Refuse for Nobody {
        fn refuse(&self, _connection: &Connection, _refusal: &Refusal) -> Worded {
            unreachable!("nothing is read")
        }
    }

    #[async_trait]
    impl HttpServerApp for Nobody {
        async fn process_new_http(
            self: &Arc<Self>,
            _session: ServerSession,
            _shutdown: &ShutdownWatch,
        ) -> Option<ReusedHttpStream> {
            None
        }
    }

    #[tokio::test]
    async fn a_stop_knows_of_a_connection_before_its_task_has_run() {
        let settings = ListenerSettings::new("main", SocketAddr::from(([127, 0, 0, 1], 0)));
        let bound = BoundListener::bind(settings, Admission::new()).unwrap();
        let (address, listener, drain) = (bound.address(), bound.handle(), Drain::new());
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (tcp, peer) = TcpListener::from_std(bound.socket).unwrap().accept().await.unwrap();
        let behind = Behind { app: Arc::new(Nobody), refuse: Arc::new(Nobody), drain: drain.clone() };
        welcome(tcp, peer, &listener, &behind);
        assert_eq!((drain.connections(), listener.tally().open()), (1, 1));
    }
}
