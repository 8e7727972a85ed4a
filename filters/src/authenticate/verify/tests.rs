use super::*;
use crate::authenticate::algorithm::Algorithm;
use crate::authenticate::testing::{Signer, ed25519, encoded, p256, p384, rsa};
use crate::principal::Proof;
use aws_lc_rs::hmac;
use proptest::prelude::*;
use serde_json::json;

const AT: u64 = 1_800_000_000_000;
const SERVER: &str = "https://gw.example/mcp";
const THUMBPRINT: [u8; 32] = [7; 32];

fn rules(profile: Profile) -> Rules {
    Rules { issuer: "https://login.example/a".into(), profile, algorithms: Algorithms::all(), leeway_millis: 30_000 }
}

fn claims() -> Value {
    json!({
        "iss": "https://login.example/a", "aud": SERVER, "sub": "alice", "client_id": "c", "jti": "j-1",
        "iat": AT / 1000 - 10, "nbf": AT / 1000 - 10, "exp": AT / 1000 + 600, "scope": "mcp:use",
    })
}

fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn verified_by(
    rules: &Rules,
    keys: &KeySet,
    token: &str,
    certificate: Option<&[u8; 32]>,
) -> Result<Verified, TokenFault> {
    let audiences = Audiences::new([SERVER]);
    let at = Circumstances { audiences: &audiences, certificate, now: UnixMillis(AT) };
    rules.verify(Presented::parse(token)?, keys, at)
}

fn verified(token: &str) -> Result<Verified, TokenFault> {
    verified_by(&rules(Profile::Rfc9068), &ed25519().keys(), token, None)
}

fn signed(claims: &Value) -> String {
    ed25519().token(Algorithm::EdDsa, "at+jwt", claims)
}

fn fault(claims: &Value) -> Option<TokenFault> {
    verified(&signed(claims)).err()
}

fn signers() -> [(&'static Signer, Algorithm); 9] {
    use Algorithm::*;
    [
        (rsa(), Rs256),
        (rsa(), Rs384),
        (rsa(), Rs512),
        (rsa(), Ps256),
        (rsa(), Ps384),
        (rsa(), Ps512),
        (p256(), Es256),
        (p384(), Es384),
        (ed25519(), EdDsa),
    ]
}

#[test]
fn a_token_of_every_algorithm_is_verified() {
    for (signer, algorithm) in signers() {
        let token = signer.token(algorithm, "at+jwt", &claims());
        let verified = verified_by(&rules(Profile::Rfc9068), &signer.keys(), &token, None).unwrap();
        assert_eq!(verified.expires, UnixMillis(AT + 630_000), "{algorithm:?}");
        assert_eq!((verified.id.as_deref(), &*verified.audience, verified.bound), (Some("j-1"), SERVER, None));
        assert_eq!(verified.claims["sub"], "alice");
    }
}

#[test]
fn only_the_algorithms_of_the_list_are_accepted() {
    for (signer, algorithm) in signers() {
        let others = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
        let token = signer.token(algorithm, "at+jwt", &claims());
        let rules = Rules { algorithms: others, ..rules(Profile::Rfc9068) };
        assert_eq!(verified_by(&rules, &signer.keys(), &token, None).err(), Some(TokenFault::Algorithm));
    }
}

#[test]
fn algorithm_confusion_a_public_key_is_no_shared_secret() {
    // What is public of the issuer, in every form that it might be used as an HMAC secret in.
    let jwk = rsa().jwk("k");
    let secrets = [jwk["n"].as_str().unwrap().to_owned(), jwk.to_string(), json!({"keys": [jwk]}).to_string()];
    for secret in secrets {
        for (name, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            let header = json!({"alg": name, "kid": "k", "typ": "at+jwt"}).to_string();
            let message = format!("{}.{}", encoded(header), encoded(claims().to_string()));
            let tag = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), message.as_bytes());
            let token = format!("{message}.{}", encoded(tag));
            let answer = verified_by(&rules(Profile::Rfc9068), &rsa().keys(), &token, None);
            assert_eq!(answer.err(), Some(TokenFault::Algorithm));
        }
    }
}

