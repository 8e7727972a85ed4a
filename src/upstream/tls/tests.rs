//! With certificates made for each test, against servers on real sockets.

use super::*;
use crate::upstream::fault::FaultKind;
use crate::upstream::settings::{EndpointSettings, TlsIdentity};
use crate::upstream::testing::{Client, at, json, receive, say, serve};
use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::net::SocketAddr;

fn refused(settings: &TlsSettings, host: &str) -> String {
    build(settings, host, Http2::Auto, &SystemRoots::default()).expect_err("must be refused").to_string()
}

#[test]
fn a_name_that_cannot_be_verified_is_refused() {
    let ca = rcgen::generate_simple_self_signed(["a".into()]).expect("a certificate").cert.pem();
    let with =
        |name: &str| TlsSettings { ca: Some(ca.clone().into()), server_name: Some(name.to_owned()), identity: None };
    assert!(refused(&with(""), "host").contains("verified"));
    assert!(refused(&with("not a name"), "host").contains("verified"));
    assert!(build(&with("127.0.0.1"), "host", Http2::Auto, &SystemRoots::default()).is_ok());
}

#[test]
fn unusable_pem_says_which_key_it_stands_under() {
    let ca = TlsSettings { ca: Some(Bytes::from_static(b"hello")), ..TlsSettings::default() };
    assert!(refused(&ca, "host").contains("tls.ca"));
    let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let ca = TlsSettings { ca: Some(Bytes::from_static(garbage)), ..TlsSettings::default() };
    assert!(refused(&ca, "host").contains("tls.ca"));
}

/// A certificate authority and what it issued.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: Bytes,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem().into();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, name: &str) -> (Bytes, Bytes) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem().into(), key.serialize_pem().into())
    }
}

/// A TLS server that answers with the protocol it negotiated; it may ask for a certificate of `clients`.
async fn server(authority: &Authority, name: &str, alpn: &[&[u8]], clients: Option<&Authority>) -> SocketAddr {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (certificate, key) = authority.issue(name);
    let chain = certificates(&certificate, Setting::Certificate).expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(&key).expect("a key");
    let builder = rustls::ServerConfig::builder();
    let builder = match clients {
        Some(clients) => {
            let roots = Arc::new(trusted(&clients.pem).expect("roots"));
            let verifier = rustls::server::WebPkiClientVerifier::builder(roots).build().expect("a verifier");
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).expect("a configuration");
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = pingora_core::tls::TlsAcceptor::from(Arc::new(config));
    serve(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let mut connection = h2::server::handshake(stream).await.expect("a handshake");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut body = respond.send_response(http::Response::new(()), false).expect("open");
                    body.send_data(Bytes::from("h2"), true).expect("open");
                }
                return;
            }
            while receive(&mut stream).await.is_some() {
                say(&mut stream, json("h1")).await;
            }
        }
    })
    .await
}

fn client(address: SocketAddr, http2: Http2, tls: TlsSettings) -> Client {
    let url = format!("https://localhost:{}/mcp", address.port());
    Client::with(EndpointSettings { http2, tls, ..at(url) })
}

fn trusting(authority: &Authority) -> TlsSettings {
    TlsSettings { ca: Some(authority.pem.clone()), ..TlsSettings::default() }
}

#[tokio::test]
async fn alpn_decides_between_http_versions() {
    let authority = Authority::new();
    let both = server(&authority, "localhost", &[b"h2", b"http/1.1"], None).await;
    let old = server(&authority, "localhost", &[b"http/1.1"], None).await;
    let bare = server(&authority, "localhost", &[], None).await;
    for (address, http2, expected) in [
        (both, Http2::Auto, "h2"),
        (both, Http2::Always, "h2"),
        (both, Http2::Never, "h1"),
        (old, Http2::Auto, "h1"),
        (bare, Http2::Auto, "h1"),
        (bare, Http2::Never, "h1"),
    ] {
        let client = client(address, http2, trusting(&authority));
        for _ in 0..3 {
            assert_eq!(client.call("{}").await.expect("an answer").1, expected, "{http2:?}");
        }
        assert_eq!(client.endpoint.idle.len() + client.endpoint.shared.len(), 1, "one connection is enough");
    }
    for address in [old, bare] {
        let fault = client(address, Http2::Always, trusting(&authority)).call("{}").await.expect_err("no HTTP/2");
        assert!(fault.provably_not_run);
    }
}

#[tokio::test]
async fn a_burst_makes_one_connection_where_one_is_enough() {
    let authority = Authority::new();
    let address = server(&authority, "localhost", &[b"h2", b"http/1.1"], None).await;
    let client = Arc::new(client(address, Http2::Auto, trusting(&authority)));
    let burst: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call("{}").await })
        })
        .collect();
    for call in burst {
        assert_eq!(call.await.expect("no panic").expect("an answer").1, "h2");
    }
    assert_eq!(client.endpoint.shared.len(), 1);
}

#[tokio::test]
async fn certificates_are_always_verified() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let address = server(&authority, "localhost", &[], None).await;
    let fault = client(address, Http2::Auto, trusting(&stranger)).call("{}").await.expect_err("untrusted");
    assert_eq!((fault.kind, fault.provably_not_run), (FaultKind::Tls, true));

    let misnamed = TlsSettings { server_name: Some("other.example".into()), ..trusting(&authority) };
    let fault = client(address, Http2::Auto, misnamed).call("{}").await.expect_err("another name");
    assert_eq!(fault.kind, FaultKind::Tls);

    let named = server(&authority, "other.example", &[], None).await;
    let matching = TlsSettings { server_name: Some("other.example".into()), ..trusting(&authority) };
    assert!(client(named, Http2::Auto, matching).call("{}").await.is_ok());

    let by_ip = server(&authority, "127.0.0.1", &[], None).await;
    let url = format!("https://{by_ip}/mcp");
    let by_ip = Client::with(EndpointSettings { tls: trusting(&authority), ..at(url) });
    assert!(by_ip.call("{}").await.is_ok());
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let address = server(&authority, "localhost", &[b"http/1.1"], Some(&clients)).await;
    let (certificate, key) = clients.issue("gateway");
    let identity = Some(TlsIdentity { certificate, key });
    let known = TlsSettings { identity, ..trusting(&authority) };
    assert!(client(address, Http2::Auto, known).call("{}").await.is_ok());
    assert!(client(address, Http2::Auto, trusting(&authority)).call("{}").await.is_err());
}

#[tokio::test]
async fn an_answer_that_tls_did_not_end_is_cut() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("localhost");
    let chain = certificates(&certificate, Setting::Certificate).expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(&key).expect("a key");
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("usable");
    let acceptor = pingora_core::tls::TlsAcceptor::from(Arc::new(config));
    let address = serve(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            receive(&mut stream).await;
            say(&mut stream, "HTTP/1.1 200 OK\r\n\r\nhalf of it").await;
            // No close_notify: as when somebody on the way ends the connection.
        }
    })
    .await;
    let fault = client(address, Http2::Auto, trusting(&authority)).call("{}").await.expect_err("cut");
    assert_eq!(fault.kind, FaultKind::Cut);
}
