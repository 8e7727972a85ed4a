//! A backend's words on their way to the client of a virtual server over several backends: URIs and ids become the
//! gateway's, what concerns only the gateway goes no further.
//!
//! What needs no change keeps its bytes; most answers are not even looked into (`filters/src/federate/outward.rs`).

use super::heal::{self, Mark};
use super::names::Names;
use super::owes::Owes;
use super::rights::Rights;
use super::{Way, attempt};
use crate::session::{NodeSession, UpstreamId, UpstreamSession};
use crate::snapshot::{Link, Server};
use crate::upstream::{Caller, Fetcher, Speech};
use arc_swap::ArcSwap;
use bytes::Bytes;
use lockgate_filters::authorize::Action;
use lockgate_filters::exchange::Exchange;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::event_id::{self, EventId, Stream};
use lockgate_filters::federate::outward::{self, Asking, EDITS_MAX, TooManyUris};
use lockgate_filters::federate::uris::MemberUris;
use lockgate_filters::rpc::answer::{Answer, answer, may_ask, plainly_answers};
use lockgate_filters::rpc::id::{self, RawId};
use lockgate_filters::rpc::reply;
use lockgate_filters::rpc::scan::{self, Kind, Limits, Message};
use lockgate_filters::sse::Frame;
use lockgate_filters::ticket::{NodeId, SessionId};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
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

/// The virtual server that a client talks to.
enum Shown {
    /// The one that took the request, with the names that were decided on.
    Then(Arc<Server>, MemberUris),
    /// For a stream that outlives reloads: the one of now, and the names of now.
    Now(Arc<ArcSwap<Server>>),
}

/// How one backend's words become those of a virtual server, to one client.
pub(super) struct Translate {
    shown: Shown,
    names: Names,
    link: Arc<Link>,
    /// What is answered, if anything is.
    stream: Stream,
    node: NodeId,
    boot: [u8; 8],
    /// The legacy session that may be asked something.
    session: Option<Arc<NodeSession>>,
    /// What the backend may answer.
    owes: Owes,
    /// The raw token under which it may report progress of that.
    token: Option<RawId>,
    /// The session at the backend that it speaks in: that of its first message, if nobody said so before.
    upstream: OnceLock<Option<UpstreamSession>>,
    /// What answers the backend on the gateway's behalf, where something of the client's request is forwarded.
    speaker: OnceLock<Fetcher>,
    caller: Caller,
    /// What the backend may bring to the client of its own accord.
    rights: Rights,
}

impl Translate {
    /// How the backend that `way` leads to is translated; `None` where everything passes as it is.
    pub fn of(way: &Way<'_>, member: usize, stream: Stream, owes: Owes) -> Option<Arc<Translate>> {
        let federation = way.server.policy.federation.as_ref()?;
        let catalog = way.trip.exchange.catalog.clone().unwrap_or_else(|| federation.pinned());
        let link = Arc::clone(way.server.links.get(member)?);
        Some(Arc::new(Translate {
            shown: Shown::Then(Arc::clone(&way.server), catalog.uris(member)),
            names: Names::of(way),
            stream,
            node: way.gateway.node,
            boot: way.gateway.boot,
            session: way.node.clone(),
            // Those of a batch's members are known with the session.
            token: progress_token(&way.trip.exchange, 0).filter(|_| !way.trip.exchange.scan.batch),
            owes,
            upstream: OnceLock::new(),
            speaker: OnceLock::new(),
            caller: attempt::caller(&way.trip.exchange),
            rights: Rights::of(way),
            link,
        }))
    }

    /// How what a backend says of its own accord is translated, for as long as somebody listens.
    pub fn listening(heard: Heard, link: Arc<Link>, upstream: Option<UpstreamSession>, speaker: Fetcher) -> Translate {
        Translate {
            shown: Shown::Now(heard.server),
            names: heard.names,
            stream: Stream::News,
            node: heard.node,
            boot: heard.boot,
            session: heard.session,
            owes: Owes::Nothing,
            token: None,
            upstream: OnceLock::from(upstream),
            caller: speaker.caller,
            rights: heard.rights,
            speaker: OnceLock::from(speaker),
            link,
        }
    }

