//! Issuers for tests: keys made once, and tokens with whatever header and claims.

use super::algorithm::Algorithm;
use super::keys::KeySet;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Base64url without padding.
pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Private {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// Whoever has the private key.
pub(crate) struct Signer {
    private: Private,
    public: Value,
}

impl Signer {
    /// The public key, as it stands in a key set.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = json!(kid);
        jwk
    }

    /// A key set of this key alone, called `k`.
    pub(crate) fn keys(&self) -> KeySet {
        KeySet::parse(json!({"keys": [self.jwk("k")]}).to_string().as_bytes()).unwrap()
    }

    /// A token over exactly these texts.
    pub(crate) fn over(&self, header: &str, claims: &str, algorithm: Algorithm) -> String {
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.sign(message.as_bytes(), algorithm);
        format!("{message}.{}", encoded(signature))
    }

    /// A token with `alg`, `kid` and `typ`.
    pub(crate) fn token(&self, algorithm: Algorithm, typ: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm.name(), "kid": "k", "typ": typ});
        self.over(&header.to_string(), &claims.to_string(), algorithm)
    }

    fn sign(&self, message: &[u8], algorithm: Algorithm) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Private::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Private::Rsa(pair) => {
                let encoding: &dyn aws_lc_rs::signature::RsaEncoding = match algorithm {
                    Algorithm::Rs384 => &RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_SHA512,
                    Algorithm::Ps256 => &RSA_PSS_SHA256,
                    Algorithm::Ps384 => &RSA_PSS_SHA384,
                    Algorithm::Ps512 => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

fn ec(algorithm: &'static aws_lc_rs::signature::EcdsaSigningAlgorithm, curve: &str) -> Signer {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let public = json!({"kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y)});
    Signer { private: Private::Ec(pair), public }
}

/// An issuer with an RSA key of 2048 bits.
pub(crate) fn rsa() -> &'static Signer {
    static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let components = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let public = json!({"kty": "RSA", "n": encoded(&components.n), "e": encoded(&components.e)});
        Signer { private: Private::Rsa(pair), public }
    });
    &SIGNER
}

/// An issuer with a key on P-256.
pub(crate) fn p256() -> &'static Signer {
    static SIGNER: LazyLock<Signer> = LazyLock::new(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"));
    &SIGNER
}

/// An issuer with a key on P-384.
pub(crate) fn p384() -> &'static Signer {
    static SIGNER: LazyLock<Signer> = LazyLock::new(|| ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"));
    &SIGNER
}

/// An issuer with an Ed25519 key.
pub(crate) fn ed25519() -> &'static Signer {
    static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key())});
        Signer { private: Private::Ed(pair), public }
    });
    &SIGNER
}

/// Somebody else with a key on P-256: another one at each call.
pub(crate) fn p256_stranger() -> Signer {
    ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
}
