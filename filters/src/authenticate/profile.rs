//! What the access tokens of an issuer look like, and what tells its other tokens apart.
//!
//! An issuer signs more than access tokens with the same keys: ID tokens, logout tokens, refresh tokens, identity assertions.
//! RFC 9068 gives access tokens a `typ` of their own; where a product does not use it, an access token is known by what only
//! access tokens of that product hold:
//!
//! | profile | `typ` of the header | what must be there | known by |
//! |---|---|---|---|
//! | rfc9068 | `at+jwt` | nothing more | RFC 9068 sections 2.1 and 4 |
//! | entra | `JWT` | `azp` (v2.0) or `appid` (v1.0), and `scp` or `roles` | ID tokens name no client |
//! | keycloak | `JWT`, or `at+jwt` by a client's setting | claim `typ` = `Bearer` (ID, Refresh, Offline, Logout otherwise) | |
//! | okta | none, or `JWT` or `at+jwt` | `cid` and the list `scp` | ID tokens have neither |
//! | auth0 | `JWT`, or `at+jwt` by an API's setting | with `JWT`: `azp`, and `scope`, `permissions` or `gty` | ID tokens have only `azp` |
//!
//! In every profile a token with `nonce`, `at_hash`, `c_hash` or `s_hash` is an ID token (OpenID Connect Core), except that
//! Keycloak before 25, or with its compatibility mapper, also copies `nonce` into tokens of `typ` Bearer; one with `events` is
//! a security event (RFC 8417), such as a logout token; ID-JAGs and the like are told by their `typ`.

use super::fault::TokenFault;
use serde_json::{Map, Value};

/// The shape of an issuer's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// RFC 9068.
    #[default]
    Rfc9068,
    /// Microsoft Entra ID, tokens of version 1.0 and 2.0.
    Entra,
    /// Keycloak.
    Keycloak,
    /// Okta's custom authorization servers. Tokens of the organisation's own server are for Okta alone.
    Okta,
    /// Auth0, with its own token profile or that of RFC 9068.
    Auth0,
}

/// What `typ` says (RFC 7515 section 4.1.9: a media type, whose case does not matter, without `application/`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Typ {
    Absent,
    Jwt,
    AccessToken,
    Other,
}

impl Typ {
    fn of(typ: Option<&str>) -> Typ {
        let Some(typ) = typ else { return Typ::Absent };
        let named = |name: &str| {
            let rest = match typ.get(.."application/".len()) {
                Some(start) if start.eq_ignore_ascii_case("application/") => typ.get(start.len()..).unwrap_or_default(),
                _ => typ,
            };
            rest.eq_ignore_ascii_case(name)
        };
        if named("at+jwt") {
            Typ::AccessToken
        } else if named("jwt") {
            Typ::Jwt
        } else {
            Typ::Other
        }
    }
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 5] = [Profile::Rfc9068, Profile::Entra, Profile::Keycloak, Profile::Okta, Profile::Auth0];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Rfc9068 => "rfc9068",
            Profile::Entra => "entra",
            Profile::Keycloak => "keycloak",
            Profile::Okta => "okta",
            Profile::Auth0 => "auth0",
        }
    }

    /// Whether an access token may have this `typ` in its header.
    ///
    /// # Errors
    /// [`TokenFault::Type`] where it may not.
    pub(super) fn check_typ(self, typ: Option<&str>) -> Result<(), TokenFault> {
        let fits = match (self, Typ::of(typ)) {
            (_, Typ::AccessToken) => true,
            (_, Typ::Other) | (Profile::Rfc9068, _) => false,
            (Profile::Okta, Typ::Absent) => true,
            (_, Typ::Absent) => false,
            (_, Typ::Jwt) => true,
        };
        if fits { Ok(()) } else { Err(TokenFault::Type) }
    }

    /// Whether these are the claims of an access token, where the header has this `typ`.
    ///
    /// # Errors
    /// [`TokenFault::Kind`] where they are not.
    pub(super) fn check_kind(self, typ: Option<&str>, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        check_no_other_kind(claims, self == Profile::Keycloak)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        let list = |name: &str| claims.get(name).and_then(Value::as_array);
        let has = match self {
            Profile::Rfc9068 => true,
            Profile::Entra => {
                (text("azp") || text("appid")) && (text("scp") || list("roles").is_some_and(|roles| !roles.is_empty()))
            }
            Profile::Keycloak => match claims.get("typ") {
                Some(kind) => kind == "Bearer",
                None => Typ::of(typ) == Typ::AccessToken && !claims.contains_key("nonce"),
            },
            Profile::Okta => text("cid") && list("scp").is_some(),
            Profile::Auth0 => {
                let granted = || {
                    claims.get("scope").is_some_and(Value::is_string) || list("permissions").is_some() || text("gty")
                };
                Typ::of(typ) == Typ::AccessToken || text("azp") && granted()
            }
        };
        if has { Ok(()) } else { Err(TokenFault::Kind) }
    }
}