#[test]
fn algorithm_confusion_a_key_is_used_as_what_it_is() {
    for (signer, made) in signers() {
        for (_, said) in signers() {
            let header = json!({"alg": said.name(), "kid": "k", "typ": "at+jwt"}).to_string();
            let token = signer.over(&header, &claims().to_string(), made);
            let answer = verified_by(&rules(Profile::Rfc9068), &signer.keys(), &token, None).err();
            let is_rsa = |algorithm: Algorithm| algorithm.name().starts_with(['R', 'P']);
            let expected = match made == said {
                true => None,
                false if is_rsa(made) && is_rsa(said) => Some(TokenFault::Signature),
                false => Some(TokenFault::KeyMismatch),
            };
            assert_eq!(answer, expected, "{made:?} said to be {said:?}");
        }
    }
}

#[test]
fn alg_none_is_never_verified() {
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = encoded(json!({"alg": alg, "kid": "k", "typ": "at+jwt"}).to_string());
        let claims = encoded(claims().to_string());
        for signature in ["", "AA"] {
            let token = format!("{header}.{claims}.{signature}");
            assert_eq!(verified(&token).err(), Some(TokenFault::Algorithm), "{alg}");
        }
    }
}

#[test]
fn a_signature_by_somebody_else_is_refused() {
    let own = ec_stranger();
    let token = own.token(Algorithm::Es256, "at+jwt", &claims());
    assert_eq!(verified_by(&rules(Profile::Rfc9068), &p256().keys(), &token, None).err(), Some(TokenFault::Signature));
    // Their key within the token changes nothing.
    let header =
        json!({"alg": "ES256", "kid": "k", "typ": "at+jwt", "jwk": own.jwk("k"), "jku": "https://evil.example/keys"});
    let token = own.over(&header.to_string(), &claims().to_string(), Algorithm::Es256);
    assert_eq!(verified_by(&rules(Profile::Rfc9068), &p256().keys(), &token, None).err(), Some(TokenFault::Signature));
}

fn ec_stranger() -> Signer {
    crate::authenticate::testing::p256_stranger()
}

#[test]
fn every_bit_of_a_token_is_signed() {
    let token = signed(&claims());
    let dots: Vec<usize> = token.match_indices('.').map(|(at, _)| at).collect();
    for at in [dots[0] - 1, dots[0] + 5, dots[1] - 1, dots[1] + 1, token.len() - 3] {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(verified(&String::from_utf8(bytes).unwrap()).is_err(), "{at}");
    }
    assert_eq!(verified(&format!("{token}A")).err(), Some(TokenFault::Signature));
    assert_eq!(verified(&format!("{token}=")).err(), Some(TokenFault::Malformed));
    assert_eq!(verified(&token[..dots[1] + 1]).err(), Some(TokenFault::Signature));
}

#[test]
fn kid_tricks_lead_to_no_key() {
    for kid in ["../../dev/null", "/dev/null", "https://evil.example/jwks", "k'--", "k\u{0}", "K", " k", ""] {
        let header = json!({"alg": "EdDSA", "kid": kid, "typ": "at+jwt"}).to_string();
        let token = ed25519().over(&header, &claims().to_string(), Algorithm::EdDsa);
        assert_eq!(verified(&token).err(), Some(TokenFault::UnknownKey), "{kid:?}");
    }
    let token = ed25519().over(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, &claims().to_string(), Algorithm::EdDsa);
    assert!(verified(&token).is_ok());
}

#[test]
fn each_of_several_keys_of_one_kid_is_tried() {
    let keys = json!({"keys": [ec_stranger().jwk("k"), p256().jwk("k")]}).to_string();
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    let token = p256().token(Algorithm::Es256, "at+jwt", &claims());
    assert!(verified_by(&rules(Profile::Rfc9068), &keys, &token, None).is_ok());
}

#[test]
fn the_issuer_is_compared_exactly() {
    for issuer in [
        json!("https://login.example/a/"),
        json!("https://login.example/b"),
        json!("HTTPS://login.example/a"),
        json!("https://login.example:443/a"),
        json!(["https://login.example/a"]),
        json!(null),
        json!(""),
    ] {
        assert_eq!(fault(&changed("iss", issuer.clone())), Some(TokenFault::Issuer), "{issuer}");
    }
    assert_eq!(fault(&without("iss")), Some(TokenFault::Issuer));
}

