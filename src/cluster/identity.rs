//! How nodes know each other: TLS 1.3 with raw public keys (RFC 7250), and no certificate that anybody has to make.
//!
//! From each ticket key a key pair is derived (Ed25519), which so is that of every node that holds the ticket key, and of
//! nobody else. A node shows the pair of its first key and accepts that of any, as with tickets: so keys rotate without a
//! moment in which nodes do not know each other.

use aws_lc_rs::signature::Ed25519KeyPair;
use lockgate_filters::ticket::{self, Keyring};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_eddsa_type};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
};
use std::sync::Arc;

/// The protocol that nodes speak within TLS; another version of it gets another name.
const PROTOCOL: &[u8] = b"lockgate-node/1";

/// Both ends of a connection between nodes.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// For connections from other nodes.
    pub server: Arc<ServerConfig>,
    /// For connections to them.
    pub client: Arc<ClientConfig>,
    /// The public key that it shows.
    pub shown: Key,
    /// Those of everybody who is a node, its own among them.
    pub known: Arc<[Key]>,
}

/// A public key, as TLS knows it.
pub(super) type Key = CertificateDer<'static>;

impl Identity {
    /// That of a node which holds these keys.
    ///
    /// # Errors
    /// When the cryptographic library refuses what it gave itself.
    pub fn of(keys: &Keyring) -> Result<Identity, Error> {
        let pairs = keys.keys().iter().map(pair).collect::<Result<Vec<_>, _>>()?;
        let first = pairs.first().cloned().ok_or(Error::General("there is no ticket key".to_owned()))?;
        let shown = first.cert.first().cloned().ok_or(Error::General("a key pair has no public key".to_owned()))?;
        let keys: Arc<[Key]> = pairs.iter().flat_map(|pair| pair.cert.first().cloned()).collect();
        let known = Arc::new(Known {
            keys: Arc::clone(&keys),
            algorithms: default_provider().signature_verification_algorithms,
        });
        let provider = Arc::new(default_provider());
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(known.clone())
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(first.clone())));
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        // Whoever comes again proves itself again: a key that was taken out is out.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(known)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(first)));
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        Ok(Identity { server: Arc::new(server), client: Arc::new(client), shown, known: keys })
    }
}

/// What TLS wants to be told of the other end, which has no name.
pub(super) fn nobody() -> ServerName<'static> {
    ServerName::IpAddress(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED).into())
}

/// The key pair of a ticket key.
fn pair(key: &ticket::Key) -> Result<Arc<CertifiedKey>, Error> {
    let failed = |_| Error::General("no key pair could be derived from a ticket key".to_owned());
    let pair = Ed25519KeyPair::from_seed_unchecked(key.node_seed()).map_err(|_| failed(()))?;
    let pair = pair.to_pkcs8v1().map_err(|_| failed(()))?;
    let pair = any_eddsa_type(&PrivatePkcs8KeyDer::from(pair.as_ref()))?;
    let public = pair.public_key().ok_or_else(|| failed(()))?;
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(public.as_ref().to_vec())], pair)))
}

/// The public keys of those who are nodes.
#[derive(Debug)]
struct Known {
    keys: Arc<[Key]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Known {
    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        let known = self.keys.iter().any(|key| key.as_ref() == shown.as_ref());
        if known { Ok(()) } else { Err(CertificateError::UnknownIssuer.into()) }
    }
}

/// What both ends want to know of raw keys, in the same words.
macro_rules! raw_keys {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _key: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            // Only TLS 1.3 is offered, so nothing of 1.2 is ever verified.
            Err(PeerIncompatible::Tls12NotOffered.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            key: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let key = SubjectPublicKeyInfoDer::from(key.as_ref());
            verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(shown).map(|()| ServerCertVerified::assertion())
    }

    raw_keys!();
}

impl ClientCertVerifier for Known {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _more: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(shown).map(|()| ClientCertVerified::assertion())
    }

    raw_keys!();
}

#[cfg(test)]
mod tests {
    use super::super::testing::ring;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    /// Whether a node with the one keys gets a byte from one with the others.
    async fn get_on(asking: &Identity, asked: &Identity) -> bool {
        let (near, far) = duplex(1 << 16);
        let acceptor = TlsAcceptor::from(asked.server.clone());
        let answering = tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(far).await else { return };
            let _ = stream.write_all(b"x").await;
            let _ = stream.flush().await;
            let _ = stream.read_u8().await;
        });
        let heard = match TlsConnector::from(asking.client.clone()).connect(nobody(), near).await {
            Ok(mut stream) => stream.read_u8().await.is_ok(),
            Err(_) => false,
        };
        answering.await.unwrap();
        heard
    }

    #[tokio::test]
    async fn who_has_a_key_in_common_that_one_of_them_shows_is_known() {
        let of = |seeds: &[u8]| Identity::of(&ring(seeds)).unwrap();
        for (asking, asked, known) in [
            (&[1][..], &[1][..], true),
            (&[1], &[2], false),
            // A rotation: first the new key behind the old one everywhere, then in front of it.
            (&[1, 2], &[1], true),
            (&[2, 1], &[1, 2], true),
            (&[1, 2], &[2, 1], true),
            (&[2], &[2, 1], true),
            // One that has not yet got the key that the other one shows.
            (&[2, 1], &[1], false),
        ] {
            assert_eq!(get_on(&of(asking), &of(asked)).await, known, "{asking:?} {asked:?}");
            assert_eq!(get_on(&of(asked), &of(asking)).await, known, "{asked:?} {asking:?}");
        }
    }

    #[tokio::test]
    async fn who_shows_no_key_gets_nothing() {
        let asked = Identity::of(&ring(&[1])).unwrap();
        let mut without = ClientConfig::clone(&asked.client);
        without.client_auth_cert_resolver = Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(Arc::new(
            CertifiedKey::new(Vec::new(), pair(ring(&[1]).keys().first().unwrap()).unwrap().key.clone()),
        )));
        let without = Identity { client: Arc::new(without), ..asked.clone() };
        assert!(!get_on(&without, &asked).await);
    }
}
