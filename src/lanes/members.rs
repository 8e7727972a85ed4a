//! A batch on its way: its members, each in a task of its own (`member.rs`), and what of them comes when.

use super::answering::Answering;
use super::federated::Asked;
use super::member::{Member, Piece};
use super::owes::Owes;
use super::remember::Remembering;
use super::revive::Opener;
use super::translate::{Translate, progress_token};
use super::{Broken, Way, attempt, detached, forward, judge};
use crate::downstream::gone;
use crate::session::{Cost, Underway};
use crate::snapshot::Link;
use bytes::Bytes;
use http::StatusCode;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::Target;
use lockgate_filters::federate::event_id::Stream;
use lockgate_filters::rpc::id::RawId;
use lockgate_filters::rpc::reply;
use lockgate_filters::rpc::scan::{Kind, Message};
use lockgate_filters::splice::Onward;
use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How many members of one batch are at one backend at a time.
const AT_A_TIME: usize = 8;

/// A batch on its way.
pub(super) struct Batch {
    tasks: JoinSet<()>,
    pieces: mpsc::Receiver<Piece>,
    /// Responses that are there already.
    ready: VecDeque<Bytes>,
    /// The raw ids of the members, where they are requests that nothing has answered yet.
    owed: Vec<Option<Bytes>>,
    asked: usize,
    /// The backends that members go to.
    rooms: Vec<Room>,
    /// Why a member failed that nobody waits for.
    refused: Option<Refusal>,
    /// Why no member is waited for any more, as when the process stops: what is owed is answered with this error.
    stopped: Option<Fault>,
}

/// What the members that go to one backend share.
struct Room {
    /// Which backend that is.
    place: Arc<str>,
    /// How many may be there at a time.
    places: Arc<Semaphore>,
    answering: Arc<Answering>,
}

/// What a batch does next.
pub(super) enum Turn {
    /// The response to one of its requests.
    Response(Bytes),
    /// Something that the backend says of its own accord.
    Speech(Bytes),
    /// Nothing happened until the given time.
    Quiet,
    /// Every member is done.
    End,
}

/// The requests of a batch that go to several backends' server, to be found by who cancels them.
pub(super) fn underway(way: &Way<'_>) -> Vec<Option<Arc<Underway>>> {
    let exchange = &way.trip.exchange;
    let messages = exchange.scan.messages.iter().enumerate();
    let request = |(place, message): (usize, &Message)| {
        let (node, Target::Member(hop)) = (way.node.as_ref()?, exchange.target(place)) else { return None };
        let id = message.id.filter(|_| message.kind == Kind::Request)?;
        let link = way.server.links.get(hop.member)?;
        let id = RawId::new(id.span.of(&exchange.body));
        node.send_on(id, progress_token(exchange, place), &link.backend.place)
    };
    match way.server.policy.federation {
        Some(_) => messages.map(request).collect(),
        None => Vec::new(),
    }
}

impl Batch {
    /// Starts every member.
    ///
    /// `answered` says which of them are done already, and what they came to; `underway` what keeps them to be found.
    pub fn start(way: &Way<'_>, mut answered: Vec<Asked>, mut underway: Vec<Option<Arc<Underway>>>) -> Batch {
        let (sender, pieces) = mpsc::channel(AT_A_TIME);
        let exchange = &way.trip.exchange;
        let messages = &exchange.scan.messages;
        let id = |message: &Message| {
            let id = message.id.filter(|_| message.kind == Kind::Request)?;
            Some(Bytes::copy_from_slice(id.span.of(&exchange.body)))
        };
        let owed: Vec<Option<Bytes>> = messages.iter().map(id).collect();
        let mut batch = Batch {
            tasks: JoinSet::new(),
            pieces,
            ready: VecDeque::new(),
            asked: owed.iter().flatten().count(),
            owed,
            rooms: Vec::new(),
            refused: None,
            stopped: None,
        };
        let opener = Opener::of(way).ok().map(Arc::new);
        answered.resize_with(messages.len(), || Asked::Backend);
        underway.resize_with(messages.len(), || None);
        for (place, (answered, underway)) in answered.into_iter().zip(underway).enumerate() {
            let link = match (answered, backend_of(way, place)) {
                (Asked::Here(Ok(response)), _) => {
                    batch.owed[place] = None;
                    batch.ready.extend(response);
                    continue;
                }
                (Asked::Here(Err(refusal)), _) => {
                    let error = batch.failed(way, place, refusal);
                    batch.ready.extend(error);
                    continue;
                }
                (Asked::Soon(response), _) => {
                    let pieces = sender.clone();
                    batch.tasks.spawn(async move {
                        let piece = match response.await {
                            Ok(Some(response)) => Piece::Response { place, response },
                            Ok(None) => return,
                            Err(refusal) => Piece::Failed { place, refusal },
                        };
                        // A closed channel means that the client has left.
                        let _ = pieces.send(piece).await;
                    });
                    continue;
                }
                (Asked::Backend, Some(link)) => link,
                (Asked::Backend, None) => {
                    let error = batch.failed(way, place, Refusal::new(Fault::Internal, "gather"));
                    batch.ready.extend(error);
                    continue;
                }
            };
            let member = batch.member(way, place, link, &sender);
            batch.tasks.spawn(Member { opener: opener.clone(), underway, ..member }.carry_out());
        }
        batch
    }

