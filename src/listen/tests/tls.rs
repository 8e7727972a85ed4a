//! TLS on the wire.

use super::*;
use crate::listen::tls::tests::Files;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, SignatureScheme};
use std::io;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Accepts any certificate, as long as its owner signs for it.
#[derive(Debug)]
pub(super) struct Trust(Arc<CryptoProvider>);

impl Trust {
    pub(super) fn anyone() -> Arc<Trust> {
        Arc::new(Trust(Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

pub(super) async fn connect(tcp: TcpStream, trust: Arc<Trust>, alpn: &[&str]) -> io::Result<TlsStream<TcpStream>> {
    connect_as(tcp, trust, alpn, None).await
}

pub(super) async fn connect_as(
    tcp: TcpStream,
    trust: Arc<Trust>,
    alpn: &[&str],
    shown: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> io::Result<TlsStream<TcpStream>> {
    let config = ClientConfig::builder_with_provider(trust.0.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(trust);
    let mut config = match shown {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

fn secure(files: &Files) -> House {
    house(|settings| settings.tls = Some(files.tls.clone()))
}

#[tokio::test]
async fn requests_come_within_tls_one_after_another() {
    let house = secure(&Files::new("localhost"));
    for alpn in [&["http/1.1"][..], &[]] {
        let mut stream = connect(house.connect().await, Trust::anyone(), alpn).await.unwrap();
        for _ in 0..2 {
            let facts = ask(&mut stream, &get("/facts")).await;
            assert_eq!(facts.body, "main peer=127.0.0.1 client=127.0.0.1 trusted=false tls=true HTTP/1.1");
        }
        let long = format!("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(300_000));
        assert_eq!(ask(&mut stream, &long).await.body, "300000");
    }
}

#[tokio::test]
async fn key_exchange_withstands_quantum_computers() {
    let house = secure(&Files::new("localhost"));
    let stream = connect(house.connect().await, Trust::anyone(), &[]).await.unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn http2_is_offered_only_where_it_is_spoken() {
    let files = Files::new("localhost");
    let both = ["h2", "http/1.1"];
    let chosen = |stream: &TlsStream<TcpStream>| stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let house = secure(&files);
    let stream = connect(house.connect().await, Trust::anyone(), &both).await.unwrap();
    assert_eq!(chosen(&stream).as_deref(), Some(&b"h2"[..]));

    let mut settings = (*house.listener.settings()).clone();
    settings.http2 = false;
    house.listener.prepare(settings, Certificate::Read).unwrap().apply();
    let stream = connect(house.connect().await, Trust::anyone(), &both).await.unwrap();
    assert_eq!(chosen(&stream).as_deref(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_the_next_handshake_on() {
    let files = Files::new("localhost");
    let house = secure(&files);
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let mut before = connect(house.connect().await, Trust::anyone(), &[]).await.unwrap();
    let old = shown(&before);
    let new = files.write("localhost");
    assert_ne!(old, new);
    house.listener.prepare((*house.listener.settings()).clone(), Certificate::Read).unwrap().apply();
    let mut after = connect(house.connect().await, Trust::anyone(), &[]).await.unwrap();
    assert_eq!(shown(&after), new);
    for stream in [&mut before, &mut after] {
        assert_eq!(ask(stream, &get("/")).await.status(), "200", "no connection is harmed");
    }
}

#[tokio::test]
async fn a_handshake_has_a_deadline() {
    let files = Files::new("localhost");
    let house = house(|settings| {
        settings.tls = Some(files.tls.clone());
        settings.limits.header_time = SHORT;
    });
    let began = Instant::now();
    assert_eq!(rest(&mut house.connect().await).await, b"");
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG / 2);
    assert_eq!(house.counted(Event::TlsFailed), 1);
}

#[tokio::test]
async fn what_is_no_tls_is_refused() {
    let house = secure(&Files::new("localhost"));
    let mut stream = house.connect().await;
    stream.write_all(get("/").as_bytes()).await.unwrap();
    rest(&mut stream).await;
    assert_eq!((house.counted(Event::TlsFailed), house.requests()), (1, 0));
}

#[tokio::test]
async fn after_the_handshake_silence_and_idleness_have_their_deadlines() {
    let files = Files::new("localhost");
    let house = house(|settings| {
        settings.tls = Some(files.tls.clone());
        settings.limits.keep_alive_idle = SHORT;
        // Handshakes without optimisation take their time.
        settings.limits.header_time = SHORT * 5;
    });
    for alpn in ["http/1.1", "h2"] {
        let mut stream = connect(house.connect().await, Trust::anyone(), &[alpn]).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"", "{alpn}");
    }
    assert_eq!(house.counted(Event::Silent), 2);
    let mut stream = connect(house.connect().await, Trust::anyone(), &[]).await.unwrap();
    assert_eq!(ask(&mut stream, &get("/")).await.status(), "200");
    assert_eq!(rest(&mut stream).await, b"");
    assert_eq!((house.counted(Event::Silent), house.counted(Event::Idle)), (2, 1));
}

#[tokio::test]
async fn who_settled_on_http2_must_speak_it() {
    let house = secure(&Files::new("localhost"));
    let mut stream = connect(house.connect().await, Trust::anyone(), &["h2"]).await.unwrap();
    stream.write_all(get("/").as_bytes()).await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");
    assert_eq!(house.requests(), 0);
}
