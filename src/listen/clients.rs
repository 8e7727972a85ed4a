//! Client certificates: whose are believed on a listener, and which one a connection has shown.

use super::names;
use super::settings::ClientTls;
use super::tls::TlsError;
use ::aws_lc_rs::digest::{Context, SHA256};
use arc_swap::ArcSwapOption;
use lockgate_filters::authenticate::certificate::ClientCertificate as Names;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::fmt;
use std::sync::Arc;

/// Who vouches for clients on a listener.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    digest: [u8; 32],
}

impl Trust {
    /// Reads the certificates of who vouches. Blocks while it does.
    pub(super) fn load(settings: &ClientTls) -> Result<Trust, TlsError> {
        let unusable = |error: String| TlsError::Clients { path: settings.ca.clone(), error };
        let certificates = super::tls::certificates(&settings.ca)?;
        if certificates.is_empty() {
            return Err(TlsError::NoCertificate { path: settings.ca.clone() });
        }
        let mut context = Context::new(&SHA256);
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            context.update(&(certificate.len() as u64).to_le_bytes());
            context.update(&certificate);
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = if settings.required { builder } else { builder.allow_unauthenticated() };
        let verifier = builder.build().map_err(|error| unusable(error.to_string()))?;
        Ok(Trust { verifier, digest: sha256(context) })
    }
}

fn sha256(context: Context) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// Who vouches for clients now: it may be somebody else after a reload.
#[derive(Debug, Default)]
pub(super) struct Trusted(ArcSwapOption<Trust>);

impl Trusted {
    pub(super) fn new(trust: Option<Trust>) -> Trusted {
        Trusted(ArcSwapOption::from_pointee(trust))
    }

    pub(super) fn swap(&self, trust: Option<Trust>) {
        self.0.store(trust.map(Arc::new));
    }

    pub(super) fn now(&self) -> Option<Arc<Trust>> {
        self.0.load_full()
    }
}

/// The certificate that a client has shown, and has proven to own the key of.
#[derive(Clone)]
pub struct ClientCertificate {
    der: Arc<[u8]>,
    names: Option<Arc<Names>>,
    believed: Believed,
}

/// Why the certificate is believed.
#[derive(Clone)]
enum Believed {
    /// Somebody vouched for it when it was shown, and must do so still.
    Here { by: [u8; 32], trusted: Arc<Trusted> },
    /// Another process of the gateway has said so of the request.
    There,
}

impl ClientCertificate {
    /// What a handshake has found to be in order, where these vouched.
    pub(super) fn shown(chain: Option<&[CertificateDer<'_>]>, trust: &Trust, trusted: &Arc<Trusted>) -> Option<Self> {
        let believed = Believed::Here { by: trust.digest, trusted: Arc::clone(trusted) };
        Some(ClientCertificate::new(chain?.first()?, believed))
    }

    /// What another process of the gateway says that its client has shown.
    pub fn told(der: &[u8]) -> ClientCertificate {
        ClientCertificate::new(der, Believed::There)
    }

    fn new(der: &[u8], believed: Believed) -> ClientCertificate {
        let mut context = Context::new(&SHA256);
        context.update(der);
        let names = names::read(der, sha256(context)).map(Arc::new);
        ClientCertificate { der: der.into(), names, believed }
    }

    /// The certificate in DER.
    pub fn der(&self) -> &Arc<[u8]> {
        &self.der
    }

    /// What it says; `None` where that cannot be read.
    pub fn names(&self) -> Option<&Arc<Names>> {
        self.names.as_ref()
    }

    /// Whether those who vouched for it when it was shown are still believed on its listener.
    pub(super) fn counts(&self) -> bool {
        match &self.believed {
            Believed::Here { by, trusted } => trusted.now().is_some_and(|trust| trust.digest == *by),
            Believed::There => true,
        }
    }
}

/// A certificate says who a client is.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}
