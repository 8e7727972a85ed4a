//! Paths and the files behind them.

use super::Resolver;
use crate::config::diagnostic::Finding;
use crate::config::path::KeyPath;
use crate::config::sources::reason;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The largest PEM file, in bytes: a bundle of every public authority has a quarter of that.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// What a PEM file must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pem {
    Certificates,
    PrivateKey,
}

impl Resolver<'_> {
    /// A path made absolute: relative ones start at the configuration file.
    pub(super) fn absolute(&mut self, path: &KeyPath, file: PathBuf) -> PathBuf {
        if file.as_os_str().is_empty() {
            self.note(Finding::error(path.clone(), "a path must not be empty"));
        }
        if file.starts_with("~") {
            self.note(
                Finding::error(path.clone(), "`~` does not stand for anything here").help("write `${env:HOME}/…`"),
            );
        }
        // Taken apart and put together again, a path loses what stands for nothing (`./`).
        self.base.join(file).components().collect()
    }

    /// The absolute path of a PEM file, noted to be watched; what it lacks is an error.
    pub(super) fn pem(&mut self, path: &KeyPath, file: PathBuf, what: Pem) -> PathBuf {
        let file = self.absolute(path, file);
        self.files.push(file.clone());
        let shown = self.quoted(path, file.display());
        match self.sources.file(&file, PEM_BYTES_MAX).map(Zeroizing::new) {
            Err(error) => {
                self.note(Finding::error(path.clone(), format!("cannot read {shown}: {}", reason(&error))));
            }
            Ok(content) => {
                let problem = match what {
                    Pem::Certificates => certificates(&content).err(),
                    Pem::PrivateKey => PrivateKeyDer::from_pem_slice(&content).err().map(|_| "it holds no private key"),
                };
                if let Some(problem) = problem {
                    self.note(Finding::error(
                        path.clone(),
                        format!("{shown} is not what is needed: {problem} in PEM form"),
                    ));
                }
            }
        }
        file
    }
}

/// Whether a PEM text holds certificates, all of them well-formed as PEM.
fn certificates(content: &[u8]) -> Result<(), &'static str> {
    let mut count = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(content) {
        certificate.map_err(|_| "it holds something that is no certificate")?;
        count += 1;
    }
    if count == 0 { Err("it holds no certificate") } else { Ok(()) }
}
