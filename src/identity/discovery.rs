//! Where an issuer's keys are, as its metadata says (RFC 8414; OpenID Connect Discovery 1.0).
//!
//! A document is believed only where it names exactly the issuer that was asked for: else one issuer on a host could speak
//! for another.

use crate::egress::Origin;
use serde_json::Value;
use thiserror::Error;
use url::Url;

/// The longest document, in bytes.
pub(super) const DOCUMENT_BYTES_MAX: usize = 256 << 10;

/// Why a document does not say where the keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DiscoveryFault {
    /// It is no JSON object.
    #[error("the metadata is no JSON object")]
    NoObject,
    /// It is another issuer's.
    #[error("the metadata is of another issuer than the configured one")]
    OtherIssuer,
    /// It names no keys.
    #[error("the metadata has no jwks_uri, or one that is no URL")]
    NoKeys,
}

/// Where the metadata of an issuer may be, in the order in which they are asked: with the well-known name before the path
/// (RFC 8414 section 3.1), then after it (OpenID Connect Discovery section 4.1).
pub(super) fn well_known(issuer: &Url) -> [Url; 2] {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: &str| {
        let mut url = issuer.clone();
        url.set_path(path);
        url.set_query(None);
        url.set_fragment(None);
        url
    };
    [
        at(&format!("/.well-known/oauth-authorization-server{path}")),
        at(&format!("{path}/.well-known/openid-configuration")),
    ]
}

/// Reads a document: where the keys are, and who counts as the author of that URL.
pub(super) fn read(document: &[u8], issuer: &str, written: &Url) -> Result<(Url, Origin), DiscoveryFault> {
    let document: Value = serde_json::from_slice(document).map_err(|_| DiscoveryFault::NoObject)?;
    let members = document.as_object().ok_or(DiscoveryFault::NoObject)?;
    if members.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(DiscoveryFault::OtherIssuer);
    }
    let keys = members.get("jwks_uri").and_then(Value::as_str).ok_or(DiscoveryFault::NoKeys)?;
    let keys = Url::parse(keys).map_err(|_| DiscoveryFault::NoKeys)?;
    let origin = Origin::of(&keys, written);
    Ok((keys, origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_before_and_after_the_path() {
        for (issuer, first, second) in [
            (
                "https://a.example",
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ),
            (
                "https://a.example/realms/b/",
                "https://a.example/.well-known/oauth-authorization-server/realms/b",
                "https://a.example/realms/b/.well-known/openid-configuration",
            ),
            (
                "http://localhost:8080/x",
                "http://localhost:8080/.well-known/oauth-authorization-server/x",
                "http://localhost:8080/x/.well-known/openid-configuration",
            ),
        ] {
            let found = well_known(&Url::parse(issuer).unwrap()).map(String::from);
            assert_eq!(found, [first, second], "{issuer}");
        }
    }

    #[test]
    fn a_document_speaks_for_its_own_issuer_only() {
        let written = Url::parse("https://a.example/b").unwrap();
        let of = |document: &str| read(document.as_bytes(), "https://a.example/b", &written);
        let right = r#"{"issuer":"https://a.example/b","jwks_uri":"https://a.example/keys"}"#;
        assert_eq!(
            of(right).map(|(url, origin)| (url.to_string(), origin)),
            Ok(("https://a.example/keys".into(), Origin::Operator))
        );
        let elsewhere = right.replace("https://a.example/keys", "https://cdn.example/keys");
        assert_eq!(of(&elsewhere).map(|(_, origin)| origin), Ok(Origin::Learned));
        for other in ["https://a.example/b/", "https://a.example/B", "https://a.example", "https://evil.example/b"] {
            let document = right.replace("https://a.example/b\"", &format!("{other}\""));
            assert_eq!(of(&document), Err(DiscoveryFault::OtherIssuer), "{other}");
        }
        assert_eq!(of(r#"{"jwks_uri":"https://a.example/keys"}"#), Err(DiscoveryFault::OtherIssuer));
        assert_eq!(of(r#"{"issuer":"https://a.example/b","jwks_uri":"keys"}"#), Err(DiscoveryFault::NoKeys));
        assert_eq!(of(r#"{"issuer":"https://a.example/b"}"#), Err(DiscoveryFault::NoKeys));
        for wrong in ["", "[]", "<html>", "{"] {
            assert_eq!(of(wrong), Err(DiscoveryFault::NoObject), "{wrong}");
        }
    }
}
