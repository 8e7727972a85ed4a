//! The streams of a session's backends as one, with the gateway's own news.
//!
//! Only backends that the session is open at, and that have something to say, are listened to. Each event gets an id of the
//! gateway's that says where the client stands at every backend (`filters/src/federate/event_id.rs`), so that any node can
//! go on behind it. A reload changes what is listened to, and never ends the stream of a virtual server that stays.

use super::super::names::Names;
use super::super::revive::Opener;
use super::super::rights::Rights;
use super::super::translate::Heard;
use super::super::{Broken, Way};
use super::source::{Piece, Reading};
use crate::catalog::{News, Versions};
use crate::session::{Listening, NodeSession, Sessions, UpstreamId};
use crate::snapshot::{Current, Link, Server};
use arc_swap::ArcSwap;
use bytes::Bytes;
use lockgate_filters::backend::Backend;
use lockgate_filters::federate::event_id::{EventId, Source, Stream};
use lockgate_filters::sse;
use lockgate_filters::ticket::ClientCapabilities;
use serde_json::json;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// How many events wait for a client that is slower than its backends.
const WAITING: usize = 16;
/// How long nothing is said of lists because of gaps, once it was said.
const GAP_SPACING: Duration = Duration::from_secs(600);

/// What a session hears.
pub(super) struct Merged {
    node: Arc<NodeSession>,
    sessions: Arc<Sessions>,
    /// What a backend's session is opened with again.
    opener: Arc<ArcSwap<Opener>>,
    heard: Heard,
    capabilities: ClientCapabilities,
    event_bytes: usize,
    current: Current,
    reloads: watch::Receiver<u64>,
    /// Where the client stands at each backend.
    behind: BTreeMap<Source, Bytes>,
    /// Numbers for all events of this process: the ids of a session's events never repeat.
    numbers: Arc<AtomicU64>,
    news: watch::Receiver<Versions>,
    /// Keeps the news there while somebody listens.
    _news: Arc<News>,
    told: Versions,
    /// Whether backends may have said something that nobody heard before this began.
    missed: bool,
    _listening: Listening,
    /// When all lists were last said to have changed because of a gap.
    lists_told: Option<Instant>,
    /// What is to be said next.
    ready: VecDeque<Bytes>,
    pieces: mpsc::Receiver<Piece>,
    sender: mpsc::Sender<Piece>,
    /// The backends that are listened to, by place.
    reading: HashMap<Arc<str>, Place>,
    tasks: JoinSet<()>,
}

/// A backend that is listened to.
struct Place {
    /// The session's id there.
    session: Option<UpstreamId>,
    /// What filters know of it: another one is another server, though it has the same name.
    backend: Arc<Backend>,
    task: AbortHandle,
}

impl Merged {
    /// What the client of this request hears, behind an event that it has. Where backends may have said something that nobody
    /// heard (`missed`), it is told so of each that cannot say it again.
    pub fn of(
        way: &Way<'_>,
        listening: Listening,
        node: Arc<NodeSession>,
        behind: Option<EventId>,
        missed: bool,
    ) -> Result<Merged, Broken> {
        // From before the server is looked at, so that no reload is missed.
        let reloads = way.gateway.world.reloads.subscribe();
        let news = way.gateway.world.catalogs.news_of(&way.server.policy, way.trip.exchange.audience());
        let told = node.last_heard().map_or_else(|| news.versions(), Versions);
        let (sender, pieces) = mpsc::channel(WAITING);
        let server = Arc::new(ArcSwap::new(Arc::clone(&way.server)));
        let session = Some(Arc::clone(&node));
        let mut merged = Merged {
            sessions: Arc::clone(&way.gateway.world.sessions),
            opener: Arc::new(ArcSwap::from_pointee(Opener::of(way)?)),
            heard: Heard {
                server,
                node: way.gateway.node,
                boot: way.gateway.boot,
                session,
                names: Names::of(way),
                rights: Rights::of(way),
            },
            capabilities: way.trip.exchange.ticket.as_ref().map(|ticket| ticket.capabilities).unwrap_or_default(),
            event_bytes: way.trip.snapshot.limits.event_bytes,
            current: Arc::clone(&way.gateway.current),
            reloads,
            behind: behind.into_iter().flat_map(|id| id.behind).collect(),
            numbers: Arc::clone(&way.gateway.events),
            news: news.subscribe(),
            _news: news,
            told,
            missed,
            _listening: listening,
            lists_told: None,
            ready: VecDeque::new(),
            pieces,
            sender,
            reading: HashMap::new(),
            tasks: JoinSet::new(),
            node,
        };
        // The request may have been decided by a configuration that has been replaced meanwhile.
        merged.follow_reload();
        Ok(merged)
    }

