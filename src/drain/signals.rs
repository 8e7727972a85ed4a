//! What begins a stop: a signal, or the end of the one whom all of it serves.

use super::{Drain, DrainSettings, LAST_WORDS};
use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use std::future::pending;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Turns SIGTERM and SIGINT into a drain, then into Pingora's shutdown. Other signals are not touched.
///
/// Pingora itself must not wait any more: `ServerConf.grace_period_seconds` belongs at 0.
pub struct StopSignals<F> {
    drain: Drain,
    settings: F,
}

impl<F: Fn() -> DrainSettings + Send + Sync> StopSignals<F> {
    /// `settings` is asked when the signal comes, so that a reload counts.
    pub fn new(drain: Drain, settings: F) -> StopSignals<F> {
        StopSignals { drain, settings }
    }

    async fn wait(&self) -> io::Result<ShutdownSignal> {
        let mut signals = Signals::listen()?;
        let asked = signals.next().await;
        let mut settings = (self.settings)();
        if asked == Asked::Interrupt {
            settings.idle = Duration::ZERO;
        }
        tracing::info!(
            requests = self.drain.in_flight(),
            connections = self.drain.connections(),
            time = ?settings.time,
            "stopping: what is in flight is finished; a second signal stops at once"
        );
        tokio::select! {
            () = self.drain.run(settings) => Ok(ShutdownSignal::GracefulTerminate),
            _ = signals.next() => {
                self.drain.close();
                Ok(ShutdownSignal::FastShutdown)
            }
        }
    }
}

#[async_trait]
impl<F: Fn() -> DrainSettings + Send + Sync> ShutdownSignalWatch for StopSignals<F> {
    async fn recv(&self) -> ShutdownSignal {
        match self.wait().await {
            Ok(signal) => signal,
            Err(error) => {
                tracing::error!(%error, "signals cannot be received: only a kill will stop this process");
                pending().await
            }
        }
    }
}

/// Turns the end of the one whom all of it serves into a drain, which then is short, and into Pingora's shutdown.
pub struct StopAfter {
    drain: Drain,
    left: tokio::sync::Mutex<oneshot::Receiver<()>>,
}

impl StopAfter {
    /// Stops when the sender is dropped or says so.
    pub fn new(drain: Drain, left: oneshot::Receiver<()>) -> StopAfter {
        StopAfter { drain, left: tokio::sync::Mutex::new(left) }
    }
}

#[async_trait]
impl ShutdownSignalWatch for StopAfter {
    async fn recv(&self) -> ShutdownSignal {
        // Either way nobody is left.
        let _ = (&mut *self.left.lock().await).await;
        self.drain.run(DrainSettings { time: LAST_WORDS, idle: Duration::ZERO }).await;
        ShutdownSignal::GracefulTerminate
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// SIGTERM: a supervisor stops us.
    Terminate,
    /// SIGINT: somebody at a terminal.
    Interrupt,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
        }
    }
}
