//! A backend that is a command: child processes that behave, seen from above, like one Streamable HTTP server.
//!
//! In the modern era one instance serves everybody, since it keeps nothing. In the legacy era an instance has a handshake
//! with one client: so there is one for each caller (and each set of capabilities), or for each session where nobody knows
//! who calls; or, where the configuration declares it, one for everybody, which is then offered nothing that it would have
//! to ask a client for. Sessions beyond the first on an instance are answered from its recorded handshake.
//!
//! Instances are started when they are needed, stopped when nobody has needed them for a while, and never more than the
//! configuration allows. One that dies takes its sessions with it: they are unknown from then on (404), which heals. One
//! that fails is left alone for a while that grows; requests meanwhile fail at once.
//!
//! A changed configuration retires all this: held streams end, calls that run go on to their end, then the instances stop.

mod cage;
mod child;
mod environment;
mod instance;
mod keep;
mod life;
mod open;
mod pipes;
mod processes;
mod retry;

use super::announced::Announced;
use super::answered::Answered;
use super::channel::{Channel, SessionKey, Spoken, scanned};
use super::counters::Counters;
use super::endpoint::Verb;
use super::exchange::UpstreamRequest;
use super::fault::AttemptFault;
use super::fetch::SESSION_ID;
use super::ground::Ground;
use super::response::UpstreamResponse;
use super::settings::{CommandSettings, Setting, SettingsError, Timeouts};
use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, StatusCode};
use instance::{Instance, Owner};
use lockgate_filters::rpc::scan::{Kind, Message};
use lockgate_filters::ticket::PrincipalDigest;
use parking_lot::Mutex;
use retry::Retry;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

/// The most sessions on all instances of a command.
const SESSIONS: usize = 65_536;
/// The most callers that are remembered for whom an instance has failed.
const RETRIES: usize = 1024;

/// A command and its instances.
pub(super) struct Command {
    backend: Arc<str>,
    settings: ArcSwap<CommandSettings>,
    /// The longest message that is read, in bytes.
    line_bytes: AtomicUsize,
    ground: Arc<Ground>,
    counters: Arc<Counters>,
    pub(super) answered: Answered,
    pub(super) announced: Arc<Announced>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    instances: HashMap<Owner, Arc<Instance>>,
    /// Instances that were asked to end and have not ended.
    leaving: Vec<Arc<Instance>>,
    sessions: HashMap<Box<str>, Session>,
    /// What has failed: for one caller, or (`None`) at its start, whoever it was for.
    retries: HashMap<Option<Owner>, Retry>,
    next: u64,
    retired: bool,
    /// Whether the process stops: nothing is started any more.
    closed: bool,
    keeping: bool,
}

/// A session on an instance.
#[derive(Clone)]
struct Session {
    instance: Arc<Instance>,
    channel: Arc<Channel>,
    key: SessionKey,
    principal: PrincipalDigest,
    /// Whether its client made the instance's handshake.
    leads: bool,
    used: Instant,
}

impl Command {
    /// Prepares a command. Nothing is started.
    pub(super) fn new(
        backend: Arc<str>,
        settings: &CommandSettings,
        line_bytes: usize,
        ground: Arc<Ground>,
    ) -> Result<Arc<Command>, SettingsError> {
        let unusable = |text: &str| Err(SettingsError::new(Setting::Command, text));
        match settings.run.first() {
            None => return unusable("it names no program"),
            Some(program) if program.is_empty() => return unusable("its program has no name"),
            Some(_) => {}
        }
        if settings.run.iter().any(|word| word.contains('\0')) {
            return unusable("no argument can hold a NUL");
        }
        Ok(Arc::new(Command {
            backend,
            settings: ArcSwap::from_pointee(settings.clone()),
            line_bytes: AtomicUsize::new(line_bytes),
            ground,
            counters: Arc::default(),
            answered: Answered::default(),
            announced: Arc::default(),
            state: Mutex::default(),
        }))
    }

    /// Whether processes that were started for this are what these settings want.
    pub(super) fn is(&self, settings: &CommandSettings) -> bool {
        self.settings.load().starts_the_same(settings)
    }

    /// Keeps instances in another way from now on.
    pub(super) fn keep_as(&self, settings: &CommandSettings, line_bytes: usize) {
        self.settings.store(Arc::new(settings.clone()));
        self.line_bytes.store(line_bytes, Ordering::Relaxed);
    }

    /// What it counts.
    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// What sessions at this command are remembered under: its name, and a digest of what is run where. Values of
    /// variables, which may be secrets, make it no other server.
    pub(super) fn place(&self) -> Arc<str> {
        let settings = self.settings.load();
        let mut whole = Vec::new();
        let names = settings.environment.iter().map(|(name, _)| name).chain(&settings.inherit);
        let directory = settings.directory.as_deref().map(|path| path.as_os_str().as_encoded_bytes());
        let run = settings.run.iter().map(String::as_bytes).chain([&b"\n"[..]]);
        for part in run.chain(names.map(String::as_bytes)).chain([&b"\n"[..], directory.unwrap_or_default()]) {
            whole.extend_from_slice(part);
            whole.push(0);
        }
        let mut place = format!("{}@", self.backend);
        for byte in digest(&SHA256, &whole).as_ref().iter().take(8) {
            place.push_str(&format!("{byte:02x}"));
        }
        place.into()
    }

    /// Sends a request as if to a Streamable HTTP server.
    pub(super) async fn send(
        self: &Arc<Self>,
        request: &UpstreamRequest,
        timeouts: &Timeouts,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let outcome = self.serve(request, timeouts).await;
        self.answered.note(outcome.as_ref().map(|response| response.status));
        outcome
    }

