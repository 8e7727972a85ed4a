//! A whole chain in a test: a request goes in, what was decided comes out.

use crate::backend::{Backend, Facts, Speaks};
use crate::chain::{Chain, Stop};
use crate::envelope::Envelope;
use crate::era::Era;
use crate::exchange::{Exchange, UnixMillis};
use crate::fault::Refusal;
use crate::federate::{Catalog, Failure, Federate, Federation, Policy};
use crate::filter::{Ask, Head};
use crate::lane::Lane;
use crate::negotiate::Negotiate;
use crate::params::Params;
use crate::revision::Revision;
use crate::rpc::params::ToolParams;
use crate::rpc::scan::{self, Limits};
use crate::session::{Session, Sessions};
use crate::ticket::{ClientText, Key, Keyring, NodeId, PrincipalDigest, SessionId, Ticket};
use crate::virtual_server::VirtualServer;
use bytes::Bytes;
use http::{HeaderMap, Method};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The time in these tests.
pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// The virtual server's name in these tests.
pub const SERVER: &str = "default";

/// Answers what a filter asks.
pub type OnAsk = Box<dyn Fn(&Ask) -> Result<(), Refusal>>;

/// A virtual server with one backend, and the key its tickets are sealed with.
pub struct Bench {
    pub backend: Arc<Backend>,
    pub server: Arc<VirtualServer>,
    pub keys: Arc<Keyring>,
    /// Runs when a filter asks for something.
    pub on_ask: OnAsk,
    /// What callers are shown that a backend tells apart.
    pub on_own: Option<Arc<Catalog>>,
    /// Whether a backend was too crowded to say it.
    pub crowded: bool,
    /// What they are shown when that is asked again.
    pub on_own_again: Option<Arc<Catalog>>,
}

struct NothingGone;

impl Sessions for NothingGone {
    fn is_gone(&self, id: &SessionId) -> bool {
        id.0 == [0xdd; 16]
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    Lane(Lane, Box<Exchange>),
    Refused(Refusal),
    Answered,
}

impl Outcome {
    #[track_caller]
    pub fn refusal(self) -> Refusal {
        match self {
            Outcome::Refused(refusal) => refusal,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[track_caller]
    pub fn lane(self) -> (Lane, Box<Exchange>) {
        match self {
            Outcome::Lane(lane, exchange) => (lane, exchange),
            other => panic!("expected a lane, got {other:?}"),
        }
    }
}

impl Bench {
    /// A bench whose virtual server shows what this catalog shows; its backends speak both eras.
    pub fn federated(policy: Policy, catalog: Catalog) -> Bench {
        let mut bench = Bench::new(Speaks::Yes, Speaks::Yes);
        let facts = bench.backend.facts();
        let backends = policy
            .members
            .iter()
            .map(|member| Arc::new(Backend::new(Arc::clone(&member.backend), Facts::clone(&facts))));
        let backends = backends.collect();
        let federation = Federation::new(policy, Failure::Partial, 0);
        federation.publish(Arc::new(catalog));
        bench.server = Arc::new(VirtualServer {
            index: 0,
            name: SERVER.into(),
            backends,
            chain: Bench::chain(&bench.keys),
            federation: Some(Arc::new(federation)),
            pinned: None,
            offered: Default::default(),
        });
        drop(facts);
        bench
    }

    fn chain(keys: &Arc<Keyring>) -> Chain {
        Chain::new(vec![
            Box::new(Negotiate::new(1 << 20)),
            Box::new(Era),
            Box::new(Session::new(SERVER.into(), Arc::clone(keys), Arc::new(NothingGone))),
            Box::new(Envelope),
            Box::new(Federate::new(SERVER.into(), Arc::clone(keys))),
            Box::new(Params),
        ])
    }

    pub fn new(modern: Speaks, legacy: Speaks) -> Bench {
        let facts = Facts { modern, legacy, tools: Some(Arc::new(ToolParams::default())), ..Facts::default() };
        let backend = Arc::new(Backend::new("demo", facts));
        let key = Key::derive("k1", b"a secret that only this test knows").unwrap();
        let keys = Arc::new(Keyring::new(vec![key]).unwrap());
        let server = Arc::new(VirtualServer {
            index: 0,
            name: SERVER.into(),
            backends: Box::new([Arc::clone(&backend)]),
            chain: Bench::chain(&keys),
            federation: None,
            pinned: None,
            offered: Default::default(),
        });
        Bench { backend, server, keys, on_ask: Box::new(|_| Ok(())), on_own: None, crowded: false, on_own_again: None }
    }

    pub fn ticket(&self, revision: Revision, id: [u8; 16]) -> String {
        self.ticket_of(PrincipalDigest::ANONYMOUS, revision, id)
    }

    pub fn ticket_of(&self, principal: PrincipalDigest, revision: Revision, id: [u8; 16]) -> String {
        let ticket = Ticket {
            id: SessionId(id),
            principal,
            revision,
            client_name: ClientText::new("test"),
            client_version: ClientText::new("1"),
            capabilities: Default::default(),
            issued: NOW,
            expires: NOW.plus(60_000),
            node: NodeId([1; 8]),
        };
        ticket.seal(&self.keys, SERVER).unwrap()
    }

    pub fn send(&self, method: Method, headers: &[(&str, &str)], body: &str) -> Outcome {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        if method == Method::POST && !map.contains_key("content-type") {
            map.insert("content-type", "application/json".parse().unwrap());
        }
        let head = Head { method: &method, path: "/mcp", query: None, authority: None, headers: &map };
        let mut exchange = Exchange::new(NOW, IpAddr::V4(Ipv4Addr::LOCALHOST));
        exchange.server = Some(Arc::clone(&self.server));
        if let Some(outcome) =
            self.run(&mut exchange, |exchange, from| self.server.chain.request(&head, exchange, from))
        {
            return outcome;
        }
        if method == Method::POST {
            exchange.body = Bytes::copy_from_slice(body.as_bytes());
            match scan::scan(&exchange.body, &Limits { depth: 64, batch: 32 }) {
                Ok(found) => exchange.scan = found,
                Err(fault) => return Outcome::Refused(Refusal::new(fault.fault, "scan")),
            }
        }
        for index in 0..exchange.scan.messages.len() {
            let outcome =
                self.run(&mut exchange, |exchange, from| self.server.chain.message(&head, index, exchange, from));
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
        Outcome::Lane(Lane::of(&method, &exchange), Box::new(exchange))
    }

    fn run(&self, exchange: &mut Exchange, step: impl Fn(&mut Exchange, usize) -> Stop) -> Option<Outcome> {
        let mut from = 0;
        loop {
            match step(exchange, from) {
                Stop::End => return None,
                Stop::Answer(_) => return Some(Outcome::Answered),
                Stop::Refuse(refusal) => return Some(Outcome::Refused(refusal)),
                Stop::Ask { ask, resume } => {
                    let outcome = (self.on_ask)(&ask);
                    match ask {
                        Ask::Own { .. } => (exchange.catalog, exchange.crowded) = (self.on_own.clone(), self.crowded),
                        Ask::OwnTools { .. } => exchange.catalog = self.on_own_again.clone(),
                        _ => {}
                    }
                    exchange.answered(&ask, outcome);
                    from = resume;
                }
            }
        }
    }
}
