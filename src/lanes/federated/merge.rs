//! GET on a virtual server over several backends: one stream on which a legacy session hears what its backends say of
//! their own accord, and what the gateway itself has to say.
//!
//! Only backends that the session is open at, and that have something to say, are listened to. Each event gets an id of the
//! gateway's that says where the client stands at every backend (`filters/src/federate/event_id.rs`), so that any node can
//! go on behind it. What is recorded covers what no backend can send again.

use super::super::translate::{Owes, Translate};
use super::super::{Broken, Way, attempt, hold, respond, speaker, stream};
use super::RULE;
use super::source::{Piece, Reading};
use crate::catalog::{News, Versions};
use crate::downstream::gone;
use crate::session::{NodeSession, StreamKind, StreamRecord, Told};
use crate::snapshot::{Link, Server};
use crate::telemetry::labels;
use crate::upstream::Caller;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::event_id::{EventId, Source, Stream};
use lockgate_filters::headers::LAST_EVENT_ID;
use lockgate_filters::sse;
use lockgate_filters::ticket::ClientCapabilities;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How many events wait for a client that is slower than its backends.
const WAITING: usize = 16;

pub(super) async fn run(mut way: Way<'_>) -> Result<(), Broken> {
    let Some(node) = way.node.clone() else { return Err(Refusal::new(Fault::SessionRequired, RULE).into()) };
    let last = way.session.req_header().headers.get(LAST_EVENT_ID).cloned();
    let sealed = last.as_ref().and_then(|id| id.to_str().ok());
    let behind = sealed.and_then(|text| EventId::open(&way.server.keys, &way.server.policy.name, text));
    let behind = behind.filter(|id| id.session == node.id());
    let recorder = Arc::clone(way.gateway.world.sessions.recorder(&node));
    let resume = match &last {
        Some(id) => recorder.resume(id.as_bytes()),
        None => recorder.rejoin(),
    };
    if let Some(id) = behind.as_ref().filter(|id| id.stream == Stream::Answer) {
        way.link = answering(&way, id)?;
        // What is resumed is an answer: its method is not known here, so whatever may name resources is looked at.
        let asked = Some(id.asked.clone()).filter(|asked| !asked.is_empty());
        let owes = asked.clone().map_or(Owes::Something, Owes::To);
        way.translate = member_of(&way).and_then(|member| Translate::of(&way, member, "tools/call", owes));
        return hold::answer_on(way, resume, asked).await;
    }
    if let Some(resume) = resume {
        return hold::take_on(way, resume).await;
    }
    if last.is_some() && behind.as_ref().is_none_or(|id| id.boot != way.gateway.boot) {
        // What this process, or a backend that sends nothing twice, said meanwhile is lost.
        way.gateway.world.sessions.replay_budget().gap();
        node.missed_news();
    }
    hold_on(way, node, behind).await
}

/// The backend whose answer a client wants to hear on.
fn answering(way: &Way<'_>, id: &EventId) -> Result<Arc<Link>, Refusal> {
    let from = |link: &&Arc<Link>| id.comes_from(&link.backend.place);
    way.server.links.iter().find(from).cloned().ok_or_else(|| {
        Refusal::new(Fault::BackendUnreachable, RULE).saying("the backend that gave this answer is no longer here")
    })
}

fn member_of(way: &Way<'_>) -> Option<usize> {
    way.server.links.iter().position(|link| Arc::ptr_eq(link, &way.link))
}

async fn hold_on(mut way: Way<'_>, node: Arc<NodeSession>, behind: Option<EventId>) -> Result<(), Broken> {
    let sessions = Arc::clone(&way.gateway.world.sessions);
    let mut record = sessions.recorder(&node).start(StreamKind::Get, None, &Arc::from("*"));
    let mut merged = Merged::of(&way, Arc::clone(&node), behind);
    let mut header = respond::header(way.trip, StatusCode::OK)?;
    header.insert_header(CONTENT_TYPE, "text/event-stream")?;
    stream::begin(&mut way, header).await?;
    let _open = way.server.metrics.stream(labels::StreamKind::Session);
    let number = node.take_news();
    let patience = way.trip.snapshot.limits.keep_alive;
    let mut quiet = Instant::now() + patience;
    loop {
        tokio::select! {
            biased;
            told = record.told() => {
                if told == Told::TakenOver {
                    go_on(merged, record);
                }
                break;
            }
            () = node.news_taken(number) => break,
            (id, event) = merged.next() => {
                quiet = Instant::now() + patience;
                let ours = record.push(id, event.clone()).await;
                if ours && way.session.write_response_body(Some(event), false).await.is_err() {
                    return left(merged, record);
                }
            }
            () = gone(way.session) => return left(merged, record),
            () = sleep_until(quiet) => {
                quiet = Instant::now() + patience;
                if way.session.write_response_body(Some(stream::KEEP_ALIVE), false).await.is_err() {
                    return left(merged, record);
                }
            }
            () = way.gateway.drain.draining() => break,
        }
    }
    way.session.write_response_body(None, true).await?;
    Ok(())
}

fn left(merged: Merged, mut record: StreamRecord) -> Result<(), Broken> {
    record.detach();
    go_on(merged, record);
    Err(Broken::ClientGone)
}

/// Listens on without the client, until it comes back or nobody does in time.
fn go_on(mut merged: Merged, mut record: StreamRecord) {
    tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                told = record.told() => if told == Told::Stop { return },
                (id, event) = merged.next() => {
                    record.push(id, event).await;
                }
            }
        }
    });
}