    /// What is said to the backend is said with what the client's request forwards.
    pub fn speak_with(&self, speaker: impl FnOnce() -> Fetcher) {
        self.speaker.get_or_init(speaker);
    }

    /// Whether an answer may have to be changed: it must then be read whole.
    pub fn changes_answers(&self) -> bool {
        self.is_kept_private()
            || outward::bears_uris(self.method()) && !self.uris().is_some_and(|uris| uris.is_identity())
    }

    /// Whether only the client that asked may keep the answer.
    fn is_kept_private(&self) -> bool {
        let private = || self.server().policy.federation.as_ref().is_some_and(|federation| federation.private);
        outward::is_kept_private(self.method()) && private()
    }

    fn method(&self) -> &'static str {
        self.stream.method().unwrap_or_default()
    }

    /// How the backend's URIs are called; `None` where it is no longer part of the virtual server.
    fn uris(&self) -> Option<Cow<'_, MemberUris>> {
        match &self.shown {
            Shown::Then(_, uris) => Some(Cow::Borrowed(uris)),
            Shown::Now(server) => {
                let server = server.load();
                Some(Cow::Owned(self.names.catalog(&server)?.uris(self.member(&server)?)))
            }
        }
    }

    /// Which member of the virtual server the backend is.
    fn member(&self, server: &Server) -> Option<usize> {
        server.links.iter().position(|link| link.backend.place == self.link.backend.place)
    }

    fn server(&self) -> Cow<'_, Arc<Server>> {
        match &self.shown {
            Shown::Then(server, _) => Cow::Borrowed(server),
            Shown::Now(server) => Cow::Owned(server.load_full()),
        }
    }

    /// The session at the backend whose words these are.
    fn upstream(&self) -> Option<&UpstreamSession> {
        let place = &self.link.backend.place;
        self.upstream.get_or_init(|| self.session.as_ref()?.upstream(place)).as_ref()
    }

    /// The response to the request, or what stands in its place.
    pub fn response(&self, message: Bytes) -> Bytes {
        let message = match self.is_kept_private() {
            true => outward::private(&message).unwrap_or(message),
            false => message,
        };
        if !self.changes_answers() || !outward::may_name_uris(&message) {
            return message;
        }
        if answer(&message, &LIMITS).is_err() {
            // A client could read in it what was not seen here.
            return self.unfit("gave an answer that is no JSON-RPC message");
        }
        match self.uris().map_or(Ok(None), |uris| outward::response(self.method(), &message, &uris)) {
            Ok(changed) => changed.unwrap_or(message),
            Err(TooManyUris) => self.unfit(&format!("gave an answer that names more than {EDITS_MAX} resources")),
        }
    }

    /// What the client gets for an answer that may not be passed on.
    fn unfit(&self, what: &str) -> Bytes {
        let text = format!("backend \"{}\" {what}", self.link.name());
        tracing::warn!("{text}");
        self.link.metrics.refused_answer();
        let refusal = Refusal::new(Fault::BackendProtocol, RULE).saying(text);
        reply::error_body(self.owes.asked().map(|asked| &asked[..]), &refusal, "")
    }

    /// What one message of an event stream becomes.
    pub fn message(&self, data: &Bytes) -> Becomes {
        if !may_ask(data) {
            return self.answer(data);
        }
        let Ok(message) = scan::scan_envelope(data, &LIMITS) else { return Becomes::Nothing };
        match message.kind {
            Kind::Response => self.answer(data),
            Kind::Request => self.request(&message, data),
            Kind::Notification => self.notification(&message, data),
        }
    }

    /// Whether this may be the response that the backend owes; an error need not say to what.
    fn is_owed(&self, answer: &Answer, data: &[u8]) -> bool {
        match &self.owes {
            Owes::Nothing => false,
            // It may be anything but what is known to be asked of somebody else.
            Owes::Again(None) => !answer.id.is_some_and(|id| {
                let session = self.session.as_ref();
                session.is_some_and(|session| session.asked_elsewhere(id.span.of(data), &self.link.backend.place))
            }),
            Owes::To(asked) | Owes::Again(Some(asked)) => match answer.id {
                Some(own) => id::same(own.span.of(data), asked),
                None => answer.is_error,
            },
        }
    }

    /// Whether a backend may report progress under this token: of a request that it has.
    fn reports(&self, message: &Message, data: &[u8]) -> bool {
        let token = message.params.as_ref().and_then(|params| params.progress_token);
        let Some(token) = token.map(|token| token.span.of(data)) else { return false };
        let own = self.token.as_ref().is_some_and(|own| id::same(own, token));
        let place = &self.link.backend.place;
        let session = self.session.as_ref();
        own || session.is_some_and(|session| match self.owes {
            // Of what was asked long ago, the token may not be known here; of what was asked of others, it is.
            Owes::Again(_) => !session.awaits_progress_elsewhere(token, place),
            _ => session.awaits_progress(token, place),
        })
    }

    /// Whether a message is the response that the backend owes.
    pub fn admits(&self, said: &[u8]) -> bool {
        if self.owes.asked().is_some_and(|asked| plainly_answers(said, asked, &LIMITS)) {
            return true;
        }
        answer(said, &LIMITS).is_ok_and(|answer| self.is_owed(&answer, said))
    }

    fn answer(&self, data: &Bytes) -> Becomes {
        if !self.admits(data) {
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
                let server = self.server();
                match self.names.audience_at(self.link.name()) {
                    // To a client that the backend tells apart it speaks of what that one is shown.
                    Some(audience) => {
                        self.link.backend.look_again_for(audience);
                        self.names.announced(&server);
                    }
                    None => self.link.backend.look_again(),
                }
                Becomes::Nothing
            }
            "notifications/progress" if !self.reports(message, data) => {
                tracing::debug!(backend = %self.link.name(), "a backend reported on a request that it does not have");
                Becomes::Nothing
            }
            "notifications/cancelled" => {
                let cancellation = self.asking(|asking| asking.cancellation(message, data));
                cancellation.and_then(Result::ok).map_or(Becomes::Nothing, Becomes::Other)
            }
            _ if let Some(becomes) = self.update(message, data) => becomes,
            _ => match self.uris() {
                Some(uris) => outward::notification(message, data, &uris).map_or(Becomes::Same, Becomes::Other),
                None => Becomes::Nothing,
            },
        }
    }

    /// That a resource was updated which the client is subscribed to is said under the name that it is subscribed to, whatever
    /// is listed by now.
    fn update(&self, message: &Message, data: &Bytes) -> Option<Becomes> {
        let original = outward::updated(message, data)?;
        if !self.rights.allow(&self.server(), Action::Subscribe, self.link.name(), &original) {
            return Some(Becomes::Nothing);
        }
        let exposed = self.session.as_ref()?.subscribed_as(self.link.name(), &original)?;
        Some(outward::updated_as(message, data, &exposed).map_or(Becomes::Same, Becomes::Other))
    }

    /// A request of the backend goes to the client under an id of ours, a `ping` is answered here.
    fn request(&self, message: &Message, data: &Bytes) -> Becomes {
        let Some(id) = message.id.map(|id| Bytes::copy_from_slice(id.span.of(data))) else { return Becomes::Nothing };
        if message.is(b"ping", data) {
            self.answer_backend(reply::result_body(Some(&id), b"{}"));
            return Becomes::Nothing;
        }
        let asked = match self.may_ask_for(message, data) {
            true => self.uris().and_then(|uris| self.asking(|asking| asking.request(message, data, &uris))),
            false => None,
        };
        if let Some(Ok(request)) = asked {
            return Becomes::Other(request);
        }
        tracing::debug!(backend = %self.link.name(), "a backend asked something that no client can be asked");
        self.link.metrics.refused_request();
        let refusal = Refusal::new(Fault::NotAsked, RULE).saying("no client can be asked this");
        self.answer_backend(reply::error_body(Some(&id), &refusal, ""));
        Becomes::Nothing
    }

    /// Whether the client may be asked this, as far as its policy goes.
    fn may_ask_for(&self, message: &Message, data: &[u8]) -> bool {
        let asked = [
            (&b"sampling/createMessage"[..], Action::Sample),
            (b"elicitation/create", Action::Elicit),
            (b"roots/list", Action::ListRoots),
        ];
        let action = asked.into_iter().find(|(method, _)| message.is(method, data)).map(|(_, action)| action);
        action.is_none_or(|action| self.rights.allow(&self.server(), action, self.link.name(), ""))
    }

    /// The id under which a client knows an event of the backend; `None` where it cannot be asked for again.
    fn event_id(&self, raw: &Bytes) -> Option<Bytes> {
        if raw.len() > event_id::RAW_BYTES_MAX {
            // An id that does not say where to go on would be that of every such event.
            return None;
        }
        let (session, upstream) = (self.session.as_ref()?, self.upstream()?);
        let server = self.server();
        let id = EventId {
            session: session.id(),
            stream: self.stream,
            boot: self.boot,
            number: 0,
            asked: self.owes.asked().map(|asked| Bytes::copy_from_slice(asked)).unwrap_or_default(),
            behind: vec![(upstream.source(&self.link.backend.place), raw.clone())],
        };
        id.seal(&server.keys, &server.policy.name)
    }

    /// Asks the client something, where there is one that can be asked.
    fn asking<T>(&self, ask: impl FnOnce(Asking<'_>) -> T) -> Option<T> {
        let session: SessionId = self.session.as_ref()?.id();
        let server = self.server();
        Some(ask(Asking {
            keys: &server.keys,
            server: &server.policy.name,
            node: self.node,
            boot: self.boot,
            backend: self.link.name(),
            session,
            source: self.upstream()?.source(&self.link.backend.place),
        }))
    }

    /// Answers a request of the backend without any client, in the session that it was made in; not more than a few at a
    /// time, so that a backend which only asks and never listens costs no more than these.
    fn answer_backend(&self, message: Bytes) {
        let (Some(upstream), Ok(runtime)) = (self.upstream().cloned(), Handle::try_current()) else { return };
        let Ok(turn) = Arc::clone(&self.link.replies).try_acquire_owned() else {
            tracing::debug!(backend = %self.link.name(), "a backend asks more than it takes answers to");
            self.link.metrics.refused_request();
            return;
        };
        let fetcher = self.speaker.get().cloned();
        let fetcher = fetcher.unwrap_or_else(|| self.link.backend.fetcher().calling(self.caller));
        runtime.spawn(async move {
            let _turn = turn;
            let session = upstream.id.as_ref().map(UpstreamId::header);
            let speech = Speech::Legacy { session, revision: Some(upstream.revision) };
            if let Err(fault) = fetcher.respond(message, speech).await {
                tracing::debug!("a backend's request could not be answered: {fault}");
            }
        });
    }
}

