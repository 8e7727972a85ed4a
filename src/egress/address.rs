//! Which addresses are no public ones: the special-purpose registries of IANA, and what is wrapped in other addresses.
//!
//! Pure: an address goes in, the range that it lies in comes out. An address that carries another one (IPv4 in IPv6) is both
//! of them: a translator or a tunnel would deliver to the inner one.

use ipnet::{Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A kind of address that nothing on the public network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// This machine.
    Loopback,
    /// Networks of one's own (RFC 1918), and site-local addresses (RFC 3879).
    Private,
    /// Networks of one's own in IPv6 (RFC 4193).
    UniqueLocal,
    /// The network that a machine is plugged into.
    LinkLocal,
    /// Where clouds tell machines their credentials.
    Metadata,
    /// Between a provider and its customers (RFC 6598).
    Shared,
    /// No address, or "this network".
    Unspecified,
    /// Groups of machines.
    Multicast,
    /// All machines of a network.
    Broadcast,
    /// Measurements of networks (RFC 2544, RFC 5180).
    Benchmarking,
    /// Examples in texts (RFC 5737, RFC 3849, RFC 9637).
    Documentation,
    /// IPv4 addresses that a translator speaks for (RFC 6052, RFC 8215, RFC 7915).
    Translated,
    /// Other networks through tunnels: 6to4, Teredo, ISATAP.
    Tunnelled,
    /// IPv4 addresses written as IPv6 (RFC 4291).
    Embedded,
    /// Set aside for protocols, or for later.
    Reserved,
}

impl Range {
    /// The label in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Range::Loopback => "loopback",
            Range::Private => "private",
            Range::UniqueLocal => "unique_local",
            Range::LinkLocal => "link_local",
            Range::Metadata => "metadata",
            Range::Shared => "shared",
            Range::Unspecified => "unspecified",
            Range::Multicast => "multicast",
            Range::Broadcast => "broadcast",
            Range::Benchmarking => "benchmarking",
            Range::Documentation => "documentation",
            Range::Translated => "translated",
            Range::Tunnelled => "tunnelled",
            Range::Embedded => "embedded",
            Range::Reserved => "reserved",
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(first: [u16; 5], last: u16, length: u8) -> Ipv6Net {
    let [a, b, c, d, e] = first;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, 0, 0, last), length)
}

/// The first that an address lies in names it: single addresses stand before the networks around them.
const V4: [(Ipv4Net, Range); 21] = [
    (v4(169, 254, 169, 254, 32), Range::Metadata),
    // Elastic Container Service, and the metadata of pods.
    (v4(169, 254, 170, 2, 32), Range::Metadata),
    (v4(169, 254, 170, 23, 32), Range::Metadata),
    // Alibaba Cloud, Azure's wire server (a public address by its looks), Oracle Cloud.
    (v4(100, 100, 100, 200, 32), Range::Metadata),
    (v4(168, 63, 129, 16, 32), Range::Metadata),
    (v4(192, 0, 0, 192, 32), Range::Metadata),
    (v4(255, 255, 255, 255, 32), Range::Broadcast),
    (v4(0, 0, 0, 0, 8), Range::Unspecified),
    (v4(10, 0, 0, 0, 8), Range::Private),
    (v4(100, 64, 0, 0, 10), Range::Shared),
    (v4(127, 0, 0, 0, 8), Range::Loopback),
    (v4(169, 254, 0, 0, 16), Range::LinkLocal),
    (v4(172, 16, 0, 0, 12), Range::Private),
    (v4(192, 0, 0, 0, 24), Range::Reserved),
    (v4(192, 0, 2, 0, 24), Range::Documentation),
    // Relays of 6to4, withdrawn (RFC 7526).
    (v4(192, 88, 99, 0, 24), Range::Tunnelled),
    (v4(192, 168, 0, 0, 16), Range::Private),
    (v4(198, 18, 0, 0, 15), Range::Benchmarking),
    (v4(198, 51, 100, 0, 24), Range::Documentation),
    (v4(203, 0, 113, 0, 24), Range::Documentation),
    (v4(224, 0, 0, 0, 4), Range::Multicast),
];

