//! `subscriptions/listen` of a virtual server over several backends (MCP 2026-07-28): the lists' changes are the gateway's
//! own news, updates of resources come from the backends that own them.
//!
//! A backend that was not heard for a while says nothing twice: what was subscribed to there is then said to have been
//! updated. A reload that puts other backends behind the virtual server ends the stream, in the form that its era has for
//! it: the client asks again, and is told anew what is honoured.

use super::super::names::Names;
use super::super::{Broken, Way, attempt, respond, stream};
use super::RULE;
use crate::downstream::gone;
use crate::lease::Lease;
use crate::session::Sessions;
use crate::snapshot::{Link, Server};
use crate::telemetry::labels;
use crate::upstream::{Form, UpstreamRequest};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use lockgate_filters::authorize::Item;
use lockgate_filters::authorize::filter::may_still_listen;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::Kind;
use lockgate_filters::federate::listen::{Subscription, Wanted};
use lockgate_filters::federate::outward;
use lockgate_filters::rpc::reply;
use lockgate_filters::rpc::scan::{self, Limits};
use lockgate_filters::splice::{Edit, Onward, edited};
use lockgate_filters::sse::{self, Framer};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::pin;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How many messages wait for a client that is slower than its backends.
const WAITING: usize = 16;
/// How long a backend is left alone whose stream ended; twice as long each time that it ends at once.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A stream that lived this long was no failure.
const LIVED: Duration = Duration::from_secs(10);
/// How long the client's stream lives: it asks again.
const HELD: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn run(mut way: Way<'_>, wanted: Wanted) -> Result<(), Broken> {
    if !way.trip.exchange.accepts.sse {
        return Err(Refusal::new(Fault::NotAcceptable, RULE)
            .saying("what is listened to comes as an event stream")
            .into());
    }
    let id = String::from_utf8_lossy(way.trip.request_id().unwrap_or_default()).into_owned();
    let mut reloads = way.gateway.world.reloads.subscribe();
    let news = way.gateway.world.catalogs.news_of(&way.server.policy, way.trip.exchange.audience());
    let mut changes = news.subscribe();
    let mut told = *changes.borrow_and_update();
    let (sender, mut updates) = mpsc::channel(WAITING);
    let mut reading = JoinSet::new();
    for member in wanted.members() {
        if let Some(listening) = Listening::of(&way, &wanted, member, &id, sender.clone()) {
            reading.spawn(listening.run());
        }
    }
    drop(sender);
    // Names are looked up as they come: what is listed now need not be kept for as long as this lasts.
    way.trip.exchange.catalog = None;
    let mut header = respond::header(way.trip, StatusCode::OK)?;
    header.insert_header(CONTENT_TYPE, "text/event-stream")?;
    stream::begin(&mut way, header).await?;
    let _open = way.server.metrics.stream(labels::StreamKind::Listen);
    let acknowledged = notification(
        "notifications/subscriptions/acknowledged",
        &id,
        &format!("\"notifications\":{},", wanted.acknowledged()),
    );
    way.session.write_response_body(Some(sse::write_event(None, &acknowledged)), false).await?;
    let end = Instant::now() + HELD;
    let patience = way.trip.snapshot.limits.keep_alive;
    let mut quiet = Instant::now() + patience;
    let lapsed = Lease::of(way.gateway, way.trip).lapsed();
    pin!(lapsed);
    // The request may have been decided by a configuration that has been replaced meanwhile.
    let mut reloaded = true;
    while still_serves(&way, &wanted) && (!reloaded || still_allows(&way, &wanted)) {
        reloaded = false;
        let said = tokio::select! {
            biased;
            changed = changes.changed() => {
                if changed.is_err() {
                    break;
                }
                let now = *changes.borrow_and_update();
                let news = now.since(told).filter(|kind| hears(&wanted, *kind));
                let event = |kind: Kind| sse::write_event(None, &notification(kind.list_changed(), &id, ""));
                let events: Vec<Bytes> = news.map(event).collect();
                told = now;
                events.concat().into()
            }
            Some(update) = updates.recv() => sse::write_event(None, &update),
            () = gone(way.session) => return Err(Broken::ClientGone),
            () = sleep_until(quiet) => stream::KEEP_ALIVE,
            changed = reloads.changed() => {
                if changed.is_err() {
                    break;
                }
                reloaded = true;
                continue;
            }
            () = sleep_until(end) => break,
            () = &mut lapsed => break,
            () = way.gateway.drain.draining() => break,
        };
        quiet = Instant::now() + patience;
        if !said.is_empty() {
            way.session.write_response_body(Some(said), false).await?;
        }
    }
    let result =
        format!("{{\"resultType\":\"complete\",\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id}}}}}");
    let last = reply::result_body(Some(id.as_bytes()), result.as_bytes());
    way.session.write_response_body(Some(sse::write_event(None, &last)), false).await?;
    way.session.write_response_body(None, true).await?;
    Ok(())
}

fn hears(wanted: &Wanted, kind: Kind) -> bool {
    match kind {
        Kind::Tools => wanted.tools,
        Kind::Prompts => wanted.prompts,
        Kind::Resources | Kind::Templates => wanted.resources,
    }
}

/// Whether the resources that are listened to are still those of the same backends.
fn still_serves(way: &Way<'_>, wanted: &Wanted) -> bool {
    let snapshot = way.gateway.current.load();
    let same = |server: &&Arc<Server>| server.policy.name == way.server.policy.name;
    let Some(server) = snapshot.servers.iter().find(same).filter(|server| server.policy.federation.is_some()) else {
        return false;
    };
    wanted.members().into_iter().all(|member| match (way.server.links.get(member), server.links.get(member)) {
        (Some(then), Some(now)) => Arc::ptr_eq(&then.backend.backend, &now.backend.backend),
        _ => false,
    })
}

