//! TLS of a listener: certificates that can be swapped while it runs, ALPN, post-quantum key exchange.

use super::clients::{ClientCertificate, Trust, Trusted};
use super::settings::TlsFiles;
use arc_swap::ArcSwap;
use pingora_core::protocols::tls::SslDigest;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerConnection};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_rustls::TlsAcceptor;

/// Why TLS cannot be offered with what the files hold.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("{}: {error}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// The certificate file holds no certificate.
    #[error("{}: no certificate in this file", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate cannot be read.
    #[error("{}: not an X.509 certificate", path.display())]
    NotACertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key is of no kind that is supported, or is not the certificate's.
    #[error("{} and {}: {error}", certificate.display(), key.display())]
    Unusable {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What is wrong with them.
        error: rustls::Error,
    },
    /// Who vouches for clients cannot be believed.
    #[error("{}: {error}", path.display())]
    Clients {
        /// The file of their certificates.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
    /// The TLS library refuses its own parameters.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// A certificate chain with its key, read and found to belong together.
#[derive(Clone, Debug)]
pub struct TlsMaterial {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
    clients: Option<Trust>,
}

impl TlsMaterial {
    /// Reads all files. Blocks while it does.
    pub fn load(files: &TlsFiles) -> Result<TlsMaterial, TlsError> {
        let chain = certificates(&files.certificate)?;
        let leaf = chain.first().ok_or_else(|| TlsError::NoCertificate { path: files.certificate.clone() })?;
        let not_after = not_after(leaf).ok_or_else(|| TlsError::NotACertificate { path: files.certificate.clone() })?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| TlsError::Pem { path: files.key.clone(), error })?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| {
            TlsError::Unusable { certificate: files.certificate.clone(), key: files.key.clone(), error }
        })?;
        let clients = files.clients.as_ref().map(Trust::load).transpose()?;
        Ok(TlsMaterial { key: Arc::new(key), not_after, clients })
    }

    /// When the certificate ends.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |error| TlsError::Pem { path: path.to_owned(), error };
    CertificateDer::pem_file_iter(path).map_err(fault)?.collect::<Result<_, _>>().map_err(fault)
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// What a TLS listener keeps for as long as it runs.
#[derive(Debug)]
pub(crate) struct Identity {
    current: Arc<Current>,
    /// Who vouches for clients.
    trusted: Arc<Trusted>,
    /// Keys of session tickets, kept over reloads so that clients can resume.
    tickets: Arc<dyn ProducesTickets>,
}

/// The certificate that the next handshake shows.
#[derive(Debug)]
struct Current(ArcSwap<TlsMaterial>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().key.clone())
    }
}

impl Identity {
    pub(crate) fn new(material: TlsMaterial) -> Result<Identity, TlsError> {
        Ok(Identity {
            trusted: Arc::new(Trusted::new(material.clients.clone())),
            current: Arc::new(Current(ArcSwap::from_pointee(material))),
            tickets: aws_lc_rs::Ticketer::new()?,
        })
    }

    /// Shows another certificate from the next handshake on. What clients have shown counts no longer where others vouch for
    /// them from now on.
    pub(crate) fn swap(&self, material: TlsMaterial) {
        self.trusted.swap(material.clients.clone());
        self.current.0.store(Arc::new(material));
    }

    /// When the certificate shown now ends.
    pub(crate) fn not_after(&self) -> SystemTime {
        self.current.0.load().not_after
    }

    /// Handshakes with this identity, or with what it is about to become.
    pub(crate) fn acceptor(&self, http2: bool, next: Option<&TlsMaterial>) -> Result<Acceptor, TlsError> {
        let trust = match next {
            Some(next) => next.clients.clone().map(Arc::new),
            None => self.trusted.now(),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = match &trust {
            Some(trust) => config.with_client_cert_verifier(Arc::clone(&trust.verifier)),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(self.current.clone());
        match trust {
            None => config.ticketer = self.tickets.clone(),
            // A resumed session would show a certificate that nobody has looked at again.
            Some(_) => {
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
        }
        config.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        let clients = trust.map(|trust| (trust, Arc::clone(&self.trusted)));
        Ok(Acceptor { tls: TlsAcceptor::from(Arc::new(config)), clients })
    }
}

/// What makes a TLS connection of a TCP connection.
#[derive(Clone)]
pub(crate) struct Acceptor {
    pub(super) tls: TlsAcceptor,
    /// Who vouches for clients by it, and who does at any time.
    clients: Option<(Arc<Trust>, Arc<Trusted>)>,
}

impl Acceptor {
    /// What the client has shown in a handshake.
    pub(super) fn certificate(&self, session: &ServerConnection) -> Option<ClientCertificate> {
        let (trust, trusted) = self.clients.as_ref()?;
        ClientCertificate::shown(session.peer_certificates(), trust, trusted)
    }
}

/// What filters and logs may know about a connection's TLS.
pub(crate) fn digest(session: &ServerConnection) -> SslDigest {
    let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or_default();
    SslDigest::new(cipher, version, None, None, Vec::new())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs;

    /// A self-signed certificate for `name` in a directory of its own.
    pub(crate) struct Files {
        pub(crate) tls: TlsFiles,
        directory: tempfile::TempDir,
    }

    impl Files {
        pub(crate) fn new(name: &str) -> Files {
            let directory = tempfile::tempdir().unwrap();
            let file = |name| directory.path().join(name);
            let tls = TlsFiles { certificate: file("cert.pem"), key: file("key.pem"), clients: None };
            let files = Files { tls, directory };
            files.write(name);
            files
        }

        /// Replaces the certificate, and gives it back.
        pub(crate) fn write(&self, name: &str) -> CertificateDer<'static> {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            fs::write(&self.tls.certificate, made.cert.pem()).unwrap();
            fs::write(&self.tls.key, made.signing_key.serialize_pem()).unwrap();
            made.cert.der().clone()
        }
    }

    #[test]
    fn a_certificate_and_its_key_are_read() {
        let files = Files::new("one.example");
        let material = TlsMaterial::load(&files.tls).unwrap();
        assert!(material.not_after() > SystemTime::now());
    }

    #[test]
    fn files_that_do_not_fit_are_named() {
        let (one, two) = (Files::new("one.example"), Files::new("two.example"));
        let crossed = TlsFiles { certificate: one.tls.certificate.clone(), key: two.tls.key.clone(), clients: None };
        let error = TlsMaterial::load(&crossed).unwrap_err();
        assert!(matches!(error, TlsError::Unusable { .. }) && error.to_string().contains("cert.pem"), "{error}");

        let swapped = TlsFiles { certificate: one.tls.key.clone(), key: one.tls.certificate.clone(), clients: None };
        let error = TlsMaterial::load(&swapped).unwrap_err();
        assert!(matches!(error, TlsError::NoCertificate { .. }), "{error}");

        let missing = TlsFiles { certificate: one.directory.path().join("none.pem"), ..one.tls.clone() };
        let error = TlsMaterial::load(&missing).unwrap_err();
        assert!(error.to_string().contains("none.pem"), "{error}");

        fs::write(&one.tls.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let error = TlsMaterial::load(&one.tls).unwrap_err();
        assert!(matches!(error, TlsError::NotACertificate { .. }), "{error}");
    }
}
