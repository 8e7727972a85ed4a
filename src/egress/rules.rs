//! What may be fetched from where: by who wrote the URL, and by the address that it leads to.

use super::address::{embedded, range_of};
use super::error::FetchError;
use ipnet::IpNet;
use std::net::IpAddr;
use url::{Host, Url};

/// Who wrote a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The operator, in the configuration: it may lead to any address, and to loopback over plain HTTP.
    Operator,
    /// A document or a redirect: public addresses only, over TLS only.
    Learned,
}

impl Origin {
    /// Who counts as the author of a URL that was found in a document: the operator, where it leads to the place (scheme,
    /// host and port) of a URL that the operator wrote.
    pub fn of(url: &Url, written: &Url) -> Origin {
        if url.origin() == written.origin() { Origin::Operator } else { Origin::Learned }
    }
}

/// What the operator exempts: networks and host names that learned URLs may lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    networks: Box<[IpNet]>,
    hosts: Box<[Box<str>]>,
}

impl Rules {
    /// With these exemptions; host names are compared without case and without a final dot.
    pub fn new(networks: impl IntoIterator<Item = IpNet>, hosts: impl IntoIterator<Item = String>) -> Rules {
        Rules {
            networks: networks.into_iter().collect(),
            hosts: hosts.into_iter().map(|host| bare(&host).to_ascii_lowercase().into()).collect(),
        }
    }

    /// Whether a URL may be requested as far as can be told without a lookup.
    ///
    /// # Errors
    /// [`FetchError::Url`], [`FetchError::Insecure`], [`FetchError::Blocked`].
    pub fn check_url(&self, url: &Url, origin: Origin) -> Result<(), FetchError> {
        let host = url.host().ok_or(FetchError::Url)?;
        // A user and password in a URL would be sent to whoever the document names.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::Url);
        }
        match (url.scheme(), origin) {
            ("https", _) => {}
            ("http", Origin::Operator) if is_loopback(&host) => {}
            ("http", _) => return Err(FetchError::Insecure),
            _ => return Err(FetchError::Url),
        }
        match host {
            Host::Domain(_) => Ok(()),
            Host::Ipv4(address) => self.check_address(address.into(), origin),
            Host::Ipv6(address) => self.check_address(address.into(), origin),
        }
    }

    /// Whether the addresses that a host name has may be connected to: every one of them, as who can add one can choose
    /// which one is taken.
    ///
    /// # Errors
    /// [`FetchError::Unresolved`] without any, [`FetchError::Blocked`].
    pub fn check_host(&self, name: &str, addresses: &[IpAddr], origin: Origin) -> Result<(), FetchError> {
        if addresses.is_empty() {
            return Err(FetchError::Unresolved);
        }
        let name = bare(name);
        if origin == Origin::Operator {
            // Plain HTTP is let through for this name alone, so it must mean what it says.
            let outside = addresses.iter().any(|address| !address.to_canonical().is_loopback());
            return if is_localhost(name) && outside { Err(FetchError::Insecure) } else { Ok(()) };
        }
        if self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        addresses.iter().try_for_each(|address| self.check_address(*address, origin))
    }

    /// Whether an address may be connected to: it, and whatever it carries, is public or exempt.
    fn check_address(&self, address: IpAddr, origin: Origin) -> Result<(), FetchError> {
        if origin == Origin::Operator {
            return Ok(());
        }
        self.check_bare(address)?;
        match address {
            IpAddr::V4(_) => Ok(()),
            IpAddr::V6(address) => embedded(address).try_for_each(|carried| self.check_bare(carried.into())),
        }
    }

    fn check_bare(&self, address: IpAddr) -> Result<(), FetchError> {
        match range_of(address) {
            Some(range) if !self.networks.iter().any(|net| net.contains(&address)) => Err(FetchError::Blocked(range)),
            _ => Ok(()),
        }
    }
}

