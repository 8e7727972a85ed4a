//! Where other gateway nodes are.

use super::host::{parse_host, parse_port, split_port};
use super::{Invalid, read_from_text, write_as_text};
use std::fmt;
use std::str::FromStr;
use url::Host;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    host: Host<String>,
    port: u16,
}

impl PeerAddress {
    /// The name or IP address.
    pub const fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for PeerAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<PeerAddress, Invalid> {
        if text.contains("://") {
            return Err(Invalid::new("a peer is written without a scheme: `lockgate.internal:7801`"));
        }
        let (host, port) = split_port(text);
        let port = port.ok_or_else(|| Invalid::new("a peer needs a port: `lockgate.internal:7801`"))?;
        Ok(PeerAddress { host: parse_host(host)?, port: parse_port(port)? })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

write_as_text!(PeerAddress);
read_from_text!(PeerAddress, expecting: "a host and a port such as `lockgate.internal:7801`", schema: {
    "description": "A host name or IP address and a port, such as `lockgate.internal:7801`; IPv6 in brackets.",
    "type": "string",
    "examples": ["lockgate.internal:7801", "10.0.0.2:7801", "[fd00::2]:7801"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_host_and_a_port() {
        for right in ["lockgate.internal:7801", "10.0.0.2:7801", "[fd00::2]:7801"] {
            assert_eq!(right.parse::<PeerAddress>().map(|peer| peer.to_string()), Ok(right.to_owned()));
        }
        assert_eq!("LOCKGATE.internal:1".parse::<PeerAddress>().unwrap().to_string(), "lockgate.internal:1");
        for wrong in ["", ":1", "a", "a:", "a:0", "a:65536", "[::1]", "http://a:1", "a:1/x", "a b:1"] {
            assert!(wrong.parse::<PeerAddress>().is_err(), "{wrong:?} is no peer");
        }
    }
}
