//! A certificate authority for one test.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::path::PathBuf;
use tempfile::TempDir;

/// PEM files in a folder that goes away with this value.
pub struct Certificates {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    _folder: TempDir,
}

impl Certificates {
    /// An authority and a certificate for `localhost` and the loopback addresses.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate");
        let this = Self {
            authority: folder.path().join("ca.pem"),
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
            issuer: Issuer::new(params, key),
            _folder: folder,
        };
        std::fs::write(&this.authority, authority.pem()).expect("writing");
        this.renew();
        this
    }

    /// Replaces certificate and key by new ones of the same authority.
    pub fn renew(&self) {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(&self.key, key.serialize_pem()).expect("writing");
        std::fs::write(&self.certificate, certificate.pem()).expect("writing");
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