const V6: [(Ipv6Net, Range); 19] = [
    (v6([0xfd00, 0xec2, 0, 0, 0], 0x254, 128), Range::Metadata),
    // The metadata of pods, and Google's.
    (v6([0xfd00, 0xec2, 0, 0, 0], 0x23, 128), Range::Metadata),
    (v6([0xfd20, 0xce, 0, 0, 0], 0x254, 128), Range::Metadata),
    (v6([0, 0, 0, 0, 0], 0, 128), Range::Unspecified),
    (v6([0, 0, 0, 0, 0], 1, 128), Range::Loopback),
    // IPv4-compatible and IPv4-mapped lie in one net of /80; the /96 of RFC 7915 is `::ffff:0:a.b.c.d`.
    (v6([0, 0, 0, 0, 0], 0, 80), Range::Embedded),
    (v6([0, 0, 0, 0, 0xffff], 0, 96), Range::Translated),
    (v6([0x64, 0xff9b, 0, 0, 0], 0, 96), Range::Translated),
    (v6([0x64, 0xff9b, 1, 0, 0], 0, 48), Range::Translated),
    (v6([0x2001, 0, 0, 0, 0], 0, 32), Range::Tunnelled),
    (v6([0x2001, 2, 0, 0, 0], 0, 48), Range::Benchmarking),
    (v6([0x2001, 0, 0, 0, 0], 0, 23), Range::Reserved),
    (v6([0x2001, 0xdb8, 0, 0, 0], 0, 32), Range::Documentation),
    (v6([0x2002, 0, 0, 0, 0], 0, 16), Range::Tunnelled),
    (v6([0x3fff, 0, 0, 0, 0], 0, 20), Range::Documentation),
    (v6([0xfc00, 0, 0, 0, 0], 0, 7), Range::UniqueLocal),
    (v6([0xfe80, 0, 0, 0, 0], 0, 10), Range::LinkLocal),
    (v6([0xfec0, 0, 0, 0, 0], 0, 10), Range::Private),
    (v6([0xff00, 0, 0, 0, 0], 0, 8), Range::Multicast),
];

/// What IANA gives out as global unicast addresses.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0], 0, 3);

/// The range that an address lies in by itself; `None` where it is a public one. What it carries is not looked at.
pub fn range_of(address: IpAddr) -> Option<Range> {
    match address {
        IpAddr::V4(address) => {
            let named = V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, range)| *range);
            named.or_else(|| (address.octets()[0] >= 240).then_some(Range::Reserved))
        }
        IpAddr::V6(address) => {
            let named = V6.iter().find(|(net, _)| net.contains(&address)).map(|(_, range)| *range);
            let isatap = || is_isatap(&address).then_some(Range::Tunnelled);
            named.or_else(isatap).or_else(|| (!GLOBAL_V6.contains(&address)).then_some(Range::Reserved))
        }
    }
}

/// The IPv4 addresses that an IPv6 address carries: where translators and tunnels would deliver to. At most three.
pub fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    let last = of(s6, s7);
    let mut found = [None; 3];
    match (s0, s1) {
        // `::1` and `::` carry nothing; the other two nets hold the address at the end.
        (0, 0) if (s2, s3) == (0, 0) && (s4 == 0 || (s4, s5) == (0xffff, 0)) => found[0] = Some(last),
        // In RFC 6052's form for /48 an octet of zeros stands in the middle; translators of one's own may as well be at /96.
        (0x64, 0xff9b) if s2 == 1 => {
            let high = s3;
            let low = (s4 & 0x00ff) << 8 | s5 >> 8;
            found = [Some(of(high, low)), Some(last), None];
        }
        (0x64, 0xff9b) => found[0] = Some(last),
        (0x2001, 0) => found = [Some(of(s2, s3)), Some(of(!s6, !s7)), None],
        (0x2002, _) => found[0] = Some(of(s1, s2)),
        _ => {}
    }
    if is_isatap(&address) {
        found[2] = Some(last);
    }
    found.into_iter().flatten()
}

/// Whether the interface identifier is that of ISATAP (RFC 5214), which ends with an IPv4 address.
fn is_isatap(address: &Ipv6Addr) -> bool {
    let [.., high, low, _, _] = address.segments();
    (high & !0x0200, low) == (0, 0x5efe)
}

#[cfg(test)]
pub(crate) mod tests;
