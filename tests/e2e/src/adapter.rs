//! Lets a client that speaks only HTTP/1.1 reach the gateway by HTTP/2 or TLS: it accepts HTTP/1.1 on loopback and
//! passes each request on, streaming both bodies and passing on that a client went away.

use crate::mcp::install_crypto;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme, Uri};
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::server::conn::http1 as serving;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

type Sender = http2::SendRequest<Incoming>;
type Failure = Box<dyn Error + Send + Sync>;

/// How the adapter talks to the gateway.
#[derive(Clone)]
pub enum Speak {
    /// HTTP/2 with prior knowledge, all requests on one connection.
    H2c,
    /// HTTP/2 by ALPN, all requests on one connection, trusting this authority.
    H2(Arc<rustls::ClientConfig>),
    /// HTTP/1.1 under TLS, a connection a request.
    Https(Arc<rustls::ClientConfig>),
}

pub struct Adapter {
    address: String,
    task: JoinHandle<()>,
}

impl Drop for Adapter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Target {
    address: String,
    speak: Speak,
    shared: Mutex<Option<Sender>>,
}

/// A TLS client that trusts one authority and offers `alpn`.
pub fn trusting(authority: &Path, alpn: &[u8]) -> Arc<rustls::ClientConfig> {
    install_crypto();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("a certificate")).expect("an authority");
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

impl Adapter {
    pub async fn start(target: &str, speak: Speak) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let target = Arc::new(Target { address: target.to_owned(), speak, shared: Mutex::default() });
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let target = target.clone();
                let service = service_fn(move |request| {
                    let target = target.clone();
                    async move { Ok::<_, Failure>(target.pass(request).await.unwrap_or_else(|error| refusal(&error))) }
                });
                tokio::spawn(serving::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn refusal(error: &Failure) -> Response<BoxBody<Bytes, hyper::Error>> {
    let body = Full::new(Bytes::from(format!("adapter: {error}"))).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

impl Target {
    async fn pass(&self, mut request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Failure> {
        for name in [CONNECTION, TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
            request.headers_mut().remove(name);
        }
        let response = match &self.speak {
            Speak::H2c | Speak::H2(_) => {
                let host = request.headers_mut().remove(HOST).ok_or("no Host")?;
                let mut parts = request.uri().clone().into_parts();
                parts.authority = Some(Authority::try_from(host.as_bytes())?);
                parts.scheme = Some(if matches!(self.speak, Speak::H2c) { Scheme::HTTP } else { Scheme::HTTPS });
                *request.uri_mut() = Uri::from_parts(parts)?;
                *request.version_mut() = http::Version::HTTP_2;
                self.h2().await?.send_request(request).await?
            }
            Speak::Https(config) => {
                let stream = self.tls(config).await?;
                let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender.send_request(request).await?
            }
        };
        let (mut parts, body) = response.into_parts();
        parts.version = http::Version::HTTP_11;
        Ok(Response::from_parts(parts, body.boxed()))
    }

    /// The shared connection, opened anew when the old one has closed.
    async fn h2(&self) -> Result<Sender, Failure> {
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let sender = match &self.speak {
            Speak::H2(config) => handshake(self.tls(config).await?).await?,
            _ => handshake(TcpStream::connect(&self.address).await?).await?,
        };
        *shared = Some(sender.clone());
        Ok(sender)
    }

    async fn tls(
        &self,
        config: &Arc<rustls::ClientConfig>,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, Failure> {
        let stream = TcpStream::connect(&self.address).await?;
        Ok(TlsConnector::from(config.clone()).connect(ServerName::try_from("localhost")?, stream).await?)
    }
}

async fn handshake<S>(stream: S) -> Result<Sender, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
