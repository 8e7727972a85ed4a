//! Host names that clients may ask for.

use super::{Invalid, read_from_text, write_as_text};
use std::fmt;
use std::str::FromStr;
use url::Host;

/// A value of the `Host` header that is let in: a name or IP address, and a port where only that one is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedHost {
    host: Host<String>,
    port: Option<u16>,
}

impl AllowedHost {
    /// A host on every port.
    pub const fn any_port(host: Host<String>) -> AllowedHost {
        AllowedHost { host, port: None }
    }

    /// The names by which a client on this machine asks for it.
    pub fn loopback() -> Vec<AllowedHost> {
        loopback_hosts().map(AllowedHost::any_port).to_vec()
    }

    /// The host: a lower-case name, or an address.
    pub const fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The only port that is let in; `None` lets every port in.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

/// `localhost`, `127.0.0.1` and `[::1]`.
pub(super) fn loopback_hosts() -> [Host<String>; 3] {
    [
        Host::Domain("localhost".to_owned()),
        Host::Ipv4(std::net::Ipv4Addr::LOCALHOST),
        Host::Ipv6(std::net::Ipv6Addr::LOCALHOST),
    ]
}

/// Reads a host without a port: a name (lower-cased), an IPv4 address or a bracketed IPv6 address.
pub(super) fn parse_host(text: &str) -> Result<Host<String>, Invalid> {
    if text.contains('*') {
        return Err(Invalid::new("wildcards are not supported here; list every host by name"));
    }
    if !text.is_ascii() {
        return Err(Invalid::new("write an international host name in its `xn--` form"));
    }
    if text.contains('%') {
        return Err(Invalid::new("this is not a host name or IP address"));
    }
    Host::parse(text)
        .map_err(|_| Invalid::new("this is not a host name or IP address (IPv6 goes in brackets: `[::1]`)"))
}

/// Splits `host:port`; brackets keep the colons of an IPv6 address together.
pub(super) fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => {
            (text.get(..colon).unwrap_or_default(), Some(text.get(colon + 1..).unwrap_or_default()))
        }
        _ => (text, None),
    }
}

/// Reads a port number from 1 to 65535.
pub(super) fn parse_port(text: &str) -> Result<u16, Invalid> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(Invalid::new("a port is a number from 1 to 65535")),
    }
}

impl FromStr for AllowedHost {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<AllowedHost, Invalid> {
        if text.contains("://") {
            return Err(Invalid::new("a host is written without a scheme: `gw.example.com`"));
        }
        let (host, port) = split_port(text);
        Ok(AllowedHost { host: parse_host(host)?, port: port.map(parse_port).transpose()? })
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

write_as_text!(AllowedHost);
read_from_text!(AllowedHost, expecting: "a host name", schema: {
    "description": "A host name or IP address; with a port, only that port.",
    "type": "string",
    "examples": ["gw.example.com", "gw.example.com:8443", "[2001:db8::1]"]
});

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> Option<String> {
        text.parse::<AllowedHost>().ok().map(|host| host.to_string())
    }

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        assert_eq!(written("GW.Example.com").as_deref(), Some("gw.example.com"));
        assert_eq!(written("gw.example.com:8443").as_deref(), Some("gw.example.com:8443"));
        assert_eq!(written("[::1]").as_deref(), Some("[::1]"));
        assert_eq!(written("[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(written("10.0.0.1").as_deref(), Some("10.0.0.1"));
        for wrong in [
            "",
            "*",
            "*.example.com",
            "http://x",
            "x:0",
            "x:",
            "x:+80",
            "x:99999",
            "::1",
            "a b",
            "bücher.example",
            "a/b",
            "a%41",
        ] {
            assert_eq!(written(wrong), None, "{wrong:?} is no host");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_written_reads_back(text in "\\PC*") {
            if let Some(once) = written(&text) {
                prop_assert_eq!(written(&once), Some(once));
            }
        }
    }
}
