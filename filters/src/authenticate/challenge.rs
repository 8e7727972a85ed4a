//! What a refused client is told in `WWW-Authenticate` (RFC 6750 section 3, RFC 9728 section 5.1).
//!
//! Everything in it comes from the configuration; nothing comes from the request. Why a token was refused is not said.

use super::claims::is_scope;
use std::fmt::Write;
use std::sync::Arc;

/// The most bytes of the scopes in one challenge. What does not fit is left out as a whole scope.
const SCOPE_BYTES_MAX: usize = 4096;

/// The challenges of one virtual server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenges {
    metadata: Box<str>,
    missing: Arc<str>,
    invalid_token: Arc<str>,
    invalid_request: Arc<str>,
}

impl Challenges {
    /// Those of a virtual server whose metadata (RFC 9728) is at this URL, and at which these scopes are needed for anything.
    pub fn new<'a>(metadata_url: &str, scopes: impl IntoIterator<Item = &'a str>) -> Challenges {
        let needed = joined(scopes);
        let metadata = quoted(metadata_url);
        let of = |error: Option<(&str, &str)>| challenge(error, &metadata, &needed).into();
        Challenges {
            missing: of(None),
            invalid_token: of(Some(("invalid_token", "the credential is not valid here"))),
            invalid_request: of(Some((
                "invalid_request",
                "the request shows more than one credential, or not as it must",
            ))),
            metadata: metadata.into(),
        }
    }

    /// 401: nothing was shown, so no error is named.
    pub fn missing(&self) -> &Arc<str> {
        &self.missing
    }

    /// 401: what was shown proves nothing.
    pub fn invalid_token(&self) -> &Arc<str> {
        &self.invalid_token
    }

    /// 400: what was shown cannot be read in one way, or stands where it must not.
    pub fn invalid_request(&self) -> &Arc<str> {
        &self.invalid_request
    }

    /// 403: more scopes are needed; these are all that the operation needs, in one go.
    pub fn insufficient_scope<'a>(&self, scopes: impl IntoIterator<Item = &'a str>) -> String {
        let error = Some(("insufficient_scope", "the operation needs more scopes"));
        challenge(error, &self.metadata, &joined(scopes))
    }
}

/// `metadata` is quoted already; scopes need no escapes.
fn challenge(error: Option<(&str, &str)>, metadata: &str, scopes: &str) -> String {
    let mut text = String::from("Bearer ");
    if let Some((code, description)) = error {
        // Writing to a string cannot fail.
        let _ = write!(text, r#"error="{code}", error_description="{description}", "#);
    }
    let _ = write!(text, "resource_metadata={metadata}");
    if !scopes.is_empty() {
        let _ = write!(text, r#", scope="{scopes}""#);
    }
    text
}

/// A scope that is none could end the quotes: it is left out.
fn joined<'a>(scopes: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    let mut seen: Vec<&str> = Vec::new();
    for scope in scopes {
        let fits = is_scope(scope) && text.len() + 1 + scope.len() <= SCOPE_BYTES_MAX;
        if !fits || seen.contains(&scope) {
            continue;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(scope);
        seen.push(scope);
    }
    text
}

/// A quoted string (RFC 9110 section 5.6.4); what cannot stand in a header is left out.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars().filter(|character| matches!(character, ' '..='~')) {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const METADATA: &str = "https://gw.example/.well-known/oauth-protected-resource/mcp";

    #[test]
    fn a_client_without_credentials_is_told_no_error() {
        let challenges = Challenges::new(METADATA, ["mcp:use", "mcp:use", "x"]);
        let expected = format!(r#"Bearer resource_metadata="{METADATA}", scope="mcp:use x""#);
        assert_eq!(**challenges.missing(), expected);
        assert_eq!(**Challenges::new(METADATA, []).missing(), format!(r#"Bearer resource_metadata="{METADATA}""#));
    }

    #[test]
    fn errors_are_named_as_the_rfc_names_them() {
        let challenges = Challenges::new(METADATA, ["mcp:use"]);
        let begin = |error: &str| format!(r#"Bearer error="{error}", error_description=""#);
        let end = |scopes: &str| format!(r#"", resource_metadata="{METADATA}", scope="{scopes}""#);
        for (text, error, scopes) in [
            (challenges.invalid_token().to_string(), "invalid_token", "mcp:use"),
            (challenges.invalid_request().to_string(), "invalid_request", "mcp:use"),
            (challenges.insufficient_scope(["a:b", "mcp:use", "a:b"]), "insufficient_scope", "a:b mcp:use"),
        ] {
            assert!(text.starts_with(&begin(error)) && text.ends_with(&end(scopes)), "{text}");
        }
    }

    #[test]
    fn nothing_ends_the_quotes() {
        let challenges = Challenges::new("https://x/\"\\\r\né", ["a\"b", "a\\b", "a b", "", "é", "ok"]);
        assert_eq!(**challenges.missing(), *r#"Bearer resource_metadata="https://x/\"\\", scope="ok""#);
    }

    #[test]
    fn a_challenge_is_bounded() {
        let scopes: Vec<String> = (0..10_000).map(|n| format!("scope:{n}")).collect();
        let text = Challenges::new(METADATA, []).insufficient_scope(scopes.iter().map(|scope| &**scope));
        assert!(text.len() < SCOPE_BYTES_MAX + 300);
        assert!(text.ends_with('"') && text.contains("scope:0 scope:1 "));
    }

    proptest! {
        #[test]
        fn every_challenge_is_a_header(url in "\\PC{0,30}", scope in "\\PC{0,10}") {
            let challenges = Challenges::new(&url, [&*scope]);
            prop_assert!(HeaderValue::from_str(challenges.missing()).is_ok());
            prop_assert!(HeaderValue::from_str(&challenges.insufficient_scope([&*scope])).is_ok());
        }
    }
}
