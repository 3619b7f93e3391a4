//! Which IP addresses belong to the public internet, by IANA's registries of special-purpose addresses
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>, `iana-ipv6-special-registry`), read strictly: what is only
//! partly public is refused as a whole. Knows numbers, no names. (`IpAddr::is_global` of the standard library is unstable.)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 blocks that are not public: their first address, the length of their prefix, and what they are.
const SPECIAL_V4: [(Ipv4Addr, u32, &str); 17] = [
    (Ipv4Addr::UNSPECIFIED, 8, "an address of this very network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "a provider's shared address"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "a loopback address"),
    // Azure's virtual machines find their host's services there, in the midst of public addresses.
    (Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's own service"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "an address for protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "an address for documents"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "an address of 6to4 relays"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "an address for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "an address for documents"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "an address for documents"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::BROADCAST, 32, "the broadcast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved address"),
];

/// IPv6 blocks that are not public, in the same form; the more telling one first where one is in another.
const SPECIAL_V6: [(Ipv6Addr, u32, &str); 13] = [
    (Ipv6Addr::UNSPECIFIED, 128, "the unspecified address"),
    (Ipv6Addr::LOCALHOST, 128, "a loopback address"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "a link-local address"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "a site-local address"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "a private address"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "a multicast address"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "an address for documents"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "an address for documents"),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, "an address for benchmarks"),
    // Teredo among them: an IPv4 address hides in it, and so it does in 6to4.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "an address for protocols"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "a 6to4 address"),
    // Within 2000::/3, which alone is handed out as public; all below is what lies outside of it.
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "an address of a local translator"),
    (Ipv6Addr::UNSPECIFIED, 96, "an IPv4-compatible address"),
];

/// IPv6 addresses that are an IPv4 address in other clothes, and go where that goes.
const MAPPED: (Ipv6Addr, u32) = (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);
/// IPv6 addresses that a translator (NAT64) leads to an IPv4 address: where a network has IPv6 alone, every IPv4 host looks so.
const TRANSLATED: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
/// What is handed out as public.
const UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What an address is if it is not of the public internet.
pub(super) fn special_use(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let is_in = |block: Ipv4Addr, prefix: u32| (address.to_bits() ^ block.to_bits()) >> (32 - prefix) == 0;
    SPECIAL_V4.iter().find(|(block, prefix, _)| is_in(*block, *prefix)).map(|(.., what)| *what)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let is_in = |block: Ipv6Addr, prefix: u32| (address.to_bits() ^ block.to_bits()) >> (128 - prefix) == 0;
    if is_in(MAPPED.0, MAPPED.1) || is_in(TRANSLATED.0, TRANSLATED.1) {
        return special_v4(Ipv4Addr::from_bits(address.to_bits() as u32));
    }
    let known = SPECIAL_V6.iter().find(|(block, prefix, _)| is_in(*block, *prefix)).map(|(.., what)| *what);
    known.or_else(|| (!is_in(UNICAST.0, UNICAST.1)).then_some("an address that is not handed out"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn special(text: &str) -> Option<&'static str> {
        special_use(text.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
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
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::",
            "2001:200::",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00::1",
            "2003::",
            "3ffe:ffff::",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert_eq!(special(text), None, "{text}");
        }
    }

    #[test]
    fn special_addresses_are_reported_by_what_they_are() {
        for (text, what) in [
            ("0.0.0.0", "this very network"),
            ("0.1.2.3", "this very network"),
            ("10.255.255.255", "private"),
            ("100.64.0.0", "shared"),
            ("100.127.255.255", "shared"),
            ("100.100.100.200", "shared"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("169.254.169.254", "link-local"),
            ("168.63.129.16", "cloud"),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "protocols"),
            ("192.0.2.1", "documents"),
            ("192.88.99.1", "6to4"),
            ("192.168.0.1", "private"),
            ("198.19.255.255", "benchmarks"),
            ("198.51.100.7", "documents"),
            ("203.0.113.7", "documents"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::2", "compatible"),
            ("::127.0.0.1", "compatible"),
            ("::8.8.8.8", "compatible"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:0:0", "this very network"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::ffff:0:127.0.0.1", "not handed out"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("64:ff9b:1::808:808", "translator"),
            ("100::1", "not handed out"),
            ("2001::1", "protocols"),
            ("2001:2::1", "benchmarks"),
            ("2001:1ff:ffff::", "protocols"),
            ("2001:db8::1", "documents"),
            ("2002:7f00:1::", "6to4"),
            ("2002:a9fe:a9fe::", "6to4"),
            ("3fff::1", "documents"),
            ("4000::", "not handed out"),
            ("5f00::1", "not handed out"),
            ("fc00::", "private"),
            ("fd00::", "private"),
            ("fd00:ec2::254", "private"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ] {
            let found = special(text);
            assert!(found.is_some_and(|found| found.contains(what)), "{text}: {found:?}");
        }
    }

    proptest! {
        /// The table's arithmetic against the standard library's own questions.
        #[test]
        fn nothing_that_the_standard_library_calls_special_is_public(bits: u32, low: u8) {
            for bits in [bits, 0x7f00_0000 | bits >> 8, 0xa9fe_0000 | bits >> 16, 0xc0a8_0000 | bits >> 16, low.into()] {
                let v4 = Ipv4Addr::from_bits(bits);
                let is_known = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                    || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
                prop_assert!(!is_known || special_use(v4.into()).is_some(), "{}", v4);
                prop_assert_eq!(special_use(v4.to_ipv6_mapped().into()), special_use(v4.into()), "{}", v4);
                prop_assert!(special_use(v4.to_ipv6_compatible().into()).is_some(), "{}", v4);
            }
        }

        #[test]
        fn nor_of_ipv6(bits: u128, top in prop::sample::select(vec![0xfc_u128, 0xfd, 0xfe, 0xff, 0x20, 0])) {
            for bits in [bits, top << 120 | bits >> 8, bits & 0xffff] {
                let v6 = Ipv6Addr::from_bits(bits);
                let is_known = v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast()
                    || v6.is_unspecified();
                let special = special_use(v6.into());
                prop_assert!(!is_known || special.is_some(), "{}", v6);
                let is_embedded = v6.to_ipv4_mapped().is_some() || v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
                prop_assert!(special.is_some() || is_embedded || v6.segments()[0] >> 13 == 1, "{}", v6);
            }
        }
    }
}
