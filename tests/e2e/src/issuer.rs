//! An issuer of access tokens, as far as a gateway that was given its keys sees it.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Issuer {
    pub url: String,
    key: KeyPair,
}

impl Issuer {
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), key: KeyPair::generate().expect("a key") }
    }

    /// Its keys, as it publishes them.
    pub fn keys(&self) -> Value {
        let point = self.key.der_bytes();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (text(&point[1..33]), text(&point[33..65]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "x": x, "y": y}]})
    }

    /// Its section in a configuration, indented by two.
    pub fn section(&self, name: &str) -> String {
        format!("  {name}:\n    issuer: {}\n    jwks: '{}'\n", self.url, self.keys())
    }

    /// A token for somebody, that ends in an hour unless `more` says otherwise.
    pub fn token(&self, subject: &str, audience: &str, more: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut claims = json!({
            "iss": self.url, "sub": subject, "aud": audience, "iat": now, "exp": now + 3600, "jti": format!("{subject}-{now}"),
        });
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let header =
            Header { typ: Some("at+jwt".to_owned()), kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, &claims, &EncodingKey::from_ec_der(&self.key.serialize_der())).expect("a token")
    }
}

/// An API key with this id, and what it hashes to.
pub fn api_key(id: &str) -> (String, String) {
    let key = format!("lgk_{id}_{}", URL_SAFE_NO_PAD.encode([id.len() as u8; 32]));
    let hash: String = digest(&SHA256, key.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    (key, format!("sha256:{hash}"))
}
