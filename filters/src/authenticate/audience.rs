//! Whom a token is for (RFC 7519 section 4.1.3, RFC 8707).
//!
//! Audiences are compared code point by code point, as RFC 9728 section 6 compares resource identifiers; RFC 8707 defines no
//! other form. There is one exception: an http(s) URL without a path is the same as with the path `/` (RFC 3986 section
//! 6.2.3), and URL libraries write the one as the other before a token is asked for. A slash behind any other path, a
//! default port and the case of the host all matter.

use super::fault::TokenFault;
use serde_json::{Map, Value};

/// The longest audience of a token that is looked at, in bytes.
const AUDIENCE_BYTES_MAX: usize = 2048;

/// The audiences that are accepted at some place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Audiences(Box<[Box<str>]>);

impl Audiences {
    /// These, and no others. No audience at all accepts no token.
    pub fn new<S: AsRef<str>>(accepted: impl IntoIterator<Item = S>) -> Audiences {
        let mut all: Vec<Box<str>> = Vec::new();
        for audience in accepted {
            let audience = audience.as_ref();
            all.push(audience.into());
            if let Some(other) = other_spelling(audience) {
                all.push(other);
            }
        }
        all.retain(|audience| !audience.is_empty());
        all.sort_unstable();
        all.dedup();
        Audiences(all.into())
    }

    /// All spellings that are accepted, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|audience| &**audience)
    }

    /// The one of them that `aud` names.
    ///
    /// # Errors
    /// [`TokenFault::NoAudience`] where `aud` is neither a text nor a list of texts; [`TokenFault::Audience`] where it names
    /// none of them.
    pub fn find(&self, claims: &Map<String, Value>) -> Result<&str, TokenFault> {
        let named = match claims.get("aud") {
            Some(one @ Value::String(_)) => std::slice::from_ref(one),
            Some(Value::Array(several)) => several,
            _ => return Err(TokenFault::NoAudience),
        };
        let mut found = None;
        for audience in named {
            let Value::String(audience) = audience else { return Err(TokenFault::NoAudience) };
            if audience.len() > AUDIENCE_BYTES_MAX {
                return Err(TokenFault::NoAudience);
            }
            if found.is_none() {
                found = self.0.binary_search_by(|accepted| (**accepted).cmp(audience)).ok();
            }
        }
        match named.is_empty() {
            true => Err(TokenFault::NoAudience),
            false => found.and_then(|at| self.0.get(at)).map(|found| &**found).ok_or(TokenFault::Audience),
        }
    }
}

/// The other spelling of a URL whose path is empty or `/`.
fn other_spelling(url: &str) -> Option<Box<str>> {
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    match authority.find(['/', '?', '#']) {
        None if !authority.is_empty() => Some(format!("{url}/").into()),
        Some(at) if at > 0 && authority.get(at..) == Some("/") => url.strip_suffix('/').map(Into::into),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn find(accepted: &[&str], aud: Value) -> Result<String, TokenFault> {
        let audiences = Audiences::new(accepted);
        audiences.find(json!({"aud": aud}).as_object().unwrap()).map(str::to_owned)
    }

    #[test]
    fn an_audience_is_accepted_exactly() {
        let accepted = ["https://gw.example/mcp", "api://x"];
        assert_eq!(find(&accepted, json!("https://gw.example/mcp")).unwrap(), "https://gw.example/mcp");
        assert_eq!(find(&accepted, json!(["other", "api://x"])).unwrap(), "api://x");
        for other in [
            "https://gw.example/mcp/",
            "https://gw.example:443/mcp",
            "https://GW.example/mcp",
            "HTTPS://gw.example/mcp",
            "https://gw.example/mcp/admin",
            "https://gw.example",
            "https://gw.example/",
            "https://gw.example/MCP",
            "",
        ] {
            assert_eq!(find(&accepted, json!(other)), Err(TokenFault::Audience), "{other}");
        }
    }

    #[test]
    fn a_root_is_accepted_with_its_slash_and_without() {
        for spelt in ["https://gw.example", "https://gw.example/"] {
            assert!(find(&[spelt], json!("https://gw.example")).is_ok());
            assert!(find(&[spelt], json!("https://gw.example/")).is_ok());
            assert_eq!(find(&[spelt], json!("https://gw.example//")), Err(TokenFault::Audience));
        }
        assert_eq!(Audiences::new(["api://x", "https://", "https:///", "https://h?q"]).iter().count(), 4);
    }

    #[test]
    fn a_token_for_nobody_is_for_nobody() {
        for wrong in [json!(null), json!(1), json!([]), json!({}), json!(["api://x", 1]), json!([["api://x"]])] {
            assert_eq!(find(&["api://x"], wrong.clone()), Err(TokenFault::NoAudience), "{wrong}");
        }
        assert_eq!(Audiences::new(["api://x"]).find(&Map::new()), Err(TokenFault::NoAudience));
        assert_eq!(find(&[], json!("api://x")), Err(TokenFault::Audience));
        assert_eq!(find(&[""], json!("")), Err(TokenFault::Audience));
        assert_eq!(find(&["a"], json!("a".repeat(AUDIENCE_BYTES_MAX + 1))), Err(TokenFault::NoAudience));
    }
}
