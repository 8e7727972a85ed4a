//! Where the gateway may fetch from although it is no public place: networks, and hosts by name.

use super::host::parse_host;
use super::{Invalid, Network, read_from_text, write_as_text};
use std::fmt;
use std::str::FromStr;
use url::Host;

/// A network in CIDR form, one address, or a host name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Every address of a network.
    Network(Network),
    /// Whatever addresses a host name has; lower-case.
    Host(String),
}

impl FromStr for Reach {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Reach, Invalid> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if bare.contains(['/', ':']) || bare.parse::<std::net::IpAddr>().is_ok() {
            return bare.parse().map(Reach::Network);
        }
        match parse_host(text)? {
            Host::Domain(name) => Ok(Reach::Host(name)),
            // Other spellings of addresses (`127.1`) mean what URLs mean by them.
            Host::Ipv4(address) => address.to_string().parse().map(Reach::Network),
            Host::Ipv6(address) => address.to_string().parse().map(Reach::Network),
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Network(network) => fmt::Display::fmt(network, f),
            Reach::Host(name) => f.write_str(name),
        }
    }
}

write_as_text!(Reach);
read_from_text!(Reach, expecting: "a network such as `10.0.0.0/8`, or a host name", schema: {
    "description": "A network in CIDR form, one address, or a host name.",
    "type": "string",
    "minLength": 1,
    "format": "hostname-or-network",
    "examples": ["10.0.0.0/8", "idp.internal"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_networks_or_names() {
        let written = |text: &str| text.parse::<Reach>().ok().map(|reach| reach.to_string());
        assert_eq!(written("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(written("fd00::/8").as_deref(), Some("fd00::/8"));
        assert_eq!(written("[::1]").as_deref(), Some("::1/128"));
        assert_eq!(written("127.1").as_deref(), Some("127.0.0.1/32"));
        assert_eq!(written("IdP.internal").as_deref(), Some("idp.internal"));
        for wrong in ["", "*.internal", "10.0.0.1/8", "https://idp.internal", "idp.internal:443", "a b"] {
            assert_eq!(written(wrong), None, "{wrong:?}");
        }
    }
}
