//! The handshake of the legacy era: made once for each instance, answered from memory afterwards.

use super::instance::{Instance, Owner};
use super::{Command, SESSIONS, Session};
use crate::upstream::channel::{self, Channel, SessionKey, Spoken, scanned};
use crate::upstream::exchange::UpstreamRequest;
use crate::upstream::fault::{AttemptFault, FaultKind};
use crate::upstream::fetch::{LEGACY, SESSION_ID, client_info};
use crate::upstream::response::UpstreamResponse;
use crate::upstream::settings::Timeouts;
use crate::upstream::time::from_now;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::HeaderValue;
use lockgate_filters::revision::{Era, Revision};
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::reply;
use lockgate_filters::rpc::scan::Message;
use lockgate_filters::splice::Outbound;
use lockgate_filters::ticket::{PrincipalDigest, SessionId};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// Stops an instance whose handshake came to nothing: it cannot be made again with the same process.
struct Unready<'a> {
    command: &'a Command,
    instance: Option<Arc<Instance>>,
}

impl Drop for Unready<'_> {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.command.stop(&instance);
        }
    }
}

impl Command {
    /// Opens a session.
    pub(super) async fn open(
        self: &Arc<Self>,
        request: &UpstreamRequest,
        message: &Message,
        timeouts: &Timeouts,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let deadline = from_now(timeouts.first_byte.min(timeouts.total));
        let late = |_| Err(AttemptFault::not_run(FaultKind::FirstByteTimeout));
        let owner = self.owner(request, message);
        let instance = self.instance(owner)?;
        instance.works();
        let channel = timeout_at(deadline, instance.channel()).await.unwrap_or_else(late)?;
        let mut handshake = match timeout_at(deadline, instance.handshake.lock()).await {
            Ok(handshake) => handshake,
            Err(_) => return Err(AttemptFault::not_run(FaultKind::FirstByteTimeout)),
        };
        if let Some(result) = &*handshake {
            return self.join(request, message, &instance, &channel, result);
        }
        let mut unready = Unready { command: self, instance: Some(Arc::clone(&instance)) };
        if owner == Owner::Shared {
            let result = match introduce(&channel, timeouts).await? {
                Ok(result) => result,
                Err(error) => {
                    let id = message.id.map(|id| id.span.of(&request.body)).unwrap_or_default();
                    return Ok(channel::json(reply::error_again(id, &error)));
                }
            };
            *handshake = Some(result.clone());
            unready.instance = None;
            return self.join(request, message, &instance, &channel, &result);
        }
        let key = channel.open_session()?;
        let spoken = Spoken { session: Some(key), body: &request.body, message, fields: &request.fields };
        let answer = channel.ask_whole(spoken, timeouts).await?;
        let Some(result) = result_of(&answer) else {
            // It refuses in its own words.
            return Ok(channel::json(answer));
        };
        *handshake = Some(result);
        let response = self.admit(request, &instance, &channel, (key, true), answer)?;
        unready.instance = None;
        Ok(response)
    }

    /// Whose instance a handshake is made with.
    fn owner(&self, request: &UpstreamRequest, message: &Message) -> Owner {
        let principal = request.caller.principal;
        if self.settings.load().shared {
            return Owner::Shared;
        }
        if principal == PrincipalDigest::ANONYMOUS {
            let mut state = self.state.lock();
            state.next += 1;
            // Whoever comes from a client has a session with the gateway.
            let of_client = request.caller.session.is_some();
            return if of_client { Owner::Alone(state.next) } else { Owner::Gateway(state.next) };
        }
        let params = message.params.as_ref();
        let mut context = Context::new(&SHA256);
        context.update(&principal.0);
        for value in [params.and_then(|params| params.capabilities), params.and_then(|params| params.protocol_version)]
        {
            let said = value.map(|value| value.span.of(&request.body)).unwrap_or_default();
            context.update(&(said.len() as u64).to_le_bytes());
            context.update(said);
        }
        let mut terms = [0; 32];
        terms.copy_from_slice(context.finish().as_ref().get(..32).unwrap_or(&[0; 32]));
        Owner::Principal(terms)
    }

    /// Another session on an instance: the handshake is answered from memory.
    fn join(
        &self,
        request: &UpstreamRequest,
        message: &Message,
        instance: &Arc<Instance>,
        channel: &Arc<Channel>,
        result: &Bytes,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let asked = message.params.as_ref().and_then(|params| params.protocol_version);
        let asked = asked.and_then(|asked| asked.text(&request.body));
        let id = message.id.map(|id| id.span.of(&request.body));
        let answer = reply::result_body(id, &in_revision(result, asked.as_deref()));
        let key = channel.open_session()?;
        self.admit(request, instance, channel, (key, false), answer)
    }

