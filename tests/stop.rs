//! A stop by signal, of a whole Pingora server. One test, because signals reach the whole process.

use async_trait::async_trait;
use lockgate::drain::{Drain, DrainSettings, StopSignals};
use lockgate::listen::{Admission, BoundListener, Connection, ListenService, ListenerSettings, Refuse, Worded};
use lockgate_filters::fault::Refusal;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{ExecutionPhase, RunArgs, Server};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::ResponseHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Answers when it is let.
struct Gateway {
    drain: Drain,
    asked: mpsc::SyncSender<()>,
    gate: Arc<Notify>,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> pingora_core::Result<bool> {
        Connection::of(session).expect("a connection of ours").claim();
        self.asked.send(()).expect("the test listens");
        self.gate.notified().await;
        let mut header = ResponseHeader::build(200, None)?;
        header.insert_header("content-length", "0")?;
        if self.drain.is_draining() {
            session.set_keepalive(None);
        }
        session.write_response_header(Box::new(header), true).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> pingora_core::Result<Box<HttpPeer>> {
        unreachable!("everything is answered here")
    }
}

/// Nothing is refused here.
struct Nobody;

impl Refuse for Nobody {
    fn refuse(&self, _connection: &Connection, refusal: &Refusal) -> Worded {
        panic!("refused: {refusal:?}");
    }
}

struct Running {
    address: SocketAddr,
    drain: Drain,
    gate: Arc<Notify>,
    asked: mpsc::Receiver<()>,
    server: thread::JoinHandle<()>,
}

/// Assembles and runs a server as the gateway does.
fn run() -> Running {
    let (drain, gate) = (Drain::new(), Arc::new(Notify::new()));
    let (asking, asked) = mpsc::sync_channel(1);
    let settings = ListenerSettings::new("main", SocketAddr::from(([127, 0, 0, 1], 0)));
    let bound = BoundListener::bind(settings, Admission::new()).unwrap();
    let address = bound.address();
    let mut conf = ServerConf::default();
    (conf.grace_period_seconds, conf.graceful_shutdown_timeout_seconds) = (Some(0), Some(1));
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let mut phase = server.watch_execution_phase();
    let app = http_proxy(&server.configuration, Gateway { drain: drain.clone(), asked: asking, gate: gate.clone() });
    let service = ListenService::new(Arc::new(app), Arc::new(Nobody), vec![bound], drain.clone());
    server.add_service(service.with_threads(2));
    let settings = || DrainSettings { time: Duration::from_secs(60), idle: Duration::from_secs(60) };
    let stop = StopSignals::new(drain.clone(), settings);
    let server = thread::spawn(move || server.run(RunArgs { shutdown_signal: Box::new(stop) }));
    while !matches!(phase.blocking_recv(), Ok(ExecutionPhase::Running)) {}
    Running { address, drain, gate, asked, server }
}

impl Running {
    /// Asks, and comes back when the request has reached the gateway.
    fn ask(&self) -> TcpStream {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        self.asked.recv().unwrap();
        client
    }

    fn wait_until_draining(&self) {
        while !self.drain.is_draining() {
            thread::yield_now();
        }
    }
}

fn send(signal: &str) {
    assert!(Command::new("kill").args([signal, &std::process::id().to_string()]).status().unwrap().success());
}

#[test]
fn signals_stop_the_server() {
    // What is in flight is finished, and the process ends without waiting for anything else.
    let server = run();
    let mut client = server.ask();
    let began = Instant::now();
    send("-INT");
    server.wait_until_draining();
    server.gate.notify_one();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("close"), "{answer}");
    drop(client);
    server.server.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20));

    // A second signal does not wait for what is in flight either.
    let server = run();
    let mut client = server.ask();
    let began = Instant::now();
    send("-TERM");
    server.wait_until_draining();
    send("-TERM");
    server.server.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20));
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(answer.is_empty());
}