#[test]
fn aud_is_required_and_must_be_ours_in_every_profile() {
    for profile in Profile::ALL {
        for (claims, expected) in [
            (without("aud"), TokenFault::NoAudience),
            (changed("aud", json!([])), TokenFault::NoAudience),
            (changed("aud", json!("https://gw.example/other/mcp")), TokenFault::Audience),
            (changed("aud", json!(["client", "https://gw.example/"])), TokenFault::Audience),
        ] {
            let token = signed(&claims);
            let answer = verified_by(&rules(profile), &ed25519().keys(), &token, None);
            assert_eq!(answer.err(), Some(expected), "{profile:?} {claims}");
        }
    }
    assert_eq!(fault(&changed("aud", json!(["x", SERVER]))), None);
}

#[test]
fn times_are_checked_with_the_leeway_of_the_issuer() {
    let ends = |seconds: i64| fault(&changed("exp", json!(AT as i64 / 1000 + seconds)));
    assert_eq!((ends(-29), ends(-30)), (None, Some(TokenFault::Expired)));
    let begins = |seconds: i64| fault(&changed("nbf", json!(AT as i64 / 1000 + seconds)));
    assert_eq!((begins(30), begins(31)), (None, Some(TokenFault::NotYet)));
    let issued = |seconds: i64| fault(&changed("iat", json!(AT as i64 / 1000 + seconds)));
    assert_eq!((issued(30), issued(31)), (None, Some(TokenFault::IssuedLater)));
    assert_eq!(fault(&without("exp")), Some(TokenFault::NoExpiry));
    assert_eq!(fault(&without("nbf")), None);
    assert_eq!(fault(&changed("exp", json!("soon"))), Some(TokenFault::Date));
}

