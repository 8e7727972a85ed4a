//! The PROXY protocol (haproxy.org, `proxy-protocol.txt`, 2020/03/05): how a TCP proxy says who its client is.
//!
//! Written here rather than taken from a crate because a header must be refused at its first wrong byte and read to its
//! last byte and no further, and the crates that parse it either accept what the specification does not (any byte after
//! `PROXY`, signed ports) or come with a listener of their own.

use super::settings::ProxyProtocol;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The longest text header, with its CRLF.
const V1_MAX: usize = 107;

/// How a text header begins.
const V1_START: &[u8] = b"PROXY ";

/// How a binary header begins.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and protocol, length.
const V2_FIXED: usize = 16;

/// The longest binary header: enough for every type-length-value that proxies send, a client certificate included.
const V2_MAX: usize = V2_FIXED + 8 * 1024;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many bytes it takes.
    pub length: usize,
    /// Whether it is the binary form.
    pub binary: bool,
    /// The client's address; `None` when the proxy speaks for itself (a health check) or for a client without an IP
    /// address, so that the connection's own address counts.
    pub source: Option<SocketAddr>,
}

/// What was read is not, and will not become, a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PROXY header")]
pub struct Malformed;

impl ProxyProtocol {
    fn admits(self, header: &Header) -> bool {
        match self {
            ProxyProtocol::Off => false,
            ProxyProtocol::V1 => !header.binary,
            ProxyProtocol::V2 => header.binary,
            ProxyProtocol::Any => true,
        }
    }
}

/// Reads a header from the beginning of `bytes`: `None` when more bytes are needed.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    if begins(bytes, V2_SIGNATURE) {
        binary(bytes)
    } else if begins(bytes, V1_START) {
        text(bytes)
    } else {
        Err(Malformed)
    }
}

/// Whether a request that came without a header being expected is one after all.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(V1_START) || bytes.starts_with(&V2_SIGNATURE[..5])
}

/// Receives a header, and not one byte more. The outer error is the connection's.
pub(super) async fn receive(tcp: &mut TcpStream, wanted: ProxyProtocol) -> io::Result<Result<Header, Malformed>> {
    /// How much is looked at in one go: more than any header without type-length-values.
    const STEP: usize = 256;

    let mut held = Vec::new();
    loop {
        let before = held.len();
        held.resize(before + STEP, 0);
        let seen = tcp.peek(&mut held[before..]).await?;
        if seen == 0 {
            // Nothing at all is a connection that ended, a part is a header that will not become one.
            return if before == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Err(Malformed)) };
        }
        let parsed = parse(&held[..before + seen]);
        // Of an incomplete header every byte belongs to it; of a complete one, those up to its length.
        let until = match parsed {
            Err(malformed) => return Ok(Err(malformed)),
            Ok(None) => before + seen,
            Ok(Some(header)) => header.length,
        };
        tcp.read_exact(&mut held[before..until]).await?;
        held.truncate(until);
        if let Ok(Some(header)) = parsed {
            return Ok(if wanted.admits(&header) { Ok(header) } else { Err(Malformed) });
        }
    }
}

/// Whether `bytes` begins with `start`, or is the beginning of it.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    let both = bytes.len().min(start.len());
    bytes[..both] == start[..both]
}

/// The text form: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`.
fn text(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let looked_at = &bytes[..bytes.len().min(V1_MAX)];
    let Some(end) = memchr::memchr(b'\n', looked_at) else {
        return if looked_at.len() == V1_MAX { Err(Malformed) } else { Ok(None) };
    };
    let line = looked_at[..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let line = line.strip_prefix(V1_START).ok_or(Malformed)?;
    let source = if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        None
    } else {
        let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
        Some(text_source(line).ok_or(Malformed)?)
    };
    Ok(Some(Header { length: end + 1, binary: false, source }))
}

