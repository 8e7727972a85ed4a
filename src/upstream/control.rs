//! The gateway's own session at a legacy backend: in it the backend's lists are read, and on its stream the backend says
//! that they changed.

use super::announced::Attention;
use super::events::Events;
use super::fault::AttemptFault;
use super::fetch::{Fetcher, LEGACY, Outcome, SESSION_ID, Speech, client_info};
use super::gate::{Backoff, jittered};
use super::inventory::Wait;
use super::response::Form;
use super::watch::Watched;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use lockgate_filters::revision::{Era, Revision};
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::scan::{Kind as MessageKind, Limits, MAX_DEPTH, scan_envelope};
use std::future::pending;
use std::time::Duration;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, timeout};

/// The first and the longest time between two streams of one session.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A stream that lived this long was no failure.
const LIVED: Duration = Duration::from_secs(60);
/// How long it is listened whether a command changes its lists right after the handshake.
const LINGER: Duration = Duration::from_secs(1);
/// How long it may take to end the session.
const LEAVE_TIME: Duration = Duration::from_millis(800);
/// The lists whose changes are heard of.
const LISTS: [&str; 3] = ["tools", "prompts", "resources"];

/// What is declared in it: all that a client may be able to do. Some backends list certain tools only to clients that can
/// be asked; which of them a client can use shows when it calls them.
const CAPABILITIES: &str = r#"{"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{},"url":{}}}"#;

/// A session at a legacy backend, where one is open.
#[derive(Default)]
pub(super) struct Control {
    session: Option<Open>,
    backoff: Option<Backoff>,
    /// Of a command: how often changes had been announced to the gateway itself when the session was opened, and whether
    /// that has caused another look.
    announced: u64,
    followed: bool,
    attention: Attention,
}

struct Open {
    id: Option<HeaderValue>,
    revision: Revision,
    /// The result of `initialize`.
    described: Bytes,
    /// Whether it may have a stream on which changes are announced.
    announces: bool,
    stream: Option<(Events, Instant)>,
}

impl Control {
    /// Whether the session is open.
    pub(super) fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// Whether changes of the lists are announced in it.
    pub(super) fn is_heard(&self) -> bool {
        self.session.as_ref().is_some_and(|open| open.announces)
    }

    /// Opens the session if it is not open, and says what the backend said of itself.
    pub(super) async fn enter(&mut self, fetcher: &Fetcher) -> Result<Bytes, AttemptFault> {
        if let Some(open) = &self.session {
            return Ok(open.described.clone());
        }
        self.followed = false;
        self.announced = fetcher.reach.command().map_or(0, |command| command.announced.own());
        let params =
            format!(r#""protocolVersion":"{LEGACY}","capabilities":{CAPABILITIES},"clientInfo":{}"#, client_info());
        let reply = fetcher.call("initialize", &params, Speech::Legacy { session: None, revision: None }).await?;
        let id = reply.headers.get(SESSION_ID).cloned();
        let Some(Outcome::Result(described)) = reply.outcome.filter(|_| reply.status.is_success()) else {
            end(id.as_ref(), None, fetcher).await;
            return Err(AttemptFault::protocol("it opens no session"));
        };
        let revision = member(&described, "protocolVersion")
            .and_then(|value| value.text(&described))
            .and_then(|text| Revision::parse(text.as_bytes()))
            .filter(|revision| revision.era() == Era::Legacy);
        let Some(revision) = revision else {
            end(id.as_ref(), None, fetcher).await;
            return Err(AttemptFault::protocol("it negotiated a protocol revision that the gateway does not speak"));
        };
        let announces = announces(&described);
        let open = Open { id, revision, described: described.clone(), announces, stream: None };
        // Known before anything else is said in it, so that it is ended whatever happens.
        let open = self.session.insert(open);
        if let Err(fault) = fetcher.notify("notifications/initialized", "", open.speech()).await {
            self.leave(fetcher).await;
            return Err(fault);
        }
        Ok(described)
    }

    /// How to speak in the session.
    pub(super) fn speech(&self) -> Speech<'_> {
        match &self.session {
            Some(open) => open.speech(),
            None => Speech::Legacy { session: None, revision: None },
        }
    }

    /// Ends the session, if one is open; within [`LEAVE_TIME`].
    pub(super) async fn leave(&mut self, fetcher: &Fetcher) {
        let Some(open) = self.session.take() else { return };
        end(open.id.as_ref(), Some(open.revision), fetcher).await;
    }

    /// Waits until the lists should be looked at again: somebody asks, the backend says that they changed, traffic shows
    /// that it is gone or back (`flipped`), or the time is over.
    pub(super) async fn rest(&mut self, watched: &Watched, fetcher: &Fetcher, wait: Wait, flipped: Notified<'_>) {
        let command = watched.traffic.command();
        if let Some(command) = command
            && self.is_heard()
            && !std::mem::replace(&mut self.followed, true)
            && timeout(LINGER, command.announced.own_after(self.announced)).await.is_ok()
        {
            // The lists were read while they still changed. In the same process, so that this has an end.
            return;
        }
        if command.is_some() || !self.is_heard() {
            // Nothing will be heard in it.
            self.leave(fetcher).await;
        }
        tokio::select! {
            () = watched.stock.gate.wanted() => {}
            () = wait.over(watched) => {}
            () = flipped => {}
            () = self.hear(watched, fetcher) => {}
        }
    }

    /// A look begins.
    pub(super) fn looks(&mut self, watched: &Watched) {
        if let Some(command) = watched.traffic.command() {
            self.attention.looks(&command.announced);
        }
    }

