//! What a request shows of its caller, before anything of it is believed.
//!
//! A request shows one credential, in one place: where it could be read in two ways, it is refused. Tokens in the query
//! (RFC 6750 section 2.3) end up in logs and histories and are forbidden by MCP: such a request is refused even where it
//! also shows a token as it should.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};

/// The longest credential, in bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;
/// What API keys begin with, and no other credential does.
pub const API_KEY_PREFIX: &str = "lgk_";
/// Where API keys may be shown besides `Authorization: Bearer`.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The query parameter of RFC 6750 section 2.3.
const IN_QUERY: &[u8] = b"access_token";

/// What a request shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown<'a> {
    /// No credential.
    Nothing,
    /// A bearer token.
    Bearer(&'a str),
    /// An API key.
    ApiKey(&'a str),
}

/// Credentials are not printed.
impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Shown::Nothing => "Nothing",
            Shown::Bearer(_) => "Bearer(..)",
            Shown::ApiKey(_) => "ApiKey(..)",
        })
    }
}

/// Why what a request shows cannot be taken for a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialFault {
    /// `Authorization` stands there more than once.
    Repeated,
    /// `X-API-Key` stands there more than once.
    KeyRepeated,
    /// Both `Authorization` and `X-API-Key` stand there.
    Both,
    /// The scheme is not `Bearer`.
    Scheme,
    /// What follows the scheme is no bearer token (RFC 6750 section 2.1), or `X-API-Key` holds none of our keys.
    Malformed,
    /// Longer than [`CREDENTIAL_BYTES_MAX`].
    TooLong,
    /// The query holds a token.
    InQuery,
}

/// What a client is told of a [`CredentialFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// 401, with a challenge that names no error: as if nothing had been shown (RFC 6750 section 3.1).
    Challenge,
    /// 401 `invalid_token`.
    InvalidToken,
    /// 400 `invalid_request`.
    InvalidRequest,
}

impl CredentialFault {
    /// The metric label: lower case, stable.
    pub const fn label(self) -> &'static str {
        match self {
            CredentialFault::Repeated => "repeated",
            CredentialFault::KeyRepeated => "key_repeated",
            CredentialFault::Both => "both",
            CredentialFault::Scheme => "scheme",
            CredentialFault::Malformed => "malformed",
            CredentialFault::TooLong => "too_long",
            CredentialFault::InQuery => "in_query",
        }
    }

    /// What client and operator are told: it says nothing that the client does not know.
    pub const fn text(self) -> &'static str {
        match self {
            CredentialFault::Repeated => "Authorization was sent more than once",
            CredentialFault::KeyRepeated => "X-API-Key was sent more than once",
            CredentialFault::Both => "send either Authorization or X-API-Key",
            CredentialFault::Scheme => "Authorization must be Bearer",
            CredentialFault::Malformed => "the credential is malformed",
            CredentialFault::TooLong => "the credential is too long",
            CredentialFault::InQuery => "tokens are not accepted in the query: send them in Authorization",
        }
    }

    /// How the client is answered.
    pub const fn told(self) -> Told {
        match self {
            CredentialFault::Scheme => Told::Challenge,
            CredentialFault::Malformed | CredentialFault::TooLong => Told::InvalidToken,
            CredentialFault::Repeated
            | CredentialFault::KeyRepeated
            | CredentialFault::Both
            | CredentialFault::InQuery => Told::InvalidRequest,
        }
    }
}

/// What a request with these headers and this query shows.
///
/// # Errors
/// [`CredentialFault`] where it shows something that is not exactly one well-formed credential.
pub fn shown<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Result<Shown<'a>, CredentialFault> {
    if query.is_some_and(holds_token) {
        return Err(CredentialFault::InQuery);
    }
    let mut authorizations = headers.get_all(AUTHORIZATION).iter();
    let mut keys = headers.get_all(X_API_KEY).iter();
    let (authorization, key) = (authorizations.next(), keys.next());
    if authorizations.next().is_some() {
        return Err(CredentialFault::Repeated);
    }
    if keys.next().is_some() {
        return Err(CredentialFault::KeyRepeated);
    }
    match (authorization, key) {
        (None, None) => Ok(Shown::Nothing),
        (Some(_), Some(_)) => Err(CredentialFault::Both),
        (Some(value), None) => bearer(value.as_bytes()),
        (None, Some(value)) => match token68(value.as_bytes())? {
            key if key.starts_with(API_KEY_PREFIX) => Ok(Shown::ApiKey(key)),
            _ => Err(CredentialFault::Malformed),
        },
    }
}

