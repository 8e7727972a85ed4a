//! One member of a batch: sent on its own, in a task of its own, and judged like a message that comes alone.
//!
//! A backend that is slow, or must be asked for a session first, keeps nobody waiting but its own members.

use super::answering::Answering;
use super::heal;
use super::judge::{self, Judged, Missing, judge, missing};
use super::messages::{Meaning, Messages, is_request};
use super::remember::Remembering;
use super::revive::Opener;
use super::translate::{Becomes, Translate};
use super::{Broken, attempt, detached, forward, onward};
use crate::session::{NodeSession, Underway, UpstreamSession};
use crate::snapshot::{Limits, Link};
use crate::upstream::{UpstreamRequest, UpstreamResponse};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::rpc::scan::{Kind, Message};
use lockgate_filters::splice::{self, Onward};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// What members hand in.
pub(super) enum Piece {
    Response {
        place: usize,
        response: Bytes,
    },
    Speech(Bytes),
    Failed {
        place: usize,
        refusal: Refusal,
    },
    /// The client has cancelled it: no response is owed to it.
    Cancelled {
        place: usize,
    },
}

/// One member.
pub(super) struct Member {
    /// Which one of the batch.
    pub place: usize,
    pub message: Message,
    pub link: Arc<Link>,
    /// How that backend's words become ours, where they must.
    pub translate: Option<Arc<Translate>>,
    /// Answers it where nobody hears what it asks.
    pub answering: Arc<Answering>,
    /// Whether the client takes more than its responses.
    pub hears: bool,
    /// The raw id of a request.
    pub id: Option<Bytes>,
    /// The request, but for the session that it is sent in.
    pub request: UpstreamRequest,
    pub remembering: Option<Remembering>,
    pub node: Option<Arc<NodeSession>>,
    /// What opens that session where it is not open.
    pub opener: Option<Arc<Opener>>,
    /// The backend's session when the batch came; what is lost of it is lost to every member.
    pub began: Option<UpstreamSession>,
    /// Keeps it to be found by who cancels it.
    pub underway: Option<Arc<Underway>>,
    /// Whether it is sent for the second time.
    pub again: bool,
    pub limits: Limits,
    pub room: Arc<Semaphore>,
    pub pieces: mpsc::Sender<Piece>,
}

/// How a member ended that did not fail.
enum Ended {
    /// Nothing is owed to the client any more.
    Done,
    /// Its response is there, and behind it the backend goes on.
    Answered(Box<UpstreamResponse>),
    /// It was cancelled before it was sent.
    Cancelled,
    /// The backend has lost this session.
    Lost(Option<HeaderValue>),
}

impl Member {
    /// Carries it out, and hands in what comes of it.
    pub async fn carry_out(mut self) {
        let piece = match self.run().await {
            Ok(Ended::Cancelled) => Piece::Cancelled { place: self.place },
            Ok(Ended::Done | Ended::Answered(_) | Ended::Lost(_)) => return,
            Err(refusal) => Piece::Failed { place: self.place, refusal },
        };
        // A closed channel means that the client has left.
        let _ = self.pieces.send(piece).await;
    }

    /// Sends it, in a session that is opened for it where none is open, or where the backend has lost that.
    async fn run(&mut self) -> Result<Ended, Refusal> {
        let room = Arc::clone(&self.room);
        let Ok(place) = room.acquire_owned().await else { return Ok(Ended::Done) };
        let began = self.began.as_ref().and_then(|began| began.id.as_ref());
        if let (Some(began), false) = (began, self.link.heals)
            && self.node.as_ref().is_some_and(|node| {
                node.upstream(&self.link.backend.place).is_none_or(|open| open.id.as_ref() != Some(began))
            })
        {
            self.open(Some(began.header())).await?;
        }
        let unopened = self.node.as_ref().is_some_and(|node| node.upstream(&self.link.backend.place).is_none());
        if unopened {
            self.open(None).await?;
        }
        if let Some(remembering) = &self.remembering {
            remembering.heard_first(&self.link).await;
        }
        loop {
            if self.underway.as_ref().is_some_and(|underway| !underway.may_be_sent()) {
                return Ok(Ended::Cancelled);
            }
            match self.ask().await? {
                Ended::Lost(session) => self.open(session.as_ref()).await?,
                Ended::Answered(rest) => {
                    settle(*rest, place);
                    return Ok(Ended::Done);
                }
                ended => return Ok(ended),
            }
            self.again = true;
        }
    }

    /// Opens the client's session at the backend, which has lost this one, if it had any.
    async fn open(&self, lost: Option<&HeaderValue>) -> Result<(), Refusal> {
        if let Some(underway) = &self.underway {
            underway.waits_again();
        }
        let Some(opener) = &self.opener else { return Err(judge::not_found(self.link.name())) };
        opener.renew(&self.link, lost, self.id.is_some()).await.map_err(|broken| match broken {
            Broken::Refused(refusal) => refusal,
            // Nobody's client was written to.
            Broken::ClientGone | Broken::Cut => Refusal::new(Fault::Internal, "gather"),
        })
    }

