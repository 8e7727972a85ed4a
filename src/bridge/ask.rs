//! One HTTP request that carries requests of the client's, and what becomes of them.

use super::answer::{Stream, envelope, is_stream, whole};
use super::inflight::Ticket;
use super::renew;
use super::session::{Legacy, Opening, Session};
use super::shared::{Gone, Shared};
use super::streams::{self, Opened, Pause};
use super::tools::leave_out;
use super::wire::{Failure, send};
use super::wishes::{Wish, Wishes};
use crate::upstream::{UpstreamResponse, Verb};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use lockgate_filters::fault::Fault;
use lockgate_filters::revision::Era;
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::scan::{Kind, Message};
use lockgate_filters::rpc::{id, reply};
use lockgate_filters::splice::{Outbound, mirror};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How often in a row a stream may be taken up again in vain.
const RESUMES_FAILED_MAX: u32 = 5;

/// How often in a row a stream that was taken up again may end without an event.
const RESUMES_SILENT_MAX: u32 = 1000;

/// How long a stream that has brought its answer is read on, so that its connection can be used again.
const SETTLE: Duration = Duration::from_secs(1);

/// What kind of asking it is.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// One modern request.
    Modern(Box<Message>),
    /// `initialize`.
    Initialize,
    /// Any other legacy request, or a batch: the session it is sent in, and which of its ids ask for what of that.
    Legacy(Option<Arc<Session>>, Vec<(Bytes, Wish)>),
}

/// Requests that are carried out.
pub(super) struct Ask {
    pub(super) shared: Arc<Shared>,
    pub(super) body: Bytes,
    pub(super) fields: Outbound,
    pub(super) ticket: Ticket,
    pub(super) way: Way,
    /// The session in the place of that in which it was sent first.
    pub(super) session: Mutex<Option<Arc<Session>>>,
    /// The session that the client was in before it opened another with this.
    pub(super) former: Mutex<Option<Arc<Session>>>,
}

/// Why there is no answer.
enum Unanswered {
    Failed(Failure),
    /// A stream that never ends by itself was torn down.
    Torn,
    Gone,
}

impl From<Gone> for Unanswered {
    fn from(_: Gone) -> Unanswered {
        Unanswered::Gone
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Unanswered {
        Unanswered::Failed(failure)
    }
}

impl Ask {
    /// Carries the requests out; the client gets an answer to each that it has not cancelled, and what must not overtake
    /// them is let go then.
    pub(super) async fn run(self, done: Option<oneshot::Sender<()>>) {
        self.settle().await;
        drop(done);
        let former = self.former.lock().take();
        if let Some(former) = former {
            former.end(&self.shared).await;
        }
    }