/// `Bearer`, spaces, and a token (RFC 9110 section 11.4: the scheme's case does not matter, one space or more).
fn bearer(value: &[u8]) -> Result<Shown<'_>, CredentialFault> {
    let value = value.trim_ascii();
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(CredentialFault::Scheme);
    }
    let token = token68(rest)?;
    Ok(if token.starts_with(API_KEY_PREFIX) { Shown::ApiKey(token) } else { Shown::Bearer(token) })
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`, with spaces around it.
fn token68(value: &[u8]) -> Result<&str, CredentialFault> {
    let value = value.trim_ascii();
    if value.len() > CREDENTIAL_BYTES_MAX {
        return Err(CredentialFault::TooLong);
    }
    let padding = value.iter().rev().take_while(|byte| **byte == b'=').count();
    let (symbols, _) = value.split_at(value.len() - padding);
    let is_symbol = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    if symbols.is_empty() || !symbols.iter().all(is_symbol) {
        return Err(CredentialFault::Malformed);
    }
    std::str::from_utf8(value).map_err(|_| CredentialFault::Malformed)
}

/// Whether some parameter is called `access_token`, as it is or percent-encoded, in whatever case.
fn holds_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        decoded_is(name.as_bytes(), IN_QUERY)
    })
}

fn decoded_is(mut encoded: &[u8], name: &[u8]) -> bool {
    for expected in name {
        let (byte, rest) = match encoded {
            [b'%', high, low, rest @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, rest),
                _ => return false,
            },
            [byte, rest @ ..] => (*byte, rest),
            [] => return false,
        };
        if !byte.eq_ignore_ascii_case(expected) {
            return false;
        }
        encoded = rest;
    }
    encoded.is_empty()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn read(fields: &[(&'static str, &str)], query: Option<&str>) -> Result<String, CredentialFault> {
        let headers = headers(fields);
        shown(&headers, query).map(|shown| match shown {
            Shown::Nothing => String::new(),
            Shown::Bearer(token) => format!("bearer {token}"),
            Shown::ApiKey(key) => format!("key {key}"),
        })
    }

    #[test]
    fn one_credential_in_its_place_is_taken() {
        assert_eq!(read(&[], None).unwrap(), "");
        assert_eq!(read(&[("authorization", "Bearer a.b.c")], None).unwrap(), "bearer a.b.c");
        assert_eq!(read(&[("authorization", "bEARER   aZ0-._~+/==")], Some("a=b")).unwrap(), "bearer aZ0-._~+/==");
        assert_eq!(read(&[("authorization", "Bearer lgk_x_y")], None).unwrap(), "key lgk_x_y");
        assert_eq!(read(&[("x-api-key", " lgk_x_y ")], None).unwrap(), "key lgk_x_y");
    }

    #[test]
    fn anything_else_is_a_fault_of_its_own() {
        use CredentialFault::*;
        for (fields, fault) in [
            (&[("authorization", "Bearer a"), ("authorization", "Bearer a")][..], Repeated),
            (&[("x-api-key", "lgk_a"), ("x-api-key", "lgk_a")], KeyRepeated),
            (&[("authorization", "Bearer a"), ("x-api-key", "lgk_a")], Both),
            (&[("authorization", "Basic YTpi")], Scheme),
            (&[("authorization", "DPoP a.b.c")], Scheme),
            (&[("authorization", "")], Scheme),
            (&[("authorization", "Bearer")], Malformed),
            (&[("authorization", "Bearer ")], Malformed),
            (&[("authorization", "Bearer ==")], Malformed),
            (&[("authorization", "Bearer a b")], Malformed),
            (&[("authorization", "Bearer a,b")], Malformed),
            (&[("authorization", "Bearer a=b")], Malformed),
            (&[("authorization", "Bearer \u{e9}")], Malformed),
            (&[("authorization", "Bearer\ta")], Scheme),
            (&[("x-api-key", "secret")], Malformed),
            (&[("x-api-key", "")], Malformed),
        ] {
            assert_eq!(read(fields, None).unwrap_err(), fault, "{fields:?}");
        }
        let longest = format!("Bearer {}", "a".repeat(CREDENTIAL_BYTES_MAX));
        assert!(read(&[("authorization", &longest)], None).is_ok());
        assert_eq!(read(&[("authorization", &format!("{longest}a"))], None).unwrap_err(), TooLong);
    }

    #[test]
    fn a_token_in_the_query_is_refused_however_it_is_spelt() {
        for query in [
            "access_token=x",
            "a=b&access_token=x",
            "access_token",
            "%61ccess_token=x",
            "%61%63%63%65%73%73%5F%74%6f%6B%65%6e=",
            "access%5ftoken=x",
            "ACCESS_TOKEN=x",
            "a;access_token=x",
        ] {
            assert_eq!(read(&[], Some(query)), Err(CredentialFault::InQuery), "{query}");
            assert_eq!(read(&[("authorization", "Bearer a")], Some(query)), Err(CredentialFault::InQuery));
        }
        for query in
            ["", "access_tokens=x", "xaccess_token=x", "token=access_token", "access%token=x", "access%zztoken", "%"]
        {
            assert_eq!(read(&[], Some(query)).as_deref(), Ok(""), "{query}");
        }
    }

    #[test]
    fn clients_are_told_what_the_rfc_says() {
        assert_eq!(CredentialFault::InQuery.told(), Told::InvalidRequest);
        assert_eq!(CredentialFault::Scheme.told(), Told::Challenge);
        assert_eq!(CredentialFault::TooLong.told(), Told::InvalidToken);
    }

    #[test]
    fn credentials_are_not_printed() {
        assert_eq!(format!("{:?}{:?}", Shown::Bearer("secret"), Shown::ApiKey("secret")), "Bearer(..)ApiKey(..)");
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_understood_in_one_way(value in "\\PC{0,40}", query in "\\PC{0,40}") {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
                if let Ok(Shown::Bearer(token)) = shown(&headers, Some(&query)) {
                    prop_assert!(token.is_ascii() && !token.contains([' ', ',', '"']));
                }
            }
        }
    }
}