    async fn serve(
        self: &Arc<Self>,
        request: &UpstreamRequest,
        timeouts: &Timeouts,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let id = request.fields.iter().find(|(name, _)| *name == SESSION_ID).map(|(_, value)| value.as_bytes());
        let session = match id {
            Some(id) => match self.session(id, request.caller.principal) {
                Some(session) => Some(session),
                None => return Ok(empty(StatusCode::NOT_FOUND)),
            },
            None => None,
        };
        match (request.verb, session) {
            (Verb::Get, Some(session)) => {
                session.channel.hold(session.key, timeouts).or_else(|fault| lost(&session, fault))
            }
            (Verb::Delete, Some(session)) => {
                self.close(id.unwrap_or_default(), &session);
                Ok(empty(StatusCode::OK))
            }
            (Verb::Get | Verb::Delete, None) => Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
            (Verb::Post, session) => {
                let Some(message) = scanned(&request.body) else { return Ok(empty(StatusCode::BAD_REQUEST)) };
                match session {
                    Some(session) => self.say(&session, request, &message, timeouts).await,
                    None if message.is(b"initialize", &request.body) => self.open(request, &message, timeouts).await,
                    None if is_modern(&message) => self.ask(request, &message, timeouts).await,
                    None => Ok(empty(StatusCode::BAD_REQUEST)),
                }
            }
        }
    }

    /// A message of a session.
    async fn say(
        &self,
        session: &Session,
        request: &UpstreamRequest,
        message: &Message,
        timeouts: &Timeouts,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let body = &request.body;
        let spoken = Spoken { session: Some(session.key), body, message, fields: &request.fields };
        if message.kind != Kind::Request {
            if self.passes(session, message, body)
                && let Err(fault) = session.channel.tell(spoken, timeouts).await
            {
                return lost(session, fault);
            }
            return Ok(empty(StatusCode::ACCEPTED));
        }
        let subscribes = message.is(b"resources/subscribe", body) || message.is(b"resources/unsubscribe", body);
        if subscribes && !session.channel.must_tell_subscription(spoken) {
            let id = message.id.map(|id| id.span.of(body));
            return Ok(super::channel::json(lockgate_filters::rpc::reply::result_body(id, b"{}")));
        }
        session.channel.ask(spoken, timeouts).await.or_else(|fault| lost(session, fault))
    }

    /// Whether the server is to hear a notification or a response of this session: that a client is ready it hears once,
    /// and of the roots of clients nothing where it was not offered any.
    fn passes(&self, session: &Session, message: &Message, body: &[u8]) -> bool {
        !(message.is(b"notifications/initialized", body) && !session.leads
            || message.is(b"notifications/roots/list_changed", body) && session.instance.owner == Owner::Shared)
    }

    /// A message of the modern era.
    async fn ask(
        self: &Arc<Self>,
        request: &UpstreamRequest,
        message: &Message,
        timeouts: &Timeouts,
    ) -> Result<UpstreamResponse, AttemptFault> {
        let instance = self.instance(Owner::Modern)?;
        let channel = instance.channel().await?;
        if !message.is(b"server/discover", &request.body) {
            instance.works();
        }
        let spoken = Spoken { session: None, body: &request.body, message, fields: &request.fields };
        if message.kind == Kind::Request {
            return channel.ask(spoken, timeouts).await;
        }
        channel.tell(spoken, timeouts).await?;
        Ok(empty(StatusCode::ACCEPTED))
    }

    /// Stops the instance that was only started to find out whether the modern era is spoken.
    pub(super) fn end_probe(&self) {
        let mut state = self.state.lock();
        if let Some(probed) = state.instances.remove(&Owner::Modern) {
            probed.stop();
            state.leaving.push(probed);
        }
    }

    fn session(&self, id: &[u8], principal: PrincipalDigest) -> Option<Session> {
        let mut state = self.state.lock();
        let session = state.sessions.get_mut(std::str::from_utf8(id).ok()?)?;
        // The gateway itself, which ends sessions, is nobody in particular.
        let may = principal == PrincipalDigest::ANONYMOUS || session.principal == principal;
        if !may || session.instance.is_stopping() || session.channel.ended().is_some() {
            return None;
        }
        session.used = Instant::now();
        Some(session.clone())
    }

    fn close(&self, id: &[u8], session: &Session) {
        if let Ok(id) = std::str::from_utf8(id) {
            self.state.lock().sessions.remove(id);
        }
        session.channel.close_session(session.key);
        if matches!(session.instance.owner, Owner::Alone(_) | Owner::Gateway(_)) {
            self.stop(&session.instance);
        }
    }

    /// Asks an instance to end: it serves nobody from now on.
    fn stop(&self, instance: &Arc<Instance>) {
        instance.stop();
        let mut state = self.state.lock();
        if state.instances.get(&instance.owner).is_some_and(|known| Arc::ptr_eq(known, instance)) {
            state.instances.remove(&instance.owner);
            state.leaving.push(Arc::clone(instance));
        }
    }
}

/// What a request of a session gets whose instance has just ended: where it cannot have run, the session is unknown.
fn lost(session: &Session, fault: AttemptFault) -> Result<UpstreamResponse, AttemptFault> {
    let over = session.channel.ended().is_some() || session.instance.is_stopping();
    if over && fault.provably_not_run { Ok(empty(StatusCode::NOT_FOUND)) } else { Err(fault) }
}

fn is_modern(message: &Message) -> bool {
    let meta = message.params.as_ref().and_then(|params| params.meta.as_ref());
    meta.is_some_and(|meta| meta.protocol_version.is_some())
}

fn empty(status: StatusCode) -> UpstreamResponse {
    UpstreamResponse::made(status, HeaderMap::new(), bytes::Bytes::new())
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("backend", &self.backend).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
