//! TLS towards endpoints: one client configuration an endpoint, built once, verification always on.
//!
//! Pingora's connector would build the configuration anew for each connection (no session resumption), would skip
//! verification where the server name is empty, and would stop the process at start if one certificate of the system's
//! store cannot be read. So the configuration is made here; the handshake and the stream are Pingora's.

use super::settings::{Http2, Setting, SettingsError, TlsSettings};
use pingora_core::tls::TlsConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What an endpoint needs to speak TLS.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    /// Never empty: the name that is asked for and verified.
    pub(super) server_name: Box<str>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// The certificates that the system trusts, read when the first endpoint needs them.
#[derive(Default)]
pub(super) struct SystemRoots(OnceLock<Arc<RootCertStore>>);

impl SystemRoots {
    fn get(&self) -> Result<Arc<RootCertStore>, SettingsError> {
        let roots = self.0.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            // System stores hold certificates that no verifier takes: the others still count.
            let (_, ignored) = roots.add_parsable_certificates(found.certs);
            if ignored > 0 || !found.errors.is_empty() {
                tracing::warn!(ignored, errors = ?found.errors, "some of the system's trusted certificates cannot be used");
            }
            Arc::new(roots)
        });
        if roots.is_empty() {
            return Err(SettingsError::new(
                Setting::Ca,
                "the system trusts no certificate: name the authorities to trust",
            ));
        }
        Ok(roots.clone())
    }
}

/// Builds the TLS side of an endpoint on `host`.
pub(super) fn build(
    settings: &TlsSettings,
    host: &str,
    http2: Http2,
    system: &SystemRoots,
) -> Result<Tls, SettingsError> {
    let server_name = settings.server_name.as_deref().unwrap_or(host);
    if server_name.is_empty() || ServerName::try_from(server_name).is_err() {
        let setting = if settings.server_name.is_some() { Setting::ServerName } else { Setting::Url };
        let message = format!("`{server_name}` is no name that a certificate can be verified for");
        return Err(SettingsError::new(setting, message));
    }
    let roots = match &settings.ca {
        Some(pem) => Arc::new(trusted(pem)?),
        None => system.get()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsError::new(Setting::Url, format!("TLS: {error}")))?
        .with_root_certificates(roots);
    let mut config = match &settings.identity {
        Some(identity) => {
            let chain = certificates(&identity.certificate, Setting::Certificate)?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key)
                .map_err(|error| SettingsError::new(Setting::Key, error.to_string()))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| SettingsError::new(Setting::Key, format!("with this certificate: {error}")))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match http2 {
        Http2::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Http2::Always => vec![b"h2".to_vec()],
        Http2::Never => vec![b"http/1.1".to_vec()],
    };
    Ok(Tls { connector: TlsConnector::from(Arc::new(config)), server_name: server_name.into() })
}

fn trusted(pem: &[u8]) -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, Setting::Ca)? {
        let unusable = |error| format!("it holds a certificate that cannot be used: {error}");
        roots.add(certificate).map_err(|error| SettingsError::new(Setting::Ca, unusable(error)))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8], setting: Setting) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(SettingsError::new(setting, "it holds no PEM certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(SettingsError::new(setting, error.to_string())),
    }
}

#[cfg(test)]
mod tests;
