//! The way of a request through one process: chains, body, lane.
//!
//! Everything here is order; what is decided stands in the filters, how it is carried out in the lanes.

use crate::gateway::Gateway;
use crate::lanes::{self, Broken, respond};
use crate::listen::Connection;
use crate::request::{self, BodyLimits};
use crate::snapshot::{Limits, Snapshot};
use crate::sse;
use crate::telemetry::CorrelationId;
use crate::trip::{Record, Trip, head};
use crate::upstream::Unread;
use http::Method;
use lockgate_filters::authenticate::access::{Access, Opaque};
use lockgate_filters::backend::Backend;
use lockgate_filters::chain::Stop;
use lockgate_filters::door::Door;
use lockgate_filters::exchange::{Exchange, UnixMillis};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::{Callers, Failure, Identity};
use lockgate_filters::filter::{Answer, Ask};
use lockgate_filters::forwarded;
use lockgate_filters::lane::Lane;
use lockgate_filters::rpc::scan;
use lockgate_filters::virtual_server::VirtualServer;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;

/// What a decision came to.
enum Decision {
    Carry(Lane),
    /// Not a request of Streamable HTTP: it brings some.
    Bring,
    Answer(Answer),
    Refuse(Refusal),
}

/// How long a request waits for what a filter asked about a backend.
const LOOK_UP: Duration = Duration::from_secs(10);

/// How long a request waits until something is known of every backend: while nothing is known of any, and otherwise.
const FIRST_LOOK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));

/// How long a request waits until what was found out is part of the catalog.
const CATCH_UP: Duration = Duration::from_secs(1);

/// How long of a refused request's body is read, so that its sender gets to see the refusal.
const PATIENCE: Duration = Duration::from_secs(2);

impl Gateway {
    /// The way of a request, from its header to its answer.
    pub(crate) async fn serve(&self, session: &mut Session, trip: &mut Trip) -> pingora::Result<()> {
        let outcome = match self.decide(session, trip).await {
            Decision::Carry(lane) => lanes::carry_out(self, session, trip, lane).await,
            Decision::Bring => sse::serve(self, session, trip).await,
            Decision::Answer(answer) => respond::answer(session, trip, answer).await.map_err(Broken::from),
            Decision::Refuse(refusal) => Err(Broken::Refused(refusal)),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(Broken::Refused(refusal)) => self.refuse(session, trip, refusal).await,
            Err(Broken::ClientGone) => {
                trip.record.client_gone = true;
                session.set_keepalive(None);
                Err(pingora::Error::new_down(pingora::ErrorType::ConnectionClosed))
            }
            Err(Broken::Cut) => Err(pingora::Error::new_up(pingora::ErrorType::ConnectionClosed)),
        }
    }

    async fn refuse(&self, session: &mut Session, trip: &mut Trip, refusal: Refusal) -> pingora::Result<()> {
        trip.record.failed(refusal.fault, refusal.rule);
        trip.record.reason = refusal.reason;
        let unread = !session.downstream_session.is_body_done();
        if unread {
            session.set_keepalive(None);
        }
        respond::refuse(session, trip, &refusal).await?;
        if unread {
            let limits = BodyLimits { time: PATIENCE, ..trip.snapshot.limits.body };
            request::discard_body(session, limits).await;
        }
        Ok(())
    }

    /// Runs the chains; reads and scans the body between them.
    async fn decide(&self, session: &mut Session, trip: &mut Trip) -> Decision {
        let listener = Arc::clone(&trip.listener);
        let stop =
            self.ask_through(trip, |trip, from| listener.chain.request(&head(session), &mut trip.exchange, from));
        if let Some(decision) = stop.await {
            return decision;
        }
        // Behind the listener's guard, so that a page that may call can read the refusal.
        if too_large(session, &trip.snapshot.limits) {
            return Decision::Refuse(Refusal::new(Fault::HeadersTooLarge, "serve"));
        }
        let Some(policy) = trip.exchange.server.clone() else {
            return Decision::Refuse(Refusal::new(Fault::UnknownPath, "route"));
        };
        trip.server = trip.snapshot.servers.get(policy.index).cloned();
        let is_own = trip.exchange.door == Door::Mcp;
        // What another door brings counts when it comes in here.
        trip.in_flight = trip.server.as_ref().filter(|_| is_own).map(|server| server.metrics.in_flight());
        let stop = self.ask_through(trip, |trip, from| policy.chain.request(&head(session), &mut trip.exchange, from));
        if let Some(decision) = stop.await {
            return decision;
        }
        if !is_own {
            return Decision::Bring;
        }
        if session.req_header().method == Method::POST
            && let Err(refusal) = self.read_and_scan(session, trip).await
        {
            return Decision::Refuse(refusal);
        }
        for index in 0..trip.exchange.scan.messages.len() {
            let stop = self
                .ask_through(trip, |trip, from| policy.chain.message(&head(session), index, &mut trip.exchange, from));
            if let Some(decision) = stop.await {
                return decision;
            }
        }
        Decision::Carry(Lane::of(&session.req_header().method, &trip.exchange))
    }

