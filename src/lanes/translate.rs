//! A backend's words on their way to the client of a virtual server over several backends: URIs and ids become the
//! gateway's, what concerns only the gateway goes no further.
//!
//! What needs no change keeps its bytes; most answers are not even looked into (`filters/src/federate/outward.rs`).

use super::{Way, heal};
use crate::session::{NodeSession, UpstreamId};
use crate::snapshot::{Link, Server};
use crate::upstream::{Fetcher, Speech};
use bytes::Bytes;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::event_id::{EventId, Stream};
use lockgate_filters::federate::outward::{self, Asking};
use lockgate_filters::federate::uris::MemberUris;
use lockgate_filters::rpc::id;
use lockgate_filters::rpc::reply;
use lockgate_filters::rpc::scan::{self, Kind, Limits, Message};
use lockgate_filters::sse::Frame;
use lockgate_filters::ticket::{NodeId, SessionId};
use memchr::memmem;
use std::sync::Arc;
use tokio::runtime::Handle;

const RULE: &str = "translate";

/// What a message of a backend becomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Becomes {
    /// What it was.
    Same,
    /// This.
    Other(Bytes),
    /// Nothing: it was for the gateway.
    Nothing,
}

/// Which response a backend may give: another one would answer, for the client, what it has asked somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owes {
    /// None: nothing was asked.
    Nothing,
    /// That to the request with this raw id.
    To(Bytes),
    /// One that nobody here knows the id of: it was asked long ago.
    Something,
}

/// How one backend's words become those of a virtual server, to one client.
pub(super) struct Translate {
    server: Arc<Server>,
    link: Arc<Link>,
    uris: MemberUris,
    /// The method of the request that is answered; empty on a stream that answers none.
    method: Box<str>,
    node: NodeId,
    boot: [u8; 8],
    /// The legacy session that may be asked something.
    session: Option<Arc<NodeSession>>,
    /// What the backend may answer.
    owes: Owes,
    /// What answers the backend on the gateway's behalf.
    fetcher: Fetcher,
}

impl Translate {
    /// How the backend that `way` leads to is translated; `None` where everything passes as it is.
    pub fn of(way: &Way<'_>, member: usize, method: &str, owes: Owes) -> Option<Arc<Translate>> {
        let federation = way.server.policy.federation.as_ref()?;
        let catalog = way.trip.exchange.catalog.clone().unwrap_or_else(|| federation.pinned());
        let link = Arc::clone(way.server.links.get(member)?);
        Some(Arc::new(Translate {
            server: Arc::clone(&way.server),
            uris: catalog.uris(member),
            method: method.into(),
            node: way.gateway.node,
            boot: way.gateway.boot,
            session: way.node.clone(),
            owes,
            fetcher: way.speaker(&link.backend),
            link,
        }))
    }

    /// Whether an answer may have to be changed: it must then be read whole.
    pub fn changes_answers(&self) -> bool {
        outward::bears_uris(&self.method) && !self.uris.is_identity()
    }

    /// The response to the request, or what stands in its place.
    pub fn response(&self, message: Bytes) -> Bytes {
        if !self.changes_answers() || !outward::may_name_uris(&message) {
            return message;
        }
        if scan::scan_envelope(&message, &LIMITS).is_err() {
            // A client could read in it what was not seen here.
            let text = format!("backend \"{}\" gave an answer that is no JSON-RPC message", self.link.name());
            let refusal = Refusal::new(Fault::BackendProtocol, RULE).saying(text);
            return reply::error_body(None, &refusal, "");
        }
        outward::response(&self.method, &message, &self.uris).unwrap_or(message)
    }

    /// What one message of an event stream becomes.
    pub fn message(&self, data: &Bytes) -> Becomes {
        let asks = memmem::find(data, b"\"method\"").is_some() || memmem::find(data, b"\\u").is_some();
        if !asks {
            return match scan::scan_envelope(data, &LIMITS) {
                Ok(message) if message.kind == Kind::Response => self.answer(&message, data),
                _ => Becomes::Nothing,
            };
        }
        let Ok(message) = scan::scan_envelope(data, &LIMITS) else { return Becomes::Nothing };
        match message.kind {
            Kind::Response => self.answer(&message, data),
            Kind::Request => self.request(&message, data),
            Kind::Notification => self.notification(&message, data),
        }
    }

    /// Whether this may be the response that the backend owes; an error need not say to what.
    fn is_owed(&self, message: &Message, data: &[u8]) -> bool {
        match &self.owes {
            Owes::Nothing => false,
            Owes::Something => true,
            Owes::To(asked) => match message.id {
                Some(own) => id::same(own.span.of(data), asked),
                None => message.error.is_some(),
            },
        }
    }

    /// Whether a whole answer is the response that the backend owes.
    pub fn admits(&self, answer: &[u8]) -> bool {
        scan::scan_envelope(answer, &LIMITS)
            .is_ok_and(|message| message.kind == Kind::Response && self.is_owed(&message, answer))
    }