fn text_source(line: &str) -> Option<SocketAddr> {
    let mut words = line.split(' ');
    let family = words.next()?;
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse().ok().map(IpAddr::V4),
            "TCP6" => word.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, _destination) = (address()?, address()?);
    let (source_port, _destination_port) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| SocketAddr::new(source.to_canonical(), source_port))
}

/// Decimal digits without leading zeros or a sign.
fn port(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = word.len() > 1 && word.starts_with('0');
    if digits && !leading_zero { word.parse().ok() } else { None }
}

/// The binary form. Type-length-values are skipped.
fn binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;

    // Refused as soon as it is seen, so that nobody waits for the rest.
    if bytes.get(12).is_some_and(|command| !matches!(*command, LOCAL | PROXY)) {
        return Err(Malformed);
    }
    let Some(fixed) = bytes.get(..V2_FIXED) else { return Ok(None) };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > V2_MAX {
        return Err(Malformed);
    }
    let Some(block) = bytes.get(V2_FIXED..length) else { return Ok(None) };
    let source = if fixed[12] == LOCAL { None } else { binary_source(fixed[13], block)? };
    Ok(Some(Header { length, binary: true, source }))
}

fn binary_source(family: u8, block: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    match family {
        // Source and destination address, source and destination port.
        0x11 => {
            let block: &[u8; 12] = block.first_chunk().ok_or(Malformed)?;
            let address = Ipv4Addr::new(block[0], block[1], block[2], block[3]);
            Ok(Some(SocketAddr::new(address.into(), u16::from_be_bytes([block[8], block[9]]))))
        }
        0x21 => {
            let block: &[u8; 36] = block.first_chunk().ok_or(Malformed)?;
            let address: [u8; 16] = *block.first_chunk().ok_or(Malformed)?;
            let address = IpAddr::V6(Ipv6Addr::from(address)).to_canonical();
            Ok(Some(SocketAddr::new(address, u16::from_be_bytes([block[32], block[33]]))))
        }
        // Unspecified, datagrams, unix sockets: a valid header that names nobody whom we could know.
        0x00 => Ok(None),
        0x12 => enough(block, 12),
        0x22 => enough(block, 36),
        0x31 | 0x32 => enough(block, 216),
        _ => Err(Malformed),
    }
}

