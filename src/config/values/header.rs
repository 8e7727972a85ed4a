//! Names of header fields that a configuration may pass to a backend or set on requests to it.

use super::{Invalid, read_from_text, write_as_text};
use http::HeaderName;
use std::fmt;
use std::str::FromStr;

/// Fields that HTTP/1.1 and HTTP/2 framing or the gateway itself own: a configuration must not touch them.
const OWNED: [&str; 20] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "last-event-id",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The name of a header field, lower-case, that neither HTTP's framing nor the gateway owns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderKey(HeaderName);

impl HeaderKey {
    /// The field's name.
    pub const fn name(&self) -> &HeaderName {
        &self.0
    }

    /// Whether HTTP's framing or the gateway owns a field: no configuration sets it.
    pub fn is_owned(name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        OWNED.contains(&name.as_str()) || name.starts_with("mcp-")
    }
}

impl FromStr for HeaderKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<HeaderKey, Invalid> {
        let name = HeaderName::try_from(text).map_err(|_| Invalid::new("this is not the name of a header field"))?;
        if HeaderKey::is_owned(name.as_str()) {
            return Err(Invalid::new("the gateway sets this header field itself"));
        }
        Ok(HeaderKey(name))
    }
}

impl fmt::Display for HeaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

write_as_text!(HeaderKey);
read_from_text!(HeaderKey, expecting: "the name of a header field", schema: {
    "description": "The name of a header field; not one that the gateway sets itself, such as host or mcp-session-id.",
    "type": "string",
    "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_nobody_elses() {
        assert_eq!("X-Api-Key".parse::<HeaderKey>().map(|key| key.to_string()).as_deref(), Ok("x-api-key"));
        assert!("authorization".parse::<HeaderKey>().is_ok());
        for wrong in
            ["", "a b", "ä", "Host", "Content-Length", "Mcp-Session-Id", "mcp-param-x", "transfer-encoding", "x\r\ny"]
        {
            assert!(wrong.parse::<HeaderKey>().is_err(), "{wrong:?} is refused");
        }
    }

    #[test]
    fn the_owned_names_are_in_order() {
        assert!(OWNED.is_sorted());
    }
}