    /// Sends the message and hands in what the backend says.
    async fn ask(&self) -> Result<Ended, Refusal> {
        let mut request = self.request.clone();
        let Onward { session, revision, .. } = onward(self.node.as_deref(), &self.link);
        splice::within(&mut request.fields, session.clone(), revision);
        let answered = attempt::ask(Arc::clone(&self.link), request, false).await;
        let response = answered.map_err(|fault| attempt::refusal(&self.link, &fault))?;
        let backend = self.link.name();
        if response.status == StatusCode::NOT_FOUND {
            return match missing(response, self.id.as_deref(), session.is_some(), self.limits.answer_bytes).await {
                Missing::Something(error) => {
                    self.respond(error).await;
                    Ok(Ended::Done)
                }
                Missing::Session if self.message.kind == Kind::Response => Err(forward::no_longer_asked(backend)),
                Missing::Session if !self.again => Ok(Ended::Lost(session)),
                Missing::Session | Missing::Unknown => Err(judge::not_found(backend)),
            };
        }
        match (judge(backend, Some(self.message.kind), &response)?, &self.id) {
            (Judged::Taken | Judged::Nothing, _) => detached::settle(response).await,
            (Judged::Json | Judged::Events, Some(id)) => return self.relay(id, response).await,
            (Judged::Json | Judged::Events, None) => return Err(judge::no_response(backend, response.status)),
        }
        Ok(Ended::Done)
    }

    async fn relay(&self, id: &Bytes, response: UpstreamResponse) -> Result<Ended, Refusal> {
        let status = response.status;
        let mut messages = Messages::of(response, self.limits.answer_bytes, self.limits.event_bytes);
        loop {
            let said = messages.next().await.map_err(|fault| attempt::refusal(&self.link, &fault))?;
            let Some(said) = said else { return Err(judge::no_response(self.link.name(), status)) };
            match said.meaning(id) {
                Meaning::Response(response) => {
                    self.respond(response).await;
                    break;
                }
                // A client that has left cancels nothing: the backend's answer is read to its end all the same.
                Meaning::Speech if is_request(&said.bytes) && (!self.hears || self.pieces.is_closed()) => {
                    self.answering.answer(&said.bytes).await;
                }
                Meaning::Speech => {
                    let becomes = self.translate.as_ref().map(|translate| translate.message(&said.bytes));
                    let speech = match becomes {
                        None | Some(Becomes::Same) => said.bytes,
                        Some(Becomes::Other(speech)) => speech,
                        Some(Becomes::Nothing) => continue,
                    };
                    drop(self.pieces.send(Piece::Speech(speech)).await);
                }
                Meaning::Noise => {}
            }
        }
        let rest = messages.into_response();
        Ok(if rest.is_complete() { Ended::Done } else { Ended::Answered(Box::new(rest)) })
    }

    async fn respond(&self, response: Bytes) {
        if let Some(remembering) = &self.remembering {
            remembering.answered(&response).await;
        }
        let response = match &self.translate {
            Some(translate) => heal::unmarked(translate.response(response)),
            None => response,
        };
        let place = &self.link.backend.place;
        let mark = match &self.opener {
            Some(opener) if self.again => Some(opener.mark(place)),
            opener => opener.as_ref().and_then(|opener| opener.mark_due(place)),
        };
        let response = match mark {
            Some(mark) => mark.put(response),
            None => response,
        };
        // A closed channel means that the client has left.
        let _ = self.pieces.send(Piece::Response { place: self.place, response }).await;
    }
}

/// Reads what is left behind a response for its connection, if it comes soon. Nobody waits for that, but it keeps its place
/// at the backend as long as the connection is taken.
fn settle(rest: UpstreamResponse, place: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        let _place = place;
        detached::settle(rest).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::{Client, EVENTS, post, receive, say, serve};
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_goes_on_behind_a_response_keeps_its_place_while_it_is_read() {
        let (dripping, dripped) = oneshot::channel::<()>();
        let dripping = std::sync::Mutex::new(Some(dripping));
        let address = serve(move |_, mut stream| {
            let dripping = dripping.lock().expect("no panic").take();
            async move {
                receive(&mut stream).await;
                say(&mut stream, format!("{EVENTS}data: {{}}\n\n")).await;
                // Ends when the gateway closes the connection.
                receive(&mut stream).await;
                drop(dripping);
            }
        })
        .await;
        let client = Client::to(address);
        let room = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&room).try_acquire_owned().expect("a place");
        let rest = client.send(&post("{}")).await.expect("an answer");
        settle(rest, place);
        assert_eq!(room.available_permits(), 0);
        // Which is given back when the connection is.
        dripped.await.expect_err("nothing was sent");
        drop(room.acquire().await.expect("it is not closed"));
    }
}
