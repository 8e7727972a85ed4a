//! One child process: started, fed, listened to, and ended with everything that it started.

use super::cage::{Cage, limit};
use super::environment::command;
use super::pipes::{self, Written};
use super::processes::kill_session;
use crate::upstream::channel::Channel;
use crate::upstream::settings::CommandSettings;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessSession};
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// How long what a child said last may take to be read, and a child that closed its output to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A child that has just been started.
pub(super) struct Child {
    process: Box<dyn ChildWrapper>,
    session: Session,
}

/// All that a child started; ended when dropped.
struct Session {
    leader: u32,
    cage: Cage,
}

impl Child {
    /// Its process id, and that of its session and process group.
    pub(super) fn pid(&self) -> u32 {
        self.session.leader
    }

    /// What holds its memory.
    pub(super) fn cage(&self) -> &Cage {
        &self.session.cage
    }
}

/// Starts a child within its limits, in a session of its own: no terminal is its own, and no signal that is meant for the
/// gateway's group reaches it. Blocks.
pub(super) fn spawn(settings: &CommandSettings) -> io::Result<Child> {
    let command = command(settings).ok_or_else(|| io::Error::other("no program"))?;
    let cage = Cage::holding(settings.memory);
    let mut process = CommandWrap::from(command).wrap(ProcessSession).wrap(KillOnDrop).spawn()?;
    let leader = process.id().ok_or_else(|| io::Error::other("it has ended already"))?;
    let session = Session { leader, cage };
    let confined = session.cage.admit(leader).and_then(|()| limit(leader, settings));
    if let Err(error) = confined {
        // A child that is faster than this needs no limits any more.
        if process.try_wait()?.is_none() {
            return Err(io::Error::new(error.kind(), format!("its limits cannot be set: {error}")));
        }
    }
    Ok(Child { process, session })
}

/// How a child ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    /// Its status, where it could be learnt.
    pub(super) status: Option<ExitStatus>,
    /// Whether it was asked to.
    pub(super) asked: bool,
}

/// What a child is served with.
pub(super) struct Service {
    pub(super) backend: Arc<str>,
    pub(super) channel: Arc<Channel>,
    /// What is to be written to it.
    pub(super) messages: mpsc::Receiver<Written>,
    /// Set once it has said something.
    pub(super) spoke: Arc<AtomicBool>,
    /// Its longest message, in bytes.
    pub(super) line_bytes: usize,
    /// Becomes true when it is to end.
    pub(super) stop: watch::Receiver<bool>,
    /// How long each step of that may take.
    pub(super) stop_time: Duration,
}

/// Serves a child until it ends, and ends what is left of it.
pub(super) async fn serve(child: Child, mut service: Service) -> Exit {
    let Child { mut process, session } = child;
    let pid = session.leader;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (process.stdin().take(), process.stdout().take(), process.stderr().take())
    else {
        return Exit { status: None, asked: false };
    };
    let writer = Task(tokio::spawn(pipes::write(stdin, service.messages)));
    let mut reader = Task(tokio::spawn(pipes::read(stdout, service.channel, service.spoke, service.line_bytes)));
    let logger = Task(tokio::spawn(pipes::log(stderr, service.backend, pid)));
    let exit = tokio::select! {
        status = process.wait() => Exit { status: status.ok(), asked: false },
        () = asked(&mut service.stop) => {
            drop(writer);
            Exit { status: end(&mut *process, pid, service.stop_time).await, asked: true }
        }
        // A child that says nothing any more is of no use, even if it lives on.
        _ = &mut reader.0 => {
            let status = match timeout(LAST_WORDS, process.wait()).await {
                Ok(status) => status.ok(),
                Err(_) => {
                    drop(writer);
                    end(&mut *process, pid, service.stop_time).await
                }
            };
            Exit { status, asked: false }
        }
    };
    // What it started may hold its pipes open.
    let ended = spawn_blocking(move || drop(session));
    if !reader.0.is_finished() {
        let _ = timeout(LAST_WORDS, &mut reader.0).await;
    }
    let _ = ended.await;
    drop(logger);
    exit
}

async fn asked(stop: &mut watch::Receiver<bool>) {
    // Whoever could ask has gone without it: then nobody needs the child.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Ends a child whose input was closed: it may end by itself, is told to, and is made to.
async fn end(process: &mut dyn ChildWrapper, pid: u32, patience: Duration) -> Option<ExitStatus> {
    if let Ok(status) = timeout(patience, process.wait()).await {
        return status.ok();
    }
    signal(pid, Signal::SIGTERM);
    if let Ok(status) = timeout(patience, process.wait()).await {
        return status.ok();
    }
    signal(pid, Signal::SIGKILL);
    // The kernel may hold a process back; it is not waited for longer than that.
    timeout(patience.max(LAST_WORDS), process.wait()).await.ok()?.ok()
}

fn signal(group: u32, signal: Signal) {
    let Ok(group) = i32::try_from(group) else { return };
    // It may have ended in this moment.
    let _ = killpg(Pid::from_raw(group), signal);
}

impl Drop for Session {
    fn drop(&mut self) {
        self.cage.clear();
        if let Ok(leader) = i32::try_from(self.leader) {
            kill_session(leader);
        }
    }
}

/// A task that ends with this value.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
