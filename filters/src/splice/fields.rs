//! Which of a client's header fields go upstream.
//!
//! By an allow-list: what MCP and tracing define, and what the backend's configuration names.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Fields that belong to the connection on which a request came, or say how its body and its answer are written: whoever
/// sends it on says its own.
const OF_THE_CONNECTION: [&str; 14] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "accept",
    "accept-encoding",
    "content-type",
    "content-length",
    "content-encoding",
];

/// Others that no configuration can have forwarded: they are meant for this hop, or are set by the lanes.
const NEVER_FORWARDED: [&str; 3] = ["proxy-authorization", "proxy-authenticate", "mcp-session-id"];

/// Fields that always pass upstream, beside `Mcp-*`.
const ALWAYS_FORWARDED: &[&str] = &["last-event-id", "traceparent", "tracestate", "baggage", "accept-language"];

/// The fields of one request to a backend, beside those that the endpoint itself adds.
///
/// A plain list: it is built once, read once and never looked up by name on the hot path.
#[derive(Clone, Debug, Default)]
pub struct Outbound(Vec<(HeaderName, HeaderValue)>);

impl Outbound {
    /// No fields.
    pub fn new() -> Outbound {
        Outbound::default()
    }

    /// Sets a field, whatever was there under that name.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.remove(&name);
        self.0.push((name, value));
    }

    /// Adds a field to those of its name.
    pub fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Removes a field.
    pub fn remove(&mut self, name: &HeaderName) {
        self.retain(|known| known != name);
    }

    /// Keeps only the fields whose name passes.
    pub fn retain(&mut self, mut keep: impl FnMut(&HeaderName) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// The fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }

    /// How many bytes the fields take in an HTTP/1.1 header.
    pub fn wire_len(&self) -> usize {
        self.0.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
    }
}

/// Which of a client's fields a backend gets.
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    listed: Box<[HeaderName]>,
    ours: Box<[HeaderName]>,
}

impl Forwarding {
    /// A policy that also forwards the `listed` fields.
    ///
    /// Names that can never be forwarded are ignored here; the configuration refuses them before.
    pub fn new(listed: impl IntoIterator<Item = HeaderName>) -> Forwarding {
        Forwarding {
            listed: listed.into_iter().filter(|name| !Forwarding::forbidden(name)).collect(),
            ours: Box::default(),
        }
    }

    /// The same policy for a backend that is sent these fields with the gateway's own values: the client's are dropped,
    /// or the backend would get two and take whichever it likes.
    pub fn setting(self, names: impl IntoIterator<Item = HeaderName>) -> Forwarding {
        Forwarding { ours: names.into_iter().collect(), ..self }
    }

    /// Whether the configuration names this field: who the client is, or whatever else the backend wants to know of it.
    pub fn lists(&self, name: &HeaderName) -> bool {
        self.listed.contains(name)
    }

    /// Whether a name is never forwarded, whoever lists it.
    pub fn forbidden(name: &HeaderName) -> bool {
        Forwarding::never().any(|never| never == name.as_str())
    }

    /// The names that are never forwarded.
    pub fn never() -> impl Iterator<Item = &'static str> {
        OF_THE_CONNECTION.into_iter().chain(NEVER_FORWARDED)
    }

    /// The fields of a client's request that go upstream.
    ///
    /// One allocation. Fields that the client's `Connection` names stay here (RFC 9110 section 7.6.1), but for `Mcp-*`:
    /// these are meant for the server, they have been checked against the body, and what was checked is what passes on.
    pub fn outbound(&self, client: &HeaderMap) -> Outbound {
        let nominated = Nominated::of(client);
        let mut fields = Vec::with_capacity(8);
        for (name, value) in client {
            if self.admits(name) && (name.as_str().starts_with("mcp-") || !nominated.names(name)) {
                fields.push((name.clone(), value.clone()));
            }
        }
        Outbound(fields)
    }

    fn admits(&self, name: &HeaderName) -> bool {
        if self.ours.contains(name) {
            return false;
        }
        let text = name.as_str();
        (text.starts_with("mcp-") && text != "mcp-session-id")
            || ALWAYS_FORWARDED.contains(&text)
            || self.listed.contains(name)
    }
}

/// All that a client says in fields, but for what belongs to its connection: for a request that the gateway makes of
/// another gateway, or of itself, in the client's place, and that is judged there like the client's own.
pub fn carried(client: &HeaderMap) -> Outbound {
    let nominated = Nominated::of(client);
    let mut fields = Outbound::new();
    for (name, value) in client {
        if !OF_THE_CONNECTION.contains(&name.as_str()) && !nominated.names(name) {
            fields.add(name.clone(), value.clone());
        }
    }
    fields
}