    /// The look has ended, and brought something new or not.
    pub(super) fn looked(&mut self, news: bool) {
        self.attention.looked(news);
    }

    /// Waits until the backend says that a list changed, or might have said so unheard. For ever where there is nothing to
    /// listen to.
    async fn hear(&mut self, watched: &Watched, fetcher: &Fetcher) {
        if let Some(command) = watched.traffic.command() {
            return self.attention.due(&command.announced).await;
        }
        let backoff = self.backoff.get_or_insert_with(|| Backoff::new(BACKOFF.0, BACKOFF.1));
        let Some(open) = self.session.as_mut().filter(|open| open.announces) else { return pending().await };
        if open.stream.is_none() {
            match open.listen(fetcher).await {
                Ok(Listened::To(events)) => open.stream = Some((*events, Instant::now())),
                Ok(Listened::Refused) => {
                    open.announces = false;
                    return pending().await;
                }
                Ok(Listened::Lost) | Err(_) => {
                    tokio::time::sleep(backoff.fail()).await;
                    self.session = None;
                    return;
                }
            }
        }
        let Some((events, since)) = &mut open.stream else { return };
        while let Ok(Some(data)) = events.next().await {
            match meaning(&data) {
                Meaning::Changed => return watched.stock.changed(&watched.backend),
                Meaning::Asks(answer) => {
                    let speech = Speech::Legacy { session: open.id.as_ref(), revision: Some(open.revision) };
                    if let Err(fault) = fetcher.respond(answer, speech).await {
                        tracing::debug!(%fault, "a backend's request to the gateway could not be answered");
                    }
                }
                Meaning::Nothing => {}
            }
        }
        if since.elapsed() >= LIVED {
            backoff.reset();
        }
        let wait = jittered(backoff.fail());
        open.stream = None;
        tokio::time::sleep(wait).await;
    }
}

/// Ends a session that has an id; within [`LEAVE_TIME`].
async fn end(id: Option<&HeaderValue>, revision: Option<Revision>, fetcher: &Fetcher) {
    let Some(id) = id else { return };
    match timeout(LEAVE_TIME, fetcher.end_session(id, revision)).await {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => tracing::debug!(%fault, "the gateway's own session could not be ended"),
        Err(_) => tracing::debug!("the gateway's own session could not be ended in time"),
    }
}

impl Open {
    fn speech(&self) -> Speech<'_> {
        Speech::Legacy { session: self.id.as_ref(), revision: Some(self.revision) }
    }

    async fn listen(&self, fetcher: &Fetcher) -> Result<Listened, AttemptFault> {
        let response = fetcher.stream(self.speech(), None).await?;
        Ok(match response.status {
            StatusCode::NOT_FOUND if self.id.is_some() => Listened::Lost,
            status if status.is_server_error() => Listened::Lost,
            StatusCode::OK if response.form() == Form::EventStream => {
                Listened::To(Box::new(Events::new(response, usize::MAX, fetcher.sse_event)))
            }
            _ => Listened::Refused,
        })
    }
}

enum Listened {
    To(Box<Events>),
    Refused,
    Lost,
}

enum Meaning {
    Changed,
    Asks(Bytes),
    Nothing,
}

/// What an event on the gateway's own stream means. Nobody stands behind it who could answer more than a `ping`.
fn meaning(data: &[u8]) -> Meaning {
    let Ok(message) = scan_envelope(data, &Limits { depth: MAX_DEPTH, batch: 1 }) else { return Meaning::Nothing };
    let Some(method) = message.method.and_then(|method| method.text(data)) else { return Meaning::Nothing };
    match (message.kind, message.id) {
        (MessageKind::Notification, _) if method.starts_with("notifications/") && method.ends_with("/list_changed") => {
            Meaning::Changed
        }
        (MessageKind::Request, Some(id)) => {
            let id = String::from_utf8_lossy(id.span.of(data));
            let answer = if method == "ping" {
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
            } else {
                format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"Method not found"}}}}"#)
            };
            Meaning::Asks(answer.into())
        }
        _ => Meaning::Nothing,
    }
}

/// Whether a backend announces changes of any of its lists.
fn announces(described: &[u8]) -> bool {
    let Some(capabilities) = member(described, "capabilities").map(|value| value.span.of(described)) else {
        return false;
    };
    LISTS.iter().any(|list| {
        let declared = member(capabilities, list).map(|value| value.span.of(capabilities)).unwrap_or_default();
        member(declared, "listChanged").is_some_and(|value| value.span.of(declared) == b"true")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_are_what_is_declared() {
        assert!(announces(br#"{"capabilities":{"prompts":{},"tools":{"listChanged":true}}}"#));
        assert!(!announces(br#"{"capabilities":{"tools":{"listChanged":false},"logging":{"listChanged":true}}}"#));
        assert!(!announces(b"{}"));
    }

    #[test]
    fn what_is_said_on_the_gateways_own_stream_is_understood() {
        let changed = br#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#;
        assert!(matches!(meaning(changed), Meaning::Changed));
        let ping = br#"{"jsonrpc":"2.0","id":"a\"b","method":"ping"}"#;
        let Meaning::Asks(answer) = meaning(ping) else { panic!("an answer") };
        assert_eq!(answer, &br#"{"jsonrpc":"2.0","id":"a\"b","result":{}}"#[..]);
        let other = br#"{"jsonrpc":"2.0","id":7,"method":"roots/list"}"#;
        assert!(
            matches!(meaning(other), Meaning::Asks(answer) if answer.starts_with(b"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\""))
        );
        for nothing in [&b"{}"[..], b"", br#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#] {
            assert!(matches!(meaning(nothing), Meaning::Nothing));
        }
    }
}