    /// Runs a chain to its end, looking up what its filters ask for; `None` when nothing was said.
    async fn ask_through(&self, trip: &mut Trip, run: impl Fn(&mut Trip, usize) -> Stop) -> Option<Decision> {
        let mut from = 0;
        loop {
            match run(trip, from) {
                Stop::End => return None,
                Stop::Answer(answer) => return Some(Decision::Answer(answer)),
                Stop::Refuse(refusal) => return Some(Decision::Refuse(refusal)),
                Stop::Ask { ask, resume } => {
                    let outcome = match &ask {
                        Ask::Own { server, callers, identity } => self.show_own(trip, server, callers, identity).await,
                        Ask::OwnTools { server, callers, identity, member } => {
                            let live = server.backends.get(*member).and_then(|it| trip.snapshot.backends.get(&it.name));
                            if let (Some(live), Some(audience)) = (live, callers.at(*member)) {
                                live.doubt(audience);
                            }
                            self.show_own(trip, server, callers, identity).await
                        }
                        _ => self.look_up(&trip.snapshot, &ask).await,
                    };
                    trip.exchange.answered(&ask, outcome);
                    from = resume;
                }
            }
        }
    }

    async fn look_up(&self, snapshot: &Snapshot, ask: &Ask) -> Result<(), Refusal> {
        let live = |backend: &Arc<Backend>| {
            snapshot.backends.get(&backend.name).ok_or_else(|| Refusal::new(Fault::Internal, "look_up"))
        };
        match ask {
            Ask::Eras(backend) => live(backend)?.ensure_eras(LOOK_UP).await,
            Ask::Tools(backend) => live(backend)?.refresh_tools(LOOK_UP).await,
            Ask::Catalog(server) => {
                let Some(federation) = &server.federation else { return Ok(()) };
                let may_wait = federation.may_wait() || !federation.catalog().is_filled();
                let filled = federation.catalog().is_filled();
                let mut asking = JoinSet::new();
                for backend in &server.backends {
                    let live = live(backend)?;
                    // One that could not be asked may be back: nobody waits for that.
                    live.ask_if_lost();
                    if backend.is_unasked() && may_wait {
                        let live = Arc::clone(live);
                        let within = if filled { FIRST_LOOK.1 } else { FIRST_LOOK.0 };
                        asking.spawn(async move { live.ensure_inventory(within).await });
                    }
                }
                if asking.is_empty() && !federation.catalog().is_behind(&server.backends) {
                    return Ok(());
                }
                if !asking.is_empty() {
                    // One that does not answer delays the others once, and not for long.
                    while asking.join_next().await.is_some() {}
                    federation.has_waited();
                }
                self.world.catalogs.catch_up(CATCH_UP).await;
                Ok(())
            }
            Ask::Keys(issuer) => {
                if let Some(running) = snapshot.issuers.issuer(&issuer.name) {
                    running.look_again().await;
                }
                Ok(())
            }
            Ask::Opinion { access, opaque } => ask_issuers(snapshot, access, opaque).await,
            // Answered where the exchange is at hand.
            Ask::Own { .. } | Ask::OwnTools { .. } => Ok(()),
        }
    }

    /// Finds out what callers are shown whom some backends tell apart. A backend that is asked for too many callers to be
    /// asked for these is left out, unless lists are to be given whole or not at all.
    ///
    /// # Errors
    /// [`Fault::Overloaded`], in that case.
    pub(crate) async fn show_own(
        &self,
        trip: &mut Trip,
        server: &Arc<VirtualServer>,
        callers: &Callers,
        identity: &Identity,
    ) -> Result<(), Refusal> {
        let snapshot = Arc::clone(&trip.snapshot);
        let exchange = &mut trip.exchange;
        let mut crowded = false;
        // The others are those of everybody.
        let asked = self.look_up(&snapshot, &Ask::Catalog(Arc::clone(server))).await;
        if asked.is_err() {
            return Ok(());
        }
        let mut reading = JoinSet::new();
        for &(member, audience) in callers.members() {
            let backend = server.backends.get(member).and_then(|backend| snapshot.backends.get(&backend.name));
            let Some(live) = backend.cloned() else { return Ok(()) };
            let identity = identity.clone();
            let read = async move { (member, live.inventory_of(audience, identity.fields(), FIRST_LOOK.0).await) };
            reading.spawn(read);
        }
        let mut inventories = Vec::with_capacity(reading.len());
        while let Some(read) = reading.join_next().await {
            match read {
                Ok((member, read)) => {
                    if read.as_ref().is_err_and(|why| *why == Unread::Overloaded) {
                        crowded = true;
                        let link = snapshot.servers.get(server.index).and_then(|server| server.links.get(member));
                        link.inspect(|link| link.metrics.turned_caller_away());
                    }
                    inventories.push((member, read.ok()));
                }
                Err(_) => return Ok(()),
            }
        }
        let strict = server.federation.as_ref().is_some_and(|federation| federation.failure == Failure::Strict);
        if crowded && strict {
            return Err(Refusal::new(Fault::Overloaded, "own_catalog"));
        }
        if let Some(catalog) = self.world.catalogs.own(server, callers, inventories) {
            (exchange.catalog, exchange.crowded) = (Some(catalog), crowded);
        }
        Ok(())
    }

