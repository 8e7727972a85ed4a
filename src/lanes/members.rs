//! The members of a batch: each is sent on its own, in a task of its own, and judged like a message that comes alone.

use super::federated::Asked;
use super::judge::{self, Judged, Missing, judge, missing};
use super::messages::{Meaning, Messages};
use super::remember::Remembering;
use super::translate::{Becomes, Owes, Translate};
use super::{Broken, Way, attempt, detached, forward, heal, onward, revive};
use crate::downstream::gone;
use crate::session::Cost;
use crate::snapshot::{Limits, Link};
use crate::upstream::{UpstreamRequest, UpstreamResponse};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::rpc::reply;
use lockgate_filters::rpc::scan::{Kind, Message};
use lockgate_filters::splice::Onward;
use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How many members of one batch are at the backend at a time.
const AT_A_TIME: usize = 8;

/// A batch on its way.
pub(super) struct Batch {
    tasks: JoinSet<()>,
    pieces: mpsc::Receiver<Piece>,
    /// Responses that are there already.
    ready: VecDeque<Bytes>,
    /// Members whose backend must be asked for a session first.
    unopened: VecDeque<Box<Member>>,
    /// The raw ids of the members, where they are requests that nothing has answered yet.
    owed: Vec<Option<Bytes>>,
    asked: usize,
    /// Why a member failed that nobody waits for.
    refused: Option<Refusal>,
    /// Why no member is waited for any more, as when the process stops: what is owed is answered with this error.
    stopped: Option<Fault>,
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

/// What members hand in.
enum Piece {
    Response {
        place: usize,
        response: Bytes,
    },
    Speech(Bytes),
    Failed {
        place: usize,
        refusal: Refusal,
    },
    /// The backend has lost the session, so the member did not run.
    Lost(Box<Member>),
}

/// One member.
struct Member {
    /// Which one of the batch.
    place: usize,
    message: Message,
    link: Arc<Link>,
    /// How that backend's words become ours, where they must.
    translate: Option<Arc<Translate>>,
    /// The raw id of a request.
    id: Option<Bytes>,
    remembering: Option<Remembering>,
    /// The backend's session that it is sent in.
    session: Option<HeaderValue>,
    /// Whether it is sent for the second time.
    again: bool,
    limits: Limits,
    room: Arc<Semaphore>,
    pieces: mpsc::Sender<Piece>,
}

/// How a member ended that did not fail.
enum Ended {
    /// Nothing is owed to the client any more.
    Done,
    /// The backend has lost its session.
    Lost,
}

impl Batch {
    /// Starts every member.
    ///
    /// `answered` says which of them are done already, and what they came to.
    pub fn start(way: &Way<'_>, mut answered: Vec<Asked>) -> Batch {
        let (sender, pieces) = mpsc::channel(AT_A_TIME);
        let room = Arc::new(Semaphore::new(AT_A_TIME));
        let exchange = &way.trip.exchange;
        let messages = &exchange.scan.messages;
        let id = |message: &Message| {
            let id = message.id.filter(|_| message.kind == Kind::Request)?;
            Some(Bytes::copy_from_slice(id.span.of(&exchange.body)))
        };
        let owed: Vec<Option<Bytes>> = messages.iter().map(id).collect();
        let asked = owed.iter().flatten().count();
        let ready = VecDeque::new();
        let mut batch = Batch {
            tasks: JoinSet::new(),
            pieces,
            ready,
            unopened: VecDeque::new(),
            owed,
            asked,
            refused: None,
            stopped: None,
        };
        answered.resize_with(messages.len(), || Asked::Backend);
        for ((place, message), answered) in messages.iter().enumerate().zip(answered) {
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
                (Asked::Backend, Some(link)) => link,
                (Asked::Backend, None) => {
                    let error = batch.failed(way, place, Refusal::new(Fault::Internal, "gather"));
                    batch.ready.extend(error);
                    continue;
                }
            };
            let method = message.method.and_then(|method| method.text(&exchange.body)).unwrap_or_default();
            let hop = exchange.target(place).hop();
            let owes = batch.owed[place].clone().map_or(Owes::Nothing, Owes::To);
            let member = Member {
                place,
                message: message.clone(),
                translate: hop.and_then(|hop| Translate::of(way, hop.member, &method, owes)),
                link,
                id: batch.owed[place].clone(),
                remembering: Remembering::of(way, message),
                session: None,
                again: false,
                limits: way.trip.snapshot.limits,
                room: Arc::clone(&room),
                pieces: sender.clone(),
            };
            if member.is_unopened(way) {
                batch.unopened.push_back(Box::new(member));
            } else {
                batch.send(way, member);
            }
        }
        batch
    }

    /// How many of its members are requests.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Why a message failed that nobody waits for an answer to.
    pub fn refusal(&mut self) -> Option<Broken> {
        self.refused.take().map(Broken::from)
    }

