//! A scripted TLS server and a resolver, for tests of whatever fetches.

use super::{Bounds, Client, Egress, Looking, Lookup, Rules, Trust};
use bytes::Bytes;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What a server says to the request line and header that it got; what it leaves open it closes.
type Script = dyn Fn(&str) -> Vec<u8> + Send + Sync;

/// A server on 127.0.0.1 whose certificate is for `localhost`, `*.example` and `127.0.0.1`. Stops when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) ca: Bytes,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Over TLS.
    pub(crate) async fn tls(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Server {
        let names = ["localhost", "idp.example", "other.example", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair");
        Server::start(Some(TlsAcceptor::from(Arc::new(config))), certificate.into(), Arc::new(script)).await
    }

    /// In the clear.
    pub(crate) async fn plain(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Server {
        Server::start(None, Bytes::new(), Arc::new(script)).await
    }

    async fn start(tls: Option<TlsAcceptor>, ca: Bytes, script: Arc<Script>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, script, noted) = (tls.clone(), Arc::clone(&script), Arc::clone(&noted));
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &*script, &noted).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &*script, &noted).await;
                            }
                        }
                    }
                });
            }
        });
        Server { address, ca, seen, task }
    }

    /// A URL of it under a host name.
    pub(crate) fn url(&self, scheme: &str, host: &str, path: &str) -> url::Url {
        url::Url::parse(&format!("{scheme}://{host}:{}{path}", self.address.port())).expect("a URL")
    }

    /// Everything that was requested so far, header and body.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().clone()
    }

    /// A client that trusts it.
    pub(crate) fn client(&self, rules: Rules, lookup: Lookup) -> Client {
        let trust = Trust { ca: Some(self.ca.clone()).filter(|ca| !ca.is_empty()), identity: None };
        Egress::looking_up(rules, lookup).client(&trust, Bounds::default()).expect("a client")
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, script: &Script, seen: &Mutex<Vec<String>>) {
    let mut wire = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&wire).into_owned();
        let whole = text.split_once("\r\n\r\n").filter(|(head, body)| {
            let length = |line: &str| line.strip_prefix("content-length: ").and_then(|length| length.parse().ok());
            body.len() >= head.to_ascii_lowercase().lines().find_map(length).unwrap_or(0)
        });
        if whole.is_some() {
            seen.lock().push(text.clone());
            let answer = script(&text);
            let _ = stream.write_all(&answer).await;
            // An empty answer is silence until the client goes.
            if answer.is_empty() {
                let _ = stream.read_to_end(&mut wire).await;
            }
            let _ = stream.shutdown().await;
            return;
        }
        if stream.read_buf(&mut wire).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

/// An answer with a length.
pub(crate) fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{fields}\r\n{body}").into_bytes()
}

/// A JSON answer.
pub(crate) fn json(body: &str) -> Vec<u8> {
    answer("200 OK", "content-type: application/json\r\n", body)
}

/// A lookup that gives these answers to whatever is asked, one after the other, the last one for ever; and how often it was
/// asked.
pub(crate) fn scripted(answers: &[&[&str]]) -> (Lookup, Arc<AtomicUsize>) {
    let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().expect("an address")).collect();
    let answers: Vec<Vec<IpAddr>> = answers.iter().map(parse).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |_| -> Looking {
        let at = counted.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let answer = answers[at].clone();
        Box::pin(async move { if answer.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(answer) } })
    });
    (lookup, asked)
}

/// A lookup that always leads to this machine.
pub(crate) fn here() -> Lookup {
    scripted(&[&["127.0.0.1"]]).0
}

/// Rules under which learned URLs may lead to this machine.
pub(crate) fn allowing_here() -> Rules {
    Rules::new(["127.0.0.1/32".parse().expect("a network")], [])
}
