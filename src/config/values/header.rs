//! Names of header fields that a configuration may pass to a backend or set on requests to it.

use super::{Invalid, read_from_text, write_as_text};
use http::HeaderName;
use std::fmt;
use std::str::FromStr;

/// Why no configuration touches what frames a message, or ends at the next hop.
const HOP: &str = "it belongs to one connection and never passes through";
/// Why no configuration touches what describes a body.
const BODY: &str = "it describes the body, which is the gateway's to send";
/// Why no configuration touches what may be answered.
const ANSWER: &str = "it says which answers the gateway can read";

/// Fields that HTTP/1.1 and HTTP/2 framing or the gateway itself own, and why a configuration neither sets them nor has
/// them passed on.
const OWNED: [(&str, &str); 20] = [
    ("accept", ANSWER),
    ("accept-encoding", ANSWER),
    ("connection", HOP),
    ("content-encoding", BODY),
    ("content-length", BODY),
    ("content-type", BODY),
    ("expect", HOP),
    ("forwarded", "it tells of proxies in front, which backends are not told of"),
    ("host", "it names the endpoint, as its URL does"),
    ("http2-settings", HOP),
    ("keep-alive", HOP),
    ("last-event-id", "it passes on by itself, where a stream is taken up"),
    ("origin", "the gateway judges it: towards a backend there is no web page"),
    ("proxy-authenticate", HOP),
    ("proxy-authorization", HOP),
    ("proxy-connection", HOP),
    ("te", HOP),
    ("trailer", HOP),
    ("transfer-encoding", HOP),
    ("upgrade", HOP),
];

/// Why no configuration touches the fields of MCP.
const MCP: &str = "`mcp-*` fields pass on by themselves, as MCP says, and the session id is one of the gateway's own";

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
        HeaderKey::owned(&name.to_ascii_lowercase()).is_some()
    }

    /// Why no configuration sets a field, where that is so.
    fn owned(name: &str) -> Option<&'static str> {
        if name.starts_with("mcp-") {
            return Some(MCP);
        }
        OWNED.iter().find(|(owned, _)| *owned == name).map(|(_, why)| *why)
    }
}

impl FromStr for HeaderKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<HeaderKey, Invalid> {
        let name = HeaderName::try_from(text).map_err(|_| Invalid::new("this is not the name of a header field"))?;
        if let Some(why) = HeaderKey::owned(name.as_str()) {
            return Err(Invalid::new(format!("the gateway sets this header field itself: {why}")));
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
    fn who_names_an_owned_field_is_told_why() {
        for (name, why) in [("Connection", HOP), ("content-type", BODY), ("accept", ANSWER), ("mcp-name", MCP)] {
            let refused = name.parse::<HeaderKey>().unwrap_err().to_string();
            assert!(refused.ends_with(why), "{refused}");
        }
        assert!(["user-agent", "cookie", "x-forwarded-for"].iter().all(|name| name.parse::<HeaderKey>().is_ok()));
    }

    #[test]
    fn the_owned_names_are_in_order() {
        assert!(OWNED.is_sorted_by_key(|(name, _)| name));
    }
}
