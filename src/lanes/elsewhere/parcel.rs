//! A request as one node hands it to another, or tells it to all.

use super::super::Way;
use crate::cluster::{
    Aim, Arriving, Boot, CERTIFICATE_BYTES_MAX, Cluster, Errand, Process, Reached, Refused, Unreached,
};
use crate::gateway::Gateway;
use crate::listen::Connection;
use crate::listen::within::InnerStream;
use crate::seats::Seat;
use crate::session::{About, Notice};
use crate::telemetry::Metrics;
use crate::telemetry::labels::{NodeOutcome, NodeRequest};
use crate::trip::{Trip, head};
use crate::upstream::connector::Connector;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::{
    AttemptFault, Caller, Dial, EndpointSettings, PoolSettings, SettingsError, Timeouts, UpstreamRequest,
    UpstreamResponse, Verb,
};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use lockgate_filters::federate::question::Question;
use lockgate_filters::rpc::scan::Kind;
use lockgate_filters::splice::{Replay, carried};
use parking_lot::Mutex;
use pingora_proxy::Session;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use url::Url;

/// How long another node may take until the head of its answer is here, where that is quickly done: an answer is taken note of,
/// a stream begins at once.
const FIRST_BYTE: Duration = Duration::from_secs(30);

/// How long an exchange may take. A stream may be silent and live as long as its node lets it, and a machine that is gone is
/// noticed by its connection.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    first_byte: FIRST_BYTE,
    idle_stream: Duration::from_secs(86_400),
    total: Duration::from_secs(30 * 86_400),
};

/// How long nodes get to take note of what all are told.
const TOLD: Duration = Duration::from_secs(2);

/// After which pauses nodes that took no note of a session's end are told again.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];

/// Where notices for other nodes are on their way to. No backend's place is called so.
const NODES: &str = "other nodes";

/// A request as it is handed over.
#[derive(Clone)]
pub(super) struct Parcel {
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    kind: NodeRequest,
    pub(super) arriving: Arriving,
    /// Whose room it takes at this node.
    errand: Errand,
    /// Its place among what the session has on its way, where nobody waits for it.
    notice: Option<Arc<Notice>>,
    url: Url,
    /// What the client calls the gateway, with the port where it names one.
    host: Box<str>,
    request: UpstreamRequest,
    answer_bytes: usize,
    timeouts: Timeouts,
}