fn enough(block: &[u8], length: usize) -> Result<Option<SocketAddr>, Malformed> {
    if block.len() < length { Err(Malformed) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(bytes: &[u8]) -> Option<SocketAddr> {
        let header = parse(bytes).unwrap().unwrap();
        assert_eq!(header.length, bytes.len());
        header.source
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, family], &length, block].concat()
    }

    fn v2_inet(source: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        let family = match source.ip() {
            IpAddr::V4(address) => {
                block.extend(address.octets());
                block.extend([198, 51, 100, 1]);
                0x11
            }
            IpAddr::V6(address) => {
                block.extend(address.octets());
                block.extend([0; 16]);
                0x21
            }
        };
        block.extend(source.port().to_be_bytes());
        block.extend(443_u16.to_be_bytes());
        block.extend(tlvs);
        v2(0x21, family, &block)
    }

    #[test]
    fn text_headers_of_the_specification_are_read() {
        let address = |text: &str| Some(text.parse().unwrap());
        assert_eq!(source(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"), address("192.0.2.1:56324"));
        assert_eq!(source(b"PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n"), address("[2001:db8::1]:0"));
        assert_eq!(source(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), address("192.0.2.1:1"));
        assert_eq!(source(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(source(b"PROXY UNKNOWN whatever it says\r\n"), None);
    }

    #[test]
    fn malformed_text_headers_are_refused() {
        for line in [
            "PROXYx",
            "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
            "PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
            "PROXY UNKNOWNX\r\n",
            "GET / HTTP/1.1\r\n",
            "\r\nPROXY",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Malformed), "{line:?}");
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(V1_MAX));
        assert_eq!(parse(endless.as_bytes()), Err(Malformed));
    }

    #[test]
    fn binary_headers_are_read_and_their_extensions_skipped() {
        let client: SocketAddr = "192.0.2.1:4711".parse().unwrap();
        assert_eq!(source(&v2_inet(client, b"")), Some(client));
        assert_eq!(source(&v2_inet(client, &[0xEA, 0, 3, 1, 2, 3])), Some(client));
        let client: SocketAddr = "[2001:db8::1]:4711".parse().unwrap();
        assert_eq!(source(&v2_inet(client, &[7; 500])), Some(client));
    }

    #[test]
    fn headers_that_name_nobody_leave_the_connections_own_address() {
        assert_eq!(source(&v2(0x20, 0x00, b"")), None, "a health check of the proxy");
        assert_eq!(source(&v2(0x20, 0xFF, b"ignored")), None, "of which nothing else is looked at");
        assert_eq!(source(&v2(0x21, 0x00, b"")), None);
        assert_eq!(source(&v2(0x21, 0x31, &[0; 216])), None, "a unix socket");
        assert_eq!(source(&v2(0x21, 0x12, &[0; 12])), None, "datagrams");
    }

    #[test]
    fn malformed_binary_headers_are_refused() {
        for (command, family, block) in [
            (0x11, 0x11, &[0; 12][..]),
            (0x22, 0x11, &[0; 12]),
            (0x21, 0x11, &[0; 11]),
            (0x21, 0x21, &[0; 35]),
            (0x21, 0x31, &[0; 215]),
            (0x21, 0x41, &[0; 40]),
            (0x21, 0x13, &[0; 40]),
        ] {
            assert_eq!(parse(&v2(command, family, block)), Err(Malformed), "{command:x} {family:x}");
        }
        assert_eq!(parse(&v2(0x21, 0x11, &vec![0; V2_MAX])), Err(Malformed), "longer than anybody needs");
        assert_eq!(parse(&[V2_SIGNATURE, &[0x31]].concat()), Err(Malformed), "refused before the rest arrives");
    }

    #[test]
    fn a_request_is_told_from_a_header() {
        assert!(is_header(b"PROXY TCP4 1.1.1.1") && is_header(V2_SIGNATURE));
        assert!(!is_header(b"POST /mcp HTTP/1.1\r\n") && !is_header(b"\r\nGET / HTTP/1.1"));
    }

    fn client() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            any::<([u8; 4], u16)>().prop_map(|(address, port)| SocketAddr::from((address, port))),
            any::<([u16; 7], u16)>()
                .prop_map(|([a, b, c, d, e, f, g], port)| { SocketAddr::from(([0x2001, a, b, c, d, e, f, g], port)) }),
        ]
    }

    proptest! {
        #[test]
        fn what_a_proxy_writes_is_read_and_no_part_of_it_is_enough(client in client(), tlvs in prop::collection::vec(any::<u8>(), 0..60), rest in prop::collection::vec(any::<u8>(), 0..40)) {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let text = format!("PROXY {family} {0} {0} {1} 443\r\n", client.ip(), client.port()).into_bytes();
            for header in [text, v2_inet(client, &tlvs)] {
                for cut in 0..header.len() {
                    prop_assert_eq!(parse(&header[..cut]), Ok(None));
                }
                let all = [&header[..], &rest].concat();
                let parsed = parse(&all).unwrap().unwrap();
                prop_assert_eq!(parsed.source, Some(client));
                prop_assert_eq!(parsed.length, header.len());
            }
        }

        #[test]
        fn any_bytes_are_survived_and_verdicts_are_final(start in 0..3_usize, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = [[b"" as &[u8], V1_START, V2_SIGNATURE][start], &bytes].concat();
            let mut verdict = Ok(None);
            for cut in 0..=bytes.len() {
                let now = parse(&bytes[..cut]);
                if verdict != Ok(None) {
                    prop_assert_eq!(now, verdict);
                }
                verdict = now;
                if let Ok(Some(header)) = now {
                    prop_assert!(header.length <= cut && header.length <= V2_MAX);
                }
            }
        }
    }
}
