//! What a client says, in its order.

use super::ask::{Ask, Way, era_of};
use super::inflight::{Cancelled, InFlight, Ticket};
use super::renew::Renewals;
use super::session::Legacy;
use super::settings::{Limits, Patience, Server};
use super::shared::Shared;
use super::streams;
use super::tools::Tools;
use super::wire::{Failure, send};
use super::wishes::Wish;
use crate::upstream::Verb;
use bytes::Bytes;
use http::HeaderValue;
use lockgate_filters::fault::Fault;
use lockgate_filters::headers::PROTOCOL_VERSION;
use lockgate_filters::revision::Era;
use lockgate_filters::rpc::params::ToolParams;
use lockgate_filters::rpc::scan::{Kind, Message, Scan, ScanFault, scan};
use lockgate_filters::splice::{Outbound, mirror};
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What a client says.
#[derive(Clone, Debug)]
pub enum Said {
    /// A message, and the fields that its HTTP request carries beside those that the bridge sets.
    Message(Bytes, Outbound),
    /// Something longer than [`Limits::message_bytes`], which was passed over.
    TooLong,
}

/// One client's way to one endpoint. Dropping it drops whatever is on its way.
#[derive(Debug)]
pub struct Bridge {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    /// What the next message must not overtake, and for how long at the most.
    before: Option<(oneshot::Receiver<()>, Option<Duration>)>,
    /// The revision of the last modern request: notifications need not name one.
    modern: Option<HeaderValue>,
    speech: Arc<Semaphore>,
}

impl Bridge {
    /// A bridge to `server` for a client that takes its messages from the receiver.
    pub fn new(server: Server, limits: Limits, patience: Patience) -> (Bridge, mpsc::Receiver<Bytes>) {
        let (out, messages) = mpsc::channel(limits.queue.max(1));
        let inflight = Arc::new(InFlight::default());
        let (legacy, renewals) = (Mutex::new(Legacy::default()), Renewals::default());
        let tools = Tools::default();
        let shared = Arc::new(Shared { server, limits, patience, out, inflight, legacy, renewals, tools });
        let speech = Arc::new(Semaphore::new(limits.speech.max(1)));
        (Bridge { shared, tasks: JoinSet::new(), before: None, modern: None, speech }, messages)
    }

    /// Takes up what the client says next. Ends when the one after that may be taken up, which is mostly at once: a
    /// notification must not be overtaken, and no more is read than can be kept.
    pub async fn hear(&mut self, said: Said) {
        while self.tasks.try_join_next().is_some() {}
        let (body, fields) = match said {
            Said::Message(body, fields) if body.len() <= self.shared.limits.message_bytes => (body, fields),
            Said::Message(..) | Said::TooLong => {
                let most = self.shared.limits.message_bytes;
                let failure = Failure::new(Fault::BodyTooLong, format!("a message has more than {most} bytes"));
                return self.say(failure.orphan()).await;
            }
        };
        let Scan { mut messages, batch } = match scan(&body, &self.shared.limits.scan) {
            Ok(scan) => scan,
            Err(fault) => return self.refuse(&body, fault).await,
        };
        if batch {
            return self.batch(&messages, body, fields).await;
        }
        let Some(message) = messages.pop() else { return };
        match message.kind {
            Kind::Request => self.ask(message, body, fields).await,
            Kind::Notification if message.is(b"notifications/cancelled", &body) => {
                self.cancel(&message, body, fields).await;
            }
            Kind::Notification => self.notify(&message, body, fields).await,
            // It answers a request that waits for it: nothing is waited for here.
            Kind::Response => self.speak(body, self.in_session(fields), None).await,
        }
    }

    /// The client has said its last word: what it waits for still comes, until `patience` ends; then its session is ended.
    pub async fn end(mut self, patience: impl Future) {
        tokio::select! {
            biased;
            () = self.shared.inflight.finished() => {}
            _ = patience => tracing::warn!("what was not answered in time is given up"),
        }
        self.tasks.shutdown().await;
        let session = self.shared.legacy.lock().session.take();
        if let Some(session) = session {
            session.end(&self.shared).await;
        }
        // Somebody was about to open it again.
        self.shared.renewals.clear(&self.shared).await;
    }

    async fn say(&self, message: Bytes) {
        // Who takes nothing more is found out by whoever reads what it says.
        let _ = self.shared.say(message).await;
    }

    async fn refuse(&self, body: &[u8], found: ScanFault) {
        let text = format!("{} (at byte {})", found.fault.text(), found.at);
        let failure = Failure::new(found.fault, text);
        match found.id {
            Some(id) => self.say(failure.answer(id.of(body))).await,
            None => self.say(failure.orphan()).await,
        }
    }

    /// Waits for what must not be overtaken.
    async fn in_turn(&mut self) {
        let Some((before, patience)) = self.before.take() else { return };
        // An error says that it is over, too; and a server that takes its time must not hold up everything.
        match patience {
            Some(patience) => drop(timeout(patience, before).await),
            None => drop(before.await),
        }
    }