    async fn read_and_scan(&self, session: &mut Session, trip: &mut Trip) -> Result<(), Refusal> {
        let limits = &trip.snapshot.limits;
        let share = trip.body.get_or_insert_with(|| self.world.bodies.share());
        let body = match request::read_body(session, limits.body, share).await {
            Ok(body) => body,
            Err(refusal) => {
                // What was read is gone; the refusal takes a while to be said.
                trip.body = None;
                return Err(refusal);
            }
        };
        match scan::scan(&body, &limits.scan) {
            Ok(found) => {
                trip.exchange.scan = found;
                trip.exchange.body = body;
                Ok(())
            }
            Err(found) => {
                trip.exchange.body = body;
                trip.exchange.refused_id = found.id;
                Err(Refusal::new(found.fault, "scan").saying(format!("{} (at byte {})", found.fault.text(), found.at)))
            }
        }
    }

    /// Pins the snapshot and works out who is calling.
    pub(crate) fn begin(&self, session: &mut Session) -> Option<Trip> {
        let snapshot: Arc<Snapshot> = self.current.load_full();
        let connection = Connection::of(session)?;
        connection.claim();
        let listener = snapshot.listeners.iter().find(|listener| *listener.name == *connection.listener()).cloned()?;
        let headers = &session.req_header().headers;
        let client = connection.client_address(headers);
        let correlation = connection
            .forwarded()
            .map(|forwarded| forwarded.correlation.as_bytes())
            .or_else(|| forwarded::inbound_request_id(headers, connection.from_trusted_proxy()).map(str::as_bytes))
            .and_then(CorrelationId::adopt)
            .unwrap_or_else(CorrelationId::generate);
        let mut exchange = Exchange::new(now(), client);
        exchange.certificate = connection.certificate().and_then(|shown| shown.names().cloned());
        Some(Trip {
            listener,
            server: None,
            correlation,
            exchange,
            record: Record::begin(),
            in_flight: None,
            body: None,
            snapshot,
        })
    }
}

/// Asks the issuers about a token that only they understand, until one vouches for it.
///
/// # Errors
/// [`Fault::AuthorityUnavailable`] where none does, and one could not be asked.
async fn ask_issuers(snapshot: &Snapshot, access: &Access, opaque: &Opaque) -> Result<(), Refusal> {
    let mut unreachable = None;
    for issuer in access.issuers.iter().filter(|issuer| issuer.introspects) {
        let Some(running) = snapshot.issuers.issuer(&issuer.name) else { continue };
        let Some(introspector) = running.introspector() else { continue };
        // From before it is asked: what it says then does not outlive a change of its settings.
        let generation = running.generation();
        match introspector.ask(&opaque.token).await {
            Ok(answer) => match access.hear(issuer, generation.clone(), opaque, (*answer).clone(), now()) {
                Ok(()) => return Ok(()),
                Err(fault) => access.dismiss(generation, opaque, fault, now()),
            },
            Err(fault) => {
                tracing::warn!(issuer = %issuer.name, error = %fault, "an issuer could not be asked about a token");
                unreachable = Some(fault.label());
            }
        }
    }
    match unreachable {
        None => Ok(()),
        Some(why) => Err(Refusal::new(Fault::AuthorityUnavailable, "introspect").because(why)),
    }
}

/// Whether a request's header exceeds its bounds.
fn too_large(session: &Session, limits: &Limits) -> bool {
    let header = session.req_header();
    let target = header.uri.path().len() + header.uri.query().map_or(0, str::len);
    let fields: usize = header.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    header.headers.len() > limits.header_fields || target + fields > limits.header_bytes
}

/// The current time, in the form that filters take.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