    /// The member at this place, on its way to this backend.
    fn member(&mut self, way: &Way<'_>, place: usize, link: Arc<Link>, pieces: &mpsc::Sender<Piece>) -> Member {
        let exchange = &way.trip.exchange;
        let message = exchange.scan.messages[place].clone();
        let method = message.method.and_then(|method| method.bytes(&exchange.body)).unwrap_or_default();
        let hop = exchange.target(place).hop();
        let owes = self.owed[place].as_ref().map_or(Owes::Nothing, |asked| Owes::To(RawId::new(asked)));
        let (body, name) = forward::outgoing(exchange, place, &message);
        let headers = &way.session.req_header().headers;
        let onward = Onward { name, ..Onward::default() };
        let room = self.room(way, &link);
        let (room, answering) = (Arc::clone(&room.places), Arc::clone(&room.answering));
        Member {
            place,
            translate: hop.and_then(|hop| Translate::of(way, hop.member, Stream::answering(&method), owes)),
            answering,
            hears: exchange.accepts.sse,
            id: self.owed[place].clone(),
            request: attempt::post(&link, headers, exchange, &message, body, onward),
            remembering: Remembering::of(way, &message),
            began: way.node.as_ref().and_then(|node| node.upstream(&link.backend.place)),
            node: way.node.clone(),
            opener: None,
            underway: None,
            again: false,
            limits: way.trip.snapshot.limits,
            room,
            pieces: pieces.clone(),
            message,
            link,
        }
    }

    fn room(&mut self, way: &Way<'_>, link: &Arc<Link>) -> &Room {
        let place = &link.backend.place;
        let known = self.rooms.iter().position(|known| known.place == *place);
        let at = known.unwrap_or_else(|| {
            self.rooms.push(Room {
                place: Arc::clone(place),
                places: Arc::new(Semaphore::new(AT_A_TIME)),
                answering: Arc::new(Answering::of(way, link)),
            });
            self.rooms.len() - 1
        });
        &self.rooms[at]
    }

    /// How many of its members are requests.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Why a message failed that nobody waits for an answer to.
    pub fn refusal(&mut self) -> Option<Broken> {
        self.refused.take().map(Broken::from)
    }

    /// What comes next, or [`Turn::Quiet`] at the given time.
    ///
    /// # Errors
    /// When the client has left.
    pub async fn next(&mut self, way: &mut Way<'_>, quiet: Option<Instant>) -> Result<Turn, Broken> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Ok(Turn::Response(response));
            }
            if let Some(fault) = self.stopped {
                let refusal = Refusal::new(fault, "gather");
                if self.asked == 0 {
                    // No member gets an answer of its own, so the batch does.
                    self.refused.get_or_insert_with(|| refusal.clone());
                }
                return Ok(self.next_owed(way, &refusal));
            }
            let quiet = async {
                match quiet {
                    Some(quiet) => sleep_until(quiet).await,
                    None => pending().await,
                }
            };
            let ended = way.ended();
            let piece = tokio::select! {
                biased;
                piece = self.pieces.recv() => piece,
                () = ended => {
                    self.stopped = Some(Fault::SessionUnknown);
                    continue;
                }
                () = gone(way.session) => return Err(Broken::ClientGone),
                () = quiet => return Ok(Turn::Quiet),
                () = way.gateway.drain.last_words() => {
                    self.stopped = Some(Fault::Draining);
                    continue;
                }
            };
            let (place, refusal) = match piece {
                Some(Piece::Speech(message)) => return Ok(Turn::Speech(message)),
                Some(Piece::Response { place, response }) => {
                    self.owed[place] = None;
                    return Ok(Turn::Response(response));
                }
                Some(Piece::Failed { place, refusal }) => (place, refusal),
                Some(Piece::Cancelled { place }) => {
                    self.owed[place] = None;
                    continue;
                }
                // Every member has handed in what it had.
                None => return Ok(self.next_owed(way, &judge::no_response(way.link.name(), StatusCode::OK))),
            };
            if let Some(error) = self.failed(way, place, refusal) {
                return Ok(Turn::Response(error));
            }
        }
    }

    /// The error that a member's sender gets, if it waits for anything.
    fn failed(&mut self, way: &Way<'_>, place: usize, refusal: Refusal) -> Option<Bytes> {
        way.server.metrics.refused(refusal.fault);
        let Some(id) = self.owed[place].take() else {
            self.refused.get_or_insert(refusal);
            return None;
        };
        Some(reply::error_body(Some(&id), &refusal, way.trip.correlation.as_str()))
    }

    /// The next of those that were left without an answer gets this one.
    fn next_owed(&mut self, way: &Way<'_>, refusal: &Refusal) -> Turn {
        match self.owed.iter().position(Option::is_some) {
            Some(place) => self.failed(way, place, refusal.clone()).map_or(Turn::End, Turn::Response),
            None => Turn::End,
        }
    }

    /// Lets the members go on without the client, also those that were not sent yet: a disconnect cancels none.
    pub fn leave(mut self, way: &Way<'_>) {
        while self.tasks.try_join_next().is_some() {}
        let sessions = &way.gateway.world.sessions;
        let at_once = self.tasks.len().min(AT_A_TIME * self.rooms.len());
        // More than a session may have would not be let go on at all.
        let exchanges = at_once.min(sessions.detached().limits().session);
        let cost = Cost { exchanges, bytes: way.trip.exchange.body.len() };
        let Batch { mut tasks, pieces, .. } = self;
        if !tasks.is_empty() {
            // From here on nothing that members hand in is taken: they do not wait for it.
            drop(pieces);
            detached::go_on(way, cost, async move { while tasks.join_next().await.is_some() {} });
        }
    }
}

/// The backend that the message at this place goes to.
fn backend_of(way: &Way<'_>, place: usize) -> Option<Arc<Link>> {
    way.server.links.get(way.trip.exchange.target(place).hop()?.member).cloned()
}