    async fn ask(&mut self, message: Message, body: Bytes, fields: Outbound) {
        let Some(id) = message.id.map(|id| body.slice_ref(id.span.of(&body))) else { return };
        self.in_turn().await;
        let era = era_of(&message);
        let endless = era == Era::Modern && message.is(b"subscriptions/listen", &body);
        let (way, done) = match era {
            Era::Modern => {
                let meta = message.params.as_ref().and_then(|params| params.meta.as_ref());
                let revision = meta.and_then(|meta| meta.protocol_version).and_then(|revision| revision.text(&body));
                self.modern =
                    revision.and_then(|revision| HeaderValue::from_str(&revision).ok()).or(self.modern.take());
                (Way::Modern(Box::new(message)), None)
            }
            Era::Legacy if message.is(b"initialize", &body) => {
                let (done, before) = oneshot::channel();
                self.before = Some((before, None));
                (Way::Initialize, Some(done))
            }
            Era::Legacy => {
                let wish = Wish::of(&message, &body).map(|wish| (id.clone(), wish));
                (Way::Legacy(self.shared.session(), wish.into_iter().collect()), None)
            }
        };
        self.begin(way, era, vec![id], endless, (body, fields), done).await;
    }

    async fn batch(&mut self, messages: &[Message], body: Bytes, fields: Outbound) {
        let asked = messages.iter().filter(|message| message.kind == Kind::Request);
        let due: Vec<Bytes> = asked.filter_map(|one| Some(body.slice_ref(one.id?.span.of(&body)))).collect();
        self.in_turn().await;
        if due.is_empty() {
            return self.speak(body, self.in_session(fields), None).await;
        }
        let wishes = messages.iter().filter_map(|one| {
            let id = body.slice_ref(one.id?.span.of(&body));
            Some((id, Wish::of(one, &body)?))
        });
        let way = Way::Legacy(self.shared.session(), wishes.collect());
        self.begin(way, Era::Legacy, due, false, (body, fields), None).await;
    }

    async fn begin(
        &mut self,
        way: Way,
        era: Era,
        due: Vec<Bytes>,
        endless: bool,
        (body, fields): (Bytes, Outbound),
        done: Option<oneshot::Sender<()>>,
    ) {
        let shared = Arc::clone(&self.shared);
        if shared.inflight.len() >= shared.limits.requests {
            let text = format!("{} requests are on their way already", shared.limits.requests);
            let failure = Failure::new(Fault::Overloaded, text);
            for id in &due {
                self.say(failure.answer(id)).await;
            }
            return;
        }
        let ticket = shared.inflight.begin(era, due, endless);
        let number = ticket.number();
        let ask = Ask { shared, body, fields, ticket, way, session: Mutex::new(None), former: Mutex::new(None) };
        let task = self.tasks.spawn(ask.run(done));
        Ticket::task(&self.shared.inflight, number, task);
    }

    async fn cancel(&mut self, message: &Message, body: Bytes, fields: Outbound) {
        let id = message.params.as_ref().and_then(|params| params.request_id).map(|id| id.span.of(&body));
        let cancelled = id.map_or(Cancelled::Unknown, |id| self.shared.inflight.cancel(id));
        let told = match cancelled {
            Cancelled::Dropped => false,
            Cancelled::Tell => true,
            // Answered already, or of a time that is over: for the server to know.
            Cancelled::Unknown => self.shared.session().is_some(),
        };
        if told {
            self.speak(body, self.in_session(fields), None).await;
        }
    }

    async fn notify(&mut self, message: &Message, body: Bytes, fields: Outbound) {
        self.in_turn().await;
        let opens = message.is(b"notifications/initialized", &body);
        let legacy = era_of(message) == Era::Legacy && (self.shared.session().is_some() || self.modern.is_none());
        let fields = if legacy { self.in_session(fields) } else { self.mirroring(message, &body, fields) };
        let (done, before) = oneshot::channel();
        self.before = Some((before, Some(self.shared.patience.order)));
        self.speak(body, fields, Some((done, opens && legacy))).await;
    }

    /// The fields of a message in the session, if there is one.
    fn in_session(&self, mut fields: Outbound) -> Outbound {
        if let Some(session) = self.shared.session() {
            session.name(&mut fields);
        }
        fields
    }

    /// The fields of a modern notification.
    fn mirroring(&self, message: &Message, body: &[u8], mut fields: Outbound) -> Outbound {
        if let Some(revision) = &self.modern {
            fields.set(PROTOCOL_VERSION, revision.clone());
        }
        mirror(&mut fields, message, body, &ToolParams::default());
        fields
    }

    /// Sends what is not answered. With `then`, says when it was taken; and if that opens the session, listens from then on
    /// to what the server says of its own accord.
    async fn speak(&mut self, body: Bytes, fields: Outbound, then: Option<(oneshot::Sender<()>, bool)>) {
        let Ok(room) = Arc::clone(&self.speech).acquire_owned().await else { return };
        let shared = Arc::clone(&self.shared);
        let ticket = shared.inflight.begin(Era::Legacy, Vec::new(), false);
        self.tasks.spawn(async move {
            match send(&shared.server, &shared.limits, Verb::Post, fields, body).await {
                Ok(mut response) => {
                    if !response.status.is_success() {
                        tracing::warn!(status = %response.status, "the server did not take a message that needs no answer");
                    }
                    // Nothing is in it, and its connection can be used again.
                    let _ = response.collect(shared.limits.answer_bytes).await;
                }
                Err(fault) => {
                    tracing::warn!(reason = Failure::from(&fault).text(), "a message could not be brought to the server");
                }
            }
            drop((ticket, room));
            let Some((done, opens)) = then else { return };
            drop(done);
            // Taken or not: it may be the session that was lost, and another takes its place.
            if let (true, Some(session)) = (opens, shared.session()) {
                streams::listen(shared, session).await;
            }
        });
    }
}
