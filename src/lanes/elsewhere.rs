//! Requests about what another process of the gateway holds: a question that waits for its answer there, a stream, a call
//! that runs, a session that it remembers. They are handed over as they came, and carried out there.
//!
//! A request is handed over once. One that has come from another process is carried out here, whatever it is about.

use super::{Broken, Way, forward, relay, respond, stream};
use crate::cluster::{Aim, Arriving, Boot, Cluster, Process, Reached, Refused, Seat, Unreached};
use crate::downstream::gone;
use crate::listen::Connection;
use crate::listen::within::InnerStream;
use crate::telemetry::Metrics;
use crate::telemetry::labels::{NodeOutcome, NodeRequest, StreamKind};
use crate::trip::head;
use crate::upstream::connector::Connector;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::{
    AttemptFault, Caller, Dial, EndpointSettings, Form, PoolSettings, SettingsError, Timeouts, UpstreamRequest,
    UpstreamResponse, Verb,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::event_id::{EventId, Stream};
use lockgate_filters::federate::question::Question;
use lockgate_filters::headers::LAST_EVENT_ID;
use lockgate_filters::splice::{Nominated, Outbound, Replay, edited};
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

const RULE: &str = "elsewhere";

/// How long another node may take to answer. Whoever carries a request out has limits of its own, and a machine that is gone
/// is noticed by its connection.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    first_byte: Duration::from_secs(86_400),
    idle_stream: Duration::from_secs(86_400),
    total: Duration::from_secs(30 * 86_400),
};

/// How long nodes get to take note of what all are told.
const TOLD: Duration = Duration::from_secs(2);

/// Fields of the client's request that the other node gets in a form of its own.
const LEFT: [HeaderName; 12] = [
    header::HOST,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
];

/// Others that have no constant.
const LEFT_TOO: [&str; 2] = ["keep-alive", "proxy-connection"];

/// Has a client's answer taken where the question waits; `false` where that is here, or nobody else is there to ask.
pub(super) async fn answer(way: &mut Way<'_>, question: &Question) -> Result<bool, Broken> {
    let body = way.trip.exchange.body.clone();
    let Some(parcel) = Parcel::of_answer(way, question, body) else { return Ok(false) };
    match parcel.hand_over().await {
        Ok(taken) => relay(way, taken, false).await.map(|()| true),
        Err(why) => Err(unanswered(question, &why).into()),
    }
}

/// As [`answer`], for one message of several. What comes of it is nothing but perhaps a refusal.
pub(super) async fn answer_of_batch(way: &Way<'_>, index: usize, question: &Question) -> Option<Result<(), Refusal>> {
    let body = message(way, index)?;
    let parcel = Parcel::of_answer(way, question, body)?;
    Some(match parcel.hand_over().await {
        Ok(taken) if taken.response.status.is_success() => Ok(()),
        Ok(_) => Err(forward::no_longer_asked(&question.backend)),
        Err(why) => Err(unanswered(question, &why)),
    })
}

/// Has a stream gone on with where it is held; `false` where that is here, or it cannot be had there.
pub(super) async fn resume(way: &mut Way<'_>) -> Result<bool, Broken> {
    let Some(id) = last_event(way).filter(|id| id.boot != way.gateway.boot) else { return Ok(false) };
    let news = id.stream == Stream::News;
    let aim = Aim::Boot(Boot(id.boot));
    let Some(mut parcel) = Parcel::of(way, NodeRequest::Stream, aim, Bytes::new()) else { return Ok(false) };
    parcel.arriving.news = news;
    match parcel.hand_over().await {
        Ok(taken) if taken.response.status.is_server_error() => {
            let status = taken.response.status.as_u16();
            tracing::warn!(id = %way.trip.correlation, status, "a stream is not gone on with at its node");
            Ok(false)
        }
        Ok(taken) => relay(way, taken, news).await.map(|()| true),
        // Said in the log. What can be gone on with from here is.
        Err(_) => Ok(false),
    }
}

/// Tells all other nodes what this message says, and waits for none.
pub(super) fn tell(way: &Way<'_>, kind: NodeRequest, index: usize) {
    if let Some(parcel) = message(way, index).and_then(|body| Parcel::of(way, kind, Aim::Anyone, body)) {
        tokio::spawn(parcel.tell_all());
    }
}

/// Tells all other nodes what this request says; done when they have taken note, or had their time.
pub(super) fn told(way: &Way<'_>, kind: NodeRequest) -> impl Future<Output = ()> + use<> {
    let parcel = Parcel::of(way, kind, Aim::Anyone, way.trip.exchange.body.clone());
    async move {
        if let Some(parcel) = parcel {
            parcel.tell_all().await;
        }
    }
}

/// One message of the request's body.
fn message(way: &Way<'_>, index: usize) -> Option<Bytes> {
    let exchange = &way.trip.exchange;
    Some(edited(&exchange.body, exchange.scan.messages.get(index)?.span, &[]))
}

