//! No token counts that its issuer did not sign, whatever its header says; and none that says what must not be.
//!
//! The input is taken for a token, and for a header that the issuer signs.

use crate::issuer::{ISSUER, NOW, SERVER, signature, token, verified};
use lockgate_filters::authenticate::profile::Profile;
use lockgate_filters::authenticate::token::{CLAIMS_BYTES_MAX, HEADER_BYTES_MAX, Presented, Shape};
use serde_json::{Map, Value};

/// Checks a token, or the header of one.
pub fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        presented(text);
    }
    let claims = format!(
        r#"{{"iss":"{ISSUER}","aud":"{SERVER}","sub":"s","typ":"Bearer","azp":"c","cid":"c","scp":["x"],"scope":"x","roles":["x"],"exp":{}}}"#,
        NOW.0 / 1000 + 60
    );
    let signed = token(data, claims.as_bytes());
    for profile in Profile::ALL {
        if verified(&signed, profile).is_ok() {
            header(data, profile);
        }
    }
}

fn presented(text: &str) {
    let parsed = Presented::parse(text).is_ok();
    assert!(
        !parsed || text.len() < 2 * (HEADER_BYTES_MAX + CLAIMS_BYTES_MAX) + text.rsplit('.').next().map_or(0, str::len)
    );
    for profile in Profile::ALL {
        if verified(text, profile).is_ok() {
            let (message, signed) = text.rsplit_once('.').expect("three parts");
            assert_eq!(signed, signature(message), "counts, but was not signed");
            assert_eq!(Shape::of(text), Shape::Signed, "counts, but does not look like it");
        }
    }
}

/// What the header of a token that counts can say.
fn header(data: &[u8], profile: Profile) {
    assert!(data.len() <= HEADER_BYTES_MAX);
    let header: Map<String, Value> = serde_json::from_slice(data).expect("an object");
    assert_eq!(header["alg"], "EdDSA");
    assert!(header.get("kid").is_none_or(|kid| kid == "k"), "another key's id");
    assert!(!header.contains_key("crit") && header.get("b64").is_none_or(|encoded| encoded == true));
    let typ = header.get("typ").and_then(Value::as_str).map(str::to_ascii_lowercase);
    let typ = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
    match (profile, typ) {
        (_, Some("at+jwt")) | (Profile::Okta, None) => {}
        (profile, Some("jwt")) => assert_ne!(profile, Profile::Rfc9068),
        _ => panic!("counts with this typ"),
    }
}
