//! A message of a client of HTTP+SSE that came to another process than the one that holds its event stream.

use super::RULE;
use super::parcel::{Parcel, Undone};
use crate::cluster::{Aim, Boot};
use crate::gateway::Gateway;
use crate::lanes::{Broken, respond};
use crate::telemetry::labels::NodeRequest;
use crate::trip::Trip;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use lockgate_filters::fault::{Fault, Refusal};
use pingora_proxy::Session;
use tokio::time::timeout;

/// Whether another process is known to be this one. Nobody is looked for: what a client has said is no reason to.
pub(crate) fn knows(gateway: &Gateway, boot: [u8; 8]) -> bool {
    gateway.world.cluster.knows(Aim::Boot(Boot(boot)))
}

/// Hands a message over to the process that has its client's event stream; `false` where it has been handed over already. To be
/// called with a process that is known.
pub(crate) async fn hand_over(
    gateway: &Gateway,
    session: &mut Session,
    trip: &mut Trip,
    (boot, body): ([u8; 8], Bytes),
) -> Result<bool, Broken> {
    let aim = Aim::Boot(Boot(boot));
    let Some(parcel) = Parcel::new(gateway, session, trip, NodeRequest::Session, (aim, body)) else { return Ok(false) };
    let most = trip.snapshot.limits.answer_bytes;
    let taken = async {
        let mut taken = parcel.hand_over().await?;
        let said = timeout(taken.patience, taken.response.collect(most)).await.map_err(|_| Undone::Late)??;
        Ok((taken.response.status, taken.response.headers.get(CONTENT_TYPE).cloned(), said))
    };
    let (status, kind, said) = taken.await.map_err(|why: Undone| match why {
        why if why.is_for_a_while() => Refusal::new(Fault::Overloaded, RULE),
        why => Refusal::new(Fault::PeerUnreachable, RULE)
            .saying(format!("the gateway node that has this client's event stream: {why}")),
    })?;
    let mut header = respond::header(trip, status)?;
    if let Some(kind) = kind {
        header.insert_header(CONTENT_TYPE, kind)?;
    }
    respond::whole(session, header, said).await?;
    Ok(true)
}