/// The fields that a message's `Connection` names as belonging to this hop.
pub struct Nominated<'a> {
    lists: Option<http::header::GetAll<'a, HeaderValue>>,
}

impl<'a> Nominated<'a> {
    /// Reads a message's `Connection`, if it has one.
    pub fn of(headers: &'a HeaderMap) -> Nominated<'a> {
        let lists = headers.contains_key(header::CONNECTION).then(|| headers.get_all(header::CONNECTION));
        Nominated { lists }
    }

    /// Whether a field belongs to this hop.
    pub fn names(&self, name: &HeaderName) -> bool {
        self.lists.as_ref().is_some_and(|lists| {
            lists.iter().any(|list| tokens(list).any(|token| token.eq_ignore_ascii_case(name.as_str().as_bytes())))
        })
    }
}

/// The comma-separated tokens of a field value, trimmed; empty ones are left out.
pub fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn names(outbound: &Outbound) -> Vec<&str> {
        outbound.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn only_listed_fields_go_upstream() {
        let client = map(&[
            ("host", "gw"),
            ("origin", "https://app"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("proxy-authorization", "x"),
            ("content-length", "4"),
            ("accept", "application/json"),
            ("mcp-session-id", "ticket"),
            ("mcp-method", "tools/call"),
            ("mcp-param-region", "eu"),
            ("mcp-protocol-version", "2026-07-28"),
            ("last-event-id", "7"),
            ("traceparent", "00-1-2-03"),
            ("accept-language", "de"),
            ("x-tenant", "a"),
        ]);
        let plain = Forwarding::default().outbound(&client);
        let expected = [
            "mcp-method",
            "mcp-param-region",
            "mcp-protocol-version",
            "last-event-id",
            "traceparent",
            "accept-language",
        ];
        assert_eq!(names(&plain), expected);

        let listed = Forwarding::new([
            header::AUTHORIZATION,
            header::HOST,
            header::TRANSFER_ENCODING,
            HeaderName::from_static("x-tenant"),
            HeaderName::from_static("mcp-session-id"),
        ]);
        let mut with = names(&listed.outbound(&client)).join(" ");
        with.push(' ');
        assert!(with.contains("authorization ") && with.contains("x-tenant "));
        assert!(!with.contains("host ") && !with.contains("mcp-session-id "));
    }

    #[test]
    fn a_client_cannot_double_what_the_gateway_sets() {
        let client = map(&[("baggage", "of=client"), ("traceparent", "00-1-2-03")]);
        let forwarding = Forwarding::default().setting([HeaderName::from_static("baggage")]);
        assert_eq!(names(&forwarding.outbound(&client)), ["traceparent"]);
    }

    #[test]
    fn fields_named_by_connection_stay_at_their_hop() {
        let client = map(&[("connection", "keep-alive, X-Tenant ,mcp-name"), ("x-tenant", "a"), ("mcp-name", "t")]);
        let forwarding = Forwarding::new([HeaderName::from_static("x-tenant")]);
        assert_eq!(names(&forwarding.outbound(&client)), ["mcp-name"], "a client cannot strip what was checked");
    }

    #[test]
    fn what_the_client_says_is_carried_and_nothing_of_its_connection() {
        let mut client = map(&[
            ("host", "gw"),
            ("authorization", "Bearer x"),
            ("x-forwarded-for", "192.0.2.1"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=1"),
            ("accept", "application/json"),
            ("content-length", "7"),
            ("mcp-session-id", "s"),
            ("mcp-protocol-version", "2025-11-25"),
            ("last-event-id", "1"),
        ]);
        client.append("x-forwarded-for", HeaderValue::from_static("192.0.2.2"));
        let mut carried = names(&carried(&client)).join(" ");
        carried.push(' ');
        for name in ["authorization", "x-forwarded-for", "mcp-session-id", "mcp-protocol-version", "last-event-id"] {
            assert!(carried.contains(&format!("{name} ")), "{carried}");
        }
        assert_eq!(carried.split_whitespace().count(), 6, "{carried}");
    }

    #[test]
    fn setting_a_field_replaces_what_was_there() {
        let mut outbound = Outbound::new();
        outbound.set(HeaderName::from_static("mcp-session-id"), HeaderValue::from_static("a"));
        outbound.set(HeaderName::from_static("mcp-session-id"), HeaderValue::from_static("b"));
        assert_eq!(outbound.iter().map(|(_, value)| value.as_bytes()).collect::<Vec<_>>(), [b"b"]);
    }
}