    /// Gives a session an id.
    fn admit(
        &self,
        request: &UpstreamRequest,
        instance: &Arc<Instance>,
        channel: &Arc<Channel>,
        (key, leads): (SessionKey, bool),
        answer: Bytes,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let random = |error| AttemptFault::not_run(FaultKind::Busy).because(error);
        let id = SessionId::random().map_err(random)?.to_string();
        let mut response = channel::json(answer);
        let value =
            HeaderValue::try_from(&id).map_err(|error| AttemptFault::protocol("it has no id").because(error))?;
        response.headers.insert(SESSION_ID, value);
        let session = Session {
            instance: Arc::clone(instance),
            channel: Arc::clone(channel),
            key,
            principal: request.caller.principal,
            leads,
            used: Instant::now(),
        };
        if let Err(fault) = self.make_room() {
            channel.close_session(key);
            return Err(fault);
        }
        self.state.lock().sessions.insert(id.into(), session);
        Ok(response)
    }

    /// Forgets sessions that nobody has used for long, where there are too many.
    fn make_room(&self) -> Result<(), AttemptFault> {
        let idle = self.settings.load().idle_stop;
        let mut state = self.state.lock();
        if state.sessions.len() < SESSIONS {
            return Ok(());
        }
        let forgotten: Vec<_> = state.sessions.extract_if(|_, session| session.used.elapsed() > idle).collect();
        drop(state);
        if forgotten.is_empty() {
            return Err(AttemptFault::not_run(FaultKind::Busy).saying("it has as many sessions as it may"));
        }
        for (_, session) in forgotten {
            session.channel.close_session(session.key);
        }
        Ok(())
    }
}

/// The handshake of an instance that is everybody's: the gateway makes it, and offers nothing. It comes to the result, or
/// to the error with which the process refuses.
async fn introduce(channel: &Arc<Channel>, timeouts: &Timeouts) -> Result<Result<Bytes, Bytes>, AttemptFault> {
    let request: Bytes = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{LEGACY}","capabilities":{{}},"clientInfo":{}}}}}"#,
        client_info()
    )
    .into();
    let fields = Outbound::new();
    let unscanned = || AttemptFault::protocol("its handshake cannot be made");
    let message = scanned(&request).ok_or_else(unscanned)?;
    let spoken = Spoken { session: None, body: &request, message: &message, fields: &fields };
    let answer = channel.ask_whole(spoken, timeouts).await?;
    let Some(result) = result_of(&answer) else {
        let error = scanned(&answer).and_then(|answer| answer.error);
        let error = error.ok_or(AttemptFault::protocol("its answer to the handshake is none"))?;
        return Ok(Err(Bytes::copy_from_slice(error.span.of(&answer))));
    };
    let ready = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    let message = scanned(&ready).ok_or_else(unscanned)?;
    channel.tell(Spoken { body: &ready, message: &message, ..spoken }, timeouts).await?;
    Ok(Ok(result))
}

fn result_of(answer: &Bytes) -> Option<Bytes> {
    let result = scanned(answer)?.result?;
    Some(Bytes::copy_from_slice(result.span.of(answer)))
}

/// A recorded result for a client that asks for another revision: an older one it gets, as the gateway can speak for the
/// server in it; what is newer was added to messages that stay valid without it.
fn in_revision(result: &Bytes, asked: Option<&str>) -> Bytes {
    let parse = |text: &str| Revision::parse(text.as_bytes()).filter(|revision| revision.era() == Era::Legacy);
    let known = member(result, "protocolVersion");
    let spoken = known.and_then(|value| value.text(result)).as_deref().and_then(parse);
    match (known, spoken, asked.and_then(parse)) {
        (Some(value), Some(spoken), Some(asked)) if asked < spoken => {
            channel::with_value(result, value, format!("\"{asked}\"").as_bytes())
        }
        _ => result.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_revision_that_it_asks_for_where_it_is_older() {
        let result = Bytes::from_static(br#"{"capabilities":{},"protocolVersion":"2025-06-18"}"#);
        for (asked, expected) in [
            (Some("2025-03-26"), "2025-03-26"),
            (Some("2025-06-18"), "2025-06-18"),
            (Some("2025-11-25"), "2025-06-18"),
            (Some("2026-07-28"), "2025-06-18"),
            (Some("nonsense"), "2025-06-18"),
            (None, "2025-06-18"),
        ] {
            let said = in_revision(&result, asked);
            let read: serde_json::Value = serde_json::from_slice(&said).expect("JSON");
            assert_eq!(read["protocolVersion"], expected, "{asked:?}");
        }
    }
}
