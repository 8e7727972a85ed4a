//! The way of a modern request from its last byte to the bytes that go upstream, as a gateway with one listener and virtual
//! server builds it, over one backend or over ten: all filters, then the splice.

use crate::bodies::TOOL;
use crate::federation::Members;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use lockgate_filters::backend::{Backend, Facts, Speaks};
use lockgate_filters::chain::{Chain, Stop};
use lockgate_filters::door::Door;
use lockgate_filters::envelope::Envelope;
use lockgate_filters::era::Era;
use lockgate_filters::exchange::{Exchange, UnixMillis};
use lockgate_filters::federate::{Federate, Federation};
use lockgate_filters::filter::Head;
use lockgate_filters::guard::{Guard, HostRule};
use lockgate_filters::lane::Lane;
use lockgate_filters::negotiate::Negotiate;
use lockgate_filters::params::Params;
use lockgate_filters::route::{Route, Way as Leads};
use lockgate_filters::rpc::params::ToolParams;
use lockgate_filters::rpc::scan::{Limits, scan};
use lockgate_filters::session::{Session, Sessions};
use lockgate_filters::splice::Onward;
use lockgate_filters::splice::wire::{Wire, encode};
use lockgate_filters::splice::{self, Forwarding, edited};
use lockgate_filters::ticket::{Key, Keyring, SessionId};
use lockgate_filters::virtual_server::VirtualServer;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