/// What no access token of any profile holds.
///
/// # Errors
/// [`TokenFault::Kind`] where it is there.
pub(super) fn check_no_other_kind(claims: &Map<String, Value>, nonce: bool) -> Result<(), TokenFault> {
    let foreign = ["at_hash", "c_hash", "s_hash", "events"].iter().any(|name| claims.contains_key(*name));
    let is = |name: &str, kinds: &[&str]| {
        let said = claims.get(name).and_then(Value::as_str).unwrap_or_default();
        kinds.iter().any(|kind| kind.eq_ignore_ascii_case(said))
    };
    // Keycloak says in `typ` what a token is, others in `token_use`.
    let kinds = ["id", "refresh", "offline", "logout"];
    if foreign || !nonce && claims.contains_key("nonce") || is("typ", &kinds) || is("token_use", &kinds) {
        return Err(TokenFault::Kind);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind(profile: Profile, typ: Option<&str>, claims: &Value) -> Result<(), TokenFault> {
        profile.check_typ(typ).and_then(|()| profile.check_kind(typ, claims.as_object().unwrap()))
    }

    /// An access token of each profile, as its product's documentation shows it.
    fn access_tokens() -> [(Profile, Option<&'static str>, Value); 9] {
        let rfc = json!({"iss": "i", "sub": "s", "aud": "a", "client_id": "c", "iat": 1, "jti": "j", "scope": "x"});
        let entra = json!({"ver": "2.0", "oid": "o", "tid": "t", "azp": "c", "azpacr": "1", "scp": "access_as_user"});
        let entra_app =
            json!({"ver": "1.0", "oid": "o", "tid": "t", "appid": "c", "idtyp": "app", "roles": ["Read.All"]});
        let keycloak =
            json!({"typ": "Bearer", "azp": "c", "sid": "s", "scope": "openid email", "realm_access": {"roles": []}});
        let keycloak_old = json!({"typ": "Bearer", "azp": "c", "nonce": "n", "scope": "openid"});
        let okta = json!({"ver": 1, "jti": "AT.x", "cid": "c", "uid": "u", "scp": ["openid", "x"], "sub": "a@b", "auth_time": 1});
        let auth0 = json!({"azp": "c", "scope": "openid profile read:x", "sub": "auth0|1"});
        let auth0_machine = json!({"azp": "c", "gty": "client-credentials", "sub": "c@clients"});
        [
            (Profile::Rfc9068, Some("at+jwt"), rfc.clone()),
            (Profile::Entra, Some("JWT"), entra),
            (Profile::Entra, Some("JWT"), entra_app),
            (Profile::Keycloak, Some("JWT"), keycloak),
            (Profile::Keycloak, Some("JWT"), keycloak_old),
            (Profile::Okta, None, okta),
            (Profile::Auth0, Some("JWT"), auth0),
            (Profile::Auth0, Some("JWT"), auth0_machine),
            (Profile::Auth0, Some("at+jwt"), rfc),
        ]
    }

    #[test]
    fn access_tokens_are_known_by_their_profile() {
        for (profile, typ, claims) in access_tokens() {
            assert_eq!(kind(profile, typ, &claims), Ok(()), "{profile:?} {claims}");
        }
    }

    #[test]
    fn id_tokens_are_refused_in_every_profile() {
        let id_tokens = [
            json!({"sub": "s", "aud": "client", "nonce": "n", "auth_time": 1}),
            json!({"sub": "s", "aud": "client", "at_hash": "h"}),
            json!({"sub": "s", "aud": "client", "c_hash": "h"}),
            // Entra, v2.0
            json!({"ver": "2.0", "oid": "o", "tid": "t", "aud": "client", "name": "A", "preferred_username": "a", "roles": ["r"]}),
            // Keycloak
            json!({"typ": "ID", "azp": "c", "nonce": "n", "at_hash": "h", "sid": "s", "acr": "1", "auth_time": 1}),
            // Okta
            json!({"ver": 1, "jti": "ID.x", "amr": ["pwd"], "idp": "i", "preferred_username": "a", "auth_time": 1}),
            // Auth0
            json!({"sub": "auth0|1", "aud": "client", "sid": "s", "name": "A", "email": "a@b"}),
            json!({"sub": "auth0|1", "aud": ["client", "x"], "azp": "client"}),
        ];
        for profile in Profile::ALL {
            for typ in [None, Some("JWT")] {
                for claims in &id_tokens {
                    assert!(kind(profile, typ, claims).is_err(), "{profile:?} {typ:?} {claims}");
                }
            }
            for claims in &id_tokens[..3] {
                assert_eq!(kind(profile, Some("at+jwt"), claims), Err(TokenFault::Kind), "{profile:?} {claims}");
            }
        }
    }

    #[test]
    fn what_an_id_token_holds_makes_no_access_token() {
        for (profile, typ, claims) in access_tokens() {
            for name in ["nonce", "at_hash", "c_hash", "s_hash", "events"] {
                let mut claims = claims.clone();
                claims[name] = json!("x");
                let expected =
                    if profile == Profile::Keycloak && name == "nonce" { Ok(()) } else { Err(TokenFault::Kind) };
                assert_eq!(kind(profile, typ, &claims), expected, "{profile:?} {name}");
            }
        }
    }

    #[test]
    fn logout_tokens_id_jags_and_others_are_refused_by_their_typ() {
        let others = [
            "logout+jwt",
            "oauth-id-jag+jwt",
            "application/oauth-id-jag+jwt",
            "secevent+jwt",
            "dpop+jwt",
            "token-introspection+jwt",
            "client-authentication+jwt",
            "application/okta-internal-at+jwt",
            "at+jwt ",
            "application/application/at+jwt",
            "JOSE",
            "",
        ];
        for (profile, _, claims) in access_tokens() {
            for typ in others {
                assert_eq!(kind(profile, Some(typ), &claims), Err(TokenFault::Type), "{profile:?} {typ}");
            }
        }
        let logout = json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "sid": "s", "azp": "c", "scope": ""});
        for profile in Profile::ALL {
            assert_eq!(kind(profile, Some("at+jwt"), &logout), Err(TokenFault::Kind));
        }
    }

    #[test]
    fn the_typ_of_rfc_9068_is_a_media_type() {
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
            assert_eq!(Profile::Rfc9068.check_typ(Some(typ)), Ok(()), "{typ}");
        }
        for typ in [None, Some("JWT"), Some("application/jwt"), Some("at+jwt;x=y")] {
            assert_eq!(Profile::Rfc9068.check_typ(typ), Err(TokenFault::Type), "{typ:?}");
        }
    }

    #[test]
    fn refresh_tokens_are_refused_in_every_profile() {
        for (profile, typ, claims) in access_tokens() {
            for (name, value) in
                [("typ", "Refresh"), ("typ", "Offline"), ("typ", "Logout"), ("typ", "ID"), ("token_use", "id")]
            {
                let mut claims = claims.clone();
                claims[name] = json!(value);
                assert_eq!(kind(profile, typ, &claims), Err(TokenFault::Kind), "{profile:?} {name} {value}");
            }
        }
    }

    #[test]
    fn a_token_without_what_its_profile_knows_it_by_is_refused() {
        for (profile, claims) in [
            (Profile::Entra, json!({"azp": "c"})),
            (Profile::Entra, json!({"azp": "c", "scp": "", "roles": []})),
            (Profile::Entra, json!({"scp": "x"})),
            (Profile::Keycloak, json!({"scope": "x"})),
            (Profile::Keycloak, json!({"typ": "bearer"})),
            (Profile::Keycloak, json!({"typ": ["Bearer"]})),
            (Profile::Okta, json!({"cid": "c", "scp": "x"})),
            (Profile::Okta, json!({"scp": ["x"]})),
            (Profile::Auth0, json!({"azp": "c"})),
            (Profile::Auth0, json!({"scope": "x"})),
        ] {
            assert_eq!(kind(profile, Some("JWT"), &claims), Err(TokenFault::Kind), "{profile:?} {claims}");
        }
    }
}
