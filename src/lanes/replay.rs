//! What a client has set in its session, said again in a new session at a backend: its log level and its subscriptions;
//! and that its roots changed, if they did meanwhile.
//!
//! A backend that does not take one of them has opened the session all the same, so that costs nobody the session: the
//! operator reads it in the log, and the client is told to look at the lists again, since it may hear less than it thinks.

use super::revive::{Opener, speech};
use crate::session::{LogLevel, UpstreamSession};
use crate::snapshot::Link;
use crate::upstream::{Fetcher, Outcome};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a backend gets for one of them.
const EACH: Duration = Duration::from_secs(3);
/// How long it gets for all of them: what a request waits for longest, beside the handshake.
const ALL: Duration = Duration::from_secs(15);
/// How many are said at a time.
const AT_A_TIME: usize = 8;
/// How often it is looked again for what the client has set meanwhile.
const LOOKS: usize = 3;

/// What one new session of a backend has been told.
pub(super) struct Replay<'o> {
    opener: &'o Opener,
    link: &'o Link,
    fetcher: &'o Fetcher,
    upstream: &'o UpstreamSession,
    /// Whether the backend knows log levels.
    logs: bool,
    level: Option<LogLevel>,
    /// As the backend calls them.
    subscribed: BTreeSet<Box<str>>,
    /// How often the client had said that its roots changed when the session was begun.
    roots: u64,
}

/// Something to be said: method and parameters.
type Item = (&'static str, String);

impl<'o> Replay<'o> {
    /// Nothing has been told yet.
    pub fn new(
        opener: &'o Opener,
        link: &'o Link,
        fetcher: &'o Fetcher,
        upstream: &'o UpstreamSession,
        logs: bool,
        roots: u64,
    ) -> Replay<'o> {
        Replay { opener, link, fetcher, upstream, logs, level: None, subscribed: BTreeSet::new(), roots }
    }

    /// Tells what the client has set by now.
    pub async fn tell(&mut self) {
        let items = self.items();
        if !items.is_empty() {
            self.say(items).await;
        }
    }

    /// Tells what the client has set since: while the session was not known to be open, nobody else did.
    pub async fn catch_up(&mut self) {
        if self.opener.node.roots_changes() != self.roots {
            // The backend may have asked for them before they changed.
            let telling = self.fetcher.notify("notifications/roots/list_changed", "", speech(self.upstream));
            if !matches!(timeout(EACH, telling).await, Ok(Ok(()))) {
                tracing::debug!(backend = %self.link.name(), "a backend was not told that roots have changed");
            }
        }
        for _ in 0..LOOKS {
            let items = self.items();
            if items.is_empty() {
                return;
            }
            self.say(items).await;
        }
    }

    /// What the client has set and the backend has not been told; from here on it counts as told.
    fn items(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        let level = self.opener.node.log_level().filter(|_| self.logs);
        if level != self.level
            && let Some(level) = level
        {
            items.push(("logging/setLevel", format!(r#""level":"{}""#, level.as_str())));
        }
        self.level = level;
        let subscribed = subscriptions(self.opener, self.link);
        let uri = |uri: &str| format!(r#""uri":{}"#, json!(uri));
        items.extend(subscribed.difference(&self.subscribed).map(|new| ("resources/subscribe", uri(new))));
        items.extend(self.subscribed.difference(&subscribed).map(|old| ("resources/unsubscribe", uri(old))));
        self.subscribed = subscribed;
        items
    }

    async fn say(&self, items: Vec<Item>) {
        let all = items.len();
        let mut taken = 0;
        // What is under way when the time is over is dropped with the set.
        let _ = timeout(ALL, async {
            let mut left = items.into_iter();
            let mut saying = JoinSet::new();
            loop {
                while saying.len() < AT_A_TIME
                    && let Some(item) = left.next()
                {
                    saying.spawn(say(Arc::clone(self.link.name()), self.fetcher.clone(), self.upstream.clone(), item));
                }
                match saying.join_next().await {
                    Some(said) => taken += usize::from(said.unwrap_or(false)),
                    None => return,
                }
            }
        })
        .await;
        if taken < all {
            self.opener.node.missed_news();
            tracing::warn!(
                backend = %self.link.name(),
                session = %self.opener.node.id(),
                "{} of {all} settings of a session (log level, subscriptions) were not taken by the backend's new session",
                all - taken
            );
        }
    }
}

/// Says one of them; whether it was taken.
async fn say(backend: Arc<str>, fetcher: Fetcher, upstream: UpstreamSession, (method, params): Item) -> bool {
    match timeout(EACH, fetcher.call(method, &params, speech(&upstream))).await {
        Ok(Ok(reply)) if matches!(reply.outcome, Some(Outcome::Result(_))) => return true,
        Ok(Ok(reply)) => tracing::debug!(%backend, status = reply.status.as_u16(), "{method} was refused"),
        Ok(Err(fault)) => tracing::debug!(%backend, "{method} was not taken: {fault}"),
        Err(_) => tracing::debug!(%backend, "{method} was not taken in time"),
    }
    false
}

/// The resources of one backend that the client is subscribed to, as that backend calls them: those that may be seen today.
fn subscriptions(opener: &Opener, link: &Link) -> BTreeSet<Box<str>> {
    let Some(federation) = opener.server.policy.federation.as_ref() else {
        return opener.node.subscriptions().into_iter().collect();
    };
    let subscribed = opener.names.subscribed(&opener.server, &opener.node).into_iter();
    let own = |(_, member, original): (Box<str>, usize, Box<str>)| {
        let theirs = opener.server.links.get(member)?;
        let admitted = federation.policy.members.get(member)?.admits_uri(&original);
        (admitted && theirs.name() == link.name()).then_some(original)
    };
    subscribed.filter_map(own).collect()
}
