//! Client certificates on the wire.

use super::tls::{Trust, connect_as};
use super::*;
use crate::listen::tls::tests::Files;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::PathBuf;
use tokio_rustls::client::TlsStream;

/// Somebody who vouches for clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a client shows.
type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn client(&self) -> Shown {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["agent.example".to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}

/// A listener whose clients are vouched for.
struct Vouched {
    house: House,
    ca: PathBuf,
    _files: Files,
    _directory: tempfile::TempDir,
}

impl Vouched {
    fn by(authority: &Authority, required: bool) -> Vouched {
        let (files, directory) = (Files::new("localhost"), tempfile::tempdir().unwrap());
        let ca = directory.path().join("clients.pem");
        std::fs::write(&ca, authority.0.pem()).unwrap();
        let clients = Some(ClientTls { ca: ca.clone(), required });
        let tls = TlsFiles { clients, ..files.tls.clone() };
        Vouched { house: house(|settings| settings.tls = Some(tls)), ca, _files: files, _directory: directory }
    }

    async fn connect(&self, shown: Option<&Shown>) -> io::Result<TlsStream<TcpStream>> {
        let shown = shown.map(|(certificate, key)| (certificate.clone(), key.clone_key()));
        connect_as(self.house.connect().await, Trust::anyone(), &[], shown).await
    }

    /// What the gateway sees of a client's certificate; nothing where it does not get that far.
    async fn seen(&self, shown: Option<&Shown>) -> Option<String> {
        let mut stream = self.connect(shown).await.ok()?;
        // With TLS 1.3 a client learns only afterwards that it is turned away.
        stream.write_all(get("/certificate").as_bytes()).await.ok()?;
        let mut first = [0];
        stream.read_exact(&mut first).await.ok()?;
        let rest = answer(&mut stream).await;
        Some(rest.body)
    }
}

fn hex((certificate, _): &Shown) -> String {
    format!("{:x?}", &certificate[..])
}

#[tokio::test]
async fn a_certificate_counts_that_somebody_vouches_for() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (client, strange) = (authority.client(), stranger.client());
    let optional = Vouched::by(&authority, false);
    assert_eq!(optional.seen(Some(&client)).await, Some(hex(&client)));
    assert_eq!(optional.seen(None).await.as_deref(), Some("none"));
    assert_eq!(optional.seen(Some(&strange)).await, None);
    let required = Vouched::by(&authority, true);
    assert_eq!(required.seen(Some(&client)).await, Some(hex(&client)));
    assert_eq!(required.seen(None).await, None);
    assert_eq!(required.house.requests(), 1);
}

#[tokio::test]
async fn a_certificate_is_proven_in_each_handshake_anew() {
    let authority = Authority::new();
    let vouched = Vouched::by(&authority, true);
    let mut stream = vouched.connect(Some(&authority.client())).await.unwrap();
    assert_eq!(ask(&mut stream, &get("/")).await.status(), "200");
    assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0, "nothing to resume with");
}

#[tokio::test]
async fn who_is_believed_may_change_for_connections_that_are_open() {
    let (authority, other) = (Authority::new(), Authority::new());
    let client = authority.client();
    let vouched = Vouched::by(&authority, false);
    let mut stream = vouched.connect(Some(&client)).await.unwrap();
    let reload = || {
        let settings = (*vouched.house.listener.settings()).clone();
        vouched.house.listener.prepare(settings, Certificate::Read).unwrap().apply();
    };
    reload();
    assert_eq!(ask(&mut stream, &get("/certificate")).await.body, hex(&client), "the same ones vouch for it");
    std::fs::write(&vouched.ca, other.0.pem()).unwrap();
    reload();
    assert_eq!(ask(&mut stream, &get("/certificate")).await.body, "none");
    assert_eq!(vouched.seen(Some(&client)).await, None);
    assert!(vouched.seen(Some(&other.client())).await.is_some());
}

#[test]
fn who_vouches_must_be_readable() {
    let files = Files::new("localhost");
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("clients.pem");
    let load = |text: &str| {
        std::fs::write(&ca, text).unwrap();
        let clients = Some(ClientTls { ca: ca.clone(), required: true });
        crate::listen::tls::TlsMaterial::load(&TlsFiles { clients, ..files.tls.clone() }).unwrap_err().to_string()
    };
    for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = load(text);
        assert!(error.contains("clients.pem"), "{text}: {error}");
    }
}
