//! `initialize` of a virtual server over several backends: answered here, so that no backend keeps a client waiting. Each
//! backend is asked for a session when there is something to say in it.

use super::super::{Broken, Way, open, respond, revive};
use super::RULE;
use super::here::{catalog, server_info};
use lockgate_filters::fault::{Fault, Refusal};
use lockgate_filters::federate::describe::initialize_result;
use lockgate_filters::headers::SESSION_ID;
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::reply;

pub(super) async fn run(mut way: Way<'_>) -> Result<(), Broken> {
    let exchange = &way.trip.exchange;
    let Some(message) = exchange.scan.messages.first().cloned() else {
        return Err(Refusal::new(Fault::NotJsonRpc, RULE).into());
    };
    let whole = message.span.of(&exchange.body);
    let params = member(whole, "params").map(|params| params.span.of(whole)).unwrap_or_default();
    let requested = member(params, "protocolVersion").and_then(|value| value.text(params)).unwrap_or_default();
    let revision = way.server.policy.negotiate(&requested).ok_or_else(|| {
        Refusal::new(Fault::EraNotOffered, RULE).saying("no protocol revision with a handshake is offered here")
    })?;
    let catalog = catalog(&way)?;
    let result = initialize_result(&catalog, revision, &server_info(&way.server.policy.name));
    open::make_room(&way).await?;
    let (ticket, session) = open::admit(&mut way, &message, None, revision).await?;
    session.announces(revive::announced(&result));
    session.heard(way.gateway.world.catalogs.news_of(&way.server.policy, way.trip.exchange.audience()).versions().0);
    let answer = reply::result_body(way.trip.request_id(), &result);
    if respond::message(way.session, way.trip, &[(SESSION_ID, ticket)], answer).await.is_err() {
        open::abandon(&way, &session).await;
        return Err(Broken::ClientGone);
    }
    Ok(())
}
