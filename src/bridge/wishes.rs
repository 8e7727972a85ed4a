//! What a client has set in its legacy session: its log level, and the resources whose updates it wants.
//!
//! A server that loses the session loses these with it, and the client, which is told of no loss, would not set them again.
//! So what the server has granted is remembered, and said again in the session that takes the place of the lost one.

use super::settings::Limits;
use bytes::Bytes;
use lockgate_filters::rpc::scan::Message;
use serde_json::json;
use std::collections::BTreeSet;

/// The longest name of a log level that is remembered, in bytes; those of MCP have nine at the most.
const LEVEL_BYTES_MAX: usize = 64;

/// One thing that a client asks its session for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// `logging/setLevel`.
    Level(Box<str>),
    /// `resources/subscribe`.
    Subscribe(Box<str>),
    /// `resources/unsubscribe`.
    Unsubscribe(Box<str>),
}

impl Wish {
    /// What a request asks for, if it is one of these.
    pub(super) fn of(message: &Message, body: &[u8]) -> Option<Wish> {
        let params = message.params.as_ref()?;
        let uri = || Some(params.uri?.text(body)?.into());
        if message.is(b"logging/setLevel", body) {
            Some(Wish::Level(params.level?.text(body)?.into()))
        } else if message.is(b"resources/subscribe", body) {
            uri().map(Wish::Subscribe)
        } else if message.is(b"resources/unsubscribe", body) {
            uri().map(Wish::Unsubscribe)
        } else {
            None
        }
    }

    /// The request that says it.
    pub(super) fn request(&self, id: &str) -> Bytes {
        let (method, params) = match self {
            Wish::Level(level) => ("logging/setLevel", json!({ "level": level })),
            Wish::Subscribe(uri) => ("resources/subscribe", json!({ "uri": uri })),
            Wish::Unsubscribe(uri) => ("resources/unsubscribe", json!({ "uri": uri })),
        };
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string().into()
    }
}

/// All that a session was asked for and has granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    level: Option<Box<str>>,
    subscribed: BTreeSet<Box<str>>,
    /// Of all URIs together.
    bytes: usize,
}

impl Wishes {
    /// The server has granted this. Subscriptions beyond [`Limits::subscriptions`] and [`Limits::subscription_bytes`] are
    /// the server's all the same, but are not remembered.
    pub(super) fn grant(&mut self, wish: &Wish, limits: &Limits) {
        match wish {
            Wish::Level(level) => self.level = Some(level.clone()).filter(|level| level.len() <= LEVEL_BYTES_MAX),
            Wish::Subscribe(uri) if self.subscribed.contains(uri) => {}
            Wish::Subscribe(uri) => {
                let bytes = self.bytes + uri.len();
                if self.subscribed.len() >= limits.subscriptions || bytes > limits.subscription_bytes {
                    tracing::warn!(
                        "the client subscribes to more than is remembered for when the server loses the session"
                    );
                    return;
                }
                self.bytes = bytes;
                self.subscribed.insert(uri.clone());
            }
            Wish::Unsubscribe(uri) => {
                if self.subscribed.remove(uri) {
                    self.bytes -= uri.len();
                }
            }
        }
    }

    /// What must be said in a session that grants `told` for it to grant this.
    pub(super) fn beyond(&self, told: &Wishes) -> Vec<Wish> {
        let level = self.level.iter().filter(|_| self.level != told.level).cloned().map(Wish::Level);
        let more = self.subscribed.difference(&told.subscribed).cloned().map(Wish::Subscribe);
        let less = told.subscribed.difference(&self.subscribed).cloned().map(Wish::Unsubscribe);
        level.chain(more).chain(less).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_filters::rpc::scan::scan;

    fn wish(body: &str) -> Option<Wish> {
        let found = scan(body.as_bytes(), &Limits::default().scan).unwrap();
        Wish::of(&found.messages[0], body.as_bytes())
    }

    #[test]
    fn what_is_wished_for_is_read_and_said_again() {
        let wishes = [
            Wish::Level("debug".into()),
            Wish::Subscribe("file:///\"ü\"".into()),
            Wish::Unsubscribe("file:///a".into()),
        ];
        for expected in wishes {
            let request = expected.request("x");
            assert_eq!(wish(std::str::from_utf8(&request).unwrap()), Some(expected));
        }
        for other in [
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":1}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel"}"#,
        ] {
            assert_eq!(wish(other), None, "{other}");
        }
    }

    #[test]
    fn only_so_much_is_remembered() {
        let limits = Limits { subscriptions: 2, subscription_bytes: 10, ..Limits::default() };
        let uris = |wishes: &Wishes| wishes.subscribed.iter().map(|uri| uri.to_string()).collect::<Vec<_>>();
        let mut wishes = Wishes::default();
        for uri in ["12345678901", "12345", "12345", "123456", "1234", "1"] {
            wishes.grant(&Wish::Subscribe(uri.into()), &limits);
        }
        assert_eq!(uris(&wishes), ["1234", "12345"]);
        for uri in ["12345", "12345", "none"] {
            wishes.grant(&Wish::Unsubscribe(uri.into()), &limits);
        }
        wishes.grant(&Wish::Subscribe("123456".into()), &limits);
        assert_eq!((uris(&wishes), wishes.bytes), (vec!["1234".to_owned(), "123456".to_owned()], 10));
        wishes.grant(&Wish::Level("x".repeat(LEVEL_BYTES_MAX + 1).into()), &limits);
        assert_eq!(wishes.level, None);
    }

    #[test]
    fn what_is_left_to_say_is_the_difference() {
        let limits = Limits::default();
        let mut wishes = Wishes::default();
        wishes.grant(&Wish::Level("info".into()), &limits);
        wishes.grant(&Wish::Subscribe("a".into()), &limits);
        assert_eq!(wishes.beyond(&Wishes::default()), [Wish::Level("info".into()), Wish::Subscribe("a".into())]);
        let told = wishes.clone();
        assert_eq!(wishes.beyond(&told), []);
        wishes.grant(&Wish::Unsubscribe("a".into()), &limits);
        wishes.grant(&Wish::Level("debug".into()), &limits);
        assert_eq!(wishes.beyond(&told), [Wish::Level("debug".into()), Wish::Unsubscribe("a".into())]);
    }
}
