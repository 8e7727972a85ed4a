//! What a legacy session asks for that outlives the exchange: its log level and its subscriptions.
//!
//! It is remembered when the backend has agreed, so that it can be asked for again should the backend lose the session.

use super::answering::Answering;
use super::messages::Messages;
use super::{Way, names};
use crate::session::{LogLevel, NodeSession, Sessions, Whose};
use crate::snapshot::Link;
use crate::upstream::UpstreamResponse;
use bytes::Bytes;
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::scan::{Kind, Message};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a subscription waits for the backend to be heard.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// What is to be remembered of one request, once it was answered.
#[derive(Clone)]
pub(super) struct Remembering {
    sessions: Arc<Sessions>,
    node: Arc<NodeSession>,
    wish: Wish,
    /// Of a subscription where backends tell callers apart: whose it is to this caller.
    whose: Option<Whose>,
    /// The raw id of the request.
    pub id: Bytes,
    answer_bytes: usize,
    event_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Level(LogLevel),
    Subscribe(Box<str>),
    Unsubscribe(Box<str>),
}

impl Wish {
    fn of(message: &Message, body: &[u8]) -> Option<Wish> {
        if message.kind != Kind::Request {
            return None;
        }
        let params = message.params.as_ref()?;
        if message.is(b"logging/setLevel", body) {
            return LogLevel::parse(&params.level?.text(body)?).map(Wish::Level);
        }
        let wish = if message.is(b"resources/subscribe", body) {
            Wish::Subscribe
        } else if message.is(b"resources/unsubscribe", body) {
            Wish::Unsubscribe
        } else {
            return None;
        };
        Some(wish(params.uri?.text(body)?.into()))
    }
}

impl Remembering {
    /// What is to be remembered of a message; `None` for nearly every one.
    pub fn of(way: &Way<'_>, message: &Message) -> Option<Remembering> {
        let node = way.node.as_ref()?;
        let body = &way.trip.exchange.body;
        let wish = Wish::of(message, body)?;
        let limits = &way.trip.snapshot.limits;
        let exchange = &way.trip.exchange;
        let whose = match (&wish, &exchange.catalog) {
            (Wish::Subscribe(uri), Some(catalog)) if exchange.callers.is_some() => {
                names::whose(&way.server, catalog, uri)
            }
            _ => None,
        };
        Some(Remembering {
            whose,
            sessions: Arc::clone(&way.gateway.world.sessions),
            node: Arc::clone(node),
            wish,
            id: Bytes::copy_from_slice(message.id?.span.of(body)),
            answer_bytes: limits.answer_bytes,
            event_bytes: limits.event_bytes,
        })
    }

    /// Waits until the backend is heard where its client listens, before it is asked for a subscription: what it says of the
    /// resource at once would otherwise come before the stream that it is said on. A backend that opens a stream only with its
    /// first event is not waited for longer than [`HEARD_WITHIN`], and once.
    pub async fn heard_first(&self, link: &Link) {
        let place = &link.backend.place;
        let has_stream = || link.backend.backend.facts().inventory.as_ref().is_none_or(|known| known.subscribes());
        if !matches!(self.wish, Wish::Subscribe(_)) || !has_stream() {
            return;
        }
        if timeout(HEARD_WITHIN, self.node.stream_settles(place)).await.is_err() {
            self.node.give_up_stream(place);
        }
    }

    /// Remembers it if this response agrees.
    pub async fn answered(&self, response: &[u8]) {
        if member(response, "result").is_none() {
            return;
        }
        let noted = match &self.wish {
            Wish::Level(level) => {
                self.sessions.set_log_level(&self.node, *level).await.map_err(|gone| format!("{gone:?}"))
            }
            Wish::Subscribe(uri) => {
                let noted = self.sessions.subscribe(&self.node, uri).await.map_err(|fault| format!("{fault:?}"));
                if let Some(whose) = &self.whose {
                    self.sessions.belongs(&self.node, uri, whose.clone());
                }
                noted
            }
            Wish::Unsubscribe(uri) => {
                self.sessions.unsubscribe(&self.node, uri).await.map_err(|gone| format!("{gone:?}"))
            }
        };
        // The backend has agreed already: what cannot be remembered here costs the session only if it must be opened again.
        if let Err(reason) = noted {
            tracing::debug!(reason, "a session's state could not be remembered");
        }
    }

    /// The messages of an answer.
    pub fn messages(&self, response: UpstreamResponse) -> Messages {
        Messages::of(response, self.answer_bytes, self.event_bytes)
    }

    /// Reads an answer that nobody gets: the call has run all the same.
    pub async fn unheard(self, mut messages: Messages, answering: Answering) {
        if let Ok(Some(response)) = answering.response(&mut messages, &self.id).await {
            self.answered(&response).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_filters::rpc::scan::{self, Limits};

    fn wish(body: &str) -> Option<Wish> {
        let scan = scan::scan(body.as_bytes(), &Limits { depth: 8, batch: 1 }).unwrap();
        Wish::of(&scan.messages[0], body.as_bytes())
    }

    #[test]
    fn levels_and_subscriptions_are_what_is_remembered() {
        let request = |method: &str, params: &str| {
            wish(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#))
        };
        assert_eq!(request("logging/setLevel", r#""level":"error""#), Some(Wish::Level(LogLevel::Error)));
        assert_eq!(request("resources/subscribe", r#""uri":"a\u0062""#), Some(Wish::Subscribe("ab".into())));
        assert_eq!(request("resources/unsubscribe", r#""uri":"a""#), Some(Wish::Unsubscribe("a".into())));
        assert_eq!(request("logging/setLevel", r#""level":"loud""#), None);
        assert_eq!(request("resources/subscribe", r#""uri":7"#), None);
        assert_eq!(request("tools/call", r#""uri":"a""#), None);
        let notification = r#"{"jsonrpc":"2.0","method":"resources/subscribe","params":{"uri":"a"}}"#;
        assert_eq!(wish(notification), None);
    }
}
