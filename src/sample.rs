//! What other rooms count for themselves, copied into the metrics when somebody reads them: the accept loop, the session
//! store and the backends' facts cost no metric on a request's way.

use crate::listen::{Event, Listener};
use crate::snapshot::{Snapshot, World};
use crate::telemetry::ListenerMetrics;
use crate::telemetry::labels::{BackendEra, ConnectionRefusal};
use lockgate_filters::backend::Speaks;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Which event of a listener stands for which reason.
const REASONS: [(ConnectionRefusal, Event); 8] = [
    (ConnectionRefusal::Limit, Event::ConnectionsFull),
    (ConnectionRefusal::AddressLimit, Event::AddressFull),
    (ConnectionRefusal::TlsHandshake, Event::TlsFailed),
    (ConnectionRefusal::ProxyProtocol, Event::ProxyRefused),
    (ConnectionRefusal::Silent, Event::HeaderSlow),
    (ConnectionRefusal::HeaderLarge, Event::HeaderLarge),
    (ConnectionRefusal::WriteSlow, Event::WriteSlow),
    (ConnectionRefusal::ResetFlood, Event::ResetFlood),
];

/// The listeners that run, each with its series.
pub type Listeners = Vec<(Arc<Listener>, Arc<ListenerMetrics>)>;

/// Copies everything that is counted elsewhere.
pub fn sample(listeners: &Listeners, world: &World, snapshot: &Snapshot) {
    for (listener, metrics) in listeners {
        metrics.set_open(listener.tally().open());
        for (reason, event) in REASONS {
            metrics.set_refused(reason, listener.tally().get(event));
        }
    }
    world.metrics.set_sessions(world.sessions.store().gauges().live.load(Relaxed));
    let (detached, streams) = (world.sessions.detached(), world.sessions.replay_budget());
    world.metrics.set_detached(
        detached.held().exchanges + streams.detached.load(Relaxed),
        detached.given_up() + streams.abandoned.load(Relaxed),
    );
    if let Some(journal) = world.sessions.journal() {
        world.metrics.set_journal_errors(journal.gauges().lost.load(Relaxed));
    }
    for server in &snapshot.servers {
        let facts = server.backend.backend.facts();
        let known = facts.modern != Speaks::Unknown || facts.legacy != Speaks::Unknown;
        server.backend_metrics.set_up(known);
        server.backend_metrics.set_era(BackendEra::Modern, facts.modern == Speaks::Yes);
        server.backend_metrics.set_era(BackendEra::Legacy, facts.legacy == Speaks::Yes);
    }
}
