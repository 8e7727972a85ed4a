//! What is done for instances while nobody asks: idle ones are stopped, and those that use too much memory.

use super::Command;
use super::instance::Instance;
use super::processes::{kill_session, sessions};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How often instances are looked at, at most.
const INTERVAL: Duration = Duration::from_secs(1);
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

impl Command {
    /// Looks after the instances until there are none.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            let idle = self.settings.load().idle_stop;
            tokio::time::sleep((idle / 4).clamp(LEAST_INTERVAL, INTERVAL)).await;
            self.end_greedy().await;
            let unused = {
                let mut state = self.state.lock();
                if state.instances.is_empty() {
                    state.keeping = false;
                    return;
                }
                let idle = if state.retired { Duration::ZERO } else { idle };
                let instances = state.instances.values();
                instances.filter(|instance| is_unused(instance, idle)).cloned().collect::<Vec<_>>()
            };
            for instance in unused {
                tracing::debug!(backend = %self.backend, "nobody uses a child");
                self.stop(&instance);
            }
        }
    }

    /// Ends the instances that use more memory than they may, where no control group does it.
    async fn end_greedy(&self) {
        let Some(most) = self.settings.load().memory else { return };
        let running: Vec<_> = {
            let state = self.state.lock();
            let instances = state.instances.values().chain(&state.leaving);
            instances.filter_map(|instance| Some((Arc::clone(instance), instance.running()?.1))).collect()
        };
        let Ok(sessions) = spawn_blocking(sessions).await else { return };
        for (instance, pid) in running {
            let Ok(leader) = i32::try_from(pid) else { continue };
            let Some(resident) = sessions.get(&leader).map(|session| session.resident).filter(|used| *used > most)
            else {
                continue;
            };
            tracing::warn!(backend = %self.backend, pid, resident, limit = most, "a child uses too much memory");
            instance.overfeed();
            // The session is gone when this fails, and it fails only when this process is going.
            let _ = spawn_blocking(move || kill_session(leader)).await;
        }
    }
}

fn is_unused(instance: &Instance, idle: Duration) -> bool {
    let Some((channel, _)) = instance.running() else { return false };
    let activity = channel.activity();
    let handshake = instance.handshake.try_lock().is_err();
    activity.in_flight == 0 && activity.streams == 0 && !handshake && activity.used.elapsed() >= idle
}
