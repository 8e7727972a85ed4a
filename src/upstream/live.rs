//! One backend as one generation of the configuration sees it: what lanes send to, and ask to be found out about.

use super::connector::Connector;
use super::counters::Counters;
use super::exchange::UpstreamRequest;
use super::fault::AttemptFault;
use super::fetch::Fetcher;
use super::reach::{Kept, Reach};
use super::response::UpstreamResponse;
use super::settings::Timeouts;
use super::watch::Watched;
use lockgate_filters::backend::{Backend, Speaks};
use lockgate_filters::fault::Refusal;
use lockgate_filters::federate::Audience;
use lockgate_filters::splice::Forwarding;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The shortest time between tries at a lost backend for those who miss it; without them they grow rarer.
const LOST_SPACING: Duration = Duration::from_secs(2);

/// One backend as one generation of the configuration sees it.
pub struct LiveBackend {
    /// What filters know of it.
    pub backend: Arc<Backend>,
    /// Its name and a digest of its URL: what sessions at it are remembered under. A backend of the same name at another
    /// URL is another server, which must never see the ids that this one gave.
    pub place: Arc<str>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Which client fields it gets.
    pub forwarding: Forwarding,
    pub(super) connector: Arc<Connector>,
    pub(super) reach: Reach,
    pub(super) kept: Kept,
    pub(super) fetcher: Fetcher,
    pub(super) stocked: bool,
    pub(super) watched: Arc<Watched>,
}

impl LiveBackend {
    /// Whether it is a command.
    pub fn is_command(&self) -> bool {
        self.reach.command().is_some()
    }

    /// What its adapter counts, where it is not reached over Streamable HTTP.
    pub fn counters(&self) -> Option<&Arc<Counters>> {
        self.reach.counters()
    }

    #[cfg(test)]
    pub(super) fn reach_for_tests(&self) -> &Reach {
        &self.reach
    }

    #[cfg(test)]
    pub(super) fn endpoint(&self) -> &Arc<super::endpoint::Endpoint> {
        self.reach.endpoint().expect("a URL")
    }

    pub(super) fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    #[cfg(test)]
    pub(super) fn stock(&self) -> &super::inventory::Stock {
        &self.watched.stock
    }

    /// Whether it answered when it was last asked; `None` until it was.
    pub fn is_up(&self) -> Option<bool> {
        self.reach.is_up()
    }

    /// Why the gateway could not ask it the last time it tried, for its operator; `None` where it could.
    pub fn last_error(&self) -> Option<String> {
        let fault = self.watched.eras.fault().or_else(|| self.watched.tools.fault())?;
        Some(match &fault.cause {
            Some(cause) => format!("{fault}: {cause}"),
            None => fault.to_string(),
        })
    }

    /// Sends a request; see [`Connector::send`].
    pub async fn send(&self, request: &UpstreamRequest) -> Result<UpstreamResponse, AttemptFault> {
        self.send_within(request, &self.timeouts).await
    }

    /// Sends a request with timeouts other than the configured ones: for streams that are held open.
    pub async fn send_within(
        &self,
        request: &UpstreamRequest,
        timeouts: &Timeouts,
    ) -> Result<UpstreamResponse, AttemptFault> {
        self.watched.used();
        self.reach.send(&self.connector, request, timeouts, self.fetcher.answer_bytes).await
    }

    /// Asks this backend on the gateway's own behalf, over the connections of clients' requests.
    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// Answers [`lockgate_filters::filter::Ask::Eras`]: waits until the backend's eras are known.
    ///
    /// # Errors
    /// The reason why the backend could not be asked. What was found out is in its facts in either case.
    pub async fn ensure_eras(&self, within: Duration) -> Result<(), Refusal> {
        self.watched.used();
        if self.watched.is_known() {
            return Ok(());
        }
        self.watched.eras.pass(within).await.map_err(|fault| fault.refusal(&self.backend.name, "eras"))
    }

    /// Answers [`lockgate_filters::filter::Ask::Tools`]: asks for the tool list again, at most once a second.
    ///
    /// # Errors
    /// The reason why the tools could not be listed.
    pub async fn refresh_tools(&self, within: Duration) -> Result<(), Refusal> {
        // Which tools there are to list is part of what is found out about the eras.
        self.ensure_eras(within).await?;
        if self.backend.facts().modern != Speaks::Yes || !self.watched.declared.borrow().tools {
            return Ok(());
        }
        let gate = if self.watched.stock.is_wanted() { &self.watched.stock.gate } else { &self.watched.tools };
        gate.pass(within).await.map_err(|fault| fault.refusal(&self.backend.name, "tools"))
    }

    /// Whether it is found out what the backend offers.
    pub const fn is_stocked(&self) -> bool {
        self.stocked
    }

    /// Waits until it is known what the backend offers, or that it cannot be asked; not longer than `within`.
    pub async fn ensure_inventory(&self, within: Duration) {
        if self.backend.facts().inventory.is_none() && self.backend.facts().lost.is_none() {
            // Why nothing is known is for whoever reads the facts.
            let _ = self.watched.stock.gate.pass(within).await;
        }
    }

    /// Asks for a backend that could not be asked to be tried again, without waiting: somebody misses what it offers.
    pub fn ask_if_lost(&self) {
        let gate = &self.watched.stock.gate;
        if self.stocked && self.backend.is_lost() && gate.rest(LOST_SPACING).is_zero() {
            gate.ask();
        }
    }

    /// As [`LiveBackend::look_again`], where it has said so to this caller alone: others hear of it when the gateway's own
    /// look finds something new.
    pub fn look_again_for(&self, audience: Audience) {
        self.doubt(audience);
        self.watched.stock.gate.ask();
    }

    /// Asks for what the backend offers to be looked at again: it has said that something changed.
    pub fn look_again(&self) {
        if self.is_command() && self.backend.facts().modern != Speaks::Yes {
            // Heard where its processes speak, whether a client listens or not.
            return;
        }
        self.watched.stock.changed(&self.backend);
        self.watched.stock.gate.ask();
    }
}

impl fmt::Debug for LiveBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveBackend").field("name", &self.backend.name).finish_non_exhaustive()
    }
}