/// The event of this session that the client has last, where it is one of ours.
fn last_event(way: &Way<'_>) -> Option<EventId> {
    let ticket = way.trip.exchange.ticket.as_ref()?;
    let last = way.session.req_header().headers.get(LAST_EVENT_ID)?.to_str().ok()?;
    let id = EventId::open(&way.server.keys, &way.server.policy.name, last)?;
    (id.session == ticket.id).then_some(id)
}

fn unanswered(question: &Question, why: &Undone) -> Refusal {
    if matches!(why, Undone::Unreached(Unreached::Full)) {
        return Refusal::new(Fault::Overloaded, RULE);
    }
    let text = format!("the gateway node that asked this ({}) cannot be reached", question.node);
    Refusal::new(Fault::PeerUnreachable, RULE).saying(text)
}

/// A request as it is handed over.
#[derive(Clone)]
struct Parcel {
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    kind: NodeRequest,
    arriving: Arriving,
    url: Url,
    request: UpstreamRequest,
    answer_bytes: usize,
}

/// What another node answers.
struct Taken {
    response: UpstreamResponse,
    /// Counts it as under way.
    _seat: Seat,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error("{0}")]
    Unreached(Unreached),
    #[error("the node that took it: {0}")]
    Broken(#[from] AttemptFault),
    #[error(transparent)]
    Unfit(#[from] SettingsError),
}

impl Undone {
    fn outcome(&self) -> NodeOutcome {
        match self {
            Undone::Unreached(Unreached::Unknown) => NodeOutcome::Unknown,
            Undone::Unreached(Unreached::Refused(_)) => NodeOutcome::Refused,
            Undone::Unreached(Unreached::Full) => NodeOutcome::Full,
            Undone::Unreached(Unreached::Broken(..)) | Undone::Broken(_) | Undone::Unfit(_) => NodeOutcome::Unreachable,
        }
    }
}

impl Parcel {
    /// The client's request with this body; `None` where there is nobody else, or it has been handed over already.
    fn of(way: &Way<'_>, kind: NodeRequest, aim: Aim, body: Bytes) -> Option<Parcel> {
        let cluster = &way.gateway.world.cluster;
        let connection = Connection::of(way.session)?;
        if cluster.is_alone() || connection.forwarded().is_some() {
            return None;
        }
        let request = way.session.req_header();
        let verb = match request.method {
            Method::GET => Verb::Get,
            Method::DELETE => Verb::Delete,
            _ => Verb::Post,
        };
        let at = head(way.session);
        let host = at.authority.or_else(|| at.headers.get(header::HOST)?.to_str().ok())?;
        let target = request.uri.path_and_query()?;
        Some(Parcel {
            cluster: Arc::clone(cluster),
            metrics: Arc::clone(&way.gateway.world.metrics),
            kind,
            arriving: Arriving {
                aim,
                listener: connection.listener().into(),
                peer: connection.peer(),
                client: connection.client(),
                correlation: way.trip.correlation.as_str().into(),
                news: false,
            },
            url: Url::parse(&format!("http://{host}{target}")).ok()?,
            request: UpstreamRequest {
                verb,
                fields: carried(&request.headers),
                body,
                replay: Replay::IfNotRun,
                caller: Caller::default(),
            },
            answer_bytes: way.trip.snapshot.limits.answer_bytes,
        })
    }

    /// An answer to a question that another node has put.
    fn of_answer(way: &Way<'_>, question: &Question, body: Bytes) -> Option<Parcel> {
        let process = Process { node: question.node, boot: Boot(question.boot) };
        // What another process of this node has asked, this one has taken over, with all that the node knows.
        if process.node == way.gateway.node {
            return None;
        }
        Parcel::of(way, NodeRequest::Answer, Aim::Process(process), body)
    }

    /// Hands it to the process that it is for.
    async fn hand_over(&self) -> Result<Taken, Undone> {
        let reached = self.cluster.reach(&self.arriving).await.map_err(Undone::Unreached);
        let taken = match reached {
            Ok(reached) => self.send(reached).await,
            Err(why) => Err(why),
        };
        self.note(taken.as_ref().err());
        taken
    }

    /// Tells it to all other nodes.
    async fn tell_all(self) {
        let mut telling = JoinSet::new();
        for place in self.cluster.others() {
            let parcel = self.clone();
            telling.spawn(async move { parcel.tell(place).await });
        }
        while telling.join_next().await.is_some() {}
    }

    /// Tells it to the node at this address, and hears what comes of it.
    async fn tell(&self, place: SocketAddr) {
        let told = timeout(TOLD, async {
            match self.cluster.reach_at(place, &self.arriving).await {
                Ok(reached) => self.send(reached).await.map(drop),
                Err(why) => Err(Undone::Unreached(why)),
            }
        });
        let late = |_| Err(Undone::Unreached(Unreached::Broken(place, io::ErrorKind::TimedOut.into())));
        match told.await.unwrap_or_else(late) {
            Err(Undone::Unreached(Unreached::Refused(Refused::Myself))) => {}
            Err(Undone::Unreached(Unreached::Broken(..))) if !self.cluster.was_taken(place) => {
                self.metrics.node_request(self.kind, NodeOutcome::Unknown);
            }
            told => self.note(told.err().as_ref()),
        }
    }

    /// Sends it on a connection to a process that takes it.
    async fn send(&self, reached: Reached) -> Result<Taken, Undone> {
        let Reached { stream, seat, .. } = reached;
        let once = Mutex::new(Some(stream));
        let dial = Dial::by(move || {
            let stream = once.lock().take().ok_or(io::ErrorKind::NotConnected)?;
            Ok(Box::new(InnerStream::outward(stream)))
        });
        let settings = EndpointSettings { forwards_user_agent: true, ..EndpointSettings::new(self.url.clone()) };
        // Each connection is for one request.
        let pool = PoolSettings { idle_connections: 0, ..PoolSettings::default() };
        let connector = Connector::new();
        let endpoint = Arc::new(Endpoint::within(&settings, pool, &connector, dial)?);
        let response = connector.send(&endpoint, &self.request, &TIMEOUTS, self.answer_bytes).await?;
        Ok(Taken { response, _seat: seat })
    }

    /// Counts what came of it; what did not succeed is in the log.
    fn note(&self, undone: Option<&Undone>) {
        let Some(why) = undone else { return self.metrics.node_request(self.kind, NodeOutcome::Ok) };
        self.metrics.node_request(self.kind, why.outcome());
        if (self.kind, why.outcome()) == (NodeRequest::Stream, NodeOutcome::Unknown) {
            // Every client of a node that is gone comes with such a stream, which then goes on elsewhere.
            tracing::debug!(id = &*self.arriving.correlation, "a stream's process is gone");
            return;
        }
        tracing::warn!(
            id = &*self.arriving.correlation,
            kind = self.kind.label(),
            "a request for another node was not carried out: {why}"
        );
    }
}

/// The fields that go along: all that the other node's filters and lanes would see of the client, had it come there.
fn carried(client: &HeaderMap) -> Outbound {
    let nominated = Nominated::of(client);
    let mut fields = Outbound::new();
    for (name, value) in client {
        if !LEFT.contains(name) && !LEFT_TOO.contains(&name.as_str()) && !nominated.names(name) {
            fields.add(name.clone(), value.clone());
        }
    }
    fields
}

/// Brings another node's answer to the client: what it says, as it says it.
async fn relay(way: &mut Way<'_>, taken: Taken, news: bool) -> Result<(), Broken> {
    let Taken { mut response, _seat } = taken;
    let header = relay::header(way, &response)?;
    if response.form() != Form::EventStream {
        let most = way.trip.snapshot.limits.answer_bytes;
        let body = tokio::select! {
            body = response.collect(most) => body,
            () = gone(way.session) => return Err(Broken::ClientGone),
        };
        let body = body.map_err(|fault| {
            let refusal = Refusal::new(Fault::PeerUnreachable, RULE);
            refusal.saying(format!("the gateway node that took this broke off: {fault}"))
        })?;
        return Ok(respond::whole(way.session, header, body).await?);
    }
    stream::begin(way, header).await?;
    let kind = if news { StreamKind::Session } else { StreamKind::Answer };
    let _open = way.server.metrics.stream(kind);
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = response.chunk() => chunk,
            () = gone(way.session) => return Err(Broken::ClientGone),
            () = way.gateway.drain.draining(), if news => break,
            () = way.gateway.drain.last_words() => return Err(Broken::Cut),
        };
        match chunk {
            Ok(Some(chunk)) => way.session.write_response_body(Some(chunk), false).await?,
            Ok(None) => break,
            Err(fault) => {
                tracing::warn!(id = %way.trip.correlation, "the node that holds a stream broke off: {fault}");
                way.trip.record.failed(Fault::PeerUnreachable, RULE);
                return Err(Broken::Cut);
            }
        }
    }
    way.session.write_response_body(None, true).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_the_client_says_goes_along_and_nothing_of_its_connection() {
        let mut sent = HeaderMap::new();
        for (name, value) in [
            ("host", "gw"),
            ("authorization", "Bearer x"),
            ("x-forwarded-for", "192.0.2.1"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=1"),
            ("accept", "application/json"),
            ("content-length", "7"),
            ("mcp-session-id", "s"),
            ("mcp-protocol-version", "2025-11-25"),
            ("last-event-id", "1"),
        ] {
            sent.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let fields = carried(&sent);
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        let expected = ["authorization", "x-forwarded-for", "mcp-session-id", "mcp-protocol-version", "last-event-id"];
        assert_eq!(names, expected);
    }
}