/// A host name without the dot of the root.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a name means this machine (RFC 6761).
fn is_localhost(name: &str) -> bool {
    let label = name.rsplit('.').next().unwrap_or_default();
    label.eq_ignore_ascii_case("localhost")
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => is_localhost(bare(name)),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::Range;
    use super::super::address::tests::forms;
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn learned(rules: &Rules, url: &str) -> Result<(), FetchError> {
        rules.check_url(&Url::parse(url).map_err(|_| FetchError::Url)?, Origin::Learned)
    }

    fn written(url: &str) -> Result<(), FetchError> {
        Rules::default().check_url(&Url::parse(url).expect(url), Origin::Operator)
    }

    #[test]
    fn an_address_is_the_same_in_every_spelling() {
        let spellings = [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "①②⑦.0.0.1",
        ];
        for host in spellings {
            let found = learned(&Rules::default(), &format!("https://{host}/keys"));
            assert_eq!(found, Err(FetchError::Blocked(Range::Loopback)), "{host}");
        }
        for host in ["[::1]", "[0:0:0:0:0:0:0:1]", "[::0001]"] {
            let found = learned(&Rules::default(), &format!("https://{host}/keys"));
            assert_eq!(found, Err(FetchError::Blocked(Range::Loopback)), "{host}");
        }
        for host in ["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"] {
            let found = learned(&Rules::default(), &format!("https://{host}/keys"));
            assert_eq!(found, Err(FetchError::Blocked(Range::Embedded)), "{host}");
        }
        assert!(learned(&Rules::default(), "https://[fe80::1%25eth0]/").is_err(), "zones");
        assert_eq!(learned(&Rules::default(), "https://8.8.8.8/keys"), Ok(()));
        assert_eq!(learned(&Rules::default(), "https://[2606:4700::1111]:8443/keys"), Ok(()));
    }

    #[test]
    fn learned_urls_are_https_without_credentials() {
        for url in ["http://idp.example/", "http://localhost/", "http://127.0.0.1/"] {
            assert_eq!(learned(&Rules::default(), url), Err(FetchError::Insecure), "{url}");
        }
        for url in ["file:///etc/passwd", "ftp://idp.example/", "data:,x", "https://u@idp.example/", "https://:p@a/"] {
            assert_eq!(learned(&Rules::default(), url), Err(FetchError::Url), "{url}");
        }
    }

    #[test]
    fn what_the_operator_wrote_may_lead_anywhere_but_in_the_clear() {
        for url in ["https://10.0.0.1/", "https://idp.internal/", "http://127.0.0.7:1/", "http://[::1]/"] {
            assert_eq!(written(url), Ok(()), "{url}");
        }
        assert_eq!(written("http://localhost./"), Ok(()));
        for url in ["http://10.0.0.1/", "http://idp.example/", "http://localhost.example/", "http://169.254.169.254/"] {
            assert_eq!(written(url), Err(FetchError::Insecure), "{url}");
        }
        let rules = Rules::default();
        let inside = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(rules.check_host("localhost", &inside, Origin::Operator), Ok(()));
        let outside = ["127.0.0.1".parse().unwrap(), "192.168.0.1".parse().unwrap()];
        assert_eq!(rules.check_host("localhost", &outside, Origin::Operator), Err(FetchError::Insecure));
        assert_eq!(rules.check_host("idp.internal", &outside, Origin::Operator), Ok(()));
    }

    #[test]
    fn every_address_of_a_name_counts() {
        let rules = Rules::default();
        let public = "93.184.216.34".parse().unwrap();
        let private = "192.168.0.1".parse().unwrap();
        assert_eq!(rules.check_host("a.example", &[public], Origin::Learned), Ok(()));
        let blocked = Err(FetchError::Blocked(Range::Private));
        assert_eq!(rules.check_host("a.example", &[public, private], Origin::Learned), blocked);
        assert_eq!(rules.check_host("a.example", &[], Origin::Learned), Err(FetchError::Unresolved));
    }

    #[test]
    fn exemptions_are_by_network_and_by_name() {
        let rules = Rules::new(["10.0.0.0/8".parse().unwrap()], ["IdP.internal.".to_owned()]);
        assert_eq!(learned(&rules, "https://10.1.2.3/"), Ok(()));
        assert_eq!(learned(&rules, "https://192.168.0.1/"), Err(FetchError::Blocked(Range::Private)));
        let private = ["192.168.0.1".parse().unwrap()];
        for name in ["idp.internal", "IDP.INTERNAL."] {
            assert_eq!(rules.check_host(name, &private, Origin::Learned), Ok(()), "{name}");
        }
        for name in ["x.idp.internal", "internal", "idp.internal.example"] {
            assert!(rules.check_host(name, &private, Origin::Learned).is_err(), "{name}");
        }
        assert_eq!(learned(&rules, "http://10.1.2.3/"), Err(FetchError::Insecure), "TLS is asked for all the same");
    }

    /// Where a network is translated to the rest of the world, its prefix can be exempted, and what is behind it is looked
    /// at as before.
    #[test]
    fn an_exempt_translator_delivers_to_public_addresses_only() {
        let rules = Rules::new(["64:ff9b::/96".parse().unwrap()], []);
        assert_eq!(learned(&rules, "https://[64:ff9b::8.8.8.8]/"), Ok(()));
        let metadata = Err(FetchError::Blocked(Range::Metadata));
        assert_eq!(learned(&rules, "https://[64:ff9b::169.254.169.254]/"), metadata);
        let private = Rules::new(["10.0.0.0/8".parse().unwrap()], []);
        let form = learned(&private, "https://[64:ff9b::10.0.0.1]/");
        assert_eq!(form, Err(FetchError::Blocked(Range::Translated)), "an exempt address is not exempt in other forms");
    }

    #[test]
    fn a_url_at_the_place_of_a_written_one_counts_as_written() {
        let base = Url::parse("https://login.example/realms/a").unwrap();
        let of = |url: &str| Origin::of(&Url::parse(url).unwrap(), &base);
        assert_eq!(of("https://login.example:443/keys"), Origin::Operator);
        for url in ["http://login.example/keys", "https://login.example:8443/", "https://login.example.evil/", "data:,"]
        {
            assert_eq!(of(url), Origin::Learned, "{url}");
        }
    }

    proptest! {
        /// No form of an address that is not public is let through, whatever else is exempt.
        #[test]
        fn no_form_is_let_through(bits in any::<u32>()) {
            let address = Ipv4Addr::from(bits);
            let all_v6 = Rules::new(["::/0".parse().unwrap()], []);
            for form in forms(address) {
                let blocked = |rules: &Rules| rules.check_address(form.into(), Origin::Learned).is_err();
                prop_assert!(blocked(&Rules::default()), "{form}");
                let small = form.segments()[..6] == [0; 6] && bits < 2;
                prop_assert!(small || range_of(address.into()).is_none() || blocked(&all_v6), "{form}");
            }
        }
    }
}
