//! The address a listener binds: an IP address and a port.

use super::{Invalid, read_from_text, write_as_text};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// An IP address and a port to accept connections on. Port 0 lets the system choose one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddress(SocketAddr);

impl ListenAddress {
    /// An address of the IPv4 loopback interface.
    pub const fn loopback(port: u16) -> ListenAddress {
        ListenAddress(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// The socket address to bind.
    pub const fn socket(self) -> SocketAddr {
        self.0
    }

    /// Whether only this host can reach it.
    pub fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }

    /// Whether the system chooses the port.
    pub const fn is_ephemeral(self) -> bool {
        self.0.port() == 0
    }

    /// Whether binding both would clash: the same port, and the same address or one that means every address.
    pub fn clashes_with(self, other: ListenAddress) -> bool {
        let (one, two) = (self.0.ip(), other.0.ip());
        let overlap = one == two || one.is_unspecified() || two.is_unspecified();
        !self.is_ephemeral() && self.0.port() == other.0.port() && overlap
    }
}

impl FromStr for ListenAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ListenAddress, Invalid> {
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            return Ok(ListenAddress::loopback(port));
        }
        text.parse().map(ListenAddress).map_err(|_| {
            Invalid::new("an address is `IP:port`, such as `127.0.0.1:8080`, `0.0.0.0:8080` or `[::]:8080`")
        })
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> ListenAddress {
        ListenAddress(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

write_as_text!(ListenAddress);
read_from_text!(ListenAddress, expecting: "an address such as `127.0.0.1:8080`", schema: {
    "description": "An IP address and a port, such as `127.0.0.1:8080`; port 0 lets the system choose.",
    "type": "string",
    "examples": ["127.0.0.1:8080", "0.0.0.0:443", "[::]:8080"]
});

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ListenAddress {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn addresses_are_an_ip_and_a_port() {
        assert!(address("127.0.0.1:8080").is_loopback());
        assert!(address("localhost:8080").is_loopback());
        assert!(address("[::1]:8080").is_loopback());
        assert!(address("[::ffff:127.0.0.1]:8080").is_loopback());
        assert!(!address("0.0.0.0:8080").is_loopback());
        for wrong in ["", "8080", ":8080", "example.com:80", "127.0.0.1", "127.0.0.1:99999", "::1:80"] {
            assert!(wrong.parse::<ListenAddress>().is_err(), "{wrong:?} is no address");
        }
    }

    #[test]
    fn every_address_clashes_with_any_on_its_port() {
        assert!(address("0.0.0.0:80").clashes_with(address("127.0.0.1:80")));
        assert!(address("[::]:80").clashes_with(address("127.0.0.1:80")));
        assert!(address("127.0.0.1:80").clashes_with(address("127.0.0.1:80")));
        assert!(!address("127.0.0.1:80").clashes_with(address("127.0.0.2:80")));
        assert!(!address("127.0.0.1:80").clashes_with(address("127.0.0.1:81")));
        assert!(!address("127.0.0.1:0").clashes_with(address("127.0.0.1:0")));
    }
}