/// The raw token under which the client wants to hear of the progress of the request at this place of the body.
pub(super) fn progress_token(exchange: &Exchange, index: usize) -> Option<RawId> {
    let meta = exchange.scan.messages.get(index)?.params.as_ref()?.meta.as_ref()?;
    Some(RawId::new(meta.progress_token?.span.of(&exchange.body)))
}

/// Who listens to a backend, and as what.
#[derive(Clone)]
pub(super) struct Heard {
    /// The virtual server, as it is now.
    pub server: Arc<ArcSwap<Server>>,
    pub node: NodeId,
    pub boot: [u8; 8],
    /// The legacy session that may be asked something.
    pub session: Option<Arc<NodeSession>>,
    /// What its client calls what backends have.
    pub names: Names,
    /// What backends may bring to the client of their own accord.
    pub rights: Rights,
}

/// What an event becomes: its id, and its frame where that is another one; `None` where nothing is left of it.
///
/// An answer that is to say that a session was opened again gets the `mark`.
pub(super) fn event(
    translate: Option<&Translate>,
    frame: &Frame,
    mark: Option<&Mark>,
) -> Option<(Option<Bytes>, Option<Bytes>)> {
    let mut data = None;
    if !frame.data.is_empty() {
        match translate.map_or(Becomes::Same, |translate| translate.message(&frame.data)) {
            Becomes::Same => {}
            Becomes::Other(other) => data = Some(other),
            Becomes::Nothing => return None,
        }
        let said = data.clone().unwrap_or_else(|| frame.data.clone());
        let mut marked = if translate.is_some() { heal::unmarked(said.clone()) } else { said.clone() };
        if let Some(mark) = mark {
            marked = mark.put(marked);
        }
        if marked.as_ptr() != said.as_ptr() {
            data = Some(marked);
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

pub(super) const LIMITS: Limits = Limits { depth: scan::MAX_DEPTH, batch: 1 };