/// The streams of a session's backends, and the gateway's own news.
struct Merged {
    server: Arc<Server>,
    node: Arc<NodeSession>,
    boot: [u8; 8],
    headers: HeaderMap,
    caller: Caller,
    capabilities: ClientCapabilities,
    event_bytes: usize,
    translates: Vec<Option<Arc<Translate>>>,
    /// Where the client stands at each backend.
    behind: BTreeMap<Source, Bytes>,
    /// Numbers for all events of this process: the ids of a session's events never repeat.
    numbers: Arc<AtomicU64>,
    news: watch::Receiver<Versions>,
    /// Keeps the news there while somebody listens.
    _news: Arc<News>,
    told: Versions,
    /// What is to be said next.
    ready: VecDeque<Bytes>,
    pieces: mpsc::Receiver<Piece>,
    sender: mpsc::Sender<Piece>,
    /// The backends that are listened to, by place, with the session's id there.
    reading: HashMap<Arc<str>, Option<crate::session::UpstreamId>>,
    tasks: JoinSet<()>,
}

impl Merged {
    fn of(way: &Way<'_>, node: Arc<NodeSession>, behind: Option<EventId>) -> Merged {
        let news = way.gateway.world.catalogs.news(&way.server.policy.name);
        let told = node.last_heard().map_or_else(|| news.versions(), Versions);
        let (sender, pieces) = mpsc::channel(WAITING);
        let members = 0..way.server.links.len();
        Merged {
            server: Arc::clone(&way.server),
            boot: way.gateway.boot,
            headers: way.session.req_header().headers.clone(),
            caller: attempt::caller(&way.trip.exchange),
            capabilities: way.trip.exchange.ticket.as_ref().map(|ticket| ticket.capabilities).unwrap_or_default(),
            event_bytes: way.trip.snapshot.limits.event_bytes,
            translates: members.map(|member| Translate::of(way, member, "", Owes::Nothing)).collect(),
            behind: behind.into_iter().flat_map(|id| id.behind).collect(),
            numbers: Arc::clone(&way.gateway.events),
            news: news.subscribe(),
            _news: news,
            told,
            ready: VecDeque::new(),
            pieces,
            sender,
            reading: HashMap::new(),
            tasks: JoinSet::new(),
            node,
        }
    }

    /// The next event: its id, and its frame. Cancel-safe.
    async fn next(&mut self) -> (Option<Bytes>, Bytes) {
        loop {
            let node = Arc::clone(&self.node);
            let bound = node.next_bound();
            tokio::pin!(bound);
            // Registered before it is looked what there is, so that nothing is missed in between.
            bound.as_mut().enable();
            self.listen();
            self.hear();
            if let Some(message) = self.ready.pop_front() {
                let id = self.event_id();
                let event = sse::write_event(id.as_deref(), &message);
                return (id, event);
            }
            tokio::select! {
                piece = self.pieces.recv() => if let Some(piece) = piece { return self.event(piece) },
                () = &mut bound => {}
                changed = self.news.changed() => if changed.is_err() { std::future::pending::<()>().await },
            }
        }
    }

    /// Listens to the backends that the session has been opened at meanwhile.
    fn listen(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        let links = self.server.links.to_vec();
        for (link, translate) in links.into_iter().zip(self.translates.clone()) {
            let place = &link.backend.place;
            let (Some(upstream), Some(translate)) = (self.node.upstream(place), translate) else { continue };
            if self.reading.get(place) == Some(&upstream.id) || !self.has_something_to_say(&link) {
                continue;
            }
            self.reading.insert(Arc::clone(place), upstream.id.clone());
            let source = upstream.source(place);
            // Ids of a session that is gone, or that another node has, mean nothing to this one.
            self.behind.retain(|known, _| *known == source || !known.is_at(place));
            let reading = Reading {
                fetcher: speaker(&link.backend, &self.headers, self.caller),
                behind: self.behind.get(&source).cloned(),
                event_bytes: self.event_bytes,
                pieces: self.sender.clone(),
                upstream,
                translate,
                link,
            };
            self.tasks.spawn(reading.run());
        }
    }

    /// Whether a backend may say anything that this client does not hear from the gateway anyway.
    fn has_something_to_say(&self, link: &Link) -> bool {
        let asks = self.capabilities.may_be_asked();
        let facts = link.backend.backend.facts();
        asks || facts.inventory.as_ref().is_none_or(|known| known.declares("logging") || known.subscribes())
    }

    /// What changed in the lists since the client was last told.
    fn hear(&mut self) {
        // What was lost with an upstream session, or while nobody here knew of this one.
        let unheard = self.node.take_unheard();
        self.ready.extend(unheard.notifications().map(|message| Bytes::from_static(message.as_bytes())));
        let versions = *self.news.borrow_and_update();
        for kind in versions.since(self.told) {
            self.ready.push_back(format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, kind.list_changed()).into());
        }
        self.told = versions;
        self.node.heard(versions.0);
    }

    fn event(&mut self, piece: Piece) -> (Option<Bytes>, Bytes) {
        if let Some(id) = piece.id {
            self.behind.insert(piece.source, id);
        }
        let id = self.event_id();
        let frame = piece.frame.rewritten(id.as_deref(), piece.data.as_deref());
        (id, frame)
    }

    fn event_id(&mut self) -> Option<Bytes> {
        let id = EventId {
            session: self.node.id(),
            stream: Stream::News,
            boot: self.boot,
            number: self.numbers.fetch_add(1, Relaxed),
            asked: Bytes::new(),
            behind: self.behind.iter().map(|(source, id)| (*source, id.clone())).collect(),
        };
        id.seal(&self.server.keys, &self.server.policy.name)
    }
}
