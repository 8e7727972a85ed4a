//! The event stream of one client of HTTP+SSE, and the bridge behind it.

use super::fields::{Owner, carried};
use super::{Client, RULE};
use crate::bridge::{self, Bridge, Limits, Patience, Said};
use crate::downstream::gone;
use crate::drain::Drain;
use crate::gateway::Gateway;
use crate::lanes::{Broken, respond};
use crate::lease::Lease;
use crate::listen::Connection;
use crate::snapshot;
use crate::telemetry::labels::StreamKind;
use crate::trip::{Trip, head};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::{Dial, EndpointSettings, PoolSettings, Timeouts};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::splice::Outbound;
use lockgate_filters::{random, sse};
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Duration;
use tokio::pin;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use url::Url;

/// Requests of one client that are not answered yet; beyond it they are refused.
const REQUESTS: usize = 64;

/// How long a request within the process may take: those that carry it out have limits of their own.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    first_byte: Duration::from_secs(86_400),
    idle_stream: Duration::from_secs(86_400),
    total: Duration::from_secs(30 * 86_400),
};

/// What keeps an idle stream open: a comment, which clients skip (WHATWG HTML section 9.2.7).
const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// Holds the stream for as long as the client does.
pub(super) async fn run(gateway: &Gateway, session: &mut Session, trip: &mut Trip) -> Result<(), Broken> {
    let internal = || Refusal::new(Fault::Internal, RULE);
    let server = server(gateway, session, trip).ok_or_else(internal)?;
    let name = name(gateway).ok_or_else(internal)?;
    let policy = trip.exchange.server.clone().ok_or_else(internal)?;
    let owner = Owner::of(&session.req_header().headers, trip.exchange.principal());
    let (said, heard) = mpsc::channel(1);
    let client = Client { said, server: Arc::clone(&policy.name), owner };
    let limits = trip.snapshot.limits;
    let seat = gateway.sse.admit(&name, client, limits.sse_sessions)?;
    let (bridge, mut messages) = Bridge::new(server, of(&limits), Patience::default());
    let (leave, left) = oneshot::channel();
    tokio::spawn(hear(bridge, heard, left, gateway.drain.clone()));

    let place = place(session, trip, &name);
    let _counted = trip.metrics().stream(StreamKind::Sse);
    begin(session, trip).await?;
    write(session, format!("event: endpoint\ndata: {place}\n\n").into()).await?;
    let mut seat = Some(seat);
    let draining = gateway.drain.draining();
    pin!(draining);
    let lapsed = Lease::of(gateway, trip).lapsed();
    pin!(lapsed);
    let mut quiet = Instant::now() + limits.keep_alive;
    loop {
        let event = tokio::select! {
            biased;
            message = messages.recv() => match message {
                Some(message) => [&b"event: message\n"[..], &sse::write_event(None, &message)].concat().into(),
                // Nothing more will be said: the process stops.
                None => break,
            },
            () = gone(session) => return Err(Broken::ClientGone),
            () = sleep_until(quiet) => KEEP_ALIVE,
            () = &mut lapsed => break,
            // No message is taken any more; what is being answered still is.
            () = &mut draining, if seat.is_some() => {
                seat = None;
                continue;
            }
        };
        quiet = Instant::now() + limits.keep_alive;
        write(session, event).await?;
    }
    drop(leave);
    session.write_response_body(None, true).await?;
    Ok(())
}

async fn write(session: &mut Session, event: Bytes) -> Result<(), Broken> {
    Ok(session.write_response_body(Some(event), false).await?)
}

async fn begin(session: &mut Session, trip: &Trip) -> Result<(), Broken> {
    let mut header = respond::header(trip, StatusCode::OK)?;
    header.insert_header(CONTENT_TYPE, "text/event-stream")?;
    header.insert_header(TRANSFER_ENCODING, "chunked")?;
    header.insert_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))?;
    header.insert_header("x-accel-buffering", "no")?;
    respond::begin(session, header, false).await?;
    Ok(())
}

/// Brings a client's messages to its bridge until its stream ends, or the process stops and it has its answers.
async fn hear(
    mut bridge: Bridge,
    mut said: mpsc::Receiver<(Bytes, Outbound)>,
    mut left: oneshot::Receiver<()>,
    drain: Drain,
) {
    let at_once = tokio::select! {
        // Either way the client is gone.
        _ = &mut left => true,
        () = async {
            while let Some((message, fields)) = said.recv().await {
                bridge.hear(Said::Message(message, fields)).await;
            }
        } => false,
    };
    bridge
        .end(async {
            if !at_once {
                tokio::select! {
                    _ = left => {}
                    () = drain.closing() => {}
                }
            }
        })
        .await;
}

/// What one client may use, of what requests may.
fn of(limits: &snapshot::Limits) -> Limits {
    Limits {
        message_bytes: limits.body.bytes,
        scan: limits.scan,
        requests: REQUESTS,
        answer_bytes: limits.answer_bytes,
        event_bytes: limits.event_bytes,
        queue: 1,
        ..Limits::default()
    }
}

/// The virtual server's own endpoint, as it is reached from within over this client's connection.
fn server(gateway: &Gateway, session: &Session, trip: &Trip) -> Option<bridge::Server> {
    let head = head(session);
    let host = head.authority.or_else(|| head.headers.get(HOST)?.to_str().ok())?;
    let name = &trip.exchange.server.as_ref()?.name;
    let url = Url::parse(&format!("http://{host}/servers/{name}/mcp")).ok()?;
    let settings = EndpointSettings { forwards_user_agent: true, ..EndpointSettings::new(url) };
    // A connection from within costs nothing, and each is for one request.
    let pool = PoolSettings { idle_connections: 0, ..PoolSettings::default() };
    let (connection, within) = (Arc::clone(Connection::of(session)?), Arc::clone(&gateway.sse.within));
    let dial = Dial::by(move || Ok(Box::new(within.connect(&connection)?)));
    let connector = Arc::clone(&gateway.sse.connector);
    let endpoint = Endpoint::within(&settings, pool, &connector, dial).ok()?;
    let fields = carried(head.headers);
    Some(bridge::Server { connector, endpoint: Arc::new(endpoint), timeouts: TIMEOUTS, fields })
}

/// A name that nobody can guess, and that says which process it belongs to.
fn name(gateway: &Gateway) -> Option<String> {
    let own: [u8; 16] = random::array().ok()?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Some(format!("{}-{}-{}", gateway.node, hex(&gateway.boot), hex(&own)))
}

/// Where the client is to send its messages: beside the stream, as clients see its path.
fn place(session: &Session, trip: &Trip, name: &str) -> String {
    let path = session.req_header().uri.path();
    let folder = path.rfind('/').map_or("", |at| &path[..at]);
    let listeners = &trip.snapshot.loaded.config.listeners;
    let listener = listeners.iter().find(|(name, _)| name.as_str() == &*trip.listener.name);
    let before = listener.map_or("", |(_, listener)| listener.public_url.url().path()).trim_end_matches('/');
    format!("{before}{folder}/message?session={name}")
}