    async fn settle(&self) {
        match self.carry_out().await {
            Ok(()) | Err(Unanswered::Gone) => {}
            Err(Unanswered::Failed(failure)) => {
                for id in self.ticket.due() {
                    if self.shared.say(failure.answer(&id)).await.is_err() {
                        return;
                    }
                }
            }
            Err(Unanswered::Torn) => {
                for id in self.ticket.due() {
                    if self.shared.say(torn(&id)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn carry_out(&self) -> Result<(), Unanswered> {
        let (mut response, read) = self.post().await?;
        if is_stream(&response) {
            return self.follow(response).await;
        }
        let status = response.status;
        let headers = std::mem::take(&mut response.headers);
        let messages = match read {
            Some(read) => vec![read],
            None => whole(&mut response, &self.shared.limits).await.map_err(|fault| Failure::from(&fault))?,
        };
        for message in messages {
            self.bring(message, &headers).await?;
        }
        if self.ticket.is_due() { Err(Failure::of_status(status).into()) } else { Ok(()) }
    }

    /// Sends the request; gives the response, and its body where that has been read already. A modern call is sent again
    /// where its headers turn out not to mirror what the tool asks for now: a server that says so has not run it.
    async fn post(&self) -> Result<(UpstreamResponse, Option<Bytes>), Failure> {
        let shared = &self.shared;
        let mut fields = self.fields.clone();
        let message = match &self.way {
            Way::Modern(message) => message,
            Way::Initialize => return Ok((self.send(fields).await?, None)),
            Way::Legacy(None, _) => return Ok((self.send(fields).await?, None)),
            Way::Legacy(Some(session), _) => return self.post_in(session).await,
        };
        let mut asked = false;
        if !mirror(&mut fields, message, &self.body, &shared.tools.known()) {
            asked = true;
            shared.tools.ask(shared, &self.fields, message, &self.body).await;
            mirror(&mut fields, message, &self.body, &shared.tools.known());
        }
        let mut response = self.send(fields).await?;
        let disagrees = response.status == StatusCode::BAD_REQUEST && message.is(b"tools/call", &self.body);
        if !disagrees || asked {
            return Ok((response, None));
        }
        let said = response.collect(shared.limits.answer_bytes).await.map_err(|fault| Failure::from(&fault))?;
        let error = envelope(&said).and_then(|said| said.error).map(|error| error.span.of(&said));
        let code = error.and_then(|error| member(error, "code").map(|code| code.span.of(error)));
        if code == Some(Fault::HeaderMismatch.code().to_string().as_bytes()) {
            shared.tools.ask(shared, &self.fields, message, &self.body).await;
            let mut fields = self.fields.clone();
            mirror(&mut fields, message, &self.body, &shared.tools.known());
            return Ok((self.send(fields).await?, None));
        }
        Ok((response, Some(said)))
    }

    /// Sends the request in this session, or in the one in its place where the server has lost it: then it has not run.
    async fn post_in(&self, session: &Arc<Session>) -> Result<(UpstreamResponse, Option<Bytes>), Failure> {
        let sent_in = |session: &Session| {
            let mut fields = self.fields.clone();
            session.name(&mut fields);
            fields
        };
        let asked = self.ticket.due();
        let mut response = self.send(sent_in(session)).await?;
        if response.status != StatusCode::NOT_FOUND || !session.has_id() {
            return Ok((response, None));
        }
        let said = response.collect(self.shared.limits.answer_bytes).await.map_err(|fault| Failure::from(&fault))?;
        if !renew::is_lost(&said, &asked) {
            return Ok((response, Some(said)));
        }
        let session = renew::renew(&self.shared, session, &self.fields).await?;
        *self.session.lock() = Some(Arc::clone(&session));
        if !self.ticket.is_due() {
            // Its cancellation was told to a server that did not know it: nobody hears this.
            return Err(renew::answer_lost());
        }
        // Where that is lost as well, something else is the matter.
        Ok((self.send(sent_in(&session)).await?, None))
    }

    /// The session in which it was sent at last.
    fn sent_in(&self) -> Option<Arc<Session>> {
        let Way::Legacy(session, _) = &self.way else { return None };
        self.session.lock().clone().or_else(|| session.clone())
    }

    async fn send(&self, fields: Outbound) -> Result<UpstreamResponse, Failure> {
        let Shared { server, limits, .. } = &*self.shared;
        send(server, limits, Verb::Post, fields, self.body.clone()).await.map_err(|fault| Failure::from(&fault))
    }

    /// Brings the messages of a stream. A legacy one that ends early is taken up where it ended.
    async fn follow(&self, mut response: UpstreamResponse) -> Result<(), Unanswered> {
        let headers = std::mem::take(&mut response.headers);
        let mut stream = Stream::of(response, &self.shared.limits);
        let mut pause = Pause::new(self.shared.patience);
        let (mut behind, mut silent) = (None, 0);
        loop {
            let ended = self.read(&mut stream, &headers).await?;
            if !self.ticket.is_due() {
                return Ok(());
            }
            pause.after(stream.retry, stream.has_news);
            behind = stream.last_id().or(behind);
            silent = if stream.has_news { 0 } else { silent + 1 };
            if let Way::Modern(message) = &self.way
                && message.is(b"subscriptions/listen", &self.body)
            {
                return Err(Unanswered::Torn);
            }
            let session = self.sent_in().filter(|_| silent < RESUMES_SILENT_MAX);
            let (Some(session), Some(behind)) = (session, &behind) else { return Err(ended.into()) };
            match self.resume(&session, behind, &mut pause).await {
                Ok(response) => stream = Stream::of(*response, &self.shared.limits),
                Err(lost) if self.ticket.is_due() => return Err(lost.unwrap_or(ended).into()),
                Err(_) => return Ok(()),
            }
        }
    }

    /// Brings what a stream says, until all answers are there or it ends; says how it ended.
    async fn read(&self, stream: &mut Stream, headers: &HeaderMap) -> Result<Failure, Unanswered> {
        loop {
            match stream.next().await {
                Ok(Some(message)) => self.bring(message, headers).await?,
                Ok(None) => {
                    return Ok(Failure::new(
                        Fault::BackendUnreachable,
                        "the server ended its stream without an answer",
                    ));
                }
                Err(fault) => return Ok(Failure::from(&fault)),
            }
            if !self.ticket.is_due() {
                self.ticket.settled();
                let rest = async { while matches!(stream.next().await, Ok(Some(_))) {} };
                // A server that keeps it open loses the connection.
                let _ = timeout(SETTLE, rest).await;
                return Ok(Failure::new(Fault::Internal, "the stream has brought its answer"));
            }
        }
    }

    /// The rest of a stream. It may be that it cannot be had, for the reason that is given if it is a special one, or that
    /// nobody waits for it any more.
    async fn resume(
        &self,
        session: &Session,
        behind: &HeaderValue,
        pause: &mut Pause,
    ) -> Result<Box<UpstreamResponse>, Option<Failure>> {
        for _ in 0..RESUMES_FAILED_MAX {
            pause.wait().await;
            if !self.ticket.is_due() {
                return Err(None);
            }
            match streams::open(&self.shared, session, Some(behind.clone())).await {
                Opened::Stream(response) => return Ok(response),
                // It may have run: nobody but the client can say whether it may run again.
                Opened::Never(StatusCode::NOT_FOUND) if session.has_id() => return Err(Some(renew::answer_lost())),
                Opened::Never(_) => return Err(None),
                Opened::NotNow => {}
            }
        }
        Err(None)
    }

    /// Brings one message to the client, if it is for it.
    async fn bring(&self, message: Bytes, headers: &HeaderMap) -> Result<(), Gone> {
        let Some(found) = envelope(&message) else {
            if headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
                tracing::warn!("the server sent an event that is no JSON-RPC message: it is left out");
            }
            return Ok(());
        };
        match found.kind {
            Kind::Response => self.bring_response(message, &found, headers).await,
            Kind::Request if matches!(self.way, Way::Modern(_)) => {
                tracing::warn!("the server sent a request, which this revision does not have: it is left out");
                Ok(())
            }
            Kind::Request => self.shared.say(message).await,
            Kind::Notification => {
                if found.is(b"notifications/tools/list_changed", &message) {
                    self.shared.tools.forget();
                }
                self.shared.say(message).await
            }
        }
    }

    async fn bring_response(&self, message: Bytes, found: &Message, headers: &HeaderMap) -> Result<(), Gone> {
        let Some(id) = found.id else {
            // An error without an id can only be about what was asked here.
            let Some(error) = found.error else { return Ok(()) };
            for id in self.ticket.due() {
                self.ticket.answered(&id);
                self.shared.say(reply::error_again(&id, error.span.of(&message))).await?;
            }
            return Ok(());
        };
        if !self.ticket.answered(id.span.of(&message)) {
            tracing::debug!("the server answered what is not asked, or no longer: it is left out");
            return Ok(());
        }
        let Some(result) = found.result else { return self.shared.say(message).await };
        let message = match &self.way {
            Way::Initialize => {
                self.begin_session(Session::opened(headers, result.span.of(&message)), id.span.of(&message));
                message
            }
            Way::Modern(asked) if asked.is(b"tools/list", &self.body) => {
                let first = asked.params.as_ref().is_none_or(|params| params.cursor.is_none());
                let page = self.shared.tools.learn(result.span.of(&message), first);
                leave_out(message, result, &page)
            }
            Way::Legacy(_, wishes) => {
                let granted = wishes.iter().find(|(asked, _)| id::same(asked, id.span.of(&message)));
                granted.inspect(|(_, wish)| self.remember(wish));
                message
            }
            Way::Modern(_) => message,
        };
        self.shared.say(message).await
    }

    /// The client is in this session from now on, which it has opened with the request of this raw id.
    fn begin_session(&self, session: Session, id: &[u8]) {
        let session = Arc::new(session);
        // Copies, since they stay as long as the session and must not keep alive what was read with them.
        let opening = Opening { body: Bytes::copy_from_slice(&self.body), id: Bytes::copy_from_slice(id) };
        let begun = Legacy { session: Some(Arc::clone(&session)), opening: Some(opening), wishes: Wishes::default() };
        let former = std::mem::replace(&mut *self.shared.legacy.lock(), begun).session;
        if let Some(former) = former {
            former.leave();
            *self.former.lock() = Some(former).filter(|former| !former.is_known_as(&session));
        }
    }

    /// The server has granted what the client asked of its session.
    fn remember(&self, wish: &Wish) {
        let sent_in = self.sent_in();
        let mut legacy = self.shared.legacy.lock();
        // Not where the client is in another by now.
        if let (Some(now), Some(sent_in)) = (&legacy.session, &sent_in)
            && Arc::ptr_eq(now, sent_in)
        {
            legacy.wishes.grant(wish, &self.shared.limits);
        }
    }
}

/// What a client on a channel is told whose listening has come to an end that the server did not put into words.
fn torn(id: &[u8]) -> Bytes {
    let (begin, end) = (
        &br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"#[..],
        &br#","reason":"the server's stream has ended"}}"#[..],
    );
    [begin, id, end].concat().into()
}

/// Which era a request of a client is of: its own metadata says.
pub(super) fn era_of(message: &Message) -> Era {
    if lockgate_filters::era::is_modern(message) { Era::Modern } else { Era::Legacy }
}