/// What another node answers.
pub(super) struct Taken {
    pub(super) response: UpstreamResponse,
    /// How long the rest of it may take, where it is no stream.
    pub(super) patience: Duration,
    /// Counts it as under way.
    pub(super) _seat: Seat,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undone {
    #[error("{0}")]
    Unreached(Unreached),
    #[error("the node that took it: {0}")]
    Broken(#[from] AttemptFault),
    #[error(transparent)]
    Unfit(#[from] SettingsError),
    #[error("the node that took it says nothing")]
    Late,
    #[error("the node that took it answers {0}")]
    NotDone(StatusCode),
}

impl Undone {
    /// Whether the node that it is for may take it soon: it is known, and busy, or about to be followed by another process.
    pub(super) fn is_for_a_while(&self) -> bool {
        matches!(self, Undone::Unreached(Unreached::Full | Unreached::Refused(Refused::Full | Refused::Stopping)))
    }

    fn outcome(&self) -> NodeOutcome {
        match self {
            Undone::Unreached(Unreached::Unknown) => NodeOutcome::Unknown,
            Undone::Unreached(Unreached::Refused(_)) | Undone::NotDone(_) => NodeOutcome::Refused,
            Undone::Unreached(Unreached::Full) => NodeOutcome::Full,
            Undone::Unreached(Unreached::Broken(..)) | Undone::Broken(_) | Undone::Unfit(_) | Undone::Late => {
                NodeOutcome::Unreachable
            }
        }
    }
}

impl Parcel {
    /// The client's request with this body; `None` where there is nobody else, or it has been handed over already.
    pub(super) fn of(way: &Way<'_>, kind: NodeRequest, aim: Aim, body: Bytes) -> Option<Parcel> {
        Parcel::new(way.gateway, way.session, way.trip, kind, (aim, body))
    }

    /// As [`Parcel::of`], of a request that is in no lane.
    pub(super) fn new(
        gateway: &Gateway,
        session: &Session,
        trip: &Trip,
        kind: NodeRequest,
        (aim, body): (Aim, Bytes),
    ) -> Option<Parcel> {
        let cluster = &gateway.world.cluster;
        let connection = Connection::of(session)?;
        if cluster.is_alone() || connection.forwarded().is_some() {
            return None;
        }
        let certificate = connection.certificate().map(|shown| Arc::clone(shown.der()));
        if certificate.as_ref().is_some_and(|der| der.len() > CERTIFICATE_BYTES_MAX) {
            return None;
        }
        let request = session.req_header();
        let verb = match request.method {
            Method::GET => Verb::Get,
            Method::DELETE => Verb::Delete,
            _ => Verb::Post,
        };
        let at = head(session);
        let host = at.authority.or_else(|| at.headers.get(header::HOST)?.to_str().ok())?;
        let target = request.uri.path_and_query()?;
        Some(Parcel {
            cluster: Arc::clone(cluster),
            metrics: Arc::clone(&gateway.world.metrics),
            kind,
            arriving: Arriving {
                aim,
                listener: connection.listener().into(),
                peer: connection.peer(),
                client: connection.client(),
                correlation: trip.correlation.as_str().into(),
                news: false,
                returns: false,
                certificate,
            },
            errand: Errand::Exchange,
            notice: None,
            url: Url::parse(&format!("http://{host}{target}")).ok()?,
            host: host.into(),
            request: UpstreamRequest {
                verb,
                fields: carried(&request.headers),
                body,
                replay: Replay::IfNotRun,
                caller: Caller::default(),
            },
            answer_bytes: trip.snapshot.limits.answer_bytes,
            timeouts: TIMEOUTS,
        })
    }

    /// The same, which asks for a stream of news.
    pub(super) fn of_news(mut self) -> Parcel {
        self.arriving.news = true;
        self.errand = Errand::News;
        self
    }

    /// The same, of a session that was open here.
    pub(super) fn returning(mut self, returns: bool) -> Parcel {
        self.arriving.returns = returns;
        self
    }

    /// The same, for what may take as long as it takes: how long, is bounded where it is carried out. `news` says that it asks
    /// for a stream of news.
    pub(super) fn with_patience(mut self, news: bool) -> Parcel {
        if news {
            self = self.of_news();
        }
        self.timeouts.first_byte = self.timeouts.total;
        self
    }

    /// An answer to a question that another node has put, which is the message at this place of the body.
    pub(super) fn of_answer(
        way: &Way<'_>,
        question: &Question,
        index: usize,
        body: Bytes,
    ) -> Option<Result<Parcel, Undone>> {
        let process = Process { node: question.node, boot: Boot(question.boot) };
        // What another process of this node has asked, this one has taken over, with all that the node knows.
        if process.node == way.gateway.node {
            return None;
        }
        let parcel = Parcel::of(way, NodeRequest::Answer, Aim::Process(process), body)?;
        let message = way.trip.exchange.scan.messages.get(index)?;
        // A client may say as often as it likes how far it is.
        Some(if message.kind == Kind::Notification { parcel.into_notice(way) } else { Ok(parcel) })
    }

    /// The same as a notice: counted among those that the session has on its way, and in a room of their own, so that
    /// whoever sends many keeps no place from what somebody waits for.
    pub(super) fn into_notice(mut self, way: &Way<'_>) -> Result<Parcel, Undone> {
        if let Some(ticket) = &way.trip.exchange.ticket {
            let notices = way.gateway.world.sessions.notices();
            let about = if self.kind == NodeRequest::Cancel { About::Request } else { About::Session };
            self.notice = notices.send(about, ticket.id, &Arc::from(NODES), self.request.body.len()).map(Arc::new);
            self.errand = Errand::Notice;
            if self.notice.is_none() {
                let full = Undone::Unreached(Unreached::Full);
                self.note(Some(&full));
                return Err(full);
            }
        }
        Ok(self)
    }

    /// Hands it to the process that it is for.
    pub(super) async fn hand_over(&self) -> Result<Taken, Undone> {
        let taken = self.hand().await;
        self.note(taken.as_ref().err());
        taken
    }

    /// As [`Parcel::hand_over`], within this time.
    pub(super) async fn hand_over_within(&self, limit: Duration) -> Result<Taken, Undone> {
        let taken = timeout(limit, self.hand()).await.unwrap_or(Err(Undone::Late));
        self.note(taken.as_ref().err());
        taken
    }

    async fn hand(&self) -> Result<Taken, Undone> {
        let reached = self.cluster.reach(&self.arriving, self.errand).await.map_err(Undone::Unreached)?;
        self.send(reached).await
    }

    /// Tells it to all other nodes.
    pub(super) async fn tell_all(self) {
        self.tell(self.cluster.others()).await;
    }

    /// As [`Parcel::tell_all`]. Those that took no note are told again a few times, for which nobody waits.
    pub(super) async fn insist(self) {
        let missed = self.tell(self.cluster.others()).await;
        if missed.is_empty() {
            return;
        }
        let Some(seat) = self.cluster.insist() else {
            return self.note(Some(&Undone::Unreached(Unreached::Full)));
        };
        tokio::spawn(async move {
            let _seat = seat;
            again(missed, |missed| self.tell(missed)).await;
        });
    }

    /// Tells it to the nodes at these addresses; where it may help to tell it again.
    async fn tell(&self, places: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let mut telling = JoinSet::new();
        for place in places {
            let parcel = self.clone();
            telling.spawn(async move { (!parcel.tell_one(place).await).then_some(place) });
        }
        telling.join_all().await.into_iter().flatten().collect()
    }

    /// Tells it to the node at this address, and hears what comes of it: `false` where it may help to tell it again.
    async fn tell_one(&self, place: SocketAddr) -> bool {
        let told = timeout(TOLD, async {
            match self.cluster.reach_at(place, &self.arriving, self.errand).await {
                Ok(reached) => self.send(reached).await,
                Err(why) => Err(Undone::Unreached(why)),
            }
        });
        match told.await.unwrap_or(Err(Undone::Late)) {
            Err(Undone::Unreached(Unreached::Refused(Refused::Myself))) => true,
            Err(Undone::Unreached(Unreached::Broken(..)) | Undone::Late) if !self.cluster.was_taken(place) => {
                self.metrics.node_request(self.kind, NodeOutcome::Unknown);
                true
            }
            Ok(Taken { response, .. }) if response.status.is_server_error() => {
                self.note(Some(&Undone::NotDone(response.status)));
                false
            }
            told => {
                self.note(told.as_ref().err());
                told.is_ok()
            }
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
        let settings = EndpointSettings {
            forwards_user_agent: true,
            authority: Some(self.host.clone()),
            ..EndpointSettings::new(self.url.clone())
        };
        // Each connection is for one request.
        let pool = PoolSettings { idle_connections: 0, ..PoolSettings::default() };
        let connector = Connector::new();
        let endpoint = Arc::new(Endpoint::within(&settings, pool, &connector, dial)?);
        let response = connector.send(&endpoint, &self.request, &self.timeouts, self.answer_bytes).await?;
        Ok(Taken { response, patience: self.timeouts.first_byte, _seat: seat })
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
        if (self.errand, why.outcome()) == (Errand::Notice, NodeOutcome::Full) {
            // A client may send any number.
            tracing::debug!(
                id = &*self.arriving.correlation,
                "a notice for other nodes was dropped: too many are on their way"
            );
            return;
        }
        tracing::warn!(
            id = &*self.arriving.correlation,
            kind = self.kind.label(),
            "a request for another node was not carried out: {why}"
        );
    }
}

/// Tells something again to those that have missed it, as long as there are any, a few times.
async fn again<T, F: Future<Output = Vec<T>>>(mut missed: Vec<T>, tell: impl Fn(Vec<T>) -> F) {
    for pause in AGAIN {
        if missed.is_empty() {
            return;
        }
        sleep(pause).await;
        missed = tell(missed).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_missed_it_is_told_again_a_few_times() {
        let told = Mutex::new(Vec::new());
        let tell = |missed: Vec<u8>| {
            told.lock().push(missed.clone());
            // The second takes note when it is told again, the third never.
            std::future::ready(missed.into_iter().filter(|place| *place == 3).collect())
        };
        again(vec![2, 3], tell).await;
        assert_eq!(*told.lock(), [vec![2, 3], vec![3], vec![3]]);
        told.lock().clear();
        again(vec![2], tell).await;
        again(Vec::new(), tell).await;
        assert_eq!(*told.lock(), [vec![2]]);
    }
}
