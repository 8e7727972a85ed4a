//! The URL by which clients know a listener.

use super::{Invalid, ListenAddress, read_from_text, write_as_text};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use url::{Host, Url};

/// The start of every URL that clients are given: `https://gw.example.com`, with a path where a proxy in front strips one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// The URL of a listener that clients reach directly at its address.
    ///
    /// # Errors
    /// When the address does not make a URL; every socket address does.
    pub fn of_address(address: ListenAddress, tls: bool) -> Result<PublicUrl, Invalid> {
        let scheme = if tls { "https" } else { "http" };
        format!("{scheme}://{address}").parse()
    }

    /// The URL itself.
    pub const fn url(&self) -> &Url {
        &self.0
    }

    /// The host that clients ask for.
    pub fn host(&self) -> Option<Host<String>> {
        self.0.host().map(|host| host.to_owned())
    }

    /// The URL of a path below it.
    pub fn join(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    /// The same URL with the port that the system chose.
    #[must_use]
    pub fn with_port_of(&self, bound: SocketAddr) -> PublicUrl {
        let mut url = self.0.clone();
        // An http(s) URL always takes a port.
        let _ = url.set_port(Some(bound.port()));
        PublicUrl(url)
    }
}

impl FromStr for PublicUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<PublicUrl, Invalid> {
        let url = Url::parse(text).map_err(|error| Invalid::new(format!("this is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Invalid::new("a public URL starts with http:// or https://"));
        }
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare || url.query().is_some() || url.fragment().is_some() {
            return Err(Invalid::new("a public URL has no user, query or fragment"));
        }
        Ok(PublicUrl(url))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

write_as_text!(PublicUrl);
read_from_text!(PublicUrl, expecting: "a URL such as `https://gw.example.com`", schema: {
    "description": "The URL by which clients reach this listener, without the path of a virtual server.",
    "type": "string",
    "format": "uri",
    "examples": ["https://gw.example.com"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_urls_are_joined_with_paths() {
        let join = |text: &str| text.parse::<PublicUrl>().ok().map(|url| url.join("/mcp"));
        assert_eq!(join("https://gw.example.com").as_deref(), Some("https://gw.example.com/mcp"));
        assert_eq!(join("https://gw.example.com/").as_deref(), Some("https://gw.example.com/mcp"));
        assert_eq!(
            join("https://gw.example.com:8443/tools/").as_deref(),
            Some("https://gw.example.com:8443/tools/mcp")
        );
        for wrong in ["", "gw.example.com", "ftp://x", "https://u@x", "https://x?y", "https://x#y"] {
            assert_eq!(join(wrong), None, "{wrong:?} is no public URL");
        }
    }

    #[test]
    fn an_ephemeral_port_is_filled_in_once_bound() {
        let url = PublicUrl::of_address(ListenAddress::loopback(0), true)
            .map(|url| url.with_port_of(SocketAddr::from(([127, 0, 0, 1], 40123))).to_string());
        assert_eq!(url.as_deref(), Ok("https://127.0.0.1:40123"));
    }
}