const LIMITS: Limits = Limits { depth: 64, batch: 32 };
const BODY_BYTES: u64 = 4 << 20;
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// What a client of 2026-07-28 sends with a call of [`crate::bodies::call`].
const HEADERS: [(&str, &str); 8] = [
    ("host", "127.0.0.1:8080"),
    ("user-agent", "claude-code/2.1.0"),
    ("accept", "application/json, text/event-stream"),
    ("accept-encoding", "gzip, deflate, br"),
    ("content-type", "application/json"),
    ("mcp-protocol-version", "2026-07-28"),
    ("mcp-method", "tools/call"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
];

/// Where the name of what is called stands once more.
const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");

/// What all requests to the endpoint begin with.
const PREFIX: &[u8] = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:9000\r\nuser-agent: lockgate/0.1.0\r\n\
    accept: application/json, text/event-stream\r\naccept-encoding: identity\r\ncontent-type: application/json\r\n";
/// Room in a request's buffer, which the gateway reads the response's header into afterwards.
const ROOM_BYTES: usize = 4096;

/// The chains, and one request's header.
pub struct Way {
    listener: Chain,
    forwarding: Forwarding,
    headers: HeaderMap,
}

/// No session was ended.
struct NoneEnded;

impl Sessions for NoneEnded {
    fn is_gone(&self, _id: &SessionId) -> bool {
        false
    }
}

impl Way {
    /// A gateway whose backend speaks the modern era and mirrors no arguments; `None` never, as its key is a good one.
    pub fn new() -> Option<Way> {
        let tools = Some(Arc::new(ToolParams::default()));
        let facts = Facts { modern: Speaks::Yes, legacy: Speaks::No, tools, ..Facts::default() };
        Way::over(Box::new([Arc::new(Backend::new("notes", facts))]), None, TOOL)
    }

    /// A gateway over ten such backends with 50 tools each, and the name by which it shows the tool of one of them that
    /// [`crate::bodies::call_of`] is to call.
    pub fn federated() -> Option<(Way, &'static str)> {
        let members = Members::of(TOOL, 50, NOW)?;
        let exposed = "m6__store_note";
        Some((Way::over(members.backends, Some(members.federation), exposed)?, exposed))
    }

    fn over(backends: Box<[Arc<Backend>]>, federation: Option<Arc<Federation>>, called: &'static str) -> Option<Way> {
        let key = Key::derive("k1", b"a secret that only the benches know").ok()?;
        let keys = Arc::new(Keyring::new(vec![key]).ok()?);
        let server = Arc::new(VirtualServer {
            index: 0,
            name: "default".into(),
            backends,
            chain: Chain::new(vec![
                Box::new(Negotiate::new(BODY_BYTES)),
                Box::new(Era),
                Box::new(Session::new("default".into(), Arc::clone(&keys), Arc::new(NoneEnded))),
                Box::new(Envelope),
                Box::new(Federate::new("default".into(), Arc::clone(&keys))),
                Box::new(Params),
            ]),
            federation,
            pinned: None,
            offered: Default::default(),
        });
        let hosts = ["localhost", "127.0.0.1", "[::1]"].map(HostRule::parse).into();
        let paths = [(Box::from("/mcp"), Leads { server, door: Door::Mcp, challenges: None })];
        let listener = Chain::new(vec![Box::new(Guard::new(hosts, Vec::new())), Box::new(Route::new(paths))]);
        let fields = HEADERS.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::from_iter(fields);
        headers.insert(MCP_NAME, HeaderValue::from_static(called));
        Some(Way { listener, forwarding: Forwarding::default(), headers })
    }

    /// What happens to a request between its last byte and the choice of a lane; `None` where a filter stopped it.
    pub fn pass(&self, body: &Bytes) -> Option<(Lane, Exchange)> {
        let head = Head { method: &Method::POST, path: "/mcp", query: None, authority: None, headers: &self.headers };
        let mut exchange = Exchange::new(NOW, IpAddr::V4(Ipv4Addr::LOCALHOST));
        let Stop::End = self.listener.request(&head, &mut exchange, 0) else { return None };
        let server = exchange.server.clone()?;
        let Stop::End = server.chain.request(&head, &mut exchange, 0) else { return None };
        exchange.scan = scan(body, &LIMITS).ok()?;
        exchange.body = body.clone();
        for index in 0..exchange.scan.messages.len() {
            let Stop::End = server.chain.message(&head, index, &mut exchange, 0) else { return None };
        }
        Some((Lane::of(head.method, &exchange), exchange))
    }

    /// The bytes that go upstream of a request that may pass; `None` where it holds no message.
    pub fn splice(&self, exchange: &Exchange) -> Option<Wire> {
        let message = exchange.scan.messages.first()?;
        let hop = exchange.target(0).hop()?;
        let onward = Onward { name: hop.name.clone(), ..Onward::default() };
        let body = match &hop.edits[..] {
            [] => exchange.body.clone(),
            edits => edited(&exchange.body, message.span, edits),
        };
        let (fields, _) = splice::post(&self.forwarding, &self.headers, exchange, message, onward);
        Some(encode(PREFIX, &fields, Some(&body), ROOM_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bodies::{Filling, call, call_of};

    #[test]
    fn calls_of_all_sizes_pass() {
        let way = Way::new().unwrap();
        for bytes in [300, 2 << 10, 64 << 10, 1 << 20] {
            let (lane, exchange) = way.pass(&call(bytes, Filling::Text).into()).expect("nothing stops it");
            assert_eq!(lane, Lane::Forward);
            assert_eq!(exchange.scan.messages.len(), 1);
            let wire = way.splice(&exchange).expect("there is a message");
            let sent = [&wire.front[..], &wire.rest].concat();
            assert!(sent.starts_with(PREFIX) && sent.ends_with(&exchange.body));
            assert!(sent.len() > PREFIX.len() + exchange.body.len() + 100, "fields of the client are missing");
        }
    }
    #[test]
    fn a_prefixed_call_leaves_under_the_backends_own_name() {
        let (way, exposed) = Way::federated().unwrap();
        for bytes in [300, 2 << 10, 64 << 10] {
            let (lane, exchange) = way.pass(&call_of(exposed, bytes, Filling::Text).into()).expect("nothing stops it");
            assert_eq!((lane, exchange.target(0).hop().map(|hop| hop.member)), (Lane::Forward, Some(6)));
            let wire = way.splice(&exchange).expect("it has a target");
            let sent = String::from_utf8([&wire.front[..], &wire.rest].concat()).unwrap();
            assert!(sent.contains("\r\nmcp-name: store_note\r\n") && sent.contains(r#""name":"store_note""#), "{sent}");
            assert!(!sent.contains(exposed), "{sent}");
        }
        assert!(way.pass(&call(300, Filling::Text).into()).is_none(), "without a prefix it is nobody's");
    }
}
