//! Web origins that browsers may call from.

use super::host::{loopback_hosts, parse_host, parse_port, split_port};
use super::{Invalid, read_from_text, write_as_text};
use std::fmt;
use std::str::FromStr;
use url::Host;

/// Which ports of an origin are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OriginPort {
    /// The scheme's own port: the origin is written without one.
    Default,
    /// This port only.
    Only(u16),
    /// Every port, written `*`.
    Any,
}

/// A value of the `Origin` header that is let in (RFC 6454 section 6.2), such as `https://app.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedOrigin {
    scheme: String,
    host: Host<String>,
    port: OriginPort,
}

impl AllowedOrigin {
    /// The scheme, lower-case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host: a lower-case name, or an address.
    pub const fn host(&self) -> &Host<String> {
        &self.host
    }

    /// Which ports are let in.
    pub const fn port(&self) -> OriginPort {
        self.port
    }

    /// `http` and `https` pages of this machine, on every port.
    pub fn loopback() -> Vec<AllowedOrigin> {
        let of = |scheme: &str, host: &Host<String>| AllowedOrigin {
            scheme: scheme.to_owned(),
            host: host.clone(),
            port: OriginPort::Any,
        };
        loopback_hosts().iter().flat_map(|host| [of("http", host), of("https", host)]).collect()
    }
}

impl FromStr for AllowedOrigin {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<AllowedOrigin, Invalid> {
        if text == "*" {
            return Err(Invalid::new("`*` would let every web page in; list the origins"));
        }
        let Some((scheme, authority)) = text.split_once("://") else {
            return Err(Invalid::new("an origin is a scheme and a host, such as `https://app.example.com`"));
        };
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(letters) {
            return Err(Invalid::new("an origin starts with a scheme, such as `https://`"));
        }
        if authority.contains(['/', '?', '#', '@']) {
            return Err(Invalid::new("an origin has no path, user or query: `https://app.example.com`"));
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_port(authority);
        let port = match port {
            None => OriginPort::Default,
            Some("*") => OriginPort::Any,
            Some(port) => match (parse_port(port)?, scheme.as_str()) {
                (80, "http") | (443, "https") => OriginPort::Default,
                (port, _) => OriginPort::Only(port),
            },
        };
        Ok(AllowedOrigin { host: parse_host(host)?, scheme, port })
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            OriginPort::Default => Ok(()),
            OriginPort::Only(port) => write!(f, ":{port}"),
            OriginPort::Any => f.write_str(":*"),
        }
    }
}

write_as_text!(AllowedOrigin);
read_from_text!(AllowedOrigin, expecting: "an origin such as `https://app.example.com`", schema: {
    "description": "A web origin: scheme and host, with a port where it is not the scheme's own, or `:*` for every port.",
    "type": "string",
    "examples": ["https://app.example.com", "http://localhost:*"]
});

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> Option<String> {
        text.parse::<AllowedOrigin>().ok().map(|origin| origin.to_string())
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        assert_eq!(written("https://App.Example.com").as_deref(), Some("https://app.example.com"));
        assert_eq!(written("https://app.example.com:443").as_deref(), Some("https://app.example.com"));
        assert_eq!(written("http://localhost:6274").as_deref(), Some("http://localhost:6274"));
        assert_eq!(written("http://[::1]:*").as_deref(), Some("http://[::1]:*"));
        assert_eq!(written("vscode-webview://abc").as_deref(), Some("vscode-webview://abc"));
        for wrong in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://x/",
            "https://u@x",
            "https://*.x",
            "://x",
            "https://x:y",
        ] {
            assert_eq!(written(wrong), None, "{wrong:?} is no origin");
        }
    }

    #[test]
    fn the_loopback_origins_are_all_ports_of_this_machine() {
        let all: Vec<String> = AllowedOrigin::loopback().iter().map(ToString::to_string).collect();
        assert_eq!(
            all,
            [
                "http://localhost:*",
                "https://localhost:*",
                "http://127.0.0.1:*",
                "https://127.0.0.1:*",
                "http://[::1]:*",
                "https://[::1]:*"
            ]
        );
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_written_reads_back(text in "([a-z]+://)?\\PC*") {
            if let Some(once) = written(&text) {
                prop_assert_eq!(written(&once), Some(once));
            }
        }
    }
}
