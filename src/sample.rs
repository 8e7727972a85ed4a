//! What other rooms count for themselves, copied into the metrics when somebody reads them: the accept loop, the session
//! store and the backends' facts cost no metric on a request's way.

use crate::listen::{Event, Listener};
use crate::snapshot::{Snapshot, World};
use crate::telemetry::labels::{BackendEra, ConnectionRefusal};
use crate::telemetry::{AdapterCounts, ListenerMetrics};
use lockgate_filters::backend::Speaks;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Which event of a listener stands for which reason.
const REASONS: [(ConnectionRefusal, Event); 11] = [
    (ConnectionRefusal::Limit, Event::ConnectionsFull),
    (ConnectionRefusal::AddressLimit, Event::AddressFull),
    (ConnectionRefusal::TlsHandshake, Event::TlsFailed),
    (ConnectionRefusal::ProxyProtocol, Event::ProxyRefused),
    (ConnectionRefusal::AcceptFailed, Event::AcceptFailed),
    (ConnectionRefusal::Silent, Event::Silent),
    (ConnectionRefusal::HeaderSlow, Event::HeaderSlow),
    (ConnectionRefusal::HeaderLarge, Event::HeaderLarge),
    (ConnectionRefusal::WriteSlow, Event::WriteSlow),
    (ConnectionRefusal::ResetFlood, Event::ResetFlood),
    (ConnectionRefusal::Idle, Event::Idle),
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
    world.metrics.set_body_bytes(world.bodies.held());
    let (detached, streams) = (world.sessions.detached(), world.sessions.replay_budget());
    world.metrics.set_detached(
        detached.held().exchanges + streams.detached.load(Relaxed),
        detached.given_up() + streams.abandoned.load(Relaxed),
    );
    world.metrics.set_streams(streams.resumed.load(Relaxed), streams.gaps.load(Relaxed));
    world.metrics.set_kept(world.sessions.store().left_bytes(), streams.bytes.load(Relaxed));
    let notices = world.sessions.notices();
    world.metrics.set_notifications(notices.held(), notices.dropped());
    world.metrics.set_listen_streams(world.listening.taken());
    world.metrics.set_nodes(world.cluster.known(), world.cluster.turned_away());
    world.metrics.set_node_connections(world.cluster.lines());
    if let Some(journal) = world.sessions.journal() {
        world.metrics.set_journal_errors(journal.gauges().lost.load(Relaxed));
    }
    for server in &snapshot.servers {
        let catalog = server.policy.federation.as_ref().map(|federation| federation.pinned());
        server.metrics.set_catalog(catalog.as_deref(), server.links.iter().map(|link| &*link.backend.backend.name));
    }
    for link in snapshot.servers.iter().flat_map(|server| &server.links) {
        if let Some(up) = link.backend.is_up() {
            link.metrics.set_up(up);
        }
        if let Some(counters) = link.backend.counters() {
            let new = counters.take();
            link.metrics.add_adapter(AdapterCounts {
                children: link.backend.is_command().then(|| counters.running()),
                questions: counters.questions(),
                starts: new.starts,
                failures: new.failures,
                refused: new.refused,
                dropped: new.dropped,
            });
        }
        let facts = link.backend.backend.facts();
        let inventory = facts.inventory.as_ref().filter(|_| link.backend.is_stocked());
        link.metrics.set_inventory(inventory.map(|inventory| inventory.bytes() + link.backend.caller_bytes()));
        for (era, speaks) in [(BackendEra::Modern, facts.modern), (BackendEra::Legacy, facts.legacy)] {
            if speaks != Speaks::Unknown {
                link.metrics.set_era(era, speaks == Speaks::Yes);
            }
        }
    }
}