/// Whether the policy that serves now still lets the caller listen to these resources.
fn still_allows(way: &Way<'_>, wanted: &Wanted) -> bool {
    let snapshot = way.gateway.current.load();
    let Some(policy) = &snapshot.policy else { return true };
    let headers = &way.session.req_header().headers;
    wanted.subscriptions.iter().all(|it| {
        let backend = way.server.links.get(it.member).map_or("", |link| link.name());
        let (original, exposed) = (&*it.original, &*it.exposed);
        let item = Item { kind: Kind::Resources, backend, original, exposed, json: b"" };
        may_still_listen(policy, &way.server.policy.name, &way.trip.exchange, headers, item)
    })
}

/// A notification on the stream that answers the request with this raw id; `params` end in a comma.
fn notification(method: &str, id: &str, params: &str) -> Bytes {
    let message = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{{{params}\
         \"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id}}}}}}}"
    );
    message.into()
}

/// What is needed to listen to one backend.
struct Listening {
    link: Arc<Link>,
    request: UpstreamRequest,
    /// Whose names of resources clients know.
    server: Arc<Server>,
    member: usize,
    names: Names,
    /// What was subscribed to.
    subscribed: Vec<Subscription>,
    /// That each of the resources was updated.
    all: Vec<Bytes>,
    sessions: Arc<Sessions>,
    event_bytes: usize,
    updates: mpsc::Sender<Bytes>,
}

/// How a backend's stream ended.
enum Ended {
    /// It may be opened again.
    Again,
    /// The backend does not let itself be listened to.
    Refused,
    /// Nobody hears it any more.
    Over,
}

impl Listening {
    /// The client's own request, asking for what this member has.
    fn of(way: &Way<'_>, wanted: &Wanted, member: usize, id: &str, updates: mpsc::Sender<Bytes>) -> Option<Listening> {
        let exchange = &way.trip.exchange;
        let message = exchange.scan.messages.first()?;
        let link = Arc::clone(way.server.links.get(member)?);
        let span = message.params.as_ref()?.notifications?.span;
        let edit = Edit { span, with: wanted.of_member(member).into() };
        let body = edited(&exchange.body, message.span, &[edit]);
        let headers = &way.session.req_header().headers;
        let request = attempt::post(&link, headers, exchange, message, body, Onward::default());
        let subscribed: Vec<_> = wanted.subscriptions.iter().filter(|it| it.member == member).cloned().collect();
        let updated =
            |uri: &str| notification("notifications/resources/updated", id, &format!("\"uri\":{},", json!(uri)));
        let all = subscribed.iter().map(|it| updated(&it.exposed)).collect();
        let names = Names::of(way);
        let sessions = Arc::clone(&way.gateway.world.sessions);
        let event_bytes = way.trip.snapshot.limits.event_bytes;
        let server = Arc::clone(&way.server);
        Some(Listening { server, member, link, request, names, subscribed, all, sessions, event_bytes, updates })
    }

    /// Listens until nobody hears it any more, or the backend refuses.
    async fn run(self) {
        let mut wait = BACKOFF.0;
        let mut was_open = false;
        loop {
            let since = Instant::now();
            match self.once(&mut was_open).await {
                Ended::Over | Ended::Refused => return,
                Ended::Again if since.elapsed() >= LIVED => wait = BACKOFF.0,
                Ended::Again => {}
            }
            tokio::select! {
                () = self.updates.closed() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    async fn once(&self, was_open: &mut bool) -> Ended {
        let Ok(mut response) = attempt::ask(Arc::clone(&self.link), self.request.clone(), true).await else {
            return Ended::Again;
        };
        let status = response.status;
        if status != StatusCode::OK || response.form() != Form::EventStream {
            let for_now = status.is_server_error()
                || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS);
            if for_now {
                return Ended::Again;
            }
            let backend = self.link.name();
            tracing::warn!(%backend, status = status.as_u16(), "a backend does not tell when its resources change");
            return Ended::Refused;
        }
        if std::mem::replace(was_open, true) {
            self.sessions.replay_budget().gap();
            for updated in &self.all {
                if self.updates.send(updated.clone()).await.is_err() {
                    return Ended::Over;
                }
            }
        }
        let mut framer = Framer::keeping(self.event_bytes);
        while let Ok(Some(chunk)) = response.chunk().await {
            if framer.feed(&chunk).is_err() {
                return Ended::Again;
            }
            while let Some(frame) = framer.next_frame() {
                if let Some(update) = self.update(frame.data)
                    && self.updates.send(update).await.is_err()
                {
                    return Ended::Over;
                }
            }
        }
        Ended::Again
    }

    /// What the client hears of a message: only updates of resources were asked for.
    fn update(&self, data: Bytes) -> Option<Bytes> {
        let message = scan::scan_envelope(&data, &Limits { depth: scan::MAX_DEPTH, batch: 1 }).ok()?;
        let original = outward::updated(&message, &data)?;
        // Under the name that it was subscribed to, whatever is listed by now.
        if let Some(own) = self.subscribed.iter().find(|own| *own.original == *original) {
            return Some(outward::updated_as(&message, &data, &own.exposed).unwrap_or(data.clone()));
        }
        let uris = self.names.catalog(&self.server)?.uris(self.member);
        Some(outward::notification(&message, &data, &uris).unwrap_or(data))
    }
}
