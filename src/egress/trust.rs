//! Which servers are believed, and what the gateway proves itself with: one TLS configuration for each client.

use bytes::Bytes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::sync::{Arc, OnceLock};
use thiserror::Error;

/// Which servers are believed, and what the gateway proves itself with. PEM texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The authorities that are trusted; the system's where there are none.
    pub ca: Option<Bytes>,
    /// The gateway's own certificate. Shown to places that the operator named, never to others.
    pub identity: Option<Identity>,
}

/// A certificate and its key, as PEM texts.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The chain, leaf first.
    pub certificate: Bytes,
    /// The key.
    pub key: Bytes,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Why a trust cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TrustError {
    /// The system's store is empty.
    #[error("the system trusts no certificate: name the authorities to trust")]
    NoRoots,
    /// The authorities cannot be read.
    #[error("the certificates of the authorities cannot be used")]
    Ca,
    /// The certificate or its key cannot be read, or do not belong together.
    #[error("the certificate and its key cannot be used")]
    Identity,
    /// No TLS at all.
    #[error("TLS cannot be set up")]
    Setup,
}

/// The certificates that the system trusts, read when they are first needed.
#[derive(Default)]
pub(super) struct SystemRoots(OnceLock<Arc<RootCertStore>>);

impl SystemRoots {
    fn get(&self) -> Result<Arc<RootCertStore>, TrustError> {
        let roots = self.0.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            // System stores hold certificates that no verifier takes: the others still count.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(roots)
        });
        if roots.is_empty() { Err(TrustError::NoRoots) } else { Ok(Arc::clone(roots)) }
    }
}

/// The TLS configuration; `shows` says whether the identity is shown.
pub(super) fn tls(trust: &Trust, shows: bool, system: &SystemRoots) -> Result<ClientConfig, TrustError> {
    let roots = match &trust.ca {
        Some(pem) => Arc::new(authorities(pem)?),
        None => system.get()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TrustError::Setup)?
        .with_root_certificates(roots);
    let mut config = match trust.identity.as_ref().filter(|_| shows) {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates(&identity.certificate).ok_or(TrustError::Identity)?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|_| TrustError::Identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|_| TrustError::Identity)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).ok_or(TrustError::Ca)? {
        roots.add(certificate).map_err(|_| TrustError::Ca)?;
    }
    Ok(roots)
}

/// The certificates of a PEM text; `None` without any, or with something else among them.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    Some(found).filter(|found| !found.is_empty())
}
