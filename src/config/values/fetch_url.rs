//! URLs that the gateway itself fetches, as the operator writes them.

use super::{Invalid, read_from_text, write_as_text};
use std::fmt;
use std::str::FromStr;
use url::{Host, Url};

/// The longest URL, in bytes.
const URL_LENGTH_MAX: usize = 2_048;

/// A URL that is fetched: `https`, or `http` on this machine; without a user or a fragment.
///
/// `Display` writes it in full; `Debug` leaves the query out, which may hold a key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FetchUrl(Url);

impl FetchUrl {
    /// The URL itself.
    pub const fn url(&self) -> &Url {
        &self.0
    }

    /// Whether it carries a query, which often holds a key.
    pub fn has_query(&self) -> bool {
        self.0.query().is_some()
    }
}

/// Takes a URL apart that is https, or http on this machine.
pub(super) fn trusted_url(text: &str) -> Result<Url, Invalid> {
    if text.len() > URL_LENGTH_MAX {
        return Err(Invalid::new(format!("a URL has at most {URL_LENGTH_MAX} bytes")));
    }
    let url = Url::parse(text).map_err(|error| Invalid::new(format!("this is not a URL: {error}")))?;
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => {}
        ("http", Some(host)) if is_this_machine(&host) => {}
        ("http", _) => {
            return Err(Invalid::new(
                "plain http is for this machine alone (`localhost`, 127.0.0.1, [::1]): use https",
            ));
        }
        _ => return Err(Invalid::new("this URL starts with https://")),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(Invalid::new("this URL has no user, password or fragment"));
    }
    Ok(url)
}

fn is_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

impl FromStr for FetchUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<FetchUrl, Invalid> {
        trusted_url(text).map(FetchUrl)
    }
}

impl fmt::Display for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        url.set_query(self.0.query().map(|_| super::MASK));
        f.write_str(url.as_str())
    }
}

write_as_text!(FetchUrl);
read_from_text!(FetchUrl, expecting: "a URL such as `https://login.example.com/keys`", schema: {
    "description": "A URL that the gateway fetches: https, or http on this machine. It may lead to private addresses.",
    "type": "string",
    "format": "uri",
    "examples": ["https://login.example.com/keys"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_is_https_or_here() {
        for right in ["https://a.example/keys?x=1", "https://10.0.0.1", "http://localhost:1/", "http://[::1]:8080/k"] {
            assert!(right.parse::<FetchUrl>().is_ok(), "{right}");
        }
        for wrong in [
            "",
            "a.example",
            "http://a.example",
            "http://10.0.0.1/",
            "ftp://a",
            "https://u@a",
            "https://a/#x",
            "data:,",
        ] {
            assert!(wrong.parse::<FetchUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_query_is_not_shown_by_chance() {
        let url: FetchUrl = "https://a.example/keys?key=hunter2".parse().unwrap();
        assert!(!format!("{url:?}").contains("hunter2"));
        assert!(url.to_string().contains("hunter2") && url.has_query());
    }
}
