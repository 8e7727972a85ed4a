//! Where a backend is reached: an `http` or `https` URL, a unix socket, or the built-in demo server.

use super::{Invalid, MASK, read_from_text, write_as_text};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use url::Url;

/// The longest path of a unix socket that Linux binds, in bytes (`sun_path` without its end mark).
const SOCKET_PATH_MAX: usize = 107;

/// The URL of one endpoint of a backend.
///
/// `Display` writes it in full, for requests and comparisons; `Debug` masks the query, which may hold a key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum EndpointUrl {
    /// An `http://` or `https://` URL without user info or fragment.
    Http(Url),
    /// `unix:///run/x.sock:/mcp`: HTTP over a unix socket.
    Unix {
        /// The absolute path of the socket.
        socket: PathBuf,
        /// The path (and query) of the URL that is requested over it.
        path: String,
    },
    /// `demo:`: the demo server inside this process, behind an ephemeral loopback port.
    Demo,
}

impl EndpointUrl {
    /// Whether TLS is spoken to it.
    pub fn is_tls(&self) -> bool {
        matches!(self, EndpointUrl::Http(url) if url.scheme() == "https")
    }

    /// Whether it is reached over HTTP, on the network or through a unix socket.
    pub const fn is_http(&self) -> bool {
        !matches!(self, EndpointUrl::Demo)
    }

    /// Whether it carries a query, which often holds a key.
    pub fn has_query(&self) -> bool {
        match self {
            EndpointUrl::Http(url) => url.query().is_some(),
            EndpointUrl::Unix { path, .. } => path.contains('?'),
            EndpointUrl::Demo => false,
        }
    }
}

impl FromStr for EndpointUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<EndpointUrl, Invalid> {
        if text == "demo:" {
            return Ok(EndpointUrl::Demo);
        }
        if let Some(rest) = text.strip_prefix("unix:") {
            return parse_unix(rest);
        }
        let url = Url::parse(text).map_err(|error| Invalid::new(format!("this is not a URL: {error}")))?;
        match url.scheme() {
            "http" | "https" => {}
            _ => return Err(Invalid::new("the URL of an endpoint starts with http://, https:// or unix://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Invalid::new(
                "credentials do not belong into a URL; set an `authorization` header under `headers`",
            ));
        }
        if url.fragment().is_some() {
            return Err(Invalid::new("the URL of an endpoint has no fragment (`#`)"));
        }
        Ok(EndpointUrl::Http(url))
    }
}

/// Reads what follows `unix:`: `///run/x.sock:/mcp`.
fn parse_unix(rest: &str) -> Result<EndpointUrl, Invalid> {
    let form =
        || Invalid::new("a unix endpoint is `unix:///path/of.sock:/url/path`, such as `unix:///run/x.sock:/mcp`");
    let rest = rest.strip_prefix("//").ok_or_else(form)?;
    let (socket, path) = match rest.rfind(":/") {
        Some(colon) => (rest.get(..colon).ok_or_else(form)?, rest.get(colon + 1..).ok_or_else(form)?),
        None => (rest, "/mcp"),
    };
    if !Path::new(socket).is_absolute() || socket.ends_with('/') || socket.contains('\0') {
        return Err(form());
    }
    if socket.len() > SOCKET_PATH_MAX {
        return Err(Invalid::new(format!("the path of a unix socket has at most {SOCKET_PATH_MAX} bytes")));
    }
    let visible = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !visible {
        return Err(Invalid::new("the URL path of a unix endpoint is visible ASCII without `#`"));
    }
    Ok(EndpointUrl::Unix { socket: PathBuf::from(socket), path: path.to_owned() })
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointUrl::Http(url) => f.write_str(url.as_str()),
            EndpointUrl::Unix { socket, path } => write!(f, "unix://{}:{path}", socket.display()),
            EndpointUrl::Demo => f.write_str("demo:"),
        }
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_string();
        match text.split_once('?') {
            Some((before, _)) => write!(f, "{before}?{MASK}"),
            None => f.write_str(&text),
        }
    }
}

write_as_text!(EndpointUrl);
read_from_text!(EndpointUrl, expecting: "a URL such as `http://127.0.0.1:9000/mcp`", schema: {
    "description": "http://, https://, unix:///socket/path:/url/path, or `demo:` for the built-in demo server.",
    "type": "string",
    "examples": ["http://127.0.0.1:9000/mcp", "https://mcp.example.com/mcp", "unix:///run/server.sock:/mcp", "demo:"]
});

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn endpoint(text: &str) -> Result<EndpointUrl, Invalid> {
        text.parse()
    }

    #[test]
    fn http_unix_and_demo_are_endpoints() {
        assert!(endpoint("http://127.0.0.1:9000/mcp").is_ok_and(|url| !url.is_tls() && !url.has_query()));
        assert!(endpoint("https://example.com/mcp?key=1").is_ok_and(|url| url.is_tls() && url.has_query()));
        assert_eq!(endpoint("demo:"), Ok(EndpointUrl::Demo));
        let unix = |socket: &str, path: &str| Ok(EndpointUrl::Unix { socket: socket.into(), path: path.into() });
        assert_eq!(endpoint("unix:///run/x.sock:/mcp"), unix("/run/x.sock", "/mcp"));
        assert_eq!(endpoint("unix:///run/x.sock"), unix("/run/x.sock", "/mcp"));
        assert_eq!(endpoint("unix:///run/a:/b.sock:/mcp"), unix("/run/a:/b.sock", "/mcp"));
    }

    #[test]
    fn a_query_is_not_printed_for_debugging() {
        assert_eq!(format!("{:?}", endpoint("http://x/mcp?key=hunter2")), "Ok(http://x/mcp?********)");
        assert_eq!(
            format!("{:?}", endpoint("unix:///run/x.sock:/mcp?hunter2")),
            "Ok(unix:///run/x.sock:/mcp?********)"
        );
    }

    #[test]
    fn other_urls_are_refused_with_a_reason() {
        for (wrong, reason) in [
            ("", "not a URL"),
            ("127.0.0.1:9000/mcp", "not a URL"),
            ("ftp://example.com", "starts with http://"),
            ("http://user:hunter2@example.com/", "credentials"),
            ("http://example.com/#x", "fragment"),
            ("unix:/run/x.sock", "unix endpoint is"),
            ("unix://run/x.sock:/mcp", "unix endpoint is"),
            ("unix:///run/x.sock:/a b", "visible ASCII"),
        ] {
            let message = endpoint(wrong).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains(reason), "{wrong}: {message:?}");
            assert!(!message.contains("hunter2"));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_written_reads_back(text in "((unix|http|https|demo):)?\\PC*") {
            if let Ok(url) = endpoint(&text) {
                prop_assert_eq!(endpoint(&url.to_string()), Ok(url));
            }
        }
    }
}
