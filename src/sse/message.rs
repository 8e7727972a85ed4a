//! Where clients of HTTP+SSE send their messages: taken here, answered on the event stream.

use super::RULE;
use super::fields::{Owner, carried};
use crate::gateway::Gateway;
use crate::lanes::{self, Broken, respond};
use crate::request;
use crate::trip::Trip;
use bytes::Bytes;
use http::StatusCode;
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::rpc::scan;
use pingora_proxy::Session;
use std::time::Duration;
use tokio::time::timeout;

/// How long a message waits for the one before it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hands a message over to the bridge of the client that the request names.
pub(super) async fn run(gateway: &Gateway, session: &mut Session, trip: &mut Trip) -> Result<(), Broken> {
    let headers = &session.req_header().headers;
    let (owner, fields) = (Owner::of(headers, trip.exchange.principal()), carried(headers));
    let named = named(session.req_header().uri.query().unwrap_or_default());
    let client = named.and_then(|name| gateway.sse.find(name)).filter(|client| {
        let here = trip.exchange.server.as_ref().is_some_and(|server| server.name == client.server);
        here && client.owner == owner
    });
    // One that is somebody else's is no other than one that is not there.
    let unknown = || Refusal::new(Fault::SessionUnknown, RULE);
    let elsewhere = named.and_then(process).filter(|boot| lanes::knows(gateway, *boot));
    if client.is_none() && elsewhere.is_none() {
        return Err(unknown().into());
    }
    let limits = &trip.snapshot.limits;
    let share = trip.body.get_or_insert_with(|| gateway.world.bodies.share());
    let body = request::read_body(session, limits.body, share).await?;
    if let Err(found) = scan::scan(&body, &limits.scan) {
        trip.exchange.body = body;
        trip.exchange.refused_id = found.id;
        return Err(Refusal::new(found.fault, RULE).into());
    }
    let Some(client) = client else {
        let Some(boot) = elsewhere else { return Err(unknown().into()) };
        let taken = lanes::hand_over(gateway, session, trip, (boot, body)).await?;
        return if taken { Ok(()) } else { Err(unknown().into()) };
    };
    match timeout(PATIENCE, client.said.send((body, fields))).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(unknown().into()),
        Err(_) => return Err(Refusal::new(Fault::Overloaded, RULE).into()),
    }
    trip.record.brought = true;
    let header = respond::header(trip, StatusCode::ACCEPTED)?;
    respond::whole(session, header, Bytes::new()).await?;
    Ok(())
}

/// The session that a query names.
fn named(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("session="))
}

/// The process that a session's name says it belongs to.
fn process(name: &str) -> Option<[u8; 8]> {
    let boot = name.split('-').nth(1)?;
    let digits = boot.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(boot, 16).ok().filter(|_| boot.len() == 16 && digits).map(u64::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_names_the_session() {
        assert_eq!(named("session=abc"), Some("abc"));
        assert_eq!(named("a=b&session=abc&c"), Some("abc"));
        assert_eq!(named("xsession=abc"), None);
        assert_eq!(named(""), None);
    }

    #[test]
    fn a_name_says_whose_it_is() {
        let boot = [0, 1, 2, 3, 4, 5, 6, 0xff];
        assert_eq!(process("0011223344556677-00010203040506ff-00"), Some(boot));
        for name in ["", "a-b-c", "0-+0010203040506f-0", "0-00010203040506f-0", "0-00010203040506ff0-0"] {
            assert_eq!(process(name), None, "{name}");
        }
    }
}
