//! An issuer whose key everybody knows: for targets that need tokens that count.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockgate_filters::authenticate::algorithm::Algorithms;
use lockgate_filters::authenticate::audience::Audiences;
use lockgate_filters::authenticate::fault::TokenFault;
use lockgate_filters::authenticate::keys::KeySet;
use lockgate_filters::authenticate::profile::Profile;
use lockgate_filters::authenticate::token::Presented;
use lockgate_filters::authenticate::verify::{Circumstances, Rules, Verified};
use lockgate_filters::exchange::UnixMillis;
use std::sync::LazyLock;

/// The time at which tokens are looked at.
pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
/// Whom tokens are for.
pub const SERVER: &str = "https://gw.example/mcp";
/// Who issues them.
pub const ISSUER: &str = "https://login.example/a";
/// The certificate that the connection shows.
pub const THUMBPRINT: [u8; 32] = [7; 32];

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key"));
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let point = URL_SAFE_NO_PAD.encode(KEY.public_key());
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{point}"}}]}}"#);
    KeySet::parse(set.as_bytes()).expect("a key set")
});

/// The one signature over a message.
pub fn signature(message: &str) -> String {
    URL_SAFE_NO_PAD.encode(KEY.sign(message.as_bytes()))
}

/// A signed token over exactly these bytes.
pub fn token(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{message}.{}", signature(&message))
}

/// What this issuer's token proves.
pub fn verified(token: &str, profile: Profile) -> Result<Verified, TokenFault> {
    let rules = Rules { issuer: ISSUER.into(), profile, algorithms: Algorithms::all(), leeway_millis: 30_000 };
    let audiences = Audiences::new([SERVER]);
    let at = Circumstances { audiences: &audiences, certificate: Some(&THUMBPRINT), now: NOW };
    rules.verify(Presented::parse(token)?, &KEYS, at)
}