    fn answer(&self, message: &Message, data: &Bytes) -> Becomes {
        if !self.is_owed(message, data) {
            tracing::warn!(backend = %self.link.name(), "a backend gave a response that it does not owe");
            return Becomes::Nothing;
        }
        let answer = self.response(data.clone());
        if answer.as_ptr() == data.as_ptr() { Becomes::Same } else { Becomes::Other(answer) }
    }

    fn notification(&self, message: &Message, data: &Bytes) -> Becomes {
        let method = message.method.and_then(|method| method.text(data)).unwrap_or_default();
        match &*method {
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed" => {
                // What clients see is the catalog: they are told when that has changed.
                self.link.backend.look_again();
                Becomes::Nothing
            }
            "notifications/cancelled" => match self.asking() {
                Some(asking) => asking.cancellation(message, data).map_or(Becomes::Nothing, Becomes::Other),
                None => Becomes::Nothing,
            },
            _ => outward::notification(message, data, &self.uris).map_or(Becomes::Same, Becomes::Other),
        }
    }

    /// A request of the backend goes to the client under an id of ours, a `ping` is answered here.
    fn request(&self, message: &Message, data: &Bytes) -> Becomes {
        let Some(id) = message.id.map(|id| Bytes::copy_from_slice(id.span.of(data))) else { return Becomes::Nothing };
        if message.is(b"ping", data) {
            self.answer_backend(reply::result_body(Some(&id), b"{}"));
            return Becomes::Nothing;
        }
        if let Some(asking) = self.asking()
            && let Ok(request) = asking.request(message, data)
        {
            return Becomes::Other(request);
        }
        tracing::debug!(backend = %self.link.name(), "a backend asked something that no client can be asked");
        self.link.metrics.refused_request();
        let refusal = Refusal::new(Fault::NotAsked, RULE).saying("no client can be asked this");
        self.answer_backend(reply::error_body(Some(&id), &refusal, ""));
        Becomes::Nothing
    }

    /// The id under which a client knows an event of the backend; `None` where it cannot be asked for again.
    fn event_id(&self, raw: &Bytes) -> Option<Bytes> {
        let session = self.session.as_ref()?;
        let place = &self.link.backend.place;
        let id = EventId {
            session: session.id(),
            stream: Stream::Answer,
            boot: self.boot,
            number: 0,
            asked: match &self.owes {
                Owes::To(asked) => asked.clone(),
                Owes::Nothing | Owes::Something => Bytes::new(),
            },
            behind: vec![(session.upstream(place)?.source(place), raw.clone())],
        };
        id.seal(&self.server.keys, &self.server.policy.name)
    }

    fn asking(&self) -> Option<Asking<'_>> {
        let session: SessionId = self.session.as_ref()?.id();
        Some(Asking {
            keys: &self.server.keys,
            server: &self.server.policy.name,
            node: self.node,
            boot: self.boot,
            backend: self.link.name(),
            session,
        })
    }

    /// Answers a request of the backend without any client, in the session that it was made in.
    fn answer_backend(&self, message: Bytes) {
        let Some(upstream) = self.session.as_ref().and_then(|node| node.upstream(&self.link.backend.place)) else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else { return };
        let fetcher = self.fetcher.clone();
        runtime.spawn(async move {
            let session = upstream.id.as_ref().map(UpstreamId::header);
            let speech = Speech::Legacy { session, revision: Some(upstream.revision) };
            if let Err(fault) = fetcher.respond(message, speech).await {
                tracing::debug!("a backend's request could not be answered: {fault}");
            }
        });
    }
}

/// What an event becomes: its id, and its frame where that is another one; `None` where nothing is left of it.
///
/// The answer to a request for which a session had to be opened again says so (`healed`).
pub(super) fn event(
    translate: Option<&Translate>,
    frame: &Frame,
    healed: bool,
) -> Option<(Option<Bytes>, Option<Bytes>)> {
    let mut data = None;
    if !frame.data.is_empty() {
        match translate.map_or(Becomes::Same, |translate| translate.message(&frame.data)) {
            Becomes::Same => {}
            Becomes::Other(other) => data = Some(other),
            Becomes::Nothing => return None,
        }
        if healed {
            let said = data.clone().unwrap_or_else(|| frame.data.clone());
            let marked = heal::marked(said.clone());
            if marked != said {
                data = Some(marked);
            }
        }
    }
    let id = match (translate, &frame.id) {
        (Some(translate), Some(id)) if !id.is_empty() => translate.event_id(id),
        (_, id) => id.clone(),
    };
    let same = data.is_none() && id == frame.id;
    let rewritten = (!same).then(|| frame.rewritten(id.as_deref(), data.as_deref()));
    Some((id, rewritten))
}

const LIMITS: Limits = Limits { depth: scan::MAX_DEPTH, batch: 1 };
