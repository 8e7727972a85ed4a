//! Networks in CIDR form, for the proxies that are trusted.

use super::{Invalid, read_from_text, write_as_text};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network such as `10.0.0.0/8`; a plain address is the network of that address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl Network {
    /// The network itself.
    pub const fn net(&self) -> &IpNet {
        &self.0
    }
}

impl FromStr for Network {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Network, Invalid> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Network(IpNet::from(address)));
        }
        let net: IpNet = text
            .parse()
            .map_err(|_| Invalid::new("a network is an address and a prefix length, such as `10.0.0.0/8`"))?;
        if net.trunc() != net {
            return Err(Invalid::new(
                "this address has bits beyond its prefix length; write the first address of the network",
            ));
        }
        Ok(Network(net))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

write_as_text!(Network);
read_from_text!(Network, expecting: "a network such as `10.0.0.0/8`", schema: {
    "description": "An IP network in CIDR form, or one address.",
    "type": "string",
    "examples": ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_cidrs_or_single_addresses() {
        let written = |text: &str| text.parse::<Network>().ok().map(|net| net.to_string());
        assert_eq!(written("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(written("10.1.2.3").as_deref(), Some("10.1.2.3/32"));
        assert_eq!(written("::1").as_deref(), Some("::1/128"));
        for wrong in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "localhost", "10.0.0.0/"] {
            assert_eq!(written(wrong), None, "{wrong:?} is no network");
        }
    }
}