    /// The next event: its id, and its frame. `None` when there is no such virtual server any more, or the client must come
    /// again to be known to a backend. Cancel-safe.
    pub async fn next(&mut self) -> Option<(Option<Bytes>, Bytes)> {
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
                return Some((id, event));
            }
            tokio::select! {
                piece = self.pieces.recv() => match piece {
                    Some(Piece::Event(event)) => {
                        if let Some(id) = event.id {
                            self.behind.insert(event.source, id);
                        }
                        let id = self.event_id();
                        let frame = event.frame.rewritten(id.as_deref(), event.data.as_deref());
                        return Some((id, frame));
                    }
                    Some(Piece::Gap { place }) => self.gap(&place),
                    Some(Piece::Unknown) => return None,
                    None => {}
                },
                () = &mut bound => {}
                changed = self.news.changed() => if changed.is_err() { pending::<()>().await },
                changed = self.reloads.changed() => {
                    if changed.is_err() {
                        pending::<()>().await;
                    }
                    if !self.follow_reload() {
                        return None;
                    }
                }
            }
        }
    }

    /// Listens to what the virtual server is now; `false` where there is none of this name any more.
    fn follow_reload(&mut self) -> bool {
        let snapshot = self.current.load();
        let before = self.heard.server.load();
        let same = |server: &&Arc<Server>| server.policy.name == before.policy.name;
        let federated = snapshot.servers.iter().find(same).filter(|server| server.policy.federation.is_some());
        let Some(server) = federated else { return false };
        if Arc::ptr_eq(server, &before) {
            return true;
        }
        self.reading.retain(|place, reading| {
            let is_it =
                |link: &Arc<Link>| link.backend.place == *place && Arc::ptr_eq(&link.backend.backend, &reading.backend);
            let stays = server.links.iter().any(is_it);
            if !stays {
                reading.task.abort();
            }
            stays
        });
        let opener = self.opener.load().of_server(server);
        self.opener.store(Arc::new(opener));
        self.heard.server.store(Arc::clone(server));
        true
    }

    /// Listens to the backends that the session has been opened at meanwhile.
    fn listen(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        let server = self.heard.server.load();
        for link in &server.links {
            let place = &link.backend.place;
            let Some(upstream) = self.node.upstream(place) else { continue };
            let known = self.reading.get(place).is_some_and(|reading| reading.session == upstream.id);
            if known || !self.has_something_to_say(link) {
                continue;
            }
            let source = upstream.source(place);
            // Ids of a session that is gone, or that another node has, mean nothing to this one.
            self.behind.retain(|known, _| *known == source || !known.is_at(place));
            let link = Arc::clone(link);
            let session = upstream.id.clone();
            let backend = Arc::clone(&link.backend.backend);
            let place = Arc::clone(place);
            let reading = Reading {
                node: Arc::clone(&self.node),
                opener: Arc::clone(&self.opener),
                behind: self.behind.get(&source).cloned(),
                // What another session there may have said since is not sent again, either.
                missed: self.missed || self.reading.contains_key(&place),
                welcomed: false,
                event_bytes: self.event_bytes,
                pieces: self.sender.clone(),
                heard: self.heard.clone(),
                refused: false,
                upstream,
                link,
            };
            let task = self.tasks.spawn(reading.run());
            if let Some(before) = self.reading.insert(place, Place { session, backend, task }) {
                before.task.abort();
            }
        }
        // Where the session is opened from now on, it has said nothing yet.
        self.missed = false;
    }

    /// Whether a backend may say anything that this client does not hear from the gateway anyway.
    fn has_something_to_say(&self, link: &Link) -> bool {
        let asks = self.capabilities.may_be_asked() || self.node.wants_reports(&link.backend.place);
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
            let message = Bytes::from(format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, kind.list_changed()));
            // Said once, whatever the reasons are.
            if !self.ready.contains(&message) {
                self.ready.push_back(message);
            }
        }
        self.told = versions;
        self.node.heard(versions.0);
    }

    /// What the gateway itself said cannot be said again: lists may have changed.
    pub fn gap_of_ours(&mut self) {
        self.sessions.replay_budget().gap();
        self.lists_told = Some(Instant::now());
        self.node.missed_news();
    }

    /// A backend that sends nothing twice was not heard for a while: whatever may have been said is said to have happened.
    /// Lists are read by the gateway itself, so these are not said to have changed again and again for a backend whose streams
    /// do not live long.
    fn gap(&mut self, place: &str) {
        self.sessions.replay_budget().gap();
        if self.lists_told.is_none_or(|told| told.elapsed() >= GAP_SPACING) {
            self.lists_told = Some(Instant::now());
            self.node.missed_news();
        }
        let server = self.heard.server.load();
        for (uri, member, _) in self.heard.names.subscribed(&server, &self.node) {
            if server.links.get(member).is_some_and(|link| *link.backend.place == *place) {
                let updated =
                    json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}});
                self.ready.push_back(updated.to_string().into());
            }
        }
    }

    fn event_id(&mut self) -> Option<Bytes> {
        let server = self.heard.server.load();
        let id = EventId {
            session: self.node.id(),
            stream: Stream::News,
            boot: self.heard.boot,
            number: self.numbers.fetch_add(1, Relaxed),
            asked: Bytes::new(),
            behind: self.behind.iter().map(|(source, id)| (*source, id.clone())).collect(),
        };
        id.seal(&server.keys, &server.policy.name)
    }
}

impl Drop for Merged {
    /// What is not said any more was not heard.
    fn drop(&mut self) {
        if !self.ready.is_empty() || !self.pieces.is_empty() {
            self.node.missed_news();
        }
    }
}
