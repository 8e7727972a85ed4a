//! Where a message of the peer belongs.

use super::feed::{Ending, Feed, Pushed};
use super::table::{SessionKey, Stream, Table, What};
use super::{Asks, Channel, STALL, rewrite, scanned};
use crate::upstream::fault::{AttemptFault, FaultKind};
use bytes::Bytes;
use lockgate_filters::rpc::members::items;
use lockgate_filters::rpc::scan::{Kind, Message};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// How much of what is no message is logged, in bytes.
const SHOWN_BYTES: usize = 200;

const NOT_OFFERED: (i32, &str) = (-32601, "no client can be asked this here");
const NO_ADDRESSEE: (i32, &str) = (-32603, "this request cannot be tied to one client");

/// What is to be done with a message, once the table has been asked.
enum Do {
    /// It is on its way.
    Nothing,
    /// It goes on the stream of an exchange.
    Say(u64, Arc<Feed>, Bytes),
    /// It is a request, and refused.
    Refuse((i32, &'static str)),
    /// It is for nobody who is there.
    Drop,
}

impl Channel {
    /// Takes a message of the peer. Tells whether it was one.
    pub(in crate::upstream) async fn hear(&self, line: &Bytes) -> bool {
        if line.first() != Some(&b'[') {
            return self.hear_one(line).await;
        }
        // A batch, as 2025-03-26 has it.
        let mut heard = false;
        for item in items(line) {
            heard |= self.hear_one(&line.slice_ref(item.span.of(line))).await;
        }
        heard
    }

    async fn hear_one(&self, line: &Bytes) -> bool {
        let Some(message) = scanned(line) else {
            self.noise(line, "a message is no JSON-RPC");
            return false;
        };
        let what = match message.kind {
            Kind::Response => self.hear_response(line, &message),
            Kind::Request => self.hear_request(line, &message),
            Kind::Notification => self.hear_notification(line, &message),
        };
        match what {
            Do::Nothing => {}
            Do::Say(number, feed, said) => {
                if !self.say(number, &feed, said).await
                    && let Some(id) = message.id.filter(|_| message.kind == Kind::Request)
                {
                    self.table.lock().forget_question(id.span.of(line));
                    self.refuse(id.span.of(line), super::GONE);
                }
            }
            Do::Refuse(why) => {
                self.counters.refuse();
                if let Some(id) = message.id {
                    self.refuse(id.span.of(line), why);
                }
            }
            Do::Drop => self.counters.drop_message(),
        }
        true
    }

    /// Counts what is no message, and shows the operator how it begins.
    pub(in crate::upstream) fn noise(&self, line: &[u8], what: &str) {
        self.counters.drop_message();
        let begins = String::from_utf8_lossy(line.get(..SHOWN_BYTES).unwrap_or(line));
        let begins: String = begins.chars().filter(|letter| !letter.is_control()).collect();
        tracing::debug!(backend = %self.backend, bytes = line.len(), begins, "{what}");
    }

    /// A line was given up because it is too long. Who alone waits for an answer is told that it will not come.
    pub(in crate::upstream) fn too_long(&self, begins: &[u8]) {
        self.noise(begins, "a message is too long");
        let mut table = self.table.lock();
        if let Some(pending) = table.only().and_then(|number| table.remove(number)) {
            drop(table);
            pending.feed.end(Ending::Fault(AttemptFault::new(FaultKind::TooLong)));
        }
    }

    fn hear_response(&self, line: &Bytes, message: &Message) -> Do {
        let mut table = self.table.lock();
        let number = match message.id {
            Some(id) => rewrite::number(id.span.of(line)),
            // An error about a request whose id the peer could not read: it can only be the one that waits.
            None => table.only(),
        };
        let Some((number, pending)) = number.and_then(|number| Some((number, table.remove(number)?))) else {
            return Do::Drop;
        };
        drop(table);
        let answer = match (message.id, message.error) {
            (None, Some(error)) => lockgate_filters::rpc::reply::error_again(&pending.id, error.span.of(line)),
            _ => rewrite::response(line, message, number, &pending.id),
        };
        pending.feed.end(Ending::Answer(answer));
        Do::Nothing
    }

    fn hear_request(&self, line: &Bytes, message: &Message) -> Do {
        let Some(id) = message.id.map(|id| id.span.of(line)) else { return Do::Drop };
        if message.is(b"ping", line) {
            self.outlet.post(lockgate_filters::rpc::reply::result_body(Some(id), b"{}"));
            return Do::Nothing;
        }
        if self.asks == Asks::Nobody {
            return Do::Refuse(NOT_OFFERED);
        }
        let mut table = self.table.lock();
        let Some(session) = table.addressee() else { return Do::Refuse(NO_ADDRESSEE) };
        if !table.asks(id, session, self.limits.questions, &self.counters) {
            return Do::Refuse(NO_ADDRESSEE);
        }
        match table.stream(session) {
            Stream::Exchange(number, feed) => Do::Say(number, feed, line.clone()),
            Stream::Own(session) if table.give(session, line, self.limits.waiting) => Do::Nothing,
            Stream::Own(_) => {
                table.forget_question(id);
                Do::Refuse(NO_ADDRESSEE)
            }
        }
    }

    fn hear_notification(&self, line: &Bytes, message: &Message) -> Do {
        let Some(method) = message.method.and_then(|method| method.text(line)) else { return Do::Drop };
        let params = message.params.as_ref();
        let mut table = self.table.lock();
        if let Some(id) = params.and_then(|params| params.meta.as_ref()).and_then(|meta| meta.subscription_id) {
            let known = rewrite::number(id.span.of(line)).and_then(|number| Some((number, table.get(number)?)));
            return match known {
                Some((number, pending)) => {
                    Do::Say(number, Arc::clone(&pending.feed), rewrite::replaced(line, id, &pending.id))
                }
                None => Do::Drop,
            };
        }
        match &*method {
            "notifications/progress" => {
                let Some(token) = params.and_then(|params| params.progress_token) else { return Do::Drop };
                let number = rewrite::number(token.span.of(line));
                let known = number.and_then(|number| Some((number, table.get(number)?)));
                let Some((number, pending)) = known else { return Do::Drop };
                let Some(own) = &pending.token else { return Do::Drop };
                Do::Say(number, Arc::clone(&pending.feed), rewrite::replaced(line, token, own))
            }
            "notifications/cancelled" => {
                let Some(id) = params.and_then(|params| params.request_id) else { return Do::Drop };
                let id = id.span.of(line);
                if let Some(session) = table.asked(id) {
                    // The peer takes back what it asked a client.
                    table.forget_question(id);
                    return self.put(&mut table, Some(session), line);
                }
                // It tears a subscription down (2026-07-28, stdio); it may cancel nothing else of ours.
                let torn = rewrite::number(id)
                    .filter(|number| table.get(*number).is_some_and(|pending| pending.what == What::Listen));
                match torn.and_then(|number| table.remove(number)) {
                    Some(pending) => {
                        pending.feed.end(Ending::Over);
                        Do::Nothing
                    }
                    None => Do::Drop,
                }
            }
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed" => {
                self.announcer.announce();
                let everybody = table.everybody();
                self.announce(&mut table, everybody, line)
            }
            "notifications/resources/updated" => {
                let uri = params.and_then(|params| params.uri).and_then(|uri| uri.text(line));
                let subscribers = uri.map(|uri| table.subscribers(&uri)).unwrap_or_default();
                self.announce(&mut table, subscribers, line)
            }
            "notifications/message" => match table.logging() {
                Some((number, feed)) => Do::Say(number, feed, line.clone()),
                None => {
                    let session = table.addressee();
                    self.put(&mut table, session, line)
                }
            },
            _ => {
                let session = table.addressee();
                self.put(&mut table, session, line)
            }
        }
    }

    /// Puts a message that may belong to a request on a stream of this session.
    fn put(&self, table: &mut Table, session: Option<SessionKey>, line: &Bytes) -> Do {
        let Some(session) = session else { return Do::Drop };
        match table.stream(session) {
            Stream::Exchange(number, feed) => Do::Say(number, feed, line.clone()),
            Stream::Own(session) if table.give(session, line, self.limits.waiting) => Do::Nothing,
            Stream::Own(_) => Do::Drop,
        }
    }

    /// Tells sessions that something has changed: each once.
    fn announce(&self, table: &mut Table, sessions: Vec<SessionKey>, line: &Bytes) -> Do {
        if let [session] = *sessions.as_slice()
            && let Stream::Exchange(number, feed) = table.news_stream(session)
        {
            return Do::Say(number, feed, line.clone());
        }
        let mut told = false;
        for session in sessions {
            told |= table.give(session, line, self.limits.waiting);
        }
        if told { Do::Nothing } else { Do::Drop }
    }

    /// Says something on the stream of an exchange, which waits a little for its reader, and then ends. Tells whether it
    /// will be read.
    async fn say(&self, number: u64, feed: &Feed, message: Bytes) -> bool {
        let patience = Instant::now() + STALL;
        loop {
            match feed.push(message.clone()) {
                Pushed::Taken => return true,
                Pushed::Gone => return false,
                Pushed::Full => {}
            }
            if timeout_at(patience, feed.was_read()).await.is_err() {
                feed.end(Ending::Fault(
                    AttemptFault::new(FaultKind::TooLong).saying("its answer was not read fast enough"),
                ));
                self.left(number);
                return false;
            }
        }
    }

    /// Nobody waits for this exchange any more: the peer is told, where it can still matter to it.
    pub(super) fn left(&self, number: u64) {
        let left = self.table.lock().remove(number);
        if left.is_some_and(|pending| pending.what != What::Initialize) {
            self.cancel(number);
        }
    }
}