#[test]
fn id_tokens_logout_tokens_and_id_jags_are_refused_in_every_profile() {
    for profile in Profile::ALL {
        for typ in ["logout+jwt", "oauth-id-jag+jwt", "dpop+jwt"] {
            let token = ed25519().token(Algorithm::EdDsa, typ, &claims());
            assert_eq!(verified_by(&rules(profile), &ed25519().keys(), &token, None).err(), Some(TokenFault::Type));
        }
        let id = changed("nonce", json!("n"));
        let logout = changed("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}}));
        for claims in [id, logout] {
            for typ in ["JWT", "at+jwt"] {
                let token = ed25519().token(Algorithm::EdDsa, typ, &claims);
                assert!(verified_by(&rules(profile), &ed25519().keys(), &token, None).is_err(), "{profile:?} {typ}");
            }
        }
    }
    let token = ed25519().token(Algorithm::EdDsa, "JWT", &claims());
    assert_eq!(verified(&token).err(), Some(TokenFault::Type));
}

#[test]
fn a_bound_token_counts_with_its_certificate_only() {
    let bound = |value: Value| signed(&changed("cnf", value));
    let shown = |token: &str, certificate| verified_by(&rules(Profile::Rfc9068), &ed25519().keys(), token, certificate);
    let token = bound(json!({"x5t#S256": encoded(THUMBPRINT)}));
    assert_eq!(shown(&token, Some(&THUMBPRINT)).unwrap().bound, Some(THUMBPRINT));
    assert_eq!(shown(&token, Some(&[8; 32])).err(), Some(TokenFault::NotBound));
    assert_eq!(shown(&token, None).err(), Some(TokenFault::NotBound));
    for method in [
        json!({"jkt": "x"}),
        json!({"jwk": {}}),
        json!({"kid": "k"}),
        json!({"x5t#S256": encoded(THUMBPRINT), "jkt": "x"}),
        json!({"x5t#S256": encoded([7; 31])}),
        json!({"x5t#S256": encoded([7; 33])}),
        json!({"x5t#S256": 7}),
        json!({"X5T#S256": encoded(THUMBPRINT)}),
        json!({}),
        json!(null),
        json!("x5t#S256"),
    ] {
        assert_eq!(shown(&bound(method.clone()), Some(&THUMBPRINT)).err(), Some(TokenFault::Confirmation), "{method}");
    }
}

#[test]
fn a_token_id_is_a_short_text() {
    for (id, expected) in [(json!("x".repeat(256)), None), (json!("x".repeat(257)), Some(TokenFault::TokenId))] {
        assert_eq!(fault(&changed("jti", id)), expected);
    }
    for id in [json!(1), json!(""), json!(null)] {
        assert_eq!(fault(&changed("jti", id)), Some(TokenFault::TokenId));
    }
    assert_eq!(verified(&signed(&without("jti"))).unwrap().id, None);
}

fn introspected(answer: Value) -> Result<Verified, TokenFault> {
    let audiences = Audiences::new([SERVER]);
    let at = Circumstances { audiences: &audiences, certificate: Some(&THUMBPRINT), now: UnixMillis(AT) };
    rules(Profile::Rfc9068).introspected(answer.as_object().cloned().unwrap(), at, 60_000)
}

#[test]
fn what_an_issuer_answers_is_judged_like_a_token() {
    let answer = |name: &str, value: Value| {
        let mut answer = json!({"active": true, "aud": SERVER, "sub": "s", "scope": "x", "exp": AT / 1000 + 10, "token_type": "Bearer"});
        answer[name] = value;
        introspected(answer)
    };
    // No longer than either says.
    assert_eq!(answer("x", json!(1)).unwrap().expires, UnixMillis(AT + 40_000));
    assert_eq!(answer("exp", json!(AT)).unwrap().expires, UnixMillis(AT + 60_000));
    assert_eq!(introspected(json!({"active": true, "aud": SERVER})).unwrap().expires, UnixMillis(AT + 60_000));
    for (name, value, fault) in [
        ("active", json!(false), TokenFault::Inactive),
        ("active", json!("true"), TokenFault::Inactive),
        ("active", json!(1), TokenFault::Inactive),
        ("iss", json!("https://other"), TokenFault::Issuer),
        ("aud", json!("https://other"), TokenFault::Audience),
        ("aud", json!(null), TokenFault::NoAudience),
        ("token_type", json!("DPoP"), TokenFault::Kind),
        ("token_type", json!("refresh_token"), TokenFault::Kind),
        ("typ", json!("Refresh"), TokenFault::Kind),
        ("exp", json!(AT / 1000 - 30), TokenFault::Expired),
        ("nbf", json!(AT / 1000 + 31), TokenFault::NotYet),
        ("cnf", json!({"jkt": "x"}), TokenFault::Confirmation),
        ("cnf", json!({"x5t#S256": encoded([1; 32])}), TokenFault::NotBound),
    ] {
        assert_eq!(answer(name, value.clone()).err(), Some(fault), "{name} {value}");
    }
    assert_eq!(answer("cnf", json!({"x5t#S256": encoded(THUMBPRINT)})).unwrap().bound, Some(THUMBPRINT));
    assert_eq!(introspected(json!({})).err(), Some(TokenFault::Inactive));
}

#[test]
fn nothing_of_a_token_is_printed() {
    let verified = verified(&signed(&claims())).unwrap();
    assert!(!format!("{verified:?}").contains("alice"));
    let mapping = crate::authenticate::claims::Mapping::of(Profile::Rfc9068);
    let facts = mapping.facts(verified, &"i".into(), Proof::Token { issuer: "corp".into() }).unwrap();
    assert_eq!(facts.credential.as_deref(), Some("j-1"));
}

proptest! {
    #[test]
    fn no_change_to_a_token_is_overlooked(at in any::<prop::sample::Index>(), byte in "[A-Za-z0-9_.-]") {
        let token = signed(&claims());
        let at = at.index(token.len());
        let changed = format!("{}{byte}{}", &token[..at], &token[at + 1..]);
        prop_assert_eq!(verified(&changed).is_ok(), changed == token);
    }

    #[test]
    fn no_claims_panic(name in "(aud|iss|exp|nbf|iat|cnf|jti|typ|nonce|x)", text in "\\PC{0,8}", number in any::<f64>(), which in 0..4_u8) {
        let value = match which { 0 => json!(text), 1 => json!(number), 2 => json!([text]), _ => json!({text: number}) };
        let _ = fault(&changed(&name, value));
    }
}
