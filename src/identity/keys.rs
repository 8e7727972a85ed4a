//! The keys and lists of issuers in the words of the filters.

use super::issuer::{Issuer, Keys};
use super::revocation::{RevocationWatch, Revoked, Revoker};
use lockgate_filters::authenticate::access::{Believed, KeySource, RevocationSource};
use lockgate_filters::authenticate::keys::KeySet;
use lockgate_filters::authenticate::revoked;
use lockgate_filters::authenticate::revoked::Revocations;
use lockgate_filters::exchange::UnixMillis;
use std::sync::Arc;

impl Keys for KeySet {
    fn parse(set: &[u8]) -> Result<KeySet, String> {
        KeySet::parse(set).map_err(|fault| fault.to_string())
    }

    fn digest(&self) -> [u8; 32] {
        *KeySet::digest(self)
    }
}

impl KeySource for Issuer<KeySet> {
    fn believed(&self, now: UnixMillis) -> Option<Believed> {
        let believed = self.keys(now).ok()?;
        Some(Believed { keys: believed.keys, generation: believed.verified_with, until: believed.until })
    }
}

impl RevocationSource for RevocationWatch<Revocations> {
    fn current(&self) -> Arc<Revocations> {
        RevocationWatch::current(self)
    }
}

/// Makes of entries what requests look into.
pub fn revoker() -> Revoker<Revocations> {
    Arc::new(|entries, until| {
        let entry = |entry: &Revoked| match entry {
            Revoked::Token { jti, issuer } => {
                revoked::Revoked::Token { id: jti.as_str().into(), issuer: issuer.as_deref().map(Into::into) }
            }
            Revoked::Subject { subject, issuer } => revoked::Revoked::Subject {
                subject: subject.as_str().into(),
                issuer: issuer.as_deref().map(Into::into),
            },
            Revoked::ApiKey(id) => revoked::Revoked::ApiKey { id: id.as_str().into() },
        };
        let entries: Vec<_> = entries.iter().map(entry).collect();
        Revocations::new(&entries, Some(until)).map_err(|fault| fault.to_string())
    })
}
