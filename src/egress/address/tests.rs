//! Every range at both of its ends, and what lies just outside; and nothing gets through in another form.

use super::*;
use proptest::prelude::*;

fn range(text: &str) -> Option<Range> {
    range_of(text.parse().expect(text))
}

/// First and last address of every range, and what they are.
const INSIDE: [(&str, &str, Range); 40] = [
    ("0.0.0.0", "0.255.255.255", Range::Unspecified),
    ("10.0.0.0", "10.255.255.255", Range::Private),
    ("100.64.0.0", "100.127.255.255", Range::Shared),
    ("100.100.100.200", "100.100.100.200", Range::Metadata),
    ("127.0.0.0", "127.255.255.255", Range::Loopback),
    ("168.63.129.16", "168.63.129.16", Range::Metadata),
    ("169.254.0.0", "169.254.255.255", Range::LinkLocal),
    ("169.254.169.254", "169.254.169.254", Range::Metadata),
    ("169.254.170.2", "169.254.170.23", Range::Metadata),
    ("172.16.0.0", "172.31.255.255", Range::Private),
    ("192.0.0.0", "192.0.0.255", Range::Reserved),
    ("192.0.0.192", "192.0.0.192", Range::Metadata),
    ("192.0.2.0", "192.0.2.255", Range::Documentation),
    ("192.88.99.0", "192.88.99.255", Range::Tunnelled),
    ("192.168.0.0", "192.168.255.255", Range::Private),
    ("198.18.0.0", "198.19.255.255", Range::Benchmarking),
    ("198.51.100.0", "198.51.100.255", Range::Documentation),
    ("203.0.113.0", "203.0.113.255", Range::Documentation),
    ("224.0.0.0", "239.255.255.255", Range::Multicast),
    ("240.0.0.0", "255.255.255.254", Range::Reserved),
    ("255.255.255.255", "255.255.255.255", Range::Broadcast),
    ("::", "::", Range::Unspecified),
    ("::1", "::1", Range::Loopback),
    ("::2", "::ffff:ffff", Range::Embedded),
    ("::ffff:0:0", "::ffff:ffff:ffff", Range::Embedded),
    ("::ffff:0:0:0", "::ffff:0:ffff:ffff", Range::Translated),
    ("64:ff9b::", "64:ff9b::ffff:ffff", Range::Translated),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Range::Translated),
    ("100::", "100:0:0:1:ffff:ffff:ffff:ffff", Range::Reserved),
    ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", Range::Tunnelled),
    ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", Range::Benchmarking),
    ("2001:3::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Range::Reserved),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Range::Documentation),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Range::Tunnelled),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Range::Documentation),
    ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Range::Reserved),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Range::UniqueLocal),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Range::LinkLocal),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Range::Private),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Range::Multicast),
];

#[test]
fn every_range_is_known_at_both_ends() {
    for (first, last, expected) in INSIDE {
        assert_eq!(range(first), Some(expected), "{first}");
        assert_eq!(range(last), Some(expected), "{last}");
    }
    for metadata in ["fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"] {
        assert_eq!(range(metadata), Some(Range::Metadata), "{metadata}");
    }
    assert_eq!(range("2606:4700::5efe:808:808"), Some(Range::Tunnelled), "ISATAP");
    assert_eq!(range("2606:4700::200:5efe:808:808"), Some(Range::Tunnelled), "ISATAP");
}

#[test]
fn what_lies_beside_a_range_is_public() {
    let beside = [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "8.8.8.8",
        "2000::",
        "2001:200::",
        "2001:4860:4860::8888",
        "2001:db7:ffff::",
        "2001:db9::",
        "2003::",
        "2606:4700::1111",
        "3ffe:ffff::",
        "3fff:1000::",
    ];
    for address in beside {
        assert_eq!(range(address), None, "{address}");
    }
}

#[test]
fn labels_are_distinct() {
    let mut labels: Vec<_> = INSIDE.iter().map(|(.., range)| *range).collect();
    labels.sort_unstable_by_key(|range| range.label());
    labels.dedup();
    let count = labels.len();
    labels.dedup_by_key(|range| range.label());
    assert_eq!((labels.len(), count), (15, 15));
}

#[test]
fn what_is_carried_is_found() {
    let carried = |text: &str| {
        embedded(text.parse().expect(text)).map(|address| address.to_string()).collect::<Vec<_>>().join(" ")
    };
    for (address, expected) in [
        ("::7f00:1", "127.0.0.1"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::ffff:0:10.1.2.3", "10.1.2.3"),
        ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
        ("64:ff9b:1:a9fe:a9:fe00::", "169.254.169.254 0.0.0.0"),
        ("2002:a00:1::", "10.0.0.1"),
        ("2001:0:a00:1::f5ff:fffe", "10.0.0.1 10.0.0.1"),
        ("2606:4700::5efe:a00:1", "10.0.0.1"),
        ("2606:4700::a00:1", ""),
    ] {
        assert_eq!(carried(address), expected, "{address}");
    }
}

/// All IPv6 forms of an IPv4 address.
pub(in crate::egress) fn forms(address: Ipv4Addr) -> Vec<Ipv6Addr> {
    let [a, b, c, d] = address.octets().map(u16::from);
    let (high, low) = (a << 8 | b, c << 8 | d);
    vec![
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 1, high, c, d << 8, 0, 0),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 0),
        Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 0xf7f7, 0xf7f7),
        Ipv6Addr::new(0x2001, 0, 0x808, 0x808, 0, 0, !high, !low),
        Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0x5efe, high, low),
        Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0x200, 0x5efe, high, low),
    ]
}

proptest! {
    /// An IPv4 address in a blocked range is blocked in every form, and every form is known to carry it.
    #[test]
    fn no_form_hides_an_address(at in 0..V4.len(), offset in any::<u32>()) {
        let (net, _) = V4[at];
        let address = Ipv4Addr::from(u32::from(net.network()) | (offset & u32::from(net.hostmask())));
        prop_assert!(range_of(address.into()).is_some());
        for form in forms(address) {
            prop_assert!(range_of(form.into()).is_some(), "{form}");
            // `::` and `::1` are what they are.
            let small = form.segments()[..6] == [0; 6] && u32::from(address) < 2;
            prop_assert!(small || embedded(form).any(|carried| carried == address), "{form}");
        }
    }

    /// A public IPv4 address is public, and none of its forms is: nothing on the public network has such an address.
    #[test]
    fn translated_forms_are_never_public(bits in any::<u32>()) {
        for form in forms(Ipv4Addr::from(bits)) {
            prop_assert!(range_of(form.into()).is_some(), "{form}");
        }
    }
}
