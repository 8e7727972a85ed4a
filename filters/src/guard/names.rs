//! Host names and web origins, as configured and as compared.

/// A host that a listener serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRule {
    /// A name, lower case, on any port (`gateway.example.com`, `[2001:db8::1]`).
    Name(Box<str>),
    /// A name on one port (`gateway.example.com:8443`).
    Exact(Box<str>),
}

impl HostRule {
    /// Reads a configured host: with a port it admits only that port, without one any port.
    pub fn parse(text: &str) -> HostRule {
        let text = text.trim_end_matches('.').to_ascii_lowercase();
        if split_port(&text).1.is_some() { HostRule::Exact(text.into()) } else { HostRule::Name(text.into()) }
    }

    /// Whether a request for `authority` (`Host` or `:authority`) is meant for us.
    pub fn admits(&self, authority: &str) -> bool {
        let (name, port) = split_port(authority);
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return false;
        }
        match self {
            HostRule::Name(own) => own.eq_ignore_ascii_case(name.strip_suffix('.').unwrap_or(name)),
            HostRule::Exact(own) => own.eq_ignore_ascii_case(authority),
        }
    }
}

/// A web origin that may call a listener (RFC 6454: scheme, host, port).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginRule {
    /// This scheme and host, lower case, on any port.
    AnyPort(Box<str>),
    /// Exactly this origin, lower case, without a trailing slash.
    Exact(Box<str>),
}

impl OriginRule {
    /// Reads a configured origin; `:*` at its end admits every port.
    pub fn parse(text: &str) -> OriginRule {
        let text = text.trim_end_matches('/').to_ascii_lowercase();
        match text.strip_suffix(":*") {
            Some(host) => OriginRule::AnyPort(host.into()),
            None => OriginRule::Exact(text.into()),
        }
    }

    /// Whether a page of `origin` may call us.
    pub fn admits(&self, origin: &str) -> bool {
        match self {
            OriginRule::Exact(own) => own.eq_ignore_ascii_case(origin),
            OriginRule::AnyPort(own) => {
                let Some((start, port)) = origin.split_at_checked(own.len()) else { return false };
                let any_port = port.strip_prefix(':').map_or(port.is_empty(), |port| port.parse::<u16>().is_ok());
                start.eq_ignore_ascii_case(own) && any_port
            }
        }
    }
}

/// Splits `host:port`; the colons inside an IPv6 literal's brackets do not count.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_literal = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_literal..].find(':') {
        Some(colon) => {
            let at = after_literal + colon;
            (&authority[..at], Some(&authority[at + 1..]))
        }
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_served_on_any_port() {
        let localhost = HostRule::parse("localhost");
        for host in ["localhost", "LOCALHOST:8080", "localhost.", "localhost:1"] {
            assert!(localhost.admits(host), "{host}");
        }
        for host in
            ["", "evil.com", "localhost.evil.com", "evil.localhost", "localhost:http", "localhost:", "::1", "127.0.0.1"]
        {
            assert!(!localhost.admits(host), "{host}");
        }
        assert!(HostRule::parse("[::1]").admits("[::1]:8080"));
        assert!(HostRule::parse("Gw.Example.com").admits("gw.example.com:9999"));
    }

    #[test]
    fn a_port_in_the_rule_binds_the_port() {
        let rule = HostRule::parse("gw.example.com:443");
        assert!(rule.admits("GW.example.com:443"));
        assert!(!rule.admits("gw.example.com:444"));
        assert!(!rule.admits("gw.example.com"));
    }

    #[test]
    fn origins_compare_whole() {
        let any = OriginRule::parse("http://localhost:*");
        assert!(any.admits("http://localhost:6274") && any.admits("HTTP://localhost"));
        for origin in [
            "null",
            "https://localhost:1",
            "http://localhost.evil.com",
            "http://localhost@evil.com",
            "http://localhost/x",
            "http://localhost:1.evil.com",
            "http://localhost:",
            "",
        ] {
            assert!(!any.admits(origin), "{origin}");
        }
        assert!(OriginRule::parse("https://App.example.com/").admits("https://app.example.com"));
        assert!(!OriginRule::parse("https://app.example.com").admits("https://app.example.com:8443"));
        assert!(!OriginRule::parse("https://app.example.com").admits("http://app.example.com"));
    }
}