    fn send(&mut self, way: &Way<'_>, mut member: Member) {
        let onward = onward(way.node.as_deref(), &member.link);
        member.session = onward.session.clone();
        let exchange = &way.trip.exchange;
        let (body, name) = forward::outgoing(exchange, member.place, &member.message);
        let headers = &way.session.req_header().headers;
        let onward = Onward { name, ..onward };
        let request = attempt::post(&member.link, headers, exchange, &member.message, body, onward);
        self.tasks.spawn(member.carry_out(request));
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
            let unopened = self.unopened.pop_front();
            let piece = tokio::select! {
                biased;
                piece = async {
                    match unopened {
                        Some(member) => Some(Piece::Lost(member)),
                        None => self.pieces.recv().await,
                    }
                } => piece,
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
            let failed = match piece {
                Some(Piece::Speech(message)) => return Ok(Turn::Speech(message)),
                Some(Piece::Response { place, response }) => {
                    self.owed[place] = None;
                    return Ok(Turn::Response(response));
                }
                Some(Piece::Failed { place, refusal }) => (place, refusal),
                Some(Piece::Lost(member)) => match revive::renew(way, &member.link, member.session.as_ref()).await {
                    Ok(()) => {
                        let again = member.session.is_some();
                        self.send(way, Member { again, ..*member });
                        continue;
                    }
                    Err(Broken::Refused(refusal)) => (member.place, refusal),
                    Err(broken) => return Err(broken),
                },
                // Every member has handed in what it had.
                None => return Ok(self.next_owed(way, &judge::no_response(way.link.name(), StatusCode::OK))),
            };
            if let Some(error) = self.failed(way, failed.0, failed.1) {
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

    /// Lets the members go on without the client: a disconnect cancels none.
    pub fn leave(mut self, way: &Way<'_>) {
        while self.tasks.try_join_next().is_some() {}
        let cost = Cost { exchanges: self.tasks.len().min(AT_A_TIME), bytes: way.trip.exchange.body.len() };
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

impl Member {
    /// Whether its backend has given the client's session nothing yet.
    fn is_unopened(&self, way: &Way<'_>) -> bool {
        way.node.as_ref().is_some_and(|node| node.upstream(&self.link.backend.place).is_none())
    }

    async fn carry_out(self, request: UpstreamRequest) {
        let room = Arc::clone(&self.room);
        let Ok(_place) = room.acquire().await else { return };
        let ended = self.ask(request).await;
        let pieces = self.pieces.clone();
        let piece = match ended {
            Ok(Ended::Done) => return,
            Ok(Ended::Lost) => Piece::Lost(Box::new(self)),
            Err(refusal) => Piece::Failed { place: self.place, refusal },
        };
        // A closed channel means that the client has left.
        let _ = pieces.send(piece).await;
    }

    /// Sends the message and hands in what the backend says.
    async fn ask(&self, request: UpstreamRequest) -> Result<Ended, Refusal> {
        let answered = attempt::ask(Arc::clone(&self.link), request, false).await;
        let response = answered.map_err(|fault| attempt::refusal(&self.link, &fault))?;
        let backend = self.link.name();
        if response.status == StatusCode::NOT_FOUND {
            return match missing(response, self.id.as_deref(), self.session.is_some(), self.limits.answer_bytes).await {
                Missing::Something(error) => {
                    self.respond(error).await;
                    Ok(Ended::Done)
                }
                Missing::Session if self.message.kind == Kind::Response => Err(forward::no_longer_asked(backend)),
                Missing::Session if !self.again => Ok(Ended::Lost),
                Missing::Session | Missing::Unknown => Err(judge::not_found(backend)),
            };
        }
        match (judge(backend, Some(self.message.kind), &response)?, &self.id) {
            (Judged::Taken | Judged::Nothing, _) => detached::settle(response).await,
            (Judged::Json | Judged::Events, Some(id)) => self.relay(id, response).await?,
            (Judged::Json | Judged::Events, None) => return Err(judge::no_response(backend, response.status)),
        }
        Ok(Ended::Done)
    }

    async fn relay(&self, id: &Bytes, response: UpstreamResponse) -> Result<(), Refusal> {
        let status = response.status;
        let mut messages = Messages::of(response, self.limits.answer_bytes, self.limits.event_bytes);
        let mut answered = false;
        loop {
            let said = match messages.next().await {
                Ok(Some(said)) => said,
                Ok(None) => break,
                // What breaks off behind the response takes nothing from it.
                Err(_) if answered => break,
                Err(fault) => return Err(attempt::refusal(&self.link, &fault)),
            };
            match said.meaning(id) {
                Meaning::Response(response) if !answered => {
                    answered = true;
                    self.respond(response).await;
                }
                // A client that has left cancels nothing: the backend's answer is read to its end all the same.
                Meaning::Speech => {
                    let becomes = self.translate.as_ref().map(|translate| translate.message(&said.bytes));
                    let speech = match becomes {
                        None | Some(Becomes::Same) => said.bytes,
                        Some(Becomes::Other(speech)) => speech,
                        Some(Becomes::Nothing) => continue,
                    };
                    drop(self.pieces.send(Piece::Speech(speech)).await);
                }
                Meaning::Response(_) | Meaning::Noise => {}
            }
        }
        if answered { Ok(()) } else { Err(judge::no_response(self.link.name(), status)) }
    }

    async fn respond(&self, response: Bytes) {
        if let Some(remembering) = &self.remembering {
            remembering.answered(&response).await;
        }
        let response = match &self.translate {
            Some(translate) => translate.response(response),
            None => response,
        };
        let response = if self.again { heal::marked(response) } else { response };
        // A closed channel means that the client has left.
        let _ = self.pieces.send(Piece::Response { place: self.place, response }).await;
    }
}
