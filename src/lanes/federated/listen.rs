//! `subscriptions/listen` of a virtual server over several backends (MCP 2026-07-28): the lists' changes are the gateway's
//! own news, updates of resources come from the backends that own them.

use super::super::translate::{Becomes, Owes, Translate};
use super::super::{Broken, Way, attempt, respond, stream};
use super::RULE;
use crate::downstream::gone;
use crate::snapshot::Link;
use crate::telemetry::labels;
use crate::upstream::{Form, UpstreamRequest};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::Kind;
use lockgate_filters::federate::listen::Wanted;
use lockgate_filters::rpc::reply;
use lockgate_filters::rpc::scan::{self, Limits};
use lockgate_filters::splice::{Edit, Onward, edited};
use lockgate_filters::sse::{self, Framer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How many messages wait for a client that is slower than its backends.
const WAITING: usize = 16;
/// How long a backend is left alone whose stream ended; twice as long each time that it ends at once.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A stream that lived this long was no failure.
const LIVED: Duration = Duration::from_secs(10);

pub(super) async fn run(mut way: Way<'_>, wanted: Wanted) -> Result<(), Broken> {
    if !way.trip.exchange.accepts.sse {
        return Err(Refusal::new(Fault::NotAcceptable, RULE)
            .saying("what is listened to comes as an event stream")
            .into());
    }
    let id = String::from_utf8_lossy(way.trip.request_id().unwrap_or_default()).into_owned();
    let news = way.gateway.world.catalogs.news(&way.server.policy.name);
    let mut changes = news.subscribe();
    let mut told = *changes.borrow_and_update();
    let (sender, mut updates) = mpsc::channel(WAITING);
    let mut reading = JoinSet::new();
    for member in wanted.members() {
        if let Some(listening) = Listening::of(&way, &wanted, member, sender.clone()) {
            reading.spawn(listening.run());
        }
    }
    drop(sender);
    let mut header = respond::header(way.trip, StatusCode::OK)?;
    header.insert_header(CONTENT_TYPE, "text/event-stream")?;
    stream::begin(&mut way, header).await?;
    let _open = way.server.metrics.stream(labels::StreamKind::Listen);
    let acknowledged = notification(
        "notifications/subscriptions/acknowledged",
        &id,
        &format!("\"notifications\":{},", wanted.acknowledged()),
    );
    way.session.write_response_body(Some(acknowledged), false).await?;
    let patience = way.trip.snapshot.limits.keep_alive;
    let mut quiet = Instant::now() + patience;
    loop {
        let said = tokio::select! {
            biased;
            changed = changes.changed() => {
                if changed.is_err() {
                    break;
                }
                let now = *changes.borrow_and_update();
                let news = now.since(told).filter(|kind| hears(&wanted, *kind));
                let events: Vec<Bytes> = news.map(|kind| notification(kind.list_changed(), &id, "")).collect();
                told = now;
                events.concat().into()
            }
            Some(update) = updates.recv() => sse::write_event(None, &update),
            () = gone(way.session) => return Err(Broken::ClientGone),
            () = sleep_until(quiet) => stream::KEEP_ALIVE,
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

/// A notification on the stream that answers the request with this raw id; `params` end in a comma.
fn notification(method: &str, id: &str, params: &str) -> Bytes {
    let message = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{{{params}\
         \"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id}}}}}}}"
    );
    sse::write_event(None, message.as_bytes())
}

/// What is needed to listen to one backend.
struct Listening {
    link: Arc<Link>,
    request: UpstreamRequest,
    translate: Arc<Translate>,
    event_bytes: usize,
    updates: mpsc::Sender<Bytes>,
}

impl Listening {
    /// The client's own request, asking for what this member has.
    fn of(way: &Way<'_>, wanted: &Wanted, member: usize, updates: mpsc::Sender<Bytes>) -> Option<Listening> {
        let exchange = &way.trip.exchange;
        let message = exchange.scan.messages.first()?;
        let link = Arc::clone(way.server.links.get(member)?);
        let span = message.params.as_ref()?.notifications?.span;
        let edit = Edit { span, with: wanted.of_member(member).into() };
        let body = edited(&exchange.body, message.span, &[edit]);
        let headers = &way.session.req_header().headers;
        let request = attempt::post(&link, headers, exchange, message, body, Onward::default());
        let translate = Translate::of(way, member, "", Owes::Nothing)?;
        Some(Listening { link, request, translate, event_bytes: way.trip.snapshot.limits.event_bytes, updates })
    }

    /// Listens until nobody hears it any more.
    async fn run(self) {
        let mut wait = BACKOFF.0;
        while !self.updates.is_closed() {
            let since = Instant::now();
            self.once().await;
            if since.elapsed() >= LIVED {
                wait = BACKOFF.0;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    async fn once(&self) {
        let Ok(mut response) = attempt::ask(Arc::clone(&self.link), self.request.clone(), true).await else { return };
        if response.status != StatusCode::OK || response.form() != Form::EventStream {
            tracing::debug!(backend = %self.link.name(), status = response.status.as_u16(), "it cannot be listened to");
            return;
        }
        let mut framer = Framer::keeping(self.event_bytes);
        while let Ok(Some(chunk)) = response.chunk().await {
            if framer.feed(&chunk).is_err() {
                return;
            }
            while let Some(frame) = framer.next_frame() {
                if let Some(update) = self.update(frame.data)
                    && self.updates.send(update).await.is_err()
                {
                    return;
                }
            }
        }
    }

    /// What the client hears of a message: only updates of resources were asked for.
    fn update(&self, data: Bytes) -> Option<Bytes> {
        let message = scan::scan_envelope(&data, &Limits { depth: scan::MAX_DEPTH, batch: 1 }).ok()?;
        if !message.is(b"notifications/resources/updated", &data) {
            return None;
        }
        match self.translate.message(&data) {
            Becomes::Same => Some(data),
            Becomes::Other(other) => Some(other),
            Becomes::Nothing => None,
        }
    }
}
