//! One instance of a command: who it is for, and where it is between its start and its end.

use crate::upstream::channel::Channel;
use crate::upstream::fault::{AttemptFault, FaultKind};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// Who an instance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// Everybody, statelessly (2026-07-28).
    Modern,
    /// Everybody, by declaration (legacy era).
    Shared,
    /// One caller, in the terms of one handshake: a digest of both.
    Principal([u8; 32]),
    /// One session, where nobody knows who calls.
    Alone(u64),
    /// One session of the gateway itself.
    Gateway(u64),
}

/// Where an instance is.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Being started.
    Starting,
    /// Running.
    Running {
        /// The way to it.
        channel: Arc<Channel>,
        /// Its process.
        pid: u32,
    },
    /// Over, for this reason.
    Ended(AttemptFault),
}

/// An instance of a command.
pub(super) struct Instance {
    pub(super) owner: Owner,
    pub(super) born: Instant,
    phase: watch::Sender<Phase>,
    stop: watch::Sender<bool>,
    /// The JSON of its `initialize` result, once the handshake is over; held while it is not.
    pub(super) handshake: Mutex<Option<Bytes>>,
    /// Whether it has said anything.
    pub(super) spoke: Arc<AtomicBool>,
    /// Whether it was asked anything but what it is.
    worked: AtomicBool,
    /// Whether it used more memory than it may.
    overfed: AtomicBool,
}

impl Instance {
    pub(super) fn new(owner: Owner) -> Arc<Instance> {
        Arc::new(Instance {
            owner,
            born: Instant::now(),
            phase: watch::Sender::new(Phase::Starting),
            stop: watch::Sender::new(false),
            handshake: Mutex::new(None),
            spoke: Arc::default(),
            worked: AtomicBool::new(false),
            overfed: AtomicBool::new(false),
        })
    }

    /// Says where it is now. An end is final.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let open = !matches!(now, Phase::Ended(_));
            if open {
                *now = phase;
            }
            open
        });
    }

    /// The way to it, once it was started.
    pub(super) async fn channel(&self) -> Result<Arc<Channel>, AttemptFault> {
        let mut phase = self.phase.subscribe();
        let known = phase.wait_for(|phase| !matches!(phase, Phase::Starting)).await;
        match known.as_deref() {
            Ok(Phase::Running { channel, .. }) => Ok(Arc::clone(channel)),
            Ok(Phase::Ended(fault)) => Err(AttemptFault { provably_not_run: true, ..fault.clone() }),
            Ok(Phase::Starting) | Err(_) => Err(AttemptFault::not_run(FaultKind::NotRunning)),
        }
    }

    /// The way to it and its process, where it runs.
    pub(super) fn running(&self) -> Option<(Arc<Channel>, u32)> {
        match &*self.phase.borrow() {
            Phase::Running { channel, pid } => Some((Arc::clone(channel), *pid)),
            Phase::Starting | Phase::Ended(_) => None,
        }
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Ended(_))
    }

    /// Waits until it is over.
    pub(super) async fn over(&self) {
        // The sender is part of this value, so there is no other way out.
        let _ = self.phase.subscribe().wait_for(|phase| matches!(phase, Phase::Ended(_))).await;
    }

    /// Asks it to end.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether it was asked to end.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Becomes true when it is asked to end.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Notes that it was asked something other than what it is.
    pub(super) fn works(&self) {
        self.worked.store(true, Ordering::Relaxed);
    }

    /// Whether its end says nothing but that it does not know `server/discover`: some servers end when they are asked
    /// anything before the handshake.
    pub(super) fn was_probed_only(&self) -> bool {
        !self.worked.load(Ordering::Relaxed)
    }

    /// Whether it ever said anything.
    pub(super) fn has_spoken(&self) -> bool {
        self.spoke.load(Ordering::Relaxed)
    }

    /// Notes that it is ended because it uses too much memory.
    pub(super) fn overfeed(&self) {
        self.overfed.store(true, Ordering::Relaxed);
    }

    /// Whether it was ended because it used too much memory.
    pub(super) fn is_overfed(&self) -> bool {
        self.overfed.load(Ordering::Relaxed)
    }
}
