//! The life of instances: started for an owner, ended for a reason, never more than allowed.

use super::child::{self, Exit, Service};
use super::instance::{Instance, Owner, Phase};
use super::retry::Retry;
use super::{Command, RETRIES, State, pipes, processes};
use crate::upstream::announced::Announcer;
use crate::upstream::channel::{Asks, Channel, ChannelLimits};
use crate::upstream::fault::{AttemptFault, FaultKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::spawn_blocking;

impl Command {
    /// The instance of this owner; it is started where there is none.
    pub(super) fn instance(self: &Arc<Self>, owner: Owner) -> Result<Arc<Instance>, AttemptFault> {
        let settings = self.settings.load();
        let mut state = self.state.lock();
        if let Some(known) = state.instances.get(&owner).filter(|known| !known.is_stopping() && !known.is_over()) {
            return Ok(Arc::clone(known));
        }
        if state.closed {
            return Err(AttemptFault::not_run(FaultKind::NotRunning).saying("the gateway is stopping"));
        }
        for failed in [None, Some(owner)] {
            if let Some(fault) = state.retries.get(&failed).and_then(Retry::fault) {
                return Err(fault);
            }
        }
        if state.instances.len() >= settings.instances.max(1) {
            let Some(idle) = state.idle() else {
                return Err(AttemptFault::not_run(FaultKind::Busy).saying("it runs as many processes as it may"));
            };
            idle.stop();
            state.instances.remove(&idle.owner);
            state.leaving.push(idle);
        }
        let instance = Instance::new(owner);
        state.instances.insert(owner, Arc::clone(&instance));
        let keep = !std::mem::replace(&mut state.keeping, true);
        drop(state);
        let ground = self.ground.handle();
        ground.spawn(Arc::clone(self).run(Arc::clone(&instance)));
        if keep {
            ground.spawn(Arc::clone(self).keep());
        }
        Ok(instance)
    }

    /// The whole life of an instance.
    async fn run(self: Arc<Self>, instance: Arc<Instance>) {
        let settings = self.settings.load_full();
        let wanted = Arc::clone(&settings);
        let spawned = spawn_blocking(move || child::spawn(&wanted)).await.map_err(std::io::Error::other);
        let child = match spawned.and_then(|spawned| spawned) {
            Ok(child) => child,
            Err(error) => {
                let text = format!("its command cannot be started ({})", error.kind());
                self.ended(&instance, false, &text, Some(&error));
                return instance
                    .enter(Phase::Ended(AttemptFault::not_run(FaultKind::NotRunning).saying(text).because(error)));
            }
        };
        let running = self.counters.started();
        let pid = child.pid();
        let (stdin, messages) = pipes::stdin();
        let asks = if instance.owner == Owner::Shared { Asks::Nobody } else { Asks::Clients };
        let backend = Arc::clone(&self.backend);
        let channel = Channel::new(
            Arc::clone(&backend),
            Box::new(stdin),
            ChannelLimits::default(),
            asks,
            Arc::clone(&self.counters),
            Announcer::new(Arc::clone(&self.announced), matches!(instance.owner, Owner::Gateway(_))),
        );
        tracing::info!(%backend, pid, memory_limit = child.cage().name(), "a child was started");
        instance.enter(Phase::Running { channel: Arc::clone(&channel), pid });
        let service = Service {
            backend,
            channel: Arc::clone(&channel),
            messages,
            spoke: Arc::clone(&instance.spoke),
            line_bytes: self.line_bytes.load(Ordering::Relaxed),
            stop: instance.stopping(),
            stop_time: settings.stop_time,
        };
        let exit = child::serve(child, service).await;
        drop(running);
        let text = describe(&instance, exit);
        let fault = AttemptFault::new(FaultKind::Closed).saying(text.clone());
        channel.end(fault.clone());
        self.ended(&instance, exit.asked, &text, None);
        instance.enter(Phase::Ended(fault));
    }

    /// Takes note of the end of an instance.
    fn ended(&self, instance: &Arc<Instance>, asked: bool, why: &str, cause: Option<&std::io::Error>) {
        let settings = self.settings.load();
        let mut state = self.state.lock();
        state.leaving.retain(|leaving| !Arc::ptr_eq(leaving, instance));
        if state.instances.get(&instance.owner).is_some_and(|known| Arc::ptr_eq(known, instance)) {
            state.instances.remove(&instance.owner);
        }
        state.sessions.retain(|_, session| !Arc::ptr_eq(&session.instance, instance));
        if asked {
            tracing::info!(backend = %self.backend, "a child was stopped: {why}");
            return;
        }
        if instance.owner == Owner::Modern && instance.was_probed_only() && cause.is_none() {
            tracing::info!(backend = %self.backend, "a child ended when it was asked for its era: {why}");
            return;
        }
        self.counters.failed();
        let cause = cause.map(ToString::to_string).unwrap_or_default();
        tracing::warn!(backend = %self.backend, cause, "a child failed: {why}");
        let failed = match (instance.has_spoken(), instance.owner) {
            (false, _) => None,
            // The next session has a process of its own, whatever became of this one.
            (true, Owner::Alone(_) | Owner::Gateway(_)) => return,
            (true, owner) => Some(owner),
        };
        if instance.born.elapsed() > settings.restart.1 {
            state.retries.remove(&failed);
        }
        state.retries.retain(|_, retry| !retry.is_over() || retry.idle() < settings.restart.1);
        if state.retries.len() < RETRIES {
            state.retries.entry(failed).or_insert_with(|| Retry::new(settings.restart)).failed(why);
        }
    }

    /// The configuration wants another command: what is held open ends, what runs goes on to its end.
    pub(in crate::upstream) fn retire(&self) {
        let mut state = self.state.lock();
        state.retired = true;
        for (channel, _) in state.instances.values().filter_map(|instance| instance.running()) {
            channel.release_held();
        }
    }

    /// Stops all instances and waits until they are gone.
    pub(in crate::upstream) async fn stop_all(&self) {
        let all: Vec<_> = {
            let mut state = self.state.lock();
            state.closed = true;
            let running: Vec<_> = state.instances.drain().map(|(_, instance)| instance).collect();
            state.leaving.extend(running);
            state.leaving.clone()
        };
        for instance in &all {
            instance.stop();
        }
        for instance in all {
            instance.over().await;
        }
    }

    /// Ends all instances at once, with all that they started. Blocks.
    pub(in crate::upstream) fn kill_all(&self) {
        let state = self.state.lock();
        for instance in state.instances.values().chain(&state.leaving) {
            if let Some(leader) = instance.running().and_then(|(_, pid)| i32::try_from(pid).ok()) {
                processes::kill_session(leader);
            }
        }
    }
}

impl State {
    /// The instance that has been idle for longest, if one is.
    fn idle(&self) -> Option<Arc<Instance>> {
        let idle = self.instances.values().filter_map(|instance| {
            let activity = instance.running()?.0.activity();
            let busy = activity.in_flight > 0 || activity.streams > 0 || instance.handshake.try_lock().is_err();
            (!busy).then_some((activity.used, instance))
        });
        idle.min_by_key(|(used, _)| *used).map(|(_, instance)| Arc::clone(instance))
    }
}

/// Why an instance has ended, for clients.
fn describe(instance: &Instance, exit: Exit) -> String {
    match exit.status {
        _ if instance.is_overfed() => "its process used more memory than it may, and was ended".to_owned(),
        _ if exit.asked => "its process was stopped".to_owned(),
        Some(status) => format!("its process ended ({status})"),
        None => "its process ended".to_owned(),
    }
}
